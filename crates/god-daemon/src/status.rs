//! Who looks after the tasks of a site, as the leases in the store tell.

use god_core::store::{LeaseRecord, Store, StoreError};
use god_engine::lease::{ARCHIVER, SCHEDULER, WATCHERS};
use std::fmt::Write;

/// What `status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// A line for each process.
    pub text: String,
    /// Whether a scheduler leads and a watcher watches.
    pub is_well: bool,
}

/// The state of a site. A process that died on another host may be shown for a while as if it lived.
///
/// # Errors
/// [`StoreError`].
pub async fn of(store: &dyn Store) -> Result<Status, StoreError> {
    let mut text = String::new();
    let mut line = |role: &str, record: &LeaseRecord| {
        let holder = record.holder.as_ref().map_or("nobody", |holder| holder.as_str());
        let gone = record.holder.is_some() && store.is_gone(record);
        let state = if gone { ", which is gone" } else { "" };
        writeln!(text, "{role}: {holder} (epoch {}){state}", record.epoch)
            .expect("writing to a String cannot fail");
        record.holder.is_some() && !gone
    };
    let leader = store.leases(SCHEDULER).await?;
    let leads =
        leader.iter().filter(|record| record.name == SCHEDULER).any(|record| line("scheduler", record));
    let watchers = store.leases(WATCHERS).await?;
    let n_watchers = watchers.iter().filter(|record| line("watcher", record)).count();
    let archivers = store.leases(ARCHIVER).await?;
    for record in archivers.iter().filter(|record| record.name == ARCHIVER) {
        line("archiver", record);
    }
    if !leads {
        text.push_str("no scheduler leads: nothing is started\n");
    }
    if n_watchers == 0 {
        text.push_str("no watcher lives: nobody sees tasks end\n");
    }
    Ok(Status { text, is_well: leads && n_watchers > 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::Holder;
    use god_store::MemoryStore;

    #[tokio::test]
    async fn well_is_a_leader_and_a_watcher() {
        let store = MemoryStore::new();
        assert!(!of(&store).await.unwrap().is_well);
        let take = |name: &'static str| {
            let store = &store;
            async move { store.take_lease(name, &Holder::new("p"), None).await.unwrap().unwrap() }
        };
        let lead = take("scheduler").await;
        let status = of(&store).await.unwrap();
        assert!(!status.is_well);
        assert_eq!(status.text, "scheduler: p (epoch 1)\nno watcher lives: nobody sees tasks end\n");
        take("watcher/p").await;
        assert!(of(&store).await.unwrap().is_well);
        store.release_lease(&lead).await.unwrap();
        let status = of(&store).await.unwrap();
        assert!(!status.is_well && status.text.contains("scheduler: nobody"), "{}", status.text);
    }
}
