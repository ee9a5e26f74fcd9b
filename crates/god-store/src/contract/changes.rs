//! Checks of commit: versions, leases, whole documents.

use super::Wanted;
use super::fixture::{attempt, exit, kit, spec};
use god_core::state::{Ask, Outcome, Phase};
use god_core::store::{Change, Committed, Expect, Store, StoreError};
use god_core::{Event, Holder, OpId, Rev, Task, TaskId, Timestamp, UserId};
use std::sync::Arc;

/// Only the version that was read is replaced, and what is stale leaves no trace.
pub async fn a_change_needs_the_version_it_was_made_from(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let old = kit.get(id).await;
    let now = kit.step(id, &Event::Claimed(attempt(1))).await;
    let head = kit.head().await;
    let killed = old.asked(Ask::Kill, None, kit.now()).expect("a pending task can be killed");
    let stranger = Task::new(TaskId(id.0 + 1000), Arc::clone(&old.spec), Timestamp(0));
    let claimed = stranger.after(&Event::Claimed(attempt(1)), kit.now()).expect("pending");
    let stale = [
        ("an old version", kit.change(&old, killed.clone())),
        (
            "a version that never was",
            Change {
                expect: Expect::Rev(Rev(99)),
                task: Task { rev: Rev(100), ..killed.clone() },
                ..kit.change(&old, killed.clone())
            },
        ),
        (
            "no document, where there is one",
            Change { expect: Expect::Absent, ..kit.change(&old, killed.clone()) },
        ),
        (
            "a version that is not above the expected one",
            Change {
                expect: Expect::Rev(now.rev),
                task: Task { rev: now.rev, ..killed },
                ..kit.change(&old, old.clone())
            },
        ),
        ("an unknown task", kit.change(&stranger, claimed.clone())),
        ("an unknown task, as absent", Change { expect: Expect::Absent, ..kit.change(&stranger, claimed) }),
    ];
    for (what, change) in stale {
        assert_eq!(kit.commit_one(change).await, Committed::Stale, "{what}");
        assert_eq!(kit.get(id).await, now, "{what}");
        assert_eq!(kit.head().await, head, "{what}");
    }
    assert_eq!(kit.find(stranger.id).await, None);
}

/// The same change a second time finds its own result in the way, in the same batch and later; `op` tells whose it is.
pub async fn a_repeated_change_is_stale(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let change = kit.event(&kit.get(id).await, &Event::Claimed(attempt(1)));
    let answers = kit.commit(vec![change.clone(), change.clone()]).await;
    assert_eq!(answers, [Committed::Done, Committed::Stale]);
    assert_eq!(kit.commit_one(change.clone()).await, Committed::Stale);
    assert_eq!(kit.get(id).await.op, change.task.op);
    assert_eq!(kit.commit(Vec::new()).await, [], "an empty batch is fine");
}

/// A stale change in a batch does not touch its neighbours, and answers stand in the order of the changes.
pub async fn each_change_is_answered_by_itself(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let mut changes = Vec::new();
    for i in 0..20 {
        let id = kit.submit(spec("bob", None)).await;
        let before = kit.get(id).await;
        if i % 3 == 0 {
            kit.ask(id, Ask::Kill).await;
        }
        changes.push(kit.event(&before, &Event::Claimed(attempt(1))));
    }
    let ids: Vec<TaskId> = changes.iter().map(|change| change.task.id).collect();
    let answers = kit.commit(changes).await;
    for (i, answer) in answers.into_iter().enumerate() {
        let (want, phase) = match i % 3 {
            0 => (Committed::Stale, Phase::Over),
            _ => (Committed::Done, Phase::Starting),
        };
        assert_eq!((answer, kit.get(ids[i]).await.phase()), (want, phase), "change {i}");
    }
}

