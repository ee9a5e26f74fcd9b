//! The watcher: sees runs start and end, makes requests true, and compares documents with the world.
//!
//! Any number of watchers share the live tasks: a rendezvous hash over the live members says who acts for a task, and the
//! versioned write decides where two disagree. What an executor can not say (`Unknown`) never changes a state.

mod limits;
mod members;
mod orphans;
mod sight;
mod verdicts;
mod wishes;

use crate::flaw::{self, Flaw};
use crate::lease::Tenure;
use crate::moves;
use crate::pace::Pace;
use crate::signal::Signal;
use crate::world::World;
use futures::future::select;
use god_core::executor::{Abandon, EventStream, ExecError, Finished, RunEvent, Seen};
use god_core::executor::{AttemptKey, Run};
use god_core::ids::TaskId;
use god_core::spec::{LIMIT_FIELD, Output};
use god_core::state::{Event, Phase, TaskState};
use god_core::store::{Lease, Seq, StoreError};
use god_core::task::Task;
use god_core::units::{Seconds, Timestamp};
use members::Members;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;
use tracing::{info, warn};

/// A watcher process.
#[derive(Debug)]
pub struct Watcher<'a> {
    world: &'a World,
    tenure: &'a Tenure,
    stop: &'a Signal,
    beat: &'a Signal,
}

/// One live task as this watcher knows it.
#[derive(Debug)]
struct Watched {
    task: Task,
    /// When its executor first said that there is no such run, without a word to the contrary since.
    absent_since: Option<Duration>,
    /// When to look at an absent run again.
    look_at: Option<Duration>,
    /// Whether its latch says that it ran, though it was not seen running.
    ran: bool,
    /// When its open request was last worked on.
    acted_at: Option<Duration>,
    /// Whether work on it is under way: one thing at a time, so that a pause never overtakes its resume.
    busy: bool,
    /// Whether it was seen paused (or not) although its document says otherwise.
    astray: bool,
    /// When its executor is to be told of its time limit, which was changed.
    relimit_at: Option<Duration>,
    /// How long it had run, and the monotonic time, when it was first seen running here.
    ran_for: Option<(Duration, Duration)>,
}

impl Watched {
    /// Nothing known but its document.
    fn new(task: Task) -> Watched {
        Watched {
            absent_since: None,
            look_at: None,
            ran: false,
            acted_at: None,
            busy: false,
            astray: false,
            // It may have been changed after the start and not told since.
            relimit_at: task.spec.fields.contains_key(LIMIT_FIELD).then_some(Duration::ZERO),
            ran_for: None,
            task,
        }
    }

    /// How long its script has run. The wall clock is asked once, so that its jumps end nothing.
    fn elapsed(&mut self, now: Timestamp, mono: Duration) -> Option<Duration> {
        let TaskState::Running { since, .. } = self.task.state else { return None };
        let (before, at) =
            *self.ran_for.get_or_insert((Duration::from_millis(now.millis_since(since)), mono));
        Some(before + mono.saturating_sub(at))
    }

    /// Whether there is something to do for it and nothing under way.
    fn wants_work(&self) -> bool {
        !self.busy && (self.astray || self.task.wish.as_ref().is_some_and(|wish| wish.is_open()))
    }
}

/// What the watcher knows.
struct State {
    lease: Lease,
    seq: Seq,
    members: Members,
    live: BTreeMap<TaskId, Watched>,
    /// Starts seen and not yet written, because many tasks are so short that their end is about to come.
    held: BTreeMap<TaskId, (Duration, Vec<Event>)>,
    /// Ended attempts whose leftovers are to be removed, by executor.
    finished: BTreeMap<usize, Vec<Finished>>,
    /// Claimed runs that their executor does not know for too long, by executor: the latch is to say what became of them.
    doubtful: BTreeMap<usize, Vec<Run>>,
    /// Unknown runs of ours, with the time they were first seen.
    strangers: BTreeMap<(usize, AttemptKey), Duration>,
    reconciled_at: Option<Duration>,
    /// Whether the plugins are to be asked about the running tasks.
    judge: bool,
    /// Tells a busy time from a quiet one.
    pace: Pace,
}

/// Work under way outside the loop.
type Inflight = crate::inflight::Inflight<Done>;

/// What comes back from it.
enum Done {
    Events {
        executor: usize,
        stream: Box<dyn EventStream>,
        events: Option<Vec<RunEvent>>,
    },
    /// `asked` is when the question was put: an answer may lie about while this process is frozen.
    Observed {
        executor: usize,
        asked: Duration,
        seen: Vec<RunEvent>,
        failed: Option<String>,
    },
    Listed {
        executor: usize,
        seen: Vec<RunEvent>,
        failed: Option<String>,
    },
    Acted {
        results: Vec<Answer>,
    },
    /// What became of new time limits.
    Limited {
        results: Vec<(AttemptKey, Option<Seconds>, Result<(), String>)>,
    },
    Settled {
        results: Vec<(AttemptKey, Result<Abandon, String>)>,
    },
    Forgot {
        executor: usize,
        items: Vec<Finished>,
        error: Option<String>,
    },
}

/// What became of work on one request.
#[derive(Debug)]
struct Answer {
    key: AttemptKey,
    /// The request's number; `None` when a run was only put right to what its document says.
    seq: Option<u32>,
    acted: Acted,
}

