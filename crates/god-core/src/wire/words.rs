//! The words `primary` and `secondary` of the wire format, in both directions.

use crate::reason::Reason;
use crate::state::{Ask, Outcome, TaskState, Wish, WishStatus};
use crate::task::Task;

pub(super) const PENDING: &str = "pending";
pub(super) const RUNNING: &str = "running";
pub(super) const OVER: &str = "over";
pub(super) const ARCHIVED: &str = "archived";

pub(crate) const KILLED: &str = "killed";
pub(super) const REJECTED: &str = "rejected by scheduler";
pub(super) const RESCHEDULED: &str = "rescheduled";
pub(super) const QUOTA: &str = "quota reached";
pub(super) const HELD: &str = "held";
pub(super) const SKIPPED: &str = "skipped";
pub(super) const SUSPENDED: &str = "suspended";

/// Reasons that stand for an outcome of their own.
pub(super) const TIMED_OUT: &str = "Max duration reached";
pub(super) const OUT_OF_MEMORY: &str = "Out of memory";
pub(super) const SIGNAL: &str = "Signal ";

/// Each request with its words; what is not here has none.
const WISHES: [(Ask, WishStatus, &str); 9] = [
    (Ask::Kill, WishStatus::Requested, "kill requested"),
    (Ask::Suspend, WishStatus::Requested, "suspend requested"),
    (Ask::Suspend, WishStatus::Done, SUSPENDED),
    (Ask::Suspend, WishStatus::Rejected, "suspend rejected"),
    (Ask::Resume, WishStatus::Requested, "resume requested"),
    (Ask::Resume, WishStatus::Done, "resumed"),
    (Ask::Resume, WishStatus::Rejected, "resume rejected"),
    (Ask::Reschedule, WishStatus::Requested, "reschedule requested"),
    (Ask::Reschedule, WishStatus::Rejected, "reschedule rejected"),
];

/// The word of a request that has one.
pub(super) fn wish_word(wish: &Wish) -> Option<&'static str> {
    WISHES
        .iter()
        .find(|(ask, status, _)| (*ask, *status) == (wish.ask, wish.status))
        .map(|(_, _, word)| *word)
}

/// The request behind a word.
pub(super) fn wish_of(word: &str) -> Option<(Ask, WishStatus)> {
    WISHES.iter().find(|(_, _, w)| *w == word).map(|(ask, status, _)| (*ask, *status))
}

/// The words `primary` and `secondary` of a task. `why` is what the scheduler says of a pending task, beyond what the
/// state itself knows. A claimed task still shows as pending: clients know no word for it.
#[must_use]
pub fn status_words(task: &Task, why: Option<&Reason>) -> (&'static str, Option<&'static str>) {
    let wished = task.wish.as_ref().and_then(wish_word);
    match &task.state {
        TaskState::Pending { requeued, why: own, .. } => {
            let lost = task.failures.count > 0 && task.failures.reason == *own;
            let tried = why.is_some_and(|why| why.code.is_rejection());
            let word = match (tried, filled(own.as_deref())) {
                (true, _) => Some(REJECTED),
                (false, Some(_)) if !(*requeued && lost) => Some(REJECTED),
                (false, _) => requeued.then_some(RESCHEDULED),
            };
            (PENDING, wished.or(word))
        }
        TaskState::Starting { .. } => (PENDING, wished),
        TaskState::Running { paused, .. } => (RUNNING, wished.or(paused.then_some(SUSPENDED))),
        TaskState::Gathering { .. } => (RUNNING, wished),
        TaskState::Held { .. } => (PENDING, Some(HELD)),
        TaskState::Over { outcome, .. } => (OVER, Some(outcome_word(outcome))),
        TaskState::Archived { outcome, .. } => (ARCHIVED, Some(outcome_word(outcome))),
    }
}

fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Exited(_)
        | Outcome::Signalled(_)
        | Outcome::OutOfMemory
        | Outcome::Lost(_)
        | Outcome::Gathered { .. } => "",
        Outcome::Killed { .. } | Outcome::TimedOut => KILLED,
        Outcome::Quota(_) => QUOTA,
        Outcome::Refused(_) => REJECTED,
        Outcome::Skipped(_) => SKIPPED,
    }
}

/// The text `reason`: why the task is where it is. `None` is null; running and over tasks without a problem have an
/// empty one.
pub(crate) fn reason(task: &Task, why: Option<&Reason>) -> Option<String> {
    let wished = task.wish.as_ref().filter(|wish| wish_word(wish).is_some());
    let wished = wished.and_then(|wish| filled(wish.reason.as_deref()));
    match &task.state {
        TaskState::Pending { why: own, .. } => wished
            .or(why.and_then(|why| filled(Some(&why.text))))
            .or(filled(own.as_deref()))
            .map(str::to_owned),
        TaskState::Starting { .. } => wished.map(str::to_owned),
        TaskState::Running { .. } | TaskState::Gathering { .. } => {
            Some(wished.unwrap_or_default().to_owned())
        }
        TaskState::Held { reason, .. } => Some(reason.clone()),
        TaskState::Over { outcome, .. } | TaskState::Archived { outcome, .. } => {
            Some(outcome_reason(outcome))
        }
    }
}

fn outcome_reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(_) | Outcome::Gathered { .. } => String::new(),
        Outcome::Signalled(signal) => format!("{SIGNAL}{signal}"),
        Outcome::Killed { reason } => reason.clone().unwrap_or_default(),
        Outcome::TimedOut => TIMED_OUT.to_owned(),
        Outcome::OutOfMemory => OUT_OF_MEMORY.to_owned(),
        Outcome::Lost(reason)
        | Outcome::Quota(reason)
        | Outcome::Refused(reason)
        | Outcome::Skipped(reason) => reason.clone(),
    }
}

/// The outcome behind the words of an over task. `failed` is the number of children that did not succeed, for a parent
/// of an array.
pub(super) fn outcome_of(
    secondary: &str,
    reason: &str,
    exit_code: Option<i32>,
    failed: Option<u64>,
) -> Outcome {
    match (secondary, exit_code) {
        (KILLED, _) if reason == TIMED_OUT => Outcome::TimedOut,
        (KILLED, _) => Outcome::Killed { reason: filled(Some(reason)).map(str::to_owned) },
        (QUOTA, _) => Outcome::Quota(reason.to_owned()),
        (REJECTED, _) => Outcome::Refused(reason.to_owned()),
        (SKIPPED, _) => Outcome::Skipped(reason.to_owned()),
        (_, None) => Outcome::Lost(reason.to_owned()),
        (_, Some(137)) if reason == OUT_OF_MEMORY => Outcome::OutOfMemory,
        (_, Some(code)) if code > 128 && reason.starts_with(SIGNAL) => Outcome::Signalled(code - 128),
        (_, Some(code)) => match failed {
            Some(failed) => Outcome::Gathered { failed: if code == 0 { 0 } else { failed.max(1) } },
            None => Outcome::Exited(code),
        },
    }
}

pub(super) fn filled(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
