//! Where the directories of tasks are, making them with the right owners and modes, and removing
//! them. A job's own directory belongs to its user alone; everything above it, and the control
//! directory with the script, belongs to the daemon, so that no user can replace what another
//! user's job will run.
//!
//! Nothing here ever walks a path a job could have bent: each step goes by handle.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::launch::{ContainerLaunch, EXIT_FILE, ExitRecord, STARTED_FILE};
use crate::{handle, pairtree, remove, size};

/// Name of the directory that holds a task's files, inside its pairtree object.
const TASK: &str = "task";
/// Name of the script in the control directory.
const SCRIPT: &str = "cmd.sh";
/// Name of the launch description of a container in an attempt's directory.
const LAUNCH: &str = "launch.json";
/// Name of the directory in an attempt's directory that the job may write.
const LATCH: &str = "latch";
/// Largest exit record we read, bytes.
const MAX_EXIT_RECORD: u64 = 16 << 10;

/// Who owns a job's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What went wrong with a directory of ours.
#[derive(Debug, thiserror::Error)]
pub enum JobDirError {
    /// The system refused. A full disk (`ENOSPC`, `EDQUOT`) ends up here too: see [`Self::is_full`].
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something is there that we did not make.
    #[error("{} belongs to user {found}; expected {expected}", path.display())]
    NotOurs {
        /// Where.
        path: PathBuf,
        /// Its owner.
        found: u32,
        /// Whose it should be.
        expected: u32,
    },
    /// Others may write where only the daemon may.
    #[error("{} can be written by others (mode {mode:o}); remove those rights", path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

impl JobDirError {
    /// Nothing is wrong but a lack of space: keep the task pending and try later.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(Errno::from_io_error(source), Some(Errno::NOSPC | Errno::DQUOT))
            }
            Self::NotOurs { .. } | Self::Open { .. } => false,
        }
    }
}

/// The directories of one attempt of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDirs {
    /// Read-only for the job: holds the launch description.
    pub dir: PathBuf,
    /// The launch description.
    pub launch: PathBuf,
    /// Writable by the job's user: becomes `latch_dir` inside the container.
    pub latch: PathBuf,
}

/// The shared directory of a site.
#[derive(Debug, Clone)]
pub struct JobDirs {
    shared: PathBuf,
    sync: bool,
}

impl JobDirs {
    /// `shared` is the absolute path that is the same on every host.
    pub fn new(shared: impl Into<PathBuf>) -> Self {
        Self { shared: shared.into(), sync: true }
    }

    /// Files are no longer made durable one by one. For an executor whose jobs run on this very
    /// host: none of them survives what would lose a file, and a start writes anew what is not
    /// as it should be.
    #[must_use]
    pub fn without_sync(self) -> Self {
        Self { sync: false, ..self }
    }

    /// Directory of a plain task, or of the parent of an array.
    pub fn task_dir(&self, task: u64) -> PathBuf {
        self.shared.join("tasks/pairtree_root").join(pairtree::task_pairs(task)).join(TASK)
    }

    /// Directory of the child with this index of an array.
    pub fn child_dir(&self, parent: u64, index: i64) -> PathBuf {
        self.task_dir(parent).join(index.to_string())
    }

    /// Directory of the files a user uploaded.
    pub fn user_dir(&self, login: &str) -> PathBuf {
        let object = pairtree::pairs(&pairtree::user_object(login));
        self.shared.join("tasks/pairtree_root").join(object).join(TASK)
    }

    /// Directory of what the daemon keeps about a task (or an array) and no job can write.
    pub fn control_dir(&self, task: u64) -> PathBuf {
        self.shared.join("control").join(pairtree::task_pairs(task))
    }

    /// The script of a task, or of all children of an array.
    pub fn script_path(&self, task: u64) -> PathBuf {
        self.control_dir(task).join(SCRIPT)
    }

    /// The directories of an attempt of a container.
    pub fn attempt_dirs(&self, task: u64, attempt: u32) -> AttemptDirs {
        let dir = self.control_dir(task).join(format!("attempt-{attempt}"));
        AttemptDirs { launch: dir.join(LAUNCH), latch: dir.join(LATCH), dir }
    }

    /// Makes what lies above a task's directory, for an executor that makes the last component
    /// itself.
    ///
    /// # Errors
    /// [`JobDirError`].
    pub fn create_task_parent(&self, task: u64) -> Result<PathBuf, JobDirError> {
        self.object_dir(task).map(|step| step.path)
    }

    /// Makes the directory of a plain task: owned by the user, mode 0700. Repeating is harmless.
    ///
    /// # Errors
    /// [`JobDirError`]; `NotOurs` when a directory of another user is in its place.
    pub fn create_task_dir(&self, task: u64, owner: Owner) -> Result<PathBuf, JobDirError> {
        self.object_dir(task)?.descend_owned(TASK, owner, Mode::RWXU).map(|step| step.path)
    }

