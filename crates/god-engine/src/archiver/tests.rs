use super::*;
use crate::ask::{Asked, ask};
use crate::lease::{self, ARCHIVER};
use crate::testing::{now, parent, spec, stored, submitted, world};
use async_trait::async_trait;
use futures::future::join;
use god_core::executor::{Cause, Exit};
use god_core::ids::{ExecutorName, NodeName, OpId};
use god_core::spec::{Output, TaskSpec};
use god_core::state::{Ask, Attempt, Event, Phase, WishStatus};
use god_core::store::{Change, Committed, Store};
use god_core::units::{Bytes, Day, Timestamp};
use god_store::MemoryStore;
use std::sync::Mutex;
use std::task::{Context, Waker};

const MOST_TURNS: usize = 5_000;

/// Files as numbers: how many bytes each task has.
#[derive(Debug)]
struct Shelf {
    store: Arc<MemoryStore>,
    removed: Mutex<Vec<TaskId>>,
    measured: Mutex<Vec<TaskId>>,
    /// Removals of these tasks fail so many times.
    fails: Mutex<BTreeMap<TaskId, u32>>,
    /// A removal of this task comes to an end that nobody hears of.
    freezes: Mutex<Option<TaskId>>,
    /// The size of this one can not be told.
    unreadable: Option<TaskId>,
}

impl Shelf {
    fn new(store: &Arc<MemoryStore>) -> Shelf {
        Shelf {
            store: Arc::clone(store),
            removed: Mutex::default(),
            measured: Mutex::default(),
            fails: Mutex::default(),
            freezes: Mutex::default(),
            unreadable: None,
        }
    }

    fn n_removed(&self, id: TaskId) -> usize {
        self.removed.lock().unwrap().iter().filter(|other| **other == id).count()
    }
}

