//! What nodes have and what live tasks occupy. Pure.

mod kept;

pub use kept::Kept;

use god_core::group::Shape;
use god_core::ids::{ExecutorName, NodeName, TaskId};
use god_core::reason::{Code, Reason};
use god_core::resources::{Amount, Node};
use god_core::task::Task;
use god_core::units::{Bytes, Cores};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::accounts::{Charge, Who};
use crate::flaw::{self, Flaw};
use crate::pending::GroupIx;

/// A node and what is used of it.
#[derive(Debug, Clone)]
struct Place {
    node: Node,
    used: Amount,
    tasks: u32,
    /// How many short runs may be granted ahead of room.
    ahead: u32,
    /// Short runs that ended since `measured_at`.
    short_ends: u32,
    /// When the rate of short runs was last measured.
    measured_at: Duration,
}

/// One live task's share.
#[derive(Debug, Clone)]
pub struct Held {
    /// Where.
    pub node: (ExecutorName, NodeName),
    /// How much.
    pub amount: Amount,
    /// Host ports.
    pub ports: Vec<u16>,
    /// When it was claimed, on the monotonic clock of this process.
    pub since: Duration,
    /// The array's parent.
    pub parent: Option<TaskId>,
    /// When it is over at the latest, on the monotonic clock; `None` when it has no time limit.
    pub ends: Option<Duration>,
    /// Whose accounts it is on.
    pub who: Who,
    /// With how much.
    pub charge: Charge,
}

/// Why nothing fits, for one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRoom {
    /// The executor is not configured.
    UnknownExecutor(String),
    /// Its nodes are not known (the engine does not answer).
    NoNodes(String),
    /// No node satisfies the labels.
    NoLabels(Vec<String>),
    /// It is larger than every node.
    TooLarge {
        /// What the largest node has.
        largest: Amount,
    },
    /// What is free is kept for a task that waits longer.
    Kept {
        /// Where.
        node: NodeName,
    },
    /// All nodes are busy.
    Busy {
        /// The most that is free on one node.
        free: Amount,
    },
    /// All ports are given out.
    NoPorts,
}

impl NoRoom {
    /// In words with numbers, for the task's owner.
    #[must_use]
    pub fn reason(&self, shape: &Shape) -> Reason {
        let amounts = |code, text, kind: &str, there: &Amount| {
            Reason::new(code, text)
                .with("cores", shape.cores)
                .with("ram_gb", shape.ram)
                .with(&format!("{kind}_cores"), there.cores.0)
                .with_amount(&format!("{kind}_ram_gb"), there.memory.0 as f64 / (1u64 << 30) as f64)
        };
        match self {
            NoRoom::UnknownExecutor(name) => {
                Reason::new(Code::ExecutorUnknown, format!("Executor {name} is not configured"))
            }
            NoRoom::NoNodes(name) => {
                Reason::new(Code::ExecutorDown, format!("Executor {name} does not answer"))
            }
            NoRoom::NoLabels(labels) => {
                Reason::new(Code::Labels, format!("No node has the labels {}", labels.join(" ")))
            }
            NoRoom::TooLarge { largest } => {
                let there = format!("the largest node has {} cores, {}", largest.cores.0, largest.memory);
                amounts(Code::TooLarge, format!("Needs {shape}; {there}"), "largest", largest)
            }
            NoRoom::Busy { free } => {
                let there = format!("free on one node are {} cores, {}", free.cores.0, free.memory);
                let text = format!("Not enough resources available: needs {shape}; {there}");
                amounts(Code::Resources, text, "free", free)
            }
            NoRoom::Kept { node } => {
                let text = format!("Free room on node {node} is kept for a task that waits longer");
                Reason::new(Code::Resources, text).with("cores", shape.cores).with("ram_gb", shape.ram)
            }
            NoRoom::NoPorts => Reason::new(Code::Ports, "no port available"),
        }
    }
}

/// How long a node shall be busy with what it was granted ahead: a few turns of the loops.
const AHEAD: Duration = Duration::from_millis(150);
/// How long short runs are counted before their rate is believed.
const MEASURE: Duration = Duration::from_millis(20);

/// The ledger of room: nodes, live tasks, ports.
#[derive(Debug, Default)]
pub struct Capacity {
    places: BTreeMap<(ExecutorName, NodeName), Place>,
    executors: Vec<ExecutorName>,
    live: BTreeMap<TaskId, Held>,
    ports: BTreeSet<u16>,
    range: std::ops::Range<u16>,
    /// For each executor, the room that is kept on one of its nodes.
    kept: Vec<Option<Kept>>,
    /// Whether nodes that lost a task are avoided for it.
    skip_failed_nodes: bool,
}

