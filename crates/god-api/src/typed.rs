//! What `/api/2` answers and takes, as types. The names are part of the interface.

use crate::why::Why;
use god_core::query::OutcomeClass;
use god_core::state::{Ask, Attempt, Outcome as End, Phase, Ran, TaskState};
use god_core::store::AuditRecord;
use god_core::units::{Bytes, Timestamp};
use god_core::{self as core};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use utoipa::ToSchema;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It waits for room, or for other tasks.
    Pending,
    /// It was given to an executor and has not been seen running.
    Starting,
    /// It runs; an array runs from the start of its first task to the end of its last.
    Running,
    /// Handling it failed again and again; a person must look.
    Held,
    /// It ended.
    Over,
    /// It ended, and its files were removed.
    Archived,
}

impl State {
    const ALL: [(&'static str, State); 6] = [
        ("pending", State::Pending),
        ("starting", State::Starting),
        ("running", State::Running),
        ("held", State::Held),
        ("over", State::Over),
        ("archived", State::Archived),
    ];

    /// All words, for messages.
    pub(crate) const WORDS: &'static str = "pending, starting, running, held, over, archived";

    /// The state of this name.
    pub(crate) fn of_word(word: &str) -> Option<State> {
        State::ALL.iter().find(|(name, _)| *name == word).map(|(_, state)| *state)
    }

    fn of(phase: Phase) -> State {
        match phase {
            Phase::Pending => State::Pending,
            Phase::Starting => State::Starting,
            Phase::Running | Phase::Gathering => State::Running,
            Phase::Held => State::Held,
            Phase::Over => State::Over,
            Phase::Archived => State::Archived,
        }
    }

    /// The phases that have this name here.
    pub(crate) fn phases(self) -> impl Iterator<Item = Phase> {
        Phase::ALL.into_iter().filter(move |phase| State::of(*phase) == self)
    }
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Exit code 0; for an array: of all its tasks.
    Success,
    /// Another exit code, or a signal that was not ours.
    Failed,
    /// Ended on request.
    Killed,
    /// Its time limit passed.
    TimedOut,
    /// It needed more memory than it had asked for.
    OutOfMemory,
    /// Its node or engine lost it.
    Lost,
    /// A quota was reached.
    Quota,
    /// It can not run here.
    Refused,
    /// A task it waited for did not succeed.
    Skipped,
}

impl Outcome {
    const ALL: [(&'static str, Outcome, OutcomeClass); 9] = [
        ("success", Outcome::Success, OutcomeClass::Success),
        ("failed", Outcome::Failed, OutcomeClass::Failed),
        ("killed", Outcome::Killed, OutcomeClass::Killed),
        ("timed_out", Outcome::TimedOut, OutcomeClass::TimedOut),
        ("out_of_memory", Outcome::OutOfMemory, OutcomeClass::OutOfMemory),
        ("lost", Outcome::Lost, OutcomeClass::Lost),
        ("quota", Outcome::Quota, OutcomeClass::Quota),
        ("refused", Outcome::Refused, OutcomeClass::Refused),
        ("skipped", Outcome::Skipped, OutcomeClass::Skipped),
    ];

    /// All words, for messages.
    pub(crate) const WORDS: &'static str =
        "success, failed, killed, timed_out, out_of_memory, lost, quota, refused, skipped";

    /// The class of this name.
    pub(crate) fn of_word(word: &str) -> Option<OutcomeClass> {
        Outcome::ALL.iter().find(|(name, _, _)| *name == word).map(|(_, _, class)| *class)
    }

    fn of(end: &End) -> (&'static str, Outcome) {
        let class = end.class();
        let row = Outcome::ALL.iter().find(|(_, _, c)| *c == class);
        row.map_or(("failed", Outcome::Failed), |(word, outcome, _)| (word, *outcome))
    }
}

/// Why a task is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Reason {
    /// A stable word for programs, such as `resources`, `dependency` or `timed_out`.
    pub(crate) code: String,
    /// One sentence for people.
    pub(crate) text: String,
    /// The numbers of the sentence by name.
    #[schema(value_type = std::collections::HashMap<String, f64>)]
    pub(crate) numbers: Map<String, Value>,
}

/// How much of what it asked for a task used: 1 is all of it, `null` is not known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub(crate) struct Efficiency {
    /// CPU time by wall time and cores.
    pub(crate) cpu: Option<f64>,
    /// Largest resident size by memory.
    pub(crate) memory: Option<f64>,
}

