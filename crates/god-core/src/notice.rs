//! What the world outside is told when a task moves: mail, live events, points of usage.
//!
//! [`moments`] says what is worth telling of a transition, [`of`] makes the notices that a site wants. Both are pure; the
//! notices are stored in the same write as the transition, and sent by somebody else.

use crate::ids::UserId;
use crate::state::{Outcome, Phase, TaskState};
use crate::store::Notice;
use crate::task::Task;
use crate::units::{Cores, Timestamp};
use crate::wire;
use serde::{Deserialize, Serialize};

/// What a site wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Mail, for tasks whose owner asked for it.
    pub mail: bool,
    /// Live events.
    pub live: bool,
    /// Points of usage.
    pub usage: bool,
    /// Calls to a flow server, for tasks that ask for them.
    pub flow: bool,
}

impl Rules {
    /// Whether nobody is told anything.
    #[must_use]
    pub fn is_silent(self) -> bool {
        self == Rules::default()
    }
}

/// Something in the life of a task that somebody may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Its script runs; for an array, its first child was claimed.
    Started,
    /// It is paused.
    Suspended,
    /// It runs again after a pause.
    Resumed,
    /// A node or engine lost its run, and it will be started again.
    Lost,
    /// It was taken out of scheduling until a person looks.
    Held,
    /// It is over, however it ended.
    Ended,
}

impl Moment {
    /// The word for it in the name of a notice and in its text.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Moment::Started => "start",
            Moment::Suspended => "suspend",
            Moment::Resumed => "resume",
            Moment::Lost => "lost",
            Moment::Held => "held",
            Moment::Ended => "end",
        }
    }
}

/// What is worth telling of the move from one version of a task to the next.
#[must_use]
pub fn moments(before: &Task, after: &Task) -> Vec<Moment> {
    let moment = match (&before.state, &after.state) {
        (TaskState::Starting { .. }, TaskState::Running { .. })
        | (TaskState::Pending { .. }, TaskState::Gathering { .. }) => Moment::Started,
        (TaskState::Running { paused: false, .. }, TaskState::Running { paused: true, .. }) => {
            Moment::Suspended
        }
        (TaskState::Running { paused: true, .. }, TaskState::Running { paused: false, .. }) => {
            Moment::Resumed
        }
        (_, TaskState::Pending { .. }) if after.failures.count > before.failures.count => Moment::Lost,
        (was, TaskState::Held { .. }) if was.phase() != Phase::Held => Moment::Held,
        (was, TaskState::Over { .. }) if !was.phase().is_over() => Moment::Ended,
        _ => return Vec::new(),
    };
    vec![moment]
}

/// The body of a notice: whom it is for, and what to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A mail to the owner.
    Mail(Mail),
    /// An event for everybody who listens to live events.
    Live(Live),
    /// A point in a database of measurements.
    Usage(Usage),
    /// A call to a flow server: the task is over.
    Flow {},
}

/// A mail to the owner of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// Login of the owner.
    pub user: UserId,
    /// The owner's address when the task was submitted; a newer one in the user's record wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Name of the task: a text of its owner, so it may hold anything.
    pub name: String,
    /// The moment's word.
    pub moment: String,
    /// First word of the new status.
    pub primary: String,
    /// Second word of the new status, empty when there is none.
    pub secondary: String,
    /// Why, empty when there is nothing to say. May hold anything.
    pub reason: String,
    /// Exit code, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// For an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<Digest>,
    /// When the task was submitted.
    pub submitted: Timestamp,
    /// When it started, if its script ever ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it happened, if the task knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// How far an array has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Its children.
    pub count: u64,
    /// Those that have ended.
    pub over: u64,
    /// Those that did not succeed.
    pub failed: u64,
}

/// A live event, with the names that its listeners know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Login of the owner.
    pub user: UserId,
    /// Number of the task.
    pub id: u64,
    /// First word of the status, or `killed` for a task that was.
    pub status: String,
    /// Name of the task.
    pub name: String,
}

/// What one run used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Login of the owner.
    pub user: UserId,
    /// Its image.
    pub image: String,
    /// Cores it had.
    pub cpu: Cores,
    /// Memory it had, in the whole GB of its request.
    pub ram: u32,
    /// Milliseconds that it ran.
    pub ran_ms: u64,
    /// Milliseconds from its submit to its start.
    pub waited_ms: u64,
    /// When it ended.
    pub at: Timestamp,
}

