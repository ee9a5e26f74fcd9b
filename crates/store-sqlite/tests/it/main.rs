//! The SQLite store: the contract, several processes on one file, a full disk, files of other versions.

mod contract;

use std::sync::Arc;
use store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

/// A fresh store; the directory goes with the guard.
fn fresh(options: Options) -> (TempDir, Arc<SqliteStore>) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(dir.path().join("god.db"), options).expect("opens");
    (dir, store)
}
