//! The store in one SQLite file, for any number of processes on one host.
//!
//! [`SqliteStore::open`] starts one thread that writes (it puts whatever waits into one transaction), a few that read,
//! and one that listens for the bell of other processes. The async side never blocks: it sends to a thread and waits.
//! The database file is touched by SQLite alone: an `open` and `close` of ours would drop SQLite's own locks. A store
//! must not be used on both sides of a `fork`.

mod backup;
mod bell;
mod books;
pub mod bulk;
mod fault;
mod find;
mod halves;
mod leases;
mod lock;
mod open;
mod place;
mod reads;
mod recent;
mod row;
mod schema;
mod specs;
mod store;
mod tasks;
mod tx;
mod worker;

pub use open::{OpenError, Options};

use bell::{Bell, Listener};
use fault::Fault;
use god_core::store::StoreError;
use lock::LeaseLock;
use recent::Recent;
use row::Reader;
use specs::Specs;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tx::Tx;
use worker::{Readers, Writer};

/// A [`god_core::store::Store`] in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    // Fields are dropped in this order: the threads end before the locks go.
    writer: Writer,
    readers: Readers,
    _listener: Listener,
    shared: Arc<Shared>,
}

/// What the threads of one store have in common.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    notes_kept: u64,
    bell: Bell,
    specs: Specs,
    recent: Recent,
    /// The lock files of the leases that this process holds, by name and epoch.
    locks: Mutex<BTreeMap<(String, u64), LeaseLock>>,
}

impl Shared {
    fn locks(&self) -> MutexGuard<'_, BTreeMap<(String, u64), LeaseLock>> {
        // The map is whole at every step.
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SqliteStore {
    /// Runs an operation in the writer's next transaction and waits until that is durable. It may run more than once,
    /// each time on what is stored then.
    async fn write<T: Send + 'static>(
        &self,
        doing: &'static str,
        weight: usize,
        run: impl FnMut(&mut Tx<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.run(doing, weight, run).await
    }

    /// Runs a query on one snapshot in one of the reading threads.
    async fn read<T: Send + 'static>(
        &self,
        doing: &'static str,
        run: impl FnOnce(&mut Reader<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(doing, run).await
    }
}
