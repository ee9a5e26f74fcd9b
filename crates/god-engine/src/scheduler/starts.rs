//! Handing claimed tasks to their executors, and what their answers mean.
//!
//! A claim is durable before its executor hears of it. An answer that is lost, or a call that never returns, leaves the
//! task starting; it is started again after a while, which is safe because the same attempt never makes two runs.

use super::{Inflight, Scheduler, StartDone, State};
use crate::inflight::guarded;
use crate::moves;
use god_core::executor::{Abandon, Executor, StartError, Started};
use god_core::ids::TaskId;
use god_core::reason::{Code, Reason};
use god_core::state::{Event, Outcome, Phase, TaskState};
use god_core::store::StoreError;
use god_core::task::Task;
use std::sync::Arc;
use std::time::Duration;
use tracing::{error, info, warn};

/// Calls that may break over one task before it is taken out of scheduling.
const MOST_FAULTS: u32 = 3;

/// A task that is claimed and not yet seen running.
#[derive(Debug, Clone, Copy)]
pub(super) struct Starting {
    /// When its executor was last told to start it.
    called: Duration,
    /// Whether that call answered that all is well.
    answered: bool,
}

impl Starting {
    /// To be started as soon as possible.
    pub(super) fn due(mono: Duration) -> Starting {
        Starting { called: mono.saturating_sub(Duration::from_secs(3600)), answered: false }
    }

    /// Told to start now.
    pub(super) fn called(mono: Duration) -> Starting {
        Starting { called: mono, answered: false }
    }
}

