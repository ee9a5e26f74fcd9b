//! The latch of reliability rule D6 for local jobs: for each (task, attempt) exactly one of "it
//! started" and "it was abandoned" wins, across keepers, restarts and late requests.
//!
//! There is no file per task. Segment files, named by task / 65536, hold one record of eight
//! bytes for each task: attempt (four bytes, little-endian), verdict (one byte), three bytes zero.
//! A record only ever moves to a higher attempt. Taking it happens under an open-file-description
//! lock on the record's bytes, so that several processes may try at once and the death of one
//! frees it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::launch::Key;

/// Tasks for each segment file.
const SEGMENT_TASKS: u64 = 65_536;
/// Bytes for each task.
const RECORD_BYTES: u64 = 8;
/// Segment files kept open at most.
const OPEN_SEGMENTS: usize = 32;

/// What took a latch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The user's script was started, or was about to be.
    Started,
    /// The attempt was given up; it will never run.
    Abandoned,
}

impl Verdict {
    fn to_byte(self) -> u8 {
        match self {
            Self::Started => 1,
            Self::Abandoned => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Started),
            2 => Some(Self::Abandoned),
            _ => None,
        }
    }
}

/// The answer to an attempt at a latch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The caller's verdict holds from now on.
    Won,
    /// Somebody was earlier, with this attempt or a later one.
    Lost {
        /// The attempt on record, not below the one asked for.
        attempt: u32,
        /// What became of that attempt.
        verdict: Verdict,
    },
}

/// What went wrong with a latch. The latch is then not taken by this call.
#[derive(Debug, thiserror::Error)]
pub enum LatchError {
    /// A file operation failed.
    #[error("cannot {what} latch file {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A record holds what no version of this program wrote.
    #[error("latch file {} holds a damaged record for task {task}", path.display())]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Whose record.
        task: u64,
    },
}

/// The latches of one keeper directory. Threads may share it.
#[derive(Debug)]
pub struct Latch {
    dir: PathBuf,
    segments: Mutex<HashMap<u64, File>>,
}

impl Latch {
    /// Opens the latches below `<dir>/latch`, making the directory (mode 0700) if it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(dir: &Path) -> Result<Self, LatchError> {
        let dir = dir.join("latch");
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(LatchError::Io { what: "make the directory of", path: dir, source });
            }
            _ => {}
        }
        Ok(Self { dir, segments: Mutex::default() })
    }

    /// Takes the latch of an attempt with a verdict, unless this or a later attempt has one.
    /// After a return of [`Taken::Won`] every other try, by any process, loses.
    ///
    /// # Errors
    /// When the segment cannot be read or written; whether the latch is taken is then unknown and
    /// the caller must not run the job.
    pub fn take(&self, key: Key, verdict: Verdict) -> Result<Taken, LatchError> {
        self.with_segment(key.task, |file, path| {
            let offset = offset(key.task);
            let _lock = RecordLock::take(file, offset).map_err(|source| LatchError::Io {
                what: "lock",
                path: path.clone(),
                source,
            })?;
            if let Some((attempt, verdict)) = read_record(file, path, key.task)?
                && attempt >= key.attempt
            {
                return Ok(Taken::Lost { attempt, verdict });
            }
            let mut record = [0; RECORD_BYTES as usize];
            record[..4].copy_from_slice(&key.attempt.to_le_bytes());
            record[4] = verdict.to_byte();
            file.write_all_at(&record, offset).map_err(|source| LatchError::Io {
                what: "write",
                path: path.clone(),
                source,
            })?;
            Ok(Taken::Won)
        })
    }

    /// The latest attempt of a task on record and what became of it. `None` when none was ever
    /// started or abandoned here.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub fn peek(&self, task: u64) -> Result<Option<(u32, Verdict)>, LatchError> {
        self.with_segment(task, |file, path| {
            let _lock = RecordLock::take(file, offset(task)).map_err(|source| LatchError::Io {
                what: "lock",
                path: path.clone(),
                source,
            })?;
            read_record(file, path, task)
        })
    }

    /// Runs `work` with the segment of a task. The map's own lock is held meanwhile: file locks do
    /// not keep the threads of one process apart when they share the open file.
    fn with_segment<T>(
        &self,
        task: u64,
        work: impl FnOnce(&File, &PathBuf) -> Result<T, LatchError>,
    ) -> Result<T, LatchError> {
        let segment = task / SEGMENT_TASKS;
        let path = self.dir.join(segment.to_string());
        let mut segments = self.segments.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !segments.contains_key(&segment) {
            if segments.len() >= OPEN_SEGMENTS {
                segments.clear();
            }
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
                .open(&path)
                .map_err(|source| LatchError::Io { what: "open", path: path.clone(), source })?;
            segments.insert(segment, file);
        }
        work(&segments[&segment], &path)
    }
}

