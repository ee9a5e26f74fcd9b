//! The maps and what the operations do to them; every function leaves them whole.

use crate::rules::{self, Head};
use god_core::query::{TaskPage, TaskQuery};
use god_core::state::Phase;
use god_core::store::{
    AuditRecord, Change, ChangeNote, Changes, Committed, Counts, Expect, Lease, LeaseRecord, NewTask, Notice,
    OverFilter, Scan, Seq, Submitted, UsageOf,
};
use god_core::units::Day;
use god_core::usage::{Ledger, UsageRecord, UsageSum, Used};
use god_core::user::{Project, User};
use god_core::{AttemptKey, Holder, ProjectId, Task, TaskId, Timestamp, UserId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Versions of documents that are at hand.
const RECENT: usize = 64;

#[derive(Debug)]
pub(super) struct State {
    pub(super) next_id: TaskId,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Number of children of each array.
    pub(super) arrays: BTreeMap<TaskId, u64>,
    pub(super) keys: BTreeMap<(UserId, String), TaskId>,
    pub(super) key_of: BTreeMap<TaskId, (UserId, String)>,
    pub(super) active: BTreeMap<Phase, BTreeSet<TaskId>>,
    pub(super) over: BTreeSet<(Timestamp, TaskId)>,
    pub(super) to_remove: BTreeSet<TaskId>,
    pub(super) counts: BTreeMap<UserId, Counts>,
    pub(super) all: Counts,
    pub(super) head: Seq,
    pub(super) notes: VecDeque<ChangeNote>,
    pub(super) notes_kept: usize,
    /// The versions written last.
    pub(super) recent: VecDeque<Task>,
    pub(super) epoch: u64,
    pub(super) leases: BTreeMap<String, LeaseRecord>,
    pub(super) users: BTreeMap<UserId, User>,
    pub(super) projects: BTreeMap<ProjectId, Project>,
    pub(super) ledger: BTreeSet<AttemptKey>,
    pub(super) used: BTreeMap<UserId, BTreeMap<Day, UsageSum>>,
    pub(super) used_by_project: BTreeMap<ProjectId, BTreeMap<Day, UsageSum>>,
    pub(super) disk: BTreeMap<UserId, u64>,
    pub(super) images: BTreeSet<String>,
    pub(super) audit: Vec<AuditRecord>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) notice_ids: BTreeSet<String>,
    pub(super) pins: BTreeMap<String, String>,
}

impl State {
    pub(super) fn new(notes: usize) -> State {
        State {
            next_id: TaskId(1),
            tasks: BTreeMap::new(),
            arrays: BTreeMap::new(),
            keys: BTreeMap::new(),
            key_of: BTreeMap::new(),
            active: BTreeMap::new(),
            over: BTreeSet::new(),
            to_remove: BTreeSet::new(),
            counts: BTreeMap::new(),
            all: Counts::default(),
            head: Seq(0),
            notes: VecDeque::new(),
            notes_kept: notes,
            recent: VecDeque::new(),
            epoch: 0,
            leases: BTreeMap::new(),
            users: BTreeMap::new(),
            projects: BTreeMap::new(),
            ledger: BTreeSet::new(),
            used: BTreeMap::new(),
            used_by_project: BTreeMap::new(),
            disk: BTreeMap::new(),
            images: BTreeSet::new(),
            audit: Vec::new(),
            notices: VecDeque::new(),
            notice_ids: BTreeSet::new(),
            pins: BTreeMap::new(),
        }
    }

    pub(super) fn submit(&mut self, new: NewTask) -> Submitted {
        let owner = new.spec.owner.id.clone();
        let key = new.idempotency.as_ref().map(|key| (owner.clone(), key.clone()));
        if let Some(known) = key.as_ref().and_then(|key| self.keys.get(key)) {
            return Submitted::Known(*known);
        }
        let more = rules::pending_of(&new);
        let pending = usize::from(Phase::Pending.code());
        let owner_has = self.counts.get(&owner).map_or(0, |counts| counts.0[pending]);
        if let Some(text) = rules::over_limit(new.limits, owner_has, self.all.0[pending], more) {
            return Submitted::OverLimit(text);
        }
        let Some(next_id) = rules::ids_after(self.next_id, &new) else {
            return Submitted::OverLimit(format!(
                "an array of {more} tasks is larger than the ids that are left"
            ));
        };
        let id = self.next_id;
        self.next_id = next_id;
        if let Some(key) = key {
            self.key_of.insert(id, key.clone());
            self.keys.insert(key, id);
        }
        if more > 1 {
            self.arrays.insert(id, more - 1);
        }
        let mut moved = [0; Phase::ALL.len()];
        moved[pending] = i64::try_from(more).unwrap_or(i64::MAX);
        self.count(&owner, &moved);
        let task = Task::new(id, new.spec, new.submitted);
        self.write(task, false);
        Submitted::New(id)
    }

