//! The LDAP directory of users.

use std::path::PathBuf;

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};

/// The LDAP directory of users. Used by the plugin `goauth`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ldap {
    /// Host name; `None`: no directory.
    pub host: Option<String>,
    /// Port: 389, or 636 with TLS, unless set.
    pub port: u16,
    /// How the connection is protected.
    pub security: LdapSecurity,
    /// PEM file of the authorities that may have signed the certificate; `None`: those of the system.
    pub ca_cert: Option<PathBuf>,
    /// Seconds that one login may take. At least 1.
    pub timeout_seconds: u64,
    /// Root of the directory.
    pub dn: Option<String>,
    /// What stands before the root to give the base of searches.
    pub base_dn_filter: String,
    /// Who searches; `None`: anonymous.
    pub admin_dn: Option<String>,
    /// Password of who searches.
    pub admin_password: Option<Secret>,
    /// Attribute that holds the home directory.
    pub home_field: String,
}

/// How the connection to the directory is protected, for searches and password checks alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapSecurity {
    /// TLS from the first byte on.
    Tls,
    /// TLS before anything is said.
    StartTls,
    /// Nothing.
    Plain,
}

impl Default for Ldap {
    fn default() -> Ldap {
        Ldap {
            host: None,
            port: 389,
            security: LdapSecurity::StartTls,
            ca_cert: None,
            timeout_seconds: 10,
            dn: None,
            base_dn_filter: "ou=People".to_owned(),
            admin_dn: None,
            admin_password: None,
            home_field: "homeDirectory".to_owned(),
        }
    }
}

impl Ldap {
    pub(crate) fn read(root: &mut Section<'_>) -> Ldap {
        let default = Ldap::default();
        let host = root.text("ldap_host");
        let mut section = root.section("ldap");
        let security = security(&mut section, host.as_deref());
        let mut fields = section.section("fields");
        let home_field = fields.text("homeDirectory").unwrap_or(default.home_field);
        fields.finish();
        let ca_cert = section.path_value("ca_cert");
        let timeout_seconds = section.count("timeout_seconds", 1).unwrap_or(default.timeout_seconds);
        section.finish();
        let usual_port = if security == LdapSecurity::Tls { 636 } else { 389 };
        Ldap {
            host,
            port: root.port("ldap_port").unwrap_or(usual_port),
            security,
            ca_cert,
            timeout_seconds,
            dn: root.text("ldap_dn"),
            base_dn_filter: root.text("ldap_base_dn_filter").unwrap_or(default.base_dn_filter),
            admin_dn: root.text("ldap_admin_dn"),
            admin_password: root.secret("ldap_admin_password"),
            home_field,
        }
    }
}

/// One way for everything. Without a word about it, and with a directory on another host, TLS is asked for all the same:
/// old files say `ssl: false`, and their directories mostly offer StartTLS.
fn security(section: &mut Section<'_>, host: Option<&str>) -> LdapSecurity {
    let ssl = section.flag("ssl").unwrap_or(false);
    let starttls = section.flag("starttls");
    let insecure = section.flag("insecure").unwrap_or(false);
    if ssl && starttls == Some(true) {
        section.fault(
            "starttls",
            "ssl and starttls are two ways, and there can be one",
            "accepted: one of them",
        );
    }
    if insecure && (ssl || starttls == Some(true)) {
        section.fault(
            "insecure",
            "TLS was asked for, and its absence",
            "accepted: one of ssl, starttls and insecure",
        );
    }
    if ssl {
        return LdapSecurity::Tls;
    }
    let is_here = host.is_some_and(|host| Endpoint::new(host).is_loopback());
    match starttls {
        Some(true) => LdapSecurity::StartTls,
        _ if insecure => {
            section.warn(
                "insecure",
                "passwords go over the network for everybody to read",
                "use ssl or starttls",
            );
            LdapSecurity::Plain
        }
        _ if is_here => {
            section.warn("ssl", "passwords go to the directory on this host without TLS", "");
            LdapSecurity::Plain
        }
        None => {
            if host.is_some() {
                section.warn(
                    "ssl",
                    "without ssl, StartTLS is used; a directory that does not offer it gets no password",
                    "set ssl or starttls to true; insecure: true sends passwords for everybody to read",
                );
            }
            LdapSecurity::StartTls
        }
        Some(false) => {
            section.fault(
                "starttls",
                "neither ssl nor starttls: passwords would go over the network for everybody to read",
                "accepted: true for one of them; or insecure: true",
            );
            LdapSecurity::StartTls
        }
    }
}
