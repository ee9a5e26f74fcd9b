use super::*;
use crate::testing::{claimed, parent, spec};
use futures::FutureExt;
use god_core::spec::TaskSpec;
use god_core::state::{Phase, WishStatus};
use god_core::store::{NewTask, PendingLimits, Submitted};
use god_store::MemoryStore;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(5000);

/// The store in memory never waits.
fn now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> T {
    answer.now_or_never().expect("at once").expect("no fault")
}

fn submitted(store: &MemoryStore, spec: TaskSpec) -> TaskId {
    let (spec, limits) = (Arc::new(spec), PendingLimits::default());
    let new = NewTask { spec, submitted: Timestamp(1000), idempotency: None, limits };
    match now(store.submit(vec![new])).pop() {
        Some(Submitted::New(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn stored(store: &MemoryStore, id: TaskId) -> Task {
    now(store.get(&[id])).pop().flatten().expect("it is stored")
}

fn put(store: &MemoryStore, before: &Task, after: Task, op: u64) {
    let change = Change::of(before, after, OpId(op));
    assert_eq!(now(store.commit(vec![change], None)), [Committed::Done]);
}

fn asks(store: &MemoryStore, id: TaskId, what: Ask) -> Asked {
    now(ask(store, id, what, Some("bye"), NOW, || OpId(1)))
}

#[test]
fn a_request_is_stored_once() {
    let store = MemoryStore::new();
    let id = submitted(&store, spec());
    let task = stored(&store, id);
    put(&store, &task, claimed(&task, "n", &[]), 1);
    let Asked::Stored(told) = asks(&store, id, Ask::Kill) else { panic!("not stored") };
    assert_eq!((&stored(&store, id).wish, told.kill_wanted()), (&told.wish, true));
    assert_eq!(told.wish.as_ref().and_then(|w| w.reason.as_deref()), Some("bye"));
    assert!(matches!(asks(&store, id, Ask::Kill), Asked::Nothing(task) if task.kill_wanted()));
}

#[test]
fn nothing_is_asked_of_what_is_over_or_was_never_there() {
    let store = MemoryStore::new();
    let id = submitted(&store, spec());
    assert_eq!(asks(&store, TaskId(999), Ask::Kill), Asked::Unknown);
    assert!(matches!(asks(&store, id, Ask::Kill), Asked::Stored(task) if task.phase() == Phase::Over));
    assert!(matches!(asks(&store, id, Ask::Kill), Asked::Nothing(task) if task.phase() == Phase::Over));
}

#[test]
fn a_task_that_moved_meanwhile_is_decided_anew() {
    let store = MemoryStore::new();
    let id = submitted(&store, spec());
    let mut n_tries = 0;
    let answer = now(ask(&store, id, Ask::Kill, None, NOW, || {
        n_tries += 1;
        if n_tries == 1 {
            // Claimed between the reading and the writing.
            let task = stored(&store, id);
            put(&store, &task, claimed(&task, "n", &[]), 7);
        }
        OpId(n_tries)
    }));
    let Asked::Stored(task) = answer else { panic!("{answer:?}") };
    assert_eq!((task.phase(), task.kill_wanted(), n_tries), (Phase::Starting, true, 2));
}

#[test]
fn a_request_that_never_fits_ends_with_an_answer() {
    let store = MemoryStore::new();
    let id = submitted(&store, spec());
    let mut n_tries = 0;
    let answer = now(ask(&store, id, Ask::Kill, None, NOW, || {
        n_tries += 1;
        let task = stored(&store, id);
        let next = task.asked(Ask::Suspend, None, NOW).expect("rejected, and stored so");
        put(&store, &task, next, 1000 + n_tries);
        OpId(n_tries)
    }));
    assert!(matches!(answer, Asked::Nothing(task) if task.phase() == Phase::Pending));
    assert_eq!(n_tries, u64::from(MOST_TRIES));
}

#[test]
fn the_kill_of_an_array_that_waits_with_a_child_of_its_own_is_kept() {
    let store = MemoryStore::new();
    let id = submitted(&store, (*parent(1, "1:3").spec).clone());
    // A request makes a document of a child before anything of its array was claimed.
    let Asked::Stored(child) = asks(&store, id.child(1), Ask::Suspend) else { panic!("not stored") };
    assert_eq!(child.wish.map(|w| w.status), Some(WishStatus::Rejected));
    assert!(matches!(asks(&store, id, Ask::Kill), Asked::Stored(task) if task.kill_wanted()));
    assert!(stored(&store, id).kill_wanted());
}

#[test]
fn what_is_over_can_be_removed_and_nothing_else() {
    let store = MemoryStore::new();
    let ids: Vec<TaskId> = (0..3).map(|_| submitted(&store, spec())).collect();
    assert!(matches!(asks(&store, ids[0], Ask::Archive), Asked::Nothing(task) if task.wish.is_none()));
    for id in &ids[..2] {
        asks(&store, *id, Ask::Kill);
    }
    assert!(
        matches!(asks(&store, ids[0], Ask::Archive), Asked::Stored(task) if task.to_remove() == Some(Ask::Archive))
    );
    let mut read: Vec<Task> = ids.iter().map(|id| stored(&store, *id)).collect();
    // The second one moves after it was read.
    let second = read[1].clone();
    put(&store, &second, second.asked(Ask::Purge, None, NOW).expect("over"), 3);
    read.push(read[0].clone());
    let purged = now(ask_all(&store, &read, Ask::Purge, NOW, || OpId(4)));
    assert_eq!(purged, [ids[0]], "once, only what is over, and only as it was read");
    assert_eq!(now(ask_all(&store, &[], Ask::Purge, NOW, || OpId(5))), []);
}
