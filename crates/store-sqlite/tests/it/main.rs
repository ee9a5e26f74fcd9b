//! The SQLite store: the contract, several processes on one file, a full disk, files of other versions.

mod audit;
mod contract;
mod disk;
mod files;
mod leases;
mod migration;
mod processes;

use god_core::TaskId;
use god_core::store::{Store, Submitted};
use god_store::contract::fixture::{new_task, spec};
use std::sync::Arc;
use store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

/// A fresh store; the directory goes with the guard.
fn fresh(options: Options) -> (TempDir, Arc<SqliteStore>) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(dir.path().join("god.db"), options).expect("opens");
    (dir, store)
}

/// Submits one plain task, or an array.
async fn submit(store: &SqliteStore, owner: &str, array: Option<&str>) -> TaskId {
    let answers = store.submit(vec![new_task(spec(owner, array))]).await.expect("submits");
    let [Submitted::New(id)] = answers[..] else { panic!("a new task: {answers:?}") };
    id
}
