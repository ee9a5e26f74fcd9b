//! A site in a directory of its own, its programs as processes, and scripts that write down when they run.

use crate::web::Client;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// More than anything here may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long an orderly end may take.
pub const END: Duration = Duration::from_secs(10);

/// Lines of the configuration for more jobs at once than a small machine has cores.
pub const ROOM: &str = "local: {cores: 16, memory: 64g}\n";

/// Waits for a condition.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits for a condition that must come true within a time.
pub fn within<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "in vain for {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The directory of the programs of this build.
pub fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_history-checker")).parent().expect("a file in a directory")
}

/// A program of this build.
pub fn program(name: &str) -> PathBuf {
    let path = programs().join(name);
    assert!(
        path.is_file(),
        "{} is not there: build the programs first, with `cargo build --workspace --bins`",
        path.display()
    );
    path
}

/// An address of this host that nobody uses.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// A process that is killed with the test.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("our child")
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        self.0.kill().expect("our child");
        self.0.wait().expect("our child");
    }

    /// Asks it to end; it must do so well and soon. How long it took.
    pub fn end(mut self) -> Duration {
        let begun = Instant::now();
        self.signal("-TERM");
        let status = until("the end of a process", || self.has_ended());
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < END, "it took {:?}", begun.elapsed());
        begun.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().expect("our child").is_none() {
            self.0.kill().expect("our child");
            self.0.wait().expect("our child");
        }
    }
}

/// A data directory; what runs in it is ended with it. The variable `GOD_TEST_KEEP` lets the files stay.
#[derive(Debug)]
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// A site without configuration, for `go-d up`.
    pub fn new() -> Site {
        let mut dir = tempfile::Builder::new().prefix("god.").tempdir().expect("a directory");
        dir.disable_cleanup(std::env::var_os("GOD_TEST_KEEP").is_some());
        // Jobs of other users than root pass through it.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).expect("our directory");
        let site = Site { dir };
        fs::write(site.run_log(), "").expect("our directory");
        fs::set_permissions(site.run_log(), PermissionsExt::from_mode(0o666)).expect("our file");
        site
    }

    /// A site with a configuration that is written now and changed by `edit`.
    pub fn configured(edit: impl FnOnce(String) -> String) -> Site {
        let site = Site::new();
        site.said("go-d", &["init"]);
        let config = edit(fs::read_to_string(site.config()).expect("a configuration"));
        fs::write(site.config(), config).expect("our file");
        site
    }

    /// A site that believes in more cores and memory than a small machine has.
    pub fn roomy() -> Site {
        Site::configured(|config| config + ROOM)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn config(&self) -> PathBuf {
        self.data().join("go-d.ini")
    }

    /// Where jobs write down what they do.
    pub fn run_log(&self) -> PathBuf {
        self.dir.path().join("runs.log")
    }

    /// A command with the environment of a site alone.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        for (variable, _) in std::env::vars_os() {
            if ["GOD", "SUDO", "XDG_"].iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
                command.env_remove(variable);
            }
        }
        command.env("HOME", self.dir.path()).env("GODOCKER_INIT", program("go-d-init"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        if name == "go-d" {
            command.arg("--data-dir").arg(self.data());
        } else {
            command.env("GOD_CONFIG", self.config());
        }
        command
    }

    /// Starts a program; what it says goes to a file.
    pub fn spawn(&self, command: &mut Command) -> Running {
        let log = fs::File::options().append(true).create(true).open(self.dir.path().join("log"));
        let log = log.expect("a log");
        let out = log.try_clone().expect("a log");
        Running(command.stdout(out).stderr(log).spawn().expect("a program of ours"))
    }

    /// Runs a program to its end.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Output {
        self.command(name).args(arguments).output().expect("a program of ours")
    }

    /// Runs a program that must end well; what it says.
    pub fn said(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.run(name, arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?}: {} {err}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// `go-d up`, and the user whose jobs run, logged in.
    pub fn up(&self, executors: &str) -> (Running, Client) {
        let address = free_address();
        let mut command = self.command("go-d");
        let running = self.spawn(command.args(["up", "--listen", &address, "--executors", executors]));
        until("the configuration", || self.config().is_file().then_some(()));
        let worker = self.worker();
        (running, Client::log_in(&address, &worker))
    }

    /// Login and key of a user whose tasks run: whoever runs the test, or somebody plain when that is root.
    pub fn worker(&self) -> (String, String) {
        let own = nix::unistd::Uid::effective();
        let login = match own.is_root() {
            true => "worker".to_owned(),
            false => nix::unistd::User::from_uid(own).expect("asks").expect("an account").name,
        };
        self.user(&login, own.is_root().then_some(4001))
    }

    /// Login and a new key of a user, who is made if need be.
    pub fn user(&self, login: &str, uid: Option<u32>) -> (String, String) {
        let uid = uid.map(|uid| uid.to_string());
        let mut add = vec!["user", "add", login, "--no-password"];
        if let Some(uid) = &uid {
            add.extend(["--uid", uid, "--gid", uid, "--home", "/nonexistent"]);
        }
        let known = self.said("go-d", &["user", "list"]);
        if !known.lines().any(|line| line.starts_with(&format!("{login}\t"))) {
            self.said("go-d", &add);
        }
        (login.to_owned(), self.said("go-d", &["user", "key", login]).trim().to_owned())
    }

    /// The keepers of this site's jobs.
    pub fn keepers(&self) -> Vec<u32> {
        let dir = self.data().join("keeper");
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let mut words = command.split('\0');
            if words.any(|word| word == "--serve") && words.next().is_some_and(|word| dir == Path::new(word))
            {
                found.push(pid);
            }
        }
        found
    }

    /// The processes of this site's jobs, by pid and task.
    pub fn jobs(&self) -> Vec<god_tests::processes::Alive> {
        god_tests::processes::alive(&self.data().join("shared"))
    }

    /// What the jobs wrote down, without times: `start 7`, `end 7 0`.
    pub fn runs(&self) -> Vec<String> {
        use god_tests::run_log::{What, parse};
        let text = fs::read_to_string(self.run_log()).expect("our file");
        let words = |line: god_tests::run_log::RunLine| match line.what {
            What::Start => format!("start {}", line.task),
            What::End { code } => {
                format!("end {} {}", line.task, code.map_or("-".to_owned(), |c| c.to_string()))
            }
        };
        parse(&text).expect("whole lines").into_iter().map(words).collect()
    }

    /// A script that writes its start down, does something, and writes down the code it ends with.
    pub fn script(&self, act: &str, code: u8) -> String {
        let log = self.run_log();
        format!(
            "#!/bin/sh\n\
             say() {{\n  now=$(date +%s%N)\n  [ -n \"$now\" ] || now=$(date +%s%N)\n  \
             [ -n \"$now\" ] || exit 1\n  \
             echo \"$1 $GODOCKER_JID - $$ $now$2\" >>{log}\n}}\n\
             say start\n\
             trap 'trap \"\" TERM; say end \" 143\"; exit 143' TERM\n\
             {act}\n\
             trap '' TERM\n\
             say end ' {code}'\n\
             exit {code}\n",
            log = log.display()
        )
    }
}

impl Drop for Site {
    /// Keepers and jobs outlive the daemons, but not the test.
    fn drop(&mut self) {
        let pids = self.keepers().into_iter().chain(self.jobs().into_iter().map(|job| job.pid));
        for pid in pids {
            // It may have ended by itself meanwhile.
            drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
        }
        if std::thread::panicking() {
            let log = self.log();
            let from = log.len().saturating_sub(20_000);
            let from = (from..=log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("{}", &log[from..]);
        }
    }
}
