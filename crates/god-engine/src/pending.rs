//! The pending tasks in memory: ids only, grouped by user, project and shape, with the arrays' cursors. Pure.
//!
//! A group's members are alike to the scheduler, so a pass looks at heads of groups and costs by what it starts. Removal
//! is lazy: a task that was killed while it waited is found out when its claim does not match.

mod array;
mod order;

pub use array::Array;
pub use order::{Order, Place, Rank, Ranked};

use crate::accounts::{Accounts, Who};
use crate::capacity::NoRoom;
use god_core::group::{Group, Shape};
use god_core::ids::TaskId;
use god_core::reason::Reason;
use god_core::task::Task;
use god_core::units::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

/// Index of a group. It may stand for another group after [`Pending::tidy`] removed an empty one.
pub type GroupIx = usize;
/// Index of a shape, with the same restriction.
pub type ShapeIx = usize;

/// One task to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// A task that has a document.
    Single(TaskId),
    /// A child of an array that has none yet.
    Child {
        /// The parent.
        parent: TaskId,
        /// Its ordinal.
        ordinal: u64,
    },
}

impl Pick {
    /// The task's id.
    #[must_use]
    pub fn id(self) -> TaskId {
        match self {
            Pick::Single(id) => id,
            Pick::Child { parent, ordinal } => parent.child(ordinal),
        }
    }
}

#[derive(Debug)]
struct Queue {
    group: Group,
    /// Tasks that may start, but for the children of known arrays.
    singles: BTreeMap<TaskId, Timestamp>,
    /// Parents that have a child which may start now.
    ready: BTreeSet<TaskId>,
    /// Arrays that are not over.
    n_arrays: usize,
    backoff: Duration,
    why: Option<Reason>,
}

/// What a pass needs of a group, side by side for all groups.
#[derive(Debug, Clone, Copy)]
struct Top {
    shape: ShapeIx,
    who: Who,
    /// The oldest task that may start, when it was submitted, and when the newest one was.
    head: Option<(TaskId, Timestamp, Timestamp)>,
    blocked_until: Duration,
}

/// The tasks of a group that may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// How many.
    pub n: u64,
    /// The oldest, and when it was submitted.
    pub first: (TaskId, Timestamp),
    /// The newest.
    pub last: (TaskId, Timestamp),
}

/// A shape that groups have.
#[derive(Debug)]
struct ShapeEntry {
    shape: Shape,
    groups: usize,
    /// Groups of it that have something to start.
    live: usize,
    /// Why nothing of this shape found room when it was last tried.
    no_room: Option<NoRoom>,
}

/// All that waits.
#[derive(Debug, Default)]
pub struct Pending {
    queues: Vec<Queue>,
    tops: Vec<Top>,
    index: HashMap<Group, GroupIx>,
    free: Vec<GroupIx>,
    shapes: Vec<ShapeEntry>,
    shape_index: HashMap<Shape, ShapeIx>,
    free_shapes: Vec<ShapeIx>,
    arrays: BTreeMap<TaskId, Array>,
    /// Children whose array is not known, among the singles.
    strays: HashMap<TaskId, TaskId>,
    /// Tasks that wait for others, by what they wait for.
    dependents: BTreeMap<TaskId, BTreeSet<TaskId>>,
}

impl Pending {
    /// Adds a task that may start, or an array's parent with the ordinals that have a document already.
    pub fn add(&mut self, task: Task, made: Vec<Range<u64>>, accounts: &mut Accounts) {
        let ix = self.queue_of(&task, accounts);
        if task.array().is_some() {
            self.add_array(ix, task, made);
            return;
        }
        match task.parent {
            Some(parent) if self.arrays.contains_key(&parent) => {
                self.change_array(parent, |array| {
                    array.waiting.insert(task.id);
                });
                return;
            }
            Some(parent) => {
                self.strays.insert(task.id, parent);
            }
            None => {}
        }
        self.queues[ix].singles.insert(task.id, task.submitted);
        self.touch(ix);
    }

    fn queue_of(&mut self, task: &Task, accounts: &mut Accounts) -> GroupIx {
        let group = Group::of_task(task);
        if let Some(ix) = self.index.get(&group) {
            return *ix;
        }
        let top = Top {
            shape: self.shape_of(&group.shape),
            who: accounts.who(&group),
            head: None,
            blocked_until: Duration::ZERO,
        };
        let queue = Queue {
            group: group.clone(),
            singles: BTreeMap::new(),
            ready: BTreeSet::new(),
            n_arrays: 0,
            backoff: Duration::ZERO,
            why: None,
        };
        let ix = match self.free.pop() {
            Some(ix) => {
                (self.queues[ix], self.tops[ix]) = (queue, top);
                ix
            }
            None => {
                self.queues.push(queue);
                self.tops.push(top);
                self.queues.len() - 1
            }
        };
        self.index.insert(group, ix);
        ix
    }

