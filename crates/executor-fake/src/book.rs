//! All runs and what happens to them next. Pure: the time is an argument, nothing is awaited.
//!
//! Every method may be called with the book out of date by any span: [`Book::advance`] lets everything happen at the
//! moment it was due, so results do not depend on when somebody looks.

use crate::script::{Fail, OnTerm, Order};
use god_core::executor::{
    Abandon, AttemptKey, Cause, Exit, Launch, Listed, RunEvent, Seen, StartError, Started,
};
use god_core::ids::{NodeName, RunRef, TaskId};
use god_core::resources::Amount;
use god_core::units::{Bytes, Seconds, Timestamp};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// The runs of all nodes.
#[derive(Debug)]
pub(crate) struct Book {
    nodes: HashMap<NodeName, Room>,
    queue: u32,
    runs: HashMap<AttemptKey, Entry>,
    /// For each task the highest attempt that was forgotten or given up: up to it nothing starts any more.
    closed: HashMap<TaskId, u32>,
    /// What is due, with the turn of its run; an entry whose run is at another turn means nothing.
    due: BinaryHeap<Reverse<(Timestamp, AttemptKey, u32)>>,
    news: Vec<RunEvent>,
}

#[derive(Debug)]
struct Room {
    free: Amount,
    places: u32,
    waiting: VecDeque<AttemptKey>,
}

#[derive(Debug)]
struct Entry {
    node: NodeName,
    amount: Amount,
    order: Order,
    limit_ms: Option<u64>,
    /// How long before its limit it is warned.
    before_ms: Option<u64>,
    endless: bool,
    phase: Phase,
    /// Counts the plans made for this run.
    turn: u32,
    /// Somebody asked for the end.
    asked: bool,
}

#[derive(Debug, Clone)]
enum Phase {
    /// Waits for room.
    Waiting,
    /// Has its room and starts at a moment that is planned.
    Starting,
    /// Runs until its plan.
    Running { since: Timestamp, plan: Option<Plan> },
    /// Stands still; the plan is as far from `at` as it will be from the resume.
    Paused { since: Timestamp, plan: Option<Plan>, at: Timestamp },
    /// Is over.
    Ended(Exit),
}

/// How and when a run will end.
#[derive(Debug, Clone)]
struct Plan {
    at: Timestamp,
    cause: Cause,
}

fn later(at: Timestamp, millis: u64) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)))
}

fn reference(key: AttemptKey) -> Option<RunRef> {
    Some(RunRef::new(format!("fake-{key}")))
}

impl Entry {
    fn occupies(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running { .. } | Phase::Paused { .. })
    }

    fn seen(&self, key: AttemptKey) -> Seen {
        match &self.phase {
            Phase::Waiting | Phase::Starting => Seen::Created,
            Phase::Running { since, .. } => Seen::Running { run: reference(key), since: *since },
            Phase::Paused { since, .. } => Seen::Paused { run: reference(key), since: *since },
            Phase::Ended(exit) => Seen::Exited(exit.clone()),
        }
    }

    /// How the script ends when nobody interferes.
    fn own_plan(&self, since: Timestamp, attempt: u32) -> Option<Plan> {
        let cause = match self.order.fault(attempt) {
            Some(Fail::Lost) => Cause::Lost("the fake node lost it, as the script ordered".to_owned()),
            Some(Fail::Memory) => Cause::OutOfMemory,
            _ => self.order.end.clone(),
        };
        let own = match self.order.duration_ms {
            None if self.endless => None,
            duration => Some(duration.unwrap_or(0)),
        };
        let warned = self.order.warn.zip(self.limit_ms).zip(self.before_ms);
        let warned = warned.map(|((code, limit), before)| (limit.saturating_sub(before), Cause::Code(code)));
        let limit = self.limit_ms.map(|limit| (limit, Cause::TimeLimit));
        // Of those at the same moment the script's own end counts.
        let first =
            [own.map(|own| (own, cause)), warned, limit].into_iter().flatten().min_by_key(|(at, _)| *at);
        first.map(|(at, cause)| Plan { at: later(since, at), cause })
    }
}

impl Book {
    pub(crate) fn new(nodes: Vec<NodeName>, each: Amount, max_tasks: Option<u32>, queue: u32) -> Book {
        let room = || Room { free: each, places: max_tasks.unwrap_or(u32::MAX), waiting: VecDeque::new() };
        Book {
            nodes: nodes.into_iter().map(|name| (name, room())).collect(),
            queue,
            runs: HashMap::new(),
            closed: HashMap::new(),
            due: BinaryHeap::new(),
            news: Vec::new(),
        }
    }

