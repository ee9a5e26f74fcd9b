//! The judge: three witnesses in, a verdict out. Pure.
//!
//! Scripts of executors that run nothing leave no trace in the run log; of their tasks only the documents are judged.

mod counters;
mod runs;

use crate::client_log::{ClientLine, Op};
use crate::documents::Documents;
use crate::processes::Alive;
use crate::run_log::{RunLine, What};
use crate::verdict::{Recovery, Verdict, seconds};
use god_core::{Task, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// Wrongs that are told in words.
const EXAMPLES: usize = 20;

/// Everything that is known of a run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// What clients asked and were told, in the order of time.
    pub client: Vec<ClientLine>,
    /// What jobs wrote down, in the order of the file.
    pub runs: Vec<RunLine>,
    /// What is stored at the end.
    pub documents: Documents,
    /// Processes of jobs at the end.
    pub alive: Vec<Alive>,
}

/// What is still in time.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// From an acknowledged kill to the end of the job, nanoseconds.
    pub kill: u64,
    /// How far clocks and the order of writes may be apart, nanoseconds.
    pub slack: u64,
    /// Executors whose runs leave no trace in the run log.
    pub silent: Vec<String>,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { kill: 15_000_000_000, slack: 50_000_000, silent: vec!["fake".to_owned()] }
    }
}

/// Judges a run.
#[must_use]
pub fn judge(history: &History, bounds: &Bounds) -> Verdict {
    let mut judge = Judge {
        history,
        bounds,
        runs: runs::by_task(&history.runs),
        leaves: leaves(&history.documents),
        verdict: Verdict::default(),
    };
    judge.summary();
    judge.submits();
    judge.arrays();
    judge.tasks();
    judge.orphans();
    judge.kills();
    counters::judge(&mut judge);
    judge.verdict
}

/// The judge at work.
struct Judge<'a> {
    history: &'a History,
    bounds: &'a Bounds,
    /// The runs of each task, by their start.
    runs: BTreeMap<TaskId, Vec<runs::OneRun>>,
    /// Tasks that run something, children that were never written included.
    leaves: BTreeMap<TaskId, Task>,
    verdict: Verdict,
}

fn leaves(documents: &Documents) -> BTreeMap<TaskId, Task> {
    let singles = documents.tasks.values().filter(|task| task.array().is_none() && task.parent.is_none());
    let parents = documents.tasks.values().filter(|task| task.array().is_some());
    let children = parents.flat_map(|parent| documents.children(parent));
    singles.cloned().chain(children).map(|task| (task.id, task)).collect()
}

