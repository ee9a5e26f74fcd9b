//! The states of a task and what may happen to it. Data lives in the state that owns it.
//!
//! [`crate::task::Task::after`] is the one function that moves a task. What a user wants ([`Wish`]), what we decided
//! ([`TaskState`]) and what an executor saw ([`crate::executor::Seen`]) are three types.

use crate::executor::{Cause, Exit, PortPair};
use crate::ids::{ExecutorName, NodeName, RunRef};
use crate::units::{Bytes, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One launch of a task: decided and durable before anything is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Number of the attempt, from 1.
    pub number: u32,
    /// The executor that runs it.
    pub executor: ExecutorName,
    /// The node it was placed on.
    pub node: NodeName,
    /// Ports reserved for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortPair>,
    /// Epoch of the scheduler that claimed it.
    pub epoch: u64,
    /// When it was claimed.
    pub claimed: Timestamp,
}

/// What is kept of the last run of a task that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The attempt.
    pub attempt: Attempt,
    /// The executor's reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
    /// When its script started; `None` if it never did.
    pub started: Option<Timestamp>,
    /// CPU time in microseconds, 0 when not known.
    #[serde(default)]
    pub cpu_us: u64,
    /// Largest resident size, 0 when not known.
    #[serde(default)]
    pub max_rss: Bytes,
}

/// Where a task is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It waits for room, or for other tasks.
    Pending {
        /// Since when.
        since: Timestamp,
        /// Whether it ran (or was claimed) before and was put back.
        #[serde(default)]
        requeued: bool,
        /// What the last try to start it said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Claimed by a scheduler; the executor may or may not have started it.
    Starting {
        /// The claim.
        attempt: Attempt,
    },
    /// Its script was seen running.
    Running {
        /// The claim.
        attempt: Attempt,
        /// The executor's reference.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunRef>,
        /// When the script started.
        since: Timestamp,
        /// Whether it is paused.
        #[serde(default)]
        paused: bool,
    },
    /// The parent of an array of which at least one child was claimed. It runs nothing itself.
    Gathering {
        /// Since when.
        since: Timestamp,
    },
    /// Taken out of scheduling because handling it failed again and again; a person must look.
    Held {
        /// What failed.
        reason: String,
        /// Since when.
        since: Timestamp,
    },
    /// It ended.
    Over {
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
        /// Its last run, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Ran>,
    },
    /// It ended and its files were removed.
    Archived {
        /// How it ended.
        outcome: Outcome,
        /// When it ended.
        at: Timestamp,
        /// Its last run, if it had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Ran>,
        /// When it was archived.
        archived: Timestamp,
    },
}

/// The states without their data, for indexes and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// [`TaskState::Pending`]
    Pending,
    /// [`TaskState::Starting`]
    Starting,
    /// [`TaskState::Running`]
    Running,
    /// [`TaskState::Gathering`]
    Gathering,
    /// [`TaskState::Held`]
    Held,
    /// [`TaskState::Over`]
    Over,
    /// [`TaskState::Archived`]
    Archived,
}

impl Phase {
    /// All phases, in the order of a life.
    pub const ALL: [Phase; 7] = [
        Phase::Pending,
        Phase::Starting,
        Phase::Running,
        Phase::Gathering,
        Phase::Held,
        Phase::Over,
        Phase::Archived,
    ];

    /// Whether nothing will ever run again.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Over | Phase::Archived)
    }

    /// Whether the task occupies room on a node.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Phase::Starting | Phase::Running)
    }

    /// A small number for a database column.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The phase of [`Phase::code`].
    #[must_use]
    pub fn from_code(code: u8) -> Option<Phase> {
        Phase::ALL.get(usize::from(code)).copied()
    }
}

impl TaskState {
    /// The state without its data.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            TaskState::Pending { .. } => Phase::Pending,
            TaskState::Starting { .. } => Phase::Starting,
            TaskState::Running { .. } => Phase::Running,
            TaskState::Gathering { .. } => Phase::Gathering,
            TaskState::Held { .. } => Phase::Held,
            TaskState::Over { .. } => Phase::Over,
            TaskState::Archived { .. } => Phase::Archived,
        }
    }

    /// The attempt that occupies room now.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        match self {
            TaskState::Starting { attempt } | TaskState::Running { attempt, .. } => Some(attempt),
            _ => None,
        }
    }

    /// How it ended, when it is over or archived.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        match self {
            TaskState::Over { outcome, .. } | TaskState::Archived { outcome, .. } => Some(outcome),
            _ => None,
        }
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The script ended with this code.
    Exited(i32),
    /// A signal that was not ours ended the script.
    Signalled(i32),
    /// Ended on request.
    Killed {
        /// Why, when it was not the user's own request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Its time limit passed.
    TimedOut,
    /// It needed more memory than it had asked for.
    OutOfMemory,
    /// Its node or engine lost it; how the script ended is not known.
    Lost(String),
    /// A quota was reached; it never ran.
    Quota(String),
    /// It can not run here; the reason says what to change.
    Refused(String),
    /// A task it waited for did not succeed.
    Skipped(String),
    /// Array parent: all children are over. Counts those that did not succeed.
    Gathered {
        /// Children that did not end with exit code 0.
        failed: u64,
    },
}

