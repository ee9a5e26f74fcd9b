//! PID 1 of a container. Most of it needs no container: the program only looks at its description.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use god_runtime::launch::{ContainerLaunch, ExitRecord, Output, Timing, Warn};

use crate::support::{PROGRAM, is_alive, is_root, key, kill, skip, until};

struct Container {
    root: tempfile::TempDir,
    launch: ContainerLaunch,
}

impl Container {
    fn new(script: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["work", "latch"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        let path = root.path().join("cmd.sh");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let launch = ContainerLaunch {
            key: key(1),
            script: path,
            args: vec![],
            env: vec![],
            workdir: root.path().join("work"),
            latch_dir: root.path().join("latch"),
            output: Output::Files,
            info: true,
            uris: vec![],
            umask: 0o027,
            timing: Timing::default(),
            rlimits: vec![],
        };
        Self { root, launch }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--container").arg(self.description());
        command
    }

    fn description(&self) -> PathBuf {
        let path = self.root.path().join("launch.json");
        std::fs::write(&path, serde_json::to_vec(&self.launch).unwrap()).unwrap();
        path
    }

    fn start(&self) -> Child {
        self.command().stderr(Stdio::null()).spawn().unwrap()
    }

    fn run(&self) -> i32 {
        finish(self.start()).code().expect("it exits by itself")
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.launch.workdir.join(name)).unwrap_or_default()
    }

    fn line(&self, name: &str) -> String {
        until(&format!("the job writes {name}"), || self.file(name).ends_with('\n'));
        self.file(name).trim().to_owned()
    }

    fn record(&self) -> ExitRecord {
        serde_json::from_slice(&std::fs::read(self.launch.latch_dir.join("exit.json")).unwrap()).unwrap()
    }
}

