//! The store of the configuration.

use crate::PluginError;
use god_config::{Config, StoreKind};
use god_core::BoxError;
use god_core::store::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store_sqlite::SqliteStore;

/// Name of the database file in the data directory.
const FILE: &str = "god.db";

/// Opens the configured store.
///
/// # Errors
/// The store is not built in, or its file can not be used.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>, PluginError> {
    match config.stores.kind {
        StoreKind::Memory => Ok(Arc::new(god_store::MemoryStore::default())),
        StoreKind::Sqlite => Ok(sqlite(config).await?),
        StoreKind::Mongo => Err(PluginError::NotBuiltIn {
            kind: "store",
            name: "mongo".to_owned(),
            known: "memory, sqlite".to_owned(),
        }),
    }
}

/// Copies the store to a file while it is in use. The file is replaced once the copy is whole.
///
/// # Errors
/// The configured store is kept in no file; or the copy could not be written.
pub async fn backup(config: &Config, to: &Path) -> Result<(), PluginError> {
    let failed = |source: BoxError| PluginError::Failed { kind: "store", name: "backup".to_owned(), source };
    match config.stores.kind {
        StoreKind::Sqlite => {
            let copied: Result<(), StoreError> = sqlite(config).await?.backup(to).await;
            copied.map_err(|err| failed(err.into()))
        }
        StoreKind::Memory | StoreKind::Mongo => {
            Err(failed("only the store sqlite is copied by this program".into()))
        }
    }
}

/// Opening blocks: it may have to wait for another process that changes the tables.
async fn sqlite(config: &Config) -> Result<Arc<SqliteStore>, PluginError> {
    let path: PathBuf = config.base.data_dir.join(FILE);
    let opened = tokio::task::spawn_blocking(move || {
        SqliteStore::open(path, store_sqlite::Options::default()).map_err(BoxError::from)
    });
    let failed = |source| PluginError::Failed { kind: "store", name: "sqlite".to_owned(), source };
    opened.await.map_err(|err| failed(err.into()))?.map_err(failed)
}
