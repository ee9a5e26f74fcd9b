//! With control groups: memory and processes are limited, and nothing escapes.

use god_runtime::keeper::{Outcome, Seen};

use crate::support::{Client, World, is_alive, is_root, kill, skip, state_of, until};

/// A world with control groups of its own, if this machine lets us have them.
fn world(name: &str) -> Option<World> {
    let cluster = format!("test-{}-{name}", std::process::id());
    let world = World::with(&["--cgroups", "require", "--cluster", &cluster]);
    let done = world.serve();
    if !done.status.success() {
        skip(&format!("no control groups: {}", String::from_utf8_lossy(&done.stderr).trim()));
        return None;
    }
    assert!(is_root(), "only root can have them without delegation");
    Some(world)
}

fn python(client: &mut Client, world: &World, task: u64, megabytes: u64) -> god_runtime::launch::ExitRecord {
    let mut template = world.template(&format!("#!/usr/bin/python3\nx = bytearray({megabytes} << 20)\n"));
    template.needs.memory = 128 << 20;
    client.finish(&template, task)
}

#[test]
fn too_much_memory_is_told_apart_from_a_plain_137() {
    let Some(world) = world("oom") else { return };
    let mut client = world.client();
    assert!(client.ping().cgroups);
    let record = python(&mut client, &world, 1, 400);
    assert_eq!((record.signal, record.oom), (Some(9), Some(true)), "{record:?}");
    let record = python(&mut client, &world, 2, 40);
    assert_eq!((record.code, record.oom), (Some(0), Some(false)), "the slot is used again: {record:?}");
    let record = client.finish(&world.template("#!/bin/sh\nkill -KILL $$\n"), 3);
    assert_eq!((record.code, record.oom), (Some(137), Some(false)));
    // A child that was killed for it, while the script itself ended well.
    let mut template =
        world.template("#!/bin/sh\npython3 -c 'x = bytearray(400 << 20)'\necho $? > code\nexit 0\n");
    template.needs.memory = 128 << 20;
    let record = client.finish(&template, 4);
    assert_eq!((record.code, record.oom), (Some(0), Some(true)));
}

#[test]
fn files_left_in_memory_do_not_burden_the_next_job() {
    let Some(world) = world("shm") else { return };
    let mut client = world.client();
    let left = format!("/dev/shm/god-test-{}", std::process::id());
    let text = format!("#!/bin/sh\nhead -c 80M /dev/zero > {left} || exit 9\ncat /proc/self/cgroup\n");
    let mut template = world.template(&text);
    template.needs.memory = 128 << 20;
    let record = client.finish(&template, 1);
    if record.code == Some(9) {
        skip("/dev/shm cannot hold 80 MB");
    } else {
        let record = python(&mut client, &world, 2, 100);
        assert_eq!((record.code, record.oom), (Some(0), Some(false)), "{record:?}");
    }
    std::fs::remove_file(left).unwrap();
}

#[test]
fn a_fork_bomb_stays_in_its_group() {
    let Some(world) = world("bomb") else { return };
    let mut client = world.client();
    let mut template = world.template(
        "#!/bin/sh\ni=0\nwhile [ $i -lt 100 ]; do setsid sleep 1000 & i=$((i + 1)); done 2>/dev/null\necho done\n",
    );
    template.pids = Some(20);
    let record = client.finish(&template, 1);
    assert!(record.code.is_some());
    let mut template = world.template("#!/bin/sh\nexit 0\n");
    template.pids = Some(20);
    for task in 2..6 {
        assert_eq!(client.finish(&template, task).code, Some(0), "the slot was not empty");
    }
}

#[test]
fn everything_dies_with_the_script() {
    let Some(world) = world("die") else { return };
    let mut client = world.client();
    let text = "#!/bin/sh\n(setsid sh -c 'ulimit -x 1; trap \"\" TERM; echo $$ > hidden; sleep 1000' &)\n\
                while ! [ -s hidden ]; do sleep 0.01; done\nexit 2\n";
    assert_eq!(client.finish(&world.template(text), 1).code, Some(2));
    // The end is told after the last process is gone.
    assert!(!is_alive(world.pid(1, "hidden")));
}

#[test]
fn pause_freezes_and_kill_thaws() {
    let Some(world) = world("pause") else { return };
    let mut client = world.client();
    let text = "#!/bin/sh\n(setsid sh -c 'echo $$ > hidden; while :; do echo tick >> ticks; sleep 0.01; done' &)\n\
                while :; do sleep 0.01; done\n";
    client.run(&world.template(text), 1);
    let hidden = world.pid(1, "hidden");
    until("it ticks", || !world.file(1, "ticks").is_empty());
    assert_eq!(client.pause(1), Outcome::Done);
    until("it is frozen", || {
        let before = world.file(1, "ticks").len();
        std::thread::sleep(std::time::Duration::from_millis(60));
        world.file(1, "ticks").len() == before
    });
    assert!(state_of(hidden).is_some_and(|state| state != 'T'), "it does not see that it is frozen");
    assert_eq!(client.resume(1), Outcome::Done);
    let before = world.file(1, "ticks").len();
    until("it ticks again", || world.file(1, "ticks").len() > before);
    assert_eq!(client.pause(1), Outcome::Done);
    assert_eq!(client.kill(1, 0), Outcome::Done);
    assert_eq!(client.wait(1).signal, Some(9));
    assert!(!is_alive(hidden));
}

#[test]
fn a_successor_finds_the_groups() {
    let Some(world) = world("adopt") else { return };
    let mut client = world.client();
    let text = "#!/bin/sh\n(setsid sh -c 'ulimit -x 1; echo $$ > hidden; sleep 1000' &)\nexec sleep 1000\n";
    client.run(&world.template(text), 1);
    let other = client.run(&world.template(text), 2);
    let (hidden, orphan) = (world.pid(1, "hidden"), world.pid(2, "hidden"));
    let keeper = client.ping().pid;
    assert!(kill(keeper, libc::SIGKILL));
    until("the keeper is dead", || !is_alive(keeper));
    assert!(kill(other, libc::SIGKILL));
    let mut client = world.client();
    assert!(matches!(client.seen(1), Seen::Running { adopted: true, .. }));
    assert!(is_alive(hidden));
    until("what the lost job left is ended", || !is_alive(orphan));
    client.kill(1, 0);
    assert!(client.wait(1).lost);
    assert!(!is_alive(hidden));
}

#[test]
fn nothing_is_left_of_the_groups() {
    let Some(mut world) = world("clean") else { return };
    let mut client = world.client();
    let keeper = client.ping().pid;
    kill(keeper, libc::SIGTERM);
    until("the keeper ends", || !is_alive(keeper));
    world.idle_ms = 20;
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\ncat /proc/self/cgroup\n");
    template.needs.memory = 64 << 20;
    client.finish(&template, 1);
    let log = world.file(1, "god.log");
    let name = format!("god-test-{}-clean/slot-", std::process::id());
    assert!(log.contains(&name), "{log}");
    let keeper = client.ping().pid;
    client.forget(1);
    drop(client);
    until("the keeper leaves", || !is_alive(keeper));
    let left =
        std::process::Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2"]).output().unwrap();
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(!left.contains(&format!("god-test-{}-clean", std::process::id())), "{left}");
}
