//! The store in memory passes the contract.

use god_core::store::Store;
use god_store::MemoryStore;
use god_store::contract::Wanted;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

async fn make(wanted: Wanted) -> Arc<dyn Store> {
    Arc::new(match wanted.notes_kept {
        Some(notes) => MemoryStore::keeping(usize::try_from(notes).expect("a small number")),
        None => MemoryStore::new(),
    })
}

god_store::contract_tests!(make);

#[test]
fn the_whole_contract_runs_on_any_executor() {
    let mut contract = pin!(god_store::contract::store_contract(make));
    let mut context = Context::from_waker(Waker::noop());
    let mut polls = 0;
    while contract.as_mut().poll(&mut context).is_pending() {
        polls += 1;
        assert!(polls < 1_000_000, "somebody waits for what never comes");
    }
}
