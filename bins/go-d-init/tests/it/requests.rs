//! The keeper as a server: one for each directory, only for its user, gone when not needed.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use god_runtime::keeper::{Op, Outcome, Reply, SOCKET, Seen, read_frame};
use god_runtime::latch::{Latch, Taken, Verdict};
use god_runtime::launch::Key;

use crate::support::{World, is_alive, key, kill, until};

#[test]
fn there_is_one_keeper_for_a_directory() {
    let world = World::new();
    let mut client = world.client();
    let pid = client.ping().pid;
    let starts: Vec<_> =
        (0..8).map(|_| std::thread::scope(|scope| scope.spawn(|| world.serve()).join().unwrap())).collect();
    for done in starts {
        assert!(done.status.success());
        assert!(done.stderr.is_empty() && done.stdout.is_empty());
    }
    assert_eq!(world.connect().ping().pid, pid);
}

#[test]
fn many_at_once_end_up_with_one() {
    let world = World::new();
    let ok = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| world.serve().status.success())).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|ok| *ok).count()
    });
    assert_eq!(ok, 8);
    let pid = world.connect().ping().pid;
    assert_eq!(world.connect().ping().pid, pid);
}

#[test]
fn socket_and_files_are_closed_to_others() {
    let world = World::new();
    let _client = world.client();
    assert_eq!(std::fs::metadata(world.dir()).unwrap().mode() & 0o7777, 0o700);
    for name in [SOCKET, "keeper.lock", "journal", "keeper.log"] {
        assert_eq!(std::fs::metadata(world.dir().join(name)).unwrap().mode() & 0o7777, 0o600, "{name}");
    }
    assert_eq!(std::fs::metadata(world.dir().join("latch")).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn it_is_a_process_of_its_own() {
    let world = World::new();
    let pid = world.client().ping().pid;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    assert_eq!(fields[3].parse::<i32>().unwrap(), pid, "it leads its session");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), std::path::Path::new("/"));
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGPIPE, libc::SIGUSR1] {
        assert!(kill(pid, signal));
    }
    assert_eq!(world.connect().ping().pid, pid, "it survived");
}

#[test]
fn it_leaves_when_nobody_needs_it() {
    let mut world = World::new();
    world.idle_ms = 50;
    let mut client = world.client();
    let pid = client.ping().pid;
    client.finish(&world.template("#!/bin/sh\n"), 1);
    drop(client);
    // Its result is not stored anywhere yet: it must stay. Whether it does is seen after more
    // than its idle time has passed, which a job can tell.
    let mut client = world.connect();
    client.finish(&world.template("#!/bin/sh\nsleep 0.2\n"), 2);
    assert!(is_alive(pid));
    client.forget(1);
    client.forget(2);
    assert!(is_alive(pid));
    drop(client);
    until("it leaves", || !is_alive(pid));
    assert!(!world.dir().join(SOCKET).exists());
    assert_ne!(world.client().ping().pid, pid, "another one can come");
}

#[test]
fn nonsense_costs_only_its_own_connection() {
    let world = World::new();
    let mut client = world.client();
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\x05\0\0\0hello", b"\x02\0\0\0{}", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = UnixStream::connect(world.dir().join(SOCKET)).unwrap();
        stream.set_read_timeout(Some(crate::support::LIMIT)).unwrap();
        stream.write_all(bytes).unwrap();
        let answer = read_frame::<god_runtime::keeper::Frame>(&mut stream);
        assert!(matches!(answer, Ok(None) | Err(_)), "{answer:?}");
    }
    assert!(matches!(client.call(Op::Signal { keys: vec![], signal: 99 }), Reply::Bad { .. }));
    client.ping();
}

#[test]
fn absent_jobs_are_absent() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.seen(1), Seen::Absent { latch: None });
    assert_eq!(client.kill(1, 0), Outcome::Absent);
    assert_eq!(client.pause(1), Outcome::Absent);
    assert_eq!(client.forget(1), Outcome::Absent);
    assert_eq!(client.observe_all(), []);
}

#[test]
fn forgetting_needs_an_end() {
    let world = World::new();
    let mut client = world.client();
    client.run(&world.template("#!/bin/sh\nexec sleep 1000\n"), 1);
    assert!(matches!(client.forget(1), Outcome::Failed { .. }));
    client.kill(1, 0);
    client.wait(1);
    assert_eq!(client.forget(1), Outcome::Done);
    assert_eq!(client.forget(1), Outcome::Absent);
    assert_eq!(client.seen(1), Seen::Absent { latch: Some(Verdict::Started) });
}

#[test]
fn abandoned_attempts_never_run() {
    let world = World::new();
    let mut client = world.client();
    let template = world.template("#!/bin/sh\n");
    assert_eq!(client.abandon(key(1)), Outcome::NeverRan);
    assert_eq!(client.abandon(key(1)), Outcome::NeverRan);
    assert!(matches!(client.start(&template, 1), god_runtime::keeper::StartResult::Taken { .. }));
    client.finish(&template, 2);
    assert_eq!(client.abandon(key(2)), Outcome::AlreadyRan);
    client.forget(2);
    assert_eq!(client.abandon(key(2)), Outcome::AlreadyRan);
    assert_eq!(client.abandon(Key { task: 2, attempt: 2 }), Outcome::NeverRan);
    // The same file decides when there is no keeper.
    let latch = Latch::open(&world.dir()).unwrap();
    let lost = Taken::Lost { attempt: 1, verdict: Verdict::Abandoned };
    assert_eq!(latch.take(key(1), Verdict::Started).unwrap(), lost);
    assert_eq!(latch.take(key(9), Verdict::Abandoned).unwrap(), Taken::Won);
    assert!(matches!(client.start(&template, 9), god_runtime::keeper::StartResult::Taken { .. }));
}