impl Judge<'_> {
    /// Notes an example of a wrong.
    fn example(&mut self, text: String) {
        if self.verdict.examples.len() < EXAMPLES {
            self.verdict.examples.push(text);
        }
    }

    /// When faults were injected.
    fn faults(&self) -> impl Iterator<Item = u64> {
        self.history.client.iter().filter_map(|line| match line {
            ClientLine::Fault { ns, .. } => Some(*ns),
            _ => None,
        })
    }

    fn summary(&mut self) {
        let mut starts: Vec<u64> =
            self.history.runs.iter().filter(|line| line.what == What::Start).map(|line| line.ns).collect();
        starts.sort_unstable();
        let mut spans = Vec::new();
        for line in &self.history.client {
            match line {
                ClientLine::Fault { ns, kind, target } => {
                    *self.verdict.faults.entry(format!("{kind} {target}")).or_default() += 1;
                    let next = starts.partition_point(|start| start <= ns);
                    spans.extend(starts.get(next).map(|start| start - ns));
                }
                ClientLine::Fail { status, .. } | ClientLine::Unknown { status: Some(status), .. }
                    if *status >= 500 && *status != 503 =>
                {
                    self.verdict.unexpected_5xx += 1;
                }
                _ => {}
            }
        }
        let times = self.history.client.iter().map(ClientLine::ns);
        let times: Vec<u64> = times.chain(self.history.runs.iter().map(|line| line.ns)).collect();
        let (first, last) = (times.iter().min().unwrap_or(&0), times.iter().max().unwrap_or(&0));
        self.verdict.wall_s = seconds(last - first);
        self.verdict.recovery_s = Recovery::of(spans);
        self.verdict.tasks = self.leaves.len() as u64;
        self.verdict.attempts = self.leaves.values().map(|task| u64::from(task.attempts)).sum();
        self.verdict.starts = starts.len() as u64;
    }

    /// What was acknowledged is stored, once; what was refused is not.
    fn submits(&mut self) {
        let mut stored: BTreeMap<&str, Vec<TaskId>> = BTreeMap::new();
        for task in self.history.documents.tasks.values().filter(|task| task.parent.is_none()) {
            stored.entry(&task.spec.name).or_default().push(task.id);
        }
        let (mut answered, mut refused, mut open) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for line in &self.history.client {
            match line {
                ClientLine::Ok { op: Op::Submit, key, task, .. } => {
                    answered.entry(key.as_str()).or_insert_with(BTreeSet::new).insert(TaskId(*task));
                }
                ClientLine::Fail { op: Op::Submit, key, .. } => drop(refused.insert(key.as_str())),
                ClientLine::Unknown { op: Op::Submit, key, .. } => drop(open.insert(key.as_str())),
                _ => {}
            }
        }
        for (key, ids) in &answered {
            let of_key = stored.get(key).map(Vec::as_slice).unwrap_or_default();
            for id in ids.iter().filter(|id| !of_key.contains(id)) {
                self.verdict.lost += 1;
                self.example(format!("lost: {key} was acknowledged as task {id}, stored are {of_key:?}"));
            }
        }
        for (key, ids) in &stored {
            if ids.len() > 1 {
                self.verdict.duplicate_tasks += ids.len() as u64 - 1;
                self.example(format!("duplicate task: {key} is {ids:?}"));
            }
            if refused.contains(key) && !open.contains(key) && !answered.contains_key(key) {
                self.verdict.ghost_tasks += 1;
                self.example(format!("ghost: {key} was refused and is task {ids:?}"));
            }
        }
    }

    /// A parent is over when its children are, and knows how they ended.
    fn arrays(&mut self) {
        let history = self.history;
        for parent in history.documents.tasks.values() {
            let Some(array) = parent.array() else { continue };
            let Some(god_core::Outcome::Gathered { failed }) = parent.state.outcome() else { continue };
            let children: Vec<&Task> =
                history.documents.tasks.values().filter(|task| task.parent == Some(parent.id)).collect();
            let missing = array.count().saturating_sub(children.len() as u64);
            if missing > 0 {
                self.verdict.lost += missing;
                self.example(format!("lost: array {} ended without {missing} of its children", parent.id));
            }
            let n_failed = children
                .iter()
                .filter(|child| child.state.outcome().is_some_and(|outcome| !outcome.is_success()))
                .count();
            if children.iter().any(|child| !child.phase().is_over()) || n_failed as u64 != *failed {
                self.verdict.false_ends += 1;
                self.example(format!(
                    "false end: array {} says {failed} failed, it were {n_failed}",
                    parent.id
                ));
            }
        }
    }

    fn tasks(&mut self) {
        let unfinished = self.history.documents.tasks.values().filter(|task| !task.phase().is_over());
        let stuck: Vec<(TaskId, god_core::state::Phase)> =
            unfinished.map(|task| (task.id, task.phase())).collect();
        self.verdict.stuck = stuck.len() as u64;
        for (id, phase) in stuck {
            self.example(format!("stuck: task {id} is {phase:?}"));
        }
        let leaves = std::mem::take(&mut self.leaves);
        for task in leaves.values() {
            let silent = self.is_silent(task);
            let of_task = self.runs.get(&task.id).cloned().unwrap_or_default();
            for (wrong, text) in runs::judge(task, &of_task, self.bounds, silent) {
                match wrong {
                    runs::Wrong::DuplicateStart => self.verdict.duplicate_starts += 1,
                    runs::Wrong::Concurrent => self.verdict.concurrent_attempts += 1,
                    runs::Wrong::FalseEnd => self.verdict.false_ends += 1,
                    runs::Wrong::DoubleEnd => self.verdict.double_ends += 1,
                }
                self.example(text);
            }
            self.order(task, &of_task);
        }
        self.leaves = leaves;
    }

    /// Whether the runs of a task leave no trace.
    fn is_silent(&self, task: &Task) -> bool {
        let asked = task.spec.executor.as_deref().unwrap_or_default();
        let name = asked.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_')).next();
        self.bounds.silent.iter().any(|silent| Some(silent.as_str()) == name)
    }

    /// Nothing starts before what it waits for has ended.
    fn order(&mut self, task: &Task, of_task: &[runs::OneRun]) {
        let Some(first) = of_task.first() else { return };
        for id in &task.spec.after {
            let ended = self.runs.get(id).and_then(|runs| runs.last()).and_then(|run| run.end);
            if ended.is_some_and(|(ns, _)| ns > first.start) {
                self.verdict.early_starts += 1;
                self.example(format!("early start: task {} ran before task {id} had ended", task.id));
            }
        }
    }

    /// Nothing of ours is alive, and every run has a document.
    fn orphans(&mut self) {
        for process in &self.history.alive {
            self.verdict.orphans_over_bound += 1;
            self.example(format!("orphan: process {} of task {} is alive", process.pid, process.task));
        }
        let unknown: Vec<TaskId> =
            self.runs.keys().filter(|id| !self.leaves.contains_key(id)).copied().collect();
        for id in unknown {
            self.verdict.orphans_over_bound += 1;
            self.example(format!("orphan: a run of task {id}, which no document knows"));
        }
    }

    /// Who was told that a task will be killed sees it dead in time.
    fn kills(&mut self) {
        let mut acknowledged: BTreeMap<TaskId, u64> = BTreeMap::new();
        for line in &self.history.client {
            if let ClientLine::Ok { ns, op: Op::Kill, task, .. } = line {
                let at = acknowledged.entry(TaskId(*task)).or_insert(*ns);
                *at = (*at).min(*ns);
            }
        }
        for (id, at) in acknowledged {
            let Some(task) = self.history.documents.tasks.get(&id) else { continue };
            let ids: Vec<TaskId> = match task.array() {
                None => vec![id],
                Some(_) => self.history.documents.children(task).map(|child| child.id).collect(),
            };
            let bound = at + self.bounds.kill;
            let alive = |id: &TaskId| self.history.alive.iter().any(|process| process.task == id.0);
            let last_sign = ids.iter().filter_map(|id| self.runs.get(id)).flatten().map(runs::OneRun::last);
            let last_sign = last_sign.max().unwrap_or(0);
            if last_sign > at {
                let span = seconds(last_sign - at);
                self.verdict.slowest_kill_s = self.verdict.slowest_kill_s.max(span);
            }
            let stored: Vec<&Task> = ids.iter().filter_map(|id| self.leaves.get(id)).collect();
            // Runs that leave no trace live in a process of ours and die with it. They are found to be gone some time
            // after the last death, which says nothing about when they ended.
            let faults: Vec<u64> = self.faults().collect();
            let is_late = |task: &Task| {
                let Some(ended) = runs::ended_ns(task) else { return true };
                let deaths = faults.iter().filter(|ns| self.is_silent(task) && **ns <= ended);
                ended > deaths.max().map_or(bound, |last| bound.max(last + self.bounds.kill))
            };
            let late = is_late(task) || stored.into_iter().any(is_late);
            if late || last_sign > bound || ids.iter().any(alive) {
                self.verdict.late_kills += 1;
                self.example(format!("late kill: task {id} lived on after its kill was acknowledged"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
