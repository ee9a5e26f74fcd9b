//! What the jobs of one task wrote down, against its document.

use super::Bounds;
use crate::run_log::{RunLine, What};
use god_core::{Outcome, Task, TaskId, TaskState};
use std::collections::BTreeMap;

/// One run, as its script saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OneRun {
    /// The attempt, where the script knew it.
    pub attempt: Option<u32>,
    /// The script's process.
    pub pid: u32,
    /// When it started.
    pub start: u64,
    /// When it ended and with which code, if it could still write that down.
    pub end: Option<(u64, Option<i32>)>,
    /// Further lines about its end.
    pub more_ends: u32,
}

impl OneRun {
    /// The last sign of its life.
    pub(super) fn last(&self) -> u64 {
        self.end.map_or(self.start, |(ns, _)| ns)
    }
}

/// A kind of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    DuplicateStart,
    Concurrent,
    FalseEnd,
    DoubleEnd,
}

/// Puts ends to their starts: the newest run of the same process before it. An end without a start is a run of its own.
pub(super) fn by_task(lines: &[RunLine]) -> BTreeMap<TaskId, Vec<OneRun>> {
    let mut runs: BTreeMap<TaskId, Vec<OneRun>> = BTreeMap::new();
    for line in lines {
        let of_task = runs.entry(TaskId(line.task)).or_default();
        let RunLine { attempt, pid, ns, .. } = *line;
        match line.what {
            What::Start => of_task.push(OneRun { attempt, pid, start: ns, end: None, more_ends: 0 }),
            What::End { code } => match of_task.iter_mut().rev().find(|run| run.pid == pid) {
                Some(run) if run.end.is_none() => run.end = Some((ns, code)),
                Some(run) => run.more_ends += 1,
                None => {
                    of_task.push(OneRun { attempt, pid, start: ns, end: Some((ns, code)), more_ends: 0 });
                }
            },
        }
    }
    runs.values_mut().for_each(|runs| runs.sort_by_key(|run| run.start));
    runs
}

/// When a document says that its task ended, nanoseconds since 1970; `None` when it is not over. The store's times are
/// whole milliseconds, cut off.
pub(super) fn ended_ns(task: &Task) -> Option<u64> {
    match &task.state {
        TaskState::Over { at, .. } | TaskState::Archived { at, .. } => {
            Some(u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000))
        }
        _ => None,
    }
}

/// Whether the document says that its last attempt ran the script.
fn ran_last(task: &Task) -> bool {
    match &task.state {
        TaskState::Over { last, .. } | TaskState::Archived { last, .. } => {
            last.as_ref().is_some_and(|ran| ran.started.is_some())
        }
        _ => task.state.attempt().is_some(),
    }
}

/// How many runs a document explains: one for each attempt that was lost, and the last one.
fn explained(task: &Task) -> usize {
    let lost_last = matches!(task.state.outcome(), Some(Outcome::Lost(_)));
    let lost = task.failures.count as usize;
    lost + usize::from(ran_last(task) && !(lost_last && lost > 0))
}

/// Judges one task. `silent`: its scripts write nothing down.
pub(super) fn judge(task: &Task, runs: &[OneRun], bounds: &Bounds, silent: bool) -> Vec<(Wrong, String)> {
    let mut wrongs = Vec::new();
    let mut wrong = |kind: Wrong, text: String| wrongs.push((kind, format!("task {}: {text}", task.id)));
    let explained = explained(task);
    if runs.len() > explained {
        match (explained, runs.len()) {
            (0, 1) => wrong(Wrong::FalseEnd, "its document says that it never ran, and it ran".to_owned()),
            (explained, n) => (explained.max(1)..n)
                .for_each(|_| wrong(Wrong::DuplicateStart, format!("{n} starts, {explained} explained"))),
        }
    } else {
        let mut attempts: Vec<u32> = runs.iter().filter_map(|run| run.attempt).collect();
        attempts.sort_unstable();
        for pair in attempts.windows(2).filter(|pair| pair[0] == pair[1]) {
            wrong(Wrong::DuplicateStart, format!("attempt {} started twice", pair[0]));
        }
    }
    for pair in runs.windows(2) {
        if pair[0].end.is_some_and(|(end, _)| end > pair[1].start) {
            wrong(Wrong::Concurrent, format!("processes {} and {} together", pair[0].pid, pair[1].pid));
        }
    }
    for run in runs {
        for _ in 0..run.more_ends {
            wrong(Wrong::DoubleEnd, format!("process {} ended twice", run.pid));
        }
    }
    let (Some(ended), Some(outcome)) = (ended_ns(task), task.state.outcome()) else { return wrongs };
    let end = runs.last().and_then(|run| run.end);
    match (outcome, end) {
        _ if silent => {}
        (Outcome::Exited(said), Some((_, code))) if code != Some(*said) => {
            wrong(Wrong::FalseEnd, format!("exit code {said} is stored, the script's was {code:?}"));
        }
        (Outcome::Exited(said), None) => {
            wrong(Wrong::FalseEnd, format!("exit code {said} is stored, the script never got to its end"));
        }
        (_, Some((ns, _))) if ns > ended + 999_999 + bounds.slack => {
            let span = crate::verdict::seconds(ns - ended);
            wrong(Wrong::FalseEnd, format!("stored as over {span} s before the script ended: {outcome}"));
        }
        _ => {}
    }
    wrongs
}
