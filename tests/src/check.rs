//! Reads the witnesses of a run from their files and judges them.

use crate::documents::Documents;
use crate::judge::{Bounds, History, judge};
use crate::processes::{self, Alive};
use crate::verdict::Verdict;
use crate::{client_log, run_log};
use god_core::store::StoreError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store_sqlite::{OpenError, Options, SqliteStore};

/// Where the witnesses are.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Log of the clients.
    pub client: PathBuf,
    /// Log of the jobs.
    pub runs: PathBuf,
    /// The SQLite file; no daemon works on it any more.
    pub database: PathBuf,
    /// The directory of jobs, by which their processes are known.
    pub shared: PathBuf,
    /// How long processes of jobs may live on.
    pub orphan_bound: Duration,
}

/// Why nothing can be said about a run.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A log can not be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A log is not what it should be.
    #[error("{}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The first bad line.
        what: String,
    },
    /// The database can not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database can not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads everything and judges it.
///
/// # Errors
/// [`CheckError`].
pub async fn check(inputs: &Inputs, bounds: &Bounds) -> Result<Verdict, CheckError> {
    let client = read(&inputs.client, client_log::parse)?;
    let alive = remaining(&inputs.shared, inputs.orphan_bound).await;
    // After the processes are gone, so that no line is missing.
    let runs = read(&inputs.runs, run_log::parse)?;
    let store = SqliteStore::open(&inputs.database, Options::default())?;
    let documents = Documents::read(&*store).await?;
    let verdict = judge(&History { client, runs, documents, alive }, bounds);
    Ok(Verdict { backend: "sqlite".to_owned(), ..verdict })
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<Vec<T>, String>) -> Result<Vec<T>, CheckError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| CheckError::File { path: path.to_owned(), source })?;
    parse(&text).map_err(|what| CheckError::Line { path: path.to_owned(), what })
}

/// The processes of jobs that do not end within the bound.
async fn remaining(shared: &Path, bound: Duration) -> Vec<Alive> {
    let begun = Instant::now();
    loop {
        let alive = processes::alive(shared);
        if alive.is_empty() || begun.elapsed() >= bound {
            return alive;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
