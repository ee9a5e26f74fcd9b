//! The store of the configuration.

use crate::PluginError;
use god_config::{Config, StoreKind};
use god_core::store::Store;
use std::sync::Arc;

/// Opens the configured store.
///
/// # Errors
/// The store is not built in, or its file can not be used.
pub async fn store(config: &Config) -> Result<Arc<dyn Store>, PluginError> {
    match config.stores.kind {
        StoreKind::Memory => Ok(Arc::new(god_store::MemoryStore::default())),
        StoreKind::Sqlite | StoreKind::Mongo => Err(PluginError::NotBuiltIn {
            kind: "store",
            name: "mongo".to_owned(),
            known: "memory, sqlite".to_owned(),
        }),
    }
}
