//! The directories of tasks, for whoever removes and measures them.

use crate::BoxError;
use crate::task::Task;
use async_trait::async_trait;
use std::fmt;

/// What lies on the shared file system for tasks that are over.
#[async_trait]
pub trait JobFiles: fmt::Debug + Send + Sync {
    /// Removes everything that was made for these tasks: job directories (an array's parent's with all that is in it),
    /// scripts, what attempts left. Fine when it is gone already, so it may be repeated after any interruption.
    ///
    /// # Errors
    /// The first that could not be removed, in words; the ones before it are gone.
    async fn remove(&self, tasks: &[Task]) -> Result<(), BoxError>;

    /// Bytes in a task's job directory, 0 when there is none. The look is bounded: of a directory with very many
    /// entries it is the size of those that were seen.
    ///
    /// # Errors
    /// The directory can not be looked at.
    async fn size(&self, task: &Task) -> Result<u64, BoxError>;
}