    pub(super) fn commit(&mut self, change: Change) -> Committed {
        let stored = self.tasks.get(&change.task.id);
        let parent_id = match (change.expect, stored) {
            (_, Some(stored)) => stored.parent,
            (Expect::Absent, None) => change.task.parent,
            (Expect::Rev(_), None) => return Committed::Stale,
        };
        let parent = parent_id.and_then(|id| self.tasks.get(&id));
        let heads = (stored.map(Head::of), parent.map(Head::of));
        let Some(effect) = rules::judge(&change, heads.0.as_ref(), heads.1.as_ref()) else {
            return Committed::Stale;
        };
        let Change { mut task, usage, notices, .. } = change;
        if let Some(stored) = stored {
            task.parent = stored.parent;
            task.ordinal = stored.ordinal;
            task.submitted = stored.submitted;
            task.children = stored.children;
        }
        if let Some(parent) = parent {
            task.spec = Arc::clone(&parent.spec);
            task.submitted = parent.submitted;
            task.children = god_core::task::Children::default();
        }
        let owner = task.spec.owner.id.clone();
        if self.arrays.contains_key(&task.id) {
            self.share(&task);
        }
        if let Some(parent) = parent_id.and_then(|id| self.tasks.get_mut(&id)) {
            rules::add_children(&mut parent.children, &effect.parent);
        }
        self.count(&owner, &effect.counts);
        self.fill(&owner, effect.disk);
        if effect.proves_image {
            self.images.insert(task.spec.image.clone());
        }
        if let Some(usage) = usage {
            self.book(&usage);
        }
        for notice in notices {
            if self.notice_ids.insert(notice.id.clone()) {
                self.notices.push_back(notice);
            }
        }
        self.write(task, effect.ends);
        Committed::Done
    }

    /// Gives a parent's specification to its children, if it is another one than before.
    pub(super) fn share(&mut self, parent: &Task) {
        let same = self.tasks.get(&parent.id).is_some_and(|stored| Arc::ptr_eq(&stored.spec, &parent.spec));
        if same {
            return;
        }
        for (_, child) in self.tasks.range_mut(parent.id.child(0)..) {
            if child.parent != Some(parent.id) {
                break;
            }
            child.spec = Arc::clone(&parent.spec);
        }
    }

    /// Puts a document in place of its former version and notes the change, which may be the task's end.
    pub(super) fn write(&mut self, task: Task, ends: bool) {
        self.head = Seq(self.head.0 + 1);
        self.notes.push_back(rules::note_of(self.head, &task, ends));
        if self.notes.len() > self.notes_kept {
            self.notes.pop_front();
        }
        // The counters of an array change without a new version, and a child's specification is its parent's as that
        // stands now.
        if task.array().is_none() && task.parent.is_none() {
            self.recent.push_back(task.clone());
            let excess = self.recent.len().saturating_sub(RECENT);
            self.recent.drain(..excess);
        }
        if let Some(before) = self.tasks.get(&task.id) {
            match ended(before) {
                Some(at) => self.over.remove(&(at, task.id)),
                None => self.active.entry(before.phase()).or_default().remove(&task.id),
            };
        }
        match ended(&task) {
            Some(at) => self.over.insert((at, task.id)),
            None => self.active.entry(task.phase()).or_default().insert(task.id),
        };
        if task.to_remove().is_some() {
            self.to_remove.insert(task.id);
        } else {
            self.to_remove.remove(&task.id);
        }
        self.tasks.insert(task.id, task);
    }

    /// Adds to the bytes that count for a user.
    fn fill(&mut self, owner: &UserId, moved: i64) {
        if moved != 0 {
            let bytes = self.disk.entry(owner.clone()).or_default();
            *bytes = bytes.saturating_add_signed(moved);
        }
    }

    pub(super) fn count(&mut self, owner: &UserId, moved: &[i64; Phase::ALL.len()]) {
        rules::add_counts(&mut self.all, moved);
        if let Some(counts) = self.counts.get_mut(owner) {
            rules::add_counts(counts, moved);
        } else {
            rules::add_counts(self.counts.entry(owner.clone()).or_default(), moved);
        }
    }

