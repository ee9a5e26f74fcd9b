//! A store that adds notices to what is written.

use async_trait::async_trait;
use god_core::ids::{Holder, ProjectId, Rev, TaskId, UserId};
use god_core::notice::{self, Rules};
use god_core::query::{TaskPage, TaskQuery};
use god_core::store::{
    AuditRecord, Change, Changes, Committed, Counts, Lease, LeaseRecord, NewTask, Notice, OverFilter, Scan,
    Seq, Store, StoreError, Submitted, UsageOf,
};
use god_core::task::Task;
use god_core::units::Day;
use god_core::usage::{Ledger, UsageSum};
use god_core::user::{Project, User};
use std::ops::Range;
use std::sync::Arc;

/// Makes the notices a site wants of the moments in each change, and lets everything else through. All writers of a
/// process share one, so no way of moving a task is silent.
#[derive(Debug)]
pub struct Noting {
    store: Arc<dyn Store>,
    rules: Rules,
}

impl Noting {
    /// The store as it is when nobody wants to be told anything, else one that adds notices.
    #[must_use]
    pub fn over(store: Arc<dyn Store>, rules: Rules) -> Arc<dyn Store> {
        if rules.is_silent() { store } else { Arc::new(Noting { store, rules }) }
    }
}

/// All methods, also those with a default: what the store below does must not get lost.
#[async_trait]
impl Store for Noting {
    async fn commit(
        &self,
        mut changes: Vec<Change>,
        lease: Option<&Lease>,
    ) -> Result<Vec<Committed>, StoreError> {
        for change in &mut changes {
            let notices = notice::of(&change.task, &change.moments, self.rules);
            change.notices.extend(notices);
        }
        self.store.commit(changes, lease).await
    }

    async fn submit(&self, batch: Vec<NewTask>) -> Result<Vec<Submitted>, StoreError> {
        self.store.submit(batch).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>, StoreError> {
        self.store.get(ids).await
    }

    fn at_hand(&self, id: TaskId, rev: Rev) -> Option<Task> {
        self.store.at_hand(id, rev)
    }

    async fn scan(&self, scan: &Scan, after: Option<TaskId>, limit: usize) -> Result<Vec<Task>, StoreError> {
        self.store.scan(scan, after, limit).await
    }

    async fn over(&self, filter: &OverFilter) -> Result<Vec<Task>, StoreError> {
        self.store.over(filter).await
    }

    async fn find(&self, query: &TaskQuery) -> Result<TaskPage, StoreError> {
        self.store.find(query).await
    }

    async fn counts(&self, owner: Option<&UserId>) -> Result<Counts, StoreError> {
        self.store.counts(owner).await
    }

    async fn made(&self, parent: TaskId) -> Result<Vec<Range<u64>>, StoreError> {
        self.store.made(parent).await
    }

    async fn purge(&self, id: TaskId) -> Result<(), StoreError> {
        self.store.purge(id).await
    }

    async fn changes(&self, since: Seq, limit: usize) -> Result<Changes, StoreError> {
        self.store.changes(since, limit).await
    }

    async fn head(&self) -> Result<Seq, StoreError> {
        self.store.head().await
    }

    async fn rung(&self, seq: Seq) {
        self.store.rung(seq).await;
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRecord>, StoreError> {
        self.store.leases(prefix).await
    }

    async fn take_lease(
        &self,
        name: &str,
        holder: &Holder,
        found: Option<&LeaseRecord>,
    ) -> Result<Option<Lease>, StoreError> {
        self.store.take_lease(name, holder, found).await
    }

    async fn renew_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.store.renew_lease(lease).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        self.store.release_lease(lease).await
    }

    async fn drop_lease(&self, found: &LeaseRecord) -> Result<(), StoreError> {
        self.store.drop_lease(found).await
    }

    fn is_gone(&self, record: &LeaseRecord) -> bool {
        self.store.is_gone(record)
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.store.user(id).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.store.users().await
    }

    async fn put_user(&self, user: &User) -> Result<bool, StoreError> {
        self.store.put_user(user).await
    }

    async fn remove_user(&self, id: &UserId) -> Result<(), StoreError> {
        self.store.remove_user(id).await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.store.projects().await
    }

    async fn put_project(&self, project: &Project) -> Result<bool, StoreError> {
        self.store.put_project(project).await
    }

    async fn remove_project(&self, id: &ProjectId) -> Result<(), StoreError> {
        self.store.remove_project(id).await
    }

    async fn usage(&self, of: &UsageOf, from: Day) -> Result<Vec<UsageSum>, StoreError> {
        self.store.usage(of, from).await
    }

    async fn usage_since(&self, from: Day) -> Result<Ledger, StoreError> {
        self.store.usage_since(from).await
    }

    async fn reset_usage(&self, of: &UsageOf) -> Result<(), StoreError> {
        self.store.reset_usage(of).await
    }

    async fn images(&self) -> Result<Vec<String>, StoreError> {
        self.store.images().await
    }

    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.store.notices(limit).await
    }

    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError> {
        self.store.notices_sent(ids).await
    }

    async fn audit(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        self.store.audit(records).await
    }

    async fn audited(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        self.store.audited(after, limit).await
    }

    async fn pin(&self, notes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        self.store.pin(notes).await
    }

    async fn pinned(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.store.pinned(prefix).await
    }
}

#[cfg(test)]
mod tests;
