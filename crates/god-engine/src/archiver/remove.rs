//! The removal of one task: files first, then its document.

use crate::world::World;
use god_core::BoxError;
use god_core::files::JobFiles;
use god_core::state::{Ask, Event, Phase};
use god_core::store::{Change, Committed, Lease, Scan, StoreError};
use god_core::task::Task;
use std::sync::Arc;

/// Children whose files are removed in one go.
const PAGE: usize = 256;
/// How often a child is read again because somebody moved it meanwhile.
const MOST_TRIES: u32 = 10;

/// What a removal needs, apart from the loop, which goes on.
#[derive(Debug)]
pub(super) struct Kit {
    world: World,
    files: Arc<dyn JobFiles>,
    lease: Lease,
}

impl Kit {
    pub(super) fn of(world: &World, files: &Arc<dyn JobFiles>, lease: &Lease) -> Kit {
        Kit { world: world.clone(), files: Arc::clone(files), lease: lease.clone() }
    }

    /// Removes what is asked for; every step may be repeated.
    pub(super) async fn remove(self, task: Task) -> Result<(), BoxError> {
        let Some(ask) = task.to_remove() else { return Ok(()) };
        // The children's directories are inside their parent's.
        self.files.remove(std::slice::from_ref(&task)).await?;
        if task.array().is_some() {
            self.remove_children(&task, ask).await?;
        }
        match ask {
            Ask::Purge => self.world.store.purge(task.id).await?,
            // Where somebody was faster, the request is still open, or is another one now, and is found again.
            _ => drop(self.archive(vec![task]).await?),
        }
        Ok(())
    }

    /// Removes what the children have elsewhere, and archives them if they are to be kept.
    async fn remove_children(&self, parent: &Task, ask: Ask) -> Result<(), BoxError> {
        let (scan, mut after, mut tries) = (Scan::ChildrenOf(parent.id), None, 0);
        loop {
            let page = self.world.store.scan(&scan, after, PAGE).await?;
            let Some(last) = page.last().map(|task| task.id) else { return Ok(()) };
            self.files.remove(&page).await?;
            let stale = if ask == Ask::Archive { self.archive(page).await? } else { 0 };
            if stale == 0 {
                (after, tries) = (Some(last), 0);
                continue;
            }
            tries += 1;
            if tries == MOST_TRIES {
                return Err(format!("children of task {} change all the time", parent.id).into());
            }
        }
    }

    /// Writes that the files are gone; answers how many of the tasks somebody else had moved.
    async fn archive(&self, tasks: Vec<Task>) -> Result<usize, StoreError> {
        let now = self.world.clock.now();
        let changes: Vec<Change> = tasks
            .iter()
            .filter(|task| task.phase() == Phase::Over)
            .filter_map(|task| {
                let after = task.after(&Event::Archived, now).ok()?;
                Some(Change::of(task, after, self.world.ops.next()))
            })
            .collect();
        if changes.is_empty() {
            return Ok(0);
        }
        let answers = self.world.store.commit(changes, Some(&self.lease)).await?;
        Ok(answers.into_iter().filter(|answer| *answer == Committed::Stale).count())
    }
}
