//! Requests on tasks: kill, suspend, resume, reschedule, archive, purge. A request is durable when this returns; watchers,
//! and the archiver for what is over, make it true.

use god_core::ids::{OpId, TaskId};
use god_core::state::Ask;
use god_core::store::{Change, Committed, Store, StoreError};
use god_core::task::Task;
use god_core::units::Timestamp;

/// How often a request is decided again because the task moved meanwhile. More than a few means that it can not be
/// stored as the task is.
const MOST_TRIES: u32 = 50;

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// It is stored (or carried out already, where nothing had to be stopped).
    Stored(Task),
    /// Nothing to do: the request is not for a task in this phase, or the same was asked before.
    Nothing(Task),
    /// There is no such task.
    Unknown,
}

/// Asks something of a task.
///
/// # Errors
/// [`StoreError`]; the request may be stored all the same, and asking again is safe.
pub async fn ask(
    store: &dyn Store,
    id: TaskId,
    ask: Ask,
    reason: Option<&str>,
    now: Timestamp,
    mut op: impl FnMut() -> OpId,
) -> Result<Asked, StoreError> {
    let mut last = None;
    for _ in 0..MOST_TRIES {
        let Some(task) = store.get(&[id]).await?.pop().flatten() else { return Ok(Asked::Unknown) };
        let Some(next) = task.asked(ask, reason, now) else { return Ok(Asked::Nothing(task)) };
        let change = Change::of(&task, next.clone(), op());
        match store.commit(vec![change], None).await?.first() {
            Some(Committed::Done) => return Ok(Asked::Stored(next)),
            // Somebody else moved the task between our read and our write: decide again on what it is now.
            Some(Committed::Stale) | None => last = Some(task),
        }
    }
    Ok(last.map_or(Asked::Unknown, Asked::Nothing))
}

/// Asks the same of many tasks, as they were just read, in one write; answers those for which it is stored. A task that
/// somebody moved meanwhile is not among them, nor is one of which the same was asked before.
///
/// # Errors
/// [`StoreError`]; some requests may be stored all the same, and asking again is safe.
pub async fn ask_all(
    store: &dyn Store,
    tasks: &[Task],
    ask: Ask,
    now: Timestamp,
    mut op: impl FnMut() -> OpId,
) -> Result<Vec<TaskId>, StoreError> {
    let changes: Vec<Change> =
        tasks.iter().filter_map(|task| Some(Change::of(task, task.asked(ask, None, now)?, op()))).collect();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<TaskId> = changes.iter().map(|change| change.task.id).collect();
    let answers = store.commit(changes, None).await?;
    Ok(ids.into_iter().zip(answers).filter(|(_, a)| *a == Committed::Done).map(|(id, _)| id).collect())
}

#[cfg(test)]
mod tests;
