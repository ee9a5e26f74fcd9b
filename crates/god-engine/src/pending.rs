//! The pending tasks in memory: ids only, grouped by user, project and shape, with the arrays' cursors. Pure.
//!
//! A group's members are alike to the scheduler, so a pass looks at heads of groups and costs by what it starts. Removal
//! is lazy: a task that was killed while it waited is found out when its claim does not match.

use god_core::array::ArraySpec;
use god_core::group::Group;
use god_core::ids::TaskId;
use god_core::policy::{Candidate, Policy, Ranks, Standing};
use god_core::reason::Reason;
use god_core::state::Phase;
use god_core::task::Task;
use god_core::units::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::ops::Range;
use std::time::Duration;

/// Index of a group.
pub type GroupIx = usize;

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

#[derive(Debug, Clone, Copy)]
struct Entry {
    submitted: Timestamp,
    parent: Option<TaskId>,
}

#[derive(Debug)]
struct Queue {
    group: Group,
    singles: BTreeMap<TaskId, Entry>,
    /// Parents with children that have no document yet.
    arrays: BTreeSet<TaskId>,
    blocked_until: Option<Duration>,
    backoff: Duration,
    why: Option<Reason>,
}

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

    fn has_room(&self) -> bool {
        !self.killed && self.spec.limit.is_none_or(|limit| self.live < limit)
    }
}

/// All that waits.
#[derive(Debug, Default)]
pub struct Pending {
    queues: Vec<Queue>,
    index: HashMap<Group, GroupIx>,
    arrays: BTreeMap<TaskId, Array>,
    /// Tasks that wait for others, by what they wait for.
    dependents: BTreeMap<TaskId, BTreeSet<TaskId>>,
}

impl Pending {
    /// Adds a task that may start, or an array's parent with the ordinals that have a document already.
    pub fn add(&mut self, task: Task, made: Vec<Range<u64>>) {
        let ix = self.queue_of(&task);
        let Some(spec) = task.array().cloned() else {
            let entry = Entry { submitted: task.submitted, parent: task.parent };
            if let Some(array) = task.parent.and_then(|p| self.arrays.get_mut(&p)) {
                array.waiting.insert(task.id);
            }
            self.queues[ix].singles.insert(task.id, entry);
            return;
        };
        let id = task.id;
        let killed = task.kill_wanted();
        let array = self.arrays.entry(id).or_insert_with(|| Array {
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
        });
        if killed && !array.killed {
            array.killed = true;
            array.look |= task.phase() == Phase::Pending;
        }
        if task.rev >= array.parent.rev {
            array.parent = task;
        }
        array.skip_made();
        if array.killed || array.next >= array.count() {
            self.queues[ix].arrays.remove(&id);
        } else {
            self.queues[ix].arrays.insert(id);
        }
    }