    /// Makes the directory of an array's parent: owned by the daemon, readable by the user's group.
    ///
    /// # Errors
    /// [`JobDirError`].
    pub fn create_array_dir(&self, task: u64, gid: u32) -> Result<PathBuf, JobDirError> {
        self.array_dir(task, gid).map(|step| step.path)
    }

    /// Makes the directory of a child of an array, and its parent's: owned by the user, mode 0700.
    ///
    /// # Errors
    /// [`JobDirError`].
    pub fn create_child_dir(&self, parent: u64, index: i64, owner: Owner) -> Result<PathBuf, JobDirError> {
        let step = self.array_dir(parent, owner.gid)?;
        step.descend_owned(&index.to_string(), owner, Mode::RWXU).map(|step| step.path)
    }

    /// Writes the script of a task or array once: readable and executable by its user alone when
    /// the daemon is root, else by the daemon's user. The file is durable on return, unless
    /// [`Self::without_sync`].
    ///
    /// # Errors
    /// [`JobDirError`].
    pub fn write_script(&self, task: u64, owner: Owner, text: &[u8]) -> Result<PathBuf, JobDirError> {
        let control = self.control_step(task)?;
        control.write_file(SCRIPT, owner, Mode::RUSR | Mode::XUSR, text, self.sync)
    }

    /// Makes the directories of one attempt of a container and writes its launch description,
    /// readable by the job's user.
    ///
    /// # Errors
    /// [`JobDirError`].
    pub fn create_attempt(
        &self,
        task: u64,
        attempt: u32,
        owner: Owner,
        launch: &ContainerLaunch,
    ) -> Result<AttemptDirs, JobDirError> {
        let dirs = self.attempt_dirs(task, attempt);
        let step = self.control_step(task)?.descend(&format!("attempt-{attempt}"), CONTROL_MODE)?;
        step.descend_owned(LATCH, owner, Mode::RWXU)?;
        let text = serde_json::to_vec(launch).map_err(|err| JobDirError::Io {
            what: "describe the launch for",
            path: dirs.launch.clone(),
            source: io::Error::other(err),
        })?;
        step.write_file(LAUNCH, owner, Mode::RUSR, &text, self.sync)?;
        Ok(dirs)
    }

    /// Takes the latch of a container's attempt, so that it can never run. False when it had been
    /// taken: then it ran, or was given up before. True also when its directory was never made.
    ///
    /// # Errors
    /// [`JobDirError`]; the attempt must then be treated as possibly running.
    pub fn abandon_attempt(&self, task: u64, attempt: u32) -> Result<bool, JobDirError> {
        let step = self.control_step(task)?.descend(&format!("attempt-{attempt}"), CONTROL_MODE)?;
        // A directory made here belongs to the daemon: no job can take the latch in it.
        match rustix::fs::mkdirat(&step.dir, LATCH, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(err) => return Err(step.error("make", LATCH, err)),
        }
        let latch = handle::open_child_dir(&step.dir, LATCH).map_err(|err| step.error("open", LATCH, err))?;
        take_file_latch(&latch).map_err(|source| JobDirError::Io {
            what: "take the latch",
            path: step.path.join(LATCH).join(STARTED_FILE),
            source,
        })
    }

