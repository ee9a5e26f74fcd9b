//! The scheduler: follows changes, claims what fits, starts what it claimed, ends arrays whose children are over.
//!
//! One acts at a time, under the lease `scheduler`; every claim carries the lease's epoch. Everything it knows can be
//! read again from the store, and is whenever it takes the lead or an answer of the store was lost.

mod arrays;
mod board;
mod books;
mod feed;
mod pass;
mod starts;

use crate::accounts::Accounts;
use crate::capacity::Capacity;
use crate::flaw::{self, Flaw};
use crate::lease::Tenure;
use crate::pace::Pace;
use crate::pending::{GroupIx, Pending};
use crate::plan::Turns;
use crate::signal::Signal;
use crate::world::World;
use board::BoardTold;
use books::BooksRead;
use futures::future::select;
use god_core::executor::{Abandon, StartError, Started};
use god_core::ids::TaskId;
use god_core::store::{Lease, Seq, StoreError};
use god_core::task::Task;
use starts::Starting;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tracing::{info, warn};

/// A scheduler process.
#[derive(Debug)]
pub struct Scheduler<'a> {
    world: &'a World,
    tenure: &'a Tenure,
    stop: &'a Signal,
    /// Passes made, for metrics and for the watchdog of the process.
    beat: &'a Signal,
    /// One for each executor; every call of it that is under way holds a clone.
    places: Vec<Arc<()>>,
    /// How often a call broke over a task; kept when the lead is lost for a moment.
    faults: Mutex<BTreeMap<TaskId, u32>>,
    watch: PassWatch,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassNote {
    /// Tasks claimed.
    pub claimed: usize,
    /// How long it took, the durable write of its claims included.
    pub took: Duration,
}

/// Who is told of passes that found something to do.
#[derive(Default)]
struct PassWatch(Option<Box<dyn Fn(PassNote) + Send + Sync>>);

impl std::fmt::Debug for PassWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "PassWatch(_)" } else { "PassWatch" })
    }
}

/// What the acting scheduler knows.
struct State {
    lease: Lease,
    seq: Seq,
    pending: Pending,
    capacity: Capacity,
    /// Quotas and standings.
    accounts: Accounts,
    /// Who is next out of order.
    turns: Turns,
    /// Groups whose quota is used up, as far as was seen.
    doomed: BTreeSet<GroupIx>,
    books: BooksRead,
    told: BoardTold,
    /// Claimed tasks not yet seen running, with the time of the last call that should have started them.
    starting: BTreeMap<TaskId, Starting>,
    /// Claimed tasks to hand to their executor, in order.
    to_start: BTreeMap<usize, VecDeque<Task>>,
    nodes_at: Option<Duration>,
    reconciled_at: Duration,
    pins: BTreeMap<String, Option<String>>,
    /// Tasks to look at again with the next reconciliation.
    again: BTreeSet<TaskId>,
    /// Pins of the tasks that a watcher does not let start.
    refused: BTreeSet<String>,
    maintenance: bool,
    /// Tells a busy time from a quiet one.
    pace: Pace,
}

/// Calls of executors under way, and the answers not yet handled.
type Inflight = crate::inflight::Inflight<StartDone>;

/// What came back from an executor.
enum StartDone {
    /// A call that was to start tasks: an answer for each, or what the executor said when it panicked.
    Called { tasks: Vec<Task>, answers: Result<Vec<Result<Started, StartError>>, String> },
    /// Tasks that are not to start any more: what their latches say.
    GivenUp { tasks: Vec<Task>, answers: Vec<Result<Abandon, String>> },
}

impl<'a> Scheduler<'a> {
    /// A scheduler that acts while `tenure` holds, until `stop` is rung. `beat` is rung once a turn.
    #[must_use]
    pub fn new(world: &'a World, tenure: &'a Tenure, stop: &'a Signal, beat: &'a Signal) -> Self {
        let places = world.executors.iter().map(|_| Arc::default()).collect();
        Scheduler { world, tenure, stop, beat, places, faults: Mutex::default(), watch: PassWatch::default() }
    }

