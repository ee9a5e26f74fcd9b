//! Files that older programs made: brought to today's tables with all they hold.

use crate::audit::audit;
use crate::submit;
use god_core::query::{NameFilter, OutcomeClass, TaskQuery};
use god_core::state::{Ask, Outcome, Phase};
use god_core::store::{Change, Changes, Committed, OverFilter, Scan, Seq, Store, UsageOf};
use god_core::units::Day;
use god_core::usage::{UsageSum, Used};
use god_core::{Event, OpId, ProjectId, Task, TaskId, Timestamp};
use god_store::contract::fixture::{spec, user};
use rusqlite::Connection;
use std::path::Path;
use store_sqlite::{Options, SqliteStore};

/// A file as version 1 made it, with a pending task, a finished one and an archived one of bob.
fn version_1(path: &Path) {
    let conn = Connection::open(path).expect("opens");
    conn.execute_batch(include_str!("../../src/schema/1.sql")).expect("version 1");
    conn.execute_batch(
        "PRAGMA application_id = 1196377201; PRAGMA user_version = 1; PRAGMA journal_mode = WAL;
         UPDATE meta SET n = 4 WHERE name = 'next_id';
         INSERT INTO counter VALUES ('bob', 0, 1), ('', 0, 1), ('bob', 5, 1), ('', 5, 1), ('bob', 6, 1), ('', 6, 1);
         INSERT INTO ledger VALUES (2, 1, 'bob', 'p1', 20454, 3, 4, 500), (3, 1, 'bob', 'p2', 20455, 3, 4, 700);
         INSERT INTO used VALUES (0, 'bob', 20454, 3, 4, 500), (0, 'bob', 20455, 3, 4, 700),
             (1, 'p1', 20454, 3, 4, 500), (1, 'p2', 20455, 3, 4, 700);
         INSERT INTO note VALUES (7, 2, NULL, 2, 0, 2), (8, 2, NULL, 5, 0, 3), (9, 3, NULL, 6, 0, 4);",
    )
    .expect("fills it");
    let over = r#"{"outcome":{"exited":0},"at":1767225600500}"#;
    let archived = r#"{"outcome":{"exited":1},"at":1767225600700,"archived":1767225600900}"#;
    for (id, phase, ended, state) in [
        (1, 0, None, r#"{"pending":{"since":1767225600000}}"#.to_owned()),
        (2, 5, Some(1_767_225_600_500i64), format!(r#"{{"over":{over}}}"#)),
        (3, 6, Some(1_767_225_600_700), format!(r#"{{"archived":{archived}}}"#)),
    ] {
        let body = format!(r#"{{"s":{state},"a":1}}"#).into_bytes();
        conn.execute(
            "INSERT INTO task (id, owner, phase, rev, op, submitted, ended, killing, kids, fields, body)
             VALUES (?1, 'bob', ?2, 3, 1, 1767225600000, ?3, 0, 0, 99, ?4)",
            (id, phase, ended, body),
        )
        .expect("a task");
        let spec = serde_json::to_vec(&spec("bob", None)).expect("a specification");
        conn.execute("INSERT INTO spec VALUES (?1, ?2)", (id, spec)).expect("its specification");
    }
}

fn all() -> TaskQuery {
    TaskQuery { limit: 9, ..TaskQuery::default() }
}

async fn moved(store: &SqliteStore, id: TaskId, to: impl Fn(&Task) -> Task) -> Task {
    let before = store.get(&[id]).await.expect("reads").remove(0).expect("is there");
    let change = Change::of(&before, to(&before), OpId(5));
    assert_eq!(store.commit(vec![change], None).await.expect("commits"), [Committed::Done]);
    store.get(&[id]).await.expect("reads").remove(0).expect("is there")
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_and_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("god.db");
    version_1(&path);
    for round in 0..2 {
        let store = SqliteStore::open(&path, Options::default()).expect("opens");
        let over = store.over(&OverFilter::default()).await.expect("reads");
        let phases: Vec<_> = over.iter().map(|task| (task.id, task.phase(), task.disk)).collect();
        let want = [(TaskId(3), Phase::Archived, None), (TaskId(2), Phase::Over, None)];
        assert_eq!(phases, want, "round {round}");
        assert_eq!(*over[0].spec, spec("bob", None));
        let ledger = store.usage_since(Day(0)).await.expect("reads");
        let bob = Used { millis: 1200, cores: 6, ram: 8, disk: 0 };
        assert_eq!(ledger.users.get(&user("bob")), Some(&bob));
        assert_eq!(ledger.projects.len(), 2);
        let p2 = UsageOf::Project(ProjectId::new("p2"));
        let sums = store.usage(&p2, Day(20_455)).await.expect("reads");
        assert_eq!(sums, [UsageSum { day: Day(20_455), cores: 3, ram: 4, millis: 700 }]);
        let Changes::Notes(notes) = store.changes(Seq(6), 9).await.expect("reads") else { panic!("cut off") };
        assert_eq!(notes.iter().map(|n| n.ends).collect::<Vec<_>>(), [false, true, false]);
        for (query, want) in [
            (TaskQuery { tag: Some("two".into()), ..all() }, vec![3, 2, 1]),
            (TaskQuery { outcomes: vec![OutcomeClass::Failed], ..all() }, vec![3]),
            (TaskQuery { outcomes: vec![OutcomeClass::Success], ..all() }, vec![2]),
            (TaskQuery { name: Some(NameFilter::Prefix("a name".into())), ..all() }, vec![3, 2, 1]),
            (TaskQuery { project: Some(ProjectId::new("default")), ..all() }, vec![3, 2, 1]),
        ] {
            let page = store.find(&query).await.expect("reads");
            assert_eq!(page.tasks.iter().map(|task| task.id.0).collect::<Vec<_>>(), want, "{query:?}");
        }
    }
    audit(&path);

    let store = SqliteStore::open(&path, Options::default()).expect("opens");
    let measured = |task: &Task| task.after(&Event::Measured(12), Timestamp(1)).expect("over");
    assert_eq!(moved(&store, TaskId(2), measured).await.disk, Some(12));
    moved(&store, TaskId(2), |task| task.asked(Ask::Purge, None, Timestamp(2)).expect("over")).await;
    let asked = store.scan(&Scan::ToRemove, None, 9).await.expect("reads");
    assert_eq!(asked.iter().map(|task| task.id).collect::<Vec<_>>(), [TaskId(2)]);
    assert_eq!(submit(&store, "eve", None).await, TaskId(4));
    drop(store);
    audit(&path);
}

/// Whoever opens a file first brings it up; the others find it done.
#[test]
fn many_may_bring_up_the_same_file_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("god.db");
    version_1(&path);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| SqliteStore::open(&path, Options::default()).expect("opens"));
        }
    });
    audit(&path);
}

/// The step to version 3 reads the class of an outcome from its text; all of them must be known to it.
#[tokio::test]
async fn every_outcome_of_an_older_file_has_its_class() {
    let outcomes = [
        Outcome::Exited(0),
        Outcome::Exited(-1),
        Outcome::Signalled(9),
        Outcome::Killed { reason: None },
        Outcome::Killed { reason: Some("a \"reason\"".into()) },
        Outcome::TimedOut,
        Outcome::OutOfMemory,
        Outcome::Lost("gone".into()),
        Outcome::Quota("time".into()),
        Outcome::Refused("too large".into()),
        Outcome::Skipped("task 1".into()),
        Outcome::Gathered { failed: 0 },
        Outcome::Gathered { failed: 10 },
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("god.db");
    version_1(&path);
    let conn = Connection::open(&path).expect("opens");
    for (n, outcome) in (10i64..).zip(&outcomes) {
        let state = serde_json::json!({"over": {"outcome": outcome, "at": 5}});
        let body = serde_json::json!({"s": state, "a": 1}).to_string().into_bytes();
        conn.execute(
            "INSERT INTO task (id, owner, phase, rev, op, submitted, ended, killing, kids, fields, body)
             VALUES (?1, 'eve', 5, 3, 1, 4, 5, 0, 0, 99, ?2)",
            (n, body),
        )
        .expect("a task");
        conn.execute("INSERT INTO spec SELECT ?1, body FROM spec WHERE id = 1", [n])
            .expect("a specification");
    }
    drop(conn);
    let store = SqliteStore::open(&path, Options::default()).expect("opens");
    for class in OutcomeClass::ALL {
        let query = TaskQuery { owner: Some(user("eve")), outcomes: vec![class], limit: 99, ..all() };
        let page = store.find(&query).await.expect("reads");
        let found: Vec<_> = page.tasks.iter().rev().filter_map(|task| task.state.outcome()).collect();
        let want: Vec<_> = outcomes.iter().filter(|outcome| outcome.class() == class).collect();
        assert_eq!(found, want);
    }
}
