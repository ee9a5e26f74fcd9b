//! What the plugin is told of the directory.

use god_core::BoxError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How the connection is protected. One way for searches and password checks alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte on (ldaps).
    Tls,
    /// Plain at first, TLS before anything is said.
    StartTls,
    /// Nothing: passwords go over the network as they are.
    Plain,
}

/// The directory and how to ask it.
#[derive(Clone)]
pub struct Options {
    /// Host name; the certificate must be for this name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// PEM file of the authorities that may have signed the certificate; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where users are searched, with all that is below.
    pub user_base: String,
    /// Where groups are searched, with all that is below.
    pub group_base: String,
    /// Name and password of who searches; `None`: without a name.
    pub searcher: Option<Searcher>,
    /// Attribute that holds the home directory.
    pub home_field: String,
    /// Longest time of one login or look-up, from the connection to the last answer.
    pub timeout: Duration,
}

/// Who searches the directory. `Debug` does not show the password.
#[derive(Clone)]
pub struct Searcher {
    /// Distinguished name.
    pub dn: String,
    /// Password, not empty.
    pub password: String,
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searcher").field("dn", &self.dn).field("password", &"*****").finish()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.url())
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

/// Why the plugin can not be made from its options.
#[derive(Debug, thiserror::Error)]
pub enum BadOptions {
    /// The host is none.
    #[error("ldap_host: `{0}` is no host name; accepted: a name or an IPv4 address")]
    Host(String),
    /// The searcher has a name and no password, which a directory takes for nobody.
    #[error("ldap_admin_password: this key must be set when ldap_admin_dn is")]
    NoPassword,
    /// The authorities can not be read.
    #[error("ldap.ca_cert: cannot read {place}")]
    Authorities {
        /// The file, or whose they are.
        place: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), BadOptions> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || c == '_';
        if self.host.is_empty() || !self.host.chars().all(plain) {
            return Err(BadOptions::Host(self.host.clone()));
        }
        match &self.searcher {
            Some(searcher) if searcher.password.is_empty() => Err(BadOptions::NoPassword),
            _ => Ok(()),
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.security == Security::Tls { "ldaps" } else { "ldap" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// TLS with the certificate checked, always.
    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, BadOptions> {
        let place = || {
            self.ca_file.as_ref().map_or("those of the system".to_owned(), |file| file.display().to_string())
        };
        let failed = |source: BoxError| BadOptions::Authorities { place: place(), source };
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(file) => {
                for certificate in CertificateDer::pem_file_iter(file).map_err(|e| failed(e.into()))? {
                    let certificate = certificate.map_err(|e| failed(e.into()))?;
                    roots.add(certificate).map_err(|e| failed(e.into()))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() && self.security != Security::Plain {
            return Err(failed("there is no certificate in it".into()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = versions.map_err(|e| failed(e.into()))?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        Options {
            host: "ldap.example.org".to_owned(),
            port: 389,
            security: Security::StartTls,
            ca_file: None,
            user_base: "ou=People,dc=example".to_owned(),
            group_base: "dc=example".to_owned(),
            searcher: Some(Searcher { dn: "cn=x".to_owned(), password: "canary".to_owned() }),
            home_field: "homeDirectory".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_makes_no_connection_is_refused() {
        assert!(options().check().is_ok());
        for host in ["", "h/x", "h:1", "h x", "[::1]", "h@x", "h?x"] {
            let options = Options { host: host.to_owned(), ..options() };
            assert!(matches!(options.check(), Err(BadOptions::Host(_))), "{host}");
        }
        let searcher = Some(Searcher { dn: "cn=x".to_owned(), password: String::new() });
        assert!(matches!(Options { searcher, ..options() }.check(), Err(BadOptions::NoPassword)));
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.pem");
        let of = |file: PathBuf| Options { ca_file: Some(file), ..options() }.tls();
        assert!(matches!(of(file.clone()), Err(BadOptions::Authorities { .. })));
        for text in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).expect("written");
            assert!(matches!(of(file.clone()), Err(BadOptions::Authorities { .. })), "{text}");
        }
    }

    #[test]
    fn a11_options_do_not_show_the_password() {
        assert!(!format!("{:?} {:?}", options(), options().searcher).contains("canary"));
    }
}
