//! From the command line to the loop: becoming a process of its own, the lock, the journal, the
//! control groups, the socket.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use god_runtime::keeper::{JOURNAL, LOCK, SOCKET};
use god_runtime::latch::Latch;
use god_runtime::launch::Needs;

use super::jobs::Jobs;
use super::journal::Journal;
use super::slots::Slots;
use crate::{spawn, sys};

/// How long a start waits for another keeper that is just leaving.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest path of a socket, bytes.
const MAX_SOCKET_PATH: usize = 107;

/// Use of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cgroups {
    /// When they can be used.
    Auto,
    /// Never.
    Off,
    /// Always: without them there is no keeper.
    Require,
}

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of socket, lock, journal, latches and log.
    pub dir: PathBuf,
    min_uid: u32,
    cgroups: Cgroups,
    cluster: String,
    capacity: Needs,
    /// Time without jobs, results and clients after which it leaves.
    pub idle: Duration,
}

impl Options {
    /// The defaults: users from 1000, the whole machine, control groups if they can be used.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            min_uid: 1000,
            cgroups: Cgroups::Auto,
            cluster: "local".to_owned(),
            capacity: machine(),
            idle: Duration::from_secs(60),
        }
    }

    /// Sets an option by its name on the command line.
    ///
    /// # Errors
    /// In words, when there is no such option or it does not take this value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not {value:?}"));
        let small = || value.parse::<u32>().map_err(|_| format!("{name} needs a number, not {value:?}"));
        match name {
            "--min-uid" => self.min_uid = small()?,
            "--cores" => self.capacity.cores = small()?,
            "--memory" => self.capacity.memory = number()?,
            "--idle-seconds" => self.idle = Duration::from_secs(number()?),
            "--cluster" => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                if value.is_empty() || value.len() > 64 || !value.bytes().all(plain) {
                    return Err(format!(
                        "--cluster {value:?}: letters, digits and - _ . are accepted, up to 64"
                    ));
                }
                self.cluster = value.to_owned();
            }
            "--cgroups" => {
                self.cgroups = match value {
                    "auto" => Cgroups::Auto,
                    "off" => Cgroups::Off,
                    "require" => Cgroups::Require,
                    _ => return Err(format!("--cgroups {value:?}: auto, off and require are accepted")),
                }
            }
            _ => return Err(format!("there is no option {name}")),
        }
        Ok(())
    }
}

/// All cores and all memory of this machine.
fn machine() -> Needs {
    // SAFETY: plain integers.
    let (cores, pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_NPROCESSORS_ONLN),
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGE_SIZE),
        )
    };
    Needs { cores: cores.max(1) as u32, memory: (pages.max(0) as u64).saturating_mul(page.max(0) as u64) }
}

/// Makes sure that a keeper serves the directory. On return one listens: this call's or another.
///
/// # Errors
/// In words, when none could be started.
pub fn start(options: Options) -> Result<(), String> {
    prepare_dir(&options.dir)?;
    let (mut reader, writer) = io::pipe().map_err(|err| format!("cannot make a pipe: {err}"))?;
    // SAFETY: this process has one thread and has opened nothing that two may not share.
    match unsafe { libc::fork() } {
        -1 => Err(format!("cannot make a process: {}", io::Error::last_os_error())),
        0 => {
            drop(reader);
            serve(&options, writer);
            Ok(())
        }
        _ => {
            drop(writer);
            let mut answer = String::new();
            reader.read_to_string(&mut answer).map_err(|err| format!("the keeper gave no answer: {err}"))?;
            match answer.strip_prefix(READY) {
                Some("") => Ok(()),
                _ if answer.is_empty() => Err("the keeper ended before it was ready".to_owned()),
                _ => Err(answer),
            }
        }
    }
}

/// What the keeper tells its starter once it listens.
const READY: &str = "ready";

fn serve(options: &Options, mut starter: io::PipeWriter) {
    let keeper = match become_keeper(options, &starter) {
        Ok(keeper) => keeper,
        Err(reason) => {
            // The starter shows it; when it is gone the log has to do.
            if starter.write_all(reason.as_bytes()).is_err() {
                eprintln!("{reason}");
            }
            return;
        }
    };
    if let Err(err) = starter.write_all(READY.as_bytes()) {
        eprintln!("nobody waits for this keeper: {err}");
    }
    drop(starter);
    if let Some(keeper) = keeper {
        keeper.run();
    }
}

/// `None` when another keeper serves already.
fn become_keeper(options: &Options, starter: &io::PipeWriter) -> Result<Option<super::Keeper>, String> {
    let fail = |what: &str| {
        let what = what.to_owned();
        move |err: io::Error| format!("cannot {what}: {err}")
    };
    detach(&options.dir, starter).map_err(fail("become a process of its own"))?;
    let Some(lock) = take_lock(&options.dir).map_err(fail("lock the directory"))? else { return Ok(None) };
    sys::become_subreaper().map_err(fail("become the parent of orphans"))?;
    protect();
    let open_files = sys::raise_open_files();

    let slots = match options.cgroups {
        Cgroups::Off => None,
        wish => match (wish, Slots::open(&options.cluster)) {
            (_, Ok(Some(slots))) => Some(slots),
            (Cgroups::Require, Ok(None)) => {
                return Err("this machine has no control groups for memory".to_owned());
            }
            (Cgroups::Require, Err(reason)) => return Err(reason),
            (_, Ok(None)) => None,
            (_, Err(reason)) => {
                eprintln!("no control groups, memory and cores are not enforced: {reason}");
                None
            }
        },
    };
    let latch = Latch::open(&options.dir).map_err(|err| err.to_string())?;
    let boot = boot_id();
    let journal = Journal::open(&options.dir.join(JOURNAL), &boot).map_err(fail("open the journal"))?;
    let stack = spawn::Stack::new().map_err(fail("reserve memory"))?;
    let null = sys::open_null().map_err(fail("open /dev/null"))?;
    let limits = (options.min_uid, options.capacity);
    let jobs = Jobs::new(latch, journal, slots, stack, null, open_files, boot, limits);
    let listener = listen(&options.dir.join(SOCKET)).map_err(fail("listen"))?;
    super::assemble(jobs, listener, lock, options).map(Some).map_err(fail("prepare"))
}

