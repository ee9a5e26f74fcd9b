//! The process file: which process is the daemon, and how to end it.
//!
//! The kernel's lock on the file says whether a daemon lives, never the file's existence: it is released by every kind
//! of death, so a file left behind blocks nobody. The number in the file is believed only of a process that has this
//! very file open, so a number that the kernel gave to somebody else meanwhile is never signalled.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a lock that somebody holds is tried: questions about it take it for an instant, too.
const PATIENCE: Duration = Duration::from_millis(300);
const STEP: Duration = Duration::from_millis(10);

/// What is wrong with a process file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another daemon lives.
    #[error("it runs already (process {pid}, {})", path.display())]
    Runs {
        /// The process, `unknown` when the file does not tell.
        pid: String,
        /// The file.
        path: PathBuf,
    },
    /// Somebody holds the file whom it does not name: nobody is signalled.
    #[error("{} is held by a process that it does not name; end that one by hand", path.display())]
    Stranger {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The file, held by this process until it is dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

/// What became of [`stop`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// No daemon lived.
    NotRunning,
    /// It has ended.
    Ended(i32),
    /// It was asked to end and has not done so in time.
    StillRuns(i32),
}

impl PidFile {
    /// Makes this process the one that the file names.
    ///
    /// # Errors
    /// [`PidFileError::Runs`] when another process holds the file.
    pub fn take(path: &Path) -> Result<PidFile, PidFileError> {
        let begun = Instant::now();
        loop {
            let io = |what| move |source| PidFileError::Io { what, path: path.to_owned(), source };
            let mut open = OpenOptions::new();
            open.read(true).write(true).create(true).truncate(false).mode(0o644);
            let mut file = open.open(path).map_err(io("open"))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(STEP);
                    continue;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let pid = read_pid(&file).map_or("unknown".to_owned(), |pid| pid.to_string());
                    return Err(PidFileError::Runs { pid, path: path.to_owned() });
                }
                Err(source) => return Err(io("lock")(source.into())),
            }
            // A daemon that ended between our opening and our locking has removed what we hold now.
            if !is_same(&file, path) {
                continue;
            }
            file.set_len(0).map_err(io("write"))?;
            writeln!(file, "{}", std::process::id()).map_err(io("write"))?;
            return Ok(PidFile { path: path.to_owned(), file });
        }
    }
}

impl Drop for PidFile {
    /// Removes the file while it is still held, so that nobody else's is removed.
    fn drop(&mut self) {
        if is_same(&self.file, &self.path)
            && let Err(err) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(file = %self.path.display(), %err, "process file not removed");
        }
    }
}

/// Whether the path still leads to the open file.
fn is_same(file: &File, path: &Path) -> bool {
    let id = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    let open = file.metadata().map(id).ok();
    open.is_some() && open == std::fs::metadata(path).map(id).ok()
}

/// The number in the file.
fn read_pid(mut file: &File) -> Option<i32> {
    let mut text = String::new();
    io::Seek::seek(&mut file, io::SeekFrom::Start(0)).ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// The daemon that holds the file, `None` when there is none.
///
/// # Errors
/// [`PidFileError::Stranger`] when the file is held but the process it names does not have it open.
pub fn running(path: &Path) -> Result<Option<i32>, PidFileError> {
    Ok(holder(path)?.map(|(pid, _)| pid))
}

/// Asks the daemon that holds the file to end (SIGTERM) and waits for it, at most `patience`.
///
/// # Errors
/// Like [`running`]; or the daemon belongs to somebody else.
pub fn stop(path: &Path, patience: Duration) -> Result<Stopped, PidFileError> {
    let Some((pid, process)) = holder(path)? else { return Ok(Stopped::NotRunning) };
    let io = |what| move |source| PidFileError::Io { what, path: path.to_owned(), source };
    match pidfd_send_signal(&process, Signal::TERM) {
        Ok(()) => {}
        Err(rustix::io::Errno::SRCH) => return Ok(Stopped::Ended(pid)),
        Err(err) => return Err(io("signal the process in")(err.into())),
    }
    if wait(&process, patience).map_err(io("wait for the process in"))? {
        Ok(Stopped::Ended(pid))
    } else {
        Ok(Stopped::StillRuns(pid))
    }
}

/// The process that holds the file, as a handle that can never mean another one.
fn holder(path: &Path) -> Result<Option<(i32, OwnedFd)>, PidFileError> {
    let io = |what| move |source| PidFileError::Io { what, path: path.to_owned(), source };
    let begun = Instant::now();
    loop {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(io("open")(err)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            // The lock goes with the file.
            Ok(()) => return Ok(None),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(err) => return Err(io("look at the lock of")(err.into())),
        }
        if let Some(pid) = read_pid(&file) {
            // First the handle, then the proof: what is proved of the number holds for the handle.
            let handle = Pid::from_raw(pid).and_then(|raw| pidfd_open(raw, PidfdFlags::empty()).ok());
            if let Some(handle) = handle.filter(|_| has_open(pid, &file)) {
                return Ok(Some((pid, handle)));
            }
        }
        // A daemon that has just begun holds the lock before it has written its number.
        if begun.elapsed() > PATIENCE {
            return Err(PidFileError::Stranger { path: path.to_owned() });
        }
        std::thread::sleep(STEP);
    }
}

/// Whether a process has the very file open.
fn has_open(pid: i32, file: &File) -> bool {
    let Ok(wanted) = file.metadata() else { return false };
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut opened = entries.flatten().filter_map(|entry| std::fs::metadata(entry.path()).ok());
    opened.any(|meta| (meta.dev(), meta.ino()) == (wanted.dev(), wanted.ino()))
}

/// Whether the process ended within the time.
fn wait(process: &OwnedFd, patience: Duration) -> io::Result<bool> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let span = rustix::event::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&span)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
}
