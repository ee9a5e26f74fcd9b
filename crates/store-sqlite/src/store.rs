//! The trait: each method sends its work to a thread and waits.

use crate::row::encode;
use crate::tasks::{Fresh, Ready};
use crate::{SqliteStore, bell, books, find, leases, lock, reads, specs, tasks};
use async_trait::async_trait;
use books::Table;
use god_core::query::{TaskPage, TaskQuery};
use god_core::store::{
    AuditRecord, Change, Changes, Committed, Counts, Lease, LeaseRecord, NewTask, Notice, OverFilter, Scan,
    Seq, Store, StoreError, Submitted, UsageOf,
};
use god_core::units::Day;
use god_core::usage::{Ledger, UsageSum};
use god_core::user::{Project, User};
use god_core::{Holder, ProjectId, Rev, Task, TaskId, UserId};
use std::ops::Range;
use std::sync::Arc;

#[async_trait]
impl Store for SqliteStore {
    async fn submit(&self, batch: Vec<NewTask>) -> Result<Vec<Submitted>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let specs: Vec<_> = batch.iter().map(|new| Arc::clone(&new.spec)).collect();
        let batch: Vec<Fresh> = batch.into_iter().map(Fresh::of).collect();
        let answers =
            self.write("storing new tasks", batch.len(), move |tx| tasks::submit(tx, &batch)).await?;
        for (answer, spec) in answers.iter().zip(specs) {
            if let Submitted::New(id) = answer {
                self.shared.specs.put(*id, specs::fields_hash(&spec), spec);
            }
        }
        Ok(answers)
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>, StoreError> {
        let ids = ids.to_vec();
        self.read("reading tasks", move |reader| ids.into_iter().map(|id| reader.task_or_child(id)).collect())
            .await
    }

    fn at_hand(&self, id: TaskId, rev: Rev) -> Option<Task> {
        self.shared.recent.task(id, rev)
    }

    async fn commit(
        &self,
        changes: Vec<Change>,
        lease: Option<&Lease>,
    ) -> Result<Vec<Committed>, StoreError> {
        if changes.is_empty() && lease.is_none() {
            return Ok(Vec::new());
        }
        let lease = lease.cloned();
        let changes: Vec<Ready> = changes.into_iter().map(Ready::of).collect();
        self.write("writing changes of tasks", changes.len(), move |tx| {
            tasks::commit(tx, &changes, lease.as_ref())
        })
        .await
    }

    async fn scan(&self, scan: &Scan, after: Option<TaskId>, limit: usize) -> Result<Vec<Task>, StoreError> {
        let scan = scan.clone();
        self.read("reading tasks", move |reader| reads::scan(reader, &scan, after, limit)).await
    }

    async fn over(&self, filter: &OverFilter) -> Result<Vec<Task>, StoreError> {
        let filter = filter.clone();
        self.read("listing finished tasks", move |reader| reads::over(reader, &filter)).await
    }

    async fn find(&self, query: &TaskQuery) -> Result<TaskPage, StoreError> {
        let query = query.clone();
        self.read("finding tasks", move |reader| find::find(reader, &query)).await
    }

    async fn counts(&self, owner: Option<&UserId>) -> Result<Counts, StoreError> {
        let owner = owner.cloned();
        self.read("counting tasks", move |reader| reads::counts(reader, owner.as_ref())).await
    }

    async fn made(&self, parent: TaskId) -> Result<Vec<Range<u64>>, StoreError> {
        self.read("reading an array", move |reader| reads::made(reader, parent)).await
    }

    async fn purge(&self, id: TaskId) -> Result<(), StoreError> {
        self.write("removing a task", 1, move |tx| tasks::purge(tx, id)).await
    }

    async fn changes(&self, since: Seq, limit: usize) -> Result<Changes, StoreError> {
        if let Some(notes) = self.shared.recent.after(since, limit) {
            return Ok(Changes::Notes(notes));
        }
        self.read("reading changes", move |reader| reads::changes(reader, since, limit)).await
    }

    async fn head(&self) -> Result<Seq, StoreError> {
        self.read("reading the newest change", |reader| Ok(bell::head(reader.conn)?)).await
    }

    async fn rung(&self, seq: Seq) {
        self.shared.bell.wait(seq).await;
    }

    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRecord>, StoreError> {
        let prefix = prefix.to_owned();
        self.read("reading leases", move |reader| leases::list(reader, &prefix)).await
    }