/// How work on a request went.
#[derive(Debug)]
enum Acted {
    /// The executor was told to end the run.
    KillSent,
    /// The run is paused.
    Paused,
    /// The run goes on.
    Resumed,
    /// The run was put right; its document says so already.
    Righted,
    /// The latch is ours: the attempt never ran.
    NeverRan,
    /// It can not be done here.
    Impossible(String),
    /// To be tried again.
    Failed(String),
}

impl<'a> Watcher<'a> {
    /// A watcher that acts while `tenure` holds, until `stop` is rung. `beat` is rung once a turn.
    #[must_use]
    pub fn new(world: &'a World, tenure: &'a Tenure, stop: &'a Signal, beat: &'a Signal) -> Self {
        Watcher { world, tenure, stop, beat }
    }

    /// Works until stopped.
    pub async fn run(&self) {
        let mut inflight = Inflight::default();
        for (executor, plugin) in self.world.executors.iter().enumerate() {
            if let Some(events) = plugin.events() {
                listen(&inflight, executor, events.subscribe());
            }
        }
        let mut state: Option<State> = None;
        while self.stop.rings() == 0 {
            self.beat.ring();
            let lease = self.tenure.current(self.world.clock.mono());
            let known = state.as_ref().map(|s| &s.lease);
            if lease.is_none() || (known.is_some() && known != lease.as_ref()) {
                state = None;
            }
            let Some(lease) = lease else {
                inflight.drive(self.world.clock.sleep(self.world.settings.standby_poll / 5)).await;
                // Events that come while we may not write are found by the first reconciliation.
                self.rearm(&mut inflight);
                continue;
            };
            if let Err(err) = self.turn(&mut state, lease.clone(), &mut inflight).await {
                warn!(err = %crate::chain(&err), "watcher turn failed, reading everything again");
                if matches!(err, StoreError::Fenced(_)) {
                    self.tenure.lost(&lease);
                }
                state = None;
                inflight.drive(self.world.clock.sleep(self.world.settings.standby_poll)).await;
            }
        }
    }

    async fn turn(
        &self,
        state: &mut Option<State>,
        lease: Lease,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        if state.is_none() {
            *state = Some(inflight.drive(self.load(lease)).await?);
        }
        let Some(s) = state.as_mut() else { return Ok(()) };
        self.hear(s, inflight).await?;
        self.see(s, inflight).await?;
        self.write_held(s, inflight, false).await?;
        self.refresh_members(s, inflight).await?;
        self.act_on_wishes(s, inflight);
        self.tell_limits(s, inflight);
        self.settle_doubtful(s, inflight);
        self.forget_finished(s, inflight);
        self.reconcile(s, inflight);
        self.judge_running(s, inflight).await?;
        if inflight.done.is_empty() {
            self.wait(s, inflight).await;
        }
        if let Some(rest) = s.pace.rest(self.world.clock.mono(), self.world.settings.busy_pace) {
            inflight.drive(self.world.clock.sleep(rest)).await;
        }
        Ok(())
    }

    async fn wait(&self, s: &State, inflight: &mut Inflight) {
        let mono = self.world.clock.mono();
        let settings = &self.world.settings;
        let mut until = s.members.read_at + settings.lease_ttl / 3;
        if let Some(at) = s.reconciled_at {
            until = until.min(at + settings.reconcile);
        }
        for (since, _) in s.held.values() {
            until = until.min(*since + settings.start_hold);
        }
        for watched in s.live.values() {
            if let Some(at) = watched.acted_at.filter(|_| watched.wants_work()) {
                until = until.min(at + settings.retry);
            }
            if let Some(at) = watched.look_at {
                until = until.min(at);
            }
            if let Some(at) = watched.relimit_at.filter(|_| watched.task.phase() == Phase::Running) {
                until = until.min(at);
            }
        }
        let span = until.saturating_sub(mono).max(Duration::from_millis(1));
        let rung = pin!(self.world.store.rung(s.seq));
        let timer = pin!(self.world.clock.sleep(span));
        let stop = pin!(self.stop.past(0));
        inflight.next_or(select(select(rung, timer), stop)).await;
    }

    /// Puts the event streams that spoke while nobody listened back to listening.
    fn rearm(&self, inflight: &mut Inflight) {
        for done in std::mem::take(&mut inflight.done) {
            if let Done::Events { executor, stream, events: Some(_) } = done {
                listen(inflight, executor, stream);
            }
        }
    }

    /// Removes what is left of ended attempts; only ever after their end is durable.
    fn forget_finished(&self, s: &mut State, inflight: &Inflight) {
        for (executor, items) in std::mem::take(&mut s.finished) {
            let plugin = std::sync::Arc::clone(&self.world.executors[executor]);
            inflight.begin(async move {
                let answer = crate::inflight::guarded(plugin.forget(&items)).await;
                let error = answer.and_then(|answer| answer.map_err(|e| crate::chain(&e))).err();
                Done::Forgot { executor, items, error }
            });
        }
    }
}

/// Waits for the next events of an executor.
fn listen(inflight: &Inflight, executor: usize, mut stream: Box<dyn EventStream>) {
    inflight.begin(async move {
        let events = stream.next().await;
        Done::Events { executor, stream, events }
    });
}

/// What to remove once this task's attempt is over.
fn finished(task: &Task, attempt: u32) -> Finished {
    Finished {
        key: god_core::AttemptKey { task: task.id, attempt },
        parent: task.parent,
        keep_files: task.spec.output == Output::Files,
    }
}
