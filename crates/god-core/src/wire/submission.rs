//! What a client may ask for when it submits a task, as it stands in the body. What the server fills in by itself
//! (identity, dates, status, container data) is not even read.

use super::fault::{Fault, shown};
use super::reader::{Chars, Reader, Section, whole};
use crate::ids::TaskId;
use crate::spec::{AfterPolicy, Output, TaskSpec};
use crate::units::Seconds;
use serde_json::Value;
use std::collections::BTreeMap;

/// A volume asked for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedVolume {
    /// Its name.
    pub name: String,
    /// Whether the task wants to write.
    pub writable: bool,
}

/// A submit as the client sent it: well-formed and bounded, but nothing is allowed yet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Submission {
    /// Login of the owner, when the body names one.
    pub user: Option<String>,
    /// Project.
    pub project: Option<String>,
    /// Name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Free words.
    pub tags: Vec<String>,
    /// Cores.
    pub cpu: Option<u32>,
    /// GB.
    pub ram: Option<u32>,
    /// GPUs.
    pub gpus: u32,
    /// Array text, perhaps with a `%limit`.
    pub array: Option<String>,
    /// Placement constraints.
    pub labels: Vec<String>,
    /// Tasks that must be over first.
    pub after: Vec<TaskId>,
    /// What a failed one of them means.
    pub after_policy: AfterPolicy,
    /// Container ports.
    pub ports: Vec<u16>,
    /// Network label.
    pub network: Option<String>,
    /// Placement text.
    pub executor: Option<String>,
    /// Restarts after failures of nodes.
    pub failure_policy: Option<u32>,
    /// Size text of the scratch space.
    pub tmp_storage: Option<String>,
    /// URIs.
    pub uris: Vec<String>,
    /// Time limit text as older clients name it.
    pub maxlifespan: Option<String>,
    /// Time limit text.
    pub time_limit: Option<String>,
    /// Files or none.
    pub output: Output,
    /// All other texts, numbers and true values in `requirements`, as text.
    pub fields: BTreeMap<String, String>,
    /// Image.
    pub image: String,
    /// Volumes.
    pub volumes: Vec<AskedVolume>,
    /// Whether the script shall run as root.
    pub root: bool,
    /// Whether it is an interactive session.
    pub interactive: bool,
    /// The script.
    pub script: String,
    /// Mail at changes of status.
    pub notify_email: bool,
}

/// Names in `requirements` that have a meaning of their own and are never free fields.
const KNOWN: [&str; 25] = [
    "after_policy",
    "array",
    "cpu",
    "executor",
    "failure_policy",
    "gpus",
    "label",
    "maxlifespan",
    "network",
    "output",
    "ports",
    "project_quota_cpu",
    "project_quota_ram",
    "project_quota_time",
    "ram",
    "resources",
    "sge",
    "tasks",
    "ticket_share",
    "time_limit",
    "tmpstorage",
    "uris",
    "user_quota_cpu",
    "user_quota_ram",
    "user_quota_time",
];

impl Submission {
    /// Reads the body of a submit. Null stands for "absent" everywhere, unknown fields are ignored.
    ///
    /// # Errors
    /// Every fault of the body, up to 50.
    pub fn read(body: &Value) -> Result<Submission, Vec<Fault>> {
        let mut reader = Reader::new(true);
        let asked = Submission::read_with(&mut reader, body);
        if reader.faults.is_empty() { Ok(asked) } else { Err(reader.faults) }
    }

