//! Runs each attempt of a task as plain processes of this host, under the user's own ids.
//!
//! Nothing is started from here: a daemon that holds a large queue must not fork, and a job must survive every daemon.
//! The keeper (`go-d-init --serve`), one small process for each host, starts, watches and ends the jobs; daemons come
//! and go as its clients. It is started when it is needed and leaves when it is not. Jobs wait in the keeper when the
//! scheduler grants more than fits, so that one starts in the moment another ends.
//!
//! This crate keeps nothing that a restart would miss, and never takes silence for an end.

mod client;
mod events;
mod files;
mod options;
mod wire;

pub use options::{BadOptions, Cgroups, Options};

use async_trait::async_trait;
use client::{CallError, Client};
use files::Files;
use god_core::executor::{
    Abandon, EventStream, Events, ExecError, Executor, Finished, Launch, Limiting, Listed, Pausing, Run,
    Seen, StartError, Started,
};
use god_core::ids::{ExecutorName, NodeName};
use god_core::resources::{Amount, Node};
use god_core::units::{Bytes, Cores, Seconds};
use god_runtime::keeper::{Op, Outcome, Pong, Reply};
use god_runtime::latch::{Latch, Taken, Verdict};
use god_runtime::launch::Key;
use std::collections::HashMap;
use std::sync::Arc;

/// The executor; clones share one connection.
#[derive(Debug, Clone)]
pub struct LocalExecutor {
    name: ExecutorName,
    node: NodeName,
    options: Arc<Options>,
    files: Arc<Files>,
    client: Client,
}

impl LocalExecutor {
    /// An executor for this host. Starts nothing yet.
    ///
    /// # Errors
    /// [`BadOptions`] when an option can only be a mistake.
    pub fn new(name: ExecutorName, options: Options) -> Result<LocalExecutor, BadOptions> {
        options.check()?;
        let options = Arc::new(options);
        Ok(LocalExecutor {
            name,
            node: NodeName::new(options::host_name()),
            files: Arc::new(Files::new(&options.shared_dir)),
            client: Client::new(Arc::clone(&options)),
            options,
        })
    }

    /// Asks the keeper who it is; starts it when there is none.
    ///
    /// # Errors
    /// [`ExecError`] when it cannot be started or does not answer.
    pub async fn keeper(&self) -> Result<Pong, ExecError> {
        match self.call(Op::Ping).await? {
            Reply::Pong(pong) => Ok(pong),
            other => Err(self.garbled(&other)),
        }
    }

    async fn call(&self, op: Op) -> Result<Reply, ExecError> {
        match self.client.call(op).await {
            Ok(Reply::Bad { reason }) => {
                Err(ExecError::Garbled { executor: self.name.clone(), what: reason })
            }
            Ok(reply) => Ok(reply),
            Err(err) => Err(ExecError::Unreachable { executor: self.name.clone(), source: Box::new(err) }),
        }
    }

    fn garbled(&self, reply: &Reply) -> ExecError {
        let what = format!("an answer of another kind than asked for: {reply:?}");
        ExecError::Garbled { executor: self.name.clone(), what: what.chars().take(200).collect() }
    }

    /// Carries out an operation on runs; one answer each, in the same order.
    async fn each(&self, runs: &[Run], op: impl FnOnce(Vec<Key>) -> Op) -> Vec<Result<(), ExecError>> {
        if runs.is_empty() {
            return Vec::new();
        }
        let done = match self.call(op(runs.iter().map(|run| wire::key(run.key)).collect())).await {
            Ok(Reply::Done(done)) if done.len() == runs.len() => done,
            other => {
                let again = || match &other {
                    Ok(reply) => self.garbled(reply),
                    Err(err) => self.repeated(err),
                };
                return runs.iter().map(|_| Err(again())).collect();
            }
        };
        let answer = |outcome| match outcome {
            Outcome::Done
            | Outcome::NeverRan
            | Outcome::AlreadyEnded
            | Outcome::AlreadyRan
            | Outcome::Absent => Ok(()),
            Outcome::Failed { reason } => {
                Err(ExecError::Garbled { executor: self.name.clone(), what: reason })
            }
        };
        done.into_iter().map(|(_, outcome)| answer(outcome)).collect()
    }

    /// The same error for each of several runs.
    fn repeated(&self, err: &ExecError) -> ExecError {
        match err {
            ExecError::Unreachable { source, .. } => {
                ExecError::Unreachable { executor: self.name.clone(), source: source.to_string().into() }
            }
            ExecError::Garbled { what, .. } => {
                ExecError::Garbled { executor: self.name.clone(), what: what.clone() }
            }
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }

    /// Closes an attempt without a keeper. The latch is the same file, so the keeper that may come later obeys.
    async fn abandon_alone(&self, key: Key) -> Result<Abandon, ExecError> {
        let dir = self.options.keeper_dir.clone();
        let taken = self
            .blocking(move || {
                std::fs::create_dir_all(&dir).ok();
                Latch::open(&dir)?.take(key, Verdict::Abandoned)
            })
            .await;
        match taken {
            Ok(Taken::Won) => Ok(Abandon::NeverRan),
            Ok(Taken::Lost { attempt, verdict: Verdict::Abandoned }) if attempt == key.attempt => {
                Ok(Abandon::NeverRan)
            }
            Ok(Taken::Lost { .. }) => Ok(Abandon::Ran),
            Err(err) => Err(ExecError::Unreachable { executor: self.name.clone(), source: Box::new(err) }),
        }
    }
}

#[async_trait]
impl Executor for LocalExecutor {
    fn name(&self) -> &ExecutorName {
        &self.name
    }

