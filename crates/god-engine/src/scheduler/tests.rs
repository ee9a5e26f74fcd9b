use super::*;
use crate::ask::{Asked, ask};
use crate::lease::{self, SCHEDULER};
use crate::testing::{now, parent, spec, stored, submitted, world};
use async_trait::async_trait;
use futures::future::join;
use god_core::executor::{ExecError, Executor, Finished, Launch, Listed, Run, Seen};
use god_core::ids::ExecutorName;
use god_core::ids::OpId;
use god_core::resources::Node;
use god_core::spec::TaskSpec;
use god_core::state::{Ask, Event, Outcome};
use god_core::state::{Phase, TaskState};
use god_core::store::{Change, Committed, Store};
use god_core::units::Seconds;
use god_core::units::Timestamp;
use god_store::MemoryStore;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Turns of the loops after which a test gives up; each is a sleep of a virtual clock.
const MOST_TURNS: usize = 5_000;

fn asks(store: &MemoryStore, id: TaskId, what: Ask) {
    let answer = now(ask(store, id, what, None, Timestamp(0), || OpId(9)));
    assert!(matches!(answer, Asked::Stored(_)), "{answer:?}");
}

/// Lets a scheduler work until this is so.
#[track_caller]
fn work_until(store: &Arc<MemoryStore>, done: impl Fn() -> bool) {
    work_in(&world(store), done);
}