    /// What would have to be asked to get the same task again. What it waited for is over by now and left out.
    #[must_use]
    pub fn again(spec: &TaskSpec) -> Submission {
        let span = |span: Seconds| format!("{}s", span.0);
        Submission {
            user: Some(spec.owner.id.to_string()),
            project: Some(spec.owner.project.to_string()),
            name: spec.name.clone(),
            description: spec.description.clone(),
            tags: spec.tags.clone(),
            cpu: Some(spec.cores.0),
            ram: Some(spec.ram),
            gpus: spec.gpus,
            array: spec.array.as_ref().map(ToString::to_string),
            labels: spec.labels.clone(),
            after: Vec::new(),
            after_policy: spec.after_policy,
            ports: spec.ports.clone(),
            network: Some(spec.network.clone()),
            executor: spec.executor.clone(),
            failure_policy: Some(spec.failure_policy),
            tmp_storage: spec.tmp_storage.clone(),
            uris: spec.uris.clone(),
            maxlifespan: None,
            time_limit: spec.time_limit.map(span),
            output: spec.output,
            fields: spec.fields.clone(),
            image: spec.image.clone(),
            volumes: spec
                .volumes
                .iter()
                .map(|volume| AskedVolume { name: volume.name.clone(), writable: volume.writable })
                .collect(),
            root: spec.root,
            interactive: spec.interactive,
            script: spec.script.clone(),
            notify_email: spec.notify_email,
        }
    }

    pub(super) fn read_with(r: &mut Reader, body: &Value) -> Submission {
        let root = r.root(body);
        let user = r.section(&root, "user", "user");
        let meta = r.section(&root, "meta", "meta");
        let needs = r.section(&root, "requirements", "requirements");
        let container = r.section(&root, "container", "container");
        let command = r.section(&root, "command", "command");
        let notify = r.section(&root, "notify", "notify");
        let size = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
        Submission {
            user: filled(r.text(&user, "id", 64, Chars::Line)),
            project: filled(r.text(&user, "project", 64, Chars::Line)),
            name: r.text(&meta, "name", 255, Chars::Line).unwrap_or_default(),
            description: r.text(&meta, "description", 10_000, Chars::Lines).unwrap_or_default(),
            tags: r.texts(&meta, "tags", 50, 255),
            cpu: size(r.whole(&needs, "cpu", 1, 1_000_000)),
            ram: size(r.whole(&needs, "ram", 1, 1_000_000)),
            gpus: size(r.whole(&needs, "gpus", 0, 10_000)).unwrap_or(0),
            array: array(r, &needs),
            labels: r.texts(&needs, "label", 64, 255),
            after: after(r, &needs),
            after_policy: word(
                r,
                &needs,
                "after_policy",
                &[("any", AfterPolicy::Any), ("ok", AfterPolicy::Ok)],
            ),
            ports: ports(r, &needs),
            network: filled(r.text(&needs, "network", 64, Chars::Line)),
            executor: filled(r.text(&needs, "executor", 255, Chars::Line)),
            failure_policy: size(r.whole(&needs, "failure_policy", 0, 1_000_000)),
            tmp_storage: tmp_storage(r, &needs),
            uris: r.texts(&needs, "uris", 1000, 4096),
            maxlifespan: span(r, &needs, "maxlifespan"),
            time_limit: span(r, &needs, "time_limit"),
            output: word(r, &needs, "output", &[("files", Output::Files), ("none", Output::None)]),
            fields: fields(&needs),
            image: r.text(&container, "image", 512, Chars::Line).unwrap_or_default(),
            volumes: volumes(r, &container),
            root: r.yes(&container, "root"),
            interactive: r.yes(&command, "interactive"),
            script: r.text(&command, "cmd", usize::MAX, Chars::Any).unwrap_or_default(),
            notify_email: r.yes(&notify, "email"),
        }
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// `{values: text}` as clients send it, or the text alone.
fn array(r: &mut Reader, needs: &Section<'_>) -> Option<String> {
    const ACCEPTED: &str = "N, first:last or first:last:step, then perhaps %limit";
    let value = match needs.get("array")? {
        Value::Object(map) => map.get("values").filter(|v| !v.is_null())?,
        other => other,
    };
    match value {
        Value::String(text) => filled(r.checked(text, || needs.path_of("array.values"), 100, Chars::Line)),
        Value::Number(n) if whole(value).is_some() => {
            Some(whole(value).map_or(n.to_string(), |n| n.to_string()))
        }
        other => {
            r.fault(needs.path_of("array.values"), format!("is {}", shown(other)), ACCEPTED);
            None
        }
    }
}

/// Ids as numbers or as decimal texts.
fn after(r: &mut Reader, needs: &Section<'_>) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for (i, entry) in r.list(needs, "tasks", 1000) {
        let id = match entry {
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => text.trim().parse().ok(),
            other => whole(other).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).map(TaskId),
        };
        match id {
            Some(id) if !ids.contains(&id) => ids.push(id),
            Some(_) => {}
            None => r.fault(
                format!("{}[{i}]", needs.path_of("tasks")),
                format!("is {}", shown(entry)),
                "the id of a task",
            ),
        }
    }
    ids
}