/// Two steps of one task may stand in one batch.
pub async fn later_changes_see_earlier_ones(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let first = kit.event(&kit.get(id).await, &Event::Claimed(attempt(1)));
    let second = kit.event(&first.task, &Event::Started { run: None, since: kit.now() });
    let want = second.task.clone();
    assert_eq!(kit.commit(vec![first, second]).await, [Committed::Done, Committed::Done]);
    assert_eq!(kit.get(id).await, want);
}

/// Every state with all its data comes back as it was written.
pub async fn every_document_is_read_back_whole(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let since = kit.now();
    let lost = god_core::Exit {
        cause: god_core::executor::Cause::Lost("node-1 is gone".into()),
        ..exit(0, since, kit.now())
    };
    let events = [
        Event::Claimed(attempt(1)),
        Event::Returned { why: Some("no room after all".into()) },
        Event::Claimed(attempt(2)),
        Event::Started { run: Some(god_core::RunRef::new("c0ffee")), since },
        Event::Paused,
        Event::Resumed,
        Event::Ended(lost),
        Event::Claimed(attempt(3)),
        Event::Started { run: None, since },
        Event::Ended(exit(3, since, kit.now())),
        Event::Archived,
    ];
    let id = kit.submit(spec("bob", None)).await;
    let mut task = kit.get(id).await;
    for event in events {
        if matches!(event, Event::Paused) {
            let after = task.asked(Ask::Suspend, Some("maintenance"), kit.now()).expect("it runs");
            task = put(&kit, &task, after).await;
        }
        let after = task.after(&event, kit.now()).expect("the life of a task");
        task = put(&kit, &task, after).await;
    }
    assert_eq!(task.phase(), Phase::Archived);

    let id = kit.submit(spec("bob", None)).await;
    let held = kit.step(id, &Event::Poisoned("three times the same fault".into())).await;
    let after = held.asked(Ask::Kill, Some("given up"), kit.now()).expect("a held task can be killed");
    let killed = put(&kit, &held, after).await;
    assert_eq!(killed.state.outcome(), Some(&Outcome::Killed { reason: Some("given up".into()) }));
}

async fn put(kit: &super::fixture::Kit, before: &Task, after: Task) -> Task {
    let change = kit.change(before, after);
    let want = change.task.clone();
    assert_eq!(kit.commit_one(change).await, Committed::Done, "to {:?}", want.phase());
    assert_eq!(kit.get(want.id).await, want);
    want
}

/// No write opens a finished task again; it can still be archived.
pub async fn what_is_over_stays_over(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let pending = kit.get(id).await;
    let over = kit.finish(id, 0).await;
    let reopened = Task { state: pending.state.clone(), rev: over.rev.next(), ..over.clone() };
    let change = Change { task: reopened, ..kit.change(&over, over.clone()) };
    assert_eq!(kit.commit_one(change).await, Committed::Stale);
    assert_eq!(kit.get(id).await, over);
    assert_eq!(kit.step(id, &Event::Archived).await.phase(), Phase::Archived);
    assert_eq!(kit.count(Some("bob"), Phase::Over).await, 0);
    assert_eq!(kit.count(Some("bob"), Phase::Archived).await, 1);
}

/// Parent, ordinal and submit time are the stored ones, and counters of children are the store's.
pub async fn identity_is_what_is_stored(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", Some("3"))).await;
    kit.finish(id.child(1), 1).await;
    let before = kit.get(id).await;
    let mut change = kit.event(&before, &Event::Unfolded);
    change.task.parent = Some(TaskId(1));
    change.task.ordinal = Some(5);
    change.task.submitted = Timestamp(1);
    change.task.children = god_core::task::Children { made: 9, over: 9, failed: 9 };
    let (rev, op, state) = (change.task.rev, change.task.op, change.task.state.clone());
    assert_eq!(kit.commit_one(change).await, Committed::Done);
    assert_eq!(kit.get(id).await, Task { rev, op, state, ..before });
}