impl Outcome {
    /// The exit code by the rules of the wire format; `None` when none is known.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Outcome::Exited(code) => Some(*code),
            Outcome::Signalled(signal) => Some(128 + signal),
            Outcome::Killed { .. } | Outcome::TimedOut | Outcome::OutOfMemory => Some(137),
            Outcome::Gathered { failed } => Some(i32::from(*failed > 0)),
            Outcome::Lost(_) | Outcome::Quota(_) | Outcome::Refused(_) | Outcome::Skipped(_) => None,
        }
    }

    /// Whether a task that wants its parents to succeed may go on.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Outcome::Exited(0) | Outcome::Gathered { failed: 0 })
    }
}

impl fmt::Display for Outcome {
    /// One plain phrase for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Exited(code) => write!(f, "ended with exit code {code}"),
            Outcome::Signalled(signal) => write!(f, "ended by signal {signal}"),
            Outcome::Killed { reason: None } => f.write_str("killed"),
            Outcome::Killed { reason: Some(reason) } => write!(f, "killed: {reason}"),
            Outcome::TimedOut => f.write_str("time limit reached"),
            Outcome::OutOfMemory => f.write_str("out of memory"),
            Outcome::Lost(reason) => write!(f, "lost: {reason}"),
            Outcome::Quota(reason) | Outcome::Refused(reason) | Outcome::Skipped(reason) => {
                f.write_str(reason)
            }
            Outcome::Gathered { failed: 0 } => f.write_str("all tasks of the array succeeded"),
            Outcome::Gathered { failed } => write!(f, "{failed} tasks of the array did not succeed"),
        }
    }
}

/// What somebody asks of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// End it.
    Kill,
    /// Stop its processes for a while.
    Suspend,
    /// Let them go on.
    Resume,
    /// End the run and put the task back into the queue.
    Reschedule,
    /// Of a task that is over: remove its files and keep its record.
    Archive,
    /// Of a task that is over: remove its files and its record.
    Purge,
}

impl Ask {
    /// Whether this is asked of tasks that are over; everything else is asked of tasks that are not.
    #[must_use]
    pub fn is_of_over(self) -> bool {
        matches!(self, Ask::Archive | Ask::Purge)
    }
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WishStatus {
    /// A watcher (of a task that is over: the archiver) works on it until it is true.
    Requested,
    /// It is true.
    Done,
    /// It can not be.
    Rejected,
}

/// The last request made of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What was asked.
    pub ask: Ask,
    /// How far it has come.
    pub status: WishStatus,
    /// Grows with every request while the same attempt is live, so that an old answer is never taken for a new one's.
    /// Another attempt may begin again at 1.
    pub seq: u32,
    /// When it was asked.
    pub at: Timestamp,
    /// Why, for requests that are not the user's own, or why it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Wish {
    /// Whether a watcher or the archiver has to act for this.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == WishStatus::Requested
    }
}

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A scheduler claims it.
    Claimed(Attempt),
    /// The claimed attempt was surely not started and never will be.
    Returned {
        /// Why it could not start, if there is something to say.
        why: Option<String>,
    },
    /// The script was seen running.
    Started {
        /// The executor's reference.
        run: Option<RunRef>,
        /// When it started.
        since: Timestamp,
    },
    /// The run ended.
    Ended(Exit),
    /// It is paused now.
    Paused,
    /// It runs again.
    Resumed,
    /// The open request can not be met.
    AskRejected(String),
    /// First child of this array was claimed.
    Unfolded,
    /// All children that ever will be are over.
    Gathered {
        /// Children that did not succeed.
        failed: u64,
    },
    /// Ends without a run.
    EndedUnstarted(Outcome),
    /// Handling it failed too often.
    Poisoned(String),
    /// Its files were removed.
    Archived,
    /// Its job directory holds this many bytes.
    Measured(u64),
}

impl Event {
    /// The event's name, for messages.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Event::Claimed(_) => "claimed",
            Event::Returned { .. } => "returned",
            Event::Started { .. } => "started",
            Event::Ended(_) => "ended",
            Event::Paused => "paused",
            Event::Resumed => "resumed",
            Event::AskRejected(_) => "ask rejected",
            Event::Unfolded => "unfolded",
            Event::Gathered { .. } => "gathered",
            Event::EndedUnstarted(_) => "ended unstarted",
            Event::Poisoned(_) => "poisoned",
            Event::Archived => "archived",
            Event::Measured(_) => "measured",
        }
    }
}

/// An event that the state does not allow; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {from:?} can not be {event}")]
pub struct BadMove {
    /// The state.
    pub from: Phase,
    /// The event's name.
    pub event: &'static str,
}

/// How a run's end counts when nobody had asked for it.
pub(crate) fn outcome_of(cause: &Cause) -> Outcome {
    match cause {
        Cause::Code(code) => Outcome::Exited(*code),
        Cause::Signal(signal) => Outcome::Signalled(*signal),
        Cause::TimeLimit => Outcome::TimedOut,
        Cause::OutOfMemory => Outcome::OutOfMemory,
        Cause::NeverRan => Outcome::Killed { reason: None },
        Cause::Lost(reason) => Outcome::Lost(reason.clone()),
    }
}
