//! The executor plugin: runs attempts of tasks on one outside system.
//!
//! An executor keeps nothing worth saving. After a restart the daemons pass every known attempt to
//! [`Executor::observe`]; there is no other way of recovery. What is not known is said as [`Seen::Unknown`] and
//! never ends a task.

use crate::BoxError;
use crate::array::ArraySpec;
use crate::ids::{ExecutorName, NodeName, RunRef, TaskId};
use crate::resources::Node;
use crate::spec::TaskSpec;
use crate::units::{Bytes, Seconds, Timestamp};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Names one attempt of one task; deterministic, so that the same attempt never makes two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The task.
    pub task: TaskId,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for AttemptKey {
    /// `<task>-<attempt>`, the tail of container names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.task, self.attempt)
    }
}

/// A host port and the container port it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortPair {
    /// Port on the host.
    pub host: u16,
    /// Port in the container.
    pub container: u16,
}

/// Everything needed to start one attempt.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Which attempt.
    pub key: AttemptKey,
    /// What to run; shared by the children of an array.
    pub spec: Arc<TaskSpec>,
    /// For a child of an array: which.
    pub child: Option<Child>,
    /// Where the scheduler placed it.
    pub node: NodeName,
    /// Ports reserved for it.
    pub ports: Vec<PortPair>,
    /// Epoch of the scheduler that decided.
    pub epoch: u64,
}

/// Place of a task in its array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The array's parent.
    pub parent: TaskId,
    /// The child's value.
    pub index: i64,
    /// The whole array.
    pub array: ArraySpec,
}

/// An attempt together with what the store remembers of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which attempt.
    pub key: AttemptKey,
    /// The executor's own reference, once it gave one.
    pub run: Option<RunRef>,
}

/// What an executor sees of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// There is surely no such run: the engine is healthy, is the same as before, and does not know it.
    Absent,
    /// Accepted but not started yet.
    Created,
    /// Its script runs.
    Running {
        /// The reference to keep.
        run: Option<RunRef>,
        /// When it started, by the executor.
        since: Timestamp,
    },
    /// Its script was started and is paused.
    Paused {
        /// The reference to keep.
        run: Option<RunRef>,
        /// When it started, by the executor.
        since: Timestamp,
    },
    /// It ended.
    Exited(Exit),
    /// Nothing can be said. Never changes a state.
    Unknown(String),
}

/// How a run ended, as the executor saw it. Nothing here comes from a file that the job can write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Why it ended.
    pub cause: Cause,
    /// Whether we had asked for the end before it came.
    pub by_request: bool,
    /// When the script started; `None` if it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// CPU time of all its processes, in microseconds; 0 when not known.
    #[serde(default)]
    pub cpu_us: u64,
    /// Largest resident size of a process; 0 when not known.
    #[serde(default)]
    pub max_rss: Bytes,
}

/// The cause of an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The script ended with this exit code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// Its time limit passed.
    TimeLimit,
    /// It needed more memory than it had asked for.
    OutOfMemory,
    /// It never ran: taken back before its start.
    NeverRan,
    /// The node or its engine lost it; how the script ended is not known.
    Lost(String),
}

impl Cause {
    /// Exit code by the shell's convention (128 + signal), `None` when there is none.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Cause::Code(code) => Some(*code),
            Cause::Signal(signal) => Some(128 + signal),
            Cause::TimeLimit | Cause::OutOfMemory => Some(137),
            Cause::NeverRan | Cause::Lost(_) => None,
        }
    }
}

/// What became of one [`Launch`].
#[derive(Debug, Clone, PartialEq)]
pub enum Started {
    /// It will start (or has started) by itself; an event or an observation will tell.
    Accepted,
    /// Its script runs.
    Running {
        /// The reference to keep.
        run: Option<RunRef>,
        /// When it started.
        since: Timestamp,
    },
}

/// Why one [`Launch`] was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Nothing was started and never will be for this task: its owner must change something.
    #[error("{0}")]
    Refused(String),
    /// Nothing was started; the same task may be accepted later.
    #[error("{0}")]
    NotNow(String),
    /// It is not known whether it started. The attempt stays claimed until an observation settles it.
    #[error("{0}")]
    Unknown(String),
}

/// Why a question to an executor got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// Try the same call again in the next pass.
    #[error("cannot reach executor {executor}")]
    Unreachable {
        /// Which executor.
        executor: ExecutorName,
        /// What its client said.
        #[source]
        source: BoxError,
    },
    /// The answer made no sense: the last known state is kept.
    #[error("executor {executor} gave an answer we cannot read: {what}")]
    Garbled {
        /// Which executor.
        executor: ExecutorName,
        /// What was wrong.
        what: String,
    },
}