/// Waits for the end of a process we started.
fn finish(mut child: Child) -> ExitStatus {
    let mut status = None;
    until("it ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

#[test]
fn the_script_runs_and_its_code_is_ours() {
    let mut container = Container::new("#!/bin/sh\necho out; echo err >&2; echo \"$A $1\"; pwd; exit 7\n");
    container.launch.env = vec![("A".into(), "value".into())];
    container.launch.args = vec!["arg".into()];
    assert_eq!(container.run(), 7);
    let workdir = container.launch.workdir.display();
    assert_eq!(container.file("god.log"), format!("out\nvalue arg\n{workdir}\n"));
    assert_eq!(container.file("god.err"), "err\n");
    let record = container.record();
    assert_eq!((record.code, record.signal, record.oom, record.lost), (Some(7), None, None, false));
    assert_eq!(container.file("god.info"), record.info_text());
    assert!(container.launch.latch_dir.join("started").exists());
}

#[test]
fn the_images_variables_stay_and_ours_win() {
    let mut container = Container::new("#!/bin/sh\nexec /usr/bin/env\n");
    container.launch.env = vec![("BOTH".into(), "ours".into())];
    let mut command = container.command();
    command.env_clear().env("IMAGE", "1").env("BOTH", "image").env("PATH", "/image");
    assert!(command.status().unwrap().success());
    let log = container.file("god.log");
    for line in ["IMAGE=1", "BOTH=ours", "PATH=/image"] {
        assert!(log.lines().any(|found| found == line), "{log}");
    }
    let container = Container::new("#!/bin/sh\nexec /usr/bin/env\n");
    assert!(container.command().env_clear().status().unwrap().success());
    assert!(container.file("god.log").contains("PATH=/usr/local/sbin:"));
}

#[test]
fn a_taken_latch_runs_nothing() {
    let container = Container::new("#!/bin/sh\necho ran >> ran\n");
    assert_eq!(container.run(), 0);
    assert_eq!(container.run(), 125);
    assert_eq!(container.file("ran"), "ran\n");
    assert_eq!(container.record().code, Some(0), "the record of the first run stays");
    let container = Container::new("#!/bin/sh\necho ran >> ran\n");
    std::os::unix::fs::symlink("/nowhere", container.launch.latch_dir.join("started")).unwrap();
    assert_eq!(container.run(), 125, "a planted link counts as taken");
    assert_eq!(container.file("ran"), "");
}

#[test]
fn what_cannot_run_says_why() {
    let container = Container::new("#!/no/bash\n");
    assert_eq!(container.run(), 127);
    assert!(container.file("god.err").contains("interpreter"), "{}", container.file("god.err"));
    assert_eq!(container.record().code, Some(127));
    let mut container = Container::new("#!/bin/sh\n");
    container.launch.script = "/no/script".into();
    assert_eq!(container.run(), 127);
    let mut container = Container::new("#!/bin/sh\n");
    container.launch.workdir = "/no/directory".into();
    assert_eq!(container.run(), 126);
    assert!(container.record().failure.unwrap().contains("/no/directory"));
    let mut container = Container::new("#!/bin/sh\n");
    container.launch.script = "relative".into();
    assert_eq!(container.run(), 126);
    assert!(!container.launch.latch_dir.join("started").exists(), "a bad description leaves the latch");
    let container = Container::new("#!/bin/sh\n");
    let garbage = container.root.path().join("garbage");
    std::fs::write(&garbage, "{").unwrap();
    let status =
        Command::new(PROGRAM).arg("--container").arg(garbage).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(126));
}

#[test]
fn signals_are_passed_on() {
    for (name, signal) in [("USR1", libc::SIGUSR1), ("HUP", libc::SIGHUP), ("INT", libc::SIGINT)] {
        let script = format!(
            "#!/bin/sh\ntrap 'echo heard; exit 3' {name}\necho ready > ready\nwhile :; do sleep 0.01; done\n"
        );
        let container = Container::new(&script);
        let child = container.start();
        container.line("ready");
        assert!(kill(child.id() as i32, signal));
        assert_eq!(finish(child).code(), Some(3), "{name}");
        assert_eq!(container.file("god.log"), "heard\n");
        assert!(!container.record().killed);
    }
}

#[test]
fn term_is_followed_by_kill() {
    let script = "#!/bin/sh\ntrap '' TERM\nsetsid sh -c 'trap \"\" TERM; echo $$ > hidden; sleep 1000' &\n\
                  while ! [ -s hidden ]; do sleep 0.01; done\necho ready > ready\nwhile :; do sleep 0.01; done\n";
    let mut container = Container::new(script);
    container.launch.timing.grace_seconds = 1;
    let child = container.start();
    container.line("ready");
    let hidden: i32 = container.line("hidden").parse().unwrap();
    assert!(kill(child.id() as i32, libc::SIGTERM));
    assert_eq!(finish(child).code(), Some(137));
    let record = container.record();
    assert_eq!((record.code, record.signal, record.killed), (Some(137), Some(9), true));
    until("the hidden one ends", || !is_alive(hidden));
}

#[test]
fn the_time_limit_is_kept() {
    let script = "#!/bin/sh\ntrap 'echo warned' USR2\ntrap 'exit 8' TERM\nwhile :; do sleep 0.01; done\n";
    let mut container = Container::new(script);
    container.launch.timing = Timing {
        time_limit_seconds: Some(2),
        grace_seconds: 1000,
        warn: Some(Warn { signal: libc::SIGUSR2, before_seconds: 1 }),
    };
    assert_eq!(container.run(), 8);
    assert!(container.record().timed_out);
    assert_eq!(container.file("god.log"), "warned\n");
}

#[test]
fn orphans_are_collected_and_ended() {
    let script = "#!/bin/sh\n(setsid sh -c 'echo $$ > hidden; exec sleep 1000' &)\n(sh -c 'exit 0' &)\n\
                  while ! [ -s hidden ]; do sleep 0.01; done\nexit 4\n";
    let container = Container::new(script);
    assert_eq!(container.run(), 4);
    let hidden: i32 = container.line("hidden").parse().unwrap();
    assert!(!is_alive(hidden), "it outlived the container");
}

#[test]
fn as_the_first_process_of_a_pid_namespace() {
    if !is_root() {
        return skip("a pid namespace needs root");
    }
    let script = "#!/bin/sh\necho pid $$ $PPID\n(setsid sh -c 'trap \"\" TERM; echo x > hidden; exec sleep 1000' &)\n\
                  trap '' TERM\nwhile ! [ -s hidden ]; do sleep 0.01; done\necho ready > ready\n\
                  while :; do sleep 0.01; done\n";
    let mut container = Container::new(script);
    container.launch.timing = Timing { time_limit_seconds: Some(1), grace_seconds: 0, warn: None };
    let mut command = Command::new("unshare");
    // What the engine does: one flag before exec, no process in between.
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", PROGRAM, "--container"]);
    command.arg(container.description()).stderr(Stdio::null());
    let child = command.process_group(0).spawn().unwrap();
    assert_eq!(finish(child).code(), Some(137));
    assert!(container.file("god.log").starts_with("pid 2 1\n"), "{}", container.file("god.log"));
    let record = container.record();
    assert!(record.timed_out && record.signal == Some(9));
    let lasted = Duration::from_millis(record.ended_ms - record.started_ms);
    assert!(lasted < Duration::from_secs(20), "{lasted:?}");
}