    pub(super) fn get(&self, id: TaskId) -> Option<Task> {
        if let Some(task) = self.tasks.get(&id) {
            return Some(task.clone());
        }
        let (parent, kids) = self.arrays.range(..id).next_back()?;
        let ordinal = id.0 - parent.0 - 1;
        if ordinal < *kids { self.tasks.get(parent)?.child(ordinal) } else { None }
    }

    pub(super) fn holds(&self, lease: &Lease) -> bool {
        self.leases.get(&lease.name).is_some_and(|record| {
            record.holder.as_ref() == Some(&lease.holder) && record.epoch == lease.epoch
        })
    }

    pub(super) fn scan(&self, scan: &Scan, after: Option<TaskId>, limit: usize) -> Vec<Task> {
        let from = TaskId(after.map_or(0, |id| id.0.saturating_add(1)));
        match scan {
            Scan::ChildrenOf(parent) => self
                .tasks
                .range(from.max(parent.child(0))..)
                .map(|(_, task)| task)
                .take_while(|task| task.parent == Some(*parent))
                .take(limit)
                .cloned()
                .collect(),
            Scan::Active(owner) => {
                let phases: Vec<Phase> = Phase::ALL.into_iter().filter(|phase| !phase.is_over()).collect();
                self.in_phases(&phases, from)
                    .filter(|task| owner.as_ref().is_none_or(|owner| task.spec.owner.id == *owner))
                    .take(limit)
                    .cloned()
                    .collect()
            }
            Scan::Phases(phases) if phases.iter().any(|phase| phase.is_over()) => self
                .tasks
                .range(from..)
                .map(|(_, task)| task)
                .filter(|task| phases.contains(&task.phase()))
                .take(limit)
                .cloned()
                .collect(),
            Scan::Phases(phases) => self.in_phases(phases, from).take(limit).cloned().collect(),
            Scan::ToRemove => {
                let ids = self.to_remove.range(from..).take(limit);
                ids.filter_map(|id| self.tasks.get(id)).cloned().collect()
            }
        }
    }