/// How far an array has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Array {
    /// Tasks in it; their ids follow the array's own.
    pub(crate) count: u64,
    /// Those that are over.
    pub(crate) over: u64,
    /// Of these, those that did not succeed.
    pub(crate) failed: u64,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Task {
    /// Its number.
    pub(crate) id: u64,
    /// For a task of an array: the array's number.
    pub(crate) parent: Option<u64>,
    /// For a task of an array: its value in the array.
    pub(crate) index: Option<i64>,
    /// Name.
    pub(crate) name: String,
    /// Free text.
    pub(crate) description: String,
    /// Login of the owner.
    pub(crate) user: String,
    /// Project.
    pub(crate) project: String,
    /// Free words.
    pub(crate) tags: Vec<String>,
    /// Where it is in its life.
    pub(crate) state: State,
    /// Whether its run is paused.
    pub(crate) paused: bool,
    /// What was asked of it and has not been done yet: `kill`, `suspend`, `resume`, `reschedule`, `archive` or `purge`.
    pub(crate) request: Option<&'static str>,
    /// How it ended.
    pub(crate) outcome: Option<Outcome>,
    /// Exit code, once it ended and one is known.
    pub(crate) exit_code: Option<i32>,
    /// Why it waits, or why it ended as it did.
    pub(crate) reason: Option<Reason>,
    /// Pending tasks that will be tried before it, where that is known.
    pub(crate) position: Option<u64>,
    /// When it was submitted, in seconds since 1970.
    pub(crate) submitted: f64,
    /// When its run started.
    pub(crate) started: Option<f64>,
    /// When it ended.
    pub(crate) ended: Option<f64>,
    /// Node of its last run.
    pub(crate) node: Option<String>,
    /// Executor of its last run, or the one asked for.
    pub(crate) executor: Option<String>,
    /// Cores asked for.
    pub(crate) cpu: u32,
    /// Memory asked for, in GiB.
    pub(crate) ram: u32,
    /// GPUs asked for.
    pub(crate) gpus: u32,
    /// Image.
    pub(crate) image: String,
    /// Time limit of one run, in seconds.
    pub(crate) time_limit: Option<u64>,
    /// CPU time of its last run, in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Largest resident size of its last run.
    pub(crate) max_rss_bytes: Option<u64>,
    /// How much of what it asked for it used.
    pub(crate) efficiency: Efficiency,
    /// Size of its job directory when it ended.
    pub(crate) disk_bytes: Option<u64>,
    /// Attempts to run it.
    pub(crate) attempts: u32,
    /// How far it has come, for an array.
    pub(crate) array: Option<Array>,
}

/// A directory that a task sees.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Volume {
    /// Its name.
    pub(crate) name: String,
    /// Path on the host.
    pub(crate) path: String,
    /// Path in the container.
    pub(crate) mount: String,
    /// Whether the task may write.
    pub(crate) writable: bool,
}

/// A port that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Port {
    /// On the host.
    pub(crate) host: u16,
    /// In the container.
    pub(crate) container: u16,
}

/// Runs that nodes or engines lost.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Failures {
    /// How many.
    pub(crate) count: u32,
    /// On which nodes.
    pub(crate) nodes: Vec<String>,
    /// The last one's reason.
    pub(crate) reason: Option<String>,
}

/// A task with all that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TaskDetails {
    #[serde(flatten)]
    pub(crate) task: Task,
    /// The script.
    pub(crate) script: String,
    /// Whether it is an interactive session.
    pub(crate) interactive: bool,
    /// Whether its script runs as root in its container.
    pub(crate) root: bool,
    /// Volumes.
    pub(crate) volumes: Vec<Volume>,
    /// Where its files are.
    pub(crate) directory: String,
    /// Placement constraints.
    pub(crate) labels: Vec<String>,
    /// Placement text.
    pub(crate) placement: Option<String>,
    /// Network.
    pub(crate) network: String,
    /// Container ports asked for.
    pub(crate) ports: Vec<u16>,
    /// Ports that are open now.
    pub(crate) open_ports: Vec<Port>,
    /// Tasks that must be over first.
    pub(crate) after: Vec<u64>,
    /// What a failed one of them means: `any` starts all the same, `ok` skips.
    #[schema(value_type = String)]
    pub(crate) after_policy: core::spec::AfterPolicy,
    /// Restarts allowed after failures of nodes.
    pub(crate) failure_policy: u32,
    /// Runs that were lost.
    pub(crate) failures: Failures,
    /// Scratch space asked for.
    pub(crate) tmp_storage: Option<String>,
    /// Dynamic fields.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub(crate) fields: std::collections::BTreeMap<String, String>,
    /// Whether mail is sent.
    pub(crate) notify_email: bool,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct TaskList {
    /// The tasks, the highest id first.
    pub(crate) tasks: Vec<Task>,
    /// `after` of the next page; `null` when there is none. A page may be short, even empty, and still have a next one.
    pub(crate) next: Option<String>,
}

