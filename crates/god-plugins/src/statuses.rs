//! The status plugin of the configuration.

use crate::{PluginError, find, names};
use god_config::{Config, EtcdApi};
use god_core::BoxError;
use god_core::status::StatusPlugin;
use std::net::IpAddr;
use std::sync::Arc;

type Build = fn(&Config) -> Result<Arc<dyn StatusPlugin>, BoxError>;

/// Constructors of status plugins.
const STATUSES: &[(&str, Build)] = &[
    #[cfg(feature = "etcd")]
    (status_etcd::NAME, etcd),
    #[cfg(feature = "consul")]
    (status_consul::NAME, consul),
];

/// Their names.
pub(crate) const NAMES: &[&str] = {
    const ALL: [&str; STATUSES.len()] = names(STATUSES);
    &ALL
};

/// The configured status plugin; `None` when there is none.
///
/// # Errors
/// It is not built in, or can not be used as it is configured.
pub fn status(config: &Config) -> Result<Option<Arc<dyn StatusPlugin>>, PluginError> {
    let Some(name) = &config.monitoring.status_policy else { return Ok(None) };
    let build = find("status plugin", STATUSES, name)?;
    let failed = |source| PluginError::Failed { kind: "status plugin", name: name.clone(), source };
    build(config).map(Some).map_err(failed)
}

#[cfg(feature = "etcd")]
fn etcd(config: &Config) -> Result<Arc<dyn StatusPlugin>, BoxError> {
    let etcd = &config.monitoring.etcd;
    Ok(Arc::new(status_etcd::Etcd::new(&status_etcd::Options {
        host: etcd.host.clone(),
        port: etcd.port,
        prefix: etcd.prefix.clone(),
        api: match etcd.api {
            EtcdApi::V2 => status_etcd::Api::V2,
            EtcdApi::V3 => status_etcd::Api::V3,
            EtcdApi::Auto => status_etcd::Api::Auto,
        },
    })?))
}

#[cfg(feature = "consul")]
fn consul(config: &Config) -> Result<Arc<dyn StatusPlugin>, BoxError> {
    let consul = &config.monitoring.consul;
    Ok(Arc::new(status_consul::Consul::new(status_consul::Options {
        host: consul.host.clone(),
        port: consul.port,
        token: consul.token.as_ref().map(|token| token.reveal().to_owned()),
        web: config.web.endpoint.reveal().to_owned(),
        web_port: config.web.port,
        ftp: (reachable(&config.ftp.listen), config.ftp.port),
    })?))
}

/// Where a server that listens at this address is reached from its own host.
fn reachable(listen: &str) -> String {
    match listen.parse::<IpAddr>() {
        Ok(IpAddr::V4(any)) if any.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(any)) if any.is_unspecified() => "::1".to_owned(),
        _ => listen.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_one_is_made() {
        let mut config = Config::default();
        assert!(status(&config).expect("none is fine").is_none());
        for name in NAMES {
            config.monitoring.status_policy = Some((*name).to_owned());
            assert_eq!(status(&config).expect("it is made").map(|plugin| plugin.name()), Some(*name));
        }
        config.monitoring.status_policy = Some("zookeeper".to_owned());
        let error = status(&config).expect_err("there is none").to_string();
        assert!(error.contains("the status plugin `zookeeper` is not built into this program"), "{error}");
    }

    #[test]
    fn a_server_that_listens_everywhere_is_here() {
        for (listen, expected) in
            [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.1", "10.0.0.1"), ("ftp.x", "ftp.x")]
        {
            assert_eq!(reachable(listen), expected);
        }
    }
}
