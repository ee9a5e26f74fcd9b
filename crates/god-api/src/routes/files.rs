//! The files of a task. Its job can plant whatever it likes in its directory; only regular files beneath it are read, by
//! handle, and none is sent with a type that a browser would run.

use super::tasks::allowed_task;
use crate::access::Action;
use crate::app::App;
use crate::error::ApiError;
use crate::http::{At, json};
use crate::subject::Subject;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use god_core::Task;
use god_runtime::files::{FileError, JobFiles, Kind, Listing};
use serde_json::{Value, json};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Entries of one directory that are listed.
const LISTED: usize = 10_000;
/// Bytes read at once.
const CHUNK: u64 = 256 << 10;
/// The script, which is served also when the job directory has no copy.
const SCRIPT: &str = "cmd.sh";

/// What a path of a task leads to.
enum Found {
    File(File, u64),
    Directory(Listing),
}

/// `GET /task/{id}/files/`
pub(super) async fn root(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    answer(&app, &subject, &id, String::new(), &headers).await
}

/// `GET /task/{id}/files/{path}`
pub(super) async fn path(
    State(app): State<App>,
    subject: Subject,
    At((id, path)): At<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    answer(&app, &subject, &id, path, &headers).await
}

async fn answer(
    app: &App,
    subject: &Subject,
    id: &str,
    path: String,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let task = allowed_task(app, subject, Action::Read, id).await?;
    match find(app, &task, path.clone()).await {
        Ok(Found::File(file, size)) => {
            if app.config().max_file_download.is_some_and(|max| size > max) {
                return Err(ApiError::Forbidden(format!("{path} has {size} bytes, more than may be sent")));
            }
            send_file(file, size, &path, headers)
        }
        Ok(Found::Directory(listing)) => {
            let extra = if path.is_empty() { script(&task) } else { None };
            Ok(json(&entries(&listing, extra)))
        }
        // The script is the task's own, wherever its directory is by now.
        Err(ApiError::NotFound(text)) => match script(&task) {
            Some(script) if path == SCRIPT => send_bytes(Bytes::from(script.to_owned()), &path, headers),
            Some(script) if path.is_empty() => {
                Ok(json(&entries(&Listing { entries: Vec::new(), complete: true }, Some(script))))
            }
            _ => Err(ApiError::NotFound(text)),
        },
        Err(err) => Err(err),
    }
}

fn script(task: &Task) -> Option<&str> {
    Some(task.spec.script.as_str()).filter(|script| !script.is_empty())
}

fn entries(listing: &Listing, script: Option<&str>) -> Vec<Value> {
    let mut list: Vec<Value> = listing
        .entries
        .iter()
        .filter_map(|entry| {
            let kind = match entry.kind {
                Kind::File => "file",
                Kind::Directory => "dir",
                Kind::Link | Kind::Other => return None,
            };
            Some(json!({"name": entry.name, "type": kind, "size": entry.size, "date": entry.modified}))
        })
        .collect();
    if let Some(script) = script.filter(|_| !listing.entries.iter().any(|entry| entry.name == SCRIPT)) {
        list.push(json!({"name": SCRIPT, "type": "file", "size": script.len()}));
    }
    list
}

async fn find(app: &App, task: &Task, path: String) -> Result<Found, ApiError> {
    let dir = app.job_dir(task);
    let looked = tokio::task::spawn_blocking(move || look(&JobFiles::open(&dir)?, &path)).await;
    looked.map_err(|_| ApiError::Failed("the files can not be read"))?.map_err(file_error)
}

fn look(files: &JobFiles, path: &str) -> Result<Found, FileError> {
    if path.is_empty() {
        return files.list("", LISTED).map(Found::Directory);
    }
    match files.open_file(path) {
        Ok(file) => {
            let size = file.metadata().map_err(|source| FileError::Io {
                what: "look at",
                path: path.into(),
                source,
            })?;
            Ok(Found::File(file, size.len()))
        }
        Err(FileError::WrongKind { .. }) => files.list(path, LISTED).map(Found::Directory),
        Err(err) => Err(err),
    }
}

pub(super) fn file_error(err: FileError) -> ApiError {
    match err {
        // The path in the error may be the server's own: what was asked for is known to the client.
        FileError::NotFound { .. } => ApiError::NotFound("there is no such file".to_owned()),
        FileError::BadPath { why, .. } | FileError::NotAllowed { why, .. } => {
            ApiError::Forbidden(format!("this path is refused: {why}"))
        }
        FileError::WrongKind { .. } => {
            ApiError::Forbidden("this is neither a file nor a directory".to_owned())
        }
        FileError::Io { .. } => {
            tracing::warn!(err = %god_engine::chain(&err), "a file of a task can not be read");
            ApiError::Failed("the file can not be read")
        }
    }
}

