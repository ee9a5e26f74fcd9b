//! Checks of submit: ids, keys, limits.

use super::Wanted;
use super::fixture::{START, kit, new_task, spec};
use god_core::state::Phase;
use god_core::store::{NewTask, PendingLimits, Store, Submitted};
use god_core::{Task, TaskId, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Ids start above zero and grow in the order of the batch; an array's children follow it directly.
pub async fn ids_grow_and_arrays_set_theirs_aside(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let batch =
        [None, Some("3"), None, Some("2:10:4%1"), None].map(|array| new_task(spec("bob", array))).to_vec();
    let answers = kit.store.submit(batch).await.expect("submits");
    let ids: Vec<u64> = answers
        .iter()
        .map(|answer| match answer {
            Submitted::New(id) => id.0,
            other => panic!("a new task: {other:?}"),
        })
        .collect();
    assert!(ids[0] > 0);
    for (i, room) in [1, 4, 1, 4].into_iter().enumerate() {
        assert!(ids[i + 1] >= ids[i] + room, "{ids:?}: the next id leaves room for children");
    }
    assert!(kit.submit(spec("bob", None)).await.0 > ids[4]);
    assert_eq!(kit.store.submit(Vec::new()).await.expect("an empty batch is fine"), []);
}

/// A document right after its submit is [`Task::new`] of what was given.
pub async fn what_was_submitted_is_read_back(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    for array in [None, Some("1:7:3%2")] {
        let asked = Arc::new(spec("bob", array));
        let new = NewTask {
            spec: Arc::clone(&asked),
            submitted: Timestamp(START + 42),
            idempotency: None,
            limits: PendingLimits::default(),
        };
        let answers = kit.store.submit(vec![new]).await.expect("submits");
        let [Submitted::New(id)] = answers[..] else { panic!("a new task: {answers:?}") };
        assert_eq!(kit.get(id).await, Task::new(id, asked, Timestamp(START + 42)));
    }
    assert_eq!(kit.find(TaskId(u64::MAX)).await, None);
    assert_eq!(kit.find(TaskId(0)).await, None);
}

/// The same owner and key give the same task, in one batch, in later ones and at a limit; another owner's key is
/// another key.
pub async fn a_key_makes_one_task(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let keyed = |owner: &str, key: &str| NewTask {
        idempotency: Some(key.to_owned()),
        limits: PendingLimits { per_user: Some(2), all: None },
        ..new_task(spec(owner, None))
    };
    let batch = vec![keyed("bob", "k1"), keyed("bob", "k1"), keyed("eve", "k1"), keyed("bob", "k2")];
    let answers = kit.store.submit(batch).await.expect("submits");
    let [Submitted::New(first), Submitted::Known(again), Submitted::New(eves), Submitted::New(second)] =
        answers[..]
    else {
        panic!("new, known, new, new: {answers:?}")
    };
    assert_eq!(first, again);
    assert_eq!(BTreeSet::from([first, eves, second]).len(), 3);
    let answers = kit.store.submit(vec![keyed("bob", "k2"), keyed("bob", "k3")]).await.expect("submits");
    assert_eq!(answers[0], Submitted::Known(second), "known, though the limit is reached");
    assert!(matches!(answers[1], Submitted::OverLimit(_)), "{answers:?}");
    assert_eq!(kit.count(Some("bob"), Phase::Pending).await, 2);
    let answers = kit.store.submit(vec![NewTask { limits: PendingLimits::default(), ..keyed("bob", "k3") }]);
    let answers = answers.await.expect("submits");
    assert!(matches!(answers[0], Submitted::New(_)), "a refused submit leaves no key: {answers:?}");
}

/// An array counts with all its children and itself, at once; what is refused stores nothing; started tasks count no
/// more.
pub async fn limits_count_arrays_whole(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let limited = |array: Option<&str>, per_user, all| NewTask {
        limits: PendingLimits { per_user, all },
        ..new_task(spec("bob", array))
    };
    let batch = vec![
        limited(Some("4"), Some(4), None),
        limited(Some("4"), Some(5), None),
        limited(None, Some(5), None),
        limited(None, None, Some(5)),
        limited(None, Some(6), Some(6)),
        limited(None, Some(6), Some(6)),
    ];
    let answers = kit.store.submit(batch).await.expect("submits");
    let stored: Vec<bool> = answers.iter().map(|answer| matches!(answer, Submitted::New(_))).collect();
    assert_eq!(stored, [false, true, false, false, true, false], "{answers:?}");
    for answer in &answers {
        if let Submitted::OverLimit(text) = answer {
            assert!(text.chars().any(|c| c.is_ascii_digit()), "{text:?} names the limit");
        }
    }
    assert_eq!(kit.count(None, Phase::Pending).await, 6);
    let Submitted::New(plain) = answers[4] else { panic!("stored: {answers:?}") };
    kit.start(plain).await;
    let answers = kit.store.submit(vec![limited(None, Some(6), Some(6))]).await.expect("submits");
    assert!(matches!(answers[0], Submitted::New(_)), "a started task gives its place back: {answers:?}");
}

/// Many submits at the same time never pass a limit.
pub async fn limits_hold_against_each_other(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let calls = (0..32).map(|i| {
        let owner = if i % 2 == 0 { "bob" } else { "eve" };
        let limits = PendingLimits { per_user: Some(7), all: Some(12) };
        kit.store.submit(vec![NewTask { limits, ..new_task(spec(owner, None)) }])
    });
    let answers = futures::future::join_all(calls).await;
    let stored = answers
        .into_iter()
        .map(|answer| answer.expect("submits"))
        .filter(|answer| matches!(answer[0], Submitted::New(_)))
        .count();
    assert_eq!(stored, 12, "the limit of all is reached and not passed");
    assert_eq!(kit.count(None, Phase::Pending).await, 12);
    assert!(kit.count(Some("bob"), Phase::Pending).await <= 7);
    assert!(kit.count(Some("eve"), Phase::Pending).await <= 7);
}

/// No id is given twice, whoever asks when.
pub async fn concurrent_submits_get_different_ids(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let calls = (0..16).map(|i| {
        let batch = (0..8).map(|j| new_task(spec("bob", (j == i % 8).then_some("5")))).collect();
        kit.store.submit(batch)
    });
    let mut taken = BTreeSet::new();
    for answers in futures::future::join_all(calls).await {
        for (j, answer) in answers.expect("submits").into_iter().enumerate() {
            let Submitted::New(id) = answer else { panic!("a new task: {answer:?}") };
            assert!(taken.insert(id), "{id} was given before (place {j})");
            let task = kit.get(id).await;
            for ordinal in 0..task.array().map_or(0, god_core::ArraySpec::count) {
                assert!(taken.insert(id.child(ordinal)), "a child's id was given before");
            }
        }
    }
}