    fn shape_of(&mut self, shape: &Shape) -> ShapeIx {
        if let Some(ix) = self.shape_index.get(shape) {
            self.shapes[*ix].groups += 1;
            return *ix;
        }
        let entry = ShapeEntry { shape: shape.clone(), groups: 1, live: 0, no_room: None };
        let ix = match self.free_shapes.pop() {
            Some(ix) => {
                self.shapes[ix] = entry;
                ix
            }
            None => {
                self.shapes.push(entry);
                self.shapes.len() - 1
            }
        };
        self.shape_index.insert(shape.clone(), ix);
        ix
    }

    /// Notes anew what a group has to start; to be called after each change of it.
    fn touch(&mut self, ix: GroupIx) {
        let head = self.head(ix).map(|(pick, submitted)| {
            let queue = &self.queues[ix];
            let single = queue.singles.last_key_value().map(|(_, submitted)| *submitted);
            let array = queue.ready.last().and_then(|id| self.arrays.get(id)).map(|a| a.parent.submitted);
            (pick.id(), submitted, single.max(array).unwrap_or(submitted))
        });
        let top = &mut self.tops[ix];
        let entry = &mut self.shapes[top.shape];
        match (top.head.is_some(), head.is_some()) {
            (false, true) => entry.live += 1,
            (true, false) => entry.live -= 1,
            _ => {}
        }
        top.head = head;
    }

    /// Forgets groups that have nothing left, and how their starts went. Indexes of groups are good only until then.
    pub fn tidy(&mut self, mono: Duration) {
        for ix in 0..self.queues.len() {
            let (queue, top) = (&self.queues[ix], &self.tops[ix]);
            let empty = queue.singles.is_empty() && queue.n_arrays == 0 && top.blocked_until <= mono;
            if !empty || self.index.get(&queue.group) != Some(&ix) {
                continue;
            }
            self.index.remove(&queue.group);
            self.free.push(ix);
            let shape = top.shape;
            self.shapes[shape].groups -= 1;
            if self.shapes[shape].groups == 0 {
                self.shape_index.remove(&self.shapes[shape].shape);
                self.free_shapes.push(shape);
            }
        }
    }

    /// Notes that a task waits for others.
    pub fn wait(&mut self, task: TaskId, parents: &[TaskId]) {
        for parent in parents {
            self.dependents.entry(*parent).or_default().insert(task);
        }
    }

    /// Tasks that waited for this one, to be looked at again.
    pub fn released_by(&mut self, id: TaskId) -> Vec<TaskId> {
        self.dependents.remove(&id).map(|set| set.into_iter().collect()).unwrap_or_default()
    }

    /// The oldest task of a group that may start.
    #[must_use]
    pub fn head(&self, ix: GroupIx) -> Option<(Pick, Timestamp)> {
        let queue = &self.queues[ix];
        let single = queue.singles.first_key_value().map(|(id, at)| (Pick::Single(*id), *at));
        // Ids of an array's children follow its own, so the first array has the lowest ones.
        let child = queue.ready.first().and_then(|parent| self.arrays.get(parent)?.head());
        match (single, child) {
            (Some(s), Some(c)) => Some(if s.0.id() <= c.0.id() { s } else { c }),
            (s, c) => s.or(c),
        }
    }

    /// The oldest task of a group that may start, and when it was submitted.
    #[must_use]
    pub fn oldest(&self, ix: GroupIx) -> Option<(TaskId, Timestamp)> {
        self.tops[ix].head.map(|(head, submitted, _)| (head, submitted))
    }

    /// Takes the head of a group out; with it, its array's parent if it has one.
    pub fn pop(&mut self, ix: GroupIx) -> Option<(Pick, Option<TaskId>)> {
        let (pick, _) = self.head(ix)?;
        let parent = match pick {
            Pick::Single(id) if self.queues[ix].singles.remove(&id).is_some() => self.strays.remove(&id),
            Pick::Single(id) => {
                let parent = self.queues[ix].ready.first().copied()?;
                self.change_array(parent, |array| {
                    array.waiting.remove(&id);
                });
                Some(parent)
            }
            Pick::Child { parent, .. } => {
                self.change_array(parent, Array::advance);
                Some(parent)
            }
        };
        self.touch(ix);
        Some((pick, parent))
    }

