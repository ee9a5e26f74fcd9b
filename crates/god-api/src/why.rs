//! Why pending tasks wait, and where in the queue they stand: one answer for every route and page.

use crate::app::Inner;
use god_core::group::Group;
use god_core::reason::{Code, Reason};
use god_core::spec::AfterPolicy;
use god_core::state::{Phase, TaskState};
use god_core::store::StoreError;
use god_core::{Task, TaskId, wire};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Tasks that a sentence names one by one.
const NAMED: usize = 5;

/// Why one task waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    /// For programs and people.
    pub(crate) reason: Reason,
    /// Number of pending tasks that the scheduler would try before it, as of a few seconds ago; `None` when it is not in
    /// the queue or the scheduler has not said yet.
    pub(crate) position: Option<u64>,
}

impl Why {
    /// As it stands in answers: `code`, `numbers` and `position`; the sentence is the status's `reason`.
    pub(crate) fn json(&self) -> Value {
        let Reason { code, numbers, .. } = &self.reason;
        json!({"code": code, "numbers": numbers, "position": self.position})
    }
}

/// Why some tasks wait; those that do not wait are not in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Whys(HashMap<TaskId, Why>);

impl Whys {
    /// Why this task waits.
    pub(crate) fn of(&self, task: &Task) -> Option<&Why> {
        self.0.get(&task.id)
    }
}

/// The `status` part of a task's document.
pub(crate) fn status(task: &Task, why: Option<&Why>) -> Value {
    let mut status = wire::status(task, why.map(|why| &why.reason));
    if let Some(why) = why {
        status["why"] = why.json();
    }
    status
}

/// What the scheduler says of the queue.
#[derive(Debug)]
pub(crate) struct Board(HashMap<String, Reason>);

impl Board {
    fn reason(&self, task: &Task) -> Option<&Reason> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&format!("why/{}", Group::of(&task.spec).key()))
    }
}

impl Inner {
    /// Why this task waits; `None` when it does not.
    pub(crate) async fn why_of(&self, task: &Task) -> Result<Option<Why>, StoreError> {
        Ok(self.whys_of(std::slice::from_ref(task)).await?.0.remove(&task.id))
    }

    /// Why these tasks wait, with a few questions to the store for all of them together.
    pub(crate) async fn whys_of(&self, tasks: &[Task]) -> Result<Whys, StoreError> {
        let mut whys = HashMap::new();
        let pending: Vec<&Task> = tasks.iter().filter(|task| task.phase() == Phase::Pending).collect();
        for task in tasks {
            whys.extend(told_by_state(task).map(|why| (task.id, why)));
        }
        if pending.is_empty() {
            return Ok(Whys(whys));
        }
        let maintenance = self.in_maintenance().await?;
        let board = self.board().await?;
        let others = self.others(&pending).await?;
        for task in pending {
            let waits = open_parents(task, &others);
            let (reason, position) = if task.kill_wanted() {
                continue;
            } else if !waits.is_empty() {
                (dependency(task, &waits), None)
            } else if maintenance {
                let text = "The site is in maintenance; nothing is started for now";
                (Reason::new(Code::Maintenance, text), None)
            } else {
                (in_queue(task, &board, &others), None)
            };
            whys.insert(task.id, Why { reason, position });
        }
        Ok(Whys(whys))
    }

    /// The tasks that these wait for, and parents of arrays with a limit.
    async fn others(&self, pending: &[&Task]) -> Result<HashMap<TaskId, Task>, StoreError> {
        let mut ids = BTreeSet::new();
        for task in pending {
            ids.extend(task.spec.after.iter().copied());
            ids.extend(task.parent.filter(|_| limit_of(task).is_some()));
        }
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<TaskId> = ids.into_iter().collect();
        Ok(self.store.get(&ids).await?.into_iter().flatten().map(|task| (task.id, task)).collect())
    }

    /// What the scheduler says of groups of pending tasks, at most a second old.
    async fn board(&self) -> Result<Arc<Board>, StoreError> {
        let load = || async {
            let mut reasons = HashMap::new();
            for (key, text) in self.store.pinned("why/").await? {
                match serde_json::from_str(&text) {
                    Ok(reason) => drop(reasons.insert(key, reason)),
                    Err(err) => tracing::warn!(%key, %err, "a published reason can not be read"),
                }
            }
            Ok(Arc::new(Board(reasons)))
        };
        self.board.get(&(), load).await
    }
}

/// What is known of a task that is not in the queue.
fn told_by_state(task: &Task) -> Option<Why> {
    let reason = match &task.state {
        TaskState::Starting { attempt } => Reason::new(
            Code::Starting,
            format!("Given to executor {} for node {}", attempt.executor, attempt.node),
        )
        .with("attempt", attempt.number),
        TaskState::Held { reason, .. } => Reason::new(Code::Held, reason.clone()),
        _ => return None,
    };
    Some(Why { reason, position: None })
}

/// Those of its parents that are not over.
fn open_parents(task: &Task, others: &HashMap<TaskId, Task>) -> Vec<TaskId> {
    let open = |id: &TaskId| others.get(id).is_some_and(|parent| !parent.phase().is_over());
    task.spec.after.iter().copied().filter(open).collect()
}

fn dependency(task: &Task, waits: &[TaskId]) -> Reason {
    let named: Vec<String> = waits.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match waits.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let noun = if waits.len() == 1 { "task" } else { "tasks" };
    let end = if task.spec.after_policy == AfterPolicy::Ok { "success" } else { "end" };
    let text = format!("Waits for the {end} of {noun} {}{more}", named.join(", "));
    Reason::new(Code::Dependency, text).with("tasks", waits.len() as u64)
}

/// Why a task waits that could be tried.
fn in_queue(task: &Task, board: &Board, others: &HashMap<TaskId, Task>) -> Reason {
    let TaskState::Pending { why, .. } = &task.state else {
        return Reason::new(Code::Priority, "Waits for its turn");
    };
    if let (Some(limit), Some(parent)) = (limit_of(task), task.parent.and_then(|id| others.get(&id)))
        && parent.children.made.saturating_sub(parent.children.over) >= u64::from(limit)
    {
        let text = format!("Its array runs {limit} tasks at once, as many as it may");
        return Reason::new(Code::ArrayLimit, text).with("limit", limit);
    }
    if let Some(reason) = board.reason(task).filter(|reason| reason.code != Code::Priority) {
        return reason.clone();
    }
    match why.as_deref().filter(|why| !why.is_empty()) {
        Some(why) if task.failures.count > 0 && task.failures.reason.as_deref() == Some(why) => {
            Reason::new(Code::NodeFailed, why).with("failures", task.failures.count)
        }
        Some(why) => Reason::new(Code::Backoff, why),
        None => Reason::new(Code::Priority, "Waits for its turn"),
    }
}

/// How many tasks of a child's array may run at once.
fn limit_of(task: &Task) -> Option<u32> {
    task.parent?;
    task.spec.array.as_ref()?.limit
}
