//! A site in a directory of its own, and its programs as processes.

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// More than anything here may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long an orderly end may take.
pub const END: Duration = Duration::from_secs(5);

/// Waits for a condition.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program of this build. Those of other packages are built when they are asked for first.
pub fn program(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let own = PathBuf::from(env!("CARGO_BIN_EXE_go-d"));
    if name != "go-d" {
        BUILT.get_or_init(|| {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.arg("build").current_dir(env!("CARGO_MANIFEST_DIR"));
            for package in [
                "go-d-archive",
                "go-d-clean",
                "go-d-cli",
                "go-d-init",
                "go-d-scheduler",
                "go-d-status",
                "go-d-watcher",
                "go-d-web",
            ] {
                cargo.args(["--package", package]);
            }
            if own.parent().and_then(Path::file_name) == Some(OsStr::new("release")) {
                cargo.arg("--release");
            }
            assert!(cargo.status().expect("cargo runs").success(), "the other programs are built");
        });
    }
    own.with_file_name(name)
}

/// A process that is killed with the test.
pub struct Running(Child);

impl Running {
    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        until("the end of a process", || self.0.try_wait().expect("our child"))
    }

    /// Asks it to end; it must do so well and soon.
    pub fn end(mut self) {
        let begun = Instant::now();
        self.signal("-TERM");
        let status = self.ended();
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < END, "it took {:?}", begun.elapsed());
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

/// A data directory; what runs in it is ended with it.
pub struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    pub fn new() -> Site {
        let dir = tempfile::Builder::new().prefix("god.").tempdir().expect("a directory");
        // Jobs of other users than root pass through it.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o711)).expect("our directory");
        Site { dir }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn config(&self) -> PathBuf {
        self.data().join("go-d.ini")
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
    pub fn spawn(&self, name: &str, arguments: &[&str]) -> Running {
        self.spawn_command(self.command(name).args(arguments))
    }

    /// Starts a program that was put together by the caller.
    pub fn spawn_command(&self, command: &mut Command) -> Running {
        let log = self.dir.path().join("log");
        let log = fs::File::options().append(true).create(true).open(log).expect("a log");
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

    /// `go-d up` and a client that is logged in.
    pub fn up(&self, executors: &str) -> (Running, Client) {
        let file = self.data().join("client.json");
        let old = fs::read_to_string(&file).unwrap_or_default();
        let running = self.spawn("go-d", &["up", "--listen", "127.0.0.1:0", "--executors", executors]);
        let login = until("a login", || {
            let text = fs::read_to_string(&file).ok().filter(|text| *text != old)?;
            serde_json::from_str::<Value>(&text).ok()
        });
        let text = |key: &str| login[key].as_str().expect("a text").to_owned();
        let mut client = Client { server: text("server").replace("http://", ""), token: String::new() };
        client.log_in(&text("user"), &text("apikey"));
        (running, client)
    }

    /// Login and key of a user whose tasks run: whoever runs the test, or somebody plain when that is root.
    pub fn worker(&self) -> (String, String) {
        let own = nix::unistd::Uid::effective();
        let login = match own.is_root() {
            true => "worker".to_owned(),
            false => nix::unistd::User::from_uid(own).expect("asks").expect("an account").name,
        };
        let mut add = vec!["user", "add", &login, "--no-password"];
        if own.is_root() {
            add.extend(["--uid", "4001", "--gid", "4001", "--home", "/nonexistent"]);
        }
        let known = self.said("go-d", &["user", "list"]);
        if !known.lines().any(|line| line.starts_with(&format!("{login}\t"))) {
            self.said("go-d", &add);
        }
        let key = self.said("go-d", &["user", "key", &login]);
        (login, key.trim().to_owned())
    }
}

impl Drop for Site {
    /// The keeper of jobs outlives the daemons, but not the test.
    fn drop(&mut self) {
        let dir = self.data().join("keeper");
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let mut words = command.split('\0');
            if words.any(|word| word == "--serve") && words.next().is_some_and(|word| dir == Path::new(word))
            {
                let ended = Command::new("kill").arg(entry.file_name()).status();
                assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking());
            }
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Speaks the REST interface.
pub struct Client {
    server: String,
    token: String,
}

impl Client {
    /// Where it asks.
    pub fn url(&self) -> String {
        format!("http://{}", self.server)
    }

    /// Another user at the same server.
    pub fn other(&self, (user, key): &(String, String)) -> Client {
        let mut client = Client { server: self.server.clone(), token: String::new() };
        client.log_in(user, key);
        client
    }

    /// A client of this server, which must answer soon.
    pub fn at(server: &str) -> Client {
        until("the web server", || TcpStream::connect(server).ok());
        Client { server: server.to_owned(), token: String::new() }
    }

    pub fn log_in(&mut self, user: &str, key: &str) {
        let body = json!({"user": user, "apikey": key});
        let (status, answer) = self.ask("POST", "/authenticate", &body);
        assert_eq!(status, 200, "{answer}");
        self.token = answer["token"].as_str().expect("a token").to_owned();
    }

    /// Status and body of an answer.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(&self.server).expect("the server listens");
        let head = format!(
            "{method} /api/1.0{path} HTTP/1.1\r\nHost: god\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            self.token,
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())))
    }

    /// Submits a script; the task's id.
    pub fn submit(&self, script: &str) -> u64 {
        let body = json!({
            "meta": {"name": "smoke"},
            "requirements": {"cpu": 1, "ram": 1},
            "command": {"cmd": script},
        });
        let (status, answer) = self.ask("POST", "/task", &body);
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_u64().unwrap_or_else(|| panic!("no id in {answer}"))
    }

    pub fn task(&self, id: u64) -> Value {
        let (status, task) = self.ask("GET", &format!("/task/{id}"), &Value::Null);
        assert_eq!(status, 200, "{task}");
        task
    }

    /// The task, once it is over.
    pub fn over(&self, id: u64) -> Value {
        until("the end of a task", || Some(self.task(id)).filter(|task| task["status"]["primary"] == "over"))
    }

    /// The directory of a task.
    pub fn job_dir(&self, id: u64) -> PathBuf {
        let task = self.task(id);
        let volumes = task["container"]["volumes"].as_array().expect("volumes");
        let own = volumes.iter().find(|volume| volume["name"] == "go-docker");
        PathBuf::from(own.and_then(|volume| volume["path"].as_str()).expect("the task's own directory"))
    }

    /// The text of a file of a task.
    pub fn file(&self, id: u64, path: &str) -> String {
        let (status, text) = self.ask("GET", &format!("/task/{id}/files/{path}"), &Value::Null);
        assert_eq!(status, 200, "{text}");
        text.as_str().map(str::to_owned).unwrap_or_else(|| text.to_string())
    }
}
