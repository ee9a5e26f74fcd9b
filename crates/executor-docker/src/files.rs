//! What lies on disk about attempts: the job directory, the control directory with script and launch description, the
//! mark of a kill, and the latches. Everything here blocks, and is called on threads that may.
//!
//! An attempt has two latches. The one in its own directory decides between its first process and whoever gives it
//! up. The one of [`god_runtime::latch`] is the memory that outlives that directory: an attempt that was given up or
//! forgotten is closed there, and nothing that comes late opens it again.

use crate::engine::lock;
use crate::wire::Hints;
use god_core::executor::{Abandon, AttemptKey, Finished, Launch};
use god_core::ids::TaskId;
use god_core::spec::Output;
use god_core::units::Seconds;
use god_runtime::jobdir::{AttemptDirs, JobDirError, JobDirs, Owner};
use god_runtime::latch::{Latch, LatchError, Verdict};
use god_runtime::launch::{ContainerLaunch, Key, LIMIT_FILE, STARTED_FILE};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Name of the script in the attempt's directory.
pub const SCRIPT: &str = "cmd.sh";
/// Name of the file that says that we asked for the end of the run.
const KILL: &str = "kill";
/// Name of the file that containers without a network see as `/etc/hosts`.
const HOSTS: &str = "hosts";
/// What it says: the names of the loopback device.
const HOSTS_TEXT: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
/// Attempts whose directories are made at the same time must not be the same.
const LANES: usize = 64;

/// Directories of one attempt that is ready to start.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The job directory; `None` when the task wants no output.
    pub job: Option<PathBuf>,
    /// Control and latch directory.
    pub attempt: AttemptDirs,
    /// Uploaded files of the owner, if there are any.
    pub data: Option<PathBuf>,
    /// What containers without a network read as `/etc/hosts`.
    pub hosts: PathBuf,
}

