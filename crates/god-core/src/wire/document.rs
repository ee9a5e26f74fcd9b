//! The projection of a task to its wire document.

use super::words::{self, filled};
use super::{JOB_MOUNT, JOB_VOLUME, SSH_PORT, status_words};
use crate::executor::PortPair;
use crate::ids::RunRef;
use crate::reason::Reason;
use crate::spec::{AfterPolicy, Output, TaskSpec, Volume};
use crate::state::{Attempt, Outcome, TaskState};
use crate::task::Task;
use crate::units::{Bytes, Seconds, Timestamp};
use serde_json::{Map, Value, json};
use std::fmt;

/// What a document needs to know beside the task.
#[derive(Clone, Copy)]
pub struct WireContext<'a> {
    /// Absolute path of the task's job directory.
    pub job_dir: &'a dyn Fn(&Task) -> String,
    /// What the scheduler says of a pending task, beyond what its state knows.
    pub why: Option<&'a Reason>,
}

impl fmt::Debug for WireContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireContext").field("why", &self.why).finish_non_exhaustive()
    }
}

/// What is known of the run that the document shows.
struct Shown<'a> {
    attempt: Option<&'a Attempt>,
    run: Option<&'a RunRef>,
    /// `date_running`; a task that ended without a start shows its end, so that clients which wait for it go on.
    running: Option<Timestamp>,
    over: Option<(&'a Outcome, Timestamp)>,
    cpu_us: u64,
    max_rss: Bytes,
}

