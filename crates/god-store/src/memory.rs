//! A store in memory: everything behind one mutex, in ordered maps. It keeps nothing when it is dropped.
//!
//! It has no clock, no thread and no hash order, so the same calls give the same answers: simulations run on it.

mod state;

use async_trait::async_trait;
use god_core::query::{TaskPage, TaskQuery};
use god_core::store::{
    AuditRecord, Change, Changes, Committed, Counts, Lease, LeaseRecord, NewTask, Notice, OverFilter, Scan,
    Seq, Store, StoreError, Submitted, UsageOf,
};
use god_core::units::Day;
use god_core::usage::{Ledger, UsageSum};
use god_core::user::{Project, User};
use god_core::{Holder, ProjectId, Rev, Task, TaskId, UserId};
use state::State;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// How many entries of the change sequence are kept unless told otherwise.
const NOTES_KEPT: usize = 200_000;

/// A [`Store`] in memory.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    bell: Notify,
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
        MemoryStore { state: Mutex::new(State::new(notes)), bell: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The maps are whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn at_hand(&self, id: TaskId, rev: Rev) -> Option<Task> {
        self.state().recent.iter().find(|task| task.id == id && task.rev == rev).cloned()
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

    async fn find(&self, query: &TaskQuery) -> Result<TaskPage, StoreError> {
        Ok(self.state().find(query))
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

    async fn usage_since(&self, from: Day) -> Result<Ledger, StoreError> {
        Ok(self.state().usage_since(from))
    }

    async fn reset_usage(&self, of: &UsageOf) -> Result<(), StoreError> {
        self.state().reset_usage(of);
        Ok(())
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

    async fn audit(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        self.state().audit.extend_from_slice(records);
        Ok(())
    }

    async fn audited(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        Ok(self.state().audited(after, limit))
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