    /// Tells somebody of each pass that claims tasks, for metrics. It must not block.
    #[must_use]
    pub fn watched(mut self, watch: impl Fn(PassNote) + Send + Sync + 'static) -> Self {
        self.watch = PassWatch(Some(Box::new(watch)));
        self
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<TaskId, u32>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until stopped, then finishes the starts under way.
    pub async fn run(&self) {
        let mut state: Option<State> = None;
        let mut inflight = Inflight::default();
        while self.stop.rings() == 0 {
            self.beat.ring();
            let lease = self.tenure.current(self.world.clock.mono());
            let known = state.as_ref().map(|s| &s.lease);
            if lease.is_none() || (known.is_some() && known != lease.as_ref()) {
                state = None;
            }
            let Some(lease) = lease else {
                let wait = self.world.clock.sleep(self.world.settings.standby_poll / 5);
                inflight.drive(wait).await;
                if flaw::on(Flaw::PlaceNotGivenBack) {
                    let kept = inflight.done.iter().flat_map(|_| self.places.first());
                    kept.for_each(|place| std::mem::forget(Arc::clone(place)));
                }
                inflight.done.clear();
                continue;
            };
            let turn = self.turn(&mut state, lease.clone(), &mut inflight).await;
            if let Err(err) = turn {
                warn!(err = %crate::chain(&err), "scheduler turn failed, reading everything again");
                if flaw::on(Flaw::ErrorEndsScheduler) {
                    return;
                }
                if matches!(err, StoreError::Fenced(_)) {
                    self.tenure.lost(&lease);
                }
                state = None;
                inflight.drive(self.world.clock.sleep(self.world.settings.standby_poll)).await;
            }
        }
        inflight.finish().await;
        if let Some(state) = state.as_mut()
            && let Err(err) = self.settle_starts(state, &mut inflight).await
        {
            warn!(err = %crate::chain(&err), "answers of the last starts were not stored");
        }
    }

    /// One turn: hear, decide, write, start, wait.
    async fn turn(
        &self,
        state: &mut Option<State>,
        lease: Lease,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        if state.is_none() {
            let loaded = inflight.drive(self.load(lease)).await?;
            info!(epoch = loaded.lease.epoch, live = loaded.capacity.n_live(), "scheduler leads");
            *state = Some(loaded);
        }
        let Some(s) = state.as_mut() else { return Ok(()) };
        self.hear(s, inflight).await?;
        self.settle_starts(s, inflight).await?;
        self.refresh_nodes(s, inflight).await;
        self.reconcile(s, inflight).await?;
        self.settle_arrays(s, inflight).await?;
        self.refresh_books(s, inflight).await?;
        let more = if s.maintenance { false } else { self.pass(s, inflight).await? };
        self.launch(s, inflight);
        self.tell(s);
        self.pin(s, inflight).await;
        if !more {
            self.wait(s, inflight).await;
        }
        if let Some(rest) = s.pace.rest(self.world.clock.mono(), self.world.settings.busy_pace) {
            inflight.drive(self.world.clock.sleep(rest)).await;
        }
        Ok(())
    }

    /// Waits for a bell, an answer of an executor, or the next thing due.
    async fn wait(&self, s: &State, inflight: &mut Inflight) {
        if !inflight.done.is_empty() {
            return;
        }
        let mono = self.world.clock.mono();
        let mut until = s.reconciled_at + self.world.settings.reconcile;
        if let Some(at) = s.nodes_at {
            until = until.min(at + self.world.settings.nodes_refresh);
        }
        if let Some(at) = s.pending.next_unblock(mono) {
            until = until.min(at);
        }
        let due = [self.next_restart(s), Self::books_due(s), s.told.due(s.pending.is_waiting())];
        for at in due.into_iter().flatten() {
            until = until.min(at);
        }
        let span = until.saturating_sub(mono).max(Duration::from_millis(1));
        let rung = pin!(self.world.store.rung(s.seq));
        let timer = pin!(self.world.clock.sleep(span.min(self.world.settings.lease_ttl / 6)));
        let stop = pin!(self.stop.past(0));
        inflight.next_or(select(select(rung, timer), stop)).await;
    }

    /// Asks the executors for their nodes when it is time; one that does not answer has none.
    async fn refresh_nodes(&self, s: &mut State, inflight: &mut Inflight) {
        let mono = self.world.clock.mono();
        if s.nodes_at.is_some_and(|at| mono < at + self.world.settings.nodes_refresh) {
            return;
        }
        let asked = self.world.executors.iter().map(|e| async move { (e.name().clone(), e.nodes().await) });
        let answers = inflight.drive(futures::future::join_all(asked)).await;
        let mut all_known = true;
        for (name, answer) in answers {
            match answer {
                Ok(nodes) => {
                    let text = serde_json::to_string(&nodes).unwrap_or_default();
                    s.pins.insert(format!("nodes/{name}"), Some(text));
                    s.capacity.set_nodes(&name, nodes);
                }
                Err(err) => {
                    all_known = false;
                    warn!(executor = %name, err = %crate::chain(&err), "nodes are not known");
                    s.capacity.set_nodes(&name, Vec::new());
                }
            }
        }
        // One that did not answer is asked again soon.
        let early = if all_known { Duration::ZERO } else { self.world.settings.nodes_refresh * 9 / 10 };
        s.nodes_at = Some(mono.saturating_sub(early));
    }

    /// Writes the texts for other processes that changed, a bounded number at a time.
    async fn pin(&self, s: &mut State, inflight: &mut Inflight) {
        let mut notes = Vec::new();
        while notes.len() < 64 {
            let Some(note) = s.pins.pop_first() else { break };
            notes.push(note);
        }
        if notes.is_empty() {
            return;
        }
        if let Err(err) = inflight.drive(self.world.store.pin(notes)).await {
            warn!(err = %crate::chain(&err), "reasons and nodes were not published");
        }
    }
}

#[cfg(test)]
mod tests;
