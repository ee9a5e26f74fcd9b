//! The address of a server, and the addresses of its routes.

use crate::failure::Failure;
use reqwest::Url;
use std::fmt;

/// A server by its base address; never holds a user or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    base: Url,
    insecure: bool,
}

impl Server {
    /// Reads an address; `insecure` means that its certificate is not checked.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is not `http://` or `https://` with a host, or holds more than a path.
    pub fn parse(text: &str, insecure: bool) -> Result<Server, Failure> {
        let bad = |why: &str| {
            // It might hold a password, so it is shown without what stands before an @.
            let shown = text.rsplit_once('@').map_or(text, |(_, rest)| rest);
            let shown = crate::text::short(shown, 200);
            Failure::Usage(format!(
                "{shown:?} is no address of a server: {why}; one looks like http://HOST:6543"
            ))
        };
        let base = Url::parse(text.trim()).map_err(|err| bad(&err.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(bad("it must begin with http:// or https://"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad("a user or a password does not belong there"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("nothing may follow the path"));
        }
        Ok(Server { base, insecure })
    }

    /// Whether its certificate is not to be checked.
    pub fn insecure(&self) -> bool {
        self.insecure
    }

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Whether what is sent can be read on the way.
    pub fn is_open(&self) -> bool {
        let host = self.base.host_str().unwrap_or_default();
        let here = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        self.base.scheme() == "http" && !here
    }

    /// Whether both are the same address.
    pub fn same_place(&self, other: &Server) -> bool {
        self.to_string() == other.to_string()
    }

    /// The address of a route below `/api/1.0`; each part is one segment of the path, whatever characters it holds.
    pub fn route<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Url {
        self.below("1.0", parts)
    }

    /// The address of a route below `/api/2`.
    pub fn typed_route<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Url {
        self.below("2", parts)
    }

    fn below<'a>(&self, version: &'a str, parts: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", version]).extend(parts);
        }
        url
    }
}

impl fmt::Display for Server {
    /// Without a slash at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let read = |text: &str| Server::parse(text, false).expect(text);
        assert_eq!(read("http://h:6543/").to_string(), "http://h:6543");
        assert_eq!(read("https://h/god/").route(["task", "7"]).as_str(), "https://h/god/api/1.0/task/7");
        assert_eq!(read("http://h:6543").route(["config"]).as_str(), "http://h:6543/api/1.0/config");
        assert!(read("http://h/").same_place(&read("http://h:80")));
        assert!(!read("http://h/").same_place(&read("https://h")));
        assert!(read("http://h").is_open());
        for here in ["https://h", "http://localhost:1", "http://127.0.0.1", "http://[::1]:6543"] {
            assert!(!read(here).is_open(), "{here}");
        }
    }

    #[test]
    fn odd_segments_stay_one_segment() {
        let url = Server::parse("http://h", false).expect("an address").route(["a/b", "c?d#e", "é"]);
        assert_eq!(url.path(), "/api/1.0/a%2Fb/c%3Fd%23e/%C3%A9");
    }

    #[test]
    fn what_is_refused_says_why() {
        for (bad, want) in [
            ("h:6543", "http:// or https://"),
            ("localhost", "relative URL"),
            ("ftp://h", "http:// or https://"),
            ("http://u:secret@h", "does not belong"),
            ("http://h?x=1", "follow the path"),
            ("http://", "empty host"),
        ] {
            let text = Server::parse(bad, false).expect_err(bad).to_string();
            assert!(text.contains(want), "{bad}: {text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
