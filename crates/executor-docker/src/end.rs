//! Ending, pausing, giving up and forgetting runs.

use crate::engine::{CallError, lock};
use crate::inner::Inner;
use bollard::models::ContainerStateStatusEnum as Status;
use bollard::query_parameters::KillContainerOptions;
use futures::StreamExt;
use god_core::executor::{Abandon, AttemptKey, ExecError, Finished, Run};
use god_core::units::Seconds;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the hard signal is sent to an engine that does not answer, before the next request must do it.
const HARD_TRIES: u32 = 5;

/// Removals of containers at the same time.
const REMOVALS: usize = 8;

/// What a signal met.
enum Met {
    /// Something that ran.
    Running,
    /// A container that was not started yet.
    Unstarted,
    /// Nothing that could be ended.
    Nothing,
}

impl Inner {
    /// Asks one run to end.
    pub(crate) async fn kill_one(self: &Arc<Self>, run: &Run, grace: Seconds) -> Result<(), ExecError> {
        let key = run.key;
        if lock(&self.known).get(&key).is_some_and(|known| known.exit.is_some()) {
            return Ok(());
        }
        let Some(id) = self.container_of(run).await? else { return Ok(()) };
        // Noted before the signal: whoever sees the end must see the reason.
        let inner = Arc::clone(self);
        let first =
            self.blocking(move || inner.files.mark_kill(key)).await.map_err(|err| self.file_error(&err))?;
        let signal = if grace.0 == 0 { "SIGKILL" } else { "SIGTERM" };
        let met = self.signal(&id, signal).await.map_err(|err| self.engine.exec_error(err))?;
        if first && !matches!(met, Met::Running) {
            let inner = Arc::clone(self);
            self.blocking(move || inner.files.unmark_kill(key)).await.map_err(|err| self.file_error(&err))?;
        }
        match met {
            Met::Nothing => Ok(()),
            Met::Unstarted => self.abandon(run).await.map(|_| ()),
            Met::Running => {
                if grace.0 > 0 {
                    self.be_hard_after(key, id, grace);
                }
                Ok(())
            }
        }
    }

    /// Sends a signal to the first process of a container.
    async fn signal(&self, id: &str, signal: &str) -> Result<Met, CallError> {
        let (container, options) = (id.to_owned(), KillContainerOptions { signal: signal.to_owned() });
        let sent = self
            .engine
            .call(|docker| async move { docker.kill_container(&container, Some(options)).await })
            .await;
        match sent {
            Ok(()) => Ok(Met::Running),
            Err(err) if err.status() == Some(404) => Ok(Met::Nothing),
            Err(err @ CallError::Said { .. }) => match self.engine.inspect(id).await? {
                None => Ok(Met::Nothing),
                Some(found) => match found.status {
                    Status::CREATED => Ok(Met::Unstarted),
                    Status::EXITED | Status::DEAD | Status::REMOVING => Ok(Met::Nothing),
                    _ => Err(err),
                },
            },
            Err(err) => Err(err),
        }
    }

