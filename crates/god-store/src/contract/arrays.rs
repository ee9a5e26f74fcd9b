//! Checks of arrays: children without documents, counters, the agreement of parent and children.

use super::Wanted;
use super::fixture::{Kit, attempt, exit, kit, spec};
use god_core::state::{Ask, Outcome, Phase};
use god_core::store::{Change, Committed, Expect, Store};
use god_core::task::Children;
use god_core::{Event, Rev, Task, TaskId, Timestamp};
use std::sync::Arc;

async fn children(kit: &Kit, parent: TaskId) -> (u64, u64, u64) {
    let Children { made, over, failed } = kit.get(parent).await.children;
    (made, over, failed)
}

async fn gathered(kit: &Kit, parent: TaskId) -> Change {
    let before = kit.get(parent).await;
    kit.event(&before, &Event::Gathered { failed: before.children.failed })
}

async fn claim(kit: &Kit, id: TaskId) -> Change {
    let before = kit.get(id).await;
    kit.event(&before, &Event::Claimed(attempt(before.attempts + 1)))
}

/// A child that was never written is made up from its parent; ids around the array are nobody's.
pub async fn children_exist_without_documents(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let plain = kit.submit(spec("bob", None)).await;
    let parent = kit.submit(spec("bob", Some("10:30:10"))).await;
    let whole = kit.get(parent).await;
    for ordinal in 0..3 {
        let child = kit.get(parent.child(ordinal)).await;
        assert_eq!(Some(&child), whole.child(ordinal).as_ref());
        assert_eq!(child.array_index(), Some(10 + 10 * i64::try_from(ordinal).expect("small")));
        assert_eq!((child.phase(), child.rev), (Phase::Pending, Rev(0)));
    }
    assert_eq!(kit.find(parent.child(3)).await, None, "past the end of the array");
    assert_eq!(kit.find(TaskId(plain.0 - 1)).await, None);
    kit.start(parent.child(1)).await;
    let ids = [parent.child(2), parent, TaskId(u64::MAX), parent.child(1), parent.child(0), parent.child(0)];
    let found = kit.store.get(&ids).await.expect("reads");
    let phases: Vec<Option<Phase>> = found.iter().map(|task| task.as_ref().map(Task::phase)).collect();
    let pending = Some(Phase::Pending);
    assert_eq!(
        phases,
        [pending, pending, None, Some(Phase::Running), pending, pending],
        "in the order asked"
    );
}

/// The first write of a child fits its place in the array, and happens once.
pub async fn the_first_write_of_a_child_needs_its_place(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("3"))).await;
    let plain = kit.submit(spec("bob", None)).await;
    let good = claim(&kit, parent.child(1)).await;
    assert_eq!(good.expect, Expect::Absent);
    let with = |f: fn(&mut Task, TaskId, TaskId)| {
        let mut change = good.clone();
        f(&mut change.task, parent, plain);
        change
    };
    let bad = [
        ("past the end", with(|task, parent, _| (task.id, task.ordinal) = (parent.child(3), Some(3)))),
        ("id and ordinal differ", with(|task, parent, _| task.id = parent.child(2))),
        ("no ordinal", with(|task, _, _| task.ordinal = None)),
        ("no parent", with(|task, _, _| task.parent = None)),
        (
            "a parent that is no array",
            with(|task, _, plain| {
                (task.parent, task.id) = (Some(plain), plain.child(1));
            }),
        ),
        (
            "an unknown parent",
            with(|task, _, _| {
                (task.parent, task.id) = (Some(TaskId(1 << 40)), TaskId(1 << 40).child(1));
            }),
        ),
        ("a version that is not above zero", with(|task, _, _| task.rev = Rev(0))),
        ("as if there were a document", Change { expect: Expect::Rev(Rev(0)), ..good.clone() }),
    ];
    for (what, change) in bad {
        assert_eq!(kit.commit_one(change).await, Committed::Stale, "{what}");
    }
    assert_eq!(children(&kit, parent).await, (0, 0, 0));
    assert_eq!(kit.commit(vec![good.clone(), good.clone()]).await, [Committed::Done, Committed::Stale]);
    assert_eq!(kit.commit_one(good.clone()).await, Committed::Stale);
    assert_eq!(kit.get(parent.child(1)).await, good.task);
    assert_eq!(children(&kit, parent).await, (1, 0, 0));
}

