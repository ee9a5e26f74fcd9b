//! A store in memory: everything behind one mutex, in ordered maps. It keeps nothing when it is dropped.
//!
//! It has no clock, no thread and no hash order, so the same calls give the same answers: simulations run on it.

use crate::rules::{self, Head};
use async_trait::async_trait;
use god_core::state::Phase;
use god_core::store::{
    Change, ChangeNote, Changes, Committed, Counts, Expect, Lease, LeaseRecord, NewTask, Notice, OverFilter,
    Scan, Seq, Store, StoreError, Submitted, UsageOf,
};
use god_core::units::Day;
use god_core::usage::{UsageRecord, UsageSum};
use god_core::user::{Project, User};
use god_core::{AttemptKey, Holder, ProjectId, Task, TaskId, Timestamp, UserId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many entries of the change sequence are kept unless told otherwise.
const NOTES_KEPT: usize = 200_000;

/// A [`Store`] in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug)]
struct State {
    next_id: TaskId,
    tasks: BTreeMap<TaskId, Task>,
    /// Number of children of each array.
    arrays: BTreeMap<TaskId, u64>,
    keys: BTreeMap<(UserId, String), TaskId>,
    key_of: BTreeMap<TaskId, (UserId, String)>,
    active: BTreeMap<Phase, BTreeSet<TaskId>>,
    over: BTreeSet<(Timestamp, TaskId)>,
    counts: BTreeMap<UserId, Counts>,
    all: Counts,
    head: Seq,
    notes: VecDeque<ChangeNote>,
    notes_kept: usize,
    epoch: u64,
    leases: BTreeMap<String, LeaseRecord>,
    users: BTreeMap<UserId, User>,
    projects: BTreeMap<ProjectId, Project>,
    ledger: BTreeSet<AttemptKey>,
    used: BTreeMap<UserId, BTreeMap<Day, UsageSum>>,
    used_by_project: BTreeMap<ProjectId, BTreeMap<Day, UsageSum>>,
    images: BTreeSet<String>,
    notices: VecDeque<Notice>,
    notice_ids: BTreeSet<String>,
    pins: BTreeMap<String, String>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::keeping(NOTES_KEPT)
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// An empty store whose change sequence reaches back this many entries.
    #[must_use]
    pub fn keeping(notes: usize) -> MemoryStore {
        MemoryStore {
            state: Mutex::new(State {
                next_id: TaskId(1),
                tasks: BTreeMap::new(),
                arrays: BTreeMap::new(),
                keys: BTreeMap::new(),
                key_of: BTreeMap::new(),
                active: BTreeMap::new(),
                over: BTreeSet::new(),
                counts: BTreeMap::new(),
                all: Counts::default(),
                head: Seq(0),
                notes: VecDeque::new(),
                notes_kept: notes,
                epoch: 0,
                leases: BTreeMap::new(),
                users: BTreeMap::new(),
                projects: BTreeMap::new(),
                ledger: BTreeSet::new(),
                used: BTreeMap::new(),
                used_by_project: BTreeMap::new(),
                images: BTreeSet::new(),
                notices: VecDeque::new(),
                notice_ids: BTreeSet::new(),
                pins: BTreeMap::new(),
            }),
            bell: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held is a fault of a test's own closure: the maps are whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn submit(&mut self, new: NewTask) -> Submitted {
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
        self.write(task);
        Submitted::New(id)
    }

    fn commit(&mut self, change: Change) -> Committed {
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
        self.write(task);
        Committed::Done
    }

    /// Gives a parent's specification to its children, if it is another one than before.
    fn share(&mut self, parent: &Task) {
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

    /// Puts a document in place of its former version and notes the change.
    fn write(&mut self, task: Task) {
        self.head = Seq(self.head.0 + 1);
        self.notes.push_back(rules::note_of(self.head, &task));
        if self.notes.len() > self.notes_kept {
            self.notes.pop_front();
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
        self.tasks.insert(task.id, task);
    }

    fn count(&mut self, owner: &UserId, moved: &[i64; Phase::ALL.len()]) {
        rules::add_counts(&mut self.all, moved);
        if let Some(counts) = self.counts.get_mut(owner) {
            rules::add_counts(counts, moved);
        } else {
            rules::add_counts(self.counts.entry(owner.clone()).or_default(), moved);
        }
    }

    fn get(&self, id: TaskId) -> Option<Task> {
        if let Some(task) = self.tasks.get(&id) {
            return Some(task.clone());
        }
        let (parent, kids) = self.arrays.range(..id).next_back()?;
        let ordinal = id.0 - parent.0 - 1;
        if ordinal < *kids { self.tasks.get(parent)?.child(ordinal) } else { None }
    }

    fn holds(&self, lease: &Lease) -> bool {
        self.leases.get(&lease.name).is_some_and(|record| {
            record.holder.as_ref() == Some(&lease.holder) && record.epoch == lease.epoch
        })
    }

    fn scan(&self, scan: &Scan, after: Option<TaskId>, limit: usize) -> Vec<Task> {
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
        }
    }

    /// Tasks in these phases from an id on, ascending. None of the phases is an over one.
    fn in_phases<'a>(&'a self, phases: &'a [Phase], from: TaskId) -> impl Iterator<Item = &'a Task> {
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

    fn over(&self, filter: &OverFilter) -> Vec<Task> {
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

    fn made(&self, parent: TaskId) -> Vec<Range<u64>> {
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

    fn purge(&mut self, id: TaskId) {
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

    fn changes(&self, since: Seq, limit: usize) -> Changes {
        let oldest = self.notes.front().map_or(self.head.0 + 1, |note| note.seq.0);
        if since > self.head || since.0 + 1 < oldest {
            return Changes::TooOld(self.head);
        }
        // Positions are dense: the entry after `since` stands this far from the oldest one.
        let skip = usize::try_from(since.0 + 1 - oldest).unwrap_or(usize::MAX);
        Changes::Notes(self.notes.iter().skip(skip).take(limit).copied().collect())
    }

    fn take_lease(&mut self, name: &str, holder: &Holder, found: Option<&LeaseRecord>) -> Option<Lease> {
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

    fn book(&mut self, record: &UsageRecord) {
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

    fn usage(&self, of: &UsageOf, from: Day) -> Vec<UsageSum> {
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

#[async_trait]
impl Store for MemoryStore {
    async fn submit(&self, batch: Vec<NewTask>) -> Result<Vec<Submitted>, StoreError> {
        let answers = {
            let mut state = self.state();
            batch.into_iter().map(|new| state.submit(new)).collect()
        };
        self.bell.notify_waiters();
        Ok(answers)
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>, StoreError> {
        let state = self.state();
        Ok(ids.iter().map(|id| state.get(*id)).collect())
    }

    async fn commit(
        &self,
        changes: Vec<Change>,
        lease: Option<&Lease>,
    ) -> Result<Vec<Committed>, StoreError> {
        let answers = {
            let mut state = self.state();
            if let Some(lease) = lease.filter(|lease| !state.holds(lease)) {
                return Err(StoreError::Fenced(lease.name.clone()));
            }
            changes.into_iter().map(|change| state.commit(change)).collect()
        };
        self.bell.notify_waiters();
        Ok(answers)
    }

    async fn scan(&self, scan: &Scan, after: Option<TaskId>, limit: usize) -> Result<Vec<Task>, StoreError> {
        Ok(self.state().scan(scan, after, limit))
    }

    async fn over(&self, filter: &OverFilter) -> Result<Vec<Task>, StoreError> {
        Ok(self.state().over(filter))
    }

    async fn counts(&self, owner: Option<&UserId>) -> Result<Counts, StoreError> {
        let state = self.state();
        Ok(match owner {
            Some(owner) => state.counts.get(owner).copied().unwrap_or_default(),
            None => state.all,
        })
    }

    async fn made(&self, parent: TaskId) -> Result<Vec<Range<u64>>, StoreError> {
        Ok(self.state().made(parent))
    }

    async fn purge(&self, id: TaskId) -> Result<(), StoreError> {
        self.state().purge(id);
        Ok(())
    }

    async fn changes(&self, since: Seq, limit: usize) -> Result<Changes, StoreError> {
        Ok(self.state().changes(since, limit))
    }

    async fn head(&self) -> Result<Seq, StoreError> {
        Ok(self.state().head)
    }

    async fn rung(&self, seq: Seq) {
        loop {
            // Listen before looking, or a bell between the two is lost.
            let mut bell = pin!(self.bell.notified());
            bell.as_mut().enable();
            if self.state().head > seq {
                return;
            }
            bell.await;
        }
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRecord>, StoreError> {
        let state = self.state();
        let from = state.leases.range(prefix.to_owned()..);
        Ok(from.take_while(|(name, _)| name.starts_with(prefix)).map(|(_, record)| record.clone()).collect())
    }

    async fn take_lease(
        &self,
        name: &str,
        holder: &Holder,
        found: Option<&LeaseRecord>,
    ) -> Result<Option<Lease>, StoreError> {
        Ok(self.state().take_lease(name, holder, found))
    }

    async fn renew_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        let mut state = self.state();
        let held = state.holds(lease);
        if let Some(record) = state.leases.get_mut(&lease.name).filter(|_| held) {
            record.beat += 1;
        }
        Ok(held)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut state = self.state();
        let held = state.holds(lease);
        if let Some(record) = state.leases.get_mut(&lease.name).filter(|_| held) {
            record.holder = None;
        }
        Ok(())
    }

    async fn drop_lease(&self, found: &LeaseRecord) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.leases.get(&found.name) == Some(found) {
            state.leases.remove(&found.name);
        }
        Ok(())
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(self.state().users.get(id).cloned())
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        Ok(self.state().users.values().cloned().collect())
    }

    async fn put_user(&self, user: &User) -> Result<bool, StoreError> {
        let mut state = self.state();
        let ours = state.users.get(&user.id).map_or(0, |stored| stored.rev) == user.rev;
        if ours {
            state.users.insert(user.id.clone(), User { rev: user.rev + 1, ..user.clone() });
        }
        Ok(ours)
    }

    async fn remove_user(&self, id: &UserId) -> Result<(), StoreError> {
        self.state().users.remove(id);
        Ok(())
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        Ok(self.state().projects.values().cloned().collect())
    }

    async fn put_project(&self, project: &Project) -> Result<bool, StoreError> {
        let mut state = self.state();
        let ours = state.projects.get(&project.id).map_or(0, |stored| stored.rev) == project.rev;
        if ours {
            state.projects.insert(project.id.clone(), Project { rev: project.rev + 1, ..project.clone() });
        }
        Ok(ours)
    }

    async fn remove_project(&self, id: &ProjectId) -> Result<(), StoreError> {
        self.state().projects.remove(id);
        Ok(())
    }

    async fn usage(&self, of: &UsageOf, from: Day) -> Result<Vec<UsageSum>, StoreError> {
        Ok(self.state().usage(of, from))
    }

    async fn images(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.state().images.iter().cloned().collect())
    }

    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        Ok(self.state().notices.iter().take(limit).cloned().collect())
    }

    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError> {
        let mut state = self.state();
        for id in ids {
            state.notice_ids.remove(id);
        }
        let State { notices, notice_ids, .. } = &mut *state;
        notices.retain(|notice| notice_ids.contains(&notice.id));
        Ok(())
    }

    async fn pin(&self, notes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        let mut state = self.state();
        for (key, text) in notes {
            match text {
                Some(text) => state.pins.insert(key, text),
                None => state.pins.remove(&key),
            };
        }
        Ok(())
    }

    async fn pinned(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let state = self.state();
        let from = state.pins.range(prefix.to_owned()..);
        Ok(from
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, text)| (key.clone(), text.clone()))
            .collect())
    }
}
