//! The engine's words: names and labels of our containers, times, and what an end means. Pure.

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary};
use god_core::executor::{AttemptKey, Cause, Exit};
use god_core::ids::TaskId;
use god_core::units::{Bytes, Seconds, Timestamp};
use god_runtime::launch::{EXIT_LATCH_TAKEN, ExitRecord};
use std::collections::HashMap;

/// Label with the cluster's name; what has another value is not ours.
pub const LABEL_CLUSTER: &str = "god.cluster";
/// Label with the task's number.
pub const LABEL_TASK: &str = "god.task";
/// Label with the attempt's number.
pub const LABEL_ATTEMPT: &str = "god.attempt";
/// Label with the epoch of the scheduler that decided.
pub const LABEL_EPOCH: &str = "god.epoch";
/// Label with the time limit in seconds; absent without one.
pub const LABEL_LIMIT: &str = "god.limit";

/// How much earlier than its limit a run may seem to have ended: the engine notes the start after it happened.
const CLOCK_SLACK_MS: u64 = 2000;

/// Name of the container of an attempt.
pub fn container_name(cluster: &str, key: AttemptKey) -> String {
    format!("god-{cluster}-{key}")
}

/// The attempt that a container of ours is about; `None` when it is not ours.
pub fn key_of(labels: &HashMap<String, String>, cluster: &str) -> Option<AttemptKey> {
    (labels.get(LABEL_CLUSTER)? == cluster).then_some(())?;
    let attempt = labels.get(LABEL_ATTEMPT)?.parse().ok().filter(|attempt| *attempt > 0)?;
    let task: TaskId = labels.get(LABEL_TASK)?.parse().ok()?;
    Some(AttemptKey { task, attempt })
}

/// The attempt and the id of a listed container; `None` when it is not ours, or bears another name than ours do.
pub fn listed(summary: &ContainerSummary, cluster: &str) -> Option<(AttemptKey, String)> {
    let key = key_of(summary.labels.as_ref()?, cluster)?;
    let name = container_name(cluster, key);
    let named = summary.names.as_ref()?.iter().any(|found| found.strip_prefix('/') == Some(&name));
    named.then(|| summary.id.clone()).flatten().map(|id| (key, id))
}

/// A time of the engine; `None` for its zero time, which means "not yet".
pub fn time(text: Option<&str>) -> Option<Timestamp> {
    let time: jiff::Timestamp = text?.parse().ok()?;
    (time.as_second() > 0).then(|| Timestamp(time.as_millisecond()))
}

/// What an inspection says of a container, as far as we need it.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its id.
    pub id: String,
    /// Whose it is; `None` when it is not ours.
    pub key: Option<AttemptKey>,
    /// Its state.
    pub status: ContainerStateStatusEnum,
    /// Exit code; means something only when it has ended.
    pub code: i64,
    /// Whether the kernel ended a process of it for want of memory.
    pub oom: bool,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its time limit.
    pub limit: Option<Seconds>,
    /// Why the engine could not start it.
    pub error: String,
}

/// Reads an inspection; `None` when it lacks what every engine tells.
pub fn inspected(answer: ContainerInspectResponse, cluster: &str) -> Option<Inspected> {
    let state = answer.state?;
    let labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
    Some(Inspected {
        id: answer.id?,
        key: key_of(&labels, cluster),
        status: state.status?,
        code: state.exit_code.unwrap_or_default(),
        oom: state.oom_killed.unwrap_or_default(),
        started: time(state.started_at.as_deref()),
        ended: time(state.finished_at.as_deref()),
        limit: labels.get(LABEL_LIMIT).and_then(|limit| limit.parse().ok()).map(Seconds),
        error: state.error.unwrap_or_default(),
    })
}

/// What we know of an end beside what the engine says.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    /// We asked for the end while it ran.
    pub asked: bool,
    /// We took its latch before it could.
    pub abandoned: bool,
    /// What its first process wrote last. The job could have written it, so it only tells apart ends that the engine
    /// reports alike, and whose confusion harms nobody but the job's owner. Code and times are the engine's.
    pub record: Option<ExitRecord>,
    /// The time limit it was changed to after the start, if it was; the inner `None` is no limit.
    pub limit: Option<Option<Seconds>>,
}

/// What an end means; `None` when the engine does not say when it was.
pub fn exit(state: &Inspected, hints: &Hints) -> Option<Exit> {
    let ended = state.ended?;
    let code = i32::try_from(state.code).unwrap_or(255);
    let cause = cause(state, code, ended, hints);
    // A very short run: engines note the start after the process began, and may note the end before.
    let started = state.started.filter(|_| cause != Cause::NeverRan).map(|started| started.min(ended));
    Some(Exit { cause, by_request: hints.asked, started, ended, cpu_us: 0, max_rss: Bytes(0) })
}

fn cause(state: &Inspected, code: i32, ended: Timestamp, hints: &Hints) -> Cause {
    let Some(started) = state.started else {
        return Cause::Lost(format!("the engine could not start it: {}", state.error));
    };
    if code == EXIT_LATCH_TAKEN && hints.abandoned {
        return Cause::NeverRan;
    }
    let record = hints.record.as_ref();
    if code == EXIT_LATCH_TAKEN && record.is_some_and(|record| record.code != Some(code)) {
        return Cause::Lost("its container was started a second time, by somebody else".to_owned());
    }
    if let Some(limit) = hints.limit.unwrap_or(state.limit) {
        let ran = ended.millis_since(started);
        let limit = limit.0.saturating_mul(1000);
        let told = record.is_some_and(|record| record.timed_out);
        if ran >= limit || (told && ran.saturating_add(CLOCK_SLACK_MS) >= limit) {
            return Cause::TimeLimit;
        }
    }
    if state.oom && code != 0 && !hints.asked {
        return Cause::OutOfMemory;
    }
    if !hints.asked {
        match record {
            // An engine that shuts down sends TERM to every container. What the script made of it is not its result.
            Some(record) if record.killed => {
                return Cause::Lost("the engine or its administrator stopped the container".to_owned());
            }
            // Its first process leaves a record unless it dies of KILL (137) or with its host (255), and inside a
            // container nothing can do that to it.
            None if code == 137 || code == 255 => {
                return Cause::Lost(format!("the engine or its host ended the container (exit code {code})"));
            }
            _ => {}
        }
    }
    match (record, code) {
        (Some(ExitRecord { code: Some(told), signal: None, .. }), _) if *told == code => Cause::Code(code),
        (_, 129..=192) => Cause::Signal(code - 128),
        _ => Cause::Code(code),
    }
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
