//! The file: who may read it, what is refused, what stays after a restart, a fault in one row, copies.

use crate::audit::audit;
use crate::{fresh, submit};
use god_core::state::Phase;
use god_core::store::{Change, Committed, OverFilter, Scan, Store, StoreError};
use god_core::{Event, OpId};
use god_store::contract::fixture::{attempt, user};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store_sqlite::{OpenError, Options, SqliteStore};

fn open(path: &Path) -> Result<std::sync::Arc<SqliteStore>, OpenError> {
    SqliteStore::open(path, Options::default())
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let (dir, store) = fresh(Options::default());
    submit(&store, "bob", None).await;
    let holder = god_core::Holder::new("scheduler/a");
    store.take_lease("scheduler", &holder, None).await.expect("answers").expect("taken");
    store.backup(&dir.path().join("copy.db")).await.expect("copies");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.path()).expect("reads") {
        let entry = entry.expect("reads");
        let mode = entry.metadata().expect("reads").permissions().mode() & 0o777;
        names.push(entry.file_name().into_string().expect("a text"));
        assert_eq!(mode, 0o600, "{names:?}");
    }
    names.sort();
    let want =
        ["copy.db", "god.db", "god.db-shm", "god.db-wal", "god.db.bell", "god.db.lease.scheduler.1.lock"];
    assert_eq!(names, want);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (dir, store) = fresh(Options::default());
    let path = dir.path().join("god.db");
    let array = submit(&store, "bob", Some("3")).await;
    let plain = submit(&store, "eve", None).await;
    let before = store.get(&[array, plain]).await.expect("reads");
    let head = store.head().await.expect("reads");
    drop(store);
    let store = open(&path).expect("opens");
    assert_eq!(store.get(&[array, plain]).await.expect("reads"), before);
    assert_eq!(store.head().await.expect("reads"), head);
    assert!(submit(&store, "bob", None).await > plain);
    drop(store);
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("reads").collect();
    assert_eq!(left.len(), 2, "the last one to close leaves the database and its bell: {left:?}");
    audit(&path);
}

#[test]
fn many_may_make_the_same_file_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("god.db");
    let stores: Vec<_> = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path))).collect();
        opening.into_iter().map(|thread| thread.join().expect("no panic").expect("opens")).collect()
    });
    let run_time = tokio::runtime::Builder::new_current_thread().build().expect("a run time");
    let ids: std::collections::BTreeSet<_> =
        stores.iter().map(|store| run_time.block_on(submit(store, "bob", None))).collect();
    assert_eq!(ids.len(), 8);
    drop(stores);
    audit(&path);
}

#[test]
fn what_can_not_be_used_is_refused_with_words() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("god.db");
    drop(open(&path).expect("opens"));
    let sql = |text: &str| {
        let conn = rusqlite::Connection::open(&path).expect("opens");
        conn.execute_batch(text).expect("changes the file");
    };
    sql("PRAGMA user_version = 99");
    match open(&path) {
        Err(err @ OpenError::Newer { found: 99, .. }) => {
            assert!(err.to_string().contains("99") && err.to_string().contains("newer"), "{err}");
        }
        other => panic!("a newer schema is refused: {other:?}"),
    }
    sql("PRAGMA user_version = 3; PRAGMA application_id = 5");
    assert!(matches!(open(&path), Err(OpenError::Foreign { .. })));

    let text = dir.path().join("text");
    std::fs::write(&text, "this is no database, and long enough to be looked at as if it were one".repeat(9))
        .expect("writes");
    assert!(matches!(open(&text), Err(OpenError::Sqlite { .. })));
    assert!(matches!(open(&dir.path().join("none/god.db")), Err(OpenError::Directory { .. })));
    assert!(matches!(open(&text.join("god.db")), Err(OpenError::Directory { .. })));
    assert!(matches!(open(Path::new("/")), Err(OpenError::NoFile { .. })));
    assert!(matches!(open(Path::new("/tmp/..")), Err(OpenError::NoFile { .. })));
    // What procfs says to the check of the place is not the point, but that it can not be written.
    assert!(open(Path::new("/proc/god.db")).is_err());
}

