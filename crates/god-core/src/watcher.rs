//! The watcher plugin: a say in whether a task may start or go on.
//!
//! A plugin decides and the engine acts: a start is put off with a reason, a run is asked to end with a reason. What a
//! plugin is shown of time is measured by the engine on a clock that never jumps.

use crate::task::Task;
use crate::units::Seconds;
use std::fmt;

/// What a watcher plugin says of a running task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    GoOn,
    /// It must end, for this reason.
    End(String),
}

/// Looks at tasks before their start and while they run. Pure and quick: it is called inside the loops.
pub trait WatcherPlugin: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;

    /// Whether a pending task may start now.
    ///
    /// # Errors
    /// Why not, as one sentence for its owner. It stays pending and is asked about again.
    fn can_start(&self, _task: &Task) -> Result<(), String> {
        Ok(())
    }

    /// Whether a running task may go on. `elapsed` is how long its script has run, pauses included.
    fn can_run(&self, _task: &Task, _elapsed: Seconds) -> Verdict {
        Verdict::GoOn
    }
}