impl Scheduler<'_> {
    /// Begins as many calls of the executors as they like.
    pub(super) fn launch(&self, s: &mut State, inflight: &mut Inflight) {
        // Nothing is started by a leader who may not be one any more: the tasks stay claimed, and whoever leads next
        // starts them.
        if self.tenure.current(self.world.clock.mono()).as_ref() != Some(&s.lease) {
            return;
        }
        for (ix, queue) in &mut s.to_start {
            let executor = &self.world.executors[*ix];
            let starts = executor.starts();
            let place = &self.places[*ix];
            // Each call under way holds its place, and gives it back when it has ended, whatever becomes of its answer.
            while Arc::strong_count(place) <= starts.parallel && !queue.is_empty() {
                let faults = |task: &Task| self.faults().get(&task.id).copied().unwrap_or(0);
                let n_sound = queue.iter().take_while(|task| faults(task) == 0).count();
                // One that broke a call is called for alone, so that it harms no other.
                let tasks: Vec<Task> = queue.drain(..n_sound.clamp(1, starts.batch.max(1))).collect();
                let executor = Arc::clone(executor);
                let place = Arc::clone(place);
                if tasks.iter().any(|task| faults(task) >= MOST_FAULTS) {
                    inflight.begin(async move {
                        let answers = give_up(&*executor, &tasks).await;
                        drop(place);
                        StartDone::GivenUp { tasks, answers }
                    });
                    continue;
                }
                let launches = tasks.iter().filter_map(Task::launch).collect();
                inflight.begin(async move {
                    let answers = guarded(executor.start(launches)).await;
                    drop(place);
                    StartDone::Called { tasks, answers }
                });
            }
        }
    }

    /// Stores what the executors answered.
    pub(super) async fn settle_starts(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let now = self.world.clock.now();
        let mut moves = Vec::new();
        for done in std::mem::take(&mut inflight.done) {
            let (tasks, answers) = match done {
                StartDone::Called { tasks, answers: Ok(answers) } => (tasks, answers),
                StartDone::Called { tasks, answers: Err(why) } => {
                    self.note_fault(&tasks, &why);
                    continue;
                }
                StartDone::GivenUp { tasks, answers } => {
                    self.take_given_up(tasks, answers, &mut moves);
                    continue;
                }
            };
            for (task, answer) in tasks.into_iter().zip(answers) {
                if let Some(starting) = s.starting.get_mut(&task.id) {
                    *starting = Starting { called: mono, answered: answer.is_ok() };
                }
                let ix = s.pending.group_of(&task);
                let event = match answer {
                    Ok(Started::Accepted) => {
                        ix.into_iter().for_each(|ix| s.pending.went_well(ix));
                        continue;
                    }
                    Ok(Started::Running { run, since }) => {
                        ix.into_iter().for_each(|ix| s.pending.went_well(ix));
                        Event::Started { run, since }
                    }
                    Err(StartError::Unknown(why)) => {
                        warn!(task = %task.id, why, "start is not known to have happened, trying again later");
                        continue;
                    }
                    Err(StartError::NotNow(why)) => {
                        info!(task = %task.id, why, "start was put off");
                        if let Some(ix) = ix {
                            s.pending.back_off(ix, mono);
                            s.pending.set_why(ix, Some(Reason::new(Code::Backoff, why.clone())));
                            s.told.news();
                        }
                        Event::Returned { why: Some(why) }
                    }
                    Err(StartError::Refused(why)) => {
                        info!(task = %task.id, why, "start was refused");
                        Event::EndedUnstarted(Outcome::Refused(why))
                    }
                };
                moves.push((task, event));
            }
        }
        if moves.is_empty() {
            return Ok(());
        }
        let attempt = |task: &Task| task.state.attempt().map(|a| a.number);
        let wanted: std::collections::HashMap<TaskId, (Option<u32>, Event)> =
            moves.iter().map(|(task, event)| (task.id, (attempt(task), event.clone()))).collect();
        let decide = |task: &Task| {
            let (number, event) = wanted.get(&task.id)?;
            // A watcher may have seen it run, or end, before us.
            if task.phase() != Phase::Starting || attempt(task) != *number {
                return None;
            }
            moves::change(task, std::slice::from_ref(event), now, self.world).ok()
        };
        let tasks = moves.into_iter().map(|(task, _)| task).collect();
        inflight.drive(moves::commit_decided(self.world, Some(&s.lease), tasks, decide)).await?;
        Ok(())
    }

    /// A call broke: which of its tasks is to blame shows when each is called for alone.
    fn note_fault(&self, tasks: &[Task], why: &str) {
        let mut known = self.faults();
        for task in tasks {
            let faults = known.entry(task.id).or_default();
            *faults += 1;
            error!(task = %task.id, faults = *faults, why, "the executor broke while it started the task");
        }
    }

    /// Holds the tasks that surely never ran; what ran is the watchers' to see.
    fn take_given_up(
        &self,
        tasks: Vec<Task>,
        answers: Vec<Result<Abandon, String>>,
        moves: &mut Vec<(Task, Event)>,
    ) {
        for (task, answer) in tasks.into_iter().zip(answers) {
            match answer {
                Ok(Abandon::NeverRan) => {
                    self.faults().remove(&task.id);
                    let name = task.state.attempt().map_or("?", |a| a.executor.as_str());
                    let why = format!("Executor {name} broke {MOST_FAULTS} times while it started this task");
                    error!(task = %task.id, why, "task is held, a person must look");
                    moves.push((task, Event::Poisoned(why)));
                }
                Ok(Abandon::Ran) => {
                    self.faults().remove(&task.id);
                }
                Err(why) => warn!(task = %task.id, why, "what became of a start is not known yet"),
            }
        }
    }

    /// When the next unanswered start is due again.
    pub(super) fn next_restart(&self, s: &State) -> Option<Duration> {
        let retry = self.world.settings.retry;
        s.starting.values().filter(|st| !st.answered).map(|st| st.called + retry).min()
    }

    /// Starts again what was claimed and is not known to have started; looks at maintenance and arrays from the start.
    pub(super) async fn reconcile(&self, s: &mut State, inflight: &mut Inflight) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let all = mono >= s.reconciled_at + self.world.settings.reconcile;
        if all {
            s.reconciled_at = mono;
            s.maintenance = inflight.drive(self.in_maintenance()).await?;
            self.take_in_again(s, inflight).await?;
            let parents: Vec<TaskId> = s.pending.arrays().map(|(id, _)| *id).collect();
            for parent in parents {
                if let Some(array) = s.pending.array_mut(parent) {
                    array.look = true;
                }
            }
        }
        // A call that has not returned is not repeated before the executor had its time.
        let after = |st: &Starting| {
            if st.answered { self.world.settings.reconcile } else { self.world.settings.retry }
        };
        let due: Vec<TaskId> = s
            .starting
            .iter()
            .filter(|(_, st)| mono >= st.called + after(st))
            .map(|(id, _)| *id)
            .take(self.world.settings.claim_batch)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let docs = inflight.drive(self.world.store.get(&due)).await?;
        for (id, task) in due.into_iter().zip(docs) {
            match task {
                Some(task) if matches!(task.state, TaskState::Starting { .. }) => {
                    self.start_again(s, task, mono);
                }
                _ => {
                    s.starting.remove(&id);
                }
            }
        }
        Ok(())
    }

    fn start_again(&self, s: &mut State, task: Task, mono: Duration) {
        if let Some(starting) = s.starting.get_mut(&task.id) {
            *starting = Starting::called(mono);
        }
        // Somebody wants its end and it may not have begun: the watchers settle that with the latch.
        if task.kill_wanted() {
            return;
        }
        let name = task.state.attempt().map(|a| &a.executor);
        if let Some(executor) = self.world.executors.iter().position(|e| Some(e.name()) == name) {
            let queue = s.to_start.entry(executor).or_default();
            if !queue.iter().any(|t| t.id == task.id) {
                queue.push_back(task);
            }
        }
    }
}

/// Makes sure of each attempt that it never will start.
async fn give_up(executor: &dyn Executor, tasks: &[Task]) -> Vec<Result<Abandon, String>> {
    let mut answers = Vec::with_capacity(tasks.len());
    for task in tasks {
        let answer = match task.run() {
            Some(run) => guarded(executor.abandon(&run)).await,
            None => Err("it has no attempt".to_owned()),
        };
        answers.push(answer.and_then(|answer| answer.map_err(|err| crate::chain(&err))));
    }
    answers
}
