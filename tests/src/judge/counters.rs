//! The store's counters and books against a recount.

use super::Judge;
use god_core::store::Counts;
use god_core::task::Children;
use god_core::{Task, TaskId, TaskState, UserId};
use std::collections::BTreeMap;

pub(super) fn judge(judge: &mut Judge<'_>) {
    phases(judge);
    children(judge);
    books(judge);
}

/// Numbers of tasks by phase, of all and of each owner.
fn phases(judge: &mut Judge<'_>) {
    let documents = &judge.history.documents;
    let mut all = Counts::default();
    let mut of: BTreeMap<&UserId, Counts> = BTreeMap::new();
    let mut add = |task: &Task, owner| {
        let phase = usize::from(task.phase().code());
        all.0[phase] += 1;
        of.entry(owner).or_default().0[phase] += 1;
    };
    for task in documents.tasks.values() {
        let owner = &task.spec.owner.id;
        add(task, owner);
        if task.array().is_some() && !task.phase().is_over() {
            documents
                .children(task)
                .filter(|child| !documents.tasks.contains_key(&child.id))
                .for_each(|child| add(&child, owner));
        }
    }
    let mut drifts = vec![("all".to_owned(), drift(&all, &documents.counts))];
    for (owner, counts) in of {
        let stored = documents.counts_of.get(owner).copied().unwrap_or_default();
        drifts.push((owner.to_string(), drift(&counts, &stored)));
    }
    for (whose, drift) in drifts.into_iter().filter(|(_, drift)| *drift > 0) {
        judge.verdict.counter_drift += drift;
        judge.example(format!("counters of {whose} differ by {drift} from a recount"));
    }
}

fn drift(one: &Counts, other: &Counts) -> u64 {
    one.0.iter().zip(other.0).map(|(one, other)| one.abs_diff(other)).sum()
}

/// What arrays know of their children.
fn children(judge: &mut Judge<'_>) {
    let documents = &judge.history.documents;
    let mut counted: BTreeMap<TaskId, Children> = BTreeMap::new();
    for task in documents.tasks.values() {
        let Some(parent) = task.parent else { continue };
        let children = counted.entry(parent).or_default();
        children.made += 1;
        if let Some(outcome) = task.state.outcome() {
            children.over += 1;
            children.failed += u64::from(!outcome.is_success());
        }
    }
    for parent in documents.tasks.values().filter(|task| task.array().is_some()) {
        let (told, counted) = (parent.children, counted.get(&parent.id).copied().unwrap_or_default());
        let drift = told.made.abs_diff(counted.made)
            + told.over.abs_diff(counted.over)
            + told.failed.abs_diff(counted.failed);
        if drift > 0 {
            judge.verdict.counter_drift += drift;
            judge.example(format!("array {} says {told:?}, counted are {counted:?}", parent.id));
        }
    }
}

/// Usage is booked once for each attempt that ran. Of attempts that were lost and tried again the documents do not tell
/// whether they had started, so the sum lies between two bounds; without such attempts the times must fit, too.
fn books(judge: &mut Judge<'_>) {
    let documents = &judge.history.documents;
    let mut expected: BTreeMap<&UserId, Expected> = BTreeMap::new();
    for task in documents.tasks.values().filter(|task| task.array().is_none()) {
        let expected = expected.entry(&task.spec.owner.id).or_default();
        let cores = u64::from(task.spec.cores.0);
        let earlier = u64::from(task.attempts).saturating_sub(1).min(u64::from(task.failures.count));
        expected.most += cores * earlier;
        expected.retried |= earlier > 0;
        if let TaskState::Over { at, last: Some(ran), .. } | TaskState::Archived { at, last: Some(ran), .. } =
            &task.state
            && let Some(started) = ran.started
        {
            expected.least += cores;
            expected.most += cores;
            expected.millis += at.millis_since(started);
        }
    }
    for (owner, expected) in expected {
        let booked = documents.booked.get(owner).copied().unwrap_or_default();
        let times_differ = !expected.retried && booked.millis != expected.millis;
        if booked.cores > expected.most || (times_differ && booked.millis > expected.millis) {
            judge.verdict.double_ends += booked.cores.saturating_sub(expected.most).max(1);
            judge.example(format!("{owner}: {booked:?} is booked, at most {expected:?} was used"));
        } else if booked.cores < expected.least || times_differ {
            judge.verdict.counter_drift += expected.least.saturating_sub(booked.cores).max(1);
            judge.example(format!("{owner}: {booked:?} is booked, at least {expected:?} was used"));
        }
    }
}

/// What the documents of one owner explain.
#[derive(Debug, Default)]
struct Expected {
    least: u64,
    most: u64,
    millis: u64,
    retried: bool,
}
