//! `files ls` and `files get`: the directory of a task. A file is streamed, whatever its size, and appears under its
//! name only when it is complete.

use crate::args::{Format, GetArgs};
use crate::client::{Api, Ask, JSON_TYPE, garbled};
use crate::commands::resolve_one;
use crate::failure::Failure;
use crate::ids::IdList;
use crate::output::{Cell, Column, Printer};
use crate::private::{Temporary, random_hex};
use god_core::units::Bytes;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub async fn list(id: &IdList, path: &str, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let id = resolve_one(api, id).await?;
    let shown = if path.is_empty() { "its directory" } else { path };
    let ask = ask(api, id, path, format!("listing {shown} of task {id}"))?;
    let response = api.send(&ask).await?;
    if !is_listing(&response) {
        let text = format!("{path} is a file. Fetch it: go-d-cli files get {id} {path}");
        return Err(Failure::Server { doing: ask.doing, text });
    }
    let bytes = response.bytes().await.map_err(|err| api.unreachable(&err))?;
    let listing: Value =
        serde_json::from_slice(&bytes).map_err(|err| garbled(&ask, &format!("no JSON: {err}")))?;
    let entries = listing.as_array().ok_or_else(|| garbled(&ask, "no list"))?;
    if printer.format == Format::Json {
        printer.json(&listing)?;
        return Ok(0);
    }
    let mut rows: Vec<Vec<Cell>> = entries.iter().map(row).collect();
    let mut columns = vec![Column::shown("TYPE"), Column::shown("SIZE"), Column::shown("NAME")];
    if printer.quiet {
        rows.iter_mut().for_each(|row| drop(row.drain(..2)));
        columns.drain(..2);
    }
    printer.rows(&columns, &rows)?;
    Ok(0)
}

fn row(entry: &Value) -> Vec<Cell> {
    let text = |name: &str| crate::task::scalar(&entry[name]);
    let size = match entry["size"].as_u64() {
        Some(bytes) if entry["type"] != "dir" => Cell::each(Bytes(bytes).to_string(), bytes.to_string()),
        _ => Cell::default(),
    };
    vec![Cell::same(text("type")), size, Cell::same(text("name"))]
}

pub async fn get(args: &GetArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let target = target(args)?;
    if let Some(path) = target.as_deref().filter(|path| !args.force && path.symlink_metadata().is_ok()) {
        return Err(exists(path));
    }
    let id = resolve_one(api, &args.id).await?;
    let ask = ask(api, id, &args.path, format!("fetching {} of task {id}", args.path))?;
    let response = api.send(&ask).await?;
    if is_listing(&response) {
        let text = format!("it is a directory. List it: go-d-cli files ls {id} {}", args.path);
        return Err(Failure::Server { doing: ask.doing, text });
    }
    let Some(target) = target else {
        let mut out = io::stdout().lock();
        receive(api, &ask, response, |piece| Ok(out.write_all(piece)?)).await?;
        out.flush()?;
        return Ok(0);
    };
    let size = store(api, &ask, response, &target, args.force).await?;
    if !printer.quiet && printer.format != Format::Json {
        printer.line(&format!("{}: {}", target.display(), Bytes(size)))?;
    }
    Ok(0)
}

/// Where to write; `None` is standard output.
fn target(args: &GetArgs) -> Result<Option<PathBuf>, Failure> {
    let own = || {
        let name = Path::new(&args.path).file_name();
        name.ok_or_else(|| Failure::Usage(format!("{} names no file", args.path)))
    };
    match &args.out {
        Some(out) if out.as_os_str() == "-" => Ok(None),
        Some(out) if out.is_dir() => Ok(Some(out.join(own()?))),
        Some(out) => Ok(Some(out.clone())),
        None => Ok(Some(PathBuf::from(own()?))),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::Usage(format!(
        "{} is there already: replace it with --force, or write elsewhere with --to FILE",
        path.display()
    ))
}

/// Writes beside the target, under a name of our own, and puts it in place at the end. Gives the number of bytes.
async fn store(api: &Api, ask: &Ask, response: Response, target: &Path, force: bool) -> Result<u64, Failure> {
    let failed = |source: io::Error| Failure::File { doing: "cannot write", path: target.to_owned(), source };
    let dir = target.parent().unwrap_or(Path::new(""));
    let temporary = Temporary(dir.join(format!(".go-d-cli.{}", random_hex().map_err(failed)?)));
    let mut file = temporary.create(0o666).map_err(failed)?;
    let size = receive(api, ask, response, |piece| file.write_all(piece).map_err(failed)).await?;
    drop(file);
    if force {
        fs::rename(&temporary.0, target).map_err(failed)?;
        return Ok(size);
    }
    match renameat_with(CWD, &temporary.0, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(size),
        Err(Errno::EXIST) => Err(exists(target)),
        // Not every file system knows the flag; a name taken since our look is then the last moment's.
        Err(Errno::INVAL | Errno::NOSYS) if target.symlink_metadata().is_err() => {
            fs::rename(&temporary.0, target).map_err(failed).map(|()| size)
        }
        Err(Errno::INVAL | Errno::NOSYS) => Err(exists(target)),
        Err(err) => Err(failed(err.into())),
    }
}

/// Hands the bytes on as they come and gives their number. An answer that ends early is a failure.
async fn receive(
    api: &Api,
    ask: &Ask,
    mut response: Response,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let announced = response.content_length();
    let mut size = 0;
    while let Some(piece) = response.chunk().await.map_err(|err| api.unreachable(&err))? {
        size += piece.len() as u64;
        take(&piece)?;
    }
    match announced {
        Some(announced) if announced != size => {
            Err(garbled(ask, &format!("{size} bytes instead of {announced}")))
        }
        _ => Ok(size),
    }
}

fn is_listing(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == JSON_TYPE)
}

/// The request for a path, with each of its parts one segment of the route.
fn ask(api: &Api, id: u64, path: &str, doing: String) -> Result<Ask, Failure> {
    let id = id.to_string();
    let mut parts = vec!["task", id.as_str(), "files"];
    let below: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if below.contains(&"..") {
        return Err(Failure::Usage(format!("{path}: `..` leads out of the task's directory")));
    }
    // An empty last part keeps the slash that the route of the directory itself has.
    parts.extend(if below.is_empty() { vec![""] } else { below });
    Ok(api.get(&parts, doing))
}
