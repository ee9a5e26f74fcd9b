//! What a user asked for: the part of a task that does not change after the submit (dynamic fields excepted).

use crate::array::ArraySpec;
use crate::ids::{ProjectId, TaskId, UserId};
use crate::resources::Amount;
use crate::units::{Bytes, Cores, Seconds};
use crate::warning::{WARN_FIELD, Warning};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The identity under which a task runs, looked up on the server at submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Login.
    pub id: UserId,
    /// Numeric user id of processes and files.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Secondary groups.
    pub sgids: Vec<u32>,
    /// Address for mail, if known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub email: Option<String>,
    /// Home directory, if there is one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub home: Option<String>,
    /// Project the task is accounted to.
    pub project: ProjectId,
    /// Provider of a guest's login; `None` for everybody else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guest: Option<String>,
}

/// A directory made visible to the task, already resolved by the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Name under which it was asked for.
    pub name: String,
    /// Path on the host.
    pub path: String,
    /// Path in the container.
    pub mount: String,
    /// Whether the task may write.
    pub writable: bool,
}

/// What happens to a task when a task it waits for did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterPolicy {
    /// It starts after any end, as it always did.
    #[default]
    Any,
    /// It ends as skipped, with the reason, unless every one of them ended with exit code 0.
    Ok,
}

/// Which files a run leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A job directory with `god.log`, `god.err` and `god.info`.
    #[default]
    Files,
    /// Nothing at all: no directory, no output.
    None,
}

/// Everything the user asked for, checked and with the server's values filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Who runs it.
    pub owner: Owner,
    /// Name, never empty.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Free words for filters.
    pub tags: Vec<String>,
    /// Cores wanted, at least 1.
    pub cores: Cores,
    /// Memory wanted in the wire format's whole GB, taken as GiB.
    pub ram: u32,
    /// GPUs wanted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gpus: u32,
    /// The array, for an array's parent and (as the parent's) for its children.
    #[serde(default, skip_serializing_if = "is_default")]
    pub array: Option<ArraySpec>,
    /// Placement constraints `name==value`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub labels: Vec<String>,
    /// Tasks that must be over first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after: Vec<TaskId>,
    /// What a failed one of them means.
    #[serde(default, skip_serializing_if = "is_default")]
    pub after_policy: AfterPolicy,
    /// Container ports to open.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ports: Vec<u16>,
    /// Network label.
    pub network: String,
    /// Placement text; its first part names the executor. `None` is the first configured one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub executor: Option<String>,
    /// Restarts allowed after a failure of a node, never of the script itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub failure_policy: u32,
    /// Size text of the scratch space asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tmp_storage: Option<String>,
    /// URIs noted for the job.
    #[serde(default, skip_serializing_if = "is_default")]
    pub uris: Vec<String>,
    /// Time limit of one run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub time_limit: Option<Seconds>,
    /// Other texts in `requirements`, the site's dynamic fields among them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fields: BTreeMap<String, String>,
    /// Image, without the private registry's name.
    pub image: String,
    /// Volumes, resolved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes: Vec<Volume>,
    /// Whether the script runs as root in its container.
    #[serde(default, skip_serializing_if = "is_default")]
    pub root: bool,
    /// Whether the task is an interactive session.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interactive: bool,
    /// The script, byte for byte.
    pub script: String,
    /// Mail at changes of status.
    #[serde(default, skip_serializing_if = "is_default")]
    pub notify_email: bool,
    /// Files or none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub output: Output,
    /// Quotas copied at submit for the wire format: user time, cpu, ram, then project time, cpu, ram.
    #[serde(default, skip_serializing_if = "is_default")]
    pub quotas: [f64; 6],
}

/// What is not said when a specification is stored: most tasks ask for little.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Name of the field that holds a time limit which was changed after the submit.
pub const LIMIT_FIELD: &str = "maxlifespan";

impl TaskSpec {
    /// What one run occupies on a node.
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount { cores: self.cores, memory: Bytes::from_ram(self.ram), gpus: self.gpus }
    }

    /// The signal it gets before its limit, if it asked for one.
    #[must_use]
    pub fn warning(&self) -> Option<Warning> {
        self.fields.get(WARN_FIELD)?.parse().ok()
    }

    /// Wall time it may run: what it was last changed to, else what it was submitted with.
    #[must_use]
    pub fn limit(&self) -> Option<Seconds> {
        let changed = self.fields.get(LIMIT_FIELD).and_then(|text| Seconds::parse(text).ok());
        changed.or(self.time_limit)
    }
}
