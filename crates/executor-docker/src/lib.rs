//! Runs each attempt of a task as one container of a Docker engine.
//!
//! The first process of every container is our static go-d-init, mounted read-only: it takes the attempt's latch and
//! runs the script as the user, whom the engine has set already. Nothing of the image is trusted and nothing is
//! installed in it. The engine is asked little: create and start for each attempt, one list for any number of
//! observations, one inspection for each end. It may be down at any time, also when a daemon starts; what cannot be
//! asked is never taken for an end.
//!
//! This crate never decides what becomes of a task, and keeps nothing that a restart would miss.

mod create;
mod end;
mod engine;
mod events;
mod files;
mod inner;
mod options;
mod pull;
mod start;
mod tls;
mod watch;
mod wire;

pub use options::{BadOptions, ClientIdentity, Options, Tls};

use async_trait::async_trait;
use futures::StreamExt;
use god_core::executor::{
    Abandon, EventStream, Events, ExecError, Executor, Finished, Launch, Limiting, Listed, Pausing, Run,
    Seen, StartError, Started,
};
use god_core::ids::{ExecutorName, NodeName};
use god_core::resources::{Amount, Node};
use god_core::units::{Cores, Seconds};
use inner::Inner;
use std::sync::Arc;

/// Launches of one batch that are under way at the same time. More than calls to the engine: some wait for an image.
const LAUNCHES: usize = 64;
/// Requests to end or pause that are under way at the same time.
const REQUESTS: usize = 16;

/// The executor; clones share what they learned.
#[derive(Debug, Clone)]
pub struct DockerExecutor {
    inner: Arc<Inner>,
}

impl DockerExecutor {
    /// An executor for one engine. Does not ask the engine anything.
    ///
    /// # Errors
    /// [`BadOptions`] when an option can only be a mistake.
    pub fn new(name: ExecutorName, options: Options) -> Result<DockerExecutor, BadOptions> {
        options.check()?;
        Ok(DockerExecutor { inner: Arc::new(Inner::new(name, options)) })
    }

    /// Does something to many runs, some at the same time; the answers are in order.
    async fn each<F>(
        &self,
        runs: &[Run],
        act: impl Fn(Arc<Inner>, Run) -> F + Send,
    ) -> Vec<Result<(), ExecError>>
    where
        F: Future<Output = Result<(), ExecError>> + Send,
    {
        let acts: Vec<F> = runs.iter().map(|run| act(Arc::clone(&self.inner), run.clone())).collect();
        futures::stream::iter(acts).buffered(REQUESTS).collect().await
    }
}

#[async_trait]
impl Executor for DockerExecutor {
    fn name(&self) -> &ExecutorName {
        &self.inner.name
    }

    async fn nodes(&self) -> Result<Vec<Node>, ExecError> {
        let facts = self.inner.engine.facts().await.map_err(|err| self.inner.engine.exec_error(err))?;
        let options = &self.inner.options;
        let total = Amount {
            cores: Cores(options.cores.unwrap_or(facts.cores)),
            memory: options.memory.unwrap_or(facts.memory),
            gpus: 0,
        };
        Ok(vec![Node {
            name: NodeName::new(facts.host),
            executor: self.inner.name.clone(),
            total,
            labels: options.labels.clone(),
            queue: 0,
            max_tasks: options.max_tasks,
        }])
    }

    async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>> {
        let start = |launch| {
            let inner = Arc::clone(&self.inner);
            async move { inner.start_one(&launch).await }
        };
        futures::stream::iter(launches.into_iter().map(start)).buffered(LAUNCHES).collect().await
    }

    async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
        self.inner.observe(runs).await
    }

    async fn list(&self) -> Result<Vec<Listed>, ExecError> {
        self.inner.list().await
    }

    async fn kill(&self, runs: &[Run], grace: Seconds) -> Vec<Result<(), ExecError>> {
        self.each(runs, |inner, run| async move { inner.kill_one(&run, grace).await }).await
    }

    async fn abandon(&self, run: &Run) -> Result<Abandon, ExecError> {
        self.inner.abandon(run).await
    }

    async fn forget(&self, finished: &[Finished]) -> Result<(), ExecError> {
        self.inner.forget(finished).await
    }

    fn pausing(&self) -> Option<&dyn Pausing> {
        Some(self)
    }

    fn limiting(&self) -> Option<&dyn Limiting> {
        Some(self)
    }

    fn events(&self) -> Option<&dyn Events> {
        Some(self)
    }
}

#[async_trait]
impl Pausing for DockerExecutor {
    async fn pause(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        self.each(runs, |inner, run| async move { inner.set_paused(&run, true).await }).await
    }

    async fn resume(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        self.each(runs, |inner, run| async move { inner.set_paused(&run, false).await }).await
    }
}

#[async_trait]
impl Limiting for DockerExecutor {
    async fn set_limit(&self, run: &Run, limit: Option<Seconds>) -> Result<(), ExecError> {
        self.inner.set_limit(run, limit).await
    }
}

impl Events for DockerExecutor {
    fn subscribe(&self) -> Box<dyn EventStream> {
        Box::new(events::Listener::new(Arc::clone(&self.inner)))
    }
}
