//! Checks of leases.

use super::Wanted;
use super::fixture::kit;
use god_core::Holder;
use god_core::store::{Lease, LeaseRecord, Store};
use std::sync::Arc;

async fn record(store: &dyn Store, name: &str) -> Option<LeaseRecord> {
    let found = store.leases(name).await.expect("reads");
    found.into_iter().find(|record| record.name == name)
}

async fn take(store: &dyn Store, name: &str, holder: &str, found: Option<&LeaseRecord>) -> Option<Lease> {
    store.take_lease(name, &Holder::new(holder), found).await.expect("answers")
}

/// A lease's whole life.
pub async fn a_lease_is_taken_renewed_given_back(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    assert_eq!(store.leases("").await.expect("reads"), []);
    let lease = take(&*store, "scheduler", "a", None).await.expect("free");
    assert_eq!((lease.name.as_str(), &lease.holder), ("scheduler", &Holder::new("a")));
    let first = record(&*store, "scheduler").await.expect("written");
    assert_eq!((first.holder.as_ref(), first.epoch), (Some(&lease.holder), lease.epoch));
    assert!(store.renew_lease(&lease).await.expect("answers"));
    let second = record(&*store, "scheduler").await.expect("written");
    assert!(second.beat > first.beat);
    assert_eq!(LeaseRecord { beat: first.beat, ..second }, first, "only the beat moves");

    store.release_lease(&lease).await.expect("answers");
    let free = record(&*store, "scheduler").await.expect("a record stays");
    assert_eq!((free.holder.as_ref(), free.epoch), (None, lease.epoch));
    assert!(!store.renew_lease(&lease).await.expect("answers"), "given back");
    store.release_lease(&lease).await.expect("giving back twice is fine");
    assert_eq!(take(&*store, "scheduler", "b", None).await, None, "there is a record");
    let next = take(&*store, "scheduler", "b", Some(&free)).await.expect("free");
    assert!(next.epoch > lease.epoch);

    store.release_lease(&lease).await.expect("answers");
    assert!(
        store.renew_lease(&next).await.expect("answers"),
        "the old holder can not give back the new one's"
    );
}

/// A holder is deposed only by one who saw the newest beat.
pub async fn a_lease_is_taken_only_as_it_was_found(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    let lease = take(&*store, "scheduler", "a", None).await.expect("free");
    let found = record(&*store, "scheduler").await.expect("written");
    assert!(store.renew_lease(&lease).await.expect("answers"));
    assert_eq!(take(&*store, "scheduler", "b", Some(&found)).await, None, "its beat has moved");
    let found = record(&*store, "scheduler").await.expect("written");
    for other in [
        LeaseRecord { epoch: found.epoch + 1, ..found.clone() },
        LeaseRecord { holder: None, ..found.clone() },
        LeaseRecord { holder: Some(Holder::new("x")), ..found.clone() },
        LeaseRecord { beat: found.beat + 1, ..found.clone() },
    ] {
        assert_eq!(take(&*store, "scheduler", "b", Some(&other)).await, None, "{other:?}");
        store.drop_lease(&other).await.expect("answers");
    }
    assert_eq!(record(&*store, "scheduler").await.as_ref(), Some(&found), "nothing of this touched it");
    let next = take(&*store, "scheduler", "b", Some(&found)).await.expect("as found");
    assert!(next.epoch > lease.epoch);
    assert!(!store.renew_lease(&lease).await.expect("answers"), "deposed");
    assert!(store.renew_lease(&next).await.expect("answers"));
    assert_eq!(take(&*store, "scheduler", "b", Some(&found)).await, None, "found once, taken once");
    let unknown = LeaseRecord { name: "other".into(), ..found };
    assert_eq!(take(&*store, "other", "b", Some(&unknown)).await, None, "there is no such record");
}

/// No epoch of a name comes twice, not even after its record was dropped.
pub async fn epochs_grow_for_ever(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    let mut last = 0;
    for round in 0..6 {
        let lease = take(&*store, "watcher/x", "x", None).await.expect("free");
        assert!(lease.epoch > last, "round {round}");
        last = lease.epoch;
        if round % 2 == 0 {
            store.release_lease(&lease).await.expect("answers");
        }
        let found = record(&*store, "watcher/x").await.expect("written");
        store.drop_lease(&found).await.expect("answers");
        assert_eq!(record(&*store, "watcher/x").await, None);
        store.drop_lease(&found).await.expect("dropping twice is fine");
        assert!(!store.renew_lease(&lease).await.expect("answers"), "dropped");
    }
}

/// Of many that see the same record, one takes it.
pub async fn racing_takers_have_one_winner(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    for round in 0..5 {
        let found = record(&*store, "scheduler").await;
        let names: Vec<String> = (0..8).map(|i| format!("s{i}")).collect();
        let calls = names.iter().map(|name| take(&*store, "scheduler", name, found.as_ref()));
        let won: Vec<Lease> = futures::future::join_all(calls).await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1, "round {round}");
        let now = record(&*store, "scheduler").await.expect("written");
        assert_eq!((now.holder.as_ref(), now.epoch), (Some(&won[0].holder), won[0].epoch));
    }
}

/// Records are found by the beginning of their name, which is no pattern.
pub async fn leases_are_listed_by_prefix(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    for name in ["scheduler", "watcher/b", "watcher/a", "watcher_x", "watcher", "wat%"] {
        take(&*store, name, "h", None).await.expect("free");
    }
    let names = async |prefix: &str| {
        let found = store.leases(prefix).await.expect("reads");
        found.into_iter().map(|record| record.name).collect::<Vec<_>>()
    };
    assert_eq!(names("watcher/").await, ["watcher/a", "watcher/b"]);
    assert_eq!(names("watcher_").await, ["watcher_x"]);
    assert_eq!(names("wat%").await, ["wat%"]);
    assert_eq!(names("").await.len(), 6);
    assert!(names("Watcher").await.is_empty(), "upper and lower case differ");
}