impl<'a> Shown<'a> {
    fn of(task: &'a Task) -> Shown<'a> {
        let none =
            Shown { attempt: None, run: None, running: None, over: None, cpu_us: 0, max_rss: Bytes(0) };
        match &task.state {
            TaskState::Pending { .. } | TaskState::Starting { .. } | TaskState::Held { .. } => none,
            TaskState::Gathering { since } => Shown { running: Some(*since), ..none },
            TaskState::Running { attempt, run, since, .. } => {
                Shown { attempt: Some(attempt), run: run.as_ref(), running: Some(*since), ..none }
            }
            TaskState::Over { outcome, at, last } | TaskState::Archived { outcome, at, last, .. } => {
                let started = last.as_ref().and_then(|ran| ran.started);
                Shown {
                    attempt: last.as_ref().map(|ran| &ran.attempt),
                    run: last.as_ref().and_then(|ran| ran.run.as_ref()),
                    running: Some(started.unwrap_or(*at)),
                    over: Some((outcome, *at)),
                    cpu_us: last.as_ref().map_or(0, |ran| ran.cpu_us),
                    max_rss: last.as_ref().map_or(Bytes(0), |ran| ran.max_rss),
                }
            }
        }
    }
}

/// The document that clients read. It never holds a credential.
#[must_use]
pub fn document(task: &Task, context: &WireContext<'_>) -> Value {
    let spec = &*task.spec;
    let shown = Shown::of(task);
    json!({
        "id": task.id.0,
        "parent_task_id": task.parent.map(|id| id.0),
        "date": task.submitted.as_seconds(),
        "user": user(spec),
        "meta": {"name": spec.name, "description": spec.description, "tags": spec.tags},
        "notify": {"email": spec.notify_email},
        "requirements": requirements(task),
        "container": container(task, &shown, context),
        "command": command(spec, &shown),
        "status": status_of(task, &shown, context.why),
    })
}

/// The `status` part alone, for clients that only wait.
#[must_use]
pub fn status(task: &Task, why: Option<&Reason>) -> Value {
    status_of(task, &Shown::of(task), why)
}

fn user(spec: &TaskSpec) -> Value {
    let owner = &spec.owner;
    let mut user = object(json!({
        "id": owner.id.as_str(),
        "uid": owner.uid,
        "gid": owner.gid,
        "sgids": owner.sgids,
        "email": filled(owner.email.as_deref()),
        "project": owner.project.as_str(),
    }));
    if let Some(home) = filled(owner.home.as_deref()) {
        user.insert("homeDirectory".to_owned(), home.into());
    }
    if let Some(guest) = filled(owner.guest.as_deref()) {
        user.insert("guest".to_owned(), guest.into());
    }
    Value::Object(user)
}

fn requirements(task: &Task) -> Value {
    let spec = &*task.spec;
    let mut needs = Map::new();
    for (name, text) in &spec.fields {
        let value = if name == "godflow" { Value::Bool(text == "true") } else { text.as_str().into() };
        needs.insert(name.clone(), value);
    }
    needs.extend(object(json!({
        "cpu": spec.cores.0,
        "ram": spec.ram,
        "gpus": spec.gpus,
        "array": array(task),
        "label": spec.labels,
        "tasks": spec.after,
        "network": spec.network,
        "executor": spec.executor,
        "failure_policy": spec.failure_policy,
        "tmpstorage": spec.tmp_storage.as_ref().map(|size| json!({"size": size, "path": null})),
    })));
    let quotas = ["user_quota_time", "user_quota_cpu", "user_quota_ram"];
    let quotas = quotas.into_iter().chain(["project_quota_time", "project_quota_cpu", "project_quota_ram"]);
    for (name, quota) in quotas.zip(spec.quotas) {
        needs.insert(name.to_owned(), number(quota));
    }
    if !spec.ports.is_empty() {
        needs.insert("ports".to_owned(), json!(spec.ports));
    }
    if !spec.uris.is_empty() {
        needs.insert("uris".to_owned(), json!(spec.uris));
    }
    if let Some(limit) = spec.limit() {
        // The older name is what clients know and may change later; both always say the same.
        let text = Value::String(span_text(limit));
        needs.insert("maxlifespan".to_owned(), text.clone());
        needs.insert("time_limit".to_owned(), text);
    }
    if spec.after_policy == AfterPolicy::Ok {
        needs.insert("after_policy".to_owned(), "ok".into());
    }
    if spec.output == Output::None {
        needs.insert("output".to_owned(), "none".into());
    }
    Value::Object(needs)
}

fn array(task: &Task) -> Value {
    if task.parent.is_some() {
        return json!({
            "values": null, "task_id": task.array_index(), "nb_tasks": 0, "nb_tasks_over": 0, "tasks": [],
        });
    }
    let Some(array) = task.array() else {
        return json!({
            "values": null, "task_id": null, "nb_tasks": null, "nb_tasks_over": null, "tasks": [],
        });
    };
    let count = array.count();
    let mut document = object(json!({
        "values": array.values_text(),
        "task_id": null,
        "nb_tasks": count,
        "nb_tasks_over": task.children.over,
        "nb_tasks_failed": task.children.failed,
        "tasks": (0..count).map(|ordinal| task.id.child(ordinal).0).collect::<Vec<_>>(),
    }));
    if let Some(limit) = array.limit {
        document.insert("limit".to_owned(), limit.into());
    }
    Value::Object(document)
}

fn container(task: &Task, shown: &Shown<'_>, context: &WireContext<'_>) -> Value {
    let spec = &*task.spec;
    let mut volumes: Vec<Value> = spec.volumes.iter().map(volume).collect();
    if shown.running.is_some() && spec.output == Output::Files {
        volumes.push(json!({
            "name": JOB_VOLUME, "acl": "rw", "path": (context.job_dir)(task), "mount": JOB_MOUNT,
        }));
    }
    let pairs = shown.attempt.map_or(&[][..], |attempt| &attempt.ports);
    let live = if shown.over.is_some() { &[][..] } else { pairs };
    let mut document = object(json!({
        "image": spec.image,
        "root": spec.root,
        "network": true,
        "id": shown.run.map(RunRef::as_str),
        "meta": meta(task, shown),
        "stats": null,
        "ports": host_ports(spec, live),
        "volumes": volumes,
    }));
    if shown.attempt.is_some() {
        let killed = shown
            .over
            .is_some_and(|(outcome, _)| matches!(outcome, Outcome::Killed { .. } | Outcome::TimedOut));
        let pairs = if killed { &[][..] } else { pairs };
        let pairs: Vec<Value> =
            pairs.iter().map(|pair| json!({"host": pair.host, "container": pair.container})).collect();
        document.insert("port_mapping".to_owned(), pairs.into());
    }
    Value::Object(document)
}

/// Host ports as texts. A client joins them to one ssh command, so an interactive task shows the ssh port alone.
fn host_ports(spec: &TaskSpec, pairs: &[PortPair]) -> Vec<String> {
    pairs
        .iter()
        .filter(|pair| !spec.interactive || pair.container == SSH_PORT)
        .map(|pair| pair.host.to_string())
        .collect()
}

fn volume(volume: &Volume) -> Value {
    let acl = if volume.writable { "rw" } else { "ro" };
    json!({"name": volume.name, "acl": acl, "path": volume.path, "mount": volume.mount})
}

fn meta(task: &Task, shown: &Shown<'_>) -> Value {
    if shown.running.is_none() {
        return Value::Null;
    }
    let mut meta = Map::new();
    if let Some(attempt) = shown.attempt {
        let node = json!({
            "Name": attempt.node.as_str(), "Executor": attempt.executor.as_str(), "Attempt": attempt.number,
        });
        meta.insert("Node".to_owned(), node);
    }
    if let Some(code) = shown.over.and_then(|(outcome, _)| outcome.exit_code()) {
        meta.insert("State".to_owned(), json!({"ExitCode": code}));
    }
    if shown.cpu_us > 0 || shown.max_rss.0 > 0 {
        meta.insert("Usage".to_owned(), json!({"cpu_us": shown.cpu_us, "max_rss": shown.max_rss.0}));
    }
    if let Some(disk) = task.disk {
        meta.insert("disk_size".to_owned(), disk.into());
    }
    Value::Object(meta)
}

fn command(spec: &TaskSpec, shown: &Shown<'_>) -> Value {
    let mut command = object(json!({"interactive": spec.interactive, "cmd": spec.script}));
    if shown.running.is_some() {
        command.insert("script".to_owned(), format!("{JOB_MOUNT}/wrapper.sh").into());
    }
    Value::Object(command)
}

fn status_of(task: &Task, shown: &Shown<'_>, why: Option<&Reason>) -> Value {
    let (primary, secondary) = status_words(task, why);
    let mut status = object(json!({
        "primary": primary,
        "secondary": secondary,
        "reason": words::reason(task, why),
        "exitcode": shown.over.and_then(|(outcome, _)| outcome.exit_code()),
        "date_over": shown.over.map(|(_, at)| at.as_seconds()),
    }));
    if let Some(running) = shown.running {
        status.insert("date_running".to_owned(), running.as_seconds().into());
        if let Some((_, over)) = shown.over {
            let seconds = over.millis_since(running) as f64 / 1000.0;
            status.insert("duration".to_owned(), seconds.into());
        }
    }
    if let TaskState::Archived { archived, .. } = &task.state {
        status.insert("date_archived".to_owned(), archived.as_seconds().into());
    }
    if task.failures.count > 0 {
        let failures = &task.failures;
        let failure = json!({"reason": failures.reason, "nodes": failures.nodes, "count": failures.count});
        status.insert("failure".to_owned(), failure);
    }
    Value::Object(status)
}

/// The shortest text that [`Seconds::parse`] reads back.
fn span_text(span: Seconds) -> String {
    let n = span.0;
    for (unit, letter) in [(86_400, 'd'), (3_600, 'h'), (60, 'm')] {
        if n > 0 && n.is_multiple_of(unit) {
            return format!("{}{letter}", n / unit);
        }
    }
    format!("{n}s")
}

/// A number without a fraction as an integer.
pub(super) fn number(n: f64) -> Value {
    if n.fract() == 0.0 && n.abs() < 1e15 { json!(n as i64) } else { json!(n) }
}

/// The map of an object that was just written as one.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
