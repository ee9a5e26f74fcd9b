//! Arrays among the pending tasks: a cursor over the children that have no document, and the ones that wait with one.

use super::{GroupIx, Pending, Pick};
use god_core::array::ArraySpec;
use god_core::ids::TaskId;
use god_core::state::Phase;
use god_core::task::Task;
use god_core::units::Timestamp;
use std::collections::BTreeSet;
use std::ops::Range;

/// An array that is not over.
#[derive(Debug)]
pub struct Array {
    /// The parent's document as last read.
    pub parent: Task,
    /// Whether its end was asked for: nothing of it starts any more.
    pub killed: bool,
    /// Children over, as far as heard; checked against the store before it counts.
    pub over: u64,
    /// Children that hold room now.
    pub live: u32,
    /// Children with a document that wait.
    pub waiting: BTreeSet<TaskId>,
    /// Whether its counters shall be compared with the store's.
    pub look: bool,
    /// Whether its children were told of its kill.
    pub told: bool,
    spec: ArraySpec,
    group: GroupIx,
    next: u64,
    made: Vec<Range<u64>>,
}

impl Array {
    /// Number of children.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.spec.count()
    }

    /// Number of children that wait and may start one day.
    #[must_use]
    pub fn n_waiting(&self) -> u64 {
        if self.killed {
            return 0;
        }
        let made: u64 = self.made.iter().map(|range| range.end - range.start).sum();
        self.count().saturating_sub(self.next).saturating_sub(made) + self.waiting.len() as u64
    }

    /// The newest child that waits.
    pub(super) fn last(&self) -> Option<(TaskId, Timestamp)> {
        let made = self.waiting.last().copied();
        let end =
            self.made.last().filter(|range| range.end >= self.count()).map_or(self.count(), |r| r.start);
        let next = (self.next < end).then(|| self.parent.id.child(end - 1));
        made.max(next).map(|id| (id, self.parent.submitted))
    }

    /// All children that wait.
    pub(super) fn members(&self) -> impl Iterator<Item = (TaskId, Timestamp)> {
        let is_made = |ordinal: &u64| self.made.iter().any(|range| range.contains(ordinal));
        let rest = (self.next..self.count()).filter(move |ordinal| !is_made(ordinal));
        let rest = rest.map(|ordinal| self.parent.id.child(ordinal));
        self.waiting.iter().copied().chain(rest).map(|id| (id, self.parent.submitted))
    }

    /// The oldest child that waits.
    pub(super) fn head(&self) -> Option<(Pick, Timestamp)> {
        let made = self.waiting.first().copied();
        let next = (self.next < self.count()).then(|| self.parent.id.child(self.next));
        let pick = match (made, next) {
            // A child that got a document while it waited is known twice: the one with the document counts.
            (Some(made), Some(next)) if made > next => {
                Pick::Child { parent: self.parent.id, ordinal: self.next }
            }
            (Some(made), _) => Pick::Single(made),
            (None, Some(_)) => Pick::Child { parent: self.parent.id, ordinal: self.next },
            (None, None) => return None,
        };
        Some((pick, self.parent.submitted))
    }

    /// Moves to the next child without a document.
    pub(super) fn advance(&mut self) {
        self.next += 1;
        self.skip_made();
    }

    fn skip_made(&mut self) {
        while let Some(range) = self.made.first() {
            if range.end <= self.next {
                self.made.remove(0);
            } else if range.start <= self.next {
                self.next = range.end;
                self.made.remove(0);
            } else {
                break;
            }
        }
    }

    /// Whether one more child may run, and there is one.
    fn is_ready(&self) -> bool {
        let more = self.next < self.count() || !self.waiting.is_empty();
        more && !self.killed && self.spec.limit.is_none_or(|limit| self.live < limit)
    }
}

impl Pending {
    pub(super) fn add_array(&mut self, ix: GroupIx, task: Task, made: Vec<Range<u64>>) {
        let Some(spec) = task.array().cloned() else { return };
        let id = task.id;
        let killed = task.kill_wanted();
        let queues = &mut self.queues;
        let array = self.arrays.entry(id).or_insert_with(|| {
            queues[ix].n_arrays += 1;
            Array {
                killed,
                over: task.children.over,
                live: 0,
                waiting: BTreeSet::new(),
                // Its children may all have been over before we came.
                look: task.phase() == Phase::Gathering || killed,
                told: false,
                group: ix,
                next: 0,
                made,
                spec,
                parent: task.clone(),
            }
        });
        if killed && !array.killed {
            array.killed = true;
            array.look |= task.phase() == Phase::Pending;
        }
        if task.rev >= array.parent.rev {
            array.parent = task;
        }
        array.skip_made();
        self.settle_array(id);
    }

    /// Changes an array, and what follows from it for its group.
    pub(super) fn change_array(&mut self, parent: TaskId, change: impl FnOnce(&mut Array)) {
        if let Some(array) = self.arrays.get_mut(&parent) {
            change(array);
            self.settle_array(parent);
        }
    }

    fn settle_array(&mut self, parent: TaskId) {
        let Some(array) = self.arrays.get(&parent) else { return };
        let (ix, ready) = (array.group, array.is_ready());
        let queue = &mut self.queues[ix];
        if ready {
            queue.ready.insert(parent);
        } else {
            queue.ready.remove(&parent);
        }
        self.touch(ix);
    }

    /// The array, when it is not over.
    #[must_use]
    pub fn array(&self, parent: TaskId) -> Option<&Array> {
        self.arrays.get(&parent)
    }

    /// The same, to change what no start depends on.
    pub fn array_mut(&mut self, parent: TaskId) -> Option<&mut Array> {
        self.arrays.get_mut(&parent)
    }

    /// All arrays that are not over.
    pub fn arrays(&self) -> impl Iterator<Item = (&TaskId, &Array)> {
        self.arrays.iter()
    }

    /// The group of an array.
    #[must_use]
    pub fn group_of_array(&self, parent: TaskId) -> Option<GroupIx> {
        self.arrays.get(&parent).map(|array| array.group)
    }

    /// Takes an array out: it is over.
    pub fn drop_array(&mut self, parent: TaskId) {
        if let Some(array) = self.arrays.remove(&parent) {
            let queue = &mut self.queues[array.group];
            queue.ready.remove(&parent);
            queue.n_arrays -= 1;
            self.touch(array.group);
        }
    }

    /// Stops an array: no child of it starts any more. Answers the children that wait with a document.
    pub fn stop_array(&mut self, parent: TaskId) -> Vec<TaskId> {
        self.change_array(parent, |array| array.killed = true);
        self.arrays.get(&parent).map(|array| array.waiting.iter().copied().collect()).unwrap_or_default()
    }

    /// A child of an array waits no more.
    pub fn child_gone(&mut self, parent: TaskId, child: TaskId) {
        self.change_array(parent, |array| {
            array.waiting.remove(&child);
        });
    }

    /// A child of an array took (+1) or gave back (-1) room.
    pub fn child_live(&mut self, parent: TaskId, delta: i32) {
        self.change_array(parent, |array| array.live = array.live.saturating_add_signed(delta));
    }
}