/// Which tasks are meant: those for which all that is given holds. Every field is a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// States, with commas: `pending,running`.
    pub(crate) state: Option<String>,
    /// Outcomes, with commas: `failed,lost`.
    pub(crate) outcome: Option<String>,
    /// Login of the owner. Others' than the own only for admins, or together with a project whose members share.
    pub(crate) user: Option<String>,
    /// Project.
    pub(crate) project: Option<String>,
    /// Exactly this tag.
    pub(crate) tag: Option<String>,
    /// A part of the name; case counts.
    pub(crate) name: Option<String>,
    /// Submitted at most this long ago: `90s`, `15m`, `12h`, `7d`.
    pub(crate) newer: Option<String>,
    /// Submitted longer ago than this.
    pub(crate) older: Option<String>,
    /// Ended at most this long ago.
    pub(crate) ended_newer: Option<String>,
    /// Ended longer ago than this.
    pub(crate) ended_older: Option<String>,
    /// Tasks of this array.
    pub(crate) parent: Option<String>,
    /// `false` leaves out tasks of arrays.
    pub(crate) children: Option<String>,
    /// Ids and ranges of ids, with commas: `7,10-20`; up to 1000.
    pub(crate) ids: Option<String>,
}

/// Tasks of which something is asked: by ids or by a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkRequest {
    /// Their numbers, up to 10 000. Each must exist and be one that the caller may change.
    pub(crate) ids: Option<Vec<u64>>,
    /// Those of the caller, or of the user and project it names. At least one field must be given.
    pub(crate) filter: Option<Filter>,
    /// Why, for the one who reads the task; for `kill`.
    pub(crate) reason: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct BulkAnswer {
    /// Tasks it was asked of.
    pub(crate) asked: u64,
    /// Tasks with nothing to do: over already, or asked before.
    pub(crate) idle: u64,
    /// Numbers of those it was asked of, the first 10 000.
    pub(crate) ids: Vec<u64>,
}

/// Sums of what attempts asked for, booked at their end.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Used {
    /// Cores of the attempts that ended.
    pub(crate) cpu: u64,
    /// GiB of the attempts that ended.
    pub(crate) ram: u64,
    /// Wall time in seconds, not multiplied by cores.
    pub(crate) seconds: f64,
}

/// What was used on one day.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct DayUsed {
    /// The UTC day as `2024-02-29`.
    pub(crate) date: String,
    #[serde(flatten)]
    pub(crate) used: Used,
}

/// What a user or project used within the usage window.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Login, when it is a user's.
    pub(crate) user: Option<String>,
    /// Name, when it is a project's.
    pub(crate) project: Option<String>,
    /// Days in the window.
    pub(crate) window_days: u32,
    /// Sums of the window.
    pub(crate) total: Used,
    /// Bytes in job directories of finished tasks that are not archived; for users.
    pub(crate) disk_bytes: Option<u64>,
    /// Each day that has any, the oldest first.
    pub(crate) days: Vec<DayUsed>,
}

/// An amount of what a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Amount {
    /// Cores.
    pub(crate) cpu: u32,
    /// Memory.
    pub(crate) memory_bytes: u64,
    /// GPUs.
    pub(crate) gpus: u32,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// The executor that runs tasks there.
    pub(crate) executor: String,
    /// Labels that tasks may ask for.
    pub(crate) labels: Vec<String>,
    /// What tasks may use there.
    pub(crate) total: Amount,
    /// What running tasks asked for.
    pub(crate) used: Amount,
    /// Tasks running there.
    pub(crate) tasks: u64,
}

/// All nodes.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct NodeList {
    /// By executor and name.
    pub(crate) nodes: Vec<Node>,
}