    /// The exit record a container's attempt left, if there is one that can be read. A hint: the
    /// job could have written it.
    pub fn read_exit_record(&self, task: u64, attempt: u32) -> Option<ExitRecord> {
        let latch = handle::open_dir(&self.attempt_dirs(task, attempt).latch).ok()?;
        let file = handle::open_beneath(latch.as_fd(), Path::new(EXIT_FILE), OFlags::RDONLY).ok()?;
        if !handle::is_regular(&rustix::fs::fstat(&file).ok()?) {
            return None;
        }
        let mut text = Vec::new();
        File::from(file).take(MAX_EXIT_RECORD).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Removes the directory of a task or of a whole array. Not the directories above it, which
    /// other tasks share. `Ok` when it is gone already.
    ///
    /// # Errors
    /// [`JobDirError`]; with `EXDEV` when something is mounted in it.
    pub fn remove_task_dir(&self, task: u64) -> Result<(), JobDirError> {
        remove_at(&self.task_dir(task))
    }

    /// Removes the directory of one child of an array.
    ///
    /// # Errors
    /// As [`Self::remove_task_dir`].
    pub fn remove_child_dir(&self, parent: u64, index: i64) -> Result<(), JobDirError> {
        remove_at(&self.child_dir(parent, index))
    }

    /// Removes script and attempts of a task, and leaves the control directories of the tasks
    /// whose ids begin with the same digits.
    ///
    /// # Errors
    /// As [`Self::remove_task_dir`].
    pub fn remove_control_dir(&self, task: u64) -> Result<(), JobDirError> {
        let path = self.control_dir(task);
        let failed = |what, source: io::Error| JobDirError::Io { what, path: path.clone(), source };
        let dir = match handle::open_dir(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|err| failed("open", err))?,
        };
        let names: Vec<CString> = rustix::fs::Dir::read_from(&dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name().to_owned())).collect())
            .map_err(|err| failed("read", err.into()))?;
        // Pairs have at most two characters; no name of ours is that short.
        for name in names.iter().filter(|name| name.as_bytes().len() > 2) {
            remove::remove_tree(dir.as_fd(), name).map_err(|err| failed("remove from", err))?;
        }
        match std::fs::remove_dir(&path) {
            Ok(()) => Ok(()),
            Err(err) if matches!(Errno::from_io_error(&err), Some(Errno::NOTEMPTY | Errno::NOENT)) => Ok(()),
            Err(err) => Err(failed("remove", err)),
        }
    }

    /// Bytes in the directory of a task or of a whole array, of at most `entries` entries; 0 when
    /// there is none. What can not be looked at is left out.
    ///
    /// # Errors
    /// [`JobDirError`]: the directory itself can not be read.
    pub fn task_size(&self, task: u64, entries: u64) -> Result<u64, JobDirError> {
        size_of(&self.task_dir(task), entries)
    }

    /// As [`Self::task_size`], for one child of an array.
    ///
    /// # Errors
    /// As [`Self::task_size`].
    pub fn child_size(&self, parent: u64, index: i64, entries: u64) -> Result<u64, JobDirError> {
        size_of(&self.child_dir(parent, index), entries)
    }

    fn root(&self) -> Result<Step, JobDirError> {
        let dir = rustix::fs::open(
            &self.shared,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|err| JobDirError::Io {
            what: "open the shared directory",
            path: self.shared.clone(),
            source: err.into(),
        })?;
        Ok(Step { dir, path: self.shared.clone() })
    }

    fn object_dir(&self, task: u64) -> Result<Step, JobDirError> {
        let mut step = self.root()?.descend("tasks", TREE_MODE)?.descend("pairtree_root", TREE_MODE)?;
        for pair in pairtree::task_pairs(task).iter() {
            step = step.descend(&pair.to_string_lossy(), TREE_MODE)?;
        }
        Ok(step)
    }

    fn array_dir(&self, task: u64, gid: u32) -> Result<Step, JobDirError> {
        let daemon = Owner { uid: rustix::process::geteuid().as_raw(), gid };
        self.object_dir(task)?.descend_owned(TASK, daemon, Mode::RWXU | Mode::RGRP | Mode::XGRP)
    }

    fn control_step(&self, task: u64) -> Result<Step, JobDirError> {
        let mut step = self.root()?.descend("control", CONTROL_MODE)?;
        for pair in pairtree::task_pairs(task).iter() {
            step = step.descend(&pair.to_string_lossy(), CONTROL_MODE)?;
        }
        Ok(step)
    }
}

const TREE_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP).union(Mode::ROTH).union(Mode::XOTH);
const CONTROL_MODE: Mode = Mode::RWXU.union(Mode::XGRP).union(Mode::XOTH);

/// Takes the latch of a container's attempt in its open latch directory. False when it was taken.
///
/// # Errors
/// Those of the system; whether the latch is taken is then unknown.
pub fn take_file_latch(latch_dir: impl AsFd) -> io::Result<bool> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(latch_dir, STARTED_FILE, flags, Mode::RUSR | Mode::WUSR) {
        Ok(_) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

/// Makes (or finds) the directory `name` below an open directory and gives it to a user. For a
/// caller that holds the parent open; the parent must not be writable by that user.
///
/// # Errors
/// `PermissionDenied` with the reason when the directory belongs to somebody else, else those of
/// the system.
pub fn make_owned_dir(parent: impl AsFd, name: &str, owner: Owner, mode: u32) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(mode);
    match rustix::fs::mkdirat(&parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(err) => return Err(err.into()),
    }
    let dir = handle::open_child_dir(&parent, name)?;
    let stat = rustix::fs::fstat(&dir)?;
    if (stat.st_uid, stat.st_gid) != (owner.uid, owner.gid) {
        // Only we can make entries in the parent: one of ours is a creation that was cut off.
        if stat.st_uid != owner.uid && stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{name} belongs to user {}, not to {}", stat.st_uid, owner.uid),
            ));
        }
        rustix::fs::fchown(&dir, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    }
    if Mode::from_raw_mode(stat.st_mode) != mode {
        rustix::fs::fchmod(&dir, mode)?;
    }
    Ok(dir)
}

/// Opens a directory that is a direct child of an open one: no link, no mount point.
///
/// # Errors
/// Those of the system.
pub fn open_child_dir(parent: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    Ok(handle::open_child_dir(parent, name)?)
}

