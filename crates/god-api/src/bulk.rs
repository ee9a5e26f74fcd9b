//! The same request on many tasks, in few commits.

use crate::app::Inner;
use god_core::TaskId;
use god_core::state::Ask;
use god_core::store::{Change, Committed, StoreError};
use god_engine::ask::{Asked, ask};

/// Tasks in one commit.
const AT_ONCE: usize = 200;

/// What became of a request on many tasks.
#[derive(Debug, Default)]
pub(crate) struct Bulk {
    /// Those it was stored for.
    pub(crate) asked: Vec<TaskId>,
    /// Those with nothing to do, or gone.
    pub(crate) idle: u64,
}

/// Asks the same of many tasks. Each is decided by itself; an error in between leaves those before it asked.
pub(crate) async fn ask_all(
    app: &Inner,
    ids: &[TaskId],
    what: Ask,
    reason: Option<&str>,
) -> Result<Bulk, StoreError> {
    let mut bulk = Bulk::default();
    for some in ids.chunks(AT_ONCE) {
        let now = app.now();
        let tasks = app.store.get(some).await?;
        let changes: Vec<Change> = tasks
            .into_iter()
            .flatten()
            .filter_map(|task| {
                let next = task.asked(what, reason, now)?;
                Some(Change::of(&task, next, app.op()))
            })
            .collect();
        bulk.idle += (some.len() - changes.len()) as u64;
        let changed: Vec<TaskId> = changes.iter().map(|change| change.task.id).collect();
        if changed.is_empty() {
            continue;
        }
        let answers = app.store.commit(changes, None).await?;
        for (id, answer) in changed.into_iter().zip(answers) {
            // Somebody else moved it meanwhile: decided again on what it is now.
            let is_stored = answer == Committed::Done
                || matches!(
                    ask(&*app.store, id, what, reason, app.now(), || app.op()).await?,
                    Asked::Stored(_)
                );
            if is_stored {
                bulk.asked.push(id);
            } else {
                bulk.idle += 1;
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(bulk)
}
