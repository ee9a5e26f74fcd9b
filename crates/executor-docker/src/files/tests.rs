use super::*;
use crate::create;
use god_core::ids::NodeName;
use god_core::units::Seconds;
use god_testkit::build;

struct Site {
    files: Files,
    dir: tempfile::TempDir,
}

fn site() -> Site {
    let dir = tempfile::tempdir().unwrap();
    Site { files: Files::new(dir.path()), dir }
}

fn launch(task: u64, attempt: u32) -> Launch {
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    build::launch(build::spec(build::owner(me.0, me.1), "#!/bin/sh\n"), task, attempt, &NodeName::new("n"))
}

fn prepare(files: &Files, launch: &Launch) -> Result<Prepared, FileError> {
    files.prepare(launch, &create::description(launch, Seconds(5)))
}

fn over(key: AttemptKey, keep_files: bool) -> Finished {
    Finished { key, parent: None, keep_files }
}

/// Every file below a directory, in order.
fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(dir).unwrap().display().to_string());
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn preparing_twice_changes_nothing() {
    let Site { files, dir } = site();
    let launch = launch(1234, 1);
    let first = prepare(&files, &launch).unwrap();
    let before = tree(dir.path());
    assert_eq!(prepare(&files, &launch).unwrap().attempt, first.attempt);
    assert_eq!(tree(dir.path()), before);
    assert_eq!(std::fs::read_to_string(first.attempt.dir.join(SCRIPT)).unwrap(), "#!/bin/sh\n");
    assert!(first.job.unwrap().is_dir());
}

#[test]
fn the_names_of_hosts_are_there_for_every_start() {
    let Site { files, .. } = &site();
    let first = prepare(files, &launch(7, 1)).unwrap();
    std::fs::remove_file(&first.hosts).unwrap();
    let again = prepare(files, &launch(8, 1)).unwrap();
    assert_eq!(again.hosts, first.hosts);
    assert!(std::fs::read_to_string(&again.hosts).unwrap().contains("127.0.0.1\tlocalhost\n"));
    assert_eq!(again.hosts.metadata().unwrap().mode() & 0o777, 0o644);
}

#[test]
fn nothing_is_left_but_what_was_asked_to_stay() {
    let Site { files, dir } = site();
    for (task, attempt) in [(12, 1), (12, 2), (123, 1)] {
        prepare(&files, &launch(task, attempt)).unwrap();
    }
    let key = |task, attempt| launch(task, attempt).key;
    for (key, keep) in [(key(12, 1), true), (key(12, 1), true), (key(12, 2), false), (key(123, 1), true)] {
        files.close(key).unwrap();
        files.forget(&over(key, keep)).unwrap();
    }
    let left = tree(dir.path());
    assert!(!left.iter().any(|path| path.contains("attempt-") || path.contains(SCRIPT)), "{left:?}");
    assert!(left.contains(&"tasks/pairtree_root/12/3/task".to_owned()), "{left:?}");
    assert!(!left.contains(&"tasks/pairtree_root/12/task".to_owned()), "{left:?}");
    assert!(!left.contains(&"control/12/3".to_owned()), "{left:?}");
}

#[test]
fn a_child_is_found_by_its_value() {
    let Site { files, dir: _dir } = site();
    let mut spec = build::spec(launch(1, 1).spec.owner.clone(), "#!/bin/sh\n");
    spec.array = Some("5:9:2".parse().unwrap());
    let child = build::child_launch(spec, 40, 1, &NodeName::new("n"));
    let job = prepare(&files, &child).unwrap().job.unwrap();
    assert!(job.ends_with("40/task/7"), "{}", job.display());
    files.close(child.key).unwrap();
    for _ in 0..2 {
        files.forget(&Finished { key: child.key, parent: Some(TaskId(40)), keep_files: false }).unwrap();
        assert!(!job.exists());
    }
    assert!(job.parent().unwrap().exists());
    files.forget(&over(AttemptKey { task: TaskId(40), attempt: 0 }, false)).unwrap();
    assert!(!job.parent().unwrap().exists());
}

#[test]
fn what_is_closed_stays_closed() {
    let Site { files, dir } = site();
    let given_up = launch(7, 1);
    for _ in 0..2 {
        assert_eq!(files.abandon(given_up.key).unwrap(), Abandon::NeverRan);
        assert!(files.is_abandoned(given_up.key).unwrap());
    }
    assert!(matches!(prepare(&files, &given_up), Err(FileError::Closed(_))));
    files.close(given_up.key).unwrap();
    files.forget(&over(given_up.key, true)).unwrap();
    assert!(matches!(prepare(&files, &given_up), Err(FileError::Closed(_))));
    assert_eq!(files.abandon(given_up.key).unwrap(), Abandon::NeverRan);
    prepare(&files, &launch(7, 2)).unwrap();
    assert!(matches!(prepare(&files, &launch(7, 1)), Err(FileError::Closed(_))));
    let ran = launch(8, 1);
    let prepared = prepare(&files, &ran).unwrap();
    std::fs::write(prepared.attempt.latch.join(STARTED_FILE), "").unwrap();
    assert_eq!(files.abandon(ran.key).unwrap(), Abandon::Ran);
    files.close(ran.key).unwrap();
    files.forget(&over(ran.key, true)).unwrap();
    assert_eq!(files.abandon(ran.key).unwrap(), Abandon::Ran);
    assert!(tree(dir.path()).iter().all(|path| !path.contains("8/attempt")));
}

#[test]
fn a_giving_up_that_was_cut_off_is_completed() {
    let Site { files, dir: _dir } = site();
    let key = launch(9, 1).key;
    assert!(files.dirs.abandon_attempt(9, 1).unwrap());
    assert!(!files.is_abandoned(key).unwrap());
    assert_eq!(files.abandon(key).unwrap(), Abandon::NeverRan);
    assert!(files.is_abandoned(key).unwrap());
}

#[test]
fn a_kill_is_remembered_until_taken_back() {
    let Site { files, dir: _dir } = site();
    let launch = launch(5, 1);
    assert!(!files.mark_kill(launch.key).unwrap(), "nothing is there to be killed");
    prepare(&files, &launch).unwrap();
    assert!(!files.hints(launch.key).unwrap().asked);
    assert!(files.mark_kill(launch.key).unwrap());
    assert!(!files.mark_kill(launch.key).unwrap());
    assert!(files.hints(launch.key).unwrap().asked);
    for _ in 0..2 {
        files.unmark_kill(launch.key).unwrap();
    }
    assert!(!files.hints(launch.key).unwrap().asked);
}
