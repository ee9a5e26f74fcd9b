//! The daemons one by one, as several processes on one database.

use crate::site::{Client, Site, until};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// A site whose daemons are processes of their own; its address, and a key of the user who runs the test.
fn configured(executor: &str) -> (Site, String, String, String) {
    let site = Site::new();
    site.said("go-d", &["init"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = fs::read_to_string(site.config()).unwrap();
    let changed = config.replace("127.0.0.1:6543", &address).replace("[\"local\"]", &format!("[{executor}]"));
    fs::write(site.config(), changed).unwrap();
    fs::set_permissions(site.config(), PermissionsExt::from_mode(0o600)).unwrap();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).unwrap().unwrap().name;
    site.said("go-d", &["user", "add", &user, "--no-password"]);
    let key = site.said("go-d", &["user", "key", &user]).trim().to_owned();
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
    fs::write(site.config(), config.replace("secret_passphrase: \"", "secret_passphrase: \"change-me ")).unwrap();
    let refused = site.run("go-d-scheduler", &["start"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("secret_passphrase: the text comes from a sample"), "{said}");
}