    /// Lets everything happen that is due until `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        while let Some(Reverse((at, key, turn))) =
            self.due.peek().copied().filter(|Reverse((at, ..))| *at <= now)
        {
            self.due.pop();
            let Some(entry) = self.runs.get(&key).filter(|entry| entry.turn == turn) else { continue };
            match &entry.phase {
                Phase::Starting => self.run(key, at),
                Phase::Running { plan: Some(plan), .. } => {
                    let cause = plan.cause.clone();
                    self.end(key, cause, at);
                }
                _ => {}
            }
        }
    }

    /// When the next thing is due.
    pub(crate) fn next_due(&mut self) -> Option<Timestamp> {
        while let Some(Reverse((at, key, turn))) = self.due.peek() {
            if self.runs.get(key).is_some_and(|entry| entry.turn == *turn) {
                return Some(*at);
            }
            self.due.pop();
        }
        None
    }

    /// What happened since the last call.
    pub(crate) fn take_news(&mut self) -> Vec<RunEvent> {
        std::mem::take(&mut self.news)
    }

    pub(crate) fn start(&mut self, launch: &Launch, now: Timestamp) -> Result<Started, StartError> {
        let key = launch.key;
        if let Some(entry) = self.runs.get(&key) {
            return Ok(match entry.seen(key) {
                Seen::Running { run, since } | Seen::Paused { run, since } => Started::Running { run, since },
                _ => Started::Accepted,
            });
        }
        if self.is_closed(key) {
            return Err(StartError::NotNow(format!(
                "attempt {key} was given up or forgotten: it never runs again"
            )));
        }
        let spec = &launch.spec;
        let order = Order::parse(&spec.script).map_err(|bad| StartError::Refused(bad.to_string()))?;
        let fault = order.fault(key.attempt);
        match fault {
            Some(Fail::Start) => {
                return Err(StartError::NotNow("the fake engine is busy, as the script ordered".to_owned()));
            }
            Some(Fail::Refuse) => {
                return Err(StartError::Refused(
                    "the fake engine refuses it, as the script ordered".to_owned(),
                ));
            }
            _ => {}
        }
        let amount = spec.amount();
        let Some(room) = self.nodes.get_mut(&launch.node) else {
            return Err(StartError::NotNow(format!("there is no node {}", launch.node)));
        };
        let fits = room.waiting.is_empty() && room.places > 0 && amount.fits(room.free);
        if !fits && room.waiting.len() >= self.queue as usize {
            return Err(StartError::NotNow(format!("node {} has no room", launch.node)));
        }
        if !fits {
            room.waiting.push_back(key);
        }
        let entry = Entry {
            node: launch.node.clone(),
            amount,
            order,
            limit_ms: spec.limit().map(|limit| limit.0.saturating_mul(1000)),
            before_ms: spec.warning().map(|warning| warning.before.0.saturating_mul(1000)),
            endless: spec.interactive,
            phase: Phase::Waiting,
            turn: 0,
            asked: false,
        };
        self.runs.insert(key, entry);
        if fits {
            self.admit(key, now);
        }
        match fault {
            Some(Fail::Unknown) => Err(StartError::Unknown(
                "the fake engine's answer was lost, as the script ordered".to_owned(),
            )),
            _ => Ok(match self.seen(key) {
                Seen::Running { run, since } | Seen::Paused { run, since } => Started::Running { run, since },
                _ => Started::Accepted,
            }),
        }
    }

    pub(crate) fn seen(&self, key: AttemptKey) -> Seen {
        self.runs.get(&key).map_or(Seen::Absent, |entry| entry.seen(key))
    }

    pub(crate) fn list(&self) -> Vec<Listed> {
        self.runs.iter().map(|(key, entry)| Listed { key: *key, seen: entry.seen(*key) }).collect()
    }

    pub(crate) fn kill(&mut self, key: AttemptKey, grace: Seconds, now: Timestamp) {
        self.resume(key, now);
        let Some(entry) = self.runs.get_mut(&key) else { return };
        let plan = match &entry.phase {
            Phase::Ended(_) | Phase::Paused { .. } => return,
            Phase::Waiting | Phase::Starting => {
                entry.asked = true;
                return self.end(key, Cause::NeverRan, now);
            }
            Phase::Running { plan, .. } => plan.clone(),
        };
        entry.asked = true;
        let hard = Plan { at: later(now, grace.0.saturating_mul(1000)), cause: Cause::Signal(9) };
        match entry.order.term {
            _ if grace.0 == 0 => self.end(key, hard.cause, now),
            OnTerm::Die => self.end(key, Cause::Signal(15), now),
            OnTerm::Exit(code) => self.end(key, Cause::Code(code), now),
            OnTerm::Ignore if plan.is_none_or(|plan| hard.at < plan.at) => self.plan(key, Some(hard)),
            OnTerm::Ignore => {}
        }
    }

    pub(crate) fn pause(&mut self, key: AttemptKey, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&key) else { return };
        if let Phase::Running { since, plan } = &entry.phase {
            entry.phase = Phase::Paused { since: *since, plan: plan.clone(), at: now };
            entry.turn += 1;
        }
    }

    pub(crate) fn resume(&mut self, key: AttemptKey, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&key) else { return };
        if let Phase::Paused { since, plan, at } = &entry.phase {
            let stood = now.millis_since(*at);
            let plan = plan.clone().map(|plan| Plan { at: later(plan.at, stood), ..plan });
            entry.phase = Phase::Running { since: *since, plan: None };
            self.plan(key, plan);
        }
    }

    /// Plans the end anew; a pause that is under way stays one. `false` when it has not started.
    pub(crate) fn set_limit(&mut self, key: AttemptKey, limit_ms: Option<u64>) -> bool {
        let Some(entry) = self.runs.get_mut(&key) else { return true };
        entry.limit_ms = limit_ms;
        match entry.phase.clone() {
            Phase::Waiting | Phase::Starting => return false,
            Phase::Running { since, .. } if !entry.asked => {
                let plan = entry.own_plan(since, key.attempt);
                self.plan(key, plan);
            }
            Phase::Paused { since, at, .. } if !entry.asked => {
                let plan = entry.own_plan(since, key.attempt);
                entry.phase = Phase::Paused { since, plan, at };
            }
            Phase::Running { .. } | Phase::Paused { .. } | Phase::Ended(_) => {}
        }
        true
    }

    pub(crate) fn abandon(&mut self, key: AttemptKey, now: Timestamp) -> Abandon {
        match self.runs.get(&key).map(|entry| &entry.phase) {
            Some(Phase::Running { .. } | Phase::Paused { .. }) => return Abandon::Ran,
            Some(Phase::Ended(exit)) if exit.cause != Cause::NeverRan => return Abandon::Ran,
            _ => {}
        }
        self.forget(key, now);
        Abandon::NeverRan
    }

    pub(crate) fn forget(&mut self, key: AttemptKey, now: Timestamp) {
        // Attempt 0 stands for an array's parent, which has no run and no attempts to close.
        if key.attempt > 0 {
            let closed = self.closed.entry(key.task).or_insert(0);
            *closed = key.attempt.max(*closed);
        }
        let Some(entry) = self.runs.remove(&key) else { return };
        match entry.phase {
            Phase::Waiting => {
                if let Some(room) = self.nodes.get_mut(&entry.node) {
                    room.waiting.retain(|waiting| *waiting != key);
                }
            }
            _ if entry.occupies() => self.release(&entry.node, entry.amount, now),
            _ => {}
        }
    }

    fn is_closed(&self, key: AttemptKey) -> bool {
        self.closed.get(&key.task).is_some_and(|closed| key.attempt <= *closed)
    }

    /// Gives a run its room; it starts after its delay.
    fn admit(&mut self, key: AttemptKey, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&key) else { return };
        if let Some(room) = self.nodes.get_mut(&entry.node) {
            room.free = room.free.minus(entry.amount);
            room.places -= 1;
        }
        entry.phase = Phase::Starting;
        match entry.order.start_delay_ms {
            0 => self.run(key, now),
            delay => {
                entry.turn += 1;
                self.due.push(Reverse((later(now, delay), key, entry.turn)));
            }
        }
    }

    fn run(&mut self, key: AttemptKey, now: Timestamp) {
        let Some(entry) = self.runs.get_mut(&key) else { return };
        let plan = entry.own_plan(now, key.attempt);
        entry.phase = Phase::Running { since: now, plan: None };
        let seen = entry.seen(key);
        self.news.push(RunEvent { key, seen });
        self.plan(key, plan);
    }

    fn plan(&mut self, key: AttemptKey, next: Option<Plan>) {
        let Some(entry) = self.runs.get_mut(&key) else { return };
        let Phase::Running { plan, .. } = &mut entry.phase else { return };
        entry.turn += 1;
        if let Some(next) = &next {
            self.due.push(Reverse((next.at, key, entry.turn)));
        }
        *plan = next;
    }

    fn end(&mut self, key: AttemptKey, cause: Cause, ended: Timestamp) {
        let Some(entry) = self.runs.get_mut(&key) else { return };
        let started = match &entry.phase {
            Phase::Running { since, .. } | Phase::Paused { since, .. } => Some(*since),
            _ => None,
        };
        let exit = Exit { cause, by_request: entry.asked, started, ended, cpu_us: 0, max_rss: Bytes(0) };
        let (occupied, node, amount) = (entry.occupies(), entry.node.clone(), entry.amount);
        entry.phase = Phase::Ended(exit.clone());
        entry.turn += 1;
        self.news.push(RunEvent { key, seen: Seen::Exited(exit) });
        if occupied {
            self.release(&node, amount, ended);
        } else if let Some(room) = self.nodes.get_mut(&node) {
            room.waiting.retain(|waiting| *waiting != key);
        }
    }

    /// Gives room back and lets those in who wait for it, in their order.
    fn release(&mut self, node: &NodeName, amount: Amount, now: Timestamp) {
        if let Some(room) = self.nodes.get_mut(node) {
            room.free = room.free.plus(amount);
            room.places = room.places.saturating_add(1);
        }
        while let Some(next) = self.next_waiting(node) {
            self.admit(next, now);
        }
    }

    fn next_waiting(&mut self, node: &NodeName) -> Option<AttemptKey> {
        let room = self.nodes.get_mut(node)?;
        let next = *room.waiting.front()?;
        let amount = self.runs.get(&next).map_or(Amount::default(), |run| run.amount);
        (room.places > 0 && amount.fits(room.free)).then(|| room.waiting.pop_front()).flatten()
    }
}

#[cfg(test)]
#[path = "book/tests.rs"]
mod tests;
