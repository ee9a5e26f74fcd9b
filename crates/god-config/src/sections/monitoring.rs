//! What is measured, and who is told that a daemon is alive.

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};

/// What is measured, and who is told that a daemon is alive.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Monitoring {
    /// Key that callers of `POST /prometheus` must show; `None`: the call is off.
    pub prometheus_key: Option<Secret>,
    /// The web server that takes measurements, always with a scheme.
    pub prometheus_exporter: Option<Endpoint>,
    /// Where a container's use of resources can be seen.
    pub cadvisor: Cadvisor,
    /// Name of the status plugin; `None`: no one is told.
    pub status_policy: Option<String>,
    /// etcd.
    pub etcd: Etcd,
    /// The Consul agent of this host.
    pub consul: Consul,
}

/// cAdvisor on each node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cadvisor {
    /// Port.
    pub port: u16,
    /// What stands between the API's root and the container id.
    pub url_part: String,
    /// Seconds of samples to ask for.
    pub samples_seconds: u32,
}

/// etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Etcd {
    /// What all keys start with; begins with `/`.
    pub prefix: String,
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Which interface is spoken.
    pub api: EtcdApi,
}

/// The interfaces of etcd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EtcdApi {
    /// The one of old installations.
    V2,
    /// The one since etcd 3.
    V3,
    /// V3 when the server has it, else V2.
    #[default]
    Auto,
}

/// The Consul agent of this host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Consul {
    /// Host name.
    pub host: String,
    /// Port of its HTTP interface.
    pub port: u16,
    /// Token of an access list; `None`: without one.
    pub token: Option<Secret>,
}

impl Default for Monitoring {
    fn default() -> Monitoring {
        Monitoring {
            prometheus_key: None,
            prometheus_exporter: None,
            cadvisor: Cadvisor { port: 8080, url_part: "/docker".to_owned(), samples_seconds: 60 },
            status_policy: None,
            etcd: Etcd {
                prefix: "/godocker".to_owned(),
                host: "127.0.0.1".to_owned(),
                port: 4001,
                api: EtcdApi::Auto,
            },
            consul: Consul { host: "127.0.0.1".to_owned(), port: 8500, token: None },
        }
    }
}

impl Monitoring {
    pub(crate) fn read(root: &mut Section<'_>, mesos_unified: bool) -> Monitoring {
        let Monitoring { cadvisor, etcd, consul, .. } = Monitoring::default();
        root.ignored("cadvisor_url_part", "it is computed; use cadvisor_url_part_override");
        let computed = if mesos_unified { "/containers/mesos".to_owned() } else { cadvisor.url_part };
        let status = root.cx.known.status;
        Monitoring {
            prometheus_key: root.secret("prometheus_key"),
            prometheus_exporter: root.endpoint("prometheus_exporter", &[]).map(|exporter| {
                match exporter.scheme() {
                    Some(_) => exporter,
                    None => Endpoint::new(format!("http://{}", exporter.reveal())),
                }
            }),
            cadvisor: Cadvisor {
                port: root.port("cadvisor_port").unwrap_or(cadvisor.port),
                url_part: root.text("cadvisor_url_part_override").unwrap_or(computed),
                samples_seconds: root.count32("cadvisor_samples", 1).unwrap_or(cadvisor.samples_seconds),
            },
            status_policy: root.plugin("status_policy", "status plugin", status),
            etcd: Etcd {
                prefix: match root.text("etcd_prefix") {
                    Some(prefix) if prefix.starts_with('/') => prefix,
                    Some(prefix) => format!("/{prefix}"),
                    None => etcd.prefix,
                },
                host: root.text("etcd_host").unwrap_or(etcd.host),
                port: root.port("etcd_port").unwrap_or(etcd.port),
                api: etcd_api(root),
            },
            consul: Consul {
                host: root.text("consul_host").unwrap_or(consul.host),
                port: root.port("consul_port").unwrap_or(consul.port),
                token: root.secret("consul_token"),
            },
        }
    }
}

fn etcd_api(root: &mut Section<'_>) -> EtcdApi {
    match root.text("etcd_api").as_deref() {
        Some("v2") => EtcdApi::V2,
        Some("v3") => EtcdApi::V3,
        Some("auto") | None => EtcdApi::Auto,
        Some(other) => {
            root.fault("etcd_api", format!("etcd has no interface `{other}`"), "accepted: v2, v3, auto");
            EtcdApi::Auto
        }
    }
}