/// Why the files of an attempt are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The attempt is over for ever.
    #[error("attempt {0} was given up or forgotten: it never runs again")]
    Closed(AttemptKey),
    /// A directory of ours.
    #[error(transparent)]
    Dir(#[from] JobDirError),
    /// A latch.
    #[error(transparent)]
    Latch(#[from] LatchError),
    /// A file of ours.
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

/// The files of one site.
#[derive(Debug)]
pub struct Files {
    dirs: JobDirs,
    control: PathBuf,
    latch: Mutex<Option<Arc<Latch>>>,
    lanes: [Mutex<()>; LANES],
}

/// Makes the directory of everything that no job may write, below a shared directory that must exist.
pub fn make_control_root(control: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o711).create(control) {
        // The mode again, because of the process's mask.
        Ok(()) => std::fs::set_permissions(control, Permissions::from_mode(0o711)),
        Err(err) if err.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(err) => Err(err),
    }
}

/// Owner of the files of a task's container.
pub fn owner(launch: &Launch) -> Owner {
    let owner = &launch.spec.owner;
    Owner { uid: if launch.spec.root { 0 } else { owner.uid }, gid: owner.gid }
}

impl Files {
    pub fn new(shared: &Path) -> Files {
        Files {
            // A start that is repeated after a loss of power compares these files and writes them again; an fsync for
            // each container would make the engine wait for the whole journal.
            dirs: JobDirs::new(shared).without_sync(),
            control: shared.join("control"),
            latch: Mutex::default(),
            lanes: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Makes everything that the container of an attempt needs. Repeating is harmless.
    ///
    /// # Errors
    /// [`FileError::Closed`] when the attempt may not run any more, else why it cannot be made now.
    pub fn prepare(&self, launch: &Launch, description: &ContainerLaunch) -> Result<Prepared, FileError> {
        let key = launch.key;
        let _alone = lock(&self.lanes[key.task.0 as usize % LANES]);
        self.refuse_closed(key)?;
        let spec = &launch.spec;
        let user = Owner { uid: spec.owner.uid, gid: spec.owner.gid };
        let job = match (spec.output, &launch.child) {
            (Output::None, _) => None,
            (Output::Files, None) => Some(self.dirs.create_task_dir(key.task.0, user)?),
            (Output::Files, Some(child)) => {
                Some(self.dirs.create_child_dir(child.parent.0, child.index, user)?)
            }
        };
        let attempt = self.dirs.create_attempt(key.task.0, key.attempt, owner(launch), description)?;
        write_script(&attempt.dir, owner(launch), spec.script.as_bytes())?;
        // Again: had it been closed and its directory removed meanwhile, the directory made just now holds no latch.
        // From here on a removal shows, since the engine does not start a container whose directories are missing.
        if let Err(closed) = self.refuse_closed(key) {
            remove_tree(&attempt.dir)?;
            return Err(closed);
        }
        let data = self.dirs.user_dir(spec.owner.id.as_str());
        Ok(Prepared { job, attempt, data: data.is_dir().then_some(data), hosts: self.hosts()? })
    }

    /// Whether the attempt was given up.
    pub fn is_abandoned(&self, key: AttemptKey) -> Result<bool, FileError> {
        Ok(self.latch()?.peek(key.task.0)? == Some((key.attempt, Verdict::Abandoned)))
    }

    /// Notes that we ask for the end of a run. False when that was noted before.
    pub fn mark_kill(&self, key: AttemptKey) -> Result<bool, FileError> {
        let path = self.kill_mark(key);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(_) => Ok(true),
            Err(err) if err.kind() == ErrorKind::AlreadyExists => Ok(false),
            // Forgotten: there is nothing to end.
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FileError::Io { what: "make", path, source }),
        }
    }

    /// Takes the note back: the run had ended before.
    pub fn unmark_kill(&self, key: AttemptKey) -> Result<(), FileError> {
        let path = self.kill_mark(key);
        gone(std::fs::remove_file(&path)).map_err(|source| FileError::Io { what: "remove", path, source })
    }

    /// Writes the time limit that the first process of a container shall take over.
    pub fn write_limit(&self, key: AttemptKey, limit: Option<Seconds>) -> Result<(), FileError> {
        let dir = self.dirs.attempt_dirs(key.task.0, key.attempt).dir;
        let (draft, path) = (dir.join(format!(".{LIMIT_FILE}.new")), dir.join(LIMIT_FILE));
        let text = limit.map(|limit| limit.0.to_string()).unwrap_or_default();
        // The directory is not the job's, so nobody has put anything in the way.
        let write = || -> io::Result<()> {
            std::fs::write(&draft, text)?;
            std::fs::set_permissions(&draft, Permissions::from_mode(0o644))?;
            std::fs::rename(&draft, &path)
        };
        write().map_err(|source| FileError::Io { what: "write", path: path.clone(), source })
    }

    /// The limit that was written last, if one was.
    fn changed_limit(&self, key: AttemptKey) -> Option<Option<Seconds>> {
        let path = self.dirs.attempt_dirs(key.task.0, key.attempt).dir.join(LIMIT_FILE);
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.parse().ok().map(Seconds))
    }

    /// What is known here about an end.
    pub fn hints(&self, key: AttemptKey) -> Result<Hints, FileError> {
        Ok(Hints {
            asked: self.kill_mark(key).exists(),
            abandoned: self.is_abandoned(key)?,
            record: self.dirs.read_exit_record(key.task.0, key.attempt),
            limit: self.changed_limit(key),
        })
    }

    /// Takes the latch of an attempt, unless it ran.
    pub fn abandon(&self, key: AttemptKey) -> Result<Abandon, FileError> {
        match self.latch()?.peek(key.task.0)? {
            Some((attempt, Verdict::Abandoned)) if attempt == key.attempt => return Ok(Abandon::NeverRan),
            Some((attempt, _)) if attempt >= key.attempt => return Ok(Abandon::Ran),
            _ => {}
        }
        if !self.dirs.abandon_attempt(key.task.0, key.attempt)? && !self.is_latched_by_us(key) {
            return Ok(Abandon::Ran);
        }
        self.latch()?.take(latch_key(key), Verdict::Abandoned)?;
        Ok(Abandon::NeverRan)
    }

    /// Whether a latch that was taken before was taken by a daemon that stopped before it could note it down: the
    /// file is the daemon's and its directory the job's, or the attempt never got as far as a description.
    fn is_latched_by_us(&self, key: AttemptKey) -> bool {
        let dirs = self.dirs.attempt_dirs(key.task.0, key.attempt);
        let owner = |path: &Path| std::fs::symlink_metadata(path).map(|meta| meta.uid()).ok();
        let me = Some(rustix::process::geteuid().as_raw());
        let (file, dir) = (owner(&dirs.latch.join(STARTED_FILE)), owner(&dirs.latch));
        file == me && (dir != me || !dirs.launch.exists())
    }

    /// Closes an attempt whose end is durable: it never runs again.
    pub fn close(&self, key: AttemptKey) -> Result<(), FileError> {
        self.latch()?.take(latch_key(key), Verdict::Started)?;
        Ok(())
    }

    /// Removes what is left of an attempt that is closed and has no container any more.
    pub fn forget(&self, over: &Finished) -> Result<(), FileError> {
        let TaskId(task) = over.key.task;
        if over.key.attempt == 0 {
            return if over.keep_files { Ok(()) } else { Ok(self.dirs.remove_task_dir(task)?) };
        }
        let attempt = self.dirs.attempt_dirs(task, over.key.attempt);
        if !over.keep_files {
            match over.parent {
                None => self.dirs.remove_task_dir(task)?,
                // A description that is gone was forgotten before, and the directory with it.
                Some(TaskId(parent)) => {
                    if let Some(index) = index_of(&attempt.launch) {
                        self.dirs.remove_child_dir(parent, index)?;
                    }
                }
            }
        }
        remove_tree(&attempt.dir)?;
        // Other attempts, or tasks whose numbers begin alike, may still live here.
        let control = self.dirs.control_dir(task);
        match std::fs::remove_dir(&control) {
            Err(err) if !matches!(err.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(FileError::Io { what: "remove", path: control, source: err })
            }
            _ => Ok(()),
        }
    }

    /// The file with the names of hosts, made when it is not there.
    fn hosts(&self) -> Result<PathBuf, FileError> {
        let path = self.control.join(HOSTS);
        if !path.exists() {
            let failed = |source| FileError::Io { what: "write", path: path.clone(), source };
            let mut draft = tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o644))
                .tempfile_in(&self.control)
                .map_err(failed)?;
            draft.write_all(HOSTS_TEXT.as_bytes()).map_err(failed)?;
            // The mode again, because of the process's mask.
            draft.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
            draft.persist(&path).map_err(|err| failed(err.error))?;
        }
        Ok(path)
    }

    fn refuse_closed(&self, key: AttemptKey) -> Result<(), FileError> {
        match self.latch()?.peek(key.task.0)? {
            Some((attempt, _)) if attempt >= key.attempt => Err(FileError::Closed(key)),
            _ => Ok(()),
        }
    }

    fn kill_mark(&self, key: AttemptKey) -> PathBuf {
        self.dirs.attempt_dirs(key.task.0, key.attempt).dir.join(KILL)
    }

    /// The latches, opened when first needed: the shared directory may not be there at start.
    fn latch(&self) -> Result<Arc<Latch>, FileError> {
        let mut latch = lock(&self.latch);
        if let Some(latch) = &*latch {
            return Ok(Arc::clone(latch));
        }
        make_control_root(&self.control).map_err(|source| FileError::Io {
            what: "make",
            path: self.control.clone(),
            source,
        })?;
        let opened = Arc::new(Latch::open(&self.control)?);
        *latch = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

fn latch_key(key: AttemptKey) -> Key {
    Key { task: key.task.0, attempt: key.attempt }
}

/// The value of a child of an array, from the description of its launch.
fn index_of(description: &Path) -> Option<i64> {
    let launch: ContainerLaunch = serde_json::from_slice(&std::fs::read(description).ok()?).ok()?;
    launch.env.iter().find(|(name, _)| name == "GODOCKER_TASK_ID").and_then(|(_, value)| value.parse().ok())
}

/// Writes the script into the attempt's directory, which no job can write: readable by its user alone.
fn write_script(dir: &Path, owner: Owner, text: &[u8]) -> Result<(), FileError> {
    let path = dir.join(SCRIPT);
    let failed = |what, source| FileError::Io { what, path: path.clone(), source };
    if path.exists() {
        return Ok(());
    }
    let draft = dir.join(format!(".{SCRIPT}.{}.new", std::process::id()));
    gone(std::fs::remove_file(&draft)).map_err(|err| failed("replace the draft of", err))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o500)
        .open(&draft)
        .map_err(|err| failed("write", err))?;
    let give = |file: &File| {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::fchown(file, Some(owner.uid), Some(owner.gid))?;
        }
        file.set_permissions(Permissions::from_mode(0o500))
    };
    file.write_all(text)
        .and_then(|()| give(&file))
        .and_then(|()| std::fs::rename(&draft, &path))
        .map_err(|err| failed("write", err))
}

/// Removes an attempt's directory. Its latch directory is the job's: links in it are removed, not followed.
fn remove_tree(dir: &Path) -> Result<(), FileError> {
    gone(std::fs::remove_dir_all(dir)).map_err(|source| FileError::Io {
        what: "remove",
        path: dir.to_owned(),
        source,
    })
}

/// That something is not there is what was wanted.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;