    /// How many tasks of a group may start, with the oldest and the newest. Those of arrays at their limit are left out.
    #[must_use]
    pub fn extent(&self, ix: GroupIx) -> Extent {
        let queue = &self.queues[ix];
        let none = (TaskId(0), Timestamp(0));
        let single = queue.singles.last_key_value().map(|(id, at)| (*id, *at));
        let arrays = || queue.ready.iter().filter_map(|parent| self.arrays.get(parent));
        Extent {
            n: queue.singles.len() as u64 + arrays().map(Array::n_waiting).sum::<u64>(),
            first: self.oldest(ix).unwrap_or(none),
            last: single.max(arrays().filter_map(Array::last).max()).unwrap_or(none),
        }
    }

    /// All tasks of a group that may start, and when they were submitted.
    pub fn members(&self, ix: GroupIx) -> impl Iterator<Item = (TaskId, Timestamp)> {
        let queue = &self.queues[ix];
        let arrays = queue.ready.iter().filter_map(|parent| self.arrays.get(parent));
        queue.singles.iter().map(|(id, at)| (*id, *at)).chain(arrays.flat_map(Array::members))
    }

    /// The group's description.
    #[must_use]
    pub fn group(&self, ix: GroupIx) -> &Group {
        &self.queues[ix].group
    }

    /// Whose accounts a group is on.
    #[must_use]
    pub fn who(&self, ix: GroupIx) -> Who {
        self.tops[ix].who
    }

    /// The group of a task that is or was queued.
    #[must_use]
    pub fn group_of(&self, task: &Task) -> Option<GroupIx> {
        self.index.get(&Group::of_task(task)).copied()
    }

    /// The groups that have something to start, also those that are left alone for a while.
    pub fn groups(&self) -> impl Iterator<Item = GroupIx> {
        self.tops.iter().enumerate().filter(|(_, top)| top.head.is_some()).map(|(ix, _)| ix)
    }

    /// Whether something could start if there were room.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.shapes.iter().any(|entry| entry.live > 0)
    }

    /// The shapes of groups that have something to start.
    pub fn shapes(&self) -> impl Iterator<Item = (ShapeIx, &Shape)> {
        self.shapes.iter().enumerate().filter(|(_, e)| e.live > 0).map(|(ix, e)| (ix, &e.shape))
    }

    /// The shape of a group.
    #[must_use]
    pub fn shape_ix(&self, ix: GroupIx) -> ShapeIx {
        self.tops[ix].shape
    }

    /// Notes why nothing of a shape finds room now; `None` when it does.
    pub fn set_no_room(&mut self, shape: ShapeIx, no_room: Option<NoRoom>) {
        self.shapes[shape].no_room = no_room;
    }

    /// Why nothing of a shape found room when it was last tried.
    #[must_use]
    pub fn no_room(&self, shape: ShapeIx) -> Option<&NoRoom> {
        self.shapes[shape].no_room.as_ref()
    }

    /// Leaves a group alone for a while, longer each time, because a start of it failed.
    pub fn back_off(&mut self, ix: GroupIx, mono: Duration) {
        let queue = &mut self.queues[ix];
        queue.backoff = (queue.backoff * 2).clamp(Duration::from_millis(500), Duration::from_secs(30));
        self.tops[ix].blocked_until = mono + queue.backoff;
    }

    /// A start of this group went well.
    pub fn went_well(&mut self, ix: GroupIx) {
        self.queues[ix].backoff = Duration::ZERO;
        self.tops[ix].blocked_until = Duration::ZERO;
    }

    /// When the next group that was left alone may be tried again.
    #[must_use]
    pub fn next_unblock(&self, mono: Duration) -> Option<Duration> {
        let blocked = self.tops.iter().filter(|top| top.head.is_some() && top.blocked_until > mono);
        blocked.map(|top| top.blocked_until).min()
    }

    /// Whether a group is left alone now.
    #[must_use]
    pub fn is_blocked(&self, ix: GroupIx, mono: Duration) -> bool {
        mono < self.tops[ix].blocked_until
    }

    /// Notes why this group waits, beyond what its shape says.
    pub fn set_why(&mut self, ix: GroupIx, why: Option<Reason>) {
        self.queues[ix].why = why;
    }

    /// Why this group waits, beyond what its shape says.
    #[must_use]
    pub fn why(&self, ix: GroupIx) -> Option<&Reason> {
        self.queues[ix].why.as_ref()
    }
}

#[cfg(test)]
mod tests;