/// Result of [`Executor::abandon`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandon {
    /// The latch is ours: this attempt has not run and never will.
    NeverRan,
    /// The attempt took its latch first: it ran or runs, find it.
    Ran,
}

/// A run that an executor found among its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Which attempt it claims to be.
    pub key: AttemptKey,
    /// What is seen of it.
    pub seen: Seen,
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvent {
    /// Which attempt.
    pub key: AttemptKey,
    /// What it is now.
    pub seen: Seen,
}

/// An attempt whose end is durable, so that what is left of it can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Which attempt. An array's parent comes as attempt 0 once all of its children are over.
    pub key: AttemptKey,
    /// The array's parent, for a child.
    pub parent: Option<TaskId>,
    /// Whether its job directory stays.
    pub keep_files: bool,
}

/// Runs tasks on one outside system.
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &ExecutorName;

    /// Places where tasks can run now.
    ///
    /// # Errors
    /// [`ExecError`] when the engine does not answer; the caller starts nothing there then.
    async fn nodes(&self) -> Result<Vec<Node>, ExecError>;

    /// Starts attempts; one answer each, in the same order. Safe to repeat: the same attempt never makes two runs.
    async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>>;

    /// Looks at many attempts in one question; one answer each, in the same order.
    ///
    /// # Errors
    /// [`ExecError`] when nothing at all could be asked; equal to [`Seen::Unknown`] for each.
    async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError>;

    /// Every run of this cluster that the engine knows, ended ones not yet forgotten included.
    ///
    /// # Errors
    /// [`ExecError`] when the engine does not answer.
    async fn list(&self) -> Result<Vec<Listed>, ExecError>;

    /// Asks runs to end: a polite signal, then after `grace` the hard one, for every process of the run. `Ok` says the
    /// request is under way or the run has ended; only an observation says that it is dead. Safe to repeat.
    async fn kill(&self, runs: &[Run], grace: Seconds) -> Vec<Result<(), ExecError>>;

    /// Makes sure that an attempt which was not seen to start never will, or says that it did.
    ///
    /// # Errors
    /// [`ExecError`] when this cannot be settled now.
    async fn abandon(&self, run: &Run) -> Result<Abandon, ExecError>;

    /// Removes what is left of ended attempts. Safe to repeat; nothing left is fine.
    ///
    /// # Errors
    /// [`ExecError`] when it must be tried again.
    async fn forget(&self, finished: &[Finished]) -> Result<(), ExecError>;

    /// How many launches one call of [`Executor::start`] should carry, and how many calls may be under way at once.
    fn starts(&self) -> Starts {
        Starts { batch: 256, parallel: 4 }
    }

    /// `None` when the engine cannot pause work.
    fn pausing(&self) -> Option<&dyn Pausing> {
        None
    }

    /// `None` when the time limit of a run can not be changed any more.
    fn limiting(&self) -> Option<&dyn Limiting> {
        None
    }

    /// `None` when the engine tells nothing by itself and must be asked.
    fn events(&self) -> Option<&dyn Events> {
        None
    }

    /// Words for `executor_features` of the configuration answer.
    fn features(&self) -> Vec<&'static str> {
        let mut words = vec!["kill"];
        if self.pausing().is_some() {
            words.push("pause");
        }
        words
    }
}

/// How an executor likes its starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starts {
    /// Launches in one call.
    pub batch: usize,
    /// Calls under way at once.
    pub parallel: usize,
}

/// Pauses and resumes runs.
#[async_trait]
pub trait Pausing: Send + Sync {
    /// Stops all processes of the runs without ending them; `Ok` also when they are already stopped.
    async fn pause(&self, runs: &[Run]) -> Vec<Result<(), ExecError>>;
    /// Lets them go on; `Ok` also when they do.
    async fn resume(&self, runs: &[Run]) -> Vec<Result<(), ExecError>>;
}

/// Changes time limits of runs.
#[async_trait]
pub trait Limiting: Send + Sync {
    /// The run may take this long from its start; `None` is for ever. One that has run longer is told to end at once; one
    /// that has ended is left as it is. Safe to repeat.
    ///
    /// # Errors
    /// [`ExecError`] when it must be tried again; also for a run that has not started.
    async fn set_limit(&self, run: &Run, limit: Option<Seconds>) -> Result<(), ExecError>;
}

/// Tells about starts and ends as they happen. A hint: what is missed is found by observation.
pub trait Events: Send + Sync {
    /// Begins to listen.
    fn subscribe(&self) -> Box<dyn EventStream>;
}

/// A stream of events.
#[async_trait]
pub trait EventStream: Send {
    /// The next events, at least one; `None` when the executor is gone for good. After a lost connection the stream
    /// goes on by itself. Safe to drop while waiting.
    async fn next(&mut self) -> Option<Vec<RunEvent>>;
}