fn ports(r: &mut Reader, needs: &Section<'_>) -> Vec<u16> {
    let mut ports = Vec::new();
    for (i, entry) in r.list(needs, "ports", 100) {
        match whole(entry).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0) {
            Some(port) if !ports.contains(&port) => ports.push(port),
            Some(_) => {}
            None => r.fault(
                format!("{}[{i}]", needs.path_of("ports")),
                format!("is {}", shown(entry)),
                "a port from 1 to 65535",
            ),
        }
    }
    ports
}

/// `{size: text}` as clients send it; Mesos once stored an empty size for "none".
fn tmp_storage(r: &mut Reader, needs: &Section<'_>) -> Option<String> {
    let inner = r.section(needs, "tmpstorage", "requirements.tmpstorage");
    filled(r.text(&inner, "size", 30, Chars::Line))
}

/// A duration as text, or a bare number of seconds.
fn span(r: &mut Reader, needs: &Section<'_>, key: &str) -> Option<String> {
    match needs.get(key)? {
        Value::String(text) => filled(r.checked(text, || needs.path_of(key), 40, Chars::Line)),
        value => match whole(value) {
            Some(n) => Some(n.to_string()),
            None => {
                r.fault(
                    needs.path_of(key),
                    format!("is {}", shown(value)),
                    "a duration such as 90s, 15m, 12h, 7d",
                );
                None
            }
        },
    }
}

/// One of a few words; absent is the first.
fn word<T: Copy>(r: &mut Reader, of: &Section<'_>, key: &str, words: &[(&str, T)]) -> T {
    let first = words[0].1;
    let Some(value) = of.get(key) else { return first };
    match words.iter().find(|(word, _)| value.as_str() == Some(word)) {
        Some((_, meaning)) => *meaning,
        None => {
            let accepted = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
            r.fault(of.path_of(key), format!("is {}", shown(value)), accepted);
            first
        }
    }
}

fn volumes(r: &mut Reader, container: &Section<'_>) -> Vec<AskedVolume> {
    let mut volumes: Vec<AskedVolume> = Vec::new();
    for (i, entry) in r.list(container, "volumes", 64) {
        let path = || format!("{}[{i}]", container.path_of("volumes"));
        let Some(map) = entry.as_object() else {
            r.fault(path(), format!("is {}", shown(entry)), "an object with a name");
            continue;
        };
        match map.get("name") {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name.is_empty() => {}
            Some(Value::String(name)) => {
                let Some(name) = r.checked(name, path, 255, Chars::Line) else { continue };
                if !volumes.iter().any(|volume| volume.name == name) {
                    let writable = map.get("acl").and_then(Value::as_str) == Some("rw");
                    volumes.push(AskedVolume { name, writable });
                }
            }
            Some(other) => r.fault(format!("{}.name", path()), format!("is {}", shown(other)), "a text"),
        }
    }
    volumes
}

fn fields(needs: &Section<'_>) -> BTreeMap<String, String> {
    needs
        .fields()
        .filter(|(name, _)| !KNOWN.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(n) => n.to_string(),
                Value::Bool(true) => "true".to_owned(),
                _ => return None,
            };
            Some((name.clone(), text))
        })
        .collect()
}
