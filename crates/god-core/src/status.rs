//! Which processes of ours are alive: the sign of life that each leaves in the store, and the plugin that tells an
//! outside registry.

use crate::BoxError;
use crate::ids::Holder;
use crate::units::Timestamp;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of processes, in the order in which they are shown.
pub const KINDS: [&str; 5] = ["scheduler", "watcher", "archiver", "web", "ftp"];

/// What the keys of signs of life begin with among the texts that processes show each other.
pub const SIGNS: &str = "alive/";

/// A process of ours. One that does the work of several kinds is one of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    /// One of [`KINDS`].
    pub kind: String,
    /// Its name, unique within its kind: kind, host, and whatever tells it from others there.
    pub name: String,
    /// The host it runs on.
    pub host: String,
}

/// One process as it is known to a registry or to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Its name.
    pub name: String,
    /// `scheduler`, `watcher`, `archiver`, `web` or `ftp`.
    pub kind: String,
    /// Whether it is well.
    pub alive: bool,
    /// Its last sign of life in seconds since 1970, if that is known.
    pub seen: Option<i64>,
}

/// A sign of life in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// When.
    pub at: Timestamp,
    /// On which host.
    pub host: String,
    /// Who the process is in the leases it holds.
    pub holder: Holder,
}

impl Sign {
    /// The key under which a process leaves its signs.
    #[must_use]
    pub fn key(process: &Process) -> String {
        format!("{SIGNS}{}/{}", process.kind, process.name)
    }

    /// The sign under a key, and whose it is; `None` for what is none.
    #[must_use]
    pub fn read(key: &str, text: &str) -> Option<(Process, Sign)> {
        let (kind, name) = key.strip_prefix(SIGNS)?.split_once('/')?;
        let sign: Sign = serde_json::from_str(text).ok()?;
        let process = Process { kind: kind.to_owned(), name: name.to_owned(), host: sign.host.clone() };
        Some((process, sign))
    }
}

/// Registers processes in an outside registry and lists them.
#[async_trait]
pub trait StatusPlugin: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;
    /// Says that the process is alive. Called about three times a minute while it is, from its start on.
    ///
    /// # Errors
    /// What the registry's client said.
    async fn keep_alive(&self, process: &Process) -> Result<(), BoxError>;
    /// Says that the process has ended as it should; the registry forgets it.
    ///
    /// # Errors
    /// What the registry's client said.
    async fn leave(&self, process: &Process) -> Result<(), BoxError>;
    /// All processes known.
    ///
    /// # Errors
    /// What the registry's client said.
    async fn processes(&self) -> Result<Vec<ProcessStatus>, BoxError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_reads_back() {
        let process = Process { kind: "web".into(), name: "web-h/1".into(), host: "h".into() };
        let sign = Sign { at: Timestamp(5), host: "h".into(), holder: Holder::new("web-h:1.2") };
        let text = serde_json::to_string(&sign).expect("a text");
        let key = Sign::key(&process);
        assert_eq!(key, "alive/web/web-h/1");
        assert_eq!(Sign::read(&key, &text), Some((process, sign)));
        for (key, text) in [("nodes/x", text.as_str()), ("alive/x", &text), ("alive/web/x", "{}")] {
            assert_eq!(Sign::read(key, text), None);
        }
    }
}
