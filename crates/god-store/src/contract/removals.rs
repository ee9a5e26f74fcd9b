//! Checks of what becomes of the files of finished tasks: their size, and requests to remove them.

use super::Wanted;
use super::fixture::{Kit, kit, spec, user};
use god_core::state::{Ask, Phase};
use god_core::store::{Change, Committed, Scan, Store};
use god_core::units::Day;
use god_core::usage::Used;
use god_core::{Event, TaskId};
use std::sync::Arc;

async fn disk(kit: &Kit, name: &str) -> u64 {
    let ledger = kit.store.usage_since(Day(i32::MAX)).await.expect("reads");
    let used = ledger.users.get(&user(name)).copied().unwrap_or_default();
    assert_eq!(used, Used { disk: used.disk, ..Used::default() }, "nothing else was used on that day");
    used.disk
}

async fn finished(kit: &Kit, owner: &str) -> TaskId {
    let id = kit.submit(spec(owner, None)).await;
    kit.finish(id, 0).await;
    id
}

/// Bytes count for their owner from the measurement on until the files are gone, in the writes that say so.
pub async fn bytes_count_while_the_files_are_there(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let (first, second, other) =
        (finished(&kit, "bob").await, finished(&kit, "bob").await, finished(&kit, "eve").await);
    assert_eq!(disk(&kit, "bob").await, 0);
    let before = kit.get(first).await;
    let measured = kit.event(&before, &Event::Measured(1 << 40));
    let answers = kit.commit(vec![measured.clone(), measured]).await;
    assert_eq!(answers, [Committed::Done, Committed::Stale]);
    let task = kit.get(first).await;
    assert_eq!((task.disk, &task.state), (Some(1 << 40), &before.state));
    kit.step(second, &Event::Measured(5)).await;
    kit.step(other, &Event::Measured(7)).await;
    assert_eq!((disk(&kit, "bob").await, disk(&kit, "eve").await), ((1 << 40) + 5, 7));
    kit.step(first, &Event::Measured(10)).await;
    assert_eq!(disk(&kit, "bob").await, 15, "measured again");
    kit.ask(first, Ask::Archive).await;
    assert_eq!(disk(&kit, "bob").await, 15, "only asked");
    let archived = kit.step(first, &Event::Archived).await;
    assert_eq!((archived.disk, disk(&kit, "bob").await), (Some(10), 5));
    kit.store.purge(first).await.expect("purges");
    assert_eq!(disk(&kit, "bob").await, 5, "they had gone before");
    kit.store.purge(second).await.expect("purges");
    assert_eq!((disk(&kit, "bob").await, disk(&kit, "eve").await), (0, 7));
}

/// A change that ends a task may say its size at once, and one group may hold the whole of a life.
pub async fn bytes_come_with_the_end_as_well(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let before = kit.start(id).await;
    let end = Event::Ended(super::fixture::exit(0, kit.now(), kit.now()));
    let over = before.after(&end, kit.now()).expect("it runs");
    let over = over.after(&Event::Measured(11), kit.now()).expect("it is over");
    assert_eq!(kit.commit_one(kit.change(&before, over.clone())).await, Committed::Done);
    assert_eq!((kit.get(id).await.disk, disk(&kit, "bob").await), (Some(11), 11));
    let stored = kit.get(id).await;
    let again = kit.event(&stored, &Event::Measured(13));
    let gone = kit.event(&again.task, &Event::Archived);
    assert_eq!(kit.commit(vec![again, gone]).await, [Committed::Done; 2]);
    assert_eq!(disk(&kit, "bob").await, 0);
}

/// Children's bytes count like any, and go with their parent.
pub async fn bytes_of_children_go_with_the_array(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("3"))).await;
    for ordinal in 0..2 {
        kit.finish(parent.child(ordinal), 0).await;
        kit.step(parent.child(ordinal), &Event::Measured(100)).await;
    }
    kit.ask(parent, Ask::Kill).await;
    kit.step(parent, &Event::Measured(1)).await;
    assert_eq!(disk(&kit, "bob").await, 201);
    kit.step(parent.child(0), &Event::Archived).await;
    assert_eq!(disk(&kit, "bob").await, 101);
    kit.store.purge(parent).await.expect("purges");
    assert_eq!(disk(&kit, "bob").await, 0);
}