#[async_trait]
impl JobFiles for Shelf {
    async fn remove(&self, tasks: &[Task]) -> Result<(), BoxError> {
        for task in tasks {
            if let Some(left) = self.fails.lock().unwrap().get_mut(&task.id).filter(|left| **left > 0) {
                *left -= 1;
                return Err("a file system is mounted in it".into());
            }
            let document = stored(&self.store, task.id);
            assert!(document.phase().is_over(), "only of what is over");
            self.removed.lock().unwrap().push(task.id);
            let frozen = self.freezes.lock().unwrap().take_if(|id| *id == task.id).is_some();
            if frozen {
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    async fn size(&self, task: &Task) -> Result<u64, BoxError> {
        self.measured.lock().unwrap().push(task.id);
        if self.unreadable == Some(task.id) { Err("no right".into()) } else { Ok(100 + task.id.0) }
    }
}

fn with_files() -> TaskSpec {
    TaskSpec { output: Output::Files, ..spec() }
}

fn put(store: &MemoryStore, before: &Task, after: Task) {
    let change = Change::of(before, after, OpId(7));
    assert_eq!(now(store.commit(vec![change], None)), [Committed::Done]);
}

fn happens(store: &MemoryStore, id: TaskId, event: Event) {
    let before = stored(store, id);
    put(store, &before, before.after(&event, Timestamp(9)).expect("a legal move"));
}

/// Runs a task to its end.
fn ran(store: &MemoryStore, id: TaskId) -> TaskId {
    let attempt = Attempt {
        number: 1,
        executor: ExecutorName::new("local"),
        node: NodeName::new("n"),
        ports: Vec::new(),
        epoch: 1,
        claimed: Timestamp(1),
    };
    let exit = Exit {
        cause: Cause::Code(0),
        by_request: false,
        started: Some(Timestamp(2)),
        ended: Timestamp(3),
        cpu_us: 0,
        max_rss: Bytes(0),
    };
    happens(store, id, Event::Claimed(attempt));
    happens(store, id, Event::Ended(exit));
    id
}

fn asks(store: &MemoryStore, id: TaskId, what: Ask) {
    let answer = now(ask(store, id, what, None, Timestamp(0), || OpId(9)));
    assert!(matches!(answer, Asked::Stored(_)), "{answer:?}");
}

/// Lets an archiver work until this is so.
#[track_caller]
fn work_until(shelf: &Arc<Shelf>, measures: bool, done: impl Fn() -> bool) {
    let world = world(&shelf.store);
    let (tenure, stop, beat, n) =
        (Tenure::default(), Signal::default(), Signal::default(), AtomicUsize::default());
    let files = Arc::clone(shelf) as Arc<dyn JobFiles>;
    let archiver = Archiver::new(&world, files, measures, (&tenure, &stop), &beat, &n);
    let mut loops = pin!(join(archiver.run(), lease::hold(&world, ARCHIVER, &tenure)));
    for _ in 0..MOST_TURNS {
        if done() {
            now(async {
                lease::give_back(&world, &tenure).await;
                Ok(())
            });
            return;
        }
        assert!(loops.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    panic!("it did not come to that in {MOST_TURNS} turns");
}

fn disk(store: &MemoryStore) -> u64 {
    now(store.usage_since(Day(0))).users.values().map(|used| used.disk).sum()
}

fn setup() -> (Arc<MemoryStore>, Arc<Shelf>) {
    let store = Arc::new(MemoryStore::new());
    let shelf = Arc::new(Shelf::new(&store));
    (store, shelf)
}

#[test]
fn what_was_asked_for_is_removed_and_nothing_else() {
    let (store, shelf) = setup();
    let [archive, purge, kept] = [0; 3].map(|_| ran(&store, submitted(&store, with_files())));
    for id in [archive, purge, kept] {
        happens(&store, id, Event::Measured(10));
    }
    asks(&store, archive, Ask::Archive);
    asks(&store, purge, Ask::Purge);
    let gone = || now(store.get(&[purge]))[0].is_none();
    work_until(&shelf, false, || gone() && stored(&store, archive).phase() == Phase::Archived);
    let wish = stored(&store, archive).wish.expect("it was asked");
    assert_eq!((wish.ask, wish.status), (Ask::Archive, WishStatus::Done));
    assert_eq!(stored(&store, kept).phase(), Phase::Over);
    assert_eq!((shelf.n_removed(archive), shelf.n_removed(purge), shelf.n_removed(kept)), (1, 1, 0));
    assert_eq!(disk(&store), 10);
    asks(&store, archive, Ask::Purge);
    work_until(&shelf, false, || now(store.get(&[archive]))[0].is_none());
}

#[test]
fn an_array_takes_its_children_along() {
    let (store, shelf) = setup();
    let array = || TaskSpec { output: Output::Files, ..(*parent(1, "1:400").spec).clone() };
    let ids = [Ask::Archive, Ask::Purge].map(|what| {
        let id = submitted(&store, array());
        for ordinal in 0..300 {
            ran(&store, id.child(ordinal));
        }
        asks(&store, id, Ask::Kill);
        asks(&store, id, what);
        id
    });
    let [kept, gone] = ids;
    work_until(&shelf, false, || {
        now(store.get(&[gone]))[0].is_none() && stored(&store, kept).phase() == Phase::Archived
    });
    for ordinal in [0, 150, 299, 399] {
        assert_eq!(stored(&store, kept.child(ordinal)).phase(), Phase::Archived, "{ordinal}");
    }
    for id in [kept, gone] {
        assert_eq!((shelf.n_removed(id), shelf.n_removed(id.child(299))), (1, 1));
    }
}

#[test]
fn a_child_alone_is_archived_alone() {
    let (store, shelf) = setup();
    let id = submitted(&store, TaskSpec { output: Output::Files, ..(*parent(1, "1:2").spec).clone() });
    ran(&store, id.child(0));
    asks(&store, id.child(0), Ask::Purge);
    work_until(&shelf, false, || stored(&store, id.child(0)).phase() == Phase::Archived);
    assert_eq!((shelf.n_removed(id), shelf.n_removed(id.child(0))), (0, 1));
    assert!(!stored(&store, id).phase().is_over());
}

#[test]
fn a_removal_that_was_cut_off_is_done_again() {
    let (store, shelf) = setup();
    let id = ran(&store, submitted(&store, with_files()));
    asks(&store, id, Ask::Archive);
    *shelf.freezes.lock().unwrap() = Some(id);
    // The process dies after the files are gone and before that is written.
    work_until(&shelf, false, || shelf.n_removed(id) == 1);
    assert_eq!(stored(&store, id).to_remove(), Some(Ask::Archive));
    work_until(&shelf, false, || stored(&store, id).phase() == Phase::Archived);
    assert_eq!(shelf.n_removed(id), 2);
}

#[test]
fn what_can_not_be_removed_is_tried_again_and_holds_nobody() {
    let (store, shelf) = setup();
    let ids: Vec<TaskId> = (0..40).map(|_| ran(&store, submitted(&store, with_files()))).collect();
    for id in &ids {
        asks(&store, *id, Ask::Archive);
    }
    for id in &ids[..20] {
        shelf.fails.lock().unwrap().insert(*id, 2);
    }
    shelf.fails.lock().unwrap().insert(ids[0], u32::MAX);
    work_until(&shelf, false, || ids[1..].iter().all(|id| stored(&store, *id).phase() == Phase::Archived));
    assert_eq!(stored(&store, ids[0]).phase(), Phase::Over, "its files are still there");
    let left = shelf.fails.lock().unwrap()[&ids[0]];
    assert!((3..10).contains(&(u32::MAX - left)), "with growing pauses: {}", u32::MAX - left);
}

#[test]
fn a_purge_that_follows_the_request_to_archive_wins() {
    let (store, shelf) = setup();
    let id = ran(&store, submitted(&store, with_files()));
    asks(&store, id, Ask::Archive);
    asks(&store, id, Ask::Purge);
    work_until(&shelf, false, || now(store.get(&[id]))[0].is_none());
}

#[test]
fn what_ended_is_measured_once() {
    let (store, shelf) = setup();
    let before = ran(&store, submitted(&store, with_files()));
    let quiet = ran(&store, submitted(&store, TaskSpec { output: Output::None, ..spec() }));
    let never_ran = submitted(&store, with_files());
    asks(&store, never_ran, Ask::Kill);
    let array = submitted(&store, TaskSpec { output: Output::Files, ..(*parent(1, "1:2").spec).clone() });
    let (later, child) = (submitted(&store, with_files()), array.child(1));
    work_until(&shelf, true, || stored(&store, before).disk.is_some());
    ran(&store, later);
    ran(&store, child);
    work_until(&shelf, true, || [later, child].iter().all(|id| stored(&store, *id).disk.is_some()));
    for id in [before, later, child] {
        assert_eq!(stored(&store, id).disk, Some(100 + id.0));
    }
    assert_eq!(disk(&store), 300 + before.0 + later.0 + child.0);
    // A third one looks at everything and finds nothing to do, until the next end.
    let last = ran(&store, submitted(&store, with_files()));
    work_until(&shelf, true, || stored(&store, last).disk.is_some());
    let mut measured = shelf.measured.lock().unwrap().clone();
    measured.sort();
    assert_eq!(measured, [before, child, later, last]);
    for id in [quiet, never_ran, array] {
        assert_eq!(stored(&store, id).disk, None, "{id} has no directory of its own");
    }
}

#[test]
fn a_size_that_can_not_be_told_stops_nothing() {
    let store = Arc::new(MemoryStore::new());
    let bad = ran(&store, submitted(&store, with_files()));
    let shelf = Arc::new(Shelf { unreadable: Some(bad), ..Shelf::new(&store) });
    let good = ran(&store, submitted(&store, with_files()));
    work_until(&shelf, true, || stored(&store, good).disk.is_some());
    assert_eq!((stored(&store, bad).disk, stored(&store, bad).phase()), (None, Phase::Over));
}

#[test]
fn ends_that_the_sequence_does_not_hold_any_more_are_measured() {
    let store = Arc::new(MemoryStore::keeping(3));
    let shelf = Arc::new(Shelf::new(&store));
    let first = ran(&store, submitted(&store, with_files()));
    work_until(&shelf, true, || !now(store.pinned("archiver/")).is_empty());
    let ids: Vec<TaskId> = (0..20).map(|_| ran(&store, submitted(&store, with_files()))).collect();
    work_until(&shelf, true, || ids.iter().all(|id| stored(&store, *id).disk.is_some()));
    assert_eq!(shelf.measured.lock().unwrap().len(), 21);
    assert!(stored(&store, first).disk.is_some());
}
