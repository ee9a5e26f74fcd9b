//! The task document and the one function that moves it.

use crate::executor::{AttemptKey, Cause, Child, Exit, Launch, Run};
use crate::ids::{NodeName, OpId, Rev, RunRef, TaskId};
use crate::spec::TaskSpec;
use crate::state::{
    Ask, Attempt, BadMove, Event, Outcome, Phase, Ran, TaskState, Wish, WishStatus, outcome_of,
};
use crate::units::Timestamp;
use crate::usage::UsageRecord;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Runs of this task that a node or an engine lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// On which nodes.
    pub nodes: Vec<NodeName>,
    /// The last one's reason.
    pub reason: Option<String>,
}

/// How far an array has come; kept by the store together with the children's own transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Children {
    /// Children that have a document (the others are pending and exist only in the parent).
    pub made: u64,
    /// Children that are over.
    pub over: u64,
    /// Of these, how many did not succeed.
    pub failed: u64,
}

/// One task: the single truth about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// For a child of an array: the parent's number.
    pub parent: Option<TaskId>,
    /// For a child of an array: its ordinal, 0 is the first.
    pub ordinal: Option<u64>,
    /// What was asked for; children share their parent's.
    pub spec: Arc<TaskSpec>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// Where it is in its life.
    pub state: TaskState,
    /// The last request made of it.
    pub wish: Option<Wish>,
    /// Attempts claimed so far.
    pub attempts: u32,
    /// Attempts lost to nodes.
    pub failures: Failures,
    /// For a parent of an array.
    pub children: Children,
    /// Bytes in its job directory when it was over, once they were measured. They count as long as it is not archived.
    pub disk: Option<u64>,
    /// Version.
    pub rev: Rev,
    /// The write that made this version.
    pub op: OpId,
}

impl Task {
    /// A task as it is right after its submit.
    #[must_use]
    pub fn new(id: TaskId, spec: Arc<TaskSpec>, now: Timestamp) -> Task {
        Task {
            id,
            parent: None,
            ordinal: None,
            spec,
            submitted: now,
            state: TaskState::Pending { since: now, requeued: false, why: None },
            wish: None,
            attempts: 0,
            failures: Failures::default(),
            children: Children::default(),
            disk: None,
            rev: Rev(0),
            op: OpId(0),
        }
    }

    /// The child with this ordinal, as it is before it was ever written: pending since the parent's submit, or, once the
    /// parent is over or archived, so like it without a run. `None` when this is no array's parent or the ordinal is past its end.
    #[must_use]
    pub fn child(&self, ordinal: u64) -> Option<Task> {
        let array = self.array()?;
        if ordinal >= array.count() {
            return None;
        }
        let mut child = Task {
            parent: Some(self.id),
            ordinal: Some(ordinal),
            ..Task::new(self.id.child(ordinal), Arc::clone(&self.spec), self.submitted)
        };
        match &self.state {
            TaskState::Over { outcome, at, .. } => {
                child.state = TaskState::Over { outcome: outcome.clone(), at: *at, last: None };
            }
            TaskState::Archived { outcome, at, archived, .. } => {
                let (outcome, at, archived) = (outcome.clone(), *at, *archived);
                child.state = TaskState::Archived { outcome, at, last: None, archived };
            }
            _ => {}
        }
        Some(child)
    }

    /// The array, when this is the parent of one.
    #[must_use]
    pub fn array(&self) -> Option<&crate::array::ArraySpec> {
        if self.parent.is_some() { None } else { self.spec.array.as_ref() }
    }

    /// The array value of a child.
    #[must_use]
    pub fn array_index(&self) -> Option<i64> {
        self.spec.array.as_ref()?.value(self.ordinal?)
    }

    /// The state without its data.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// The live attempt's key and reference.
    #[must_use]
    pub fn run(&self) -> Option<Run> {
        let (attempt, run) = match &self.state {
            TaskState::Starting { attempt } => (attempt, None),
            TaskState::Running { attempt, run, .. } => (attempt, run.clone()),
            _ => return None,
        };
        Some(Run { key: AttemptKey { task: self.id, attempt: attempt.number }, run })
    }

    /// What an executor needs to start the claimed attempt; `None` unless the task is starting.
    #[must_use]
    pub fn launch(&self) -> Option<Launch> {
        let TaskState::Starting { attempt } = &self.state else { return None };
        Some(Launch {
            key: AttemptKey { task: self.id, attempt: attempt.number },
            spec: Arc::clone(&self.spec),
            child: self.as_child(),
            node: attempt.node.clone(),
            ports: attempt.ports.clone(),
            epoch: attempt.epoch,
        })
    }

