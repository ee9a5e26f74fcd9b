//! Why pending tasks wait, and where in the queue they stand: one answer for every route and page.

use crate::app::Inner;
use god_core::board::{self, Board};
use god_core::group::Group;
use god_core::reason::{Code, Reason};
use god_core::spec::AfterPolicy;
use god_core::state::{Phase, TaskState};
use god_core::store::StoreError;
use god_core::{Task, TaskId, wire};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What the names of pinned texts begin with that speak of one task.
const OF_TASK: &str = "why/task/";
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
#[derive(Debug, Default)]
pub(crate) struct Boards {
    groups: HashMap<String, Board>,
    /// Of single tasks that are not in the queue.
    tasks: HashMap<String, Reason>,
}

impl Boards {
    fn read(pins: Vec<(String, String)>) -> Boards {
        let mut boards = Boards::default();
        for (pin, text) in pins {
            let read = match pin.strip_prefix(OF_TASK) {
                Some(id) => {
                    serde_json::from_str(&text).map(|why| drop(boards.tasks.insert(id.to_owned(), why)))
                }
                None => {
                    serde_json::from_str(&text).map(|board| drop(boards.groups.insert(pin.clone(), board)))
                }
            };
            if let Err(err) = read {
                tracing::warn!(%pin, %err, "what the scheduler says of the queue can not be read");
            }
        }
        boards
    }

    /// What is said of this task alone.
    fn of_task(&self, task: &Task) -> Option<&Reason> {
        self.tasks.get(&task.id.to_string())
    }

    /// What is said of its group, and how many tasks are ahead.
    fn of_group(&self, task: &Task) -> (Option<&Reason>, Option<u64>) {
        if self.groups.is_empty() {
            return (None, None);
        }
        let key = Group::of_task(task).key();
        // Of an array, what counts is its first child.
        let first = if task.array().is_some() { task.id.child(0) } else { task.id };
        match self.groups.get(&Board::pin_of(&key)) {
            Some(board) => (board.reason(&key), board.ahead(&key, first)),
            None => (None, None),
        }
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
        let boards = self.boards().await?;
        let others = self.others(&pending).await?;
        for task in pending {
            let waits = open_parents(task, &others);
            let why = if task.kill_wanted() {
                continue;
            } else if !waits.is_empty() {
                Why { reason: dependency(task, &waits), position: None }
            } else if let Some(reason) = boards.of_task(task) {
                Why { reason: reason.clone(), position: None }
            } else {
                in_queue(task, maintenance, &boards, &others)
            };
            whys.insert(task.id, why);
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

    /// What the scheduler says of the queue, as read at most a second ago.
    async fn boards(&self) -> Result<Arc<Boards>, StoreError> {
        let load = || async { Ok(Arc::new(Boards::read(self.store.pinned(board::PREFIX).await?))) };
        self.boards.get(&(), load).await
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
fn in_queue(task: &Task, maintenance: bool, boards: &Boards, others: &HashMap<TaskId, Task>) -> Why {
    let (of_group, position) = boards.of_group(task);
    let reason = if maintenance {
        Reason::new(Code::Maintenance, "The site is in maintenance; nothing is started for now")
    } else if let Some(reason) = array_limit(task, others) {
        return Why { reason, position: None };
    } else if let Some(reason) = of_group {
        reason.clone()
    } else {
        last_try(task).unwrap_or_else(|| turn(position))
    };
    Why { reason, position }
}

/// As many children of its array run as may.
fn array_limit(task: &Task, others: &HashMap<TaskId, Task>) -> Option<Reason> {
    let (limit, parent) = (limit_of(task)?, others.get(&task.parent?)?);
    if parent.children.made.saturating_sub(parent.children.over) < u64::from(limit) {
        return None;
    }
    let text = format!("Its array runs {limit} tasks at once, as many as it may");
    Some(Reason::new(Code::ArrayLimit, text).with("limit", limit))
}

/// What the last try to start it, or its last run, has left.
fn last_try(task: &Task) -> Option<Reason> {
    let TaskState::Pending { why, .. } = &task.state else { return None };
    let why = why.as_deref().filter(|why| !why.is_empty())?;
    let lost = task.failures.count > 0 && task.failures.reason.as_deref() == Some(why);
    Some(match lost {
        true => Reason::new(Code::NodeFailed, why).with("failures", task.failures.count),
        false => Reason::new(Code::Backoff, why),
    })
}

fn turn(position: Option<u64>) -> Reason {
    match position {
        None => Reason::new(Code::Priority, "Waits for its turn"),
        Some(0) => Reason::new(Code::Priority, "Is the next to be tried").with("ahead", 0),
        Some(1) => Reason::new(Code::Priority, "Waits for its turn: 1 task is ahead").with("ahead", 1),
        Some(n) => {
            Reason::new(Code::Priority, format!("Waits for its turn: {n} tasks are ahead")).with("ahead", n)
        }
    }
}

/// How many tasks of a child's array may run at once.
fn limit_of(task: &Task) -> Option<u32> {
    task.parent?;
    task.spec.array.as_ref()?.limit
}
