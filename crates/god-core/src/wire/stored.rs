//! Reads a wire document back, ours or one of the earlier server's, for imports and for our own clients.

use super::fault::Fault;
use super::reader::{Chars, Reader, Section, whole};
use super::submission::Submission;
use super::words;
use super::{JOB_VOLUME, UPLOAD_VOLUME};
use crate::array::ArraySpec;
use crate::executor::PortPair;
use crate::ids::{ExecutorName, NodeName, OpId, ProjectId, Rev, RunRef, TaskId, UserId};
use crate::spec::{Owner, TaskSpec, Volume};
use crate::state::{Attempt, Ran, TaskState, Wish};
use crate::task::{Children, Failures, Task};
use crate::units::{Bytes, Cores, Seconds, Timestamp};
use serde_json::Value;
use std::sync::Arc;

/// A document that is no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no task document: {}", .faults.iter().map(Fault::to_string).collect::<Vec<_>>().join(", "))]
pub struct BadDocument {
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

/// The task behind a wire document. What the wire format does not carry (epochs, versions, the order of requests) gets
/// its first value; a claimed task comes back as pending, as it was shown.
///
/// # Errors
/// [`BadDocument`] with every fault.
pub fn read_document(document: &Value) -> Result<Task, BadDocument> {
    let mut reader = Reader::new(false);
    let task = read(&mut reader, document);
    match task {
        Some(task) if reader.faults.is_empty() => Ok(task),
        _ => Err(BadDocument { faults: reader.faults }),
    }
}

fn read(r: &mut Reader, document: &Value) -> Option<Task> {
    let root = r.root(document);
    let needs = r.section(&root, "requirements", "requirements");
    let array = r.section(&needs, "array", "requirements.array");
    let container = r.section(&root, "container", "container");
    let status = r.section(&root, "status", "status");

    let id = required(r, &root, "id").map(TaskId)?;
    let parent = task_id(r, &root, "parent_task_id");
    let submitted = time(r, &root, "date").unwrap_or_default();
    let mut spec = spec(r, document, &root, &needs, &container)?;
    let mut ordinal = None;
    if let Some(parent) = parent {
        let index = r.whole(&array, "task_id", i64::MIN, i64::MAX).unwrap_or(0);
        let nth = id.0.checked_sub(parent.0).and_then(|n| n.checked_sub(1));
        let first = nth.and_then(|n| i64::try_from(n).ok()).and_then(|n| index.checked_sub(n));
        let (Some(nth), Some(first)) = (nth, first) else {
            r.fault("parent_task_id", "does not fit the task's id", "an id below the task's");
            return None;
        };
        ordinal = Some(nth);
        // Only the child's own value is in its document: the shortest array that has it at this place.
        spec.array = Some(ArraySpec { first, last: index, step: 1, limit: None });
    }
    let count = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let children = if parent.is_none() && spec.array.is_some() {
        Children {
            made: 0,
            over: count(r.whole(&array, "nb_tasks_over", 0, i64::MAX)),
            failed: count(r.whole(&array, "nb_tasks_failed", 0, i64::MAX)),
        }
    } else {
        Children::default()
    };
    let failed = (parent.is_none() && spec.array.is_some()).then_some(children.failed);
    let failure = r.section(&status, "failure", "status.failure");
    let failures = Failures {
        count: r.whole(&failure, "count", 0, i64::from(u32::MAX)).map_or(0, |n| n as u32),
        nodes: r.texts(&failure, "nodes", usize::MAX, usize::MAX).into_iter().map(NodeName::new).collect(),
        reason: r.text(&failure, "reason", usize::MAX, Chars::Any),
    };
    let (state, wish) = state(r, &status, &container, failed, submitted)?;
    let meta = container.get("meta").and_then(|meta| meta.get("disk_size"));
    // Earlier servers wrote -1 for a directory that was not there.
    let disk = meta.and_then(Value::as_u64).filter(|_| state.phase().is_over());
    let attempts = match &state {
        TaskState::Running { attempt, .. } => attempt.number,
        TaskState::Over { last: Some(ran), .. } | TaskState::Archived { last: Some(ran), .. } => {
            ran.attempt.number
        }
        _ => 0,
    };
    Some(Task {
        id,
        parent,
        ordinal,
        spec: Arc::new(spec),
        submitted,
        state,
        wish,
        attempts,
        failures,
        children,
        disk,
        rev: Rev(0),
        op: OpId(0),
    })
}

fn spec(
    r: &mut Reader,
    document: &Value,
    root: &Section<'_>,
    needs: &Section<'_>,
    container: &Section<'_>,
) -> Option<TaskSpec> {
    let asked = Submission::read_with(r, document);
    let user = r.section(root, "user", "user");
    let Some(login) = asked.user else {
        r.fault("user.id", "is missing", "a login");
        return None;
    };
    let array = asked.array.and_then(|text| match text.parse::<ArraySpec>() {
        Ok(array) => Some(array),
        Err(bad) => {
            r.fault("requirements.array.values", bad.to_string(), "");
            None
        }
    });
    let inner = r.section(needs, "array", "requirements.array");
    let limit = r.whole(&inner, "limit", 1, i64::from(u32::MAX)).map(|n| n as u32);
    let array = array.map(|array| ArraySpec { limit: limit.or(array.limit), ..array });
    let time_limit = asked.time_limit.or(asked.maxlifespan).and_then(|text| Seconds::parse(&text).ok());
    let name =
        |r: &mut Reader, key: &str| r.text(&user, key, usize::MAX, Chars::Any).filter(|t| !t.is_empty());
    let uid = |r: &mut Reader, key: &str| r.whole(&user, key, 0, i64::from(u32::MAX)).map_or(0, |n| n as u32);
    let owner = Owner {
        id: UserId::new(login),
        uid: uid(r, "uid"),
        gid: uid(r, "gid"),
        sgids: r
            .list(&user, "sgids", usize::MAX)
            .into_iter()
            .filter_map(|(_, gid)| whole(gid).and_then(|gid| u32::try_from(gid).ok()))
            .collect(),
        email: name(r, "email"),
        home: name(r, "homeDirectory"),
        project: ProjectId::new(asked.project.unwrap_or_else(|| ProjectId::DEFAULT.to_owned())),
        // Falsy values of any type stand for "no guest".
        guest: user.get("guest").and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned),
    };
    let quotas = [
        "user_quota_time",
        "user_quota_cpu",
        "user_quota_ram",
        "project_quota_time",
        "project_quota_cpu",
        "project_quota_ram",
    ];
    Some(TaskSpec {
        owner,
        name: asked.name,
        description: asked.description,
        tags: asked.tags,
        cores: Cores(asked.cpu.unwrap_or(1)),
        ram: asked.ram.unwrap_or(1),
        gpus: asked.gpus,
        array,
        labels: asked.labels,
        after: asked.after,
        after_policy: asked.after_policy,
        ports: asked.ports,
        network: asked.network.unwrap_or_else(|| "public".to_owned()),
        executor: asked.executor,
        failure_policy: asked.failure_policy.unwrap_or(0),
        tmp_storage: asked.tmp_storage,
        uris: asked.uris,
        time_limit,
        fields: asked.fields,
        image: asked.image,
        volumes: volumes(r, container),
        root: asked.root,
        interactive: asked.interactive,
        script: asked.script,
        notify_email: asked.notify_email,
        output: asked.output,
        quotas: quotas.map(|name| r.number(needs, name).unwrap_or(0.0)),
    })
}

