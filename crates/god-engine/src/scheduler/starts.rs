//! Handing claimed tasks to their executors, and what their answers mean.
//!
//! A claim is durable before its executor hears of it. An answer that is lost, or a call that never returns, leaves the
//! task starting; it is started again after a while, which is safe because the same attempt never makes two runs.

use super::{Inflight, Scheduler, StartDone, State};
use crate::moves;
use god_core::executor::{StartError, Started};
use god_core::ids::TaskId;
use god_core::state::{Event, Outcome, Phase, TaskState};
use god_core::store::StoreError;
use god_core::task::Task;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

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
            let busy = inflight.per_executor.entry(*ix).or_default();
            while *busy < starts.parallel && !queue.is_empty() {
                let tasks: Vec<Task> = queue.drain(..queue.len().min(starts.batch.max(1))).collect();
                let launches = tasks.iter().filter_map(Task::launch).collect();
                let executor = Arc::clone(executor);
                let ix = *ix;
                *busy += 1;
                inflight.calls.push(Box::pin(async move {
                    let answers = executor.start(launches).await;
                    StartDone { executor: ix, tasks, answers }
                }));
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
            for (task, answer) in done.tasks.into_iter().zip(done.answers) {
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
                            self.explain(s, ix, Some(why.clone()));
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
