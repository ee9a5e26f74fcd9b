//! What the executor is told by the site, checked once.

use god_core::units::{Bytes, Seconds};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the executor is told by the site.
#[derive(Debug, Clone)]
pub struct Options {
    /// `unix:///path`, `tcp://host:port` or `http://host:port`; with TLS `https://host:port` or `tcp://host:port`.
    pub url: String,
    /// TLS to the engine; `None` is plain.
    pub tls: Option<Tls>,
    /// Name of this GO-Docker among those that share the engine; letters, digits and `_ . -`.
    pub cluster: String,
    /// The directory of jobs, at the same absolute path here and on the engine's host.
    pub shared_dir: PathBuf,
    /// The static `go-d-init`, at the same absolute path here and on the engine's host.
    pub init: PathBuf,
    /// Cores that tasks may use in all; `None` is all that the engine has.
    pub cores: Option<u32>,
    /// Memory that tasks may use in all; `None` is all that the engine has.
    pub memory: Option<Bytes>,
    /// How many tasks may run at the same time; `None` is as many as fit.
    pub max_tasks: Option<u32>,
    /// Labels `name==value` of the node.
    pub labels: Vec<String>,
    /// Network of the containers: `none`, `bridge` or the name of a network of the engine. Never `host`.
    pub network: String,
    /// Address of the host on which ports are opened.
    pub publish_address: String,
    /// Private registry that every image comes from; put before the image's name.
    pub registry: Option<String>,
    /// Processes and threads in a container at most.
    pub pids_limit: u32,
    /// Time between the polite and the hard signal at a time limit, and when the engine shuts down.
    pub grace: Seconds,
    /// Lowest user and group id that tasks may run under; tasks that may be root are exempt.
    pub min_id: u32,
    /// How many containers are made at the same time.
    pub parallel: usize,
    /// How long one call to the engine may take.
    pub call_limit: Duration,
    /// How long a start waits for its image to be pulled; the pull itself goes on.
    pub pull_patience: Duration,
}

/// How an engine is reached over TLS. Files are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that may have signed the engine's certificate; `None` is no check: whoever answers is the engine.
    pub authority: Option<PathBuf>,
    /// What we show to the engine; `None` is nothing.
    pub client: Option<ClientIdentity>,
}

/// A certificate, with those between it and its authority, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// File of the certificates.
    pub cert: PathBuf,
    /// File of the key.
    pub key: PathBuf,
}

/// Why no executor can be made of some options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    /// The address is none.
    #[error(
        "docker.url {0:?} is not understood: accepted are unix:///path, tcp://host:port, http://host:port, https://host:port"
    )]
    Url(String),
    /// The address and the wish for TLS contradict each other.
    #[error(
        "docker.url {0:?}: https:// needs docker.tls: true, and with TLS accepted are https://host:port, tcp://host:port"
    )]
    Scheme(String),
    /// A certificate or a key cannot be used.
    #[error("{path:?} cannot be used for TLS to the engine: {why}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The cluster's name cannot be part of a container's name.
    #[error(
        "cluster {0:?}: accepted are 1 to 40 letters, digits and _ . -, beginning with a letter or digit"
    )]
    Cluster(String),
    /// A path that must be absolute is not.
    #[error("{what} {path:?} is not an absolute path")]
    NotAbsolute {
        /// Which path.
        what: &'static str,
        /// Its text.
        path: PathBuf,
    },
    /// The first process of every job is missing.
    #[error("{0:?} is not an executable file: install go-d-init, or make it with `cargo xtask init-static`")]
    NoInit(PathBuf),
    /// Containers would share the host's network.
    #[error("docker.network {0:?} is refused: accepted are none, bridge or the name of a network")]
    Network(String),
}

impl Options {
    /// The usual options, for the engine on this host.
    #[must_use]
    pub fn new(
        cluster: impl Into<String>,
        shared_dir: impl Into<PathBuf>,
        init: impl Into<PathBuf>,
    ) -> Options {
        Options {
            url: "unix:///var/run/docker.sock".to_owned(),
            tls: None,
            cluster: cluster.into(),
            shared_dir: shared_dir.into(),
            init: init.into(),
            cores: None,
            memory: None,
            max_tasks: None,
            labels: Vec::new(),
            network: "bridge".to_owned(),
            publish_address: "0.0.0.0".to_owned(),
            registry: None,
            pids_limit: 4096,
            grace: Seconds(10),
            min_id: 1000,
            parallel: 8,
            call_limit: Duration::from_secs(60),
            pull_patience: Duration::from_secs(30),
        }
    }

