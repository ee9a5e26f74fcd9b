//! Users and projects as the store keeps them.

use crate::ids::{ProjectId, UserId};
use serde::{Deserialize, Serialize};

/// One API key of a user. The key itself is shown once and never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// First characters, to tell keys apart.
    pub prefix: String,
    /// Keyed hash of the whole key, base64.
    pub hash: String,
    /// When it was made.
    pub created: crate::units::Timestamp,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Login.
    pub id: UserId,
    /// Where the user comes from: `local`, or the name of another authentication plugin.
    #[serde(rename = "type")]
    pub kind: String,
    /// Password as a PHC string, for local users.
    #[serde(default)]
    pub password: Option<String>,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Secondary groups.
    #[serde(default)]
    pub sgids: Vec<u32>,
    /// Address for mail, empty when not known.
    #[serde(default)]
    pub email: String,
    /// Home directory, empty when there is none.
    #[serde(default)]
    pub home: String,
    /// API keys that are valid.
    #[serde(default)]
    pub keys: Vec<KeyRecord>,
    /// Grows when keys or password change, so that older tokens end.
    #[serde(default)]
    pub key_version: u32,
    /// Public key for interactive sessions, empty when there is none.
    #[serde(default)]
    pub ssh_public: String,
    /// Scheduling priority 0..=100.
    #[serde(default = "middle")]
    pub prio: u32,
    /// Quotas over the usage window, 0 is none: time, cpu, ram.
    #[serde(default)]
    pub quotas: [f64; 3],
    /// Whether the login may be used.
    #[serde(default = "yes")]
    pub active: bool,
    /// Whether this is a guest, whose jobs run as the local user that guests are bound to.
    #[serde(default)]
    pub guest: bool,
    /// Version, for compare-and-set.
    #[serde(default)]
    pub rev: u64,
}

/// A volume that members of a project may ask for in its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectVolume {
    /// Name.
    pub name: String,
    /// Absolute path on the hosts.
    pub path: String,
    /// Absolute path in containers; empty is the same as `path`.
    #[serde(default)]
    pub mount: String,
    /// `rw` or `ro`; everything else is read as `ro`.
    #[serde(default = "read_only")]
    pub acl: String,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Name.
    pub id: ProjectId,
    /// Free text.
    #[serde(default)]
    pub description: String,
    /// Scheduling priority 0..=100.
    #[serde(default = "middle")]
    pub prio: u32,
    /// Logins.
    #[serde(default)]
    pub members: Vec<UserId>,
    /// Volumes for its tasks.
    #[serde(default)]
    pub volumes: Vec<ProjectVolume>,
    /// Quotas over the usage window, 0 is none: time, cpu, ram.
    #[serde(default)]
    pub quotas: [f64; 3],
    /// Version, for compare-and-set.
    #[serde(default)]
    pub rev: u64,
}

fn middle() -> u32 {
    50
}

fn yes() -> bool {
    true
}

fn read_only() -> String {
    "ro".to_owned()
}
