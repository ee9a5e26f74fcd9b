//! An executor that runs nothing. It obeys the task: how long a run lasts, how it ends and what goes wrong is written
//! in the script as `#FAKE` lines (see [`script`]). For dry runs, demonstrations and tests.
//!
//! Everything is kept in memory and ends with the process: all daemons that are to see the same runs must live in one
//! process and share one [`FakeExecutor`] (clones share their runs). It starts no task and no thread; time is looked
//! at whenever somebody asks or waits for events, so 100,000 runs cost nothing while they last.

mod book;
pub mod script;

use async_trait::async_trait;
use book::Book;
use god_core::executor::{
    Abandon, EventStream, Events, ExecError, Executor, Finished, Launch, Limiting, Listed, Pausing, Run,
    RunEvent, Seen, StartError, Started,
};
use god_core::ids::{ExecutorName, NodeName};
use god_core::resources::{Amount, Node};
use god_core::units::{Bytes, Cores, Seconds, Timestamp};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::SystemTime;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the executor pretends to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Number of nodes, at least 1; they are called `<executor>-1`, `<executor>-2`, …
    pub nodes: u32,
    /// What each node has.
    pub each: Amount,
    /// Labels `name==value` of every node.
    pub labels: Vec<String>,
    /// How many tasks each node accepts at the same time; `None` is as many as fit.
    pub max_tasks: Option<u32>,
    /// How many tasks each node holds beyond its room, and starts by itself when room appears.
    pub queue: u32,
}

impl Default for Options {
    /// One node with 8 cores, 64 GiB and 2 GPUs.
    fn default() -> Options {
        Options {
            nodes: 1,
            each: Amount { cores: Cores(8), memory: Bytes(64 << 30), gpus: 2 },
            labels: Vec::new(),
            max_tasks: None,
            queue: 0,
        }
    }
}

/// The executor; clones share their runs.
#[derive(Debug, Clone)]
pub struct FakeExecutor {
    name: ExecutorName,
    options: Options,
    shared: Arc<Shared>,
}

/// The book and its readers.
#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    /// Wall clock and run time's clock of the same moment: the one is shown, the other is waited for.
    begun: (Timestamp, Instant),
    streams: Mutex<Vec<Weak<Inbox>>>,
}

/// The events that one stream has not yet taken.
#[derive(Debug, Default)]
struct Inbox {
    events: Mutex<VecDeque<RunEvent>>,
    bell: Notify,
}

impl FakeExecutor {
    /// An executor with no runs.
    #[must_use]
    pub fn new(name: ExecutorName, options: Options) -> FakeExecutor {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        let book =
            Book::new(node_names(&name, options.nodes), options.each, options.max_tasks, options.queue);
        let shared = Arc::new(Shared {
            book: Mutex::new(book),
            begun: (now, Instant::now()),
            streams: Mutex::default(),
        });
        FakeExecutor { name, options, shared }
    }
}

fn node_names(name: &ExecutorName, nodes: u32) -> Vec<NodeName> {
    (1..=nodes.max(1)).map(|number| NodeName::new(format!("{name}-{number}"))).collect()
}

/// A poisoned lock is taken as it is: the book is changed in steps that cannot panic half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Shared {
    fn now(&self) -> Timestamp {
        let (wall, begun) = self.begun;
        Timestamp(wall.0.saturating_add(i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX)))
    }

    /// Brings the book up to date, does something with it, and tells the streams what has happened.
    fn with<T>(&self, act: impl FnOnce(&mut Book, Timestamp) -> T) -> T {
        let mut book = lock(&self.book);
        let now = self.now();
        book.advance(now);
        let due = book.next_due();
        let result = act(&mut book, now);
        // What was set in motion just now may be over just now.
        book.advance(now);
        let news = book.take_news();
        if news.is_empty() && book.next_due() == due {
            return result;
        }
        // The book stays locked: events of two calls must not change places.
        lock(&self.streams).retain(|stream| {
            let Some(inbox) = stream.upgrade() else { return false };
            lock(&inbox.events).extend(news.iter().cloned());
            inbox.bell.notify_one();
            true
        });
        result
    }
}