/// One change that somebody made.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Act {
    /// Its number; grows.
    pub(crate) number: u64,
    /// When, in seconds since 1970.
    pub(crate) at: f64,
    /// Login of who did it.
    pub(crate) who: String,
    /// Address it came from.
    pub(crate) from: String,
    /// What was done.
    pub(crate) action: String,
    /// To what.
    pub(crate) object: String,
    /// What there was.
    #[schema(value_type = Option<Object>)]
    pub(crate) before: Option<Value>,
    /// What there is now.
    #[schema(value_type = Option<Object>)]
    pub(crate) after: Option<Value>,
}

/// A page of the audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct ActList {
    /// The oldest first.
    pub(crate) records: Vec<Act>,
    /// `after` of the next page; `null` when there is none yet.
    pub(crate) next: Option<u64>,
}

/// One place of a request that must be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Fault {
    /// The field.
    pub(crate) path: String,
    /// What is wrong with it.
    pub(crate) wrong: String,
    /// What would be accepted.
    pub(crate) accepted: String,
}

/// Why a request was not answered with what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Error {
    /// What to change, for people.
    pub(crate) error: String,
    /// Each place by itself, when it is the request that must be changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<Fault>,
}

impl Task {
    /// A task as it is shown. `why` is why it waits, if it does.
    pub(crate) fn of(task: &core::Task, why: Option<&Why>) -> Task {
        let spec = &*task.spec;
        let run = LastRun::of(task);
        let state = State::of(task.phase());
        let outcome = task.state.outcome();
        let wall = run.started.zip(run.ended).map(|(start, end)| end.millis_since(start) as f64 / 1000.0);
        let cpu_seconds = (run.cpu_us > 0).then(|| run.cpu_us as f64 / 1e6);
        let max_rss = (run.max_rss.0 > 0).then_some(run.max_rss.0);
        let share = |used: f64, had: f64| (had > 0.0).then(|| round(used / had));
        let cores = f64::from(spec.cores.0);
        Task {
            id: task.id.0,
            parent: task.parent.map(|id| id.0),
            index: task.array_index(),
            name: spec.name.clone(),
            description: spec.description.clone(),
            user: spec.owner.id.to_string(),
            project: spec.owner.project.to_string(),
            tags: spec.tags.clone(),
            state,
            paused: matches!(task.state, TaskState::Running { paused: true, .. }),
            request: task.wish.as_ref().filter(|wish| wish.is_open()).map(|wish| request(wish.ask)),
            outcome: outcome.map(|end| Outcome::of(end).1),
            exit_code: outcome.and_then(End::exit_code),
            reason: outcome.map_or_else(|| why.map(waiting), ended),
            position: why.and_then(|why| why.position),
            submitted: task.submitted.as_seconds(),
            started: run.started.map(Timestamp::as_seconds),
            ended: run.ended.map(Timestamp::as_seconds),
            node: run.attempt.map(|attempt| attempt.node.to_string()),
            executor: match run.attempt {
                Some(attempt) => Some(attempt.executor.to_string()),
                None => spec.executor.clone(),
            },
            cpu: spec.cores.0,
            ram: spec.ram,
            gpus: spec.gpus,
            image: spec.image.clone(),
            time_limit: spec.time_limit.map(|limit| limit.0),
            cpu_seconds,
            max_rss_bytes: max_rss,
            efficiency: Efficiency {
                cpu: cpu_seconds.zip(wall).and_then(|(used, wall)| share(used, wall * cores)),
                memory: max_rss.and_then(|used| share(used as f64, Bytes::from_ram(spec.ram).0 as f64)),
            },
            disk_bytes: task.disk,
            attempts: task.attempts,
            array: task.array().map(|array| Array {
                count: array.count(),
                over: task.children.over,
                failed: task.children.failed,
            }),
        }
    }
}

impl TaskDetails {
    /// A task with all that was asked for.
    pub(crate) fn of(task: &core::Task, why: Option<&Why>, directory: String) -> TaskDetails {
        let spec = &*task.spec;
        let open = task.state.attempt().map_or(&[][..], |attempt| &attempt.ports);
        TaskDetails {
            task: Task::of(task, why),
            script: spec.script.clone(),
            interactive: spec.interactive,
            root: spec.root,
            volumes: spec
                .volumes
                .iter()
                .map(|volume| Volume {
                    name: volume.name.clone(),
                    path: volume.path.clone(),
                    mount: volume.mount.clone(),
                    writable: volume.writable,
                })
                .collect(),
            directory,
            labels: spec.labels.clone(),
            placement: spec.executor.clone(),
            network: spec.network.clone(),
            ports: spec.ports.clone(),
            open_ports: open.iter().map(|p| Port { host: p.host, container: p.container }).collect(),
            after: spec.after.iter().map(|id| id.0).collect(),
            after_policy: spec.after_policy,
            failure_policy: spec.failure_policy,
            failures: Failures {
                count: task.failures.count,
                nodes: task.failures.nodes.iter().map(ToString::to_string).collect(),
                reason: task.failures.reason.clone(),
            },
            tmp_storage: spec.tmp_storage.clone(),
            fields: spec.fields.clone(),
            notify_email: spec.notify_email,
        }
    }
}

