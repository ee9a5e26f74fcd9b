//! The watcher plugin: a say in whether a task may start or go on.

use crate::task::Task;
use crate::units::Timestamp;
use std::fmt;

/// What a watcher plugin says of a running task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    GoOn,
    /// It must end, for this reason.
    End(String),
}

/// Looks at tasks before their start and while they run. Pure: it decides, the engine acts.
pub trait WatcherPlugin: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;
    /// Whether a pending task may start now.
    fn can_start(&self, task: &Task, now: Timestamp) -> bool;
    /// Whether a running task may go on.
    fn can_run(&self, task: &Task, now: Timestamp) -> Verdict;
}