/// The volumes without those that every start adds anew.
fn volumes(r: &mut Reader, container: &Section<'_>) -> Vec<Volume> {
    let list = r.list(container, "volumes", usize::MAX);
    list.into_iter()
        .filter_map(|(_, entry)| {
            let text = |key| entry.get(key).and_then(Value::as_str);
            let name = text("name").filter(|name| !name.is_empty())?;
            let path = text("path").unwrap_or_default();
            (name != JOB_VOLUME && name != UPLOAD_VOLUME).then(|| Volume {
                name: name.to_owned(),
                path: path.to_owned(),
                mount: text("mount").unwrap_or(path).to_owned(),
                writable: text("acl") == Some("rw"),
            })
        })
        .collect()
}

fn state(
    r: &mut Reader,
    status: &Section<'_>,
    container: &Section<'_>,
    failed: Option<u64>,
    submitted: Timestamp,
) -> Option<(TaskState, Option<Wish>)> {
    let primary = r.text(status, "primary", usize::MAX, Chars::Any);
    let secondary = r.text(status, "secondary", usize::MAX, Chars::Any).unwrap_or_default();
    let reason = r.text(status, "reason", usize::MAX, Chars::Any).unwrap_or_default();
    let some_reason = || Some(reason.clone()).filter(|text| !text.is_empty());
    let exit = r.whole(status, "exitcode", i64::from(i32::MIN), i64::from(i32::MAX)).map(|n| n as i32);
    let running = time(r, status, "date_running");
    let over = time(r, status, "date_over");
    let wish = words::wish_of(&secondary).map(|(ask, status)| Wish {
        ask,
        status,
        seq: 1,
        at: submitted,
        reason: some_reason(),
    });
    match primary.as_deref() {
        Some(words::PENDING | "created" | "reschedule") if secondary == words::HELD => {
            Some((TaskState::Held { reason, since: submitted }, None))
        }
        Some(words::PENDING | "created" | "reschedule") => {
            let why = if wish.is_some() { None } else { some_reason() };
            let requeued = secondary == words::RESCHEDULED;
            Some((TaskState::Pending { since: submitted, requeued, why }, wish))
        }
        Some(words::RUNNING) => {
            let since = running.unwrap_or(submitted);
            if failed.is_some() {
                return Some((TaskState::Gathering { since }, wish));
            }
            let (attempt, run) = attempt(r, container, submitted);
            let paused = secondary == words::SUSPENDED || secondary == "resume requested";
            Some((TaskState::Running { attempt, run, since, paused }, wish))
        }
        Some(primary @ (words::OVER | words::ARCHIVED)) => {
            let at = over.or(running).unwrap_or(submitted);
            let outcome = words::outcome_of(&secondary, &reason, exit, failed);
            let last = last(r, container, running, submitted);
            let state = if primary == words::OVER {
                TaskState::Over { outcome, at, last }
            } else {
                let archived = time(r, status, "date_archived").unwrap_or(at);
                TaskState::Archived { outcome, at, last, archived }
            };
            Some((state, None))
        }
        other => {
            let wrong = other.map_or("is missing".to_owned(), |word| format!("is {word:?}"));
            r.fault("status.primary", wrong, "pending, running, over or archived");
            None
        }
    }
}

