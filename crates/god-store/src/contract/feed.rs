//! Checks of the change sequence and its bell.

use super::Wanted;
use super::fixture::{Kit, attempt, kit, kit_with, new_task, spec};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use god_core::state::{Ask, Phase};
use god_core::store::{Change, Changes, Committed, NewTask, PendingLimits, Seq, Store, Submitted};
use god_core::{Event, Task, TaskId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Every submit and every change gives one note, in the order of the writes; positions grow.
pub async fn every_write_gives_a_note_in_order(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let start = kit.head().await;
    assert_eq!(kit.notes(start).await, [], "a fresh store has no changes");
    let plain = kit.submit(spec("bob", None)).await;
    let array = kit.submit(spec("bob", Some("3"))).await;
    kit.start(array.child(1)).await;
    kit.ask(array.child(1), Ask::Kill).await;
    let first = kit.event(&kit.get(plain).await, &Event::Claimed(attempt(1)));
    let second = kit.event(&kit.get(array).await, &Event::Unfolded);
    kit.commit(vec![first.clone(), first, second]).await;
    let notes = kit.notes(start).await;
    let seen: Vec<_> =
        notes.iter().map(|note| (note.task, note.parent, note.phase, note.wished, note.rev.0)).collect();
    let child = array.child(1);
    assert_eq!(
        seen,
        [
            (plain, None, Phase::Pending, false, 0),
            (array, None, Phase::Pending, false, 0),
            (child, Some(array), Phase::Starting, false, 1),
            (child, Some(array), Phase::Running, false, 2),
            (child, Some(array), Phase::Running, true, 3),
            (plain, None, Phase::Starting, false, 1),
            (array, None, Phase::Gathering, false, 1),
        ]
    );
    assert!(notes.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    assert_eq!(kit.head().await, notes[6].seq);
    assert_eq!(kit.notes(notes[6].seq).await, []);
    assert_eq!(kit.notes(notes[3].seq).await, notes[4..]);
}

/// A store may have versions of documents at hand; those it has are as they were written.
pub async fn what_is_at_hand_is_what_was_written(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let plain = kit.submit(spec("bob", None)).await;
    let array = kit.submit(spec("bob", Some("3"))).await;
    let child = array.child(2);
    let mut written = vec![kit.get(plain).await, kit.get(array).await];
    written.push(kit.step(plain, &Event::Claimed(attempt(1))).await);
    written.push(kit.step(array, &Event::Unfolded).await);
    written.push(kit.start(child).await);
    written.push(kit.ask(child, Ask::Kill).await);
    written.push(kit.ask(plain, Ask::Kill).await);
    for task in &written {
        if let Some(found) = kit.store.at_hand(task.id, task.rev) {
            assert_eq!(found, *task);
        }
        assert_eq!(kit.store.at_hand(task.id, god_core::Rev(99)), None, "no such version of {}", task.id);
    }
    assert_eq!(kit.store.at_hand(array.child(1), god_core::Rev(0)), None, "it was never written");
}

/// A child that is written by somebody who had read its parent before that was changed is at hand as it is stored, or not
/// at all.
pub async fn what_is_at_hand_of_a_child_follows_its_parent(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let array = kit.submit(spec("bob", Some("3"))).await;
    kit.step(array, &Event::Unfolded).await;
    let child = array.child(0);
    let stale = kit.event(&kit.get(child).await, &Event::Claimed(attempt(1)));
    let before = kit.get(array).await;
    let mut changed = (*before.spec).clone();
    changed.fields.insert("stage".to_owned(), "gold".to_owned());
    let after = Task { spec: Arc::new(changed), rev: before.rev.next(), ..before.clone() };
    assert_eq!(kit.commit_one(Change::of(&before, after, god_core::OpId(7))).await, Committed::Done);
    assert_eq!(kit.commit_one(stale).await, Committed::Done);
    let stored = kit.get(child).await;
    assert_eq!(stored.spec.fields.get("stage").map(String::as_str), Some("gold"));
    if let Some(found) = kit.store.at_hand(child, stored.rev) {
        assert_eq!(found, stored);
    }
}

/// Small pages, each asked from the last one's position, give everything once.
pub async fn notes_come_in_pages(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let start = kit.head().await;
    let calls = (0..8).map(|_| kit.store.submit(vec![new_task(spec("bob", None)); 3]));
    for answer in futures::future::join_all(calls).await {
        answer.expect("submits");
    }
    let (mut since, mut seen) = (start, Vec::new());
    loop {
        let Changes::Notes(notes) = kit.store.changes(since, 5).await.expect("reads") else {
            panic!("nothing was cut off yet")
        };
        assert!(notes.len() <= 5);
        let Some(last) = notes.last() else { break };
        since = last.seq;
        seen.extend(notes);
    }
    assert_eq!(seen, kit.notes(start).await);
    assert_eq!(seen.len(), 24);
}

/// Who comes back after too many changes is told so, with a position to go on from.
pub async fn a_position_too_old_is_told(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit_with(make, Wanted { notes_kept: Some(10) }).await;
    let start = kit.head().await;
    let mut cut = false;
    for _ in 0..400 {
        kit.submit(spec("bob", None)).await;
        match kit.store.changes(start, 3).await.expect("reads") {
            Changes::Notes(notes) => assert!(!cut && notes[0].seq > start, "what was cut off stays so"),
            Changes::TooOld(head) => {
                cut = true;
                assert_eq!(head, kit.head().await);
            }
        }
    }
    assert!(cut, "400 changes are more than 10, or any slack");
    let head = kit.head().await;
    let id = kit.submit(spec("bob", None)).await;
    let notes = kit.notes(head).await;
    assert_eq!(notes.iter().map(|note| note.task).collect::<Vec<_>>(), [id]);
    let Changes::Notes(notes) = kit.store.changes(Seq(head.0 - 8), 100).await.expect("reads") else {
        panic!("the newest ten are kept")
    };
    assert_eq!(notes.len(), 9);
}

/// A position above the newest change comes from before a backup was put back.
pub async fn a_position_that_never_was_is_told(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    kit.submit(spec("bob", None)).await;
    let head = kit.head().await;
    let answer = kit.store.changes(Seq(head.0 + 1000), 10).await.expect("reads");
    assert_eq!(answer, Changes::TooOld(head));
}

/// A waiter is woken by a change that comes later, returns at once for one that came before, and may be dropped.
pub async fn the_bell_wakes_a_waiter(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let mut id = TaskId(0);
    for round in 0..20 {
        let head = kit.head().await;
        drop(kit.store.rung(head));
        let write: Pin<Box<dyn Future<Output = Option<TaskId>>>> = if round % 2 == 0 {
            Box::pin(async { Some(kit.submit(spec("bob", None)).await) })
        } else {
            Box::pin(async {
                kit.step(id, &Event::Claimed(attempt(1))).await;
                None
            })
        };
        // Each future has its own waker, so the end of the write does not wake the waiters by itself.
        let mut all: FuturesUnordered<Pin<Box<dyn Future<Output = Option<TaskId>>>>> =
            FuturesUnordered::new();
        for _ in 0..3 {
            all.push(Box::pin(async {
                wait_above(&kit, head).await;
                None
            }));
        }
        all.push(write);
        let mut made = None;
        while let Some(done) = all.next().await {
            made = made.or(done);
        }
        drop(all);
        id = made.unwrap_or(id);
        kit.store.rung(head).await;
    }
}

/// Waits as a caller does: a bell may ring early.
async fn wait_above(kit: &Kit, seq: Seq) {
    while kit.head().await <= seq {
        kit.store.rung(seq).await;
    }
}

/// What was not written is no change.
pub async fn nothing_written_rings_nothing(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let change = kit.event(&kit.get(id).await, &Event::Claimed(attempt(1)));
    assert_eq!(kit.commit_one(change.clone()).await, Committed::Done);
    let head = kit.head().await;
    assert_eq!(kit.commit_one(change).await, Committed::Stale);
    let limits = PendingLimits { per_user: Some(0), all: None };
    let refused = kit.store.submit(vec![NewTask { limits, ..new_task(spec("bob", None)) }]).await;
    assert!(matches!(refused.as_deref(), Ok([Submitted::OverLimit(_)])), "{refused:?}");
    kit.store.pin(vec![("note".into(), Some("text".into()))]).await.expect("pins");
    let holder = god_core::Holder::new("scheduler/a");
    kit.store.take_lease("scheduler", &holder, None).await.expect("answers").expect("taken");
    assert_eq!(kit.head().await, head);
    assert_eq!(kit.notes(head).await, []);
}
