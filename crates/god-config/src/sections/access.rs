//! Who may log in, with which secrets, and what users share.

use std::path::PathBuf;

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};

/// What users share and see live.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sharing {
    /// Members of a project see and manage each other's tasks of it.
    pub project_tasks: bool,
    /// Whether changes of tasks are published.
    pub live_events: bool,
    /// Where a browser listens for them; `None`: the web server itself.
    pub live_events_url: Option<Endpoint>,
}

impl Sharing {
    pub(crate) fn read(root: &mut Section<'_>) -> Sharing {
        Sharing {
            project_tasks: root.flag("share_project_tasks").unwrap_or(false),
            live_events: root.flag("live_events").unwrap_or(false),
            live_events_url: root.endpoint("live_events_url", &[]),
        }
    }
}

/// Guests: people who log in with an account from outside.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Guests {
    /// Whether guests may log in.
    pub allow: bool,
    /// The local user that runs guests' jobs.
    pub bind: Option<String>,
    /// Whether guests may run jobs as root in their container.
    pub allow_root: bool,
    /// Where guests' homes are.
    pub home: GuestHome,
}

/// Where guests' homes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum GuestHome {
    /// Guests have no home.
    #[default]
    None,
    /// All guests share the home of the local user that runs their jobs.
    OfBoundUser,
    /// Each guest has `<path>/<guest id>`.
    Under(PathBuf),
}

impl Guests {
    pub(crate) fn read(root: &mut Section<'_>) -> Guests {
        let guests = Guests {
            allow: root.flag("guest_allow").unwrap_or(false),
            bind: root.text("guest_bind"),
            allow_root: root.flag("guest_allow_root").unwrap_or(false),
            home: match root.text("guest_home_root").as_deref() {
                None => GuestHome::None,
                Some("default") => GuestHome::OfBoundUser,
                Some(_) => root.path_value("guest_home_root").map_or(GuestHome::None, GuestHome::Under),
            },
        };
        if guests.allow && guests.bind.is_none() {
            root.warn(
                "guest_allow",
                "guests can log in but run nothing",
                "set guest_bind to the local user that runs their jobs",
            );
        }
        guests
    }
}

/// Authentication and the secrets that sign things.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Auth {
    /// Name of the authentication plugin.
    pub policy: String,
    /// Trust the user name that a proxy puts into a header.
    pub allow_proxy_remote_user: bool,
    /// Signs API tokens.
    pub secret_passphrase: Secret,
    /// Signs calls to the flow server.
    pub shared_secret_passphrase: Option<Secret>,
    /// Seconds that a web session lives. At least 1.
    pub session_timeout_seconds: u64,
    /// The directory of users.
    pub ldap: Ldap,
}

/// The LDAP directory of users. Used by the plugin `goauth`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ldap {
    /// Host name; `None`: no directory.
    pub host: Option<String>,
    /// Port: 389, or 636 with TLS, unless set.
    pub port: u16,
    /// TLS from the first byte on, for searches and password checks alike.
    pub ssl: bool,
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

impl Default for Auth {
    /// The defaults; the secret is empty until it is set.
    fn default() -> Auth {
        Auth {
            policy: "local".to_owned(),
            allow_proxy_remote_user: false,
            secret_passphrase: Secret::new(""),
            shared_secret_passphrase: None,
            session_timeout_seconds: 172_800,
            ldap: Ldap::default(),
        }
    }
}

impl Default for Ldap {
    fn default() -> Ldap {
        Ldap {
            host: None,
            port: 389,
            ssl: false,
            dn: None,
            base_dn_filter: "ou=People".to_owned(),
            admin_dn: None,
            admin_password: None,
            home_field: "homeDirectory".to_owned(),
        }
    }
}

impl Auth {
    pub(crate) fn read(root: &mut Section<'_>) -> Auth {
        let default = Auth::default();
        let names = root.cx.known.auth;
        let auth = Auth {
            policy: root.plugin_or("auth_policy", "authentication plugin", names, default.policy),
            allow_proxy_remote_user: root.flag("allow_proxy_remote_user").unwrap_or(false),
            secret_passphrase: secret_passphrase(root),
            shared_secret_passphrase: root.secret("shared_secret_passphrase"),
            session_timeout_seconds: root
                .count("session_timeout", 1)
                .unwrap_or(default.session_timeout_seconds),
            ldap: Ldap::read(root),
        };
        if auth.shared_secret_passphrase.as_ref() == Some(&auth.secret_passphrase) {
            root.warn(
                "shared_secret_passphrase",
                "this is the same text as secret_passphrase: who holds one can forge the other's tokens",
                "use two different texts",
            );
        }
        if auth.policy == "goauth" {
            for (key, is_set) in
                [("ldap_host", auth.ldap.host.is_some()), ("ldap_dn", auth.ldap.dn.is_some())]
            {
                if !is_set {
                    root.missing(key, "accepted: a text, since auth_policy is goauth");
                }
            }
        }
        auth
    }
}

fn secret_passphrase(root: &mut Section<'_>) -> Secret {
    const ACCEPTED: &str = "accepted: a random text of 16 characters or more";
    let is_scalar = root.node("secret_passphrase").is_none_or(|node| node.kind_name() == "a text or number");
    let secret = root.secret("secret_passphrase");
    if secret.is_none() && is_scalar {
        root.missing("secret_passphrase", ACCEPTED);
    }
    secret.unwrap_or_else(|| Secret::new(""))
}

impl Ldap {
    fn read(root: &mut Section<'_>) -> Ldap {
        let default = Ldap::default();
        let mut section = root.section("ldap");
        let ssl = section.flag("ssl").unwrap_or(default.ssl);
        let mut fields = section.section("fields");
        let home_field = fields.text("homeDirectory").unwrap_or(default.home_field);
        fields.finish();
        section.finish();
        Ldap {
            host: root.text("ldap_host"),
            port: root.port("ldap_port").unwrap_or(if ssl { 636 } else { 389 }),
            ssl,
            dn: root.text("ldap_dn"),
            base_dn_filter: root.text("ldap_base_dn_filter").unwrap_or(default.base_dn_filter),
            admin_dn: root.text("ldap_admin_dn"),
            admin_password: root.secret("ldap_admin_password"),
            home_field,
        }
    }
}
