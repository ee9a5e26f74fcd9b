//! The contract that every store passes.

use crate::fresh;
use god_core::store::Store;
use god_store::contract::Wanted;
use std::sync::{Arc, Mutex};
use store_sqlite::Options;

/// Makes stores and keeps their directories for as long as it lives.
fn maker() -> impl AsyncFn(Wanted) -> Arc<dyn Store> {
    let dirs = Mutex::new(Vec::new());
    async move |wanted: Wanted| {
        let notes_kept = wanted.notes_kept.unwrap_or(Options::default().notes_kept);
        let (dir, store) = fresh(Options { notes_kept, ..Options::default() });
        dirs.lock().expect("no other test has this lock").push(dir);
        store as Arc<dyn Store>
    }
}

god_store::contract_tests!(maker());
