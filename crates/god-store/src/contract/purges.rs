//! Checks of purge.

use super::Wanted;
use super::fixture::{kit, new_task, spec, user};
use god_core::state::{Ask, Phase};
use god_core::store::{NewTask, OverFilter, Store, Submitted, UsageOf};
use god_core::units::Day;
use god_core::{Event, TaskId};
use std::sync::Arc;

/// Only what is over goes; what was used stays booked.
pub async fn only_finished_tasks_are_purged(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let (done, archived, running) = (
        kit.submit(spec("bob", None)).await,
        kit.submit(spec("bob", None)).await,
        kit.submit(spec("bob", None)).await,
    );
    kit.finish(done, 0).await;
    kit.finish(archived, 0).await;
    kit.step(archived, &Event::Archived).await;
    kit.start(running).await;
    let used = kit.store.usage(&UsageOf::User(user("bob")), Day(0)).await.expect("reads");
    assert_eq!(used.len(), 1);
    for id in [done, archived, running, done, TaskId(1 << 40)] {
        kit.store.purge(id).await.expect("purges");
    }
    assert_eq!(kit.find(done).await, None);
    assert_eq!(kit.find(archived).await, None);
    assert_eq!(kit.get(running).await.phase(), Phase::Running);
    assert_eq!(kit.store.over(&OverFilter::default()).await.expect("reads"), []);
    for owner in [None, Some("bob")] {
        assert_eq!(kit.count(owner, Phase::Over).await, 0);
        assert_eq!(kit.count(owner, Phase::Archived).await, 0);
        assert_eq!(kit.count(owner, Phase::Running).await, 1);
    }
    assert_eq!(kit.store.usage(&UsageOf::User(user("bob")), Day(0)).await.expect("reads"), used);
}

/// An array goes as a whole, never a child alone.
pub async fn a_purged_array_takes_its_children_along(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let before = kit.submit(spec("bob", None)).await;
    let parent = kit.submit(spec("bob", Some("4"))).await;
    let next = kit.submit(spec("bob", None)).await;
    kit.finish(before, 0).await;
    kit.finish(next, 0).await;
    kit.finish(parent.child(1), 0).await;
    kit.finish(parent.child(3), 1).await;
    kit.store.purge(parent.child(1)).await.expect("answers");
    assert_eq!(kit.get(parent.child(1)).await.phase(), Phase::Over, "a child alone stays");
    kit.store.purge(parent).await.expect("answers");
    assert_eq!(kit.get(parent).await.phase(), Phase::Pending, "not over yet");
    kit.ask(parent, Ask::Kill).await;
    kit.store.purge(parent.child(3)).await.expect("answers");
    assert_eq!(kit.get(parent.child(3)).await.phase(), Phase::Over, "a child alone stays");
    assert_eq!(kit.count(Some("bob"), Phase::Over).await, 5);
    kit.store.purge(parent).await.expect("purges");
    for id in [parent, parent.child(0), parent.child(1), parent.child(2), parent.child(3)] {
        assert_eq!(kit.find(id).await, None, "{id}");
    }
    assert_eq!(kit.store.made(parent).await.expect("reads"), []);
    assert_eq!(kit.count(Some("bob"), Phase::Over).await, 2);
    assert_eq!(kit.count(None, Phase::Pending).await, 0);
    assert!(kit.find(before).await.is_some() && kit.find(next).await.is_some());
}

/// A purged task's id is not given again, even the newest one's; its key may be used again.
pub async fn purged_ids_stay_used(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let keyed = || vec![NewTask { idempotency: Some("k".into()), ..new_task(spec("bob", Some("3"))) }];
    let mut last = TaskId(0);
    for round in 0..3 {
        let answers = kit.store.submit(keyed()).await.expect("submits");
        let [Submitted::New(id)] = answers[..] else { panic!("round {round}, a new task: {answers:?}") };
        assert!(id > last, "round {round}");
        last = id.child(2);
        assert_eq!(kit.store.submit(keyed()).await.expect("submits"), [Submitted::Known(id)]);
        kit.ask(id, Ask::Kill).await;
        kit.store.purge(id).await.expect("purges");
    }
}