impl Capacity {
    /// An empty ledger for these executors (the first is the default) and this range of host ports.
    #[must_use]
    pub fn new(executors: Vec<ExecutorName>, range: std::ops::Range<u16>) -> Capacity {
        let kept = executors.iter().map(|_| None).collect();
        Capacity { executors, range, kept, ..Capacity::default() }
    }

    /// Whether a task is not placed again on nodes that lost it, as long as there are others that could take it.
    #[must_use]
    pub fn skipping_failed_nodes(self, skip_failed_nodes: bool) -> Capacity {
        Capacity { skip_failed_nodes, ..self }
    }

    /// Takes over what an executor says of its nodes; those it does not name any more are gone.
    pub fn set_nodes(&mut self, executor: &ExecutorName, nodes: Vec<Node>) {
        let before = self.places.clone();
        self.places.retain(|(name, _), _| name != executor);
        for node in nodes {
            let key = (executor.clone(), node.name.clone());
            let (ahead, short_ends, measured_at) =
                before.get(&key).map_or((0, 0, Duration::ZERO), |p| (p.ahead, p.short_ends, p.measured_at));
            let mut place = Place { node, used: Amount::default(), tasks: 0, ahead, short_ends, measured_at };
            for held in self.live.values().filter(|h| h.node == key) {
                place.used = place.used.plus(held.amount);
                place.tasks += 1;
            }
            self.places.insert(key, place);
        }
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.places.values().map(|p| &p.node)
    }

    /// Number of live tasks.
    #[must_use]
    pub fn n_live(&self) -> usize {
        self.live.len()
    }

    /// The live task's share, if it is one.
    #[must_use]
    pub fn held(&self, id: TaskId) -> Option<&Held> {
        self.live.get(&id)
    }

    /// Live children of an array.
    #[must_use]
    pub fn children_of(&self, parent: TaskId) -> Vec<TaskId> {
        self.live.iter().filter(|(_, h)| h.parent == Some(parent)).map(|(id, _)| *id).collect()
    }

    /// Books a live task as it was read, and answers with how much. Booking it again changes nothing.
    pub fn take(&mut self, task: &Task, who: Who, mono: Duration) -> Option<Charge> {
        let attempt = task.state.attempt()?;
        let charge = Charge { cores: task.spec.cores.0, ram: task.spec.ram, claimed: attempt.claimed };
        let held = Held {
            node: (attempt.executor.clone(), attempt.node.clone()),
            amount: task.spec.amount(),
            ports: attempt.ports.iter().map(|p| p.host).collect(),
            since: mono,
            parent: task.parent,
            ends: task.spec.time_limit.map(|limit| mono.saturating_add(Duration::from_secs(limit.0))),
            who,
            charge,
        };
        self.book(task.id, held).then_some(charge)
    }

    /// Books a share. Booking a task again changes nothing, and answers `false`.
    pub fn book(&mut self, id: TaskId, held: Held) -> bool {
        if self.live.contains_key(&id) {
            return false;
        }
        if let Some(kept) = self.kept.iter_mut().flatten().find(|kept| kept.node == held.node) {
            kept.note(id, &held);
        }
        self.ports.extend(held.ports.iter().copied());
        if let Some(place) = self.places.get_mut(&held.node) {
            place.used = place.used.plus(held.amount);
            place.tasks += 1;
        }
        self.live.insert(id, held);
        true
    }

    /// Gives a task's share back; `None` when it held none.
    pub fn give(&mut self, id: TaskId, mono: Duration, short_run: Duration) -> Option<Held> {
        let held = self.live.remove(&id)?;
        self.kept.iter_mut().flatten().for_each(|kept| kept.forget(id));
        for port in &held.ports {
            self.ports.remove(port);
        }
        if let Some(place) = self.places.get_mut(&held.node) {
            place.used = place.used.minus(held.amount);
            place.tasks = place.tasks.saturating_sub(1);
            if mono.saturating_sub(held.since) < short_run {
                place.short_ends += 1;
            }
        }
        Some(held)
    }

    /// Sets how many starts each node is granted ahead of room: what it lately ended of short runs within [`AHEAD`], so
    /// that a node never waits for us, and none where runs are long. Call before each pass.
    pub fn tune(&mut self, mono: Duration) {
        for place in self.places.values_mut() {
            let span = mono.saturating_sub(place.measured_at);
            if span < MEASURE {
                continue;
            }
            let within = f64::from(place.short_ends) * AHEAD.as_secs_f64() / span.as_secs_f64();
            // Falls by half at the most, so that a moment between two bursts does not starve the node.
            place.ahead = (within.ceil() as u32).max(place.ahead / 2).min(place.node.queue);
            place.short_ends = 0;
            place.measured_at = mono;
        }
    }