#[async_trait]
impl Executor for FakeExecutor {
    fn name(&self) -> &ExecutorName {
        &self.name
    }

    async fn nodes(&self) -> Result<Vec<Node>, ExecError> {
        let node = |name| Node {
            name,
            executor: self.name.clone(),
            total: self.options.each,
            labels: self.options.labels.clone(),
            queue: self.options.queue,
            max_tasks: self.options.max_tasks,
        };
        Ok(node_names(&self.name, self.options.nodes).into_iter().map(node).collect())
    }

    async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>> {
        self.shared.with(|book, now| launches.iter().map(|launch| book.start(launch, now)).collect())
    }

    async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
        Ok(self.shared.with(|book, _| runs.iter().map(|run| book.seen(run.key)).collect()))
    }

    async fn list(&self) -> Result<Vec<Listed>, ExecError> {
        Ok(self.shared.with(|book, _| book.list()))
    }

    async fn kill(&self, runs: &[Run], grace: Seconds) -> Vec<Result<(), ExecError>> {
        self.shared.with(|book, now| runs.iter().for_each(|run| book.kill(run.key, grace, now)));
        runs.iter().map(|_| Ok(())).collect()
    }

    async fn abandon(&self, run: &Run) -> Result<Abandon, ExecError> {
        Ok(self.shared.with(|book, now| book.abandon(run.key, now)))
    }

    async fn forget(&self, finished: &[Finished]) -> Result<(), ExecError> {
        self.shared.with(|book, now| finished.iter().for_each(|over| book.forget(over.key, now)));
        Ok(())
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

    fn features(&self) -> Vec<&'static str> {
        vec!["kill", "pause", "interactive"]
    }
}

#[async_trait]
impl Pausing for FakeExecutor {
    async fn pause(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        self.shared.with(|book, now| runs.iter().for_each(|run| book.pause(run.key, now)));
        runs.iter().map(|_| Ok(())).collect()
    }

    async fn resume(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        self.shared.with(|book, now| runs.iter().for_each(|run| book.resume(run.key, now)));
        runs.iter().map(|_| Ok(())).collect()
    }
}

#[async_trait]
impl Limiting for FakeExecutor {
    async fn set_limit(&self, run: &Run, limit: Option<Seconds>) -> Result<(), ExecError> {
        let limit_ms = limit.map(|limit| limit.0.saturating_mul(1000));
        if self.shared.with(|book, _| book.set_limit(run.key, limit_ms)) {
            return Ok(());
        }
        Err(ExecError::Unreachable {
            executor: self.name().clone(),
            source: "the run has not started".into(),
        })
    }
}

impl Events for FakeExecutor {
    fn subscribe(&self) -> Box<dyn EventStream> {
        let inbox = Arc::new(Inbox::default());
        lock(&self.shared.streams).push(Arc::downgrade(&inbox));
        Box::new(Stream { inbox, shared: Arc::downgrade(&self.shared) })
    }
}

/// One listener. It ends when the last clone of its executor is gone.
#[derive(Debug)]
struct Stream {
    inbox: Arc<Inbox>,
    shared: Weak<Shared>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        for inbox in lock(&self.streams).iter().filter_map(Weak::upgrade) {
            inbox.bell.notify_one();
        }
    }
}

#[async_trait]
impl EventStream for Stream {
    async fn next(&mut self) -> Option<Vec<RunEvent>> {
        loop {
            // The executor is not kept alive while this waits.
            let due = {
                let shared = self.shared.upgrade()?;
                let due = shared.with(|book, _| book.next_due());
                let (wall, begun) = shared.begun;
                due.map(|due| begun + std::time::Duration::from_millis(due.millis_since(wall)))
            };
            let events: Vec<RunEvent> = lock(&self.inbox.events).drain(..).collect();
            if !events.is_empty() {
                return Some(events);
            }
            match due {
                Some(due) => tokio::select! {
                    () = self.inbox.bell.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => self.inbox.bell.notified().await,
            }
        }
    }
}
