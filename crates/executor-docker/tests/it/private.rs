//! An engine of the test's own, to be stopped, killed and started again.

use god_testkit::{skip, until};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A private dockerd with its own data. Everything it made goes when it is dropped.
pub struct Dockerd {
    dir: tempfile::TempDir,
    child: Option<Child>,
    /// More arguments of the daemon, used when it comes up.
    pub arguments: Vec<String>,
}

impl Dockerd {
    /// Starts one; `None` (said aloud) when this machine has no dockerd.
    pub async fn start(arguments: &[&str]) -> Option<Dockerd> {
        if Command::new("dockerd").arg("--version").stdout(Stdio::null()).status().is_err() {
            skip("dockerd is not installed");
            return None;
        }
        // A short path: the sockets below it have little room.
        let dir = tempfile::Builder::new().prefix("gd").tempdir_in("/tmp").expect("a directory");
        std::fs::write(dir.path().join("daemon.json"), "{}").expect("written");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut dockerd = Dockerd { dir, child: None, arguments };
        dockerd.up().await;
        Some(dockerd)
    }

    pub fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Starts the daemon and waits until it answers. One that was killed may need a second try.
    pub async fn up(&mut self) {
        for attempt in 0..3 {
            let at = |name: &str| self.dir.path().join(name);
            let log = std::fs::File::options().create(true).append(true).open(at("log")).expect("a log");
            let mut command = Command::new("dockerd");
            command
                .arg("--config-file")
                .arg(at("daemon.json"))
                .arg("--data-root")
                .arg(at("data"))
                .arg("--exec-root")
                .arg(at("exec"))
                .arg("--pidfile")
                .arg(at("pid"))
                .args(["--bridge", "none", "--iptables=false", "--ip-masq=false", "--host"])
                .arg(self.url())
                .args(&self.arguments)
                .env_remove("DOCKER_HOST")
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("the same log"))
                .stderr(log);
            let mut child = command.spawn().expect("dockerd starts");
            let socket = self.socket();
            let answers = until(Duration::from_secs(60), "dockerd answers or ends", async || {
                if child.try_wait().expect("waits").is_some() {
                    return Some(false);
                }
                let path = socket.to_str().expect("text");
                let docker =
                    bollard::Docker::connect_with_unix(path, 5, bollard::API_DEFAULT_VERSION).ok()?;
                docker.ping().await.is_ok().then_some(true)
            })
            .await;
            self.child = Some(child);
            if answers {
                return;
            }
            println!("dockerd did not come up at try {attempt}");
        }
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        panic!("dockerd does not come up: {}", &log[log.len().saturating_sub(2000)..]);
    }

    /// Ends the daemon: politely, or as a crash does.
    pub async fn down(&mut self, signal: rustix::process::Signal) {
        let Some(mut child) = self.child.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).expect("is signalled");
        until(Duration::from_secs(60), "dockerd ends", async || child.try_wait().expect("waits")).await;
        if signal == rustix::process::Signal::KILL {
            // Nobody was left to tidy up.
            std::fs::remove_file(self.dir.path().join("pid")).expect("was there");
        }
    }

    /// Copies an image from another engine.
    pub fn load(&self, image: &str, from: &str) {
        let mut save = Command::new("docker")
            .args(["--host", from, "save", image])
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker runs");
        let out = save.stdout.take().expect("piped");
        let load = Command::new("docker")
            .args(["--host", &self.url(), "load"])
            .stdin(out)
            .stdout(Stdio::null())
            .status();
        assert!(save.wait().expect("waits").success() && load.expect("docker runs").success());
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = rustix::process::kill_process(
                rustix::process::Pid::from_child(&child),
                rustix::process::Signal::TERM,
            );
            if ended.is_err() || child.wait().is_err() {
                println!("dockerd could not be ended");
            }
        }
        // What survived a crash: shims and containerd name our folder in their arguments, their children are the
        // containers.
        let ours = self.dir.path().display().to_string();
        for pid in processes(|words| words.contains(&ours)) {
            for child in children_of(pid) {
                kill(child);
            }
            kill(pid);
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|at| at.starts_with(&ours))
            .collect();
        for at in below.iter().rev() {
            if let Err(err) = rustix::mount::unmount(*at, rustix::mount::UnmountFlags::DETACH) {
                println!("{at} stays mounted: {err}");
            }
        }
    }
}

fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid)
        && let Err(err) = rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        && err != rustix::io::Errno::SRCH
    {
        println!("{pid:?} could not be killed: {err}");
    }
}

fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn processes(which: impl Fn(&str) -> bool) -> Vec<i32> {
    let words = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let own = i32::try_from(std::process::id()).expect("fits");
    pids().into_iter().filter(|pid| *pid != own && which(&words(pid))).collect()
}

fn children_of(parent: i32) -> Vec<i32> {
    let parent_of = |pid: &i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    pids().into_iter().filter(|pid| parent_of(pid) == Some(parent)).collect()
}
