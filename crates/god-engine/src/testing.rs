//! Small tasks and nodes for the tests beside the code.

use god_core::executor::PortPair;
use god_core::ids::{ExecutorName, NodeName, TaskId};
use god_core::policy::{Candidate, Policy, Ranks};
use god_core::resources::{Amount, Node};
use god_core::spec::TaskSpec;
use god_core::state::{Attempt, Event};
use god_core::task::Task;
use god_core::units::{Bytes, Cores, Timestamp};
use god_testkit::build;
use std::sync::Arc;

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