impl Act {
    /// A record as it is shown.
    pub(crate) fn of(number: u64, record: AuditRecord) -> Act {
        let AuditRecord { at, who, from, action, object, before, after } = record;
        Act { number, at: at.as_seconds(), who, from, action, object, before, after }
    }
}

/// The last run of a task, as far as it is known.
struct LastRun<'a> {
    attempt: Option<&'a Attempt>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    cpu_us: u64,
    max_rss: Bytes,
}

impl<'a> LastRun<'a> {
    fn of(task: &'a core::Task) -> LastRun<'a> {
        let none = LastRun { attempt: None, started: None, ended: None, cpu_us: 0, max_rss: Bytes(0) };
        match &task.state {
            TaskState::Pending { .. } | TaskState::Held { .. } => none,
            TaskState::Gathering { since } => LastRun { started: Some(*since), ..none },
            TaskState::Starting { attempt } => LastRun { attempt: Some(attempt), ..none },
            TaskState::Running { attempt, since, .. } => {
                LastRun { attempt: Some(attempt), started: Some(*since), ..none }
            }
            TaskState::Over { at, last, .. } | TaskState::Archived { at, last, .. } => match last {
                None => LastRun { ended: Some(*at), ..none },
                Some(Ran { attempt, started, cpu_us, max_rss, .. }) => LastRun {
                    attempt: Some(attempt),
                    started: *started,
                    ended: Some(*at),
                    cpu_us: *cpu_us,
                    max_rss: *max_rss,
                },
            },
        }
    }
}

/// The word of a request.
pub(crate) fn request(ask: Ask) -> &'static str {
    match ask {
        Ask::Kill => "kill",
        Ask::Suspend => "suspend",
        Ask::Resume => "resume",
        Ask::Reschedule => "reschedule",
        Ask::Archive => "archive",
        Ask::Purge => "purge",
    }
}

fn waiting(why: &Why) -> Reason {
    Reason {
        code: why.reason.code.to_string(),
        text: why.reason.text.clone(),
        numbers: why.reason.numbers.iter().map(|(name, n)| (name.clone(), n.clone().into())).collect(),
    }
}

/// Why a task ended as it did; a plain end with an exit code needs no words.
fn ended(end: &End) -> Option<Reason> {
    let (code, _) = Outcome::of(end);
    let (text, number): (String, Option<(&str, Number)>) = match end {
        End::Exited(_) => return None,
        End::Signalled(signal) => {
            (format!("A signal ended it: {signal}"), Some(("signal", (*signal).into())))
        }
        End::Killed { reason } => (reason.clone().unwrap_or_else(|| "Ended on request".to_owned()), None),
        End::TimedOut => ("Its time limit passed".to_owned(), None),
        End::OutOfMemory => ("It needed more memory than it had asked for".to_owned(), None),
        End::Gathered { failed: 0 } => return None,
        End::Gathered { failed } => {
            (format!("{failed} of its tasks did not succeed"), Some(("failed", (*failed).into())))
        }
        End::Lost(text) | End::Quota(text) | End::Refused(text) | End::Skipped(text) => (text.clone(), None),
    };
    let numbers = number.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect();
    Some(Reason { code: code.to_owned(), text, numbers })
}

/// To four places: more would only look exact.
fn round(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_phases_agree() {
        for (word, state) in State::ALL {
            assert_eq!(serde_json::to_value(state).expect("plain"), word);
            assert!(state.phases().all(|phase| State::of(phase) == state) && state.phases().count() > 0);
            assert!(State::WORDS.contains(word));
        }
        for (word, outcome, _) in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).expect("plain"), word);
            assert!(Outcome::WORDS.contains(word));
        }
        assert_eq!(Outcome::ALL.len(), OutcomeClass::ALL.len());
    }
}