fn offset(task: u64) -> u64 {
    (task % SEGMENT_TASKS) * RECORD_BYTES
}

fn read_record(file: &File, path: &Path, task: u64) -> Result<Option<(u32, Verdict)>, LatchError> {
    let mut record = [0; RECORD_BYTES as usize];
    match file.read_exact_at(&mut record, offset(task)) {
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(source) => return Err(LatchError::Io { what: "read", path: path.to_owned(), source }),
        Ok(()) => {}
    }
    if record == [0; RECORD_BYTES as usize] {
        return Ok(None);
    }
    let attempt = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    match Verdict::from_byte(record[4]) {
        Some(verdict) => Ok(Some((attempt, verdict))),
        None => Err(LatchError::Damaged { path: path.to_owned(), task }),
    }
}

/// A write lock on one record, given back when dropped.
struct RecordLock<'a> {
    file: &'a File,
    offset: u64,
}

impl<'a> RecordLock<'a> {
    fn take(file: &'a File, offset: u64) -> io::Result<Self> {
        set_lock(file, offset, libc::F_WRLCK)?;
        Ok(Self { file, offset })
    }
}

impl Drop for RecordLock<'_> {
    fn drop(&mut self) {
        // Unlocking a range that is locked cannot fail on a regular file; were it to, the lock
        // ends with the descriptor.
        set_lock(self.file, self.offset, libc::F_UNLCK).ok();
    }
}

fn set_lock(file: &File, offset: u64, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: flock is plain data for which all zeroes is a valid value.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = offset as libc::off_t;
    lock.l_len = RECORD_BYTES as libc::off_t;
    loop {
        // SAFETY: the descriptor is open for the time of the call and the pointer is to a live
        // flock, which F_OFD_SETLKW only reads.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &lock) } == 0 {
            return Ok(());
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(task: u64, attempt: u32) -> Key {
        Key { task, attempt }
    }

    #[test]
    fn first_verdict_stands() {
        let dir = tempfile::tempdir().unwrap();
        let latch = Latch::open(dir.path()).unwrap();
        assert_eq!(latch.peek(5).unwrap(), None);
        assert_eq!(latch.take(key(5, 1), Verdict::Started).unwrap(), Taken::Won);
        let lost = Taken::Lost { attempt: 1, verdict: Verdict::Started };
        assert_eq!(latch.take(key(5, 1), Verdict::Started).unwrap(), lost);
        assert_eq!(latch.take(key(5, 1), Verdict::Abandoned).unwrap(), lost);
        assert_eq!(latch.peek(5).unwrap(), Some((1, Verdict::Started)));
    }

    #[test]
    fn a_later_attempt_shuts_out_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let latch = Latch::open(dir.path()).unwrap();
        assert_eq!(latch.take(key(70_000, 3), Verdict::Abandoned).unwrap(), Taken::Won);
        let lost = Taken::Lost { attempt: 3, verdict: Verdict::Abandoned };
        assert_eq!(latch.take(key(70_000, 2), Verdict::Started).unwrap(), lost);
        assert_eq!(latch.take(key(70_000, 4), Verdict::Started).unwrap(), Taken::Won);
        assert_eq!(latch.peek(70_000).unwrap(), Some((4, Verdict::Started)));
    }

    #[test]
    fn neighbours_and_segments_are_apart() {
        let dir = tempfile::tempdir().unwrap();
        let latch = Latch::open(dir.path()).unwrap();
        for task in [0, 1, 2, 65_535, 65_536, 65_537, 3 * 65_536, u64::MAX] {
            assert_eq!(latch.take(key(task, 1), Verdict::Started).unwrap(), Taken::Won, "{task}");
        }
        for segment in 10..10 + 2 * OPEN_SEGMENTS as u64 {
            assert_eq!(latch.take(key(segment * 65_536, 1), Verdict::Started).unwrap(), Taken::Won);
        }
        let again = Latch::open(dir.path()).unwrap();
        assert_eq!(again.peek(65_536).unwrap(), Some((1, Verdict::Started)));
        assert_eq!(again.peek(65_538).unwrap(), None);
    }

    #[test]
    fn damage_is_reported_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let latch = Latch::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("latch/0"), [1, 0, 0, 0, 77, 0, 0, 0]).unwrap();
        assert!(matches!(latch.take(key(0, 9), Verdict::Started), Err(LatchError::Damaged { .. })));
    }
}
