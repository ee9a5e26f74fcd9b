//! Reading the configuration again while the daemon runs. The whole new file is checked first; a bad one changes
//! nothing. What only a restart can apply is said and not half applied.

use crate::setup::Setup;
use god_config::Config;
use god_core::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, info, warn};

/// The text in the store that changes when a reload is asked for.
pub(crate) const ASKED: &str = "config/last";
/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// Follows requests to reload, for ever.
pub(crate) async fn listen(
    setup: Arc<Setup>,
    store: Arc<dyn Store>,
    config: watch::Sender<Arc<Config>>,
    logs: god_telemetry::Handle,
) {
    // A request from before the start is answered by the start itself.
    let mut seen = asked(&*store).await;
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(now) = asked(&*store).await else { continue };
        if seen.as_ref() == Some(&now) {
            continue;
        }
        if seen.replace(now).is_none() {
            // The first look failed: nobody knows whether the request is new, and reading twice is harmless.
            info!("configuration is read again, in case that was asked for");
        }
        apply(&setup, &config, &logs);
    }
}

/// The last request; `None` when the store does not answer.
async fn asked(store: &dyn Store) -> Option<Option<String>> {
    match store.pinned(ASKED).await {
        Ok(notes) => Some(notes.into_iter().find(|(key, _)| key == ASKED).map(|(_, value)| value)),
        Err(err) => {
            warn!(err = %god_engine::chain(&err), "requests to reload were not looked at");
            None
        }
    }
}

/// Takes over what can be taken over from the file as it is now.
fn apply(setup: &Setup, config: &watch::Sender<Arc<Config>>, logs: &god_telemetry::Handle) {
    let (new, warnings) = match setup.reread() {
        Ok(read) => read,
        Err(err) => {
            error!(err = %err, "the new configuration is bad; the old one stays in force");
            return;
        }
    };
    for warning in warnings {
        warn!(warning, "configuration");
    }
    // Compared with the start, not with the last reload: a key that was changed back needs no restart.
    let waiting = needs_restart(&setup.config, &new);
    if !waiting.is_empty() {
        warn!(keys = waiting.join(", "), "these keys were changed and need a restart to take effect");
    }
    logs.set_level(setup.log_level(&new));
    config.send_replace(Arc::new(new));
    info!(config = %setup.file.display(), "configuration was read again; admission and log level follow it");
}

/// Keys that differ and are read at the start only.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = old.restart_keys(new);
    keys.extend(
        [
            ("scheduler_policy", old.scheduling.policy != new.scheduling.policy),
            ("master_timeout", old.base.master_timeout_seconds != new.base.master_timeout_seconds),
            ("reconcile_seconds", old.base.reconcile_seconds != new.base.reconcile_seconds),
            ("grace_seconds", old.base.grace_seconds != new.base.grace_seconds),
            ("port_start", old.network.ports != new.network.ports),
            ("email_smtp_host", old.mail != new.mail),
            ("influxdb_host", old.stores.influxdb != new.stores.influxdb),
            ("live_events", old.sharing.live_events != new.sharing.live_events),
            ("log_config handlers", old.log.handlers != new.log.handlers),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key)),
    );
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_at_the_start_only_are_named() {
        let old = Config::default();
        let mut new = old.clone();
        new.scheduling.rate_limit = Some(3);
        new.base.array_max = 7;
        assert_eq!(needs_restart(&old, &new), Vec::<&str>::new());
        new.base.grace_seconds += 1;
        new.network.ports.range += 1;
        new.base.cluster = "other".to_owned();
        assert_eq!(needs_restart(&old, &new), ["cluster", "grace_seconds", "port_start"]);
    }
}
