//! PID 1 of a container: takes the latch, runs the user's script, forwards signals, collects
//! orphans, enforces the time limit and leaves an exit record. The engine has set the user and
//! groups already; nothing of the image is run but what the script names.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use god_runtime::jobdir::take_file_latch;
use god_runtime::launch::{
    ContainerLaunch, EXIT_CANNOT_RUN, EXIT_FILE, EXIT_LATCH_TAKEN, ExitRecord, LIMIT_FILE, LIMIT_SIGNAL,
    Output, URIS_FILE, uris_text,
};
use god_runtime::plain::{replace_file, write_plain_file};

use crate::deadlines::{Action, Deadlines};
use crate::sys::Ended;
use crate::{descendants, spawn, sys};

/// Largest accepted description, bytes.
const MAX_LAUNCH: u64 = 16 << 20;
/// Signals passed on to the job.
const FORWARDED: [i32; 7] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGQUIT, libc::SIGCONT];
/// How long we collect what the last KILL hit before we leave it to the kernel.
const LAST_REAP: Duration = Duration::from_secs(5);

/// Runs the script described in a file and returns the exit code of this process.
pub fn run(description: &Path) -> i32 {
    match prepare(description) {
        Ok(Some(container)) => container.run(),
        Ok(None) => EXIT_LATCH_TAKEN,
        Err(reason) => {
            eprintln!("go-d-init: {reason}");
            EXIT_CANNOT_RUN
        }
    }
}

struct Container {
    launch: ContainerLaunch,
    latch_dir: OwnedFd,
    /// Where a changed time limit is found.
    limit_file: PathBuf,
    signals: OwnedFd,
    timer: sys::Timer,
    null: std::fs::File,
}

/// Everything before the latch, then the latch. `None` when it was taken.
fn prepare(description: &Path) -> Result<Option<Container>, String> {
    let shown = description.display();
    let fail = |what: &str, err: &dyn std::fmt::Display| format!("{what}: {err}");
    let meta = std::fs::metadata(description).map_err(|err| fail(&format!("cannot read {shown}"), &err))?;
    if !meta.is_file() || meta.len() > MAX_LAUNCH {
        return Err(format!("{shown} is not a launch description of at most {MAX_LAUNCH} bytes"));
    }
    let text = std::fs::read(description).map_err(|err| fail(&format!("cannot read {shown}"), &err))?;
    let launch: ContainerLaunch =
        serde_json::from_slice(&text).map_err(|err| fail(&format!("cannot understand {shown}"), &err))?;
    launch.check().map_err(|err| fail(&format!("cannot accept {shown}"), &err))?;

    let setup = || -> io::Result<_> {
        sys::fill_standard_descriptors()?;
        sys::close_inherited(2)?;
        sys::take_signals()?;
        sys::become_subreaper()?;
        let signals = sys::signal_fd(&[&[libc::SIGCHLD, LIMIT_SIGNAL], &FORWARDED[..]].concat())?;
        Ok((signals, sys::Timer::new()?, sys::open_null()?))
    };
    let (signals, timer, null) = setup().map_err(|err| fail("cannot prepare", &err))?;

    let latch = launch.latch_dir.display().to_string();
    let latch_dir = open_dir(&launch.latch_dir).map_err(|err| fail(&format!("cannot open {latch}"), &err))?;
    match take_file_latch(&latch_dir) {
        Ok(true) => {
            let limit_file = description.with_file_name(LIMIT_FILE);
            Ok(Some(Container { launch, latch_dir, limit_file, signals, timer, null }))
        }
        Ok(false) => {
            eprintln!("go-d-init: attempt {} ran or was given up before; nothing is run", launch.key);
            Ok(None)
        }
        Err(err) => Err(fail(&format!("cannot take the latch in {latch}"), &err)),
    }
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_DIRECTORY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    Ok(std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?.into())
}

impl Container {
    fn run(mut self) -> i32 {
        let started_ms = sys::wall_ms();
        let record = ExitRecord { started_ms, ended_ms: started_ms, ..ExitRecord::default() };
        let workdir = match open_dir(&self.launch.workdir) {
            Ok(workdir) => workdir,
            Err(err) => {
                let reason =
                    format!("cannot open the working directory {}: {err}", self.launch.workdir.display());
                return self.finish(None, failed(record, None, reason));
            }
        };
        let record = match self.start(&workdir) {
            Ok(pid) => self.watch(pid, record),
            Err(err) => failed(record, err.code, err.reason),
        };
        self.finish(Some(workdir), record)
    }

    fn start(&self, workdir: &OwnedFd) -> Result<i32, spawn::SpawnError> {
        let launch = &self.launch;
        if !launch.uris.is_empty()
            && let Err(err) = write_plain_file(workdir, URIS_FILE, uris_text(&launch.uris).as_bytes())
        {
            return Err(spawn::SpawnError { code: None, reason: format!("cannot write {URIS_FILE}: {err}") });
        }
        let script = spawn::c_path(&launch.script);
        let (args, shell_args) = spawn::arguments(&script, &launch.args);
        let env = spawn::Vector::new(environment(launch));
        let rlimits: Vec<_> = launch.rlimits.iter().map(spawn::rlimit).collect();
        let plan = spawn::Plan {
            script: &script,
            argv: &args.pointers(),
            shell_argv: &shell_args.pointers(),
            envp: &env.pointers(),
            ids: None,
            workdir: spawn::Workdir::Held(workdir.as_raw_fd()),
            files: launch.output == Output::Files,
            descriptors: spawn::Descriptors::Copies { null: self.null.as_raw_fd() },
            joins: &[],
            rlimits: &rlimits,
            umask: launch.umask & 0o777,
        };
        let no_stack = |err| spawn::SpawnError { code: None, reason: format!("no memory: {err}") };
        let mut stack = spawn::Stack::new().map_err(no_stack)?;
        spawn::spawn(&plan, &mut stack)
    }

