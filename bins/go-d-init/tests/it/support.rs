//! A keeper in a directory of its own, and a client that waits for conditions, never for time.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output as Finished};
use std::time::{Duration, Instant};

use god_runtime::keeper::{
    Event, Frame, Op, Outcome, Pong, Reply, Request, SOCKET, Seen, StartResult, read_frame, write_frame,
};
use god_runtime::launch::{ExitRecord, Identity, Key, Launch, Needs, Output, Template, Timing};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_go-d-init");
/// How long anything may take before a test gives up.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

pub fn is_root() -> bool {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() == 0 }
}

/// Says why a test cannot run here; in CI that is a failure.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must not skip: {why}");
    println!("SKIP {why}");
}

/// Sends a signal to a process.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: plain integers.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// The process exists and is not only waiting to be collected.
pub fn is_alive(pid: i32) -> bool {
    state_of(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The letter of `/proc/PID/stat`.
pub fn state_of(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// The user jobs run as: somebody else if we are root.
pub fn user() -> Identity {
    if is_root() {
        return Identity { uid: 12_345, gid: 12_346, groups: vec![12_347] };
    }
    // SAFETY: both always succeed.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    Identity { uid, gid, groups: vec![] }
}

pub fn key(task: u64) -> Key {
    Key { task, attempt: 1 }
}

/// A directory in which jobs, scripts and a keeper live.
pub struct World {
    root: tempfile::TempDir,
    options: Vec<String>,
    pub idle_ms: u64,
}

impl World {
    pub fn new() -> Self {
        Self::with(&["--cgroups", "off"])
    }

    pub fn with(options: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        for (dir, mode) in [("", 0o711), ("jobs", 0o755), ("scripts", 0o755)] {
            let dir = root.path().join(dir);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::set_permissions(dir, PermissionsExt::from_mode(mode)).unwrap();
        }
        Self { root, options: options.iter().map(|text| (*text).to_owned()).collect(), idle_ms: 60_000 }
    }

    pub fn path(&self) -> &Path {
        self.root.path()
    }

    pub fn dir(&self) -> PathBuf {
        self.path().join("keeper")
    }

    pub fn jobs(&self) -> PathBuf {
        self.path().join("jobs")
    }

    /// Calls the program to serve; it returns when a keeper listens.
    pub fn serve(&self) -> Finished {
        Command::new(PROGRAM)
            .arg("--serve")
            .arg(self.dir())
            .args(&self.options)
            .env("GOD_KEEPER_IDLE_MS", self.idle_ms.to_string())
            .output()
            .unwrap()
    }

    /// A client of a keeper that is started if there is none.
    pub fn client(&self) -> Client {
        let done = self.serve();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.connect()
    }

    pub fn connect(&self) -> Client {
        let stream = UnixStream::connect(self.dir().join(SOCKET)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Client { stream, next_id: 1, events: VecDeque::new() };
        assert_eq!(client.call(Op::Subscribe), Reply::Ok);
        client
    }

    /// A script everybody can read and run.
    pub fn script(&self, text: &str) -> PathBuf {
        let n = std::fs::read_dir(self.path().join("scripts")).unwrap().count();
        let path = self.path().join(format!("scripts/{n}.sh"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// A template for a script, with output files in a directory of its own.
    pub fn template(&self, text: &str) -> Template {
        Template {
            script: self.script(text),
            args: vec![],
            env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into())],
            identity: user(),
            workdir: Some(self.jobs()),
            create: true,
            output: Output::Files,
            info: true,
            uris: vec![],
            umask: 0o027,
            timing: Timing::default(),
            needs: Needs::default(),
            pids: None,
            rlimits: vec![],
        }
    }

    /// A file of a job.
    pub fn file(&self, task: u64, name: &str) -> String {
        std::fs::read_to_string(self.jobs().join(task.to_string()).join(name)).unwrap_or_default()
    }

    /// Waits until a job has written a whole line into a file and gives the file.
    #[track_caller]
    pub fn line(&self, task: u64, name: &str) -> String {
        until(&format!("job {task} writes {name}"), || self.file(task, name).ends_with('\n'));
        self.file(task, name).trim().to_owned()
    }

    /// The number a job wrote into a file.
    #[track_caller]
    pub fn pid(&self, task: u64, name: &str) -> i32 {
        self.line(task, name).parse().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Its words would hide those of the test.
            let log = std::fs::read_to_string(self.dir().join("keeper.log")).unwrap_or_default();
            eprintln!("log of the keeper:\n{log}");
        }
        let Ok(stream) = UnixStream::connect(self.dir().join(SOCKET)) else { return };
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut client = Client { stream, next_id: 1, events: VecDeque::new() };
        let pid = client.ping().pid;
        let keys = client.observe_all().into_iter().map(|(key, _)| key).collect();
        client.call(Op::Kill { keys, grace_seconds: 0 });
        kill(pid, libc::SIGTERM);
        let end = Instant::now() + LIMIT;
        while is_alive(pid) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(3));
        }
        assert!(std::thread::panicking() || !is_alive(pid), "the keeper does not end");
    }
}

/// A connection to a keeper that hears all events.
pub struct Client {
    stream: UnixStream,
    next_id: u64,
    pub events: VecDeque<Event>,
}

impl Client {
    #[track_caller]
    fn read(&mut self) -> Option<(u64, Reply)> {
        match read_frame(&mut self.stream).expect("the keeper answers in time") {
            Some(Frame::Reply { id, reply }) => Some((id, reply)),
            Some(Frame::Events(events)) => {
                self.events.extend(events);
                None
            }
            None => panic!("the keeper hung up"),
        }
    }

    #[track_caller]
    pub fn call(&mut self, op: Op) -> Reply {
        let id = self.next_id;
        self.next_id += 1;
        write_frame(&mut self.stream, &Request { id, op }).unwrap();
        loop {
            if let Some((found, reply)) = self.read() {
                assert_eq!(found, id);
                return reply;
            }
        }
    }

    pub fn ping(&mut self) -> Pong {
        match self.call(Op::Ping) {
            Reply::Pong(pong) => pong,
            other => panic!("{other:?}"),
        }
    }

    /// Starts tasks with one template; each works in a directory named by its number.
    #[track_caller]
    pub fn start_all(&mut self, template: &Template, tasks: &[u64]) -> Vec<StartResult> {
        let launch = |task: &u64| Launch {
            key: key(*task),
            template: 0,
            env: vec![],
            leaf: template.workdir.is_some().then(|| task.to_string()),
        };
        let launches = tasks.iter().map(launch).collect();
        match self.call(Op::Start { templates: vec![template.clone()], launches }) {
            Reply::Started(results) => {
                assert_eq!(results.iter().map(|(key, _)| key.task).collect::<Vec<_>>(), tasks);
                results.into_iter().map(|(_, result)| result).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn start(&mut self, template: &Template, task: u64) -> StartResult {
        self.start_all(template, &[task]).remove(0)
    }

    /// Starts a task that must start at once, and gives its process id.
    #[track_caller]
    pub fn run(&mut self, template: &Template, task: u64) -> i32 {
        match self.start(template, task) {
            StartResult::Started { pid, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    /// Starts a task and waits for its end.
    #[track_caller]
    pub fn finish(&mut self, template: &Template, task: u64) -> ExitRecord {
        self.start(template, task);
        self.wait(task)
    }

    /// Waits for the end of a task.
    #[track_caller]
    pub fn wait(&mut self, task: u64) -> ExitRecord {
        let end = Instant::now() + LIMIT;
        loop {
            let found = self.events.iter().find_map(|event| match event {
                Event::Exited { key, record } if key.task == task => Some(record.clone()),
                _ => None,
            });
            if let Some(record) = found {
                return record;
            }
            assert!(Instant::now() < end, "task {task} does not end");
            assert!(self.read().is_none(), "a reply nobody waits for");
        }
    }

    #[track_caller]
    pub fn seen(&mut self, task: u64) -> Seen {
        match self.call(Op::Observe { keys: vec![key(task)] }) {
            Reply::Seen(mut seen) => seen.remove(0).1,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn observe_all(&mut self) -> Vec<(Key, Seen)> {
        match self.call(Op::ObserveAll) {
            Reply::Seen(mut seen) => {
                seen.sort_by_key(|(key, _)| *key);
                seen
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn outcome(&mut self, op: Op) -> Outcome {
        match self.call(op) {
            Reply::Done(mut done) => done.remove(0).1,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn kill(&mut self, task: u64, grace_seconds: u64) -> Outcome {
        self.outcome(Op::Kill { keys: vec![key(task)], grace_seconds })
    }

    #[track_caller]
    pub fn signal(&mut self, task: u64, signal: i32) -> Outcome {
        self.outcome(Op::Signal { keys: vec![key(task)], signal })
    }

    #[track_caller]
    pub fn pause(&mut self, task: u64) -> Outcome {
        self.outcome(Op::Pause { keys: vec![key(task)] })
    }

    #[track_caller]
    pub fn resume(&mut self, task: u64) -> Outcome {
        self.outcome(Op::Resume { keys: vec![key(task)] })
    }

    #[track_caller]
    pub fn forget(&mut self, task: u64) -> Outcome {
        self.outcome(Op::Forget { keys: vec![key(task)] })
    }

    #[track_caller]
    pub fn abandon(&mut self, key: Key) -> Outcome {
        self.outcome(Op::Abandon { keys: vec![key] })
    }
}
