//! Removing what finished tasks left: the archiver as a process, the cron command, sizes for the disk quota.

use crate::daemons::configured;
use crate::site::{Client, Site, until};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// Asks for something of a task; it must be granted.
fn asks(client: &Client, method: &str, task: u64) {
    let (status, answer) = client.ask(method, &format!("/task/{task}/archive"), &Value::Null);
    assert_eq!(status, 200, "{answer}");
}

fn primary(client: &Client, task: u64) -> String {
    client.task(task)["status"]["primary"].as_str().expect("a word").to_owned()
}

fn archived(client: &Client, task: u64) {
    until("the archive of a task", || (primary(client, task) == "archived").then_some(()));
}

/// A finished task that left a file; its number and directory.
fn left(client: &Client) -> (u64, PathBuf) {
    let task = client.submit("#!/bin/sh\nmkdir -p a/b && seq 1 4000 > a/b/numbers\n");
    assert_eq!(client.over(task)["status"]["exitcode"], 0);
    let dir = client.job_dir(task);
    assert!(dir.join("a/b/numbers").exists());
    (task, dir)
}

/// The scheduler, the watcher and the web server of a site with these lines in its configuration.
fn without_archiver(lines: &str) -> (Site, Vec<crate::site::Running>, Client) {
    let (site, address, user, key) = configured("local");
    let config = fs::read_to_string(site.config()).expect("our file");
    fs::write(site.config(), format!("{config}{lines}\n")).expect("our file");
    let running = ["go-d-scheduler", "go-d-watcher", "go-d-web"].map(|name| site.spawn(name, &["run"]));
    let mut client = Client::at(&address);
    client.log_in(&user, &key);
    (site, running.into(), client)
}

#[test]
fn requests_wait_for_an_archiver_and_survive_its_death() {
    let (site, running, client) = without_archiver("disk_default_quota: 1g");
    let (kept, kept_dir) = left(&client);
    let (gone, gone_dir) = left(&client);
    let (other, other_dir) = left(&client);
    asks(&client, "GET", kept);
    asks(&client, "DELETE", gone);
    assert_eq!(primary(&client, kept), "over", "nobody works on it yet");
    assert!(kept_dir.exists() && gone_dir.exists());
    assert_eq!(client.task(other)["container"]["meta"].get("disk_size"), None);

    let mut archiver = site.spawn("go-d-archive", &["run"]);
    archived(&client, kept);
    let status = |task: u64| client.ask("GET", &format!("/task/{task}"), &Value::Null).0;
    until("the purge of a task", || (status(gone) == 404).then_some(()));
    assert!(!kept_dir.exists() && !gone_dir.exists() && other_dir.exists());
    let size = until("the size of a task", || client.task(other)["container"]["meta"]["disk_size"].as_u64());
    // 18,893 bytes of numbers, and what every job leaves.
    assert!((18_893..40_000).contains(&size), "{size}");
    assert!(site.said("go-d-archive", &["status"]).contains("archiver: archiver-"));

    // Whatever it was doing when it died, the next one does what is asked.
    let some: Vec<(u64, PathBuf)> = (0..20).map(|_| left(&client)).collect();
    for (task, _) in &some {
        asks(&client, "GET", *task);
    }
    archiver.signal("-KILL");
    archiver.ended();
    let late = left(&client);
    asks(&client, "GET", late.0);
    site.said("go-d-archive", &["once"]);
    for (task, dir) in some.iter().chain([&late]) {
        assert_eq!(primary(&client, *task), "archived", "task {task}");
        assert!(!dir.exists(), "task {task}");
    }
    running.into_iter().for_each(crate::site::Running::end);
}

#[test]
fn an_array_is_archived_as_a_whole_in_one_process() {
    let site = Site::new();
    let (running, client) = site.up("local");
    let body = serde_json::json!({
        "meta": {"name": "many"},
        "requirements": {"cpu": 1, "ram": 1, "array": {"values": "1:3"}},
        "command": {"cmd": "#!/bin/sh\necho x > made\n"},
    });
    let (status, answer) = client.ask("POST", "/task", &body);
    assert_eq!(status, 200, "{answer}");
    let parent = answer["id"].as_u64().expect("an id");
    client.over(parent);
    let (dir, child_dir) = (client.job_dir(parent), client.job_dir(parent + 2));
    assert!(child_dir.starts_with(&dir) && child_dir.join("made").exists());
    asks(&client, "GET", parent + 1);
    archived(&client, parent + 1);
    assert!(child_dir.exists() && !client.job_dir(parent + 1).exists(), "a child alone");
    asks(&client, "GET", parent);
    archived(&client, parent);
    assert_eq!(primary(&client, parent + 2), "archived");
    assert!(!dir.exists());
    asks(&client, "DELETE", parent);
    for task in parent..=parent + 3 {
        let path = format!("/task/{task}");
        until("the purge", || (client.ask("GET", &path, &Value::Null).0 == 404).then_some(()));
    }
    running.end();
}

#[test]
fn the_cron_command_asks_for_what_is_old_or_named() {
    let (site, running, client) = without_archiver("");
    let (task, dir) = left(&client);
    let second = left(&client).0;
    let waiting = client.submit("#!/bin/sh\nsleep 600\n");
    assert!(site.said("go-d-clean", &[]).contains("0 will be archived"), "nothing is thirty days old");

    let name = task.to_string();
    let trial = site.said("go-d-clean", &["-n", &name]);
    assert!(trial.contains("1 would be archived") && trial.starts_with(&format!("{task} ")), "{trial}");
    let mixed = site.run("go-d-clean", &[&name, "999999", &waiting.to_string()]);
    let said = String::from_utf8_lossy(&mixed.stderr).into_owned();
    assert_eq!(mixed.status.code(), Some(1));
    assert!(said.contains("task 999999: there is no such task"), "{said}");
    assert!(said.contains(&format!("task {waiting}: it is not over")), "{said}");
    assert!(said.contains("no archiver works now"), "{said}");
    assert!(String::from_utf8_lossy(&mixed.stdout).contains("1 will be archived"));
    assert!(site.said("go-d-clean", &[&name]).contains("0 will be archived"), "asked already");
    assert_eq!(site.run("go-d-clean", &["twelve"]).status.code(), Some(2));
    site.said("go-d-archive", &["once"]);
    assert_eq!((primary(&client, task).as_str(), primary(&client, second).as_str()), ("archived", "over"));
    assert!(!dir.exists());

    // A site that keeps nothing.
    let config = fs::read_to_string(site.config()).expect("our file");
    fs::write(site.config(), format!("{config}clean_old: 0\n")).expect("our file");
    assert!(site.said("go-d-clean", &["--dry-run"]).contains("1 would be archived"));
    assert!(site.said("go-d-clean", &[]).contains("1 will be archived"));
    site.said("go-d-archive", &["once"]);
    assert_eq!(primary(&client, second), "archived");
    let (status, answer) = client.ask("DELETE", &format!("/task/{waiting}"), &Value::Null);
    assert_eq!(status, 200, "{answer}");
    client.over(waiting);
    running.into_iter().for_each(crate::site::Running::end);
}