/// The answer that sends a file, or the part of it that was asked for.
pub(super) fn send_file(
    file: File,
    size: u64,
    path: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let (part, status) = part(headers, size)?;
    let (file, end) = (Arc::new(file), part.end);
    let chunks = futures::stream::try_unfold(part.start, move |at| {
        let file = Arc::clone(&file);
        async move {
            if at >= end {
                return Ok::<_, io::Error>(None);
            }
            let read = move || read_at(&file, at, usize::try_from((end - at).min(CHUNK)).unwrap_or(0));
            let bytes = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
            // The file became shorter: the client sees a broken answer, never a padded one.
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let next = at + bytes.len() as u64;
            Ok(Some((bytes, next)))
        }
    });
    Ok(framed(Body::from_stream(chunks), part, size, status, path))
}

fn send_bytes(bytes: Bytes, path: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let size = bytes.len() as u64;
    let (part, status) = part(headers, size)?;
    let index = |n: u64| usize::try_from(n).unwrap_or(bytes.len()).min(bytes.len());
    let body = Body::from(bytes.slice(index(part.start)..index(part.end)));
    Ok(framed(body, part, size, status, path))
}

/// Up to `n` bytes from a position; fewer only at the end.
pub(super) fn read_at(file: &File, at: u64, n: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; n];
    let mut filled = 0;
    while filled < n {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    buffer.truncate(filled);
    Ok(buffer.into())
}

fn framed(body: Body, part: Range<u64>, size: u64, status: StatusCode, path: &str) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let text = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::CONTENT_RANGE, value);
        }
    }
    response
}

/// Never JSON: a client tells listings from files by that type.
fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("log" | "err" | "info" | "txt" | "sh") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The bytes asked for. Only one range of bytes is understood; anything else is answered with the whole.
fn part(headers: &HeaderMap, size: u64) -> Result<(Range<u64>, StatusCode), ApiError> {
    let whole = (0..size, StatusCode::OK);
    let Some(text) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(whole);
    };
    let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|text| text.split_once('-')) else {
        return Ok(whole);
    };
    let number = |text: &str| text.trim().parse::<u64>();
    let range = match (first.trim().is_empty(), last.trim().is_empty()) {
        (false, true) => number(first).map(|first| first..size),
        (false, false) => {
            number(first).and_then(|first| number(last).map(|last| first..last.saturating_add(1).min(size)))
        }
        (true, false) => number(last).map(|n| size.saturating_sub(n)..size),
        (true, true) => return Ok(whole),
    };
    match range {
        Ok(range) if range.start < range.end => Ok((range, StatusCode::PARTIAL_CONTENT)),
        Ok(_) => Err(ApiError::Range(size)),
        Err(_) => Ok(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let check = |text: &str, expected: Option<(u64, u64)>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(text).expect("visible"));
            let got = part(&headers, 100).ok().map(|(range, status)| {
                assert_eq!(status == StatusCode::OK, range == (0..100) && text != "bytes=0-", "{text}");
                (range.start, range.end)
            });
            assert_eq!(got, expected, "{text}");
        };
        check("bytes=0-9", Some((0, 10)));
        check("bytes=90-", Some((90, 100)));
        check("bytes=0-", Some((0, 100)));
        check("bytes=-10", Some((90, 100)));
        check("bytes=95-1000", Some((95, 100)));
        check("bytes=100-", None);
        check("bytes=-0", None);
        check("bytes=9-8", None);
        check("bytes=-", Some((0, 100)));
        check("bytes=a-b", Some((0, 100)));
        check("bytes=0-1,5-6", Some((0, 100)));
        check("lines=1-2", Some((0, 100)));
        check("bytes=99999999999999999999-", Some((0, 100)));
    }

    #[test]
    fn types_never_run_in_a_browser() {
        assert_eq!(content_type("god.log"), "text/plain; charset=utf-8");
        assert_eq!(content_type("a/b.txt"), "text/plain; charset=utf-8");
        for path in ["x.json", "x.html", "x.svg", "x", "a.txt/x", ""] {
            assert_eq!(content_type(path), "application/octet-stream", "{path}");
        }
    }
}