/// The last run of an ended task, when a node was ever chosen.
fn last(
    r: &mut Reader,
    container: &Section<'_>,
    started: Option<Timestamp>,
    submitted: Timestamp,
) -> Option<Ran> {
    let meta = container.get("meta").filter(|meta| meta.is_object())?;
    meta.get("Node").filter(|node| node.is_object())?;
    let usage = |key| meta.get("Usage").and_then(|usage| usage.get(key)).and_then(Value::as_u64).unwrap_or(0);
    let (attempt, run) = attempt(r, container, submitted);
    Some(Ran { attempt, run, started, cpu_us: usage("cpu_us"), max_rss: Bytes(usage("max_rss")) })
}

fn attempt(r: &mut Reader, container: &Section<'_>, submitted: Timestamp) -> (Attempt, Option<RunRef>) {
    let node = container.get("meta").and_then(|meta| meta.get("Node"));
    let text = |key| node.and_then(|node| node.get(key)).and_then(Value::as_str).unwrap_or_default();
    let number = node.and_then(|node| node.get("Attempt")).and_then(Value::as_u64);
    let port = |pair: &Value, key| pair.get(key).and_then(whole).and_then(|n| u16::try_from(n).ok());
    let ports = r
        .list(container, "port_mapping", usize::MAX)
        .into_iter()
        .filter_map(|(_, pair)| {
            Some(PortPair { host: port(pair, "host")?, container: port(pair, "container")? })
        })
        .collect();
    let attempt = Attempt {
        number: number.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        executor: ExecutorName::new(text("Executor")),
        node: NodeName::new(text("Name")),
        ports,
        epoch: 0,
        claimed: submitted,
    };
    let run = r.text(container, "id", usize::MAX, Chars::Any).map(RunRef::new);
    (attempt, run)
}

fn required(r: &mut Reader, of: &Section<'_>, key: &str) -> Option<u64> {
    let n = r.whole(of, key, 1, i64::MAX).and_then(|n| u64::try_from(n).ok());
    if n.is_none() && of.get(key).is_none() {
        r.fault(of.path_of(key), "is missing", "a whole number from 1");
    }
    n
}

fn task_id(r: &mut Reader, of: &Section<'_>, key: &str) -> Option<TaskId> {
    r.whole(of, key, 1, i64::MAX).and_then(|n| u64::try_from(n).ok()).map(TaskId)
}

fn time(r: &mut Reader, of: &Section<'_>, key: &str) -> Option<Timestamp> {
    let seconds = r.number(of, key)?;
    let at = Timestamp::from_seconds(seconds);
    if at.is_none() {
        r.fault(of.path_of(key), "is no point in time", "seconds since 1970");
    }
    at
}
