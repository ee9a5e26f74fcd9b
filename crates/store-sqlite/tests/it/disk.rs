//! A full disk: nothing that was acknowledged is lost, and the store goes on once there is room again.

use crate::audit::audit;
use god_core::store::{Store, StoreError, Submitted};
use god_store::contract::fixture::{new_task, spec};
use std::path::Path;
use std::process::Command;
use store_sqlite::{Options, SqliteStore};

/// A small file system in memory; gone when this is dropped.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn mount() -> Option<Small> {
        let dir = tempfile::tempdir().expect("a directory");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(dir.path()).output();
        mounted.is_ok_and(|done| done.status.success()).then_some(Small { dir })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily, since a failed test may still have files open.
        let unmounted = Command::new("umount").arg("-l").arg(self.dir.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("creates");
    for size in [4096, 1] {
        let block = vec![1; size];
        while file.write_all(&block).is_ok() {}
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_survived() {
    let Some(small) = Small::mount() else {
        assert!(std::env::var("CI").is_err(), "a small tmpfs can not be mounted");
        eprintln!("SKIP a small tmpfs can not be mounted here");
        return;
    };
    let (path, filler) = (small.dir.path().join("god.db"), small.dir.path().join("filler"));
    let store = SqliteStore::open(&path, Options::default()).expect("opens");
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        fill(&filler);
        let refused = loop {
            match store.submit(vec![new_task(spec("bob", None)); 20]).await {
                Ok(answers) => acknowledged.extend(answers),
                Err(err) => break err,
            }
        };
        assert!(
            matches!(&refused, StoreError::Full(text) if text.contains("god.db")),
            "{round}: {refused:?}"
        );
        check(&store, &acknowledged).await;
        std::fs::remove_file(&filler).expect("removes");
        for _ in 0..3 {
            let answers = store.submit(vec![new_task(spec("bob", None)); 20]).await;
            acknowledged.extend(answers.expect("there is room again"));
        }
        check(&store, &acknowledged).await;
    }
    drop(store);
    let store = SqliteStore::open(&path, Options::default()).expect("opens again");
    check(&store, &acknowledged).await;
    drop(store);
    audit(&path);
}

async fn check(store: &SqliteStore, acknowledged: &[Submitted]) {
    let ids: Vec<_> = acknowledged
        .iter()
        .map(|answer| match answer {
            Submitted::New(id) => *id,
            other => panic!("a new task: {other:?}"),
        })
        .collect();
    let found = store.get(&ids).await.expect("reading needs no room");
    assert!(found.iter().all(Option::is_some), "all that was acknowledged is there");
    let counts = store.counts(None).await.expect("reads");
    assert_eq!(counts.0[0], u64::try_from(ids.len()).expect("small"), "and nothing else");
}