    /// Place in the array, for a child.
    #[must_use]
    pub fn as_child(&self) -> Option<Child> {
        Some(Child { parent: self.parent?, index: self.array_index()?, array: self.spec.array.clone()? })
    }

    /// What is still to be removed of a task that is over: its files ([`Ask::Archive`]), or its record too ([`Ask::Purge`]).
    #[must_use]
    pub fn to_remove(&self) -> Option<Ask> {
        self.wish.as_ref().filter(|w| w.is_open() && w.ask.is_of_over()).map(|w| w.ask)
    }

    /// Bytes that count for its owner: what was measured, as long as the files are there.
    #[must_use]
    pub fn disk_held(&self) -> u64 {
        if self.phase() == Phase::Over { self.disk.unwrap_or(0) } else { 0 }
    }

    /// Whether somebody asked for its end and it has not come yet.
    #[must_use]
    pub fn kill_wanted(&self) -> bool {
        self.wish.as_ref().is_some_and(|w| w.ask == Ask::Kill && w.is_open())
    }

    /// The task after `event`. The version is the next one; `op` is the writer's to set.
    ///
    /// # Errors
    /// [`BadMove`] when the state does not allow the event; the task is unchanged then.
    pub fn after(&self, event: &Event, now: Timestamp) -> Result<Task, BadMove> {
        let bad = || BadMove { from: self.phase(), event: event.label() };
        let mut next = self.clone();
        next.rev = self.rev.next();
        match (&self.state, event) {
            (TaskState::Pending { .. }, Event::Claimed(attempt)) => {
                let is_parent = self.array().is_some();
                if is_parent || attempt.number != self.attempts + 1 || self.kill_wanted() {
                    return Err(bad());
                }
                next.attempts = attempt.number;
                next.wish = None;
                next.state = TaskState::Starting { attempt: attempt.clone() };
            }
            (TaskState::Starting { .. }, Event::Returned { why }) => {
                next.requeue_or_kill(why.clone(), None, now);
            }
            (TaskState::Starting { attempt }, Event::Started { run, since }) => {
                next.state = TaskState::Running {
                    attempt: attempt.clone(),
                    run: run.clone(),
                    since: *since,
                    paused: false,
                };
            }
            (TaskState::Starting { attempt } | TaskState::Running { attempt, .. }, Event::Ended(exit)) => {
                let run = match &self.state {
                    TaskState::Running { run, .. } => run.clone(),
                    _ => None,
                };
                next.end(attempt, run, exit);
            }
            (TaskState::Running { attempt, run, since, .. }, Event::Paused | Event::Resumed) => {
                let paused = matches!(event, Event::Paused);
                let answers = if paused { Ask::Suspend } else { Ask::Resume };
                next.state =
                    TaskState::Running { attempt: attempt.clone(), run: run.clone(), since: *since, paused };
                if let Some(wish) = next.wish.as_mut().filter(|w| w.ask == answers) {
                    wish.status = WishStatus::Done;
                }
            }
            (TaskState::Starting { .. } | TaskState::Running { .. }, Event::AskRejected(reason)) => {
                match next.wish.as_mut() {
                    Some(wish) if wish.is_open() && wish.ask != Ask::Kill => {
                        wish.status = WishStatus::Rejected;
                        wish.reason = Some(reason.clone());
                    }
                    _ => return Err(bad()),
                }
            }
            (TaskState::Pending { .. }, Event::Unfolded) if self.array().is_some() => {
                next.state = TaskState::Gathering { since: now };
            }
            (TaskState::Pending { .. } | TaskState::Gathering { .. }, Event::Gathered { failed })
                if self.array().is_some() =>
            {
                let outcome =
                    if self.kill_wanted() { self.killed() } else { Outcome::Gathered { failed: *failed } };
                next.finish(outcome, None, now);
            }
            (TaskState::Pending { .. } | TaskState::Held { .. }, Event::EndedUnstarted(outcome)) => {
                next.finish(outcome.clone(), None, now);
            }
            (TaskState::Starting { attempt }, Event::EndedUnstarted(outcome)) => {
                let last = ran(attempt, None, None);
                next.finish(outcome.clone(), Some(last), now);
            }
            (TaskState::Pending { .. } | TaskState::Starting { .. }, Event::Poisoned(reason)) => {
                if self.kill_wanted() {
                    let last = self.state.attempt().map(|attempt| ran(attempt, None, None));
                    next.finish(self.killed(), last, now);
                } else {
                    // Nobody works on requests of a held task.
                    next.wish = None;
                    next.state = TaskState::Held { reason: reason.clone(), since: now };
                }
            }
            (TaskState::Over { outcome, at, last }, Event::Archived) => {
                next.state = TaskState::Archived {
                    outcome: outcome.clone(),
                    at: *at,
                    last: last.clone(),
                    archived: now,
                };
                if let Some(wish) = next.wish.as_mut().filter(|w| w.is_open() && w.ask == Ask::Archive) {
                    wish.status = WishStatus::Done;
                }
            }
            (TaskState::Over { .. }, Event::Measured(bytes)) => next.disk = Some(*bytes),
            _ => return Err(bad()),
        }
        Ok(next)
    }