    /// Refuses what can only be a mistake. Does not look at the engine.
    pub(crate) fn check(&self) -> Result<(), BadOptions> {
        let schemes = ["unix://", "tcp://", "http://", "https://"];
        let address = schemes.iter().find_map(|scheme| self.url.strip_prefix(scheme));
        if address.is_none_or(|address| address.is_empty() || address.contains(char::is_whitespace)) {
            return Err(BadOptions::Url(self.url.clone()));
        }
        let secure = self.url.starts_with("https://");
        if secure != self.tls.is_some() && !(self.tls.is_some() && self.url.starts_with("tcp://")) {
            return Err(BadOptions::Scheme(self.url.clone()));
        }
        if let Some(tls) = &self.tls {
            crate::tls::config(tls)?;
        }
        let name = self.cluster.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !(1..=40).contains(&name.len()) || !name[0].is_ascii_alphanumeric() || !name.iter().all(plain) {
            return Err(BadOptions::Cluster(self.cluster.clone()));
        }
        for (what, path) in [("shared directory", &self.shared_dir), ("go-d-init", &self.init)] {
            if !path.is_absolute() {
                return Err(BadOptions::NotAbsolute { what, path: path.clone() });
            }
        }
        if !is_executable(&self.init) {
            return Err(BadOptions::NoInit(self.init.clone()));
        }
        if self.network.is_empty() || self.network == "host" || self.network.contains(':') {
            return Err(BadOptions::Network(self.network.clone()));
        }
        Ok(())
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 == 0o111)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Options {
        Options::new("site", "/srv/god", std::env::current_exe().unwrap())
    }

    #[test]
    fn mistakes_are_refused() {
        assert_eq!(good().check(), Ok(()));
        for url in ["unix:///run/d.sock", "tcp://10.0.0.1:2375", "http://engine:2375"] {
            assert_eq!(Options { url: url.into(), ..good() }.check(), Ok(()), "{url}");
        }
        for url in ["", "/var/run/docker.sock", "unix://", "ssh://x", "tcp://a b"] {
            assert_eq!(Options { url: url.into(), ..good() }.check(), Err(BadOptions::Url(url.into())));
        }
        let anybody = Tls { authority: None, client: None };
        for (url, tls, fine) in [
            ("https://x:2376", None, false),
            ("https://x:2376", Some(&anybody), true),
            ("tcp://x:2376", Some(&anybody), true),
            ("http://x:2375", Some(&anybody), false),
            ("unix:///run/d.sock", Some(&anybody), false),
        ] {
            let refused = Options { url: url.into(), tls: tls.cloned(), ..good() }.check();
            assert_eq!(refused, if fine { Ok(()) } else { Err(BadOptions::Scheme(url.into())) }, "{url}");
        }
        let key = std::env::current_exe().unwrap();
        for bad in [
            Tls { authority: Some("/no/such".into()), client: None },
            Tls { authority: Some("/etc/passwd".into()), client: None },
            Tls { client: Some(ClientIdentity { cert: "/no/such".into(), key }), ..anybody },
        ] {
            let options = Options { url: "https://x:2376".into(), tls: Some(bad), ..good() };
            assert!(matches!(options.check(), Err(BadOptions::Tls { .. })), "{options:?}");
        }
        for cluster in ["", "-a", "a b", "a/b", "ü", &"a".repeat(41)] {
            assert!(matches!(
                Options { cluster: cluster.into(), ..good() }.check(),
                Err(BadOptions::Cluster(_))
            ));
        }
        for network in ["", "host", "container:x"] {
            assert!(matches!(
                Options { network: network.into(), ..good() }.check(),
                Err(BadOptions::Network(_))
            ));
        }
        assert!(matches!(
            Options { shared_dir: "x".into(), ..good() }.check(),
            Err(BadOptions::NotAbsolute { .. })
        ));
        for init in ["/no/such", "/etc/passwd", "/"] {
            assert!(matches!(Options { init: init.into(), ..good() }.check(), Err(BadOptions::NoInit(_))));
        }
    }
}