    fn queue_of(&mut self, task: &Task) -> GroupIx {
        let group = Group::of(&task.spec);
        if let Some(ix) = self.index.get(&group) {
            return *ix;
        }
        let ix = self.queues.len();
        self.index.insert(group.clone(), ix);
        self.queues.push(Queue {
            group,
            singles: BTreeMap::new(),
            arrays: BTreeSet::new(),
            blocked_until: None,
            backoff: Duration::ZERO,
            why: None,
        });
        ix
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

    /// The arrays that are not over.
    #[must_use]
    pub fn array(&self, parent: TaskId) -> Option<&Array> {
        self.arrays.get(&parent)
    }

    /// The same, to change.
    pub fn array_mut(&mut self, parent: TaskId) -> Option<&mut Array> {
        self.arrays.get_mut(&parent)
    }

    /// All arrays that are not over.
    pub fn arrays(&self) -> impl Iterator<Item = (&TaskId, &Array)> {
        self.arrays.iter()
    }

    /// Takes an array out: it is over.
    pub fn drop_array(&mut self, parent: TaskId) {
        if let Some(array) = self.arrays.remove(&parent) {
            self.queues[array.group].arrays.remove(&parent);
        }
    }

    /// Stops an array: no child of it starts any more. Answers the children that wait with a document.
    pub fn stop_array(&mut self, parent: TaskId) -> Vec<TaskId> {
        let Some(array) = self.arrays.get_mut(&parent) else { return Vec::new() };
        array.killed = true;
        self.queues[array.group].arrays.remove(&parent);
        array.waiting.iter().copied().collect()
    }

    /// A child of an array took (+1) or gave back (-1) room.
    pub fn child_live(&mut self, parent: TaskId, delta: i32) {
        if let Some(array) = self.arrays.get_mut(&parent) {
            array.live = array.live.saturating_add_signed(delta);
        }
    }

    /// Groups that have something to try now, best first by policy.
    #[must_use]
    pub fn order(&self, policy: &dyn Policy, now: Timestamp, mono: Duration) -> Order {
        let standing = Standing::default();
        let mut candidates = Vec::new();
        let mut heads = Vec::new();
        for (ix, queue) in self.queues.iter().enumerate() {
            if queue.blocked_until.is_some_and(|until| mono < until) {
                continue;
            }
            if let Some((pick, submitted)) = self.head(ix) {
                candidates.push(Candidate {
                    group: &queue.group,
                    user: &standing,
                    project: &standing,
                    head: pick.id(),
                    submitted,
                    newest: submitted,
                });
                heads.push((ix, pick.id(), submitted));
            }
        }
        let mut order = Order { heap: BinaryHeap::new(), ranks: policy.rank(&candidates, now) };
        for (candidate, (ix, head, submitted)) in heads.into_iter().enumerate() {
            order.push(Place { candidate, ix }, head, submitted);
        }
        order
    }

    /// The oldest task of a group that may start.
    #[must_use]
    pub fn head(&self, ix: GroupIx) -> Option<(Pick, Timestamp)> {
        let queue = &self.queues[ix];
        let single = queue
            .singles
            .iter()
            .find(|(_, entry)| {
                entry.parent.and_then(|p| self.arrays.get(&p)).is_none_or(|array| array.has_room())
            })
            .map(|(id, entry)| (Pick::Single(*id), entry.submitted));
        let child = queue
            .arrays
            .iter()
            .filter_map(|p| self.arrays.get(p))
            .find(|a| a.has_room())
            .map(|a| (Pick::Child { parent: a.parent.id, ordinal: a.next }, a.parent.submitted));
        match (single, child) {
            // A child that got a document while it waited is known twice: the one with the document counts.
            (Some(s), Some(c)) => Some(if s.0.id() <= c.0.id() { s } else { c }),
            (s, c) => s.or(c),
        }
    }

    /// Takes the head of a group out; with it, its array's parent if it has one.
    pub fn pop(&mut self, ix: GroupIx) -> Option<(Pick, Option<TaskId>)> {
        let (pick, _) = self.head(ix)?;
        let parent = match pick {
            Pick::Single(id) => {
                let parent = self.queues[ix].singles.remove(&id).and_then(|e| e.parent);
                if let Some(array) = parent.and_then(|p| self.arrays.get_mut(&p)) {
                    array.waiting.remove(&id);
                }
                parent
            }
            Pick::Child { parent, .. } => {
                if let Some(array) = self.arrays.get_mut(&parent) {
                    array.next += 1;
                    array.skip_made();
                    if array.next >= array.count() {
                        self.queues[ix].arrays.remove(&parent);
                    }
                }
                Some(parent)
            }
        };
        Some((pick, parent))
    }

    /// The group's description.
    #[must_use]
    pub fn group(&self, ix: GroupIx) -> &Group {
        &self.queues[ix].group
    }

    /// The group of a task that is or was queued.
    #[must_use]
    pub fn group_of(&self, task: &Task) -> Option<GroupIx> {
        self.index.get(&Group::of(&task.spec)).copied()
    }

    /// Leaves a group alone for a while, longer each time, because a start of it failed.
    pub fn back_off(&mut self, ix: GroupIx, mono: Duration) {
        let queue = &mut self.queues[ix];
        queue.backoff = (queue.backoff * 2).clamp(Duration::from_millis(500), Duration::from_secs(30));
        queue.blocked_until = Some(mono + queue.backoff);
    }

    /// A start of this group went well.
    pub fn went_well(&mut self, ix: GroupIx) {
        self.queues[ix].backoff = Duration::ZERO;
        self.queues[ix].blocked_until = None;
    }

    /// When the next group that was left alone may be tried again.
    #[must_use]
    pub fn next_unblock(&self, mono: Duration) -> Option<Duration> {
        self.queues
            .iter()
            .filter(|q| !q.singles.is_empty() || !q.arrays.is_empty())
            .filter_map(|q| q.blocked_until)
            .filter(|until| *until > mono)
            .min()
    }

    /// Notes why a group's head could not be placed; `true` when this is news.
    pub fn set_why(&mut self, ix: GroupIx, why: Option<Reason>) -> bool {
        let queue = &mut self.queues[ix];
        if queue.why == why {
            return false;
        }
        queue.why = why;
        true
    }
}

/// Heads of groups, best first.
#[derive(Debug)]
pub struct Order {
    heap: BinaryHeap<Reverse<(Rank, TaskId, Place)>>,
    ranks: Ranks,
}

/// A group among the candidates of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    candidate: usize,
    /// The group.
    pub ix: GroupIx,
}

impl Order {
    /// The best group.
    pub fn pop(&mut self) -> Option<Place> {
        self.heap.pop().map(|Reverse((_, _, place))| place)
    }

    /// Puts a group back with its new head.
    pub fn push(&mut self, place: Place, head: TaskId, submitted: Timestamp) {
        let rank = Rank(self.ranks.of(place.candidate, submitted));
        self.heap.push(Reverse((rank, head, place)));
    }
}

/// A rank with a total order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rank(f64);

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[cfg(test)]
mod tests;
