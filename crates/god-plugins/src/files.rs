//! The directories of tasks on the shared file system, for the archiver.

use async_trait::async_trait;
use god_config::Config;
use god_core::BoxError;
use god_core::files::JobFiles;
use god_core::task::Task;
use god_runtime::jobdir::{JobDirError, JobDirs};
use std::sync::Arc;

/// Entries of one job directory that are looked at to know its size. At a few microseconds for each it takes seconds.
const MOST_ENTRIES: u64 = 1_000_000;

/// The files of the site's tasks.
#[must_use]
pub fn files(config: &Config) -> Arc<dyn JobFiles> {
    Arc::new(SharedFiles { dirs: JobDirs::new(&config.base.shared_dir) })
}

/// Job directories below the shared directory. Each call works in a thread of its own kind, where it may block.
#[derive(Debug)]
struct SharedFiles {
    dirs: JobDirs,
}

/// A task as its directories are named.
#[derive(Debug, Clone, Copy)]
struct Named {
    id: u64,
    /// Parent and array value, for a child of an array.
    child: Option<(u64, i64)>,
}

impl Named {
    fn of(task: &Task) -> Result<Named, BoxError> {
        let child = match task.parent {
            None => None,
            Some(parent) => {
                let index = task.array_index();
                let index = index.ok_or_else(|| format!("task {} has no place in its array", task.id))?;
                Some((parent.0, index))
            }
        };
        Ok(Named { id: task.id.0, child })
    }

    fn remove(self, dirs: &JobDirs) -> Result<(), JobDirError> {
        match self.child {
            None => dirs.remove_task_dir(self.id)?,
            Some((parent, index)) => dirs.remove_child_dir(parent, index)?,
        }
        dirs.remove_control_dir(self.id)
    }

    fn size(self, dirs: &JobDirs) -> Result<u64, JobDirError> {
        match self.child {
            None => dirs.task_size(self.id, MOST_ENTRIES),
            Some((parent, index)) => dirs.child_size(parent, index, MOST_ENTRIES),
        }
    }
}

#[async_trait]
impl JobFiles for SharedFiles {
    async fn remove(&self, tasks: &[Task]) -> Result<(), BoxError> {
        let named: Vec<Named> = tasks.iter().map(Named::of).collect::<Result<_, _>>()?;
        let dirs = self.dirs.clone();
        let removed = move || named.into_iter().try_for_each(|task| task.remove(&dirs));
        Ok(tokio::task::spawn_blocking(removed).await??)
    }

    async fn size(&self, task: &Task) -> Result<u64, BoxError> {
        let (named, dirs) = (Named::of(task)?, self.dirs.clone());
        Ok(tokio::task::spawn_blocking(move || named.size(&dirs)).await??)
    }
}
