//! From events to durable changes: compute, commit, and decide again where somebody was faster.

use crate::world::World;
use god_core::TaskId;
use god_core::notice;
use god_core::state::{BadMove, Event};
use god_core::store::{Change, Committed, Lease, StoreError};
use god_core::task::Task;
use god_core::units::Timestamp;

/// What becomes of one task in a batch.
#[derive(Debug)]
pub struct Moved {
    /// The task as it is stored now; `None` when it has no document any more.
    pub task: Option<Task>,
    /// Whether our events moved it.
    pub by_us: bool,
}

/// Computes one change from several events that are known at once, so that a run whose start and end arrive together
/// costs one write.
///
/// # Errors
/// [`BadMove`] when an event is not legal where it comes.
pub fn change(before: &Task, events: &[Event], now: Timestamp, world: &World) -> Result<Change, BadMove> {
    let mut task = before.clone();
    let mut usage = None;
    let mut moments = Vec::new();
    for event in events {
        let next = task.after(event, now)?;
        usage = usage.or_else(|| task.usage_of(&next));
        moments.extend(notice::moments(&task, &next));
        task = next;
    }
    let mut change = Change::of(before, task, world.ops.next());
    change.usage = usage;
    change.moments = moments;
    Ok(change)
}

/// Commits what `decide` makes of each task; where the stored document is another than the one given, reads it and asks
/// again. `decide` answers `None` when nothing is to be done.
///
/// # Errors
/// [`StoreError`]: for each task the write may or may not have been applied.
pub async fn commit_decided(
    world: &World,
    lease: Option<&Lease>,
    mut tasks: Vec<Task>,
    decide: impl Fn(&Task) -> Option<Change>,
) -> Result<Vec<(TaskId, Moved)>, StoreError> {
    let mut done = Vec::with_capacity(tasks.len());
    while !tasks.is_empty() {
        let mut changes = Vec::with_capacity(tasks.len());
        for task in tasks.drain(..) {
            match decide(&task) {
                Some(change) => changes.push(change),
                None => done.push((task.id, Moved { task: Some(task), by_us: false })),
            }
        }
        if changes.is_empty() {
            break;
        }
        let written: Vec<Task> = changes.iter().map(|c| c.task.clone()).collect();
        let answers = world.store.commit(changes, lease).await?;
        let mut stale = Vec::new();
        for (task, answer) in written.into_iter().zip(answers) {
            match answer {
                Committed::Done => done.push((task.id, Moved { task: Some(task), by_us: true })),
                Committed::Stale => stale.push(task.id),
            }
        }
        if stale.is_empty() {
            break;
        }
        for (id, found) in stale.iter().zip(world.store.get(&stale).await?) {
            match found {
                Some(task) => tasks.push(task),
                None => done.push((*id, Moved { task: None, by_us: false })),
            }
        }
    }
    Ok(done)
}

/// Like [`commit_decided`], but leaves a task alone when somebody was faster. Answers whether each was moved by us.
///
/// # Errors
/// [`StoreError`]: for each task the write may or may not have been applied.
pub async fn commit_once(
    world: &World,
    lease: Option<&Lease>,
    tasks: Vec<Task>,
    decide: impl Fn(&Task) -> Option<Change>,
) -> Result<Vec<(TaskId, bool)>, StoreError> {
    let changes: Vec<Change> = tasks.iter().filter_map(decide).collect();
    let ids: Vec<TaskId> = changes.iter().map(|c| c.task.id).collect();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let answers = world.store.commit(changes, lease).await?;
    Ok(ids.into_iter().zip(answers).map(|(id, answer)| (id, answer == Committed::Done)).collect())
}
