//! The description of a launch: what to run, as whom, where, and within which limits. Written by
//! executors, executed by `go-d-init`. Types only: nothing here touches the system.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One attempt of one task. At most one run exists for a key, ever (see [`crate::latch`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Task id, from 1.
    pub task: u64,
    /// Attempt number, from 1; a retry of the task has a higher one.
    pub attempt: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.attempt)
    }
}

/// One environment variable: name and value.
pub type Variable = (String, String);

/// Who the job runs as. All three are numbers: names mean nothing to the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id, not below the floor of the site.
    pub uid: u32,
    /// Primary group id, not below the floor of the site.
    pub gid: u32,
    /// Supplementary groups, each not below the floor of the site.
    pub groups: Vec<u32>,
}

/// Where the standard output and error of the script go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Output {
    /// `god.log` and `god.err` in the working directory.
    #[default]
    Files,
    /// Thrown away: the job leaves no file of ours.
    None,
}

/// A signal sent before the time limit, so that a job can save its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warn {
    /// Signal number, 1 to 64.
    pub signal: i32,
    /// How long before the time limit.
    pub before_seconds: u64,
}

/// A kernel resource limit that a launch may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// Size of a core dump, bytes.
    Core,
    /// Processor time, seconds.
    Cpu,
    /// Size of a written file, bytes.
    FileSize,
    /// Open descriptors.
    OpenFiles,
    /// Processes of the user.
    Processes,
    /// Stack size, bytes.
    Stack,
    /// Locked memory, bytes.
    LockedMemory,
    /// Address space, bytes.
    AddressSpace,
}

/// One resource limit. `u64::MAX` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Which resource.
    pub resource: Resource,
    /// The limit that applies, not above `hard`.
    pub soft: u64,
    /// The limit up to which the job may raise its soft limit.
    pub hard: u64,
}

/// How long a job may run and how it is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// After this long the job gets TERM. `None` means no limit.
    pub time_limit_seconds: Option<u64>,
    /// Time between TERM and KILL, whatever the reason of the TERM.
    pub grace_seconds: u64,
    /// A signal before the time limit.
    pub warn: Option<Warn>,
}

/// What a job takes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs {
    /// Whole processor cores; 0 takes none and sets no quota.
    pub cores: u32,
    /// Memory in bytes; 0 takes none and sets no limit.
    pub memory: u64,
}

/// What many launches share. A request carries each template once, so that the children of a
/// large array repeat only their key and a few variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Absolute path of the program or script.
    pub script: PathBuf,
    /// Arguments after the name of the script.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables every launch gets. A launch's own value wins.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Who runs.
    pub identity: Identity,
    /// Absolute path of the working directory, or of its parent when the launch names a leaf.
    /// `None` means `/`, and then no output file is possible.
    pub workdir: Option<PathBuf>,
    /// Make the working directory (its last component only), owned by the job's user, mode 0700.
    #[serde(default)]
    pub create: bool,
    /// Where standard output and error go.
    #[serde(default)]
    pub output: Output,
    /// Write `god.info` after the end.
    #[serde(default)]
    pub info: bool,
    /// What [`URIS_FILE`] lists, in order; without any there is no such file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// Mask for the modes of new files, 0 to 0o777.
    #[serde(default = "default_umask")]
    pub umask: u32,
    /// Time limit and grace.
    #[serde(default)]
    pub timing: Timing,
    /// Cores and memory.
    #[serde(default)]
    pub needs: Needs,
    /// Processes and threads at most. `None` takes the default of the keeper.
    #[serde(default)]
    pub pids: Option<u64>,
    /// Further resource limits.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
}

fn default_umask() -> u32 {
    DEFAULT_UMASK
}

/// Mask used when a description names none: others get nothing.
pub const DEFAULT_UMASK: u32 = 0o027;

/// One job to run: a key, a template, and what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which attempt this is.
    pub key: Key,
    /// Index into the templates of the same request.
    pub template: u32,
    /// Variables of this launch alone.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// One path component below the template's working directory.
    #[serde(default)]
    pub leaf: Option<String>,
}

/// What PID 1 of a container is to do. The engine has set the user, the groups and the limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLaunch {
    /// Which attempt this is; kept in messages only.
    pub key: Key,
    /// Absolute path of the script inside the container.
    pub script: PathBuf,
    /// Arguments after the name of the script.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables set over those of the image.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Working directory inside the container.
    pub workdir: PathBuf,
    /// Directory of this attempt, writable by the job's user: holds `started` and `exit.json`.
    pub latch_dir: PathBuf,
    /// Where standard output and error go.
    #[serde(default)]
    pub output: Output,
    /// Write `god.info` after the end.
    #[serde(default)]
    pub info: bool,
    /// What [`URIS_FILE`] lists, in order; without any there is no such file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// Mask for the modes of new files.
    #[serde(default = "default_umask")]
    pub umask: u32,
    /// Time limit and grace.
    #[serde(default)]
    pub timing: Timing,
    /// Further resource limits.
    #[serde(default)]
    pub rlimits: Vec<Rlimit>,
}

