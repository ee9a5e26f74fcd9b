//! The keeper of a host's jobs dies; the jobs do not.

use crate::site::{Site, until};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn jobs_outlive_their_keeper_and_are_found_again() {
    let site = Site::roomy();
    let (running, client) = site.up("local");
    let go = site.path().join("go");
    let act = format!("while [ ! -e {} ]; do sleep 0.1; done", go.display());
    let tasks: Vec<u64> = (0..5).map(|code| client.submit(&site.script(&act, code))).collect();
    for task in &tasks {
        client.running(*task);
    }
    until("five starts", || (site.runs().len() == 5).then_some(()));
    let before = site.jobs();
    let keepers = site.keepers();
    assert_eq!(keepers.len(), 1, "one keeper for one site");
    let killed = Command::new("kill").args(["-KILL", &keepers[0].to_string()]).status().expect("kill runs");
    assert!(killed.success());

    // A successor comes by itself and takes the jobs over.
    until("a new keeper", || site.keepers().into_iter().find(|pid| *pid != keepers[0]));
    let another = client.submit(&site.script(":", 7));
    assert_eq!(client.over(another)["status"]["exitcode"], 7);
    for task in &tasks {
        assert_eq!(client.task(*task)["status"]["primary"], "running", "{}", client.task(*task)["status"]);
        let scripts = |jobs: &[god_tests::processes::Alive]| -> Vec<u32> {
            jobs.iter().filter(|job| job.task == *task).map(|job| job.pid).collect()
        };
        let still = scripts(&site.jobs());
        assert!(scripts(&before).iter().any(|pid| still.contains(pid)), "task {task} lives on");
    }

    fs::write(&go, "").expect("our directory");
    fs::set_permissions(&go, PermissionsExt::from_mode(0o644)).expect("our file");
    for (code, task) in (0..).zip(&tasks) {
        let over = client.over(*task);
        let told = &over["status"]["exitcode"];
        // Nobody saw how a script ended whose keeper was dead: either it is known, or it is said that it is not.
        assert!(told.is_null() || *told == code, "{}", over["status"]);
        if told.is_null() {
            assert!(
                over["status"]["reason"].as_str().is_some_and(|text| !text.is_empty()),
                "{}",
                over["status"]
            );
        }
    }
    let runs = site.runs();
    for (code, task) in (0..).zip(&tasks) {
        let of = |line: &str| runs.iter().filter(|run| *run == line).count();
        assert_eq!(of(&format!("start {task}")), 1, "{runs:?}");
        assert_eq!(of(&format!("end {task} {code}")), 1, "{runs:?}");
    }
    until("no process of a job", || site.jobs().is_empty().then_some(()));
    running.end();
}