    /// The task after somebody asked something of it; `None` when nothing changes (what was asked is not for a task in
    /// this phase, or the same was asked before). A request that can not be met is answered at once with a rejected wish.
    ///
    /// To archive and to purge is asked of what is over, everything else of what is not. A purge replaces the request to
    /// archive. A child's record goes with its parent's, so that a purge of a child alone archives it; one without a
    /// document has nothing to remove.
    #[must_use]
    pub fn asked(&self, ask: Ask, reason: Option<&str>, now: Timestamp) -> Option<Task> {
        if ask.is_of_over() {
            return self.asked_to_remove(ask, reason, now);
        }
        if self.phase().is_over() {
            return None;
        }
        let open = self.wish.as_ref().filter(|w| w.is_open()).map(|w| w.ask);
        // A kill holds until the end. A run that is being ended for the queue can not be paused any more.
        let settled = match open {
            Some(Ask::Kill) => true,
            Some(Ask::Reschedule) => ask != Ask::Kill,
            Some(_) | None => open == Some(ask),
        };
        if settled {
            return None;
        }
        let status = match (&self.state, ask) {
            // An array has to wait for its children that have a document, even before it was unfolded.
            (TaskState::Pending { .. }, Ask::Kill) if self.children.made > self.children.over => {
                WishStatus::Requested
            }
            (TaskState::Pending { .. } | TaskState::Held { .. }, Ask::Kill) => {
                let mut next = self.clone();
                next.rev = self.rev.next();
                next.set_wish(ask, WishStatus::Done, reason, now);
                next.finish(Outcome::Killed { reason: reason.map(str::to_owned) }, None, now);
                return Some(next);
            }
            (TaskState::Held { .. }, Ask::Reschedule) => {
                let mut next = self.clone();
                next.rev = self.rev.next();
                next.wish = None;
                next.state = TaskState::Pending { since: now, requeued: true, why: None };
                return Some(next);
            }
            (TaskState::Pending { .. }, Ask::Reschedule) => return None,
            (TaskState::Pending { .. } | TaskState::Held { .. }, Ask::Suspend | Ask::Resume) => {
                WishStatus::Rejected
            }
            (TaskState::Gathering { .. }, Ask::Suspend | Ask::Resume | Ask::Reschedule) => {
                WishStatus::Rejected
            }
            (TaskState::Running { paused: false, .. } | TaskState::Starting { .. }, Ask::Resume) => {
                // A pause that is under way may take effect after this, so it is undone like one that has.
                if open == Some(Ask::Suspend) { WishStatus::Requested } else { WishStatus::Rejected }
            }
            // The other way round too.
            (TaskState::Running { paused: true, .. }, Ask::Suspend) if open != Some(Ask::Resume) => {
                return None;
            }
            _ => WishStatus::Requested,
        };
        let mut next = self.clone();
        next.rev = self.rev.next();
        next.set_wish(ask, status, reason, now);
        Some(next)
    }

    /// The usage to book for this transition: the attempt that was live in `self` and is not in `next`.
    #[must_use]
    pub fn usage_of(&self, next: &Task) -> Option<UsageRecord> {
        let attempt = self.state.attempt()?;
        if next.state.attempt().is_some_and(|a| a.number == attempt.number) {
            return None;
        }
        let (started, ended) = match (&self.state, &next.state) {
            (_, TaskState::Over { last: Some(ran), at, .. }) => (ran.started?, *at),
            (TaskState::Running { since, .. }, TaskState::Pending { since: ended, .. }) => (*since, *ended),
            _ => return None,
        };
        Some(UsageRecord {
            key: AttemptKey { task: self.id, attempt: attempt.number },
            owner: self.spec.owner.id.clone(),
            project: self.spec.owner.project.clone(),
            day: ended.day(),
            cores: self.spec.cores,
            ram: self.spec.ram,
            millis: ended.millis_since(started),
        })
    }