    /// Tasks in these phases from an id on, ascending. None of the phases is an over one.
    pub(super) fn in_phases<'a>(
        &'a self,
        phases: &'a [Phase],
        from: TaskId,
    ) -> impl Iterator<Item = &'a Task> {
        let mut lists: Vec<_> = self
            .active
            .iter()
            .filter(|(phase, _)| phases.contains(phase))
            .map(|(_, ids)| ids.range(from..).peekable())
            .collect();
        std::iter::from_fn(move || {
            let next =
                lists.iter_mut().filter_map(|ids| Some((**ids.peek()?, ids))).min_by_key(|(id, _)| *id)?;
            next.1.next().and_then(|id| self.tasks.get(id))
        })
    }

    pub(super) fn over(&self, filter: &OverFilter) -> Vec<Task> {
        self.over
            .iter()
            .rev()
            .filter_map(|(_, id)| self.tasks.get(id))
            .filter(|task| filter.owner.as_ref().is_none_or(|owner| task.spec.owner.id == *owner))
            .skip(filter.skip)
            .take(filter.limit.unwrap_or(usize::MAX))
            .cloned()
            .collect()
    }

    pub(super) fn find(&self, query: &TaskQuery) -> TaskPage {
        let below = ..query.before.unwrap_or(TaskId(u64::MAX));
        let mut found =
            self.tasks.range(below).rev().map(|(_, task)| task).filter(|task| query.matches(task));
        let tasks: Vec<Task> = found.by_ref().take(query.page_size()).cloned().collect();
        let next = found.next().and(tasks.last()).map(|task| task.id);
        TaskPage { tasks, next }
    }

    pub(super) fn made(&self, parent: TaskId) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let children = self.tasks.range(parent.child(0)..).map(|(_, task)| task);
        for ordinal in children.take_while(|task| task.parent == Some(parent)).filter_map(|task| task.ordinal)
        {
            match ranges.last_mut() {
                Some(range) if range.end == ordinal => range.end += 1,
                _ => ranges.push(ordinal..ordinal + 1),
            }
        }
        ranges
    }

    pub(super) fn purge(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id).filter(|task| task.parent.is_none() && task.phase().is_over())
        else {
            return;
        };
        let last = TaskId(id.0 + Head::of(task).kids);
        let owner = task.spec.owner.id.clone();
        let gone: Vec<TaskId> = self.tasks.range(id..=last).map(|(id, _)| *id).collect();
        for id in gone {
            if let Some(task) = self.tasks.remove(&id) {
                let mut moved = [0; Phase::ALL.len()];
                moved[usize::from(task.phase().code())] = -1;
                self.count(&owner, &moved);
                self.fill(&owner, -i64::try_from(task.disk_held()).unwrap_or(i64::MAX));
                self.to_remove.remove(&id);
                if let Some(at) = ended(&task) {
                    self.over.remove(&(at, id));
                }
            }
        }
        self.arrays.remove(&id);
        if let Some(key) = self.key_of.remove(&id) {
            self.keys.remove(&key);
        }
    }

    pub(super) fn changes(&self, since: Seq, limit: usize) -> Changes {
        let oldest = self.notes.front().map_or(self.head.0 + 1, |note| note.seq.0);
        if since > self.head || since.0 + 1 < oldest {
            return Changes::TooOld(self.head);
        }
        // Positions are dense: the entry after `since` stands this far from the oldest one.
        let skip = usize::try_from(since.0 + 1 - oldest).unwrap_or(usize::MAX);
        Changes::Notes(self.notes.iter().skip(skip).take(limit).copied().collect())
    }

    pub(super) fn take_lease(
        &mut self,
        name: &str,
        holder: &Holder,
        found: Option<&LeaseRecord>,
    ) -> Option<Lease> {
        let record = self.leases.get(name);
        if record != found {
            return None;
        }
        let beat = record.map_or(0, |record| record.beat + 1);
        self.epoch += 1;
        let epoch = self.epoch;
        let record = LeaseRecord { name: name.to_owned(), holder: Some(holder.clone()), epoch, beat };
        self.leases.insert(name.to_owned(), record);
        Some(Lease { name: name.to_owned(), holder: holder.clone(), epoch })
    }

    pub(super) fn book(&mut self, record: &UsageRecord) {
        if !self.ledger.insert(record.key) {
            return;
        }
        let add = |days: &mut BTreeMap<Day, UsageSum>| {
            let sum = days.entry(record.day).or_insert(UsageSum { day: record.day, ..UsageSum::default() });
            sum.cores += u64::from(record.cores.0);
            sum.ram += u64::from(record.ram);
            sum.millis += record.millis;
        };
        add(self.used.entry(record.owner.clone()).or_default());
        add(self.used_by_project.entry(record.project.clone()).or_default());
    }

    pub(super) fn usage_since(&self, from: Day) -> Ledger {
        fn of<K: Ord + Clone>(days: &BTreeMap<K, BTreeMap<Day, UsageSum>>, from: Day) -> BTreeMap<K, Used> {
            let mut sums: BTreeMap<K, Used> = BTreeMap::new();
            for (who, days) in days {
                for (_, sum) in days.range(from..) {
                    sums.entry(who.clone()).or_default().add(sum);
                }
            }
            sums
        }
        let mut ledger = Ledger { users: of(&self.used, from), projects: of(&self.used_by_project, from) };
        for (user, bytes) in self.disk.iter().filter(|(_, bytes)| **bytes > 0) {
            ledger.users.entry(user.clone()).or_default().disk = *bytes;
        }
        ledger
    }

    pub(super) fn reset_usage(&mut self, of: &UsageOf) {
        match of {
            UsageOf::User(user) => self.used.remove(user),
            UsageOf::Project(project) => self.used_by_project.remove(project),
        };
    }

    pub(super) fn audited(&self, after: Option<u64>, limit: usize) -> Vec<(u64, AuditRecord)> {
        let skip = after.map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        (1..).zip(&self.audit).skip(skip).take(limit).map(|(n, record)| (n, record.clone())).collect()
    }

    pub(super) fn usage(&self, of: &UsageOf, from: Day) -> Vec<UsageSum> {
        let days = match of {
            UsageOf::User(user) => self.used.get(user),
            UsageOf::Project(project) => self.used_by_project.get(project),
        };
        days.map(|days| days.range(from..).map(|(_, sum)| *sum).collect()).unwrap_or_default()
    }
}

/// When a document's task ended, if it did.
fn ended(task: &Task) -> Option<Timestamp> {
    match &task.state {
        god_core::TaskState::Over { at, .. } | god_core::TaskState::Archived { at, .. } => Some(*at),
        _ => None,
    }
}
