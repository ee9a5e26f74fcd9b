//! What the interface must know of the site's configuration, handed in by the program that read it.

use god_core::admission::Site;
use god_core::store::PendingLimits;
use god_core::{Seconds, UserId};
use serde::Serialize;
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

/// The configuration of the interface.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Rules of admission. Its `maintenance` is read from the store at run time.
    pub site: Site,
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
    /// Version of the programs.
    pub version: String,
}