/// The parent's counters move with its children, without a version of its own.
pub async fn counters_of_the_parent_follow(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("4"))).await;
    let rev = kit.get(parent).await.rev;
    kit.start(parent.child(0)).await;
    assert_eq!(children(&kit, parent).await, (1, 0, 0));
    kit.finish(parent.child(1), 0).await;
    assert_eq!(children(&kit, parent).await, (2, 1, 0));
    kit.finish(parent.child(2), 7).await;
    assert_eq!(children(&kit, parent).await, (3, 2, 1));
    let exit = exit(0, kit.now(), kit.now());
    kit.step(parent.child(0), &Event::Ended(exit)).await;
    let skipped = Event::EndedUnstarted(Outcome::Skipped("no use".into()));
    kit.step(parent.child(3), &skipped).await;
    assert_eq!(children(&kit, parent).await, (4, 4, 2));
    kit.step(parent.child(3), &Event::Archived).await;
    assert_eq!(children(&kit, parent).await, (4, 4, 2), "archiving is no second end");
    assert_eq!(kit.get(parent).await.rev, rev);
    // A change of the parent that was read before all this is still good.
    assert_eq!(kit.commit_one(gathered(&kit, parent).await).await, Committed::Done);
    assert_eq!(kit.get(parent).await.state.outcome(), Some(&Outcome::Gathered { failed: 2 }));
    assert_eq!(children(&kit, parent).await, (4, 4, 2));
}

/// A parent is not over while a child with a document is not; a batch may end both, child first.
pub async fn a_parent_ends_after_its_children(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("2"))).await;
    let early = kit.get(parent).await;
    kit.start(parent.child(0)).await;
    let end = gathered(&kit, parent).await;
    assert_eq!(kit.commit_one(end.clone()).await, Committed::Stale);
    let kill = kit.change(&early, early.asked(Ask::Kill, None, kit.now()).expect("not over"));
    assert_eq!(kill.task.phase(), Phase::Over, "a parent without children of its own is killed at once");
    assert_eq!(kit.commit_one(kill).await, Committed::Stale, "but a child came in between, and runs");
    let exit = exit(0, kit.now(), kit.now());
    let child = kit.event(&kit.get(parent.child(0)).await, &Event::Ended(exit));
    let answers = kit.commit(vec![end.clone(), child, end.clone()]).await;
    assert_eq!(answers, [Committed::Stale, Committed::Done, Committed::Done]);
    assert_eq!(kit.get(parent).await.phase(), Phase::Over);
}

/// Once a parent is over, a child that was not made never will be.
pub async fn nothing_is_made_below_a_parent_that_is_over(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("3"))).await;
    kit.finish(parent.child(0), 0).await;
    let late = claim(&kit, parent.child(1)).await;
    let end = gathered(&kit, parent).await;
    assert_eq!(kit.count(Some("bob"), Phase::Pending).await, 3);
    assert_eq!(kit.commit(vec![end, late.clone()]).await, [Committed::Done, Committed::Stale]);
    assert_eq!(kit.commit_one(late.clone()).await, Committed::Stale);
    let dead = late.task.child_like_killed(kit.now());
    assert_eq!(
        kit.commit_one(Change { task: dead, ..late }).await,
        Committed::Stale,
        "not even an ended one"
    );
    assert_eq!(children(&kit, parent).await, (1, 1, 0));
    assert_eq!(kit.count(Some("bob"), Phase::Pending).await, 0, "they wait no more");
    assert_eq!(kit.step(parent.child(0), &Event::Archived).await.phase(), Phase::Archived);
}

trait KilledLike {
    fn child_like_killed(&self, now: Timestamp) -> Task;
}

impl KilledLike for Task {
    fn child_like_killed(&self, at: Timestamp) -> Task {
        let outcome = Outcome::Killed { reason: None };
        Task { state: god_core::TaskState::Over { outcome, at, last: None }, ..self.clone() }
    }
}

