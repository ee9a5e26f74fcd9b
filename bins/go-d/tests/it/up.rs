//! `go-d up`: everything in one process, without a configuration.

use crate::site::{Site, until};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_first_start_needs_nothing_and_a_second_one_goes_on() {
    let site = Site::new();
    let (running, client) = site.up("fake");
    let task = client.submit("#!/bin/sh\n#FAKE duration=200ms exit=3\n");
    let over = client.over(task);
    assert_eq!(over["container"]["meta"]["State"]["ExitCode"], 3, "{over}");
    for file in ["go-d.ini", "client.json", "god.db"] {
        let mode = fs::metadata(site.data().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is private");
    }
    running.end();
    assert!(!site.data().join("go-d.pid").exists());
    let config = fs::read_to_string(site.config()).unwrap();

    let (running, client) = site.up("fake");
    assert_eq!(client.task(task)["status"]["primary"], "over", "what was stored is still there");
    assert!(client.submit("#FAKE exit=0\n") > task, "ids go on");
    assert_eq!(fs::read_to_string(site.config()).unwrap(), config, "the configuration is written once");
    running.end();
}

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    let site = Site::new();
    let (running, _client) = site.up("fake");
    let second = site.run("go-d", &["up", "--listen", "127.0.0.1:0"]);
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("it runs already"), "{said}");
    running.end();
}

#[test]
fn death_without_warning_leaves_nothing_in_the_way() {
    let site = Site::new();
    let (mut running, client) = site.up("fake");
    let task = client.submit("#FAKE duration=1h\n");
    until("a running task", || (client.task(task)["status"]["primary"] == "running").then_some(()));
    running.signal("-KILL");
    running.ended();

    // The runs of the fake executor die with their process: the task ends as lost, and the site works.
    let (running, client) = site.up("fake");
    let over = client.over(task);
    assert_ne!(over["status"]["exitcode"], 0, "{over}");
    assert_eq!(client.over(client.submit("#FAKE exit=0\n"))["status"]["primary"], "over");
    running.end();
}

#[test]
fn what_is_not_built_in_is_said_and_not_left_out() {
    let site = Site::new();
    site.said("go-d", &["init"]);
    let config = fs::read_to_string(site.config()).unwrap();
    let changed = config.replace("[\"local\"]", "[\"local\", \"mesos\"]") + "scheduler_policy: Backfill\n";
    assert_ne!(config, changed);
    fs::write(site.config(), changed).unwrap();
    let refused = site.run("go-d", &["up", "--listen", "127.0.0.1:0"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("`mesos` is not built into") && said.contains("no scheduling policy named `Backfill`"),
        "{said}"
    );
}

#[test]
fn a_script_runs_as_its_user_and_outlives_the_service() {
    let site = Site::new();
    let (running, client) = site.up("local");
    let worker = site.worker();
    let client = client.other(&worker);
    let task =
        client.submit("#!/bin/sh\necho out\necho err >&2\nwhile [ ! -e go ]; do sleep 0.1; done\nexit 5\n");
    until("a running task", || (client.task(task)["status"]["primary"] == "running").then_some(()));
    let dir = client.job_dir(task);
    running.end();
    fs::write(dir.join("go"), "").unwrap();

    let (running, client) = site.up("local");
    let client = client.other(&worker);
    assert_eq!(client.over(task)["status"]["exitcode"], 5);
    assert_eq!(client.file(task, "god.log"), "out\n");
    assert_eq!(client.file(task, "god.err"), "err\n");
    running.end();
}
