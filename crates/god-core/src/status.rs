//! The status plugin: tells an outside registry that a process of ours is alive.

use crate::BoxError;
use async_trait::async_trait;
use std::fmt;

/// One process as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// `scheduler`, `watcher`, `archiver`, `web` or `ftp`.
    pub kind: String,
    /// Whether it is well.
    pub alive: bool,
    /// Its last sign of life in seconds since 1970, if the registry knows it.
    pub seen: Option<i64>,
}

/// Registers processes and lists them.
#[async_trait]
pub trait StatusPlugin: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;
    /// Says that the process is alive.
    ///
    /// # Errors
    /// What the registry's client said.
    async fn keep_alive(&self, kind: &str, name: &str) -> Result<(), BoxError>;
    /// All processes known.
    ///
    /// # Errors
    /// What the registry's client said.
    async fn processes(&self) -> Result<Vec<ProcessStatus>, BoxError>;
}