/// Name of the file in the latch directory whose existence means "it ran or was given up".
pub const STARTED_FILE: &str = "started";
/// Name of the file beside a container's description that holds a time limit changed after the start: seconds from the
/// start as decimal text, or nothing for no limit.
pub const LIMIT_FILE: &str = "limit";
/// Signal that makes the first process of a container read [`LIMIT_FILE`]; the job never gets it.
pub const LIMIT_SIGNAL: i32 = libc::SIGPWR;
/// Name of the file in the working directory that lists the URIs of a task, written before its script runs.
pub const URIS_FILE: &str = "godocker-uris.txt";
/// Name of the exit record in the latch directory.
pub const EXIT_FILE: &str = "exit.json";
/// Exit code of `go-d-init --container` when the latch was already taken: nothing was run.
pub const EXIT_LATCH_TAKEN: i32 = 125;
/// Exit code when the script exists but could not be executed, or its surroundings failed.
pub const EXIT_CANNOT_RUN: i32 = 126;
/// Exit code when the script or its interpreter does not exist.
pub const EXIT_NOT_FOUND: i32 = 127;

/// The text of [`URIS_FILE`]: one a line, and no end of line after the last.
pub fn uris_text(uris: &[String]) -> String {
    uris.join("\n")
}

/// How a job ended. A hint for people and accounting of used time, never proof of an end: a
/// container's record lies in a directory the job can write.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code 0 to 255, or 128 + signal. 126 and 127, with a `failure`, when the script could not
    /// be executed. `None` when it cannot be known (`lost`), or when what surrounds the script
    /// failed (`failure`) and it was not even tried.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The time limit was reached before the end.
    #[serde(default)]
    pub timed_out: bool,
    /// We were asked to kill it before the end.
    #[serde(default)]
    pub killed: bool,
    /// The kernel killed a process of it for want of memory; `None` where that cannot be seen.
    #[serde(default)]
    pub oom: Option<bool>,
    /// It ended while nobody was there to see the code.
    #[serde(default)]
    pub lost: bool,
    /// Why the user's script was never entered, in words; `None` when it was.
    #[serde(default)]
    pub failure: Option<String>,
    /// Start, milliseconds since 1970.
    pub started_ms: u64,
    /// End, milliseconds since 1970.
    pub ended_ms: u64,
    /// Processor time in user mode of the waited-for processes, microseconds.
    pub utime_us: u64,
    /// Processor time in the kernel, microseconds.
    pub stime_us: u64,
    /// Largest resident size of one process, KiB.
    pub maxrss_kib: u64,
}

impl ExitRecord {
    /// The two lines of `god.info`: start and end, seconds since 1970.
    pub fn info_text(&self) -> String {
        format!("{}\n{}\n", self.started_ms / 1000, self.ended_ms / 1000)
    }
}

/// A fault of a launch description, in words for the one who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLaunch {
    /// A path that must be absolute is not.
    #[error("{what} {path:?} is not an absolute path")]
    NotAbsolute {
        /// Which path.
        what: &'static str,
        /// Its text.
        path: PathBuf,
    },
    /// A text holds a NUL byte, which no program can be given.
    #[error("{what} holds a NUL byte")]
    Nul {
        /// Which text.
        what: &'static str,
    },
    /// A variable's name is empty or holds `=`.
    #[error("environment variable name {name:?} is empty or holds '='")]
    BadVariable {
        /// The name.
        name: String,
    },
    /// A leaf is not one plain path component.
    #[error("working directory leaf {leaf:?} is not one plain path component")]
    BadLeaf {
        /// The leaf.
        leaf: String,
    },
    /// A user or group id below the floor, or one with a special meaning.
    #[error("{what} {id} is refused: ids from {floor} to 4294967293 except 65534 are accepted")]
    BadId {
        /// `uid`, `gid` or `group`.
        what: &'static str,
        /// The id.
        id: u32,
        /// The lowest accepted id.
        floor: u32,
    },
    /// Output files without a working directory.
    #[error("output files need a working directory")]
    NoWorkdir,
    /// A signal number the kernel does not know.
    #[error("signal {0} is refused: 1 to 64 are accepted")]
    BadSignal(i32),
}

/// The id of the user and group `nobody`, which owns what nobody should own.
const NOBODY: u32 = 65534;

/// Checks an id against the floor of the site (security rule D4).
fn check_id(what: &'static str, id: u32, floor: u32) -> Result<(), BadLaunch> {
    if id < floor || id == NOBODY || id >= u32::MAX - 1 {
        return Err(BadLaunch::BadId { what, id, floor });
    }
    Ok(())
}

