//! Room that is kept: a task that needs much would wait for ever behind small ones that take each bit of room as it comes.
//! So one node of each executor may be kept for one group; what runs there comes to its end, and others may only start
//! beside it what does not make it wait any longer.

use super::{Capacity, Held, Place};
use crate::pending::GroupIx;
use god_core::group::Shape;
use god_core::ids::{ExecutorName, NodeName, TaskId};
use god_core::resources::Amount;
use std::collections::BTreeMap;
use std::time::Duration;

/// Room on one node that is kept for the next task of a group.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Whom it is kept for.
    pub group: GroupIx,
    /// Where.
    pub node: (ExecutorName, NodeName),
    /// How much.
    pub need: Amount,
    /// Whether it is kept because the task waited too long. Only such a claim takes room that is kept for another.
    pub overdue: bool,
    /// When there will be room at the latest, on the monotonic clock; `None` when something runs there without a time limit.
    by: Option<Duration>,
    /// What was started there since, and may run when there is room.
    beside: BTreeMap<TaskId, Amount>,
}

impl Kept {
    /// Whether one more task may start on the node, beside what is kept.
    pub(super) fn allows(
        &self,
        place: &Place,
        need: Amount,
        limit: Option<Duration>,
        mono: Duration,
    ) -> bool {
        if self.is_over_in_time(limit.map(|limit| mono + limit)) {
            return true;
        }
        let beside = self.beside.values().fold(need, |sum, amount| sum.plus(*amount));
        let tasks = u32::try_from(self.beside.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.need.plus(beside).fits(place.node.total) && place.has_slot(tasks)
    }

    fn is_over_in_time(&self, ends: Option<Duration>) -> bool {
        matches!((ends, self.by), (Some(ends), Some(by)) if ends <= by)
    }

    /// Takes note of a task that started on the node.
    pub(super) fn note(&mut self, id: TaskId, held: &Held) {
        if !self.is_over_in_time(held.ends) {
            self.beside.insert(id, held.amount);
        }
    }

    /// A task on the node ended.
    pub(super) fn forget(&mut self, id: TaskId) {
        self.beside.remove(&id);
    }
}

impl Capacity {
    /// What is kept on an executor's nodes.
    #[must_use]
    pub fn kept(&self, executor: usize) -> Option<&Kept> {
        self.kept.get(executor)?.as_ref()
    }

    /// Gives kept room free, for whoever is next.
    pub fn release(&mut self, executor: usize) {
        if let Some(kept) = self.kept.get_mut(executor) {
            *kept = None;
        }
    }

    /// Whether what is kept can still come true: the node is there, and large enough for the group's shape.
    #[must_use]
    pub fn is_kept_well(&self, executor: usize, shape: &Shape) -> bool {
        let kept = self.kept(executor);
        kept.and_then(|kept| self.places.get(&kept.node)).is_some_and(|place| place.suits(shape))
    }

    /// Keeps room for the next task of a group on the node that will have it first, as far as can be said; `false` when no
    /// node could ever take it. What was kept on this executor before is given up.
    pub fn keep(&mut self, executor: usize, group: GroupIx, shape: &Shape, overdue: bool) -> bool {
        let Some(name) = self.executors.get(executor) else { return false };
        let need = shape.amount();
        let mut running: BTreeMap<&(ExecutorName, NodeName), Vec<&Held>> = BTreeMap::new();
        for held in self.live.values() {
            running.entry(&held.node).or_default().push(held);
        }
        let of_executor = self.places.iter().filter(|((of, _), place)| of == name && place.suits(shape));
        let best = of_executor
            .map(|(key, place)| (room_by(place, need, running.remove(key).unwrap_or_default()), key, place))
            .min_by_key(|(by, _, place)| {
                let free = place.node.total.minus(place.used);
                (by.is_none(), *by, std::cmp::Reverse(free.cores))
            });
        let Some((by, key, _)) = best else { return false };
        let kept = Kept { group, node: key.clone(), need, overdue, by, beside: BTreeMap::new() };
        self.kept[executor] = Some(kept);
        true
    }

    /// The kept room on this node, unless it is kept for this group.
    pub(super) fn kept_from(&self, node: &(ExecutorName, NodeName), group: Option<GroupIx>) -> Option<&Kept> {
        self.kept.iter().flatten().find(|kept| kept.node == *node && group != Some(kept.group))
    }
}

/// When a place will have room for so much if everything runs to its time limit; `None` when that can not be said.
fn room_by(place: &Place, need: Amount, mut running: Vec<&Held>) -> Option<Duration> {
    running.sort_by_key(|held| (held.ends.is_none(), held.ends));
    let (mut used, mut tasks) = (place.used, place.tasks);
    let mut by = Some(Duration::ZERO);
    for held in running {
        if place.has_slot(tasks) && need.fits(place.node.total.minus(used)) {
            return by;
        }
        used = used.minus(held.amount);
        tasks = tasks.saturating_sub(1);
        by = held.ends;
    }
    by
}
