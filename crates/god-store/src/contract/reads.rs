//! Checks of scans, lists and counts.

use super::Wanted;
use super::fixture::{Kit, START, attempt, exit, kit, spec, user};
use god_core::state::{Ask, Phase};
use god_core::store::{Counts, OverFilter, Scan, Store};
use god_core::{Event, Task, TaskId, Timestamp};
use std::sync::Arc;

async fn scan_all(kit: &Kit, scan: &Scan, page: usize) -> Vec<TaskId> {
    let mut ids: Vec<TaskId> = Vec::new();
    loop {
        let tasks = kit.store.scan(scan, ids.last().copied(), page).await.expect("reads");
        assert!(tasks.len() <= page);
        if tasks.is_empty() {
            return ids;
        }
        for task in tasks {
            assert!(ids.last().is_none_or(|last| *last < task.id), "ascending");
            ids.push(task.id);
        }
    }
}

/// Pages of a scan, put together, are the whole, whatever their size.
pub async fn scans_go_up_in_pages(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let mut want = Vec::new();
    for i in 0..17 {
        let id = kit.submit(spec("bob", None)).await;
        match i % 4 {
            0 => {
                kit.step(id, &Event::Claimed(attempt(1))).await;
            }
            1 => {
                kit.start(id).await;
            }
            2 => {
                kit.ask(id, Ask::Kill).await;
                continue;
            }
            _ => {}
        }
        want.push(id);
    }
    for page in [1, 2, 5, 100] {
        assert_eq!(scan_all(&kit, &Scan::Active(None), page).await, want, "pages of {page}");
        assert_eq!(scan_all(&kit, &Scan::Active(Some(user("bob"))), page).await, want, "pages of {page}");
    }
    assert_eq!(kit.store.scan(&Scan::Active(None), None, 0).await.expect("reads"), []);
    let read = kit.store.scan(&Scan::Active(None), None, 100).await.expect("reads");
    for task in read {
        assert_eq!(task, kit.get(task.id).await, "a scan gives whole documents");
    }
}

/// Each kind of scan visits its own tasks and no other.
pub async fn scans_know_owner_and_phase(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let a = kit.submit(spec("bob", None)).await;
    let b = kit.submit(spec("eve", None)).await;
    let c = kit.submit(spec("bob", Some("5"))).await;
    let d = kit.submit(spec("eve", None)).await;
    let e = kit.submit(spec("bob", None)).await;
    kit.start(b).await;
    kit.start(c.child(3)).await;
    kit.finish(c.child(0), 0).await;
    kit.step(c, &Event::Unfolded).await;
    kit.step(e, &Event::Poisoned("x".into())).await;
    kit.finish(a, 0).await;
    let scans: [(Scan, &[TaskId]); 9] = [
        (Scan::Active(None), &[b, c, c.child(3), d, e]),
        (Scan::Active(Some(user("bob"))), &[c, c.child(3), e]),
        (Scan::Active(Some(user("eve"))), &[b, d]),
        (Scan::Active(Some(user("nobody"))), &[]),
        (Scan::Phases(vec![Phase::Pending]), &[d]),
        (Scan::Phases(vec![Phase::Running, Phase::Held, Phase::Pending]), &[b, c.child(3), d, e]),
        (Scan::Phases(vec![Phase::Gathering]), &[c]),
        (Scan::ChildrenOf(c), &[c.child(0), c.child(3)]),
        (Scan::ChildrenOf(a), &[]),
    ];
    for (scan, want) in scans {
        assert_eq!(scan_all(&kit, &scan, 2).await, want, "{scan:?}");
    }
    assert_eq!(scan_all(&kit, &Scan::Phases(Vec::new()), 2).await, []);
}

