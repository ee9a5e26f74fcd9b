//! What all calls of one executor share.

use crate::engine::{Engine, lock};
use crate::files::{FileError, Files};
use crate::options::Options;
use crate::pull::Pulls;
use crate::start::chain;
use god_core::executor::{AttemptKey, ExecError, Exit, Run};
use god_core::ids::ExecutorName;
use god_core::units::Timestamp;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// What all calls of one executor share. Nothing in it is worth saving.
#[derive(Debug)]
pub(crate) struct Inner {
    pub name: ExecutorName,
    pub options: Options,
    pub engine: Arc<Engine>,
    pub files: Files,
    pub pulls: Pulls,
    /// What was learned about runs, to ask no question twice.
    pub known: Mutex<HashMap<AttemptKey, Known>>,
    /// When the hard signal is due for runs that got the polite one.
    pub deadlines: Mutex<HashMap<AttemptKey, Instant>>,
    slots: Semaphore,
}

/// What was learned about one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Id of its container.
    pub id: String,
    /// When it started.
    pub since: Option<Timestamp>,
    /// How it ended; that never changes.
    pub exit: Option<Exit>,
}

impl Known {
    /// Notes a start. Another container than before has another story.
    pub fn started(&mut self, id: &str, since: Timestamp) {
        if self.id != id {
            *self = Known { id: id.to_owned(), since: Some(since), exit: None };
        }
        self.since.get_or_insert(since);
    }
}

impl Inner {
    pub fn new(name: ExecutorName, options: Options) -> Inner {
        Inner {
            engine: Arc::new(Engine::new(name.clone(), &options)),
            files: Files::new(&options.shared_dir),
            pulls: Pulls::default(),
            known: Mutex::default(),
            deadlines: Mutex::default(),
            slots: Semaphore::new(options.parallel.max(1)),
            name,
            options,
        }
    }

    /// Waits for its turn to ask the engine for work, so that a large batch does not drown it.
    pub async fn slot(&self) -> SemaphorePermit<'_> {
        self.slots.acquire().await.expect("the semaphore is never closed")
    }

    /// Does something that waits for a disk on a thread that may.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(err) => Err(FileError::Io {
                what: "work in",
                path: self.options.shared_dir.clone(),
                source: io::Error::other(err),
            }),
        }
    }

    /// A fault of our files as callers of the executor see it: it must be tried again.
    pub fn file_error(&self, err: &FileError) -> ExecError {
        ExecError::Garbled { executor: self.name.clone(), what: chain(err) }
    }

    /// Id of the container of a run: what the store remembers, what was seen, or what its name finds.
    pub async fn container_of(&self, run: &Run) -> Result<Option<String>, ExecError> {
        if let Some(run) = &run.run {
            return Ok(Some(run.as_str().to_owned()));
        }
        if let Some(known) = lock(&self.known).get(&run.key) {
            return Ok(Some(known.id.clone()));
        }
        let found = self.engine.find(run.key).await.map_err(|err| self.engine.exec_error(err))?;
        Ok(found.map(|found| found.id))
    }
}

/// Now, by the wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