/// The directory must be ours and closed to others: who can write here commands all jobs.
fn prepare_dir(dir: &Path) -> Result<(), String> {
    let shown = dir.display();
    if !dir.is_absolute() {
        return Err(format!("{shown} is not an absolute path"));
    }
    if dir.join(SOCKET).as_os_str().len() > MAX_SOCKET_PATH {
        return Err(format!("{shown} is too long for a socket; {MAX_SOCKET_PATH} bytes are accepted"));
    }
    std::fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(dir)
        .map_err(|err| format!("cannot make {shown}: {err}"))?;
    let meta = std::fs::metadata(dir).map_err(|err| format!("cannot look at {shown}: {err}"))?;
    if meta.uid() != sys::effective_uid() || meta.mode() & 0o022 != 0 {
        return Err(format!(
            "{shown} must belong to user {} and be writable by nobody else",
            sys::effective_uid()
        ));
    }
    Ok(())
}

/// Leaves session, directory, standard files and signals of whoever started us.
fn detach(dir: &Path, starter: &io::PipeWriter) -> io::Result<()> {
    sys::close_inherited(starter.as_raw_fd())?;
    // SAFETY: plain integers. We were just forked, so we lead no group and setsid succeeds.
    sys::check(unsafe { libc::setsid() })?;
    // For what is written into directories of jobs; our own files have their modes set.
    // SAFETY: plain integers.
    unsafe { libc::umask(0o027) };
    std::env::set_current_dir("/")?;
    sys::take_signals()?;
    sys::fill_standard_descriptors()?;
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(dir.join("keeper.log"))?;
    let null = sys::open_null()?;
    sys::put_at(null.as_raw_fd(), 0)?;
    sys::put_at(null.as_raw_fd(), 1)?;
    sys::put_at(log.as_raw_fd(), 2)
}

/// The lock that makes us the only keeper. `None` when another one listens.
fn take_lock(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)?;
    let until = Instant::now() + PATIENCE;
    loop {
        // SAFETY: plain integers.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(Some(file));
        }
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::WouldBlock {
            return Err(err);
        }
        // One that holds the lock and does not listen is about to come or to go.
        if UnixStream::connect(dir.join(SOCKET)).is_ok() {
            return Ok(None);
        }
        if Instant::now() >= until {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "another keeper holds it and does not listen",
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Keeps what belongs to root from the jobs that will share our memory for an instant, and from
/// those that inherit from us.
fn protect() {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    const SET_PERMISSIONS: libc::c_long = 5;
    const SESSION_KEYRING: libc::c_long = -3;
    if sys::effective_uid() != 0 {
        return;
    }
    // SAFETY: plain integers and a null name, which means a new keyring without one. Where keys
    // are not supported there is nothing to protect.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>());
        // All jobs inherit it: it must carry nothing from one user to another.
        libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, SESSION_KEYRING, 0);
    }
    // SAFETY: an empty list. Groups of root must not help when files are written for a user.
    unsafe { libc::setgroups(0, std::ptr::null()) };
}

fn boot_id() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) => text.trim().to_owned(),
        Err(err) => {
            // Process ids of another boot then count as ours only if their times fit too.
            eprintln!("cannot tell this boot from others: {err}");
            String::new()
        }
    }
}

/// A socket only this user can connect to.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
        _ => {}
    }
    // Nobody else can enter the directory meanwhile.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        let mut options = Options::new("/x".into());
        options.set("--min-uid", "500").unwrap();
        options.set("--cgroups", "off").unwrap();
        options.set("--cluster", "my-site_1").unwrap();
        options.set("--memory", "1099511627776").unwrap();
        assert_eq!((options.min_uid, options.cgroups, options.capacity.memory), (500, Cgroups::Off, 1 << 40));
        for (name, value) in [
            ("--min-uid", "-1"),
            ("--min-uid", "4294967296"),
            ("--cgroups", "maybe"),
            ("--cluster", "../x"),
            ("--cluster", ""),
            ("--memory", "4G"),
            ("--what", "1"),
        ] {
            assert!(options.set(name, value).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn directories_others_can_write_are_refused() {
        let keep = tempfile::tempdir().unwrap();
        prepare_dir(&keep.path().join("a/b")).unwrap();
        std::fs::set_permissions(keep.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        assert!(prepare_dir(keep.path()).is_err());
        assert!(prepare_dir(Path::new("relative")).is_err());
        assert!(prepare_dir(&keep.path().join("x".repeat(100))).is_err());
    }
}