    async fn nodes(&self) -> Result<Vec<Node>, ExecError> {
        let pong = self.keeper().await?;
        Ok(vec![Node {
            name: self.node.clone(),
            executor: self.name.clone(),
            total: Amount { cores: Cores(pong.cores), memory: Bytes(pong.memory), gpus: 0 },
            labels: self.options.labels.clone(),
            queue: self.options.queue,
            max_tasks: None,
        }])
    }

    async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>> {
        if launches.is_empty() {
            return Vec::new();
        }
        let (files, options) = (Arc::clone(&self.files), Arc::clone(&self.options));
        let batch = self.blocking(move || files.prepare(&launches, &options)).await;
        let mut answers = batch.answers;
        if batch.launches.is_empty() {
            return answers.into_iter().map(wire::settled).collect();
        }
        let places = batch.places;
        let reply =
            self.client.call(Op::Start { templates: batch.templates, launches: batch.launches }).await;
        let results = match reply {
            Ok(Reply::Started(results)) if results.len() == places.len() => {
                results.into_iter().map(|(_, result)| wire::started(result)).collect()
            }
            other => {
                let err = match other {
                    Err(err @ CallError::NotSent(_)) => StartError::NotNow(client::chain(&err)),
                    Err(err) => StartError::Unknown(client::chain(&err)),
                    Ok(Reply::Bad { reason }) => StartError::NotNow(reason),
                    Ok(reply) => StartError::Unknown(client::chain(&self.garbled(&reply))),
                };
                vec![Err(err); places.len()]
            }
        };
        for (place, result) in places.into_iter().zip(results) {
            answers[place] = Some(result);
        }
        answers.into_iter().map(wire::settled).collect()
    }

    async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        match self.call(Op::Observe { keys: runs.iter().map(|run| wire::key(run.key)).collect() }).await? {
            Reply::Seen(seen) if seen.len() == runs.len() => {
                let now = events::now();
                Ok(seen.into_iter().map(|(_, seen)| wire::seen(seen, now)).collect())
            }
            other => Err(self.garbled(&other)),
        }
    }

    async fn list(&self) -> Result<Vec<Listed>, ExecError> {
        match self.call(Op::ObserveAll).await? {
            Reply::Seen(seen) => {
                let now = events::now();
                let listed = |(key, seen)| Listed { key: wire::attempt(key), seen: wire::seen(seen, now) };
                Ok(seen.into_iter().map(listed).collect())
            }
            other => Err(self.garbled(&other)),
        }
    }

    async fn kill(&self, runs: &[Run], grace: Seconds) -> Vec<Result<(), ExecError>> {
        self.each(runs, |keys| Op::Kill { keys, grace_seconds: grace.0 }).await
    }

    async fn abandon(&self, run: &Run) -> Result<Abandon, ExecError> {
        let key = wire::key(run.key);
        let done = match self.client.call(Op::Abandon { keys: vec![key] }).await {
            Ok(Reply::Done(done)) => done,
            Err(CallError::NotSent(_)) => return self.abandon_alone(key).await,
            Err(err) => {
                return Err(ExecError::Unreachable { executor: self.name.clone(), source: Box::new(err) });
            }
            Ok(other) => return Err(self.garbled(&other)),
        };
        match done.into_iter().next() {
            Some((_, Outcome::NeverRan)) => Ok(Abandon::NeverRan),
            Some((_, Outcome::AlreadyRan)) => Ok(Abandon::Ran),
            Some((_, Outcome::Failed { reason })) => {
                Err(ExecError::Garbled { executor: self.name.clone(), what: reason })
            }
            other => Err(self.garbled(&Reply::Done(other.into_iter().collect()))),
        }
    }

    async fn forget(&self, finished: &[Finished]) -> Result<(), ExecError> {
        // The parent of an array was never an attempt; only its files are here.
        let keys: Vec<Key> =
            finished.iter().filter(|over| over.key.attempt > 0).map(|over| wire::key(over.key)).collect();
        if !keys.is_empty() {
            let done: HashMap<Key, Outcome> = match self.call(Op::Forget { keys }).await? {
                Reply::Done(done) => done.into_iter().collect(),
                other => return Err(self.garbled(&other)),
            };
            if let Some((key, Outcome::Failed { reason })) =
                done.iter().find(|(_, outcome)| matches!(outcome, Outcome::Failed { .. }))
            {
                let what = format!("attempt {key} cannot be forgotten: {reason}");
                return Err(ExecError::Garbled { executor: self.name.clone(), what });
            }
            // Never seen here: closed all the same, so that no late start finds it open.
            let unseen: Vec<Key> = done
                .into_iter()
                .filter(|(_, outcome)| *outcome == Outcome::Absent)
                .map(|(key, _)| key)
                .collect();
            if !unseen.is_empty() {
                self.call(Op::Abandon { keys: unseen }).await?;
            }
        }
        let (files, finished) = (Arc::clone(&self.files), finished.to_vec());
        self.blocking(move || files.remove(&finished))
            .await
            .map_err(|err| ExecError::Unreachable { executor: self.name.clone(), source: Box::new(err) })
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
impl Pausing for LocalExecutor {
    async fn pause(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        self.each(runs, |keys| Op::Pause { keys }).await
    }

    async fn resume(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        self.each(runs, |keys| Op::Resume { keys }).await
    }
}

#[async_trait]
impl Limiting for LocalExecutor {
    async fn set_limit(&self, run: &Run, limit: Option<Seconds>) -> Result<(), ExecError> {
        let seconds = limit.map(|limit| limit.0);
        let done = self.each(std::slice::from_ref(run), |keys| Op::Limit { keys, seconds }).await;
        done.into_iter().collect()
    }
}

impl Events for LocalExecutor {
    fn subscribe(&self) -> Box<dyn EventStream> {
        Box::new(events::Listener::new(self.client.clone()))
    }
}
