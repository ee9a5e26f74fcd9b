//! Where a request comes from: the address, the protocol, and whether a page of ours sent it. What a proxy says of this is
//! believed only if it is one of those configured.

use crate::app::App;
use crate::config::Doors;
use crate::error::ApiError;
use crate::serve::Peer;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, header};
use god_core::UserId;
use god_core::keys;
use secrecy::ExposeSecret as _;
use std::net::IpAddr;

/// The header in which a proxy names the user it knows.
const REMOTE_USER: &str = "remote-user";
/// The header in which it shows that it is the proxy.
const PROXY_SECRET: &str = "x-god-proxy-secret";

/// The user whom a proxy knows, put into the request when it was believed.
#[derive(Debug, Clone)]
pub(crate) struct RemoteUser(pub(crate) UserId);

/// The address of the client; `None` when the request came over no connection.
pub(crate) fn address(doors: &Doors, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = extensions.get::<Peer>()?.0.ip().to_canonical();
    if !doors.is_proxy(peer) {
        return Some(peer);
    }
    // Each proxy adds the address it saw at the end; what stands before the first stranger was said by the stranger.
    let said = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let all: Vec<&str> = said.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut found = peer;
    for text in all.iter().rev() {
        let Ok(address) = text.parse::<IpAddr>() else { break };
        found = address.to_canonical();
        if !doors.is_proxy(found) {
            break;
        }
    }
    Some(found)
}

/// The address for the audit trail and the log.
pub(crate) fn from(doors: &Doors, extensions: &Extensions, headers: &HeaderMap) -> String {
    address(doors, extensions, headers).map_or_else(|| "-".to_owned(), |address| address.to_string())
}

/// Whether the client's connection is protected, as far as we can know.
pub(crate) fn is_https(doors: &Doors, parts: &Parts) -> bool {
    if doors.public_url.as_ref().is_some_and(|url| url.starts_with("https://")) {
        return true;
    }
    let is_proxied =
        parts.extensions.get::<Peer>().is_some_and(|peer| doors.is_proxy(peer.0.ip().to_canonical()));
    let said = parts.headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    is_proxied && said.is_some_and(|said| said.eq_ignore_ascii_case("https"))
}

/// Refuses what a browser sends for a page that is not ours.
pub(crate) fn check_page(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let foreign = || {
        let text = "this request was sent for a page of another site; the address of ours is web.public_url";
        ApiError::Forbidden(text.to_owned())
    };
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site") {
        return Err(foreign());
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map(|(_, host)| host).ok_or_else(foreign)?;
    let public = app.config().doors.public_url.as_deref().and_then(host_of);
    let own = [text(header::HOST), public];
    if own.iter().flatten().any(|own| own.eq_ignore_ascii_case(host)) { Ok(()) } else { Err(foreign()) }
}

/// Host and port of an address.
fn host_of(url: &str) -> Option<&str> {
    url.split_once("://").and_then(|(_, rest)| rest.split('/').next())
}

/// Takes the user whom a proxy knows out of the headers; only a proxy that shows the secret is believed.
pub(crate) fn take_remote_user(doors: &Doors, headers: &mut HeaderMap, extensions: &mut Extensions) {
    let named = headers.remove(REMOTE_USER);
    let shown = headers.remove(PROXY_SECRET);
    let (Some(named), Some(secret)) = (named, &doors.remote_user_secret) else { return };
    let Some(peer) = extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical()) else { return };
    let shown = shown.as_ref().and_then(|shown| shown.to_str().ok()).unwrap_or_default();
    if !doors.is_proxy(peer) || !keys::same(shown, secret.expose_secret()) {
        tracing::warn!(%peer, "a user named in a header was not believed");
        return;
    }
    match named.to_str().ok().and_then(|named| UserId::parse(named).ok()) {
        Some(user) => drop(extensions.insert(RemoteUser(user))),
        None => tracing::warn!(%peer, "the proxy names a user whose login can not be one here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn doors() -> Doors {
        Doors {
            proxies: vec!["10.0.0.0/24".parse().expect("a network"), "::1/128".parse().expect("a network")],
            remote_user_secret: Some("kG7qLz0PweR4vX2m".to_owned().into()),
            ..Doors::default()
        }
    }

    fn peer(address: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(Peer(SocketAddr::new(address.parse().expect("an address"), 9)));
        extensions
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(*name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn a4_the_address_is_the_last_one_that_a_proxy_saw() {
        let of = |from: &str, said: &[&str]| {
            let said: Vec<_> = said.iter().map(|said| ("x-forwarded-for", *said)).collect();
            address(&doors(), &peer(from), &headers(&said)).expect("a connection").to_string()
        };
        assert_eq!(of("192.0.2.7", &["198.51.100.1"]), "192.0.2.7", "no proxy of ours");
        assert_eq!(of("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &["1.1.1.1, 198.51.100.1"]), "198.51.100.1", "what the client itself said");
        assert_eq!(of("10.0.0.1", &["1.1.1.1", "198.51.100.1,10.0.0.2"]), "198.51.100.1");
        assert_eq!(of("10.0.0.1", &["x, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(of("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a9_only_a_proxy_with_the_secret_names_users() {
        let believed = |from: &str, all: &[(&'static str, &str)], doors: &Doors| {
            let (mut extensions, mut headers) = (peer(from), headers(all));
            take_remote_user(doors, &mut headers, &mut extensions);
            assert!(headers.is_empty(), "taken out whatever it says");
            extensions.get::<RemoteUser>().map(|user| user.0.to_string())
        };
        let user = ("remote-user", "bob");
        let secret = ("x-god-proxy-secret", "kG7qLz0PweR4vX2m");
        assert_eq!(believed("10.0.0.1", &[user, secret], &doors()).as_deref(), Some("bob"));
        assert_eq!(believed("::1", &[user, secret], &doors()).as_deref(), Some("bob"));
        for (from, all) in [
            ("192.0.2.7", &[user, secret][..]),
            ("127.0.0.1", &[user, secret]),
            ("10.0.0.1", &[user]),
            ("10.0.0.1", &[secret]),
            ("10.0.0.1", &[user, ("x-god-proxy-secret", "")]),
            ("10.0.0.1", &[user, ("x-god-proxy-secret", "kG7qLz0PweR4vX2")]),
            ("10.0.0.1", &[user, ("x-god-proxy-secret", "kG7qLz0PweR4vX2n")]),
            ("10.0.0.1", &[("remote-user", "../bob"), secret]),
            ("10.0.0.1", &[("remote-user", ""), secret]),
        ] {
            assert_eq!(believed(from, all, &doors()), None, "{from} {all:?}");
        }
        let off = Doors { remote_user_secret: None, ..doors() };
        assert_eq!(believed("10.0.0.1", &[user, secret], &off), None, "off by default");
    }
}
