//! What nodes have and what live tasks occupy. Pure.

use god_core::group::Shape;
use god_core::ids::{ExecutorName, NodeName, TaskId};
use god_core::reason::{Code, Reason};
use god_core::resources::{Amount, Node};
use god_core::task::Task;
use god_core::units::{Bytes, Cores};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::flaw::{self, Flaw};

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
}

impl Capacity {
    /// An empty ledger for these executors (the first is the default) and this range of host ports.
    #[must_use]
    pub fn new(executors: Vec<ExecutorName>, range: std::ops::Range<u16>) -> Capacity {
        Capacity { executors, range, ..Capacity::default() }
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

    /// Books a live task as it was read. Booking it again changes nothing.
    pub fn take(&mut self, task: &Task, mono: Duration) {
        let Some(attempt) = task.state.attempt() else { return };
        let held = Held {
            node: (attempt.executor.clone(), attempt.node.clone()),
            amount: task.spec.amount(),
            ports: attempt.ports.iter().map(|p| p.host).collect(),
            since: mono,
            parent: task.parent,
        };
        self.book(task.id, held);
    }

    /// Books a share. Booking a task again changes nothing.
    pub fn book(&mut self, id: TaskId, held: Held) {
        if self.live.contains_key(&id) {
            return;
        }
        self.ports.extend(held.ports.iter().copied());
        if let Some(place) = self.places.get_mut(&held.node) {
            place.used = place.used.plus(held.amount);
            place.tasks += 1;
        }
        self.live.insert(id, held);
    }

    /// Gives a task's share back; `None` when it held none.
    pub fn give(&mut self, id: TaskId, mono: Duration, short_run: Duration) -> Option<Held> {
        let held = self.live.remove(&id)?;
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

    /// Finds the node for one task of this shape: the one that has the most cores free.
    ///
    /// # Errors
    /// [`NoRoom`] with the reason.
    pub fn find(&self, shape: &Shape) -> Result<(ExecutorName, NodeName), NoRoom> {
        let executor = match shape.executor_name() {
            None => self.executors.first(),
            Some(name) => self.executors.iter().find(|e| e.as_str() == name),
        };
        let Some(executor) = executor else {
            return Err(NoRoom::UnknownExecutor(shape.executor_name().unwrap_or("(none)").to_owned()));
        };
        let mut places = self.places.iter().filter(|((name, _), _)| name == executor).peekable();
        if places.peek().is_none() {
            return Err(NoRoom::NoNodes(executor.to_string()));
        }
        let need = shape.amount();
        let mut best: Option<(Amount, &(ExecutorName, NodeName))> = None;
        let (mut labelled, mut large_enough) = (false, false);
        let (mut largest, mut free_most) = (None::<Amount>, Amount::default());
        for (key, place) in places {
            if !shape.labels.iter().all(|l| place.node.labels.contains(l)) {
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
            let free = place.free(need);
            let slot = place.node.max_tasks.is_none_or(|max| place.tasks < max);
            if slot && need.fits(free) {
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
            _ => Err(NoRoom::Busy { free: free_most }),
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
