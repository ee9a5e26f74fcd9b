//! What a task writes, once or while it is written.

use super::files::{file_error, read_at, send_file};
use super::tasks::allowed_task;
use crate::access::Action;
use crate::app::App;
use crate::error::ApiError;
use crate::http::{Asked, At};
use crate::hub::{self, Heard};
use crate::subject::Subject;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use god_core::spec::Output;
use god_core::{TaskId, wire};
use god_runtime::files::{FileError, JobFiles};
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Bytes in one event.
const CHUNK: usize = 32 << 10;
/// A growing file is looked at this often, a still one more and more rarely.
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(500);
/// A missed bell is made good after this many looks at a still file.
const LOOK_AGAIN: u32 = 20;

/// Which output, and how.
#[derive(Debug, Deserialize)]
pub(super) struct LogQuery {
    stream: Option<String>,
    follow: Option<String>,
    offset: Option<u64>,
}

/// `GET /task/{id}/log[?stream=out|err][&follow=1]`: the text, or its parts as server-sent events. The data of an event
/// `text` is a JSON string, its id the offset behind it; event `end` follows when the task is over and all was sent.
pub(super) async fn log(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
    Asked(query): Asked<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let name = match query.stream.as_deref() {
        None | Some("out") => "god.log",
        Some("err") => "god.err",
        Some(_) => return Err(ApiError::Bad("stream: accepted are out and err".to_owned())),
    };
    // Listening begins before the first look, so that no end falls in between.
    let changes = app.hub.listen().await?;
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    if task.array().is_some() {
        return Err(ApiError::Bad("an array has no output of its own: ask for one of its tasks".to_owned()));
    }
    if task.spec.output == Output::None {
        return Err(ApiError::Bad("this task was submitted without output".to_owned()));
    }
    let dir = app.job_dir(&task);
    if query.follow.as_deref().is_none_or(|word| matches!(word, "0" | "false")) {
        return whole(dir, name, &headers).await;
    }
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let follower = Follower {
        is_over: task.phase().is_over(),
        offset: resumed.or(query.offset).unwrap_or(0),
        task: task.id,
        still: 0,
        done: false,
        file: None,
        app,
        dir,
        name,
        changes,
    };
    let events = futures::stream::unfold(follower, Follower::next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

async fn whole(dir: PathBuf, name: &'static str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let opened = tokio::task::spawn_blocking(move || open(&dir, name)).await;
    let file = opened.map_err(|_| ApiError::Failed("the output can not be read"))?.map_err(file_error)?;
    let size = file.metadata().map_err(|_| ApiError::Failed("the output can not be read"))?.len();
    send_file(file, size, name, headers)
}

fn open(dir: &std::path::Path, name: &str) -> Result<File, FileError> {
    JobFiles::open(dir)?.open_file(name)
}

/// One client that follows one file.
struct Follower {
    app: App,
    task: TaskId,
    dir: PathBuf,
    name: &'static str,
    file: Option<Arc<File>>,
    offset: u64,
    changes: broadcast::Receiver<Heard>,
    /// Whether the task was over before the last look at the file: nothing comes after what is there.
    is_over: bool,
    /// Looks at the file since it last grew.
    still: u32,
    done: bool,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Follower)> {
        loop {
            if self.done {
                return None;
            }
            let was_over = self.is_over;
            match self.read(was_over).await {
                Ok(Some(text)) => {
                    self.still = 0;
                    let event = Event::default().event("text").id(self.offset.to_string());
                    return Some((Ok(event.data(json!(text).to_string())), self));
                }
                Ok(None) if was_over => {
                    self.done = true;
                    let event = self.end().await;
                    return Some((Ok(event), self));
                }
                Ok(None) => self.wait().await,
                Err(err) => {
                    self.done = true;
                    tracing::warn!(err = %god_engine::chain(&err), task = %self.task, "an output can not be followed");
                    let event = Event::default().event("error").data("\"the output can not be read\"");
                    return Some((Ok(event), self));
                }
            }
        }
    }

    /// The next text of the file; `None` when there is no more now. A character that is not whole yet is left for the
    /// next time, unless this is the end.
    async fn read(&mut self, at_end: bool) -> Result<Option<String>, FileError> {
        let (dir, name, offset, file) = (self.dir.clone(), self.name, self.offset, self.file.take());
        let io = |source| FileError::Io { what: "read", path: self.dir.join(name), source };
        let looked = tokio::task::spawn_blocking(move || {
            let file = match file {
                Some(file) => file,
                None => match open(&dir, name) {
                    Ok(file) => Arc::new(file),
                    // Not written yet.
                    Err(FileError::NotFound { .. }) => return Ok(None),
                    Err(err) => return Err(err),
                },
            };
            let bytes = read_at(&file, offset, CHUNK);
            Ok(Some((file, bytes)))
        });
        let Some((file, bytes)) = looked.await.map_err(|e| io(std::io::Error::other(e)))?? else {
            return Ok(None);
        };
        let bytes = bytes.map_err(io)?;
        self.file = Some(file);
        let taken = if at_end && bytes.len() < CHUNK { bytes.len() } else { whole_characters(&bytes) };
        self.offset += taken as u64;
        Ok((taken > 0).then(|| String::from_utf8_lossy(&bytes[..taken]).into_owned()))
    }

    /// Waits until there may be more: a while, the task's end, or the server's.
    async fn wait(&mut self) {
        let pause = SOON.saturating_mul(1 << self.still.min(8)).min(LATE);
        self.still += 1;
        tokio::select! {
            () = tokio::time::sleep(pause) => {
                if !self.still.is_multiple_of(LOOK_AGAIN) {
                    return;
                }
            }
            () = hub::ended(&mut self.changes, self.task) => {}
            () = self.app.closing.cancelled() => {
                self.done = true;
                return;
            }
        }
        match self.app.store.get(&[self.task]).await.map(|mut found| found.pop().flatten()) {
            Ok(task) => self.is_over = task.is_none_or(|task| task.phase().is_over()),
            Err(err) => tracing::warn!(err = %god_engine::chain(&err), "a followed task can not be read"),
        }
    }

    async fn end(&self) -> Event {
        let found = self.app.store.get(&[self.task]).await.ok().and_then(|mut found| found.pop().flatten());
        let status = found.map(|task| wire::status(&task, None));
        Event::default().event("end").id(self.offset.to_string()).data(json!({"status": status}).to_string())
    }
}

/// Length of the part that does not end in the middle of a character.
fn whole_characters(bytes: &[u8]) -> usize {
    // A character has at most four bytes: only a start among the last three can be unfinished.
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            // A byte in the middle: look further back.
            0x80..=0xbf => continue,
            _ => return bytes.len(),
        };
        return if length > back { bytes.len() - back } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut() {
        let text = "aü€😀z";
        for end in 0..=text.len() {
            let cut = whole_characters(&text.as_bytes()[..end]);
            assert!(text.is_char_boundary(cut) && cut <= end && end - cut < 4, "{end} gives {cut}");
            assert!(!text.is_char_boundary(end) || cut == end, "{end} is whole");
        }
        // What is no UTF-8 at all goes out as it is.
        for odd in [&[0x80; 5][..], &[0xff, 0xff], &[0xfe]] {
            assert_eq!(whole_characters(odd), odd.len());
        }
    }
}