impl Identity {
    /// Refuses ids below `floor`, `nobody`, and the two largest numbers, which mean "unchanged"
    /// and "overflow" to parts of the kernel.
    ///
    /// # Errors
    /// [`BadLaunch::BadId`] for the first bad id.
    pub fn check(&self, floor: u32) -> Result<(), BadLaunch> {
        check_id("uid", self.uid, floor)?;
        check_id("gid", self.gid, floor)?;
        self.groups.iter().try_for_each(|group| check_id("group", *group, floor))
    }
}

fn check_path(what: &'static str, path: &Path) -> Result<(), BadLaunch> {
    if !path.is_absolute() {
        return Err(BadLaunch::NotAbsolute { what, path: path.to_owned() });
    }
    check_nul(what, path.as_os_str().as_encoded_bytes())
}

fn check_nul(what: &'static str, text: &[u8]) -> Result<(), BadLaunch> {
    if text.contains(&0) { Err(BadLaunch::Nul { what }) } else { Ok(()) }
}

fn check_env(env: &[Variable]) -> Result<(), BadLaunch> {
    for (name, value) in env {
        check_nul("an environment variable", name.as_bytes())?;
        check_nul("an environment variable", value.as_bytes())?;
        if name.is_empty() || name.contains('=') {
            return Err(BadLaunch::BadVariable { name: name.clone() });
        }
    }
    Ok(())
}

fn check_timing(timing: &Timing) -> Result<(), BadLaunch> {
    match timing.warn {
        Some(warn) if !(1..=64).contains(&warn.signal) => Err(BadLaunch::BadSignal(warn.signal)),
        _ => Ok(()),
    }
}

impl Template {
    /// Checks everything that can be checked without touching the system, ids apart.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), BadLaunch> {
        check_path("script", &self.script)?;
        if let Some(workdir) = &self.workdir {
            check_path("working directory", workdir)?;
        } else if self.output == Output::Files || self.info || !self.uris.is_empty() {
            return Err(BadLaunch::NoWorkdir);
        }
        self.args.iter().try_for_each(|arg| check_nul("an argument", arg.as_bytes()))?;
        check_env(&self.env)?;
        check_timing(&self.timing)
    }
}

impl Launch {
    /// Checks the leaf and the variables.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), BadLaunch> {
        if let Some(leaf) = &self.leaf
            && (leaf.is_empty()
                || leaf.len() > 255
                || leaf == "."
                || leaf == ".."
                || leaf.bytes().any(|b| b == b'/' || b == 0))
        {
            return Err(BadLaunch::BadLeaf { leaf: leaf.clone() });
        }
        check_env(&self.env)
    }
}

impl ContainerLaunch {
    /// Checks everything that can be checked without touching the system.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), BadLaunch> {
        check_path("script", &self.script)?;
        check_path("working directory", &self.workdir)?;
        check_path("latch directory", &self.latch_dir)?;
        self.args.iter().try_for_each(|arg| check_nul("an argument", arg.as_bytes()))?;
        check_env(&self.env)?;
        check_timing(&self.timing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_ids_are_refused() {
        let check =
            |uid, gid, groups: &[u32]| Identity { uid, gid, groups: groups.to_vec() }.check(1000).is_ok();
        assert!(check(1000, 1000, &[1000, 70_000]));
        for bad in [0, 1, 999, 65534, u32::MAX, u32::MAX - 1] {
            assert!(!check(bad, 1000, &[]), "uid {bad}");
            assert!(!check(1000, bad, &[]), "gid {bad}");
            assert!(!check(1000, 1000, &[2000, bad]), "group {bad}");
        }
    }

    #[test]
    fn leaves_are_one_component() {
        let launch = |leaf: &str| Launch {
            key: Key { task: 1, attempt: 1 },
            template: 0,
            env: vec![],
            leaf: Some(leaf.into()),
        };
        assert_eq!(launch("17").check(), Ok(()));
        for bad in ["", ".", "..", "a/b", "/", "a\0b", &"x".repeat(256)] {
            assert!(launch(bad).check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_must_be_expressible() {
        assert_eq!(check_env(&[("A".into(), "a=b\n\"'$".into())]), Ok(()));
        for bad in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
            assert!(check_env(&[(bad.0.into(), bad.1.into())]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_small_template_needs_few_fields() {
        let template: Template = serde_json::from_str(
            r#"{"script":"/bin/true","identity":{"uid":1000,"gid":1000,"groups":[]},"workdir":"/x"}"#,
        )
        .unwrap();
        assert_eq!(template.umask, DEFAULT_UMASK);
        assert_eq!(template.output, Output::Files);
        assert_eq!(template.check(), Ok(()));
        let lost = Template { workdir: None, ..template };
        assert_eq!(lost.check(), Err(BadLaunch::NoWorkdir));
    }

    #[test]
    fn info_has_two_lines() {
        let record =
            ExitRecord { started_ms: 1_700_000_000_999, ended_ms: 1_700_000_060_001, ..Default::default() };
        assert_eq!(record.info_text(), "1700000000\n1700000060\n");
    }
}