#[tokio::test]
async fn a_broken_row_fails_alone() {
    let (dir, store) = fresh(Options::default());
    let (good, bad) = (submit(&store, "bob", None).await, submit(&store, "bob", None).await);
    let tasks = store.get(&[good, bad]).await.expect("reads");
    let claim = |i: usize| {
        let before = tasks[i].as_ref().expect("just submitted");
        let after = before.after(&Event::Claimed(attempt(1)), before.submitted).expect("pending");
        vec![Change::of(before, after, OpId(1))]
    };
    let conn = rusqlite::Connection::open(dir.path().join("god.db")).expect("opens");
    conn.busy_timeout(std::time::Duration::from_secs(10)).expect("sets");
    conn.execute(
        "UPDATE task SET phase = 77, body = x'00' WHERE id = ?1",
        [i64::try_from(bad.0).expect("small")],
    )
    .expect("breaks it");
    // While the writer waits for our lock, the next ones come together in its queue.
    conn.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let (pinned, first, second, ()) = tokio::join!(
        store.pin(vec![("x".into(), None)]),
        store.commit(claim(1), None),
        store.commit(claim(0), None),
        async { conn.execute_batch("COMMIT").expect("unlocks") },
    );
    pinned.expect("pins");
    assert!(matches!(&first, Err(StoreError::Corrupt { .. })), "{first:?}");
    assert_eq!(second.expect("the other one goes through"), [Committed::Done]);
    match store.get(&[bad]).await {
        Err(StoreError::Corrupt { place, .. }) => assert!(place.contains(&format!("task {bad}")), "{place}"),
        other => panic!("what can not be read is said: {other:?}"),
    }
    let found = store.get(&[good]).await.expect("reads").remove(0).expect("is there");
    assert_eq!(found.phase(), Phase::Starting);
}

#[tokio::test]
async fn a_copy_is_whole_and_replaces_the_old_one() {
    let (dir, store) = fresh(Options::default());
    let copy = dir.path().join("copy.db");
    std::fs::write(&copy, "an older copy").expect("writes");
    for _ in 0..50 {
        submit(&store, "bob", Some("3")).await;
    }
    let writing = async {
        for _ in 0..50 {
            submit(&store, "eve", None).await;
        }
    };
    let (copied, ()) = tokio::join!(store.backup(&copy), writing);
    copied.expect("copies");
    audit(&copy);
    let restored = open(&copy).expect("a copy is a database");
    let bobs = restored.scan(&Scan::Active(Some(user("bob"))), None, 100).await.expect("reads");
    assert_eq!(bobs.len(), 50);
    assert_eq!(restored.over(&OverFilter::default()).await.expect("reads"), []);
    let nowhere = store.backup(&dir.path().join("none/copy.db")).await;
    assert!(matches!(nowhere, Err(StoreError::Full(_))), "{nowhere:?}");
}

#[tokio::test]
async fn an_edited_field_is_seen_in_other_processes() {
    let (dir, ours) = fresh(Options::default());
    let theirs = open(&dir.path().join("god.db")).expect("opens");
    let id = submit(&ours, "bob", Some("2")).await;
    let child = id.child(1);
    for colour in ["red", "green"] {
        // Both have the specification at hand before the other one edits it.
        let before = ours.get(&[id, child]).await.expect("reads").remove(0).expect("is there");
        let mut after = before.clone();
        after.rev = before.rev.next();
        let mut edited = (*before.spec).clone();
        edited.fields.insert("colour".into(), colour.into());
        after.spec = std::sync::Arc::new(edited);
        let written = theirs.commit(vec![Change::of(&before, after, OpId(1))], None).await;
        assert_eq!(written.expect("commits"), [Committed::Done]);
        for task in ours.get(&[id, child]).await.expect("reads") {
            let task = task.expect("is there");
            assert_eq!(task.spec.fields["colour"], colour, "task {}", task.id);
        }
    }
}

#[tokio::test]
async fn a_filled_file_is_like_one_that_grew() {
    let (_dir, grown) = fresh(Options::default());
    let kit = [submit(&grown, "bob", None).await, submit(&grown, "eve", Some("3")).await];
    let (plain, array) = (kit[0], kit[1]);
    for id in [plain, array.child(1)] {
        let mut task = grown.get(&[id]).await.expect("reads").remove(0).expect("is there");
        let end = Event::EndedUnstarted(god_core::Outcome::Refused("no".into()));
        for event in [end, Event::Measured(9)] {
            let change = Change::of(&task, task.after(&event, task.submitted).expect("a move"), OpId(1));
            assert_eq!(grown.commit(vec![change], None).await.expect("commits"), [Committed::Done]);
            task = grown.get(&[id]).await.expect("reads").remove(0).expect("is there");
        }
    }
    let tasks: Vec<_> = grown.get(&[plain, array, array.child(1)]).await.expect("reads");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("god.db");
    let all = || tasks.iter().flatten().cloned();
    assert_eq!(store_sqlite::bulk::fill(&path, all()).expect("fills"), 3);
    audit(&path);
    let filled = open(&path).expect("opens");
    assert_eq!(filled.get(&[plain, array, array.child(1)]).await.expect("reads"), tasks);
    let query = god_core::query::TaskQuery { limit: 9, ..Default::default() };
    assert_eq!(filled.find(&query).await.expect("reads"), grown.find(&query).await.expect("reads"));
    let counts = async |store: &SqliteStore| store.counts(Some(&user("eve"))).await.expect("reads");
    assert_eq!(counts(&filled).await, counts(&grown).await);
    assert_eq!(submit(&filled, "bob", None).await, submit(&grown, "bob", None).await);
    drop(filled);
    let again = store_sqlite::bulk::fill(&path, all());
    assert!(matches!(again, Err(OpenError::NotEmpty { .. })), "{again:?}");
}