    async fn take_lease(
        &self,
        name: &str,
        holder: &Holder,
        found: Option<&LeaseRecord>,
    ) -> Result<Option<Lease>, StoreError> {
        let (owned_name, holder, found) = (name.to_owned(), holder.clone(), found.cloned());
        let old_epoch = found.as_ref().map(|record| record.epoch);
        let taken = self
            .write("taking a lease", 1, move |tx| leases::take(tx, &owned_name, &holder, found.as_ref()))
            .await?;
        let Some((lease, lock)) = taken else { return Ok(None) };
        if let Some(lock) = lock {
            self.shared.locks().insert((lease.name.clone(), lease.epoch), lock);
        }
        if let Some(epoch) = old_epoch {
            self.forget_lock(name, epoch);
            lock::remove_of(&self.shared.path, name, epoch);
        }
        Ok(Some(lease))
    }

    async fn renew_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        let renewed = lease.clone();
        let held = self.write("renewing a lease", 1, move |tx| leases::renew(tx, &renewed)).await?;
        if !held {
            self.forget_lock(&lease.name, lease.epoch);
        }
        Ok(held)
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let released = lease.clone();
        self.write("giving a lease back", 1, move |tx| leases::release(tx, &released)).await?;
        self.forget_lock(&lease.name, lease.epoch);
        Ok(())
    }

    async fn drop_lease(&self, found: &LeaseRecord) -> Result<(), StoreError> {
        let record = found.clone();
        let removed = self.write("removing a lease record", 1, move |tx| leases::remove(tx, &record)).await?;
        if removed {
            self.forget_lock(&found.name, found.epoch);
            lock::remove_of(&self.shared.path, &found.name, found.epoch);
        }
        Ok(())
    }

    fn is_gone(&self, record: &LeaseRecord) -> bool {
        leases::is_gone(&self.shared, record)
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let id = id.clone();
        self.read("reading a user", move |reader| books::user(reader, &id)).await
    }

    async fn users(&self) -> Result<Vec<User>, StoreError> {
        self.read("reading users", |reader| books::all(reader, Table::User)).await
    }

    async fn put_user(&self, user: &User) -> Result<bool, StoreError> {
        let (id, rev) = (user.id.clone(), user.rev);
        let body = encode(&User { rev: rev + 1, ..user.clone() });
        self.write("writing a user", 1, move |tx| books::put(tx, Table::User, id.as_str(), rev, &body)).await
    }

    async fn remove_user(&self, id: &UserId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write("removing a user", 1, move |tx| books::remove(tx, Table::User, id.as_str())).await
    }

    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.read("reading projects", |reader| books::all(reader, Table::Project)).await
    }

    async fn put_project(&self, project: &Project) -> Result<bool, StoreError> {
        let (id, rev) = (project.id.clone(), project.rev);
        let body = encode(&Project { rev: rev + 1, ..project.clone() });
        self.write("writing a project", 1, move |tx| books::put(tx, Table::Project, id.as_str(), rev, &body))
            .await
    }

    async fn remove_project(&self, id: &ProjectId) -> Result<(), StoreError> {
        let id = id.clone();
        self.write("removing a project", 1, move |tx| books::remove(tx, Table::Project, id.as_str())).await
    }

    async fn usage(&self, of: &UsageOf, from: Day) -> Result<Vec<UsageSum>, StoreError> {
        let of = of.clone();
        self.read("reading usage", move |reader| books::usage(reader, &of, from)).await
    }

    async fn usage_since(&self, from: Day) -> Result<Ledger, StoreError> {
        self.read("reading usage", move |reader| books::usage_since(reader, from)).await
    }

    async fn reset_usage(&self, of: &UsageOf) -> Result<(), StoreError> {
        let of = of.clone();
        self.write("resetting usage", 1, move |tx| books::reset_usage(tx, &of)).await
    }

    async fn images(&self) -> Result<Vec<String>, StoreError> {
        self.read("reading images", |reader| books::images(reader)).await
    }

    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.read("reading notices", move |reader| books::notices(reader, limit)).await
    }

    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.write("acknowledging notices", ids.len(), move |tx| books::notices_sent(tx, &ids)).await
    }

    async fn audit(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        let bodies: Vec<_> = records.iter().map(encode).collect();
        self.write("adding to the audit trail", bodies.len(), move |tx| books::audit(tx, &bodies)).await
    }

    async fn audited(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        self.read("reading the audit trail", move |reader| books::audited(reader, after, limit)).await
    }

    async fn pin(&self, notes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        self.write("pinning texts", notes.len(), move |tx| books::pin(tx, &notes)).await
    }

    async fn pinned(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let prefix = prefix.to_owned();
        self.read("reading pinned texts", move |reader| books::pinned(reader, &prefix)).await
    }
}

impl SqliteStore {
    /// Lets go of the lock of a lease that is not held any more.
    fn forget_lock(&self, name: &str, epoch: u64) {
        let lock = self.shared.locks().remove(&(name.to_owned(), epoch));
        if let Some(lock) = lock {
            lock.remove();
        }
    }
}
