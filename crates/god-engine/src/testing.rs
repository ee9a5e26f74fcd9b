//! Small tasks and nodes for the tests beside the code.

use crate::world::{Clock, Ops, Settings, World};
use async_trait::async_trait;
use futures::FutureExt;
use god_core::executor::PortPair;
use god_core::ids::{ExecutorName, Holder, NodeName, TaskId};
use god_core::policy::{Candidate, Policy, Ranks};
use god_core::resources::{Amount, Node};
use god_core::spec::TaskSpec;
use god_core::state::{Attempt, Event};
use god_core::store::{NewTask, PendingLimits, Store, StoreError, Submitted};
use god_core::task::Task;
use god_core::units::{Bytes, Cores, Timestamp};
use god_store::MemoryStore;
use god_testkit::build;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

/// A specification of one core and one GiB.
pub(crate) fn spec() -> TaskSpec {
    build::spec(build::owner(1000, 1000), "true")
}

/// A pending task.
pub(crate) fn task(id: u64, spec: TaskSpec) -> Task {
    Task::new(TaskId(id), Arc::new(spec), Timestamp(1000))
}

/// The parent of an array.
pub(crate) fn parent(id: u64, array: &str) -> Task {
    task(id, TaskSpec { array: Some(array.parse().expect("a good array")), ..spec() })
}

/// The task after its next claim, on a node of the executor `local`.
pub(crate) fn claimed(task: &Task, node: &str, ports: &[u16]) -> Task {
    let attempt = Attempt {
        number: task.attempts + 1,
        executor: ExecutorName::new("local"),
        node: NodeName::new(node),
        ports: ports.iter().map(|&host| PortPair { host, container: 80 }).collect(),
        epoch: 1,
        claimed: Timestamp(2000),
    };
    task.after(&Event::Claimed(attempt), Timestamp(2000)).expect("it may be claimed")
}

/// A node with so many cores and GiB, a queue of 4, and no limit of tasks.
pub(crate) fn node(name: &str, cores: u32, ram: u32, labels: &[&str]) -> Node {
    Node {
        name: NodeName::new(name),
        executor: ExecutorName::new("local"),
        total: Amount { cores: Cores(cores), memory: Bytes::from_ram(ram), gpus: 0 },
        labels: labels.iter().map(|l| (*l).to_owned()).collect(),
        queue: 4,
        max_tasks: None,
    }
}

/// Every group is as good as any other: the order is by id.
#[derive(Debug)]
pub(crate) struct Fifo;

impl Policy for Fifo {
    fn name(&self) -> &'static str {
        "fifo"
    }

    fn rank(&self, candidates: &[Candidate<'_>], _now: Timestamp) -> Ranks {
        Ranks::equal(candidates.len())
    }
}

/// How far the time goes with each look of a waiting one at its clock.
const STEP: Duration = Duration::from_millis(20);

/// Time that passes because somebody waits for it.
#[derive(Debug, Default)]
pub(crate) struct SteppedClock(Mutex<Duration>);

#[async_trait]
impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.mono().as_millis()).expect("a short test"))
    }

    fn mono(&self) -> Duration {
        *self.0.lock().expect("no panic under the lock")
    }

    async fn sleep(&self, span: Duration) {
        let until = self.mono() + span;
        std::future::poll_fn(|_| {
            let mut now = self.0.lock().expect("no panic under the lock");
            if *now >= until {
                return Poll::Ready(());
            }
            *now += STEP;
            Poll::Pending
        })
        .await;
    }
}

/// A world with this store, no executors, and a clock that only waiting moves.
pub(crate) fn world(store: &Arc<MemoryStore>) -> World {
    World {
        store: Arc::clone(store) as Arc<dyn Store>,
        executors: Vec::new(),
        watchers: Vec::new(),
        policy: Arc::new(Fifo),
        clock: Arc::new(SteppedClock::default()),
        ops: Arc::new(Ops::new(1)),
        settings: Settings::default(),
        holder: Holder::new("test"),
    }
}

/// The store in memory never waits.
pub(crate) fn now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> T {
    answer.now_or_never().expect("at once").expect("no fault")
}

/// The id of a task that is stored now.
pub(crate) fn submitted(store: &MemoryStore, spec: TaskSpec) -> TaskId {
    let (spec, limits) = (Arc::new(spec), PendingLimits::default());
    let new = NewTask { spec, submitted: Timestamp(0), idempotency: None, limits };
    match now(store.submit(vec![new])).pop() {
        Some(Submitted::New(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// Its document.
pub(crate) fn stored(store: &MemoryStore, id: TaskId) -> Task {
    now(store.get(&[id])).pop().flatten().expect("it is stored")
}