/// Open requests on finished tasks are found by a scan, until they are carried out.
pub async fn requests_on_finished_tasks_are_found(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let asked = async || {
        let page = kit.store.scan(&Scan::ToRemove, None, 100).await.expect("reads");
        page.into_iter().map(|task| (task.id, task.to_remove())).collect::<Vec<_>>()
    };
    let parent = kit.submit(spec("bob", Some("2"))).await;
    kit.finish(parent.child(0), 0).await;
    kit.finish(parent.child(1), 0).await;
    kit.step(parent, &Event::Gathered { failed: 0 }).await;
    let (archive, purge, neither) =
        (finished(&kit, "bob").await, finished(&kit, "eve").await, finished(&kit, "eve").await);
    let running = kit.submit(spec("bob", None)).await;
    kit.start(running).await;
    kit.ask(running, Ask::Kill).await;
    assert_eq!(asked().await, [], "a kill is another thing");
    kit.ask(purge, Ask::Purge).await;
    kit.ask(archive, Ask::Archive).await;
    kit.ask(parent, Ask::Archive).await;
    kit.ask(parent.child(1), Ask::Archive).await;
    let (a, p) = (Some(Ask::Archive), Some(Ask::Purge));
    assert_eq!(asked().await, [(parent, a), (parent.child(1), a), (archive, a), (purge, p)]);
    let page = kit.store.scan(&Scan::ToRemove, Some(parent), 2).await.expect("reads");
    assert_eq!(page.iter().map(|task| task.id).collect::<Vec<_>>(), [parent.child(1), archive]);
    kit.ask(archive, Ask::Purge).await;
    kit.step(parent.child(1), &Event::Archived).await;
    kit.step(parent, &Event::Archived).await;
    assert_eq!(asked().await, [(archive, p), (purge, p)]);
    kit.step(archive, &Event::Archived).await;
    assert_eq!(asked().await, [(archive, p), (purge, p)], "its record is still to go");
    kit.store.purge(archive).await.expect("purges");
    assert_eq!(asked().await, [(purge, p)]);
    kit.store.purge(purge).await.expect("purges");
    assert_eq!(asked().await, []);
    kit.ask(parent, Ask::Purge).await;
    assert_eq!(asked().await, [(parent, p)], "what is archived can be purged");
    assert_eq!(kit.get(neither).await.phase(), Phase::Over);
}

/// Only the change that makes a task over is told as its end.
pub async fn an_end_is_told_once(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let since = kit.head().await;
    let id = finished(&kit, "bob").await;
    kit.step(id, &Event::Measured(3)).await;
    kit.ask(id, Ask::Archive).await;
    kit.step(id, &Event::Archived).await;
    let killed = kit.submit(spec("bob", Some("2"))).await;
    kit.ask(killed.child(1), Ask::Kill).await;
    kit.ask(killed, Ask::Kill).await;
    let notes = kit.notes(since).await;
    let ends: Vec<_> = notes.iter().filter(|note| note.ends).map(|note| (note.task, note.phase)).collect();
    assert_eq!(ends, [(id, Phase::Over), (killed.child(1), Phase::Over), (killed, Phase::Over)]);
    let asked: Vec<_> = notes.iter().filter(|n| n.phase.is_over() && n.wished).map(|n| n.task).collect();
    assert_eq!(asked, [id], "the request rings the bell");
}

/// A child without a document takes no size of its own.
pub async fn a_child_that_was_never_written_has_nothing_to_remove(
    make: &impl AsyncFn(Wanted) -> Arc<dyn Store>,
) {
    let kit = kit(make).await;
    let parent = kit.submit(spec("bob", Some("2"))).await;
    kit.ask(parent, Ask::Kill).await;
    let child = kit.get(parent.child(0)).await;
    assert_eq!(child.phase(), Phase::Over);
    for ask in [Ask::Archive, Ask::Purge] {
        assert_eq!(child.asked(ask, None, kit.now()), None, "{ask:?}");
    }
    let measured: Change = kit.event(&child, &Event::Measured(5));
    assert_eq!(kit.commit_one(measured).await, Committed::Stale);
    assert_eq!(disk(&kit, "bob").await, 0);
}