fn size_of(path: &Path, entries: u64) -> Result<u64, JobDirError> {
    let failed = |source| JobDirError::Io { what: "measure", path: path.to_owned(), source };
    size::size_at(path, entries).map_err(failed)
}

fn remove_at(path: &Path) -> Result<(), JobDirError> {
    let failed = |what, source: io::Error| JobDirError::Io { what, path: path.to_owned(), source };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed("remove", io::ErrorKind::InvalidInput.into()));
    };
    let parent = match handle::open_dir(parent) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|err| failed("open the directory of", err))?,
    };
    let name = CString::new(name.as_encoded_bytes()).map_err(|err| failed("remove", err.into()))?;
    remove::remove_tree(parent.as_fd(), &name).map_err(|err| failed("remove", err))
}

/// One open directory on the way down, with its path for messages.
struct Step {
    dir: OwnedFd,
    path: PathBuf,
}

impl Step {
    fn error(&self, what: &'static str, name: &str, err: Errno) -> JobDirError {
        JobDirError::Io { what, path: self.path.join(name), source: err.into() }
    }

    /// Enters a directory of the daemon, making it if it is missing.
    fn descend(self, name: &str, mode: Mode) -> Result<Step, JobDirError> {
        let made = match rustix::fs::mkdirat(&self.dir, name, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(err) => return Err(self.error("make", name, err)),
        };
        let dir = handle::open_child_dir(&self.dir, name).map_err(|err| self.error("open", name, err))?;
        let stat = rustix::fs::fstat(&dir).map_err(|err| self.error("look at", name, err))?;
        let path = self.path.join(name);
        let me = rustix::process::geteuid().as_raw();
        if stat.st_uid != me {
            return Err(JobDirError::NotOurs { path, found: stat.st_uid, expected: me });
        }
        let found = Mode::from_raw_mode(stat.st_mode);
        if made && found != mode {
            rustix::fs::fchmod(&dir, mode).map_err(|err| self.error("set the mode of", name, err))?;
        } else if found.intersects(Mode::WGRP | Mode::WOTH) {
            return Err(JobDirError::Open { path, mode: found.as_raw_mode() });
        }
        Ok(Step { dir, path })
    }

    /// Enters a directory that belongs to `owner`, making it if it is missing.
    fn descend_owned(&self, name: &str, owner: Owner, mode: Mode) -> Result<Step, JobDirError> {
        let path = self.path.join(name);
        let dir = make_owned_dir(&self.dir, name, owner, mode.as_raw_mode())
            .map_err(|source| JobDirError::Io { what: "make", path: path.clone(), source })?;
        Ok(Step { dir, path })
    }

    /// Writes a small file whole, unless it is already there with the same content.
    fn write_file(
        &self,
        name: &str,
        owner: Owner,
        mode: Mode,
        text: &[u8],
        sync: bool,
    ) -> Result<PathBuf, JobDirError> {
        let path = self.path.join(name);
        let failed = |what, source: io::Error| JobDirError::Io { what, path: path.clone(), source };
        let root = rustix::process::geteuid().is_root();
        let me = rustix::process::geteuid().as_raw();
        let uid = if root { owner.uid } else { me };
        if self.holds(name, uid, text) {
            return Ok(path);
        }
        let temporary = format!(".{name}.{}.new", std::process::id());
        match rustix::fs::unlinkat(&self.dir, temporary.as_str(), rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(err) => return Err(failed("replace the draft of", err.into())),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, temporary.as_str(), flags, Mode::RUSR | Mode::WUSR)
            .map_err(|err| failed("make", err.into()))?;
        let mut file = File::from(file);
        let written = file.write_all(text).and_then(|()| {
            if root {
                rustix::fs::fchown(&file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
            }
            rustix::fs::fchmod(&file, mode)?;
            if sync {
                file.sync_all()?;
            }
            rustix::fs::renameat(&self.dir, temporary.as_str(), &self.dir, name)?;
            if sync {
                rustix::fs::fsync(&self.dir)?;
            }
            Ok(())
        });
        written.map_err(|err| failed("write", err))?;
        Ok(path)
    }

    fn holds(&self, name: &str, uid: u32, text: &[u8]) -> bool {
        let Ok(file) = handle::open_beneath(self.dir.as_fd(), Path::new(name), OFlags::RDONLY) else {
            return false;
        };
        let Ok(stat) = rustix::fs::fstat(&file) else { return false };
        if !handle::is_regular(&stat) || stat.st_uid != uid || stat.st_size as u64 != text.len() as u64 {
            return false;
        }
        let mut found = Vec::with_capacity(text.len());
        File::from(file).take(text.len() as u64 + 1).read_to_end(&mut found).is_ok() && found == text
    }
}

#[cfg(test)]
mod tests;
