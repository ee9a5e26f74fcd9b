//! How jobs are ended, and that nothing of them stays.

use god_runtime::keeper::{Outcome, Seen};
use god_runtime::launch::{Timing, Warn};

use crate::support::{World, is_alive, state_of, until};

/// Starts processes that try to outlive the job: in the background, in a session of their own,
/// and orphaned. Each writes its number.
const FAMILY: &str = "
sh -c 'echo $$ > child; exec sleep 1000' &
setsid sh -c 'echo $$ > apart; exec sleep 1001' &
(setsid sh -c 'env -i sh -c \"echo \\$\\$ > orphan; exec sleep 1002\" &' &)
while ! [ -s child ] || ! [ -s apart ] || ! [ -s orphan ]; do sleep 0.01; done
";

fn family(world: &World, task: u64) -> [i32; 3] {
    ["child", "apart", "orphan"].map(|name| world.pid(task, name))
}

#[test]
fn what_a_script_leaves_behind_is_ended() {
    let world = World::new();
    let mut client = world.client();
    let record = client.finish(&world.template(&format!("#!/bin/sh\n{FAMILY}\nexit 5\n")), 1);
    assert_eq!(record.code, Some(5));
    for pid in family(&world, 1) {
        until("what was left behind ends", || !is_alive(pid));
    }
}

#[test]
fn other_jobs_keep_their_orphans() {
    let world = World::new();
    let mut client = world.client();
    let stays =
        client.run(&world.template(&format!("#!/bin/sh\n{FAMILY}\necho ready\nexec sleep 1003\n")), 1);
    world.line(1, "god.log");
    for task in 2..5 {
        client.finish(&world.template(&format!("#!/bin/sh\n{FAMILY}\n")), task);
        for pid in family(&world, task) {
            until("its own family ends", || !is_alive(pid));
        }
    }
    for pid in family(&world, 1).into_iter().chain([stays]) {
        assert!(is_alive(pid), "{pid} was ended by another job's end");
    }
    assert_eq!(client.kill(1, 0), Outcome::Done);
    client.wait(1);
    for pid in family(&world, 1) {
        until("the family ends with its job", || !is_alive(pid));
    }
}

#[test]
fn kill_is_polite_first() {
    let world = World::new();
    let mut client = world.client();
    let text = "#!/bin/sh\ntrap 'echo bye; exit 9' TERM\necho ready > ready\nwhile :; do sleep 0.01; done\n";
    client.run(&world.template(text), 1);
    world.line(1, "ready");
    assert_eq!(client.kill(1, 1000), Outcome::Done);
    let record = client.wait(1);
    assert_eq!((record.code, record.killed), (Some(9), true));
    assert_eq!(world.file(1, "god.log"), "bye\n");
    assert_eq!(client.kill(1, 0), Outcome::AlreadyEnded);
}

#[test]
fn kill_is_hard_after_the_grace() {
    let world = World::new();
    let mut client = world.client();
    let text =
        format!("#!/bin/sh\ntrap '' TERM\n{FAMILY}\necho ready > ready\nwhile :; do sleep 0.01; done\n");
    client.run(&world.template(&text), 1);
    world.line(1, "ready");
    let before = std::time::Instant::now();
    assert_eq!(client.kill(1, 1), Outcome::Done);
    assert!(matches!(client.seen(1), Seen::Running { .. }), "the grace was not given");
    // A repeated request, as reconciliation makes it, does not prolong the grace.
    assert_eq!(client.kill(1, 1000), Outcome::Done);
    let record = client.wait(1);
    assert!(before.elapsed() >= std::time::Duration::from_millis(990));
    assert_eq!((record.code, record.signal, record.killed), (Some(137), Some(9), true));
    for pid in family(&world, 1) {
        until("the family is killed too", || !is_alive(pid));
    }
}

#[test]
fn kill_without_grace_is_at_once() {
    let world = World::new();
    let mut client = world.client();
    client.run(
        &world.template("#!/bin/sh\ntrap '' TERM\necho ready > ready\nwhile :; do sleep 0.01; done\n"),
        1,
    );
    world.line(1, "ready");
    client.kill(1, 0);
    assert_eq!(client.wait(1).signal, Some(9));
}

#[test]
fn the_time_limit_warns_asks_and_kills() {
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template(
        "#!/bin/sh\ntrap 'echo warned' USR1\ntrap 'echo asked' TERM\nwhile :; do sleep 0.01; done\n",
    );
    template.timing = Timing {
        time_limit_seconds: Some(2),
        grace_seconds: 1,
        warn: Some(Warn { signal: libc::SIGUSR1, before_seconds: 1 }),
    };
    let record = client.finish(&template, 1);
    assert!(record.timed_out && !record.killed);
    assert_eq!(record.signal, Some(9));
    assert_eq!(world.file(1, "god.log"), "warned\nasked\n");
    let lasted = record.ended_ms - record.started_ms;
    assert!((2950..20_000).contains(&lasted), "{lasted} ms");
}

#[test]
fn a_job_that_heeds_its_limit_keeps_its_code() {
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\ntrap 'exit 12' TERM\nwhile :; do sleep 0.01; done\n");
    template.timing = Timing { time_limit_seconds: Some(1), grace_seconds: 1000, warn: None };
    let record = client.finish(&template, 1);
    assert_eq!((record.code, record.timed_out), (Some(12), true));
}

#[test]
fn signals_reach_every_process() {
    let world = World::new();
    let mut client = world.client();
    let text = "#!/bin/sh
setsid sh -c 'trap \"echo heard; exit\" USR2; echo ready > ready; while :; do sleep 0.01; done' &
trap 'wait; echo done; exit 3' USR2
while :; do sleep 0.01; done
";
    client.run(&world.template(text), 1);
    world.line(1, "ready");
    assert_eq!(client.signal(1, libc::SIGUSR2), Outcome::Done);
    assert_eq!(client.wait(1).code, Some(3));
    assert_eq!(world.file(1, "god.log"), "heard\ndone\n");
}

#[test]
fn pause_stops_every_process_and_resume_lets_them_go_on() {
    let world = World::new();
    let mut client = world.client();
    let pid =
        client.run(&world.template(&format!("#!/bin/sh\n{FAMILY}\necho ready\nwhile :; do :; done\n")), 1);
    world.line(1, "god.log");
    let all: Vec<i32> = family(&world, 1).into_iter().chain([pid]).collect();
    assert_eq!(client.pause(1), Outcome::Done);
    assert!(matches!(client.seen(1), Seen::Running { paused: true, .. }));
    for pid in &all {
        until("it is stopped", || state_of(*pid) == Some('T'));
    }
    assert_eq!(client.resume(1), Outcome::Done);
    for pid in &all {
        until("it goes on", || state_of(*pid).is_some_and(|state| state != 'T'));
    }
    assert_eq!(client.pause(1), Outcome::Done);
    assert_eq!(client.kill(1, 1000), Outcome::Done);
    assert_eq!(client.wait(1).signal, Some(15), "a paused job hears that it should end");
}
