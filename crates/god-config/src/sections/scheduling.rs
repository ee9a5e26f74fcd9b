//! In which order tasks start, how long they may run, and how much a user may have.

use crate::reader::Section;
use crate::sections::network::required_text;

/// In which order tasks start, how long they may run, and how much a user may have.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scheduling {
    /// Name of the policy that orders pending tasks.
    pub policy: String,
    /// Weights of the fair-share policy.
    pub fairshare: FairShare,
    /// Highest number of automatic restarts of a task.
    pub max_restarts: u32,
    /// Never start a task again on a node where it failed.
    pub skip_failed_nodes: bool,
    /// Highest number of pending tasks of one user.
    pub rate_limit: Option<u64>,
    /// Highest number of pending tasks of all users.
    pub rate_limit_all: Option<u64>,
    /// Names of the watchers, in order.
    pub watchers: Vec<String>,
    /// Longest run of a task that names no limit, in seconds. Only the watcher `maxlifespan` enforces it.
    pub max_lifespan_seconds: Option<u64>,
    /// Fields of a task that can be changed after its submission.
    pub dynamic_fields: Vec<DynamicField>,
    /// Bytes that the job directories of one user may hold; `None`: no limit.
    pub disk_quota_bytes: Option<u64>,
    /// Labels that users may ask for.
    pub constraints: Vec<Constraint>,
}

/// Weights of the fair-share policy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FairShare {
    /// Weight of the time waited.
    pub waiting_time: f64,
    /// Weight of a user's own priority.
    pub user: f64,
    /// Weight of a user's past run time.
    pub user_time: f64,
    /// Weight of a user's past cores.
    pub user_cpu: f64,
    /// Weight of a user's past memory.
    pub user_ram: f64,
    /// Weight of a project's own priority.
    pub group: f64,
    /// Weight of a project's past run time.
    pub group_time: f64,
    /// Weight of a project's past cores.
    pub group_cpu: f64,
    /// Weight of a project's past memory.
    pub group_ram: f64,
}

/// A field of a task that can be changed after its submission.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamicField {
    /// Name of the field in `requirements`.
    pub name: String,
    /// Whether only administrators may change it.
    pub admin_only: bool,
}

/// A label with its values. The name `resource` is for countable resources.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Constraint {
    /// Name of the label.
    pub name: String,
    /// Values that may be asked for; never empty.
    pub values: Vec<String>,
}

impl Default for FairShare {
    fn default() -> FairShare {
        FairShare {
            waiting_time: 0.1,
            user: 1.0,
            user_time: 1.0,
            user_cpu: 0.2,
            user_ram: 0.2,
            group: 1.0,
            group_time: 0.1,
            group_cpu: 0.01,
            group_ram: 0.01,
        }
    }
}

impl Default for Scheduling {
    fn default() -> Scheduling {
        Scheduling {
            policy: "FiFo".to_owned(),
            fairshare: FairShare::default(),
            max_restarts: 0,
            skip_failed_nodes: false,
            rate_limit: None,
            rate_limit_all: None,
            watchers: Vec::new(),
            max_lifespan_seconds: Some(7 * 86_400),
            dynamic_fields: Vec::new(),
            disk_quota_bytes: None,
            constraints: Vec::new(),
        }
    }
}

impl Scheduling {
    pub(crate) fn read(root: &mut Section<'_>) -> Scheduling {
        let default = Scheduling::default();
        let known = root.cx.known;
        let mut failure = root.section("failure_policy");
        let max_restarts = failure.count32("strategy", 0).unwrap_or(default.max_restarts);
        let skip_failed_nodes = failure.flag("skip_failed_nodes").unwrap_or(false);
        failure.finish();
        Scheduling {
            policy: root.plugin_or("scheduler_policy", "scheduling policy", known.policies, default.policy),
            fairshare: FairShare::read(root),
            max_restarts,
            skip_failed_nodes,
            rate_limit: root.count("rate_limit", 0),
            rate_limit_all: root.count("rate_limit_all", 0),
            watchers: root.plugins("watchers", "watcher", known.watchers).unwrap_or_default(),
            max_lifespan_seconds: match root.has("maxlifespan") {
                true => root.lifespan("maxlifespan"),
                false => {
                    root.node("maxlifespan");
                    default.max_lifespan_seconds
                }
            },
            dynamic_fields: dynamic_fields(root),
            disk_quota_bytes: root.size("disk_default_quota").filter(|&bytes| bytes > 0),
            constraints: constraints(root),
        }
    }
}

impl FairShare {
    fn read(root: &mut Section<'_>) -> FairShare {
        let default = FairShare::default();
        let mut weight = |key, default| root.weight(key).unwrap_or(default);
        FairShare {
            waiting_time: weight("fairshare_waiting_time_weight", default.waiting_time),
            user: weight("fairshare_user_weight", default.user),
            user_time: weight("fairshare_user_time_weight", default.user_time),
            user_cpu: weight("fairshare_user_cpu_weight", default.user_cpu),
            user_ram: weight("fairshare_user_ram_weight", default.user_ram),
            group: weight("fairshare_group_weight", default.group),
            group_time: weight("fairshare_group_time_weight", default.group_time),
            group_cpu: weight("fairshare_group_cpu_weight", default.group_cpu),
            group_ram: weight("fairshare_group_ram_weight", default.group_ram),
        }
    }
}

fn dynamic_fields(root: &mut Section<'_>) -> Vec<DynamicField> {
    let mut fields = Vec::new();
    for mut item in root.sections("dynamic_fields").unwrap_or_default() {
        let admin_only = item.flag("admin_only").unwrap_or(false);
        if let Some(name) = required_text(&mut item, "name") {
            fields.push(DynamicField { name, admin_only });
        }
        item.finish();
    }
    fields
}

fn constraints(root: &mut Section<'_>) -> Vec<Constraint> {
    let mut constraints = Vec::new();
    for mut item in root.sections("constraints").unwrap_or_default() {
        let name = required_text(&mut item, "name");
        let values: Option<Vec<String>> =
            item.texts("value").map(|values| values.into_iter().map(|(_, _, text)| text).collect());
        match (name, values) {
            (Some(name), Some(values)) if !values.is_empty() => constraints.push(Constraint { name, values }),
            (_, Some(values)) if !values.is_empty() => {}
            (_, Some(_)) => item.fault("value", "no value is listed", "accepted: values separated by commas"),
            (_, None) if item.node("value").is_none() => {
                item.missing("value", "accepted: values separated by commas");
            }
            (_, None) => {}
        }
        item.finish();
    }
    constraints
}
