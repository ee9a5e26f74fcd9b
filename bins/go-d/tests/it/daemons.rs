//! The daemons one by one, as several processes on one database.

use crate::site::{Client, PATIENCE, Site, until};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

/// A site whose daemons are processes of their own; its address, and login and key of a user.
pub(crate) fn configured(executor: &str) -> (Site, String, String, String) {
    let site = Site::new();
    site.said("go-d", &["init"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a site that can be configured");
    let address = listener.local_addr().expect("a site that can be configured").to_string();
    let config = fs::read_to_string(site.config()).expect("a site that can be configured");
    let changed = config.replace("127.0.0.1:6543", &address).replace("[\"local\"]", &format!("[{executor}]"));
    fs::write(site.config(), changed).expect("a site that can be configured");
    fs::set_permissions(site.config(), PermissionsExt::from_mode(0o600))
        .expect("a site that can be configured");
    let (user, key) = site.worker();
    (site, address, user, key)
}

#[test]
fn words_start_and_stop_a_daemon_in_the_background() {
    let (site, ..) = configured("local");
    assert_eq!(site.run("go-d-watcher", &["status"]).status.code(), Some(1), "nobody looks after the tasks");
    let started = site.said("go-d-scheduler", &["start"]);
    assert!(started.contains("started (process "), "{started}");
    let twice = site.run("go-d-scheduler", &["start"]);
    assert_eq!(twice.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("it runs already"));
    site.said("go-d-watcher", &["start"]);
    until("a leader and a watcher", || site.run("go-d-watcher", &["status"]).status.success().then_some(()));
    let status = site.said("go-d-scheduler", &["status"]);
    assert!(status.contains("scheduler: scheduler-") && status.contains("watcher: watcher-"), "{status}");
    for daemon in ["go-d-scheduler", "go-d-watcher"] {
        assert!(site.said(daemon, &["stop"]).contains("has ended"));
        assert!(site.said(daemon, &["stop"]).contains("was not running"));
    }
    assert_eq!(site.run("go-d-scheduler", &["status"]).status.code(), Some(1));
    assert_eq!(site.run("go-d-scheduler", &["dance"]).status.code(), Some(2));
    assert_eq!(site.run("go-d-scheduler", &[]).status.code(), Some(2));
}

#[test]
fn a_start_that_fails_says_why() {
    let (site, ..) = configured("local");
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), config.replace("secret_passphrase: \"", "secret_passphrase: \"change-me "))
        .unwrap();
    let refused = site.run("go-d-scheduler", &["start"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("secret_passphrase: the text comes from a sample"), "{said}");
}

#[test]
fn three_processes_on_one_database_do_the_work_of_one() {
    let (site, address, user, key) = configured("local");
    let scheduler = site.spawn("go-d-scheduler", &["run"]);
    let watcher = site.spawn("go-d-watcher", &["run"]);
    let web = site.spawn("go-d-web", &["run"]);
    let mut client = Client::at(&address);
    client.log_in(&user, &key);
    let task = client.submit("#!/bin/sh\necho made by $(id -u) > made.txt\nexit 7\n");
    let over = client.over(task);
    assert_eq!(over["status"]["exitcode"], 7, "{over}");
    let own = nix::unistd::Uid::effective();
    let uid = if own.is_root() { 4001 } else { own.as_raw() };
    assert_eq!(client.file(task, "made.txt"), format!("made by {uid}\n"));

    // Another watcher takes over what the first one leaves, and a job outlives all of them.
    let long = client.submit("#!/bin/sh\nwhile [ ! -e go ]; do sleep 0.1; done\nexit 4\n");
    until("a running task", || (client.task(long)["status"]["primary"] == "running").then_some(()));
    watcher.end();
    scheduler.end();
    fs::write(client.job_dir(long).join("go"), "").unwrap();
    let mut again = site.command("go-d-watcher");
    again.env("GOD_PROCID", "2");
    let second = site.spawn_command(again.arg("run"));
    assert_eq!(client.over(long)["status"]["exitcode"], 4);
    second.end();
    web.end();
}

#[test]
fn once_works_until_there_is_nothing_to_do() {
    let (site, address, user, key) = configured("local");
    let web = site.spawn("go-d-web", &["run"]);
    let mut client = Client::at(&address);
    client.log_in(&user, &key);
    let task = client.submit("#!/bin/sh\nexit 0\n");
    assert_eq!(client.task(task)["status"]["primary"], "pending");
    site.said("go-d-scheduler", &["once"]);
    assert_ne!(client.task(task)["status"]["primary"], "pending");
    site.said("go-d-watcher", &["once"]);
    assert_eq!(client.task(task)["status"]["primary"], "over");
    assert!(!site.run("go-d-web", &["once"]).status.success());
    web.end();
}

#[test]
fn a_configuration_is_read_again_and_a_bad_one_changes_nothing() {
    let (site, address, user, key) = configured("local");
    let web = site.spawn("go-d-web", &["run"]);
    let mut client = Client::at(&address);
    client.log_in(&user, &key);
    let offered = || client.ask("GET", "/config", &serde_json::Value::Null).1["defaults"]["cpu"].clone();
    assert_eq!(offered(), 1);
    let config = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), format!("{config}defaults_cpu: 3\ngrace_seconds: 4\n")).unwrap();
    site.said("go-d-web", &["config-reload"]);
    until("the new default", || (offered() == 3).then_some(()));
    until("a word about the restart", || {
        site.log()
            .lines()
            .any(|line| line.contains("need a restart") && line.contains("grace_seconds"))
            .then_some(())
    });

    // Who asks sees the fault at once; who reads it later keeps what is in force.
    fs::write(site.config(), format!("{config}defaults_cpu: many\n")).unwrap();
    assert!(!site.run("go-d-web", &["config-reload"]).status.success());
    let other = site.data().join("other.ini");
    fs::write(&other, &config).unwrap();
    fs::set_permissions(&other, PermissionsExt::from_mode(0o600)).unwrap();
    site.said("go-d-web", &["--config", other.to_str().unwrap(), "config-reload"]);
    until("a word about the bad file", || site.log().contains("the old one stays in force").then_some(()));
    assert_eq!(offered(), 3);
    web.end();
}

#[test]
fn systemd_is_told_of_the_start_the_life_and_the_end() {
    let (site, ..) = configured("local");
    let path = site.data().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |word: &str| {
        let mut buffer = [0; 256];
        loop {
            let n = socket.recv(&mut buffer).unwrap_or_else(|err| panic!("no {word}: {err}"));
            if buffer[..n].starts_with(word.as_bytes()) {
                return;
            }
        }
    };
    for daemon in ["go-d-scheduler", "go-d-watcher", "go-d-web"] {
        let mut command = site.command(daemon);
        command.arg("run").env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "6000000");
        let running = site.spawn_command(&mut command);
        hear("READY=1");
        hear("WATCHDOG=1");
        hear("WATCHDOG=1");
        running.end();
        hear("STOPPING=1");
    }
}
