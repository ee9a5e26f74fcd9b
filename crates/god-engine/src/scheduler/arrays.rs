//! Arrays: the end of a parent, and a kill that reaches every child.

use super::{Inflight, Scheduler, State};
use crate::flaw::{self, Flaw};
use crate::moves;
use god_core::ids::TaskId;
use god_core::state::{Ask, Event, Phase};
use god_core::store::{Change, Scan, StoreError};
use god_core::task::Task;

impl Scheduler<'_> {
    /// Ends the arrays whose children are all over; asks the children of killed ones to end.
    pub(super) async fn settle_arrays(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let due: Vec<TaskId> = s
            .pending
            .arrays()
            .filter(|(_, a)| {
                a.look
                    || a.over >= a.count()
                    || (a.parent.kill_wanted() && !a.told)
                    || (a.killed && a.live == 0)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.settle_array(s, id, inflight).await?;
        }
        Ok(())
    }

    async fn settle_array(
        &self,
        s: &mut State,
        id: TaskId,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        // What was heard is a hint; the store's own counters decide.
        let Some(parent) = inflight.drive(self.world.store.get(&[id])).await?.pop().flatten() else {
            s.pending.drop_array(id);
            return Ok(());
        };
        if parent.phase().is_over() {
            s.pending.drop_array(id);
            return Ok(());
        }
        if parent.kill_wanted() {
            self.kill_children(s, &parent, inflight).await?;
        }
        let Some(array) = s.pending.array_mut(id) else { return Ok(()) };
        let children = parent.children;
        let heard = array.over;
        array.look = false;
        array.over = children.over;
        array.parent = parent.clone();
        let all_over = children.over >= array.count()
            || (flaw::on(Flaw::ArrayEndsEarly) && heard > 0 && array.live == 0);
        let nothing_left = parent.kill_wanted() && children.made == children.over;
        if !(all_over || nothing_left) {
            return Ok(());
        }
        let now = self.world.clock.now();
        let decide = |task: &Task| {
            if task.phase().is_over() {
                return None;
            }
            moves::change(task, &[Event::Gathered { failed: task.children.failed }], now, self.world).ok()
        };
        let moved =
            inflight.drive(moves::commit_once(self.world, Some(&s.lease), vec![parent], decide)).await?;
        if moved.iter().any(|(_, by_us)| *by_us) {
            s.pending.drop_array(id);
        } else if let Some(array) = s.pending.array_mut(id) {
            // A child appeared or the parent changed meanwhile: look again when that is heard.
            array.over = array.over.min(array.count().saturating_sub(1));
        }
        Ok(())
    }

    /// Children with a document that are not over, from the store itself: the safety net of what is in memory.
    async fn unended(&self, parent: TaskId) -> Result<Vec<TaskId>, StoreError> {
        let mut ids = Vec::new();
        let mut after = None;
        loop {
            let page = self.world.store.scan(&Scan::ChildrenOf(parent), after, 512).await?;
            let Some(last) = page.last() else { return Ok(ids) };
            after = Some(last.id);
            ids.extend(page.iter().filter(|t| !t.phase().is_over()).map(|t| t.id));
        }
    }

    /// Makes the parent's kill the wish of every child that has a document and is not over.
    async fn kill_children(
        &self,
        s: &mut State,
        parent: &Task,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mut ids = s.pending.stop_array(parent.id);
        ids.extend(s.capacity.children_of(parent.id));
        if s.pending.array(parent.id).is_some_and(|a| a.look) {
            ids.extend(inflight.drive(self.unended(parent.id)).await?);
        }
        if flaw::on(Flaw::ArrayKillMissesChildren) {
            ids.clear();
        }
        if let Some(array) = s.pending.array_mut(parent.id) {
            array.told = true;
        }
        let reason = parent.wish.as_ref().and_then(|w| w.reason.clone());
        let now = self.world.clock.now();
        for page in ids.chunks(self.world.settings.claim_batch) {
            let docs = inflight.drive(self.world.store.get(page)).await?;
            let tasks: Vec<Task> = docs.into_iter().flatten().filter(|t| t.phase() != Phase::Over).collect();
            let decide = |task: &Task| {
                let next = task.asked(Ask::Kill, reason.as_deref(), now)?;
                Some(Change::of(task, next, self.world.ops.next()))
            };
            inflight.drive(moves::commit_decided(self.world, Some(&s.lease), tasks, decide)).await?;
            for id in page {
                s.pending.child_gone(parent.id, *id);
            }
        }
        Ok(())
    }
}
