//! What the interface must know of the site's configuration, handed in by the program that read it.

use god_core::admission::Site;
use god_core::keys::{Purpose, Secret};
use god_core::store::PendingLimits;
use god_core::{Seconds, UserId};
use ipnet::IpNet;
use secrecy::SecretString;
use serde::Serialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// An image offered to users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageOffer {
    /// What users see.
    pub name: String,
    /// The image.
    pub url: String,
    /// Whether interactive sessions may use it.
    pub interactive: bool,
    /// Whether forms propose it first.
    pub default: bool,
}

/// A volume offered to users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeOffer {
    /// Its name.
    pub name: String,
    /// `rw` or `ro`.
    pub acl: String,
    /// Path on the host, as configured.
    pub path: Option<String>,
    /// Path in the container, as configured.
    pub mount: Option<String>,
}

/// The key that programs of ours show when they push figures. Only a digest is kept, and nothing of it is shown.
#[derive(Debug, Clone)]
pub struct PushKey(Secret);

impl PushKey {
    /// The key of this text.
    #[must_use]
    pub fn new(text: &str) -> PushKey {
        PushKey(Secret::derive(text.as_bytes(), Purpose::ApiKeys))
    }

    /// Whether a text is the key; takes the same time whatever it is.
    pub(crate) fn is(&self, text: &str) -> bool {
        let shown = PushKey::new(text);
        self.0.as_bytes().iter().zip(shown.0.as_bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

/// Where the use of a container can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cadvisor {
    /// Port of cAdvisor on every node.
    pub port: u16,
    /// What stands between the root of its interface and the container's id.
    pub url_part: String,
    /// Samples to ask for, one a second.
    pub samples: u32,
}

/// How people come in.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Life of a browser's session.
    pub session_life: Seconds,
    /// Address under which people reach the server; `None`: what their requests say.
    pub public_url: Option<String>,
    /// Proxies in front of the server.
    pub proxies: Vec<IpNet>,
    /// What a proxy shows beside the name of the user it knows; `None`: none is believed in this.
    pub remote_user_secret: Option<SecretString>,
}

impl Default for Doors {
    fn default() -> Doors {
        Doors {
            session_life: Seconds(172_800),
            public_url: None,
            proxies: Vec::new(),
            remote_user_secret: None,
        }
    }
}

impl Doors {
    /// Whether a proxy of ours has this address.
    pub(crate) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|network| network.contains(&address))
    }
}

/// The configuration of the interface.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Rules of admission. Its `maintenance` is read from the store at run time.
    pub site: Site,
    /// How people come in.
    pub doors: Doors,
    /// Logins of the admins.
    pub admins: Vec<UserId>,
    /// Images offered.
    pub images: Vec<ImageOffer>,
    /// Volumes offered.
    pub volumes: Vec<VolumeOffer>,
    /// Pending tasks that one user and all users may have.
    pub limits: PendingLimits,
    /// Whether members of a project see and manage each other's tasks in it.
    pub share_project_tasks: bool,
    /// Days that usage answers reach back.
    pub usage_days: u32,
    /// The directory shared by all hosts.
    pub shared_dir: PathBuf,
    /// Largest file that is sent, in bytes; `None` is no limit.
    pub max_file_download: Option<u64>,
    /// Life of an API token. Long: clients keep theirs, and a token ends with the key it was made from.
    pub token_life: Seconds,
    /// Whether everybody may read `/metrics`; otherwise admins only.
    pub open_metrics: bool,
    /// The key of pushed figures; `None` takes none.
    pub prometheus_key: Option<PushKey>,
    /// Where the use of containers can be seen; `None`: nowhere.
    pub cadvisor: Option<Cadvisor>,
    /// Version of the programs.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_key_is_that_text_alone() {
        let key = PushKey::new("abc");
        assert!(key.is("abc"));
        for other in ["", "ab", "abd", "abcd"] {
            assert!(!key.is(other), "{other}");
        }
        assert!(!format!("{key:?}").contains("abc"));
    }
}
