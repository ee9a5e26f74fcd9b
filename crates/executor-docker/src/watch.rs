//! Looking at runs: one list for all of them, and one inspection for each that has ended, once.
//!
//! That a run is absent is said only when the engine is the one its runs are on and answers completely. Everything
//! less is [`Seen::Unknown`] or an error.

use crate::engine::{CallError, lock};
use crate::inner::Inner;
use crate::wire;
use bollard::models::{ContainerStateStatusEnum, ContainerSummary, ContainerSummaryStateEnum as State};
use futures::StreamExt;
use god_core::executor::{AttemptKey, ExecError, Listed, Run, Seen};
use god_core::ids::RunRef;
use god_core::units::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Inspections at the same time.
const LOOKS: usize = 8;

impl Inner {
    /// All runs of ours, ended ones included, that are in `wanted`; all of them when that is `None`.
    async fn look(
        self: &Arc<Self>,
        wanted: Option<&HashSet<AttemptKey>>,
    ) -> Result<HashMap<AttemptKey, Seen>, CallError> {
        let list = self.engine.containers().await?;
        let ours: Vec<_> = list
            .into_iter()
            .filter_map(|found| wire::listed(&found, &self.options.cluster).map(|(key, id)| (key, id, found)))
            .collect();
        let there: HashSet<AttemptKey> = ours.iter().map(|(key, ..)| *key).collect();
        lock(&self.known).retain(|key, _| there.contains(key));
        let wanted = ours.into_iter().filter(|(key, ..)| wanted.is_none_or(|wanted| wanted.contains(key)));
        let looks = wanted.map(|(key, id, found)| async move { (key, self.seen(key, id, &found).await) });
        Ok(futures::stream::iter(looks).buffer_unordered(LOOKS).collect().await)
    }

    async fn seen(self: &Arc<Self>, key: AttemptKey, id: String, found: &ContainerSummary) -> Seen {
        match found.state {
            Some(State::CREATED) => Seen::Created,
            Some(state @ (State::RUNNING | State::PAUSED)) => {
                // Listed in whole seconds, and near enough to the start: both are made in one breath.
                let created = Timestamp(found.created.unwrap_or_default().saturating_mul(1000));
                let mut known = lock(&self.known);
                let known = known.entry(key).or_default();
                known.started(&id, created);
                let (run, since) = (Some(RunRef::new(id)), known.since.unwrap_or(created));
                if state == State::PAUSED {
                    Seen::Paused { run, since }
                } else {
                    Seen::Running { run, since }
                }
            }
            Some(State::EXITED | State::DEAD) => self.ended(key, id).await,
            other => Seen::Unknown(format!("the engine says {}", other.unwrap_or(State::EMPTY))),
        }
    }

    /// How a run ended. Asked once: an end does not change.
    pub(crate) async fn ended(self: &Arc<Self>, key: AttemptKey, id: String) -> Seen {
        if let Some(exit) =
            lock(&self.known).get(&key).filter(|known| known.id == id).and_then(|k| k.exit.clone())
        {
            return Seen::Exited(exit);
        }
        let state = match self.engine.inspect(&id).await {
            Ok(Some(state)) => state,
            Ok(None) => return Seen::Unknown("it was removed while we looked".to_owned()),
            Err(err) => return Seen::Unknown(err.chain()),
        };
        if !matches!(state.status, ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) {
            return Seen::Unknown(format!("the engine says both ended and {}", state.status));
        }
        let inner = Arc::clone(self);
        let hints = match self.blocking(move || inner.files.hints(key)).await {
            Ok(hints) => hints,
            Err(err) => return Seen::Unknown(crate::start::chain(&err)),
        };
        let Some(exit) = wire::exit(&state, &hints) else {
            return Seen::Unknown("the engine does not say when it ended".to_owned());
        };
        let mut known = lock(&self.known);
        let known = known.entry(key).or_default();
        known.started(&id, state.started.unwrap_or(exit.ended));
        known.exit = Some(exit.clone());
        Seen::Exited(exit)
    }

    /// One answer for each run, in order.
    pub(crate) async fn observe(self: &Arc<Self>, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: HashSet<AttemptKey> = runs.iter().map(|run| run.key).collect();
        let seen = self.look(Some(&wanted)).await.map_err(|err| self.engine.exec_error(err))?;
        let complete = if wanted.iter().all(|key| seen.contains_key(key)) {
            Ok(())
        } else {
            // Asked after the list: the engine that gave it must be the one that our runs are on.
            self.engine.fresh_facts().await.map(|_| ())
        };
        let absent = match complete {
            Ok(()) => Seen::Absent,
            Err(err) => Seen::Unknown(err.chain()),
        };
        Ok(runs.iter().map(|run| seen.get(&run.key).unwrap_or(&absent).clone()).collect())
    }

    /// Every run of ours.
    pub(crate) async fn list(self: &Arc<Self>) -> Result<Vec<Listed>, ExecError> {
        let seen = self.look(None).await.map_err(|err| self.engine.exec_error(err))?;
        Ok(seen.into_iter().map(|(key, seen)| Listed { key, seen }).collect())
    }
}
