//! A kernel lock for each lease that a process of this host holds, so that others see at once that it is dead.
//!
//! The lock file carries the lease's epoch in its name, so it belongs to one holder for ever: a frozen predecessor has
//! another one. It is locked before it gets its name, so whoever finds it free knows that its holder is gone.
//! The lock is only proof of death; the epoch alone decides who may write.

use rustix::fs::FlockOperation;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A held lock. Dropping it frees the lock and leaves the file: proof that the holder is gone.
#[derive(Debug)]
pub(crate) struct LeaseLock {
    path: PathBuf,
    /// The lock belongs to this open file and goes with it.
    _file: File,
}

impl LeaseLock {
    /// Makes and locks the file of a lease that is just being taken.
    pub(crate) fn take(database: &Path, name: &str, epoch: u64) -> io::Result<LeaseLock> {
        let path = lock_path(database, name, epoch);
        let mut unnamed = path.clone().into_os_string();
        unnamed.push(format!(".{}", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unnamed)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        std::fs::rename(&unnamed, &path)?;
        Ok(LeaseLock { path, _file: file })
    }

    /// Removes the file of a lease that was given back or lost.
    pub(crate) fn remove(self) {
        remove(&self.path);
    }
}

/// Removes the lock file of an epoch that nobody holds any more.
pub(crate) fn remove_of(database: &Path, name: &str, epoch: u64) {
    remove(&lock_path(database, name, epoch));
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%err, path = %path.display(), "lock file not removed");
        }
        _ => {}
    }
}

/// Whether the lock of this epoch exists and nobody holds it. In doubt `false`.
pub(crate) fn is_free(database: &Path, name: &str, epoch: u64) -> bool {
    let path = lock_path(database, name, epoch);
    let free = || -> io::Result<bool> {
        let file = File::open(&path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        // The name may have been given to another file in between.
        let (ours, named) = (file.metadata()?, std::fs::metadata(&path)?);
        Ok(ours.ino() == named.ino() && ours.dev() == named.dev())
    };
    free().unwrap_or(false)
}

/// Epochs differ over all leases of a database, so the name in it is for people only and may be cut.
fn lock_path(database: &Path, name: &str, epoch: u64) -> PathBuf {
    let shown: String = name
        .chars()
        .take(60)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
        .collect();
    let mut path = OsString::from(database);
    path.push(format!(".lease.{shown}.{epoch}.lock"));
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_tells_whether_its_holder_lives() {
        let dir = tempfile::tempdir().expect("a directory");
        let database = dir.path().join("god.db");
        let name = "watcher/../ü x";
        assert!(!is_free(&database, name, 1), "no file proves nothing");
        let first = LeaseLock::take(&database, name, 1).expect("taken");
        let second = LeaseLock::take(&database, name, 2).expect("another epoch is another lock");
        assert!(!is_free(&database, name, 1));
        drop(first);
        assert!(is_free(&database, name, 1));
        assert!(!is_free(&database, name, 2));
        second.remove();
        assert!(!is_free(&database, name, 2), "given back is not dead");
        let again = LeaseLock::take(&database, name, 1).expect("a file that was left is replaced");
        assert!(!is_free(&database, name, 1));
        again.remove();
        let left = std::fs::read_dir(dir.path()).expect("reads").count();
        assert_eq!(left, 0, "no other file is left");
    }

    #[test]
    fn lock_files_stay_beside_the_database() {
        let path = lock_path(Path::new("/x/god.db"), "a/../../b", 7);
        assert_eq!(path, Path::new("/x/god.db.lease.a_______b.7.lock"));
        assert!(lock_path(Path::new("/x/god.db"), &"n".repeat(1000), 7).as_os_str().len() < 255);
    }
}