    /// Which executor a shape is for.
    #[must_use]
    pub fn executor_of(&self, shape: &Shape) -> Option<usize> {
        match shape.executor_name() {
            None => (!self.executors.is_empty()).then_some(0),
            Some(name) => self.executors.iter().position(|e| e.as_str() == name),
        }
    }

    /// Number of executors.
    #[must_use]
    pub fn n_executors(&self) -> usize {
        self.executors.len()
    }

    /// Finds the node for one task of this shape: the one that has the most cores free. Room that is kept is for `group`
    /// alone.
    ///
    /// # Errors
    /// [`NoRoom`] with the reason.
    pub fn find(
        &self,
        shape: &Shape,
        group: Option<GroupIx>,
        mono: Duration,
    ) -> Result<(ExecutorName, NodeName), NoRoom> {
        let Some(executor) = self.executor_of(shape).and_then(|ix| self.executors.get(ix)) else {
            return Err(NoRoom::UnknownExecutor(shape.executor_name().unwrap_or("(none)").to_owned()));
        };
        let mut places = self.places.iter().filter(|((name, _), _)| name == executor).peekable();
        if places.peek().is_none() {
            return Err(NoRoom::NoNodes(executor.to_string()));
        }
        let need = shape.amount();
        // Where no other node could ever take it, one that lost it is better than none.
        let failed = |key: &(ExecutorName, NodeName)| shape.avoid.contains(&key.1);
        let avoids = self.skip_failed_nodes
            && places
                .clone()
                .any(|(key, place)| !failed(key) && place.has_labels(shape) && need.fits(place.node.total));
        let mut best: Option<(Amount, &(ExecutorName, NodeName))> = None;
        let (mut labelled, mut large_enough) = (false, false);
        let (mut largest, mut free_most) = (None::<Amount>, Amount::default());
        let mut kept_node = None;
        let limit = shape.time_limit.map(|limit| Duration::from_secs(limit.0));
        for (key, place) in places {
            if !place.has_labels(shape) || (avoids && failed(key)) {
                continue;
            }
            labelled = true;
            if largest.is_none_or(|l| (place.node.total.cores, place.node.total.memory) > (l.cores, l.memory))
            {
                largest = Some(place.node.total);
            }
            if !need.fits(place.node.total) {
                continue;
            }
            large_enough = true;
            let kept = self.kept_from(key, group);
            let free = if kept.is_some() { place.node.total.minus(place.used) } else { place.free(need) };
            let room = place.has_slot(place.tasks) && need.fits(free);
            let barred = kept.is_some_and(|kept| !kept.allows(place, need, limit, mono));
            if room && barred {
                kept_node = Some(&key.1);
            } else if room {
                if best.as_ref().is_none_or(|(b, _)| free.cores > b.cores) {
                    best = Some((free, key));
                }
            } else if free.cores >= free_most.cores {
                free_most = free;
            }
        }
        if let Some((_, key)) = best {
            if shape.ports > self.range.len() - self.ports_in_range() {
                return Err(NoRoom::NoPorts);
            }
            return Ok(key.clone());
        }
        match largest {
            _ if !labelled => Err(NoRoom::NoLabels(shape.labels.clone())),
            Some(largest) if !large_enough => Err(NoRoom::TooLarge { largest }),
            _ => Err(match kept_node {
                Some(node) => NoRoom::Kept { node: node.clone() },
                None => NoRoom::Busy { free: free_most },
            }),
        }
    }

    /// The lowest `n` host ports that nobody has; fewer when there are not so many. Booked with [`Capacity::book`].
    #[must_use]
    pub fn free_ports(&self, n: usize) -> Vec<u16> {
        let free = self.range.clone().filter(|p| flaw::on(Flaw::PortsRefilled) || !self.ports.contains(p));
        free.take(n).collect()
    }

    fn ports_in_range(&self) -> usize {
        self.ports.range(self.range.clone()).count()
    }
}

impl Place {
    fn has_labels(&self, shape: &Shape) -> bool {
        shape.labels.iter().all(|label| self.node.labels.contains(label))
    }

    /// Whether it could take such a task if it were empty.
    fn suits(&self, shape: &Shape) -> bool {
        self.has_labels(shape) && shape.amount().fits(self.node.total)
    }

    /// Whether it accepts one more task when it has so many.
    fn has_slot(&self, tasks: u32) -> bool {
        self.node.max_tasks.is_none_or(|max| tasks < max)
    }

    /// What is free, the starts granted ahead included.
    fn free(&self, need: Amount) -> Amount {
        let ahead = Amount {
            cores: Cores(need.cores.0.saturating_mul(self.ahead)),
            memory: Bytes(need.memory.0.saturating_mul(u64::from(self.ahead))),
            gpus: 0,
        };
        self.node.total.plus(ahead).minus(self.used)
    }
}

#[cfg(test)]
mod tests;
