//! Settings that the product has and this build does not carry out yet.

use god_config::{Config, StoreKind};

/// Settings without which the site would not be what its file says: reasons not to start. Each names its key.
#[must_use]
pub fn not_built_in(config: &Config) -> Vec<String> {
    let found = [
        (config.stores.kind == StoreKind::Mongo, "store: mongo is not built in yet; accepted: sqlite"),
        (config.network.cni.is_some(), "network.use_cni: is not built in yet; accepted: false"),
        (!config.network.ports.allocate, "port_allocate: false is not built in yet; accepted: true"),
        (config.guests.allow, "guest_allow: guests are not built in yet; accepted: false"),
    ];
    found.iter().filter(|(is_set, _)| *is_set).map(|(_, what)| (*what).to_owned()).collect()
}

/// Settings that only add something, which is not there yet: worth a warning. Each names its key.
#[must_use]
pub fn without_effect(config: &Config) -> Vec<String> {
    let found = [(
        config.monitoring.prometheus_key.is_some(),
        "prometheus_key: is not built in yet, it has no effect",
    )];
    found.iter().filter(|(is_set, _)| *is_set).map(|(_, what)| (*what).to_owned()).collect()
}