/// Finished tasks are listed by their end, newest first, archived ones among them.
pub async fn finished_tasks_come_newest_first(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let mut ends: Vec<(i64, TaskId, &str)> = Vec::new();
    for (i, end) in [50, 20, 90, 20, 70, 10].into_iter().enumerate() {
        let owner = if i % 2 == 0 { "bob" } else { "eve" };
        let id = kit.submit(spec(owner, None)).await;
        kit.step(id, &Event::Claimed(attempt(1))).await;
        let exit = exit(0, Timestamp(START), Timestamp(START + end));
        kit.step(id, &Event::Ended(exit)).await;
        if i == 2 {
            kit.step(id, &Event::Archived).await;
        }
        ends.push((end, id, owner));
    }
    kit.submit(spec("bob", None)).await;
    ends.sort_by_key(|(end, id, _)| std::cmp::Reverse((*end, *id)));
    let list = async |owner: Option<&str>, skip, limit| {
        let filter = OverFilter { owner: owner.map(user), skip, limit };
        let tasks = kit.store.over(&filter).await.expect("reads");
        tasks.into_iter().map(|task| task.id).collect::<Vec<_>>()
    };
    let want = |owner: Option<&str>| -> Vec<TaskId> {
        ends.iter().filter(|(_, _, o)| owner.is_none_or(|owner| owner == *o)).map(|(_, id, _)| *id).collect()
    };
    assert_eq!(list(None, 0, None).await, want(None));
    assert_eq!(list(Some("bob"), 0, None).await, want(Some("bob")));
    assert_eq!(list(Some("eve"), 0, None).await, want(Some("eve")));
    assert_eq!(list(Some("nobody"), 0, None).await, []);
    assert_eq!(list(None, 2, Some(3)).await, want(None)[2..5]);
    assert_eq!(list(Some("bob"), 1, Some(1)).await, want(Some("bob"))[1..2]);
    assert_eq!(list(None, 4, None).await, want(None)[4..]);
    assert_eq!(list(None, 99, Some(3)).await, []);
    assert_eq!(list(None, 0, Some(0)).await, []);
    let first = kit.store.over(&OverFilter { limit: Some(1), ..OverFilter::default() }).await.expect("reads");
    assert_eq!(first[0], kit.get(first[0].id).await, "a list gives whole documents");
}

/// Numbers by phase equal a count of the documents, with children that have none as pending.
pub async fn counts_equal_a_recount(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    for (i, owner) in ["bob", "eve", "bob", "eve", "bob"].into_iter().enumerate() {
        let parent = kit.submit(spec(owner, Some("6"))).await;
        for ordinal in 0..u64::try_from(i).expect("small") {
            match (ordinal + u64::try_from(i).expect("small")) % 3 {
                0 => kit.finish(parent.child(ordinal), 1).await,
                1 => kit.start(parent.child(ordinal)).await,
                _ => kit.ask(parent.child(ordinal), Ask::Kill).await,
            };
        }
        let plain = kit.submit(spec(owner, None)).await;
        match i {
            0 => {
                kit.ask(parent, Ask::Kill).await;
            }
            1 => {
                kit.step(parent, &Event::Unfolded).await;
                kit.step(plain, &Event::Poisoned("x".into())).await;
            }
            2 => {
                kit.finish(plain, 0).await;
                kit.step(plain, &Event::Archived).await;
            }
            3 => {
                let claimed = kit.step(plain, &Event::Claimed(attempt(1))).await;
                kit.step(claimed.id, &Event::Returned { why: None }).await;
            }
            _ => {}
        }
    }
    for owner in [None, Some("bob"), Some("eve"), Some("nobody")] {
        let id = owner.map(user);
        let counts = kit.store.counts(id.as_ref()).await.expect("reads");
        assert_eq!(counts, recount(&kit, owner).await, "{owner:?}");
    }
}

async fn recount(kit: &Kit, owner: Option<&str>) -> Counts {
    let owner = owner.map(user);
    let mut tasks = kit.store.scan(&Scan::Active(owner.clone()), None, 10_000).await.expect("reads");
    let filter = OverFilter { owner, ..OverFilter::default() };
    tasks.extend(kit.store.over(&filter).await.expect("reads"));
    let mut counts = Counts::default();
    for task in &tasks {
        counts.0[usize::from(task.phase().code())] += 1;
        counts.0[usize::from(Phase::Pending.code())] += waiting_children(task);
    }
    counts
}

fn waiting_children(task: &Task) -> u64 {
    crate::rules::Head::of(task).virtual_children()
}