#[track_caller]
fn work_in(world: &World, done: impl Fn() -> bool) {
    let (tenure, stop, beat) = (Tenure::default(), Signal::default(), Signal::default());
    let scheduler = Scheduler::new(world, &tenure, &stop, &beat);
    let mut loops = pin!(join(scheduler.run(), lease::hold(world, SCHEDULER, &tenure)));
    for _ in 0..MOST_TURNS {
        if done() {
            return;
        }
        assert!(loops.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    panic!("it did not come to that in {MOST_TURNS} turns");
}

#[test]
fn a_killed_array_that_waits_for_another_task_ends_with_its_children() {
    let store = Arc::new(MemoryStore::new());
    let first = submitted(&store, spec());
    let array = (*parent(1, "1:3").spec).clone();
    let id = submitted(&store, TaskSpec { after: vec![first], ..array });
    // A request gives one child a document while its array waits.
    asks(&store, id.child(1), Ask::Suspend);
    asks(&store, id, Ask::Kill);
    assert!(stored(&store, id).kill_wanted());
    work_until(&store, || stored(&store, id).phase().is_over());
    for id in [id, id.child(0), id.child(1)] {
        assert_eq!(stored(&store, id).state.outcome(), Some(&Outcome::Killed { reason: None }), "{id}");
    }
    assert!(!stored(&store, first).phase().is_over(), "what it waited for goes on");
}

#[test]
fn a_task_is_skipped_as_soon_as_one_that_it_needs_failed() {
    let store = Arc::new(MemoryStore::new());
    let (first, second) = (submitted(&store, spec()), submitted(&store, spec()));
    let after_policy = god_core::spec::AfterPolicy::Ok;
    let needy = submitted(&store, TaskSpec { after: vec![first, second], after_policy, ..spec() });
    let patient = submitted(&store, TaskSpec { after: vec![first], ..spec() });
    let next = submitted(&store, TaskSpec { after: vec![needy], after_policy, ..spec() });
    asks(&store, first, Ask::Kill);
    work_until(&store, || stored(&store, next).phase().is_over());
    for (id, cause) in [(needy, first), (next, needy)] {
        let task = stored(&store, id);
        let Some(Outcome::Skipped(why)) = task.state.outcome() else { panic!("{:?}", task.state) };
        assert!(why.starts_with(&format!("Task {cause} did not succeed")), "{why}");
    }
    assert!(!stored(&store, patient).phase().is_over(), "any end will do for it");
}

/// Starts everything but tasks of one name, over which it breaks; counts the calls.
#[derive(Debug)]
struct Brittle {
    name: ExecutorName,
    calls: Mutex<Vec<Vec<String>>>,
    limits: Mutex<Vec<Option<Seconds>>>,
    cores: u32,
}

impl Brittle {
    fn new(cores: u32) -> Arc<Brittle> {
        let name = ExecutorName::new("x");
        Arc::new(Brittle { name, calls: Mutex::default(), limits: Mutex::default(), cores })
    }
}

const BREAKS: &str = "breaks";

#[async_trait]
impl Executor for Brittle {
    fn name(&self) -> &ExecutorName {
        &self.name
    }
    async fn nodes(&self) -> Result<Vec<Node>, ExecError> {
        Ok(vec![crate::testing::node("n", self.cores, 8, &[])])
    }
    async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>> {
        let names: Vec<String> = launches.iter().map(|l| l.spec.name.clone()).collect();
        self.calls.lock().expect("no panic under the lock").push(names.clone());
        assert!(!names.iter().any(|name| name == BREAKS), "over a task");
        self.limits.lock().expect("no panic under the lock").extend(launches.iter().map(|l| l.spec.limit()));
        launches.iter().map(|_| Ok(Started::Running { run: None, since: Timestamp(1) })).collect()
    }
    async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
        Ok(vec![Seen::Unknown(String::new()); runs.len()])
    }
    async fn list(&self) -> Result<Vec<Listed>, ExecError> {
        Ok(Vec::new())
    }
    async fn kill(&self, runs: &[Run], _: Seconds) -> Vec<Result<(), ExecError>> {
        runs.iter().map(|_| Ok(())).collect()
    }
    async fn abandon(&self, _: &Run) -> Result<Abandon, ExecError> {
        Ok(Abandon::NeverRan)
    }
    async fn forget(&self, _: &[Finished]) -> Result<(), ExecError> {
        Ok(())
    }
}

#[test]
fn i15_a_task_that_breaks_its_executor_is_held_and_the_others_run() {
    let store = Arc::new(MemoryStore::new());
    let named = |name: &str| TaskSpec { name: name.to_owned(), ..spec() };
    let before = submitted(&store, named("before"));
    let poison = submitted(&store, named(BREAKS));
    let after = submitted(&store, named("after"));
    let executor = Brittle::new(8);
    let world = World { executors: vec![Arc::clone(&executor) as Arc<dyn Executor>], ..world(&store) };
    let phases = || [before, poison, after].map(|id| stored(&store, id).phase());
    work_in(&world, || phases() == [Phase::Running, Phase::Held, Phase::Running]);
    let TaskState::Held { reason, .. } = stored(&store, poison).state else { panic!("held") };
    assert!(reason.contains("broke 3 times"), "{reason}");
    let calls = executor.calls.lock().expect("no panic under the lock").clone();
    let together = calls.iter().filter(|names| names.len() > 1 && names.iter().any(|n| n == BREAKS)).count();
    let alone = calls.iter().filter(|names| **names == [BREAKS]).count();
    // An answer that comes while the lead is lost for a moment does not count, so there may be one call more.
    assert!(together == 1 && (2..=3).contains(&alone), "{calls:?}");
    // A person looked: it may go into the queue again.
    asks(&store, poison, Ask::Reschedule);
    assert_eq!(stored(&store, poison).phase(), Phase::Pending);
}

#[test]
fn an_answer_that_nobody_wants_any_more_gives_its_place_back() {
    let store = Arc::new(MemoryStore::new());
    let executor = Brittle::new(8);
    let world = World { executors: vec![executor as Arc<dyn Executor>], ..world(&store) };
    let (tenure, stop, beat) = (Tenure::default(), Signal::default(), Signal::default());
    let scheduler = Scheduler::new(&world, &tenure, &stop, &beat);
    let mut inflight = Inflight::default();
    let place = Arc::clone(&scheduler.places[0]);
    inflight.begin(async move {
        drop(place);
        StartDone::Called { tasks: Vec::new(), answers: Ok(Vec::new()) }
    });
    assert_eq!(Arc::strong_count(&scheduler.places[0]), 2, "a call is under way");
    let mut turns = 0;
    let work = std::future::poll_fn(|_| {
        turns += 1;
        if turns > 2 { Poll::Ready(()) } else { Poll::Pending }
    });
    {
        let mut drive = std::pin::pin!(inflight.drive(work));
        while drive.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
    }
    assert_eq!(inflight.done.len(), 1, "the answer came while something else was waited for");
    inflight.done.clear();
    assert_eq!(Arc::strong_count(&scheduler.places[0]), 1, "its place was not given back");
}

/// Lets one name start only once that is allowed.
#[derive(Debug, Default)]
struct Gate(std::sync::atomic::AtomicBool);

impl god_core::watcher::WatcherPlugin for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }
    fn can_start(&self, task: &Task) -> Result<(), String> {
        let open = self.0.load(std::sync::atomic::Ordering::Relaxed);
        if open || task.spec.name != "waits" { Ok(()) } else { Err("the gate is closed".to_owned()) }
    }
}