    fn asked_to_remove(&self, ask: Ask, reason: Option<&str>, now: Timestamp) -> Option<Task> {
        let is_child = self.parent.is_some();
        if is_child && self.rev == Rev(0) {
            return None;
        }
        let ask = if is_child { Ask::Archive } else { ask };
        let settled = match (self.phase(), self.to_remove(), ask) {
            (Phase::Over, None, _) | (Phase::Archived, None, Ask::Purge) => false,
            (Phase::Over | Phase::Archived, Some(open), Ask::Purge) => open == Ask::Purge,
            _ => true,
        };
        if settled {
            return None;
        }
        let mut next = self.clone();
        next.rev = self.rev.next();
        next.set_wish(ask, WishStatus::Requested, reason, now);
        Some(next)
    }

    fn set_wish(&mut self, ask: Ask, status: WishStatus, reason: Option<&str>, now: Timestamp) {
        let seq = self.wish.as_ref().map_or(1, |w| w.seq.saturating_add(1));
        self.wish = Some(Wish { ask, status, seq, at: now, reason: reason.map(str::to_owned) });
    }

    fn finish(&mut self, outcome: Outcome, last: Option<Ran>, at: Timestamp) {
        if let Some(wish) = self.wish.as_mut().filter(|w| w.is_open()) {
            let granted = wish.ask == Ask::Kill && matches!(outcome, Outcome::Killed { .. });
            wish.status = if granted { WishStatus::Done } else { WishStatus::Rejected };
        }
        self.state = TaskState::Over { outcome, at, last };
    }

    /// Back into the queue, unless somebody wants its end.
    fn requeue_or_kill(&mut self, why: Option<String>, last: Option<Ran>, now: Timestamp) {
        if self.kill_wanted() {
            self.finish(self.killed(), last, now);
        } else {
            self.wish = None;
            self.state = TaskState::Pending { since: now, requeued: true, why };
        }
    }

    /// Ended on request, with the reason of the request if there was one.
    fn killed(&self) -> Outcome {
        let wish = self.wish.as_ref().filter(|w| w.ask == Ask::Kill);
        Outcome::Killed { reason: wish.and_then(|w| w.reason.clone()) }
    }

    /// The end of a run: what it means depends on what was wanted and on whose fault it was.
    fn end(&mut self, attempt: &Attempt, run: Option<RunRef>, exit: &Exit) {
        let started = match &self.state {
            TaskState::Running { since, .. } => Some(exit.started.unwrap_or(*since)),
            _ => exit.started,
        };
        // Accounting must not go backwards, whatever the executor's clock says.
        let at = exit.ended.max(started.unwrap_or(exit.ended));
        let mut last = ran(attempt, run, started);
        last.cpu_us = exit.cpu_us;
        last.max_rss = exit.max_rss;
        let wanted = self.wish.as_ref().filter(|w| w.is_open()).map(|w| w.ask);
        // A script that had ended by itself before our signal reached it keeps its own result.
        let by_request = exit.by_request || matches!(exit.cause, Cause::NeverRan | Cause::Lost(_));
        match (wanted, &exit.cause) {
            (Some(Ask::Kill), _) if by_request => {
                self.finish(self.killed(), Some(last), at);
            }
            (Some(Ask::Reschedule), _) if by_request => {
                self.wish = None;
                self.state = TaskState::Pending { since: at, requeued: true, why: None };
            }
            (_, Cause::Lost(reason)) => {
                let retry = self.failures.count < self.spec.failure_policy;
                self.failures.count = self.failures.count.saturating_add(1);
                self.failures.reason = Some(reason.clone());
                if !self.failures.nodes.contains(&attempt.node) {
                    self.failures.nodes.push(attempt.node.clone());
                }
                if retry {
                    self.requeue_or_kill(Some(reason.clone()), Some(last), at);
                } else {
                    self.finish(Outcome::Lost(reason.clone()), Some(last), at);
                }
            }
            (_, Cause::NeverRan) => self.requeue_or_kill(None, Some(last), at),
            (_, cause) => {
                let outcome = if exit.by_request && !matches!(cause, Cause::TimeLimit | Cause::OutOfMemory) {
                    self.killed()
                } else {
                    outcome_of(cause)
                };
                self.finish(outcome, Some(last), at);
            }
        }
    }
}

fn ran(attempt: &Attempt, run: Option<RunRef>, started: Option<Timestamp>) -> Ran {
    Ran { attempt: attempt.clone(), run, started, cpu_us: 0, max_rss: crate::units::Bytes(0) }
}

#[cfg(test)]
mod tests;