/// The site's fields may be edited; they are stored with the specification and read back.
pub async fn a_changed_specification_is_written(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let before = kit.get(id).await;
    for colour in ["red", "green"] {
        let before = kit.get(id).await;
        let mut after = before.clone();
        after.rev = before.rev.next();
        let mut edited = (*before.spec).clone();
        edited.fields.insert("colour".into(), colour.into());
        after.spec = Arc::new(edited);
        let change = kit.change(&before, after);
        assert_eq!(kit.commit_one(change).await, Committed::Done);
        assert_eq!(kit.get(id).await.spec.fields.get("colour").map(String::as_str), Some(colour));
    }
    let claimed = kit.step(id, &Event::Claimed(attempt(1))).await;
    assert_eq!(claimed.spec.fields.get("colour").map(String::as_str), Some("green"), "kept by later changes");
    assert_eq!(claimed.spec.script, before.spec.script);
}

/// Of many writers that read the same version, one wins.
pub async fn racing_changes_have_one_winner(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    for round in 0..5 {
        let before = kit.get(id).await;
        let event = if before.phase() == Phase::Pending {
            Event::Claimed(attempt(before.attempts + 1))
        } else {
            Event::Returned { why: None }
        };
        let changes: Vec<Change> = (0..8).map(|_| kit.event(&before, &event)).collect();
        let ops: Vec<OpId> = changes.iter().map(|change| change.task.op).collect();
        let calls = changes.into_iter().map(|change| kit.store.commit(vec![change], None));
        let answers = futures::future::join_all(calls).await;
        let won: Vec<OpId> = answers
            .into_iter()
            .zip(&ops)
            .filter(|(answer, _)| matches!(answer.as_deref(), Ok([Committed::Done])))
            .map(|(_, op)| *op)
            .collect();
        assert_eq!(won, [kit.get(id).await.op], "round {round}: one winner, and it is what is stored");
    }
}

/// A write with a lease that is lost is refused whole, in the same instant.
pub async fn a_lost_lease_stops_a_write(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let (old, new) = (Holder::new("scheduler/a"), Holder::new("scheduler/b"));
    let first = kit.store.take_lease("scheduler", &old, None).await.expect("answers").expect("taken");
    let one = kit.submit(spec("bob", None)).await;
    let two = kit.submit(spec("bob", None)).await;
    let claim = async |id| vec![kit.event(&kit.get(id).await, &Event::Claimed(attempt(1)))];
    let held = kit.store.commit(claim(one).await, Some(&first)).await;
    assert!(matches!(held.as_deref(), Ok([Committed::Done])), "{held:?}");
    assert!(kit.store.renew_lease(&first).await.expect("answers"));
    let record = kit.store.leases("scheduler").await.expect("answers").remove(0);
    let second =
        kit.store.take_lease("scheduler", &new, Some(&record)).await.expect("answers").expect("taken");

    let head = kit.head().await;
    let claims = claim(two).await;
    let other_holder = god_core::store::Lease { holder: old.clone(), ..second.clone() };
    let other_name = god_core::store::Lease { name: "watcher".into(), ..second.clone() };
    for lost in [&first, &other_holder, &other_name] {
        let fenced = kit.store.commit(claims.clone(), Some(lost)).await;
        assert!(matches!(&fenced, Err(StoreError::Fenced(name)) if *name == lost.name), "{fenced:?}");
    }
    assert_eq!(kit.get(two).await.phase(), Phase::Pending);
    assert_eq!(kit.head().await, head, "nothing was written");
    let held = kit.store.commit(claims, Some(&second)).await;
    assert!(matches!(held.as_deref(), Ok([Committed::Done])), "{held:?}");
    kit.store.release_lease(&second).await.expect("answers");
    let three = kit.submit(spec(UserId::new("bob").as_str(), None)).await;
    let fenced = kit.store.commit(claim(three).await, Some(&second)).await;
    assert!(matches!(fenced, Err(StoreError::Fenced(_))), "given back: {fenced:?}");
}
