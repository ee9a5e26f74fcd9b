//! Doors beside login and password: a proxy that knows who somebody is, and providers of accounts from outside.

use std::path::PathBuf;

use ipnet::IpNet;

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};

/// Proxies in front of the web server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Proxies {
    /// From where they connect. What they say of the client's address and protocol is believed.
    pub peers: Vec<IpNet>,
    /// What one shows in a header beside the name of the user it knows; `None`: no proxy is believed in this.
    pub remote_user_secret: Option<Secret>,
}

impl Proxies {
    pub(crate) fn read(root: &mut Section<'_>) -> Proxies {
        let allowed = root.flag("allow_proxy_remote_user").unwrap_or(false);
        let peers = peers(root);
        let secret = root.secret("proxy_secret");
        if allowed && peers.is_empty() && !root.has("proxy_peers") {
            root.missing(
                "proxy_peers",
                "accepted: addresses or networks of the proxies, such as [127.0.0.1]",
            );
        }
        if allowed && secret.is_none() {
            root.missing("proxy_secret", "accepted: a random text of 16 characters or more");
        }
        Proxies { peers, remote_user_secret: secret.filter(|_| allowed) }
    }
}

fn peers(root: &mut Section<'_>) -> Vec<IpNet> {
    let mut peers = Vec::new();
    for (path, place, text) in root.texts("proxy_peers").unwrap_or_default() {
        let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
        match address.or_else(|_| text.parse::<IpNet>()) {
            Ok(network) => peers.push(network.trunc()),
            Err(_) => root.cx.fault(place.fault(
                &path,
                format!("`{text}` is no address"),
                "accepted: an address or a network, such as 10.1.2.3 or 10.1.0.0/16",
            )),
        }
    }
    peers
}

/// A provider of accounts from outside, which speaks OpenID Connect.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Provider {
    /// A word for addresses and logins.
    pub name: String,
    /// What people see.
    pub title: String,
    /// Its address; what it is and can do is asked there.
    pub issuer: Endpoint,
    /// Who we are there.
    pub client_id: String,
    /// How we show it; `None`: we are a public client there.
    pub client_secret: Option<Secret>,
    /// What is asked for beside `openid`.
    pub scopes: Vec<String>,
    /// PEM file of the authorities that may have signed its certificate; `None`: those of the system.
    pub ca_cert: Option<PathBuf>,
}

impl Provider {
    pub(crate) fn read_all(root: &mut Section<'_>) -> Vec<Provider> {
        let mut providers: Vec<Provider> = Vec::new();
        for mut section in root.sections("oidc").unwrap_or_default() {
            let name = section.word("name", 16);
            let title = section.text("title");
            let issuer = section.endpoint("issuer", &["https", "http"]);
            let client_id = section.text("client_id");
            let client_secret = section.secret("client_secret");
            let scopes = section.texts("scopes");
            let ca_cert = section.path_value("ca_cert");
            for (key, is_set) in
                [("name", name.is_some()), ("issuer", issuer.is_some()), ("client_id", client_id.is_some())]
            {
                if !is_set && !section.has(key) {
                    section.missing(key, "accepted: a text");
                }
            }
            if issuer.as_ref().is_some_and(|issuer| issuer.scheme() == Some("http") && !issuer.is_loopback())
            {
                section.fault(
                    "issuer",
                    "the answers of this address could come from anybody",
                    "accepted: https",
                );
            }
            if providers.iter().any(|other| Some(&other.name) == name.as_ref()) {
                section.fault("name", "this name is listed twice", "accepted: a name of its own");
            }
            section.finish();
            let (Some(name), Some(issuer), Some(client_id)) = (name, issuer, client_id) else { continue };
            providers.push(Provider {
                title: title.unwrap_or_else(|| name.clone()),
                name,
                issuer,
                client_id,
                client_secret,
                scopes: match scopes {
                    Some(scopes) => scopes.into_iter().map(|(_, _, scope)| scope).collect(),
                    None => vec!["email".to_owned(), "profile".to_owned()],
                },
                ca_cert,
            });
        }
        providers
    }
}
