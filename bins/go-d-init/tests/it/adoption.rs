//! A keeper is killed; the next one finds what it left.

use std::time::Duration;

use god_runtime::keeper::{Outcome, SOCKET, Seen, StartResult};
use god_runtime::latch::Verdict;
use god_runtime::launch::Timing;

use crate::support::{Client, World, is_alive, kill, until};

/// Kills the keeper and starts another.
fn succeed(world: &World, client: &mut Client) -> Client {
    let pid = client.ping().pid;
    assert!(kill(pid, libc::SIGKILL));
    until("the keeper is dead", || !is_alive(pid));
    assert!(world.dir().join(SOCKET).exists(), "it had no time to clean up");
    world.client()
}

#[test]
fn running_jobs_are_adopted_and_results_kept() {
    let world = World::new();
    let mut client = world.client();
    let root = world.path().display().to_string();
    let lasting =
        world.template(&format!("#!/bin/sh\nwhile ! [ -e {root}/go ]; do sleep 0.01; done\nexit 3\n"));
    let pid = client.run(&lasting, 1);
    let record = client.finish(&world.template("#!/bin/sh\nexit 8\n"), 2);
    client.finish(&world.template("#!/bin/sh\nexit 8\n"), 3);
    client.forget(3);

    let mut client = succeed(&world, &mut client);
    match client.seen(1) {
        Seen::Running { pid: found, adopted: true, .. } => assert_eq!(found, pid),
        other => panic!("{other:?}"),
    }
    assert!(is_alive(pid));
    assert_eq!(client.seen(2), Seen::Exited(record));
    assert_eq!(client.seen(3), Seen::Absent { latch: Some(Verdict::Started) });
    assert!(matches!(client.start(&lasting, 1), StartResult::Known(Seen::Running { .. })));

    let mut client = succeed(&world, &mut client);
    assert!(matches!(client.seen(1), Seen::Running { adopted: true, .. }), "adopted a second time");
    std::fs::write(world.path().join("go"), "").unwrap();
    let record = client.wait(1);
    assert!(record.lost && record.code.is_none(), "{record:?}");
    assert!(record.started_ms < record.ended_ms);
}

#[test]
fn an_adopted_job_can_be_killed_with_all_its_processes() {
    let world = World::new();
    let mut client = world.client();
    let text = "#!/bin/sh\n(setsid sh -c 'echo $$ > orphan; exec sleep 1000' &)\nexec sleep 1000\n";
    client.run(&world.template(text), 1);
    let orphan = world.pid(1, "orphan");
    let mut client = succeed(&world, &mut client);
    assert_eq!(client.kill(1, 0), Outcome::Done);
    let record = client.wait(1);
    assert!(record.lost && record.killed);
    until("its orphan ends", || !is_alive(orphan));
}

#[test]
fn an_adopted_job_keeps_its_limits() {
    let world = World::with(&["--cgroups", "off", "--cores", "2"]);
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\nexec sleep 1000\n");
    template.needs.cores = 2;
    template.timing = Timing { time_limit_seconds: Some(2), grace_seconds: 0, warn: None };
    client.run(&template, 1);
    let mut client = succeed(&world, &mut client);
    assert_eq!(client.start(&template, 2), StartResult::Queued, "its cores are still taken");
    let record = client.wait(1);
    assert!(record.timed_out && record.ended_ms - record.started_ms < 20_000);
    until("the next one starts", || matches!(client.seen(2), Seen::Running { .. }));
}

#[test]
fn a_job_that_ended_meanwhile_is_lost() {
    let world = World::new();
    let mut client = world.client();
    let pid = client.run(&world.template("#!/bin/sh\n(sleep 1000 & echo $! > left)\nexec sleep 1000\n"), 1);
    let left = world.pid(1, "left");
    let keeper = client.ping().pid;
    assert!(kill(keeper, libc::SIGKILL));
    until("the keeper is dead", || !is_alive(keeper));
    assert!(kill(pid, libc::SIGKILL));
    until("the job is dead", || !is_alive(pid));
    let mut client = world.client();
    match client.seen(1) {
        Seen::Exited(record) => assert!(record.lost && record.code.is_none()),
        other => panic!("{other:?}"),
    }
    until("what it left behind is ended", || !is_alive(left));
}

#[test]
fn a_keeper_killed_at_any_moment_leaves_no_double_start() {
    let world = World::with(&["--cgroups", "off", "--cores", "4"]);
    let count = world.path().join("count");
    std::fs::create_dir(&count).unwrap();
    std::fs::set_permissions(&count, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut template =
        world.template(&format!("#!/bin/sh\necho x >> {}/$(basename \"$PWD\")\n", count.display()));
    template.needs.cores = 1;
    template.info = false;
    let tasks: Vec<u64> = (0..200).collect();
    for round in 0..8 {
        let mut client = world.client();
        let pid = client.ping().pid;
        // At a different point of the work each time.
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5 + 17 * round));
            kill(pid, libc::SIGKILL)
        });
        let stream_died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            client.start_all(&template, &tasks);
            loop {
                client.ping();
            }
        }));
        assert!(stream_died.is_err() && killer.join().unwrap());
        until("the keeper is dead", || !is_alive(pid));
    }
    // The last keeper starts what no earlier one had started.
    let mut client = world.client();
    client.start_all(&template, &tasks);
    until("all are over", || {
        let seen = client.observe_all();
        seen.len() == tasks.len() && seen.iter().all(|(_, seen)| matches!(seen, Seen::Exited(_)))
    });
    for task in tasks {
        let runs = std::fs::read_to_string(count.join(task.to_string())).unwrap_or_default().lines().count();
        let Seen::Exited(record) = client.seen(task) else { panic!("{task} is not over") };
        // One that was lost may have been cut off before its first command.
        assert!(runs == 1 || (runs == 0 && record.lost), "task {task} ran {runs} times: {record:?}");
    }
}
