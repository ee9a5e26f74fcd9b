//! Who may log in, with which secrets, and what users share.

use std::path::PathBuf;

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};
use crate::sections::doors::{Provider, Proxies};
use crate::sections::ldap::Ldap;

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
    /// Whose accounts guests log in with.
    pub providers: Vec<Provider>,
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
            providers: Provider::read_all(root),
        };
        if guests.allow && guests.providers.is_empty() {
            root.warn(
                "guest_allow",
                "guests are allowed, and there is no provider with whose account they could log in",
                "list one under oidc",
            );
        }
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
    /// Proxies in front of the web server.
    pub proxies: Proxies,
    /// Signs API tokens.
    pub secret_passphrase: Secret,
    /// The one before it, whose tokens and keys are still good.
    pub secret_passphrase_previous: Option<Secret>,
    /// Signs calls to the flow server.
    pub shared_secret_passphrase: Option<Secret>,
    /// Seconds that a web session lives. At least 1.
    pub session_timeout_seconds: u64,
    /// The directory of users.
    pub ldap: Ldap,
}

impl Default for Auth {
    /// The defaults; the secret is empty until it is set.
    fn default() -> Auth {
        Auth {
            policy: "local".to_owned(),
            proxies: Proxies::default(),
            secret_passphrase: Secret::new(""),
            secret_passphrase_previous: None,
            shared_secret_passphrase: None,
            session_timeout_seconds: 172_800,
            ldap: Ldap::default(),
        }
    }
}

impl Auth {
    pub(crate) fn read(root: &mut Section<'_>) -> Auth {
        let default = Auth::default();
        let names = root.cx.known.auth;
        let auth = Auth {
            policy: root.plugin_or("auth_policy", "authentication plugin", names, default.policy),
            proxies: Proxies::read(root),
            secret_passphrase: secret_passphrase(root),
            secret_passphrase_previous: root.secret("secret_passphrase_previous"),
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
