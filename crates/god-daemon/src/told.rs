//! What the world outside is told, by the configuration: which notices are made, and the channels they go through.

use crate::daemon::{Daemon, DaemonError};
use god_config::{Config, InfluxDb, Mail, Redis, StoreKind};
use god_core::notice::Rules;
use god_core::store::Store;
use god_telemetry::Outbox;
use god_telemetry::outbox::{BadChannel, Channel, flow, influx, live, mail};
use std::sync::Arc;

/// Name of the lease under which one process sends.
const SENDER: &str = "sender";
/// Port of mail servers that speak TLS from the first byte on.
const SMTPS: u16 = 465;

/// Which notices a site wants.
pub(crate) fn rules(config: &Config) -> Rules {
    Rules {
        mail: config.mail.is_some(),
        live: publishes(config),
        usage: config.stores.influxdb.is_some(),
        flow: calls_flow(config),
    }
}

/// Whether a flow server is called: its watcher is configured.
fn calls_flow(config: &Config) -> bool {
    config.scheduling.watchers.iter().any(|name| name == "godflow")
}

/// Whether live events go to Redis; the web server tells its own users in any case.
fn publishes(config: &Config) -> bool {
    let has_redis = config.stores.kind == StoreKind::Mongo || config.stores.redis.is_named;
    config.sharing.live_events && has_redis
}

fn channels(config: &Config, store: &Arc<dyn Store>) -> Result<Vec<Arc<dyn Channel>>, BadChannel> {
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    if let Some(mail) = &config.mail {
        channels.push(Arc::new(mail::Mailer::new(Arc::clone(store), &mail_options(mail)?)?));
    }
    if publishes(config) {
        channels.push(Arc::new(live::Publisher::new(&live_options(&config.stores.redis))?));
    }
    if let Some(influx) = &config.stores.influxdb {
        channels.push(Arc::new(influx::Influx::new(influx_options(influx))?));
    }
    if calls_flow(config) {
        let missing = |key| BadChannel {
            key,
            what: "is missing, and the watcher godflow needs it".to_owned(),
            source: None,
        };
        let frontend = config.flow.frontend.as_ref().ok_or_else(|| missing("flow.frontend"))?;
        let secret = config.auth.shared_secret_passphrase.as_ref();
        let secret = secret.ok_or_else(|| missing("shared_secret_passphrase"))?;
        channels.push(Arc::new(flow::FlowCaller::new(frontend.reveal(), secret.reveal().as_bytes())?));
    }
    Ok(channels)
}

fn mail_options(mail: &Mail) -> Result<mail::Options, BadChannel> {
    let authority = mail.ca_cert.as_ref().map(|file| {
        std::fs::read(file).map_err(|err| BadChannel {
            key: "email_smtp_ca_cert",
            what: format!("{} can not be read", file.display()),
            source: Some(err.into()),
        })
    });
    let password = || mail.password.as_ref().map(|secret| secret.reveal().to_owned()).unwrap_or_default();
    Ok(mail::Options {
        host: mail.host.clone(),
        port: mail.port,
        protection: match (mail.tls, mail.port) {
            (false, _) => mail::Protection::None,
            (true, SMTPS) => mail::Protection::Tls,
            (true, _) => mail::Protection::StartTls,
        },
        authority: authority.transpose()?,
        login: mail.user.clone().map(|user| (user, password())),
        from: mail.from.clone(),
    })
}

fn live_options(redis: &Redis) -> live::Options {
    let host = if redis.host.contains(':') { format!("[{}]", redis.host) } else { redis.host.clone() };
    let Redis { port, db, .. } = redis;
    live::Options { url: format!("redis://{host}:{port}/{db}"), prefix: redis.prefix.clone() }
}

fn influx_options(influx: &InfluxDb) -> influx::Options {
    influx::Options {
        host: influx.host.clone(),
        port: influx.port,
        db: influx.db.clone(),
        user: influx.user.clone(),
        password: influx.password.reveal().to_owned(),
    }
}

impl Daemon {
    /// Starts to send notices, whenever this process holds the lease for that. Where nothing is to be sent, only what was
    /// left from before is removed.
    ///
    /// # Errors
    /// [`DaemonError::Channel`]: a channel can not be used as it is configured.
    pub fn start_sender(&mut self) -> Result<(), DaemonError> {
        let store = Arc::clone(self.store());
        let channels = channels(&self.setup().config, &store)?;
        let silent = channels.is_empty();
        let outbox = Outbox::new(store, channels);
        if silent {
            self.help(async move {
                if let Err(err) = outbox.discard().await {
                    tracing::warn!(err = %god_engine::chain(&err), "old notices were not removed");
                }
            });
            return Ok(());
        }
        let tenure = self.hold_lease(SENDER.to_owned());
        let clock = Arc::clone(&self.world.clock);
        let may_send: god_telemetry::outbox::MaySend =
            Arc::new(move || tenure.current(clock.mono()).is_some());
        let stop = Arc::clone(&self.stop);
        self.start_loop("sender", move || {
            let (outbox, may_send, stop) = (outbox.clone(), Arc::clone(&may_send), Arc::clone(&stop));
            async move { outbox.run(may_send, stop.past(0)).await }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_store::MemoryStore;

    #[test]
    fn what_is_configured_is_told() {
        let mut config = Config::default();
        assert!(rules(&config).is_silent());
        config.sharing.live_events = true;
        assert!(rules(&config).is_silent(), "there is no Redis");
        config.stores.redis.is_named = true;
        assert!(rules(&config).live);
        config.stores.redis.is_named = false;
        config.stores.kind = StoreKind::Mongo;
        assert!(rules(&config).live);
        config.sharing.live_events = false;
        assert!(rules(&config).is_silent());
        config.scheduling.watchers = vec!["godflow".to_owned()];
        assert!(rules(&config).flow);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let missing = |config: &Config| channels(config, &store).unwrap_err().to_string();
        assert!(missing(&config).starts_with("flow.frontend"));
        config.flow.frontend = Some(god_config::Endpoint::new("http://127.0.0.1:1"));
        assert!(missing(&config).starts_with("shared_secret_passphrase"));
    }

    #[tokio::test]
    async fn addresses_are_made_of_the_keys() {
        let mut redis = Config::default().stores.redis;
        assert_eq!(live_options(&redis).url, "redis://localhost:6379/0");
        redis.host = "::1".to_owned();
        (redis.port, redis.db) = (7, 3);
        let options = live_options(&redis);
        assert_eq!((options.url.as_str(), options.prefix.as_str()), ("redis://[::1]:7/3", "god"));
        let mut config = Config::default();
        config.stores.redis = redis;
        config.stores.redis.is_named = true;
        config.sharing.live_events = true;
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let names: Vec<_> = channels(&config, &store).unwrap().iter().map(|channel| channel.name()).collect();
        assert_eq!(names, ["live events"]);
    }
}
