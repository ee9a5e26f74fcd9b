//! What the kernel knows of holders: dead, frozen, deposed.

use crate::fresh;
use crate::processes::Other;
use god_core::Holder;
use god_core::store::{LeaseRecord, Store};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Stdio;
use store_sqlite::{Options, SqliteStore};

async fn record(store: &SqliteStore, name: &str) -> LeaseRecord {
    store.leases(name).await.expect("reads").pop().expect("there is a record")
}

fn signal(other: &Other, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(other.0.id()).expect("a small number")).expect("not zero");
    kill_process(pid, signal).expect("it is our child");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_holder_is_known_at_once() {
    let (dir, store) = fresh(Options::default());
    let mut other = Other::start("hold a lease", &dir.path().join("god.db"), Stdio::piped());
    let mut lines = other.lines();
    assert_eq!(lines.next().as_deref(), Some("1 2"), "epochs of both leases");
    for name in ["scheduler", "watcher/x"] {
        assert!(!store.is_gone(&record(&store, name).await), "{name}: it lives");
    }
    other.tell("renew");
    assert_eq!(lines.next().as_deref(), Some("true"));
    assert!(!store.is_gone(&record(&store, "scheduler").await));
    other.kill();
    for name in ["scheduler", "watcher/x"] {
        let dead = record(&store, name).await;
        assert!(store.is_gone(&dead), "{name}: it is dead");
        assert!(store.is_gone(&dead), "{name}: asking changes nothing");
    }
    let found = record(&store, "scheduler").await;
    let holder = Holder::new("scheduler/us");
    let lease =
        store.take_lease("scheduler", &holder, Some(&found)).await.expect("answers").expect("as found");
    assert!(!store.is_gone(&record(&store, "scheduler").await), "we live");
    assert!(!store.is_gone(&found), "the old one's proof went with it");
    store.drop_lease(&record(&store, "watcher/x").await).await.expect("answers");
    store.release_lease(&lease).await.expect("answers");
    assert!(!store.is_gone(&record(&store, "scheduler").await), "nobody holds it: nobody is gone");
    drop(store);
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .expect("reads")
        .map(|entry| entry.expect("reads").file_name())
        .filter(|name| name.to_string_lossy().contains("lock"))
        .collect();
    assert!(left.is_empty(), "no lock file is left: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_holder_is_deposed_and_its_death_proves_nothing_about_the_next() {
    let (dir, store) = fresh(Options::default());
    let path = dir.path().join("god.db");
    let mut other = Other::start("hold a lease", &path, Stdio::piped());
    let mut lines = other.lines();
    assert_eq!(lines.next().as_deref(), Some("1 2"));
    signal(&other, Signal::STOP);
    let found = record(&store, "scheduler").await;
    assert!(!store.is_gone(&found), "frozen is not dead");
    let holder = Holder::new("scheduler/us");
    let lease =
        store.take_lease("scheduler", &holder, Some(&found)).await.expect("answers").expect("as found");
    let witness = SqliteStore::open(&path, Options::default()).expect("opens");
    let ours = record(&witness, "scheduler").await;
    assert_eq!(ours.epoch, lease.epoch);
    assert!(!witness.is_gone(&ours));
    signal(&other, Signal::CONT);
    other.tell("renew");
    assert_eq!(lines.next().as_deref(), Some("false"), "it learns that it was deposed");
    assert!(!witness.is_gone(&ours));
    other.kill();
    assert!(!witness.is_gone(&ours), "the dead one was not the holder any more");
    drop(store);
    assert!(witness.is_gone(&ours), "a store that is closed holds nothing");
}