/// While the end of a parent is wanted, its children are made only to be over.
pub async fn a_wanted_end_lets_only_ended_children_in(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("3"))).await;
    kit.start(parent.child(0)).await;
    kit.step(parent, &Event::Unfolded).await;
    let late = claim(&kit, parent.child(1)).await;
    assert!(kit.ask(parent, Ask::Kill).await.kill_wanted());
    assert_eq!(kit.commit_one(late).await, Committed::Stale);
    let before = kit.get(parent.child(1)).await;
    let after = before.asked(Ask::Kill, None, kit.now()).expect("pending");
    assert_eq!(kit.commit_one(kit.change(&before, after)).await, Committed::Done);
    assert_eq!(children(&kit, parent).await, (2, 1, 1));
    // What has a document goes on as it must.
    let exit = exit(0, kit.now(), kit.now());
    kit.step(parent.child(0), &Event::Ended(exit)).await;
    assert_eq!(kit.commit_one(gathered(&kit, parent).await).await, Committed::Done);
    assert!(matches!(kit.get(parent).await.state.outcome(), Some(Outcome::Killed { .. })));
}

/// Which children have a document is told in few words.
pub async fn made_children_are_told_as_ranges(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let first = kit.submit(spec("bob", Some("9"))).await;
    let second = kit.submit(spec("bob", Some("2"))).await;
    let made = async |id| kit.store.made(id).await.expect("reads");
    let vec_of = |range: std::ops::Range<u64>| Vec::from_iter([range]);
    assert_eq!(made(first).await, []);
    for ordinal in [4, 0, 5, 8, 1, 3] {
        kit.start(first.child(ordinal)).await;
    }
    kit.start(second.child(0)).await;
    assert_eq!(made(first).await, [0..2, 3..6, 8..9]);
    assert_eq!(made(second).await, vec_of(0..1));
    for ordinal in [2, 6, 7] {
        kit.start(first.child(ordinal)).await;
    }
    assert_eq!(made(first).await, vec_of(0..9));
    assert_eq!(made(TaskId(1 << 40)).await, []);
    assert_eq!(made(first.child(0)).await, []);
}

/// Children have the parent's specification, an edited one too, and none of their own.
pub async fn children_share_their_parents_specification(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("3"))).await;
    let asked = kit.get(parent).await.spec;
    let mut change = claim(&kit, parent.child(0)).await;
    let mut other = (*asked).clone();
    other.fields.insert("colour".into(), "red".into());
    let edited = other.clone();
    change.task.spec = Arc::new(other.clone());
    assert_eq!(kit.commit_one(change).await, Committed::Done);
    assert_eq!(kit.get(parent.child(0)).await.spec, asked);
    let before = kit.get(parent).await;
    let mut after = Task { rev: before.rev.next(), ..before.clone() };
    after.spec = Arc::new(other);
    assert_eq!(kit.commit_one(kit.change(&before, after)).await, Committed::Done);
    for id in [parent, parent.child(0), parent.child(1)] {
        assert_eq!(kit.get(id).await.spec.fields, edited.fields, "{id}");
    }
    let listed = kit.store.scan(&god_core::store::Scan::ChildrenOf(parent), None, 9).await.expect("reads");
    assert_eq!(listed[0].spec.fields, edited.fields);
}

/// However claims of children and the end of the parent meet: afterwards they agree.
pub async fn racing_children_and_parent_agree(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    for round in 0..10 {
        let parent = kit.submit(spec("bob", Some("4"))).await;
        kit.finish(parent.child(0), 0).await;
        let mut changes = Vec::new();
        for ordinal in 1..4 {
            changes.push(claim(&kit, parent.child(ordinal)).await);
        }
        changes.insert(round % 4, gathered(&kit, parent).await);
        let calls = changes.into_iter().map(|change| kit.store.commit(vec![change], None));
        for answer in futures::future::join_all(calls).await {
            answer.expect("commits");
        }
        let after = kit.get(parent).await;
        let made: u64 = kit.store.made(parent).await.expect("reads").iter().map(|r| r.end - r.start).sum();
        assert_eq!(made, after.children.made, "round {round}");
        if after.phase().is_over() {
            assert_eq!(after.children.made, after.children.over, "round {round}");
        }
    }
}
