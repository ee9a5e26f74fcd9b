//! The service is stopped and started again while jobs run.

use crate::site::{END, Site, until};
use std::fs;
use std::time::Duration;

#[test]
fn jobs_outlive_an_orderly_end_and_their_exit_codes_are_recorded() {
    let site = Site::roomy();
    let (running, client) = site.up("local");
    let wait = |file: &str| format!("while [ ! -e {}/{file} ]; do sleep 0.1; done", site.path().display());
    let early: Vec<u64> = (10..13).map(|code| client.submit(&site.script(&wait("early"), code))).collect();
    let late: Vec<u64> = (20..23).map(|code| client.submit(&site.script(&wait("late"), code))).collect();
    for task in early.iter().chain(&late) {
        client.running(*task);
    }
    until("all starts", || (site.runs().len() == 6).then_some(()));

    let took = running.end();
    assert!(took < END, "{took:?}");
    // Some end while nobody watches, the others go on.
    fs::write(site.path().join("early"), "").expect("our directory");
    until("the ends of the early ones", || (site.runs().len() == 9).then_some(()));
    for task in &late {
        assert!(site.jobs().iter().any(|job| job.task == *task), "task {task} lives on");
    }
    std::thread::sleep(Duration::from_millis(500));

    let (running, client) = site.up("local");
    for (code, task) in (10..).zip(&early) {
        assert_eq!(client.over(*task)["status"]["exitcode"], code);
    }
    for task in &late {
        assert_eq!(client.task(*task)["status"]["primary"], "running");
    }
    fs::write(site.path().join("late"), "").expect("our directory");
    for (code, task) in (20..).zip(&late) {
        assert_eq!(client.over(*task)["status"]["exitcode"], code);
    }
    let mut runs = site.runs();
    let n = runs.len();
    runs.sort();
    runs.dedup();
    assert_eq!((n, runs.len()), (12, 12), "each starts and ends once: {runs:?}");
    running.end();
}
