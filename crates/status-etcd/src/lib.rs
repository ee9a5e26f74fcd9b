//! The status plugin `etcd`: each process is a pair of keys with a time to live.
//!
//! `<prefix>/process/<kind>/<name>` holds the time of the last sign of life, in seconds since 1970 as a text, and
//! `<prefix>/hosts/<kind>/<name>` the host. Both interfaces of etcd are spoken over HTTP, the old one as well as version
//! 3 through its JSON gateway; the keys are the same, but each interface has a space of keys of its own.

mod v2;
mod v3;
mod wire;

use async_trait::async_trait;
use god_core::BoxError;
use god_core::status::{Process, ProcessStatus, StatusPlugin};
use reqwest::{StatusCode, Url};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};
use wire::Entry;

/// The name in the configuration.
pub const NAME: &str = "etcd";
/// How long a key lives without a new sign of life.
const TTL: Duration = Duration::from_secs(3600);
/// A process whose last sign is older is not well.
const SILENT_AFTER: i64 = 300;
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Which interface is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Api {
    /// The old one.
    V2,
    /// The one since etcd 3.
    V3,
    /// What the server's version says: `V3` from 3.0 on.
    #[default]
    Auto,
}

/// Where etcd is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Host name or address.
    pub host: String,
    /// Port for clients.
    pub port: u16,
    /// What all keys start with; begins with `/`.
    pub prefix: String,
    /// Which interface is spoken.
    pub api: Api,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Host and port are no address.
    #[error("`{0}` is not the address of an etcd")]
    Address(String),
    /// No answer.
    #[error("etcd does not answer while {doing}")]
    Unreachable {
        /// What was asked of it.
        doing: &'static str,
        /// What the client said.
        source: reqwest::Error,
    },
    /// It does not do what was asked.
    #[error("etcd answers {status} while {doing}: {text}")]
    Refused {
        /// What was asked of it.
        doing: &'static str,
        /// Its answer.
        status: StatusCode,
        /// The beginning of what it said.
        text: String,
    },
    /// The answer makes no sense.
    #[error("etcd gave an answer that can not be read while {doing}: {what}")]
    Garbled {
        /// What was asked of it.
        doing: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// The plugin.
#[derive(Debug)]
pub struct Etcd {
    server: Server,
    prefix: String,
    api: Api,
    /// What the server turned out to speak.
    found: OnceLock<Dialect>,
    v3: v3::Leases,
}

/// How a server is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Dialect {
    V2,
    /// With the beginning of its paths, which changed with the versions.
    V3(&'static str),
}

/// A server and the client for it.
#[derive(Debug)]
struct Server {
    http: reqwest::Client,
    base: Url,
}

impl Etcd {
    /// The plugin; it connects when it has something to say.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(options: &Options) -> Result<Etcd, Error> {
        let Options { host, port, prefix, api } = options;
        let address = if host.contains(':') && !host.starts_with('[') {
            format!("http://[{host}]:{port}/")
        } else {
            format!("http://{host}:{port}/")
        };
        let bad = || Error::Address(address.clone());
        let base = Url::parse(&address).map_err(|_| bad())?;
        let http = reqwest::Client::builder().timeout(ANSWER).no_proxy().build().map_err(|_| bad())?;
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("/{prefix}"),
        };
        let server = Server { http, base };
        Ok(Etcd { server, prefix, api: *api, found: OnceLock::new(), v3: v3::Leases::default() })
    }

    async fn dialect(&self) -> Result<&Dialect, Error> {
        if let Some(found) = self.found.get() {
            return Ok(found);
        }
        let dialect = if self.api == Api::V2 {
            Dialect::V2
        } else {
            const DOING: &str = "its version is asked for";
            let answer = self.server.http.get(self.server.url("version", DOING)?);
            let text = self.server.text(answer, DOING).await?;
            match (wire::dialect(&text), self.api) {
                (Some(Dialect::V2), Api::V3) => {
                    let what = "it is older than etcd 3: set etcd_api to v2 or auto".to_owned();
                    return Err(Error::Garbled { doing: DOING, what });
                }
                (Some(dialect), _) => dialect,
                (None, _) => return Err(Error::Garbled { doing: DOING, what: shown(&text) }),
            }
        };
        Ok(self.found.get_or_init(|| dialect))
    }

    fn keys(&self, process: &Process) -> [String; 2] {
        let Process { kind, name, .. } = process;
        [format!("{}/process/{kind}/{name}", self.prefix), format!("{}/hosts/{kind}/{name}", self.prefix)]
    }
}

#[async_trait]
impl StatusPlugin for Etcd {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn keep_alive(&self, process: &Process) -> Result<(), BoxError> {
        let [sign, host] = self.keys(process);
        let entries =
            [Entry { key: sign, value: now().to_string() }, Entry { key: host, value: process.host.clone() }];
        match self.dialect().await? {
            Dialect::V2 => v2::put(&self.server, &entries).await?,
            Dialect::V3(path) => self.v3.put(&self.server, path, process, &entries).await?,
        }
        Ok(())
    }

    async fn leave(&self, process: &Process) -> Result<(), BoxError> {
        let keys = self.keys(process);
        match self.dialect().await? {
            Dialect::V2 => v2::remove(&self.server, &keys).await?,
            Dialect::V3(path) => self.v3.remove(&self.server, path, process, &keys).await?,
        }
        Ok(())
    }

    async fn processes(&self) -> Result<Vec<ProcessStatus>, BoxError> {
        let folder = format!("{}/process/", self.prefix);
        let entries = match self.dialect().await? {
            Dialect::V2 => v2::list(&self.server, &folder).await?,
            Dialect::V3(path) => v3::list(&self.server, path, &folder).await?,
        };
        let now = now();
        Ok(entries.iter().filter_map(|entry| wire::process(&folder, entry, now, SILENT_AFTER)).collect())
    }
}

impl Server {
    fn url(&self, path: &str, doing: &'static str) -> Result<Url, Error> {
        self.base.join(path).map_err(|err| Error::Garbled { doing, what: err.to_string() })
    }

    /// The text of a good answer.
    async fn text(&self, request: reqwest::RequestBuilder, doing: &'static str) -> Result<String, Error> {
        let (status, text) = self.answer(request, doing).await?;
        if status.is_success() { Ok(text) } else { Err(Error::Refused { doing, status, text: shown(&text) }) }
    }

    async fn answer(
        &self,
        request: reqwest::RequestBuilder,
        doing: &'static str,
    ) -> Result<(StatusCode, String), Error> {
        let unreachable = |source| Error::Unreachable { doing, source };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        Ok((status, answer.text().await.map_err(unreachable)?))
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The beginning of an answer, for a message.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
