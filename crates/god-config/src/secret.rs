//! Values that must not reach a log: secrets, and addresses that may carry a password.
//!
//! Nothing here prints what it holds; the one way to the text is a method whose name says so.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

/// A secret text. `Debug` and `Display` print stars; the memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(SecretString::from(text.into()))
    }

    /// The text itself. Pass it on to what needs it, never to a log or an error.
    pub fn reveal(&self) -> &str {
        self.0.expose_secret()
    }

    /// Length in characters.
    pub fn n_chars(&self) -> usize {
        self.reveal().chars().count()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("*****")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("*****")
    }
}

/// For comparing configurations. Not constant in time: never compare what a client sent with it.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.reveal() == other.reveal()
    }
}

impl Eq for Secret {}

/// An address of a service, with or without a scheme. `Debug` and `Display` hide the user and password part.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Wraps an address as it stands.
    pub fn new(text: impl Into<String>) -> Endpoint {
        Endpoint(text.into())
    }

    /// The whole address, credentials included: for connecting, not for printing.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What stands before `://`, when there is such a part.
    pub fn scheme(&self) -> Option<&str> {
        self.0.split_once("://").map(|(scheme, _)| scheme)
    }

    /// The path of a `unix://` address, absolute however many `/` it starts with; `None` for other addresses.
    pub fn socket_path(&self) -> Option<PathBuf> {
        let path = self.0.strip_prefix("unix://")?.trim_start_matches('/');
        (!path.is_empty()).then(|| Path::new("/").join(path))
    }

    /// The host without user, port and path; empty for a path of a socket.
    pub fn host(&self) -> &str {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        match host_port.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((host, _)) => host,
            None => host_port.split(':').next().unwrap_or_default(),
        }
    }

    /// Whether the host is this machine itself.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self.0.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, self.0.as_str()),
        };
        if let Some(scheme) = scheme {
            write!(f, "{scheme}://")?;
        }
        // The last `@` counts, wherever it is: a password may hold `/` or `@` unquoted.
        match rest.rsplit_once('@') {
            Some((_, host)) => write!(f, "*****@{host}"),
            None => f.write_str(rest),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_stars_and_compares_by_text() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:#?}", Some(&secret)), "***** ***** Some(\n    *****,\n)");
        assert_eq!(secret, Secret::new("hunter2"));
        assert_ne!(secret, Secret::new("hunter3"));
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn an_address_hides_its_password() {
        let address = Endpoint::new("mongodb://bob:p/w@x@db1:27017/god");
        assert_eq!(address.to_string(), "mongodb://*****@db1:27017/god");
        assert_eq!(format!("{address:?}"), "mongodb://*****@db1:27017/god");
        assert_eq!(Endpoint::new("10.0.0.1:9091").to_string(), "10.0.0.1:9091");
        assert_eq!(Endpoint::new("bob:pw@h:1").to_string(), "*****@h:1");
    }

    #[test]
    fn sockets_have_absolute_paths() {
        let socket = |text: &str| Endpoint::new(text).socket_path();
        assert_eq!(socket("unix:///run/docker.sock"), Some(PathBuf::from("/run/docker.sock")));
        assert_eq!(socket("unix://run/docker.sock"), Some(PathBuf::from("/run/docker.sock")));
        assert_eq!(socket("unix://"), None);
        assert_eq!(socket("tcp://h:1"), None);
    }

    #[test]
    fn the_host_is_found_in_every_form() {
        fn check(address: &str, host: &str, loopback: bool) {
            let address = Endpoint::new(address);
            assert_eq!((address.host(), address.is_loopback()), (host, loopback), "{address:?}");
        }
        check("tcp://127.0.0.1:2375", "127.0.0.1", true);
        check("http://[::1]:80/x", "::1", true);
        check("https://u:p@localhost/x", "localhost", true);
        check("db.example:80", "db.example", false);
        check("unix:///run/docker.sock", "", false);
        check("", "", false);
    }
}