    /// Waits for the end of the script, passing signals on meanwhile.
    fn watch(&mut self, pid: i32, mut record: ExitRecord) -> ExitRecord {
        let mut deadlines = Deadlines::new(&self.launch.timing, sys::boot_ms());
        loop {
            while let Some(ended) = sys::reap(-1) {
                if ended.pid == pid {
                    return exited(record, &ended);
                }
            }
            let now = sys::boot_ms();
            for action in deadlines.due(now) {
                match action {
                    Action::Warn(signal) => {
                        sys::kill(-pid, signal);
                    }
                    Action::TimeOut => {
                        record.timed_out = true;
                        sys::kill(-pid, libc::SIGTERM);
                        sys::kill(-pid, libc::SIGCONT);
                    }
                    Action::Kill => descendants::kill_all(pid),
                }
            }
            if let Err(err) = self.timer.set(deadlines.next()) {
                eprintln!("go-d-init: cannot set the timer: {err}");
            }
            self.wait();
            while let Some(signal) = sys::next_signal(&self.signals) {
                if signal == libc::SIGCHLD {
                    continue;
                }
                if signal == LIMIT_SIGNAL {
                    if !record.timed_out
                        && let Some(limit) = changed_limit(&self.limit_file)
                    {
                        deadlines.set_limit(limit);
                    }
                    continue;
                }
                if signal == libc::SIGTERM {
                    record.killed = true;
                    deadlines.kill_after_grace(sys::boot_ms());
                }
                sys::kill(-pid, signal);
            }
        }
    }

    fn wait(&mut self) {
        let event = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = [event(self.signals.as_raw_fd()), event(self.timer.fd())];
        // SAFETY: the array lives through the call and its length is right. An interruption or
        // error only makes the loop look again.
        unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) };
        if fds[1].revents != 0 {
            self.timer.acknowledge();
        }
    }

    /// Ends what is left, writes the records, and gives the exit code.
    fn finish(&self, workdir: Option<OwnedFd>, mut record: ExitRecord) -> i32 {
        if let Some(reason) = &record.failure {
            eprintln!("go-d-init: {reason}");
        }
        record.ended_ms = sys::wall_ms().max(record.started_ms);
        descendants::end_all(LAST_REAP);
        if let Some(workdir) = workdir
            && self.launch.info
            && let Err(err) = write_plain_file(&workdir, "god.info", record.info_text().as_bytes())
        {
            eprintln!("go-d-init: cannot write god.info: {err}");
        }
        let written = serde_json::to_vec(&record)
            .map_err(io::Error::other)
            .and_then(|text| replace_file(self.latch_dir.as_fd(), EXIT_FILE, &text));
        if let Err(err) = written {
            eprintln!("go-d-init: cannot write the exit record: {err}");
        }
        record.code.unwrap_or(EXIT_CANNOT_RUN)
    }
}

/// The time limit that somebody wrote for us; `None` when there is none that can be understood.
fn changed_limit(file: &Path) -> Option<Option<u64>> {
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(64).read_to_string(&mut text));
    if let Err(err) = read {
        eprintln!("go-d-init: cannot read {}: {err}", file.display());
        return None;
    }
    match text.trim() {
        "" => Some(None),
        seconds => seconds.parse().ok().map(Some),
    }
}

/// The image's variables, the description's over them, and a search path if neither has one.
fn environment(launch: &ContainerLaunch) -> Vec<std::ffi::CString> {
    use std::os::unix::ffi::OsStrExt;
    let set = |name: &[u8]| launch.env.iter().any(|(own, _)| own.as_bytes() == name);
    let mut path = set(b"PATH");
    let mut env = Vec::new();
    for (name, value) in std::env::vars_os().filter(|(name, _)| !set(name.as_bytes())) {
        path |= name == "PATH";
        env.push(spawn::c_variable(name.as_bytes(), value.as_bytes()));
    }
    for (at, (name, value)) in launch.env.iter().enumerate() {
        if !launch.env[at + 1..].iter().any(|(later, _)| later == name) {
            env.push(spawn::c_variable(name.as_bytes(), value.as_bytes()));
        }
    }
    if !path {
        env.push(spawn::c_variable(b"PATH", god_runtime::environment::DEFAULT_PATH.as_bytes()));
    }
    env
}

fn failed(record: ExitRecord, code: Option<i32>, reason: String) -> ExitRecord {
    ExitRecord { code, failure: Some(reason), ..record }
}

fn exited(record: ExitRecord, ended: &Ended) -> ExitRecord {
    ExitRecord {
        code: Some(ended.code),
        signal: ended.signal,
        utime_us: ended.utime_us,
        stime_us: ended.stime_us,
        maxrss_kib: ended.maxrss_kib,
        ..record
    }
}