/// The notices that a site wants of these moments; `task` is as it is after them.
///
/// Children of arrays make no mail and no event, their parent makes one for all of them; parents use nothing.
#[must_use]
pub fn of(task: &Task, moments: &[Moment], rules: Rules) -> Vec<Notice> {
    let mut notices = Vec::new();
    if rules.is_silent() {
        return notices;
    }
    for moment in moments {
        let mut add = |kind: String, message: Message| {
            // A derived serialisation of texts and numbers cannot fail.
            let body = serde_json::to_value(message).unwrap_or_default();
            notices.push(Notice { id: format!("{}.{}.{kind}", task.id, task.attempts), task: task.id, body });
        };
        if rules.mail && task.parent.is_none() && task.spec.notify_email {
            // A run is paused any number of times; everything else happens once to an attempt.
            let kind = match moment {
                Moment::Suspended | Moment::Resumed => format!("{}.{}", moment.word(), task.rev.0),
                _ => moment.word().to_owned(),
            };
            add(kind, Message::Mail(mail(task, *moment)));
        }
        if *moment != Moment::Ended {
            continue;
        }
        if rules.live && task.parent.is_none() {
            add("live".to_owned(), Message::Live(live(task)));
        }
        if rules.flow && task.spec.fields.get("godflow").is_some_and(|text| text == "true") {
            add("flow".to_owned(), Message::Flow {});
        }
        if let (true, Some(usage)) = (rules.usage, usage(task)) {
            add("usage".to_owned(), Message::Usage(usage));
        }
    }
    notices
}

fn mail(task: &Task, moment: Moment) -> Mail {
    // A task that started and ended in one write is told of twice, and the first mail is about its start.
    let started = moment == Moment::Started;
    let (primary, secondary) = if started { ("running", None) } else { wire::status_words(task, None) };
    let over = moment == Moment::Ended;
    Mail {
        user: task.spec.owner.id.clone(),
        address: task.spec.owner.email.clone(),
        name: task.spec.name.clone(),
        moment: moment.word().to_owned(),
        primary: primary.to_owned(),
        secondary: secondary.unwrap_or_default().to_owned(),
        reason: if started { String::new() } else { wire::reason(task, None).unwrap_or_default() },
        exit_code: task.state.outcome().filter(|_| over).and_then(Outcome::exit_code),
        array: task.array().map(|array| Digest {
            count: array.count(),
            over: if over { task.children.over } else { 0 },
            failed: if over { failed(task) } else { 0 },
        }),
        submitted: task.submitted,
        started: run_began(task),
        at: when(task, moment),
    }
}

/// Children of an ended array that did not succeed.
fn failed(task: &Task) -> u64 {
    match task.state.outcome() {
        Some(Outcome::Gathered { failed }) => *failed,
        _ => task.children.failed,
    }
}

fn when(task: &Task, moment: Moment) -> Option<Timestamp> {
    if moment == Moment::Started
        && let Some(began) = run_began(task)
    {
        return Some(began);
    }
    match &task.state {
        TaskState::Over { at, .. } => Some(*at),
        TaskState::Pending { since, .. } | TaskState::Gathering { since } | TaskState::Held { since, .. } => {
            Some(*since)
        }
        // Nobody noted when it was paused.
        _ => None,
    }
}

fn run_began(task: &Task) -> Option<Timestamp> {
    match &task.state {
        TaskState::Running { since, .. } => Some(*since),
        TaskState::Over { last, .. } => last.as_ref().and_then(|ran| ran.started),
        _ => None,
    }
}

fn live(task: &Task) -> Live {
    let (primary, secondary) = wire::status_words(task, None);
    let killed = secondary.filter(|word| *word == wire::KILLED);
    Live {
        user: task.spec.owner.id.clone(),
        id: task.id.0,
        status: killed.unwrap_or(primary).to_owned(),
        name: task.spec.name.clone(),
    }
}

/// `None` for what ran nothing and for what was killed.
fn usage(task: &Task) -> Option<Usage> {
    let TaskState::Over { outcome, at, last: Some(ran) } = &task.state else { return None };
    let started = ran.started?;
    if task.array().is_some() || matches!(outcome, Outcome::Killed { .. } | Outcome::TimedOut) {
        return None;
    }
    Some(Usage {
        user: task.spec.owner.id.clone(),
        image: task.spec.image.clone(),
        cpu: task.spec.cores,
        ram: task.spec.ram,
        ran_ms: at.millis_since(started),
        waited_ms: started.millis_since(task.submitted),
        at: *at,
    })
}

#[cfg(test)]
mod tests;
