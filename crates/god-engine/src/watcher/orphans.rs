//! Runs of ours that no document claims: leftovers of ended attempts are removed, strangers are killed.

use super::*;
use crate::inflight::guarded;
use god_core::executor::{AttemptKey, Run};
use god_core::units::Seconds;
use std::sync::Arc;

/// Most strangers ended in one pass without a person's consent, unless a tenth of all runs is more.
const BRAKE: usize = 5;

impl Watcher<'_> {
    /// Judges the runs that an executor listed.
    pub(super) async fn judge_strangers(
        &self,
        s: &mut State,
        executor: usize,
        runs: Vec<RunEvent>,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let total = runs.len();
        let doubtful: Vec<RunEvent> = runs
            .into_iter()
            .filter(|r| self.is_mine(s, r.key.task))
            .filter(|r| {
                let known = s.live.get(&r.key.task).and_then(|w| w.task.state.attempt());
                known.is_none_or(|a| a.number != r.key.attempt)
            })
            .collect();
        let keys: BTreeSet<AttemptKey> = doubtful.iter().map(|r| r.key).collect();
        s.strangers.retain(|(ix, key), _| *ix != executor || keys.contains(key));
        let ids: Vec<TaskId> = doubtful.iter().map(|r| r.key.task).collect();
        let docs = inflight.drive(self.world.store.get(&ids)).await?;
        let mut done = Vec::new();
        let mut kill = Vec::new();
        for (run, doc) in doubtful.into_iter().zip(docs) {
            let live = doc.as_ref().and_then(|t| t.state.attempt()).map(|a| a.number);
            if live == Some(run.key.attempt) {
                // Claimed since: not a stranger.
                if let Some(task) = doc {
                    sight::watch(s, task);
                }
                continue;
            }
            // An attempt that the store does not know yet can not exist: claims are durable before any start. But a
            // store that was restored from a backup may be older than the world, so nothing is ended in haste.
            let since = *s.strangers.entry((executor, run.key)).or_insert(mono);
            let item = match &doc {
                Some(task) => finished(task, run.key.attempt),
                None => Finished { key: run.key, parent: None, keep_files: true },
            };
            match run.seen {
                Seen::Exited(_) | Seen::Absent => done.push(item),
                Seen::Created | Seen::Running { .. } | Seen::Paused { .. } => {
                    let over = doc.as_ref().is_some_and(|t| live.is_none() || t.attempts > run.key.attempt);
                    if over || mono.saturating_sub(since) >= self.world.settings.orphan_grace {
                        kill.push(Run { key: run.key, run: None });
                    }
                }
                Seen::Unknown(_) => {}
            }
        }
        if !done.is_empty() {
            s.finished.entry(executor).or_default().extend(done);
        }
        if kill.len() > BRAKE.max(total / 10) {
            tracing::error!(
                executor = %self.world.executors[executor].name(),
                runs = kill.len(),
                "far more unknown runs than a fault explains, only some are ended in one pass"
            );
            kill.truncate(BRAKE);
        }
        if !kill.is_empty() {
            warn!(executor = %self.world.executors[executor].name(), runs = kill.len(), "runs that no task claims are ended");
            let plugin = Arc::clone(&self.world.executors[executor]);
            inflight.begin(async move {
                let error = match guarded(plugin.kill(&kill, Seconds(0))).await {
                    Ok(answers) => {
                        answers.into_iter().find_map(Result::err).map(|e: ExecError| crate::chain(&e))
                    }
                    Err(why) => Some(why),
                };
                Done::Forgot { executor, items: Vec::new(), error }
            });
        }
        Ok(())
    }
}
