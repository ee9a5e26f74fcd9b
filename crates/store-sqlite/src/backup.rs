//! A copy of the whole database while it is in use.

use crate::SqliteStore;
use crate::fault::{store_error, unreachable_store};
use crate::{place, schema};
use god_core::store::StoreError;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;

const DOING: &str = "copying the database";

impl SqliteStore {
    /// Writes a copy as of now to `to`, replacing what is there once the copy is whole and on the disk. Others go on
    /// reading and writing meanwhile. Only the owner can read the copy.
    ///
    /// # Errors
    /// [`StoreError`]; `to` is as it was then.
    pub async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.shared.path.clone(), to.to_owned());
        let (answer, waiting) = oneshot::channel();
        // A thread of its own: a large copy would keep a reader busy for minutes.
        std::thread::Builder::new()
            .name("god-store-copy".into())
            .spawn(move || {
                // The caller may have stopped waiting; the copy is good all the same.
                drop(answer.send(copy(&from, &to)));
            })
            .map_err(|err| unreachable_store(DOING, err.to_string()))?;
        waiting.await.map_err(|_| unreachable_store(DOING, "the copying thread has ended".into()))?
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut unfinished = OsString::from(to);
    unfinished.push(format!(".{}.new", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let copied = copy_to(from, &unfinished).and_then(|()| {
        put_in_place(&unfinished, to).map_err(|err| StoreError::Full(format!("{}: {err}", to.display())))
    });
    if copied.is_err() {
        remove(&unfinished);
    }
    copied
}

fn copy_to(from: &Path, unfinished: &Path) -> Result<(), StoreError> {
    remove(unfinished);
    place::make_file(unfinished)
        .map_err(|err| StoreError::Full(format!("{}: {err}", unfinished.display())))?;
    let name = unfinished
        .to_str()
        .ok_or_else(|| StoreError::Full(format!("{} is no readable text", unfinished.display())))?;
    schema::connect(from, false)
        .and_then(|conn| conn.execute("VACUUM INTO ?1", [name]))
        .map(|_| ())
        .map_err(|err| store_error(&err, DOING, unfinished))
}

fn put_in_place(unfinished: &Path, to: &Path) -> io::Result<()> {
    // SQLite has closed it; nobody else knows this name.
    File::open(unfinished)?.sync_all()?;
    std::fs::rename(unfinished, to)?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%err, path = %path.display(), "unfinished copy not removed");
        }
        _ => {}
    }
}