#[test]
fn a_task_that_a_watcher_refuses_waits_with_its_reason_until_it_may_start() {
    let store = Arc::new(MemoryStore::new());
    let waits = submitted(&store, TaskSpec { name: "waits".to_owned(), ..spec() });
    let other = submitted(&store, spec());
    let gate = Arc::new(Gate::default());
    let executor = Brittle::new(8);
    let world = World {
        executors: vec![executor as Arc<dyn Executor>],
        watchers: vec![Arc::clone(&gate) as Arc<dyn god_core::watcher::WatcherPlugin>],
        ..world(&store)
    };
    let reasons = || now(store.pinned("why/task/"));
    work_in(&world, || stored(&store, other).phase() == Phase::Running && !reasons().is_empty());
    let said = r#"{"code":"watcher","text":"the gate is closed"}"#;
    assert_eq!(reasons(), [(format!("why/task/{waits}"), said.to_owned())]);
    assert_eq!(stored(&store, waits).phase(), Phase::Pending);
    gate.0.store(true, std::sync::atomic::Ordering::Relaxed);
    work_in(&world, || stored(&store, waits).phase() == Phase::Running && reasons().is_empty());
}

#[test]
fn children_that_start_after_a_change_of_their_parent_have_it() {
    let store = Arc::new(MemoryStore::new());
    let id = submitted(&store, (*parent(1, "1:2").spec).clone());
    let executor = Brittle::new(1);
    let world = World { executors: vec![Arc::clone(&executor) as Arc<dyn Executor>], ..world(&store) };
    let commit = |before: &Task, after: Task| {
        let change = Change::of(before, after, OpId(5));
        assert_eq!(now(store.commit(vec![change], None)), [Committed::Done]);
    };
    let did = std::cell::Cell::new(false);
    work_in(&world, || {
        if stored(&store, id.child(0)).phase() == Phase::Running && !did.replace(true) {
            let before = stored(&store, id);
            let mut spec = (*before.spec).clone();
            spec.fields.insert(god_core::spec::LIMIT_FIELD.to_owned(), "2h".to_owned());
            let after = Task { spec: Arc::new(spec), rev: before.rev.next(), ..before.clone() };
            commit(&before, after);
            // The only core is free again.
            let before = stored(&store, id.child(0));
            let exit = god_core::executor::Exit {
                cause: god_core::executor::Cause::Code(0),
                by_request: false,
                started: None,
                ended: Timestamp(2),
                cpu_us: 0,
                max_rss: god_core::Bytes(0),
            };
            let after = before.after(&Event::Ended(exit), Timestamp(2)).expect("it runs");
            commit(&before, after);
        }
        stored(&store, id.child(1)).phase() == Phase::Running
    });
    let limits = executor.limits.lock().expect("no panic under the lock").clone();
    assert_eq!(limits, [None, Some(Seconds(7200))]);
}
