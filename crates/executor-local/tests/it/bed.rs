//! A keeper, a shared directory and an executor of its own for each test.

use executor_local::{Cgroups, LocalExecutor, Options};
use god_core::executor::Launch;
use god_core::ids::ExecutorName;
use god_core::units::Seconds;
use god_runtime::jobdir::JobDirs;
use god_testkit::executor_contract::Bed;
use god_testkit::{build, skip};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// The program beside these tests, built as they are.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "go-d-init", "--bin", "go-d-init"]);
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "go-d-init is not built");
        folder.join("go-d-init")
    })
}

pub fn is_root() -> bool {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() == 0 }
}

/// Directories, and the end of what runs in them.
pub struct Site {
    pub root: tempfile::TempDir,
    pub options: Options,
}

impl Site {
    pub fn new(cgroups: Cgroups) -> Site {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let root = tempfile::tempdir().unwrap();
        let shared = root.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        for dir in [root.path(), &shared] {
            std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let cluster = format!("local-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let options = Options {
            cgroups,
            // More than any test needs at once, whatever this machine has.
            cores: Some(64),
            memory: Some(god_core::Bytes(1 << 40)),
            grace: Seconds(1),
            ..Options::new(cluster, shared, program(), root.path().join("keeper"))
        };
        Site { root, options }
    }

    pub fn executor(&self) -> LocalExecutor {
        LocalExecutor::new(ExecutorName::new("local"), self.options.clone()).unwrap()
    }

    /// The keeper that serves now.
    pub fn keeper_pid(&self) -> Option<i32> {
        let mut stream =
            std::os::unix::net::UnixStream::connect(self.options.keeper_dir.join("keeper.sock")).ok()?;
        use god_runtime::keeper::{Frame, Op, Reply, Request, read_frame, write_frame};
        write_frame(&mut stream, &Request { id: 1, op: Op::Ping }).ok()?;
        match read_frame(&mut stream).ok()?? {
            Frame::Reply { reply: Reply::Pong(pong), .. } => Some(pong.pid),
            _ => None,
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It ends its jobs, which have a grace of a second, and then itself.
        let Some(pid) = self.keeper_pid() else { return };
        // SAFETY: plain integers.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while is_alive(pid) && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    }
}

/// The process exists and is not only waiting to be collected.
pub fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X'])))
}

fn bed_of(site: Site, limits_memory: bool) -> Bed {
    let executor = Arc::new(site.executor());
    let dirs = JobDirs::new(&site.options.shared_dir);
    let job_dirs = move |launch: &Launch| match &launch.child {
        None => dirs.task_dir(launch.key.task.0),
        Some(child) => dirs.child_dir(child.parent.0, child.index),
    };
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let node = god_core::ids::NodeName::new(host.trim());
    // SAFETY: both always succeed.
    let own = unsafe { (libc::geteuid(), libc::getegid()) };
    let owner = if is_root() { build::owner(20_001, 20_001) } else { build::owner(own.0, own.1) };
    let mut bed = Bed::new(executor, node);
    bed.second = Some(Arc::new(site.executor()));
    bed.job_dirs = Some(Box::new(job_dirs));
    bed.owner = owner;
    bed.sets_identity = is_root();
    bed.limits_memory = limits_memory;
    bed.keep = vec![Box::new(site)];
    bed
}

pub async fn plain() -> Option<Bed> {
    Some(bed_of(Site::new(Cgroups::Off), false))
}

pub async fn limited() -> Option<Bed> {
    let site = Site::new(Cgroups::Require);
    if let Err(err) = site.executor().keeper().await {
        let why = std::error::Error::source(&err).map_or(String::new(), |cause| {
            cause.source().map_or_else(|| cause.to_string(), |cause| cause.to_string())
        });
        skip(&format!("no control groups here: {why}"));
        return None;
    }
    Some(bed_of(site, true))
}