    /// Sends the hard signal when the grace is over. Several requests make one signal, at the earliest moment.
    fn be_hard_after(self: &Arc<Self>, key: AttemptKey, id: String, grace: Seconds) {
        let due = Instant::now() + Duration::from_secs(grace.0);
        {
            let mut deadlines = lock(&self.deadlines);
            if deadlines.get(&key).is_some_and(|earlier| *earlier <= due) {
                return;
            }
            deadlines.insert(key, due);
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            if lock(&inner.deadlines).get(&key) != Some(&due) {
                return;
            }
            for attempt in 1..=HARD_TRIES {
                match inner.signal(&id, "SIGKILL").await {
                    Ok(_) => break,
                    Err(err) => {
                        tracing::warn!(run = %id, attempt, err = %err.chain(), "hard signal could not be sent");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
            let mut deadlines = lock(&inner.deadlines);
            if deadlines.get(&key) == Some(&due) {
                deadlines.remove(&key);
            }
        });
    }

    async fn unpause(&self, id: &str) -> Result<(), CallError> {
        let container = id.to_owned();
        let done = self.engine.call(|docker| async move { docker.unpause_container(&container).await }).await;
        self.unless_state(id, done, |status| status != Status::PAUSED).await
    }

    async fn pause(&self, id: &str) -> Result<(), CallError> {
        let container = id.to_owned();
        let done = self.engine.call(|docker| async move { docker.pause_container(&container).await }).await;
        self.unless_state(id, done, |status| status != Status::RUNNING).await
    }

    /// An engine's refusal is fine when the container is in a state that needs no change.
    async fn unless_state(
        &self,
        id: &str,
        done: Result<(), CallError>,
        fine: impl Fn(Status) -> bool,
    ) -> Result<(), CallError> {
        match done {
            Err(err @ CallError::Said { .. }) => match self.engine.inspect(id).await? {
                Some(found) if !fine(found.status) => Err(err),
                _ => Ok(()),
            },
            done => done,
        }
    }

    /// Changes the time limit of one run.
    pub(crate) async fn set_limit(
        self: &Arc<Self>,
        run: &Run,
        limit: Option<Seconds>,
    ) -> Result<(), ExecError> {
        let Some(id) = self.container_of(run).await? else { return Ok(()) };
        let (inner, key) = (Arc::clone(self), run.key);
        let written = self.blocking(move || inner.files.write_limit(key, limit)).await;
        written.map_err(|err| self.file_error(&err))?;
        self.signal(&id, "SIGPWR").await.map(drop).map_err(|err| self.engine.exec_error(err))
    }

    /// Pauses one run, or lets it go on.
    pub(crate) async fn set_paused(&self, run: &Run, paused: bool) -> Result<(), ExecError> {
        let Some(id) = self.container_of(run).await? else { return Ok(()) };
        let done = if paused { self.pause(&id).await } else { self.unpause(&id).await };
        done.map_err(|err| self.engine.exec_error(err))
    }

    /// Takes the latch of an attempt, and removes the container that was to run it.
    pub(crate) async fn abandon(self: &Arc<Self>, run: &Run) -> Result<Abandon, ExecError> {
        let (inner, key) = (Arc::clone(self), run.key);
        let verdict =
            self.blocking(move || inner.files.abandon(key)).await.map_err(|err| self.file_error(&err))?;
        if verdict == Abandon::NeverRan
            && let Some(found) = self.engine.find(key).await.map_err(|err| self.engine.exec_error(err))?
        {
            self.remove(&found.id).await.map_err(|err| self.engine.exec_error(err))?;
            lock(&self.known).remove(&key);
        }
        Ok(verdict)
    }

    /// Removes what is left of ended attempts; the first fault is told after all have been tried.
    pub(crate) async fn forget(self: &Arc<Self>, finished: &[Finished]) -> Result<(), ExecError> {
        let each: Vec<_> = finished
            .iter()
            .map(|over| {
                let (inner, over) = (Arc::clone(self), over.clone());
                async move { inner.forget_one(over).await }
            })
            .collect();
        let results: Vec<_> = futures::stream::iter(each).buffer_unordered(REMOVALS).collect().await;
        results.into_iter().collect()
    }

    async fn forget_one(self: &Arc<Self>, over: Finished) -> Result<(), ExecError> {
        let key = over.key;
        if key.attempt > 0 {
            // Closed first, so that a start that comes between finds the attempt closed or its directory gone.
            let inner = Arc::clone(self);
            self.blocking(move || inner.files.close(key)).await.map_err(|err| self.file_error(&err))?;
            if let Some(id) = self.container_of(&Run { key, run: None }).await? {
                self.remove(&id).await.map_err(|err| self.engine.exec_error(err))?;
            }
            lock(&self.known).remove(&key);
        }
        let inner = Arc::clone(self);
        self.blocking(move || inner.files.forget(&over)).await.map_err(|err| self.file_error(&err))
    }
}
