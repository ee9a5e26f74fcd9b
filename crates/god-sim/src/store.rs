//! The store as a process of the simulation sees it: slow, with lost replies and false alarms; and the recorder that
//! watches every durable write.

use crate::engine::Truth;
use crate::rt::Rt;
use async_trait::async_trait;
use god_core::ids::{Holder, ProjectId, TaskId, UserId};
use god_core::query::{TaskPage, TaskQuery};
use god_core::state::Phase;
use god_core::store::*;
use god_core::task::Task;
use god_core::units::Day;
use god_core::usage::{Ledger, UsageSum};
use god_core::user::{Project, User};
use god_engine::lease::SCHEDULER;
use god_store::MemoryStore;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How bad the store behaves.
#[derive(Debug, Clone, Copy)]
pub struct StoreFaults {
    /// Longest delay before and after a call, in milliseconds.
    pub delay_ms: u64,
    /// Probability that nothing is done and an error is answered.
    pub refuse: f64,
    /// Probability that all is done and an error is answered.
    pub lose_reply: f64,
    /// Whether the store can prove that a holder is dead.
    pub proves_death: bool,
}

/// The store behind its faults, for one process.
#[derive(Debug)]
pub struct SimStore {
    inner: Arc<MemoryStore>,
    truth: Arc<Truth>,
    rt: Rt,
    faults: StoreFaults,
    quiet: Arc<AtomicBool>,
    dead: Arc<Mutex<Vec<Holder>>>,
}

impl SimStore {
    /// A handle on the store.
    #[must_use]
    pub fn new(
        inner: Arc<MemoryStore>,
        truth: Arc<Truth>,
        rt: Rt,
        faults: StoreFaults,
        quiet: Arc<AtomicBool>,
        dead: Arc<Mutex<Vec<Holder>>>,
    ) -> SimStore {
        SimStore { inner, truth, rt, faults, quiet, dead }
    }

    fn troubled(&self) -> bool {
        !self.quiet.load(Ordering::Relaxed)
    }

    fn error(&self, doing: &'static str) -> StoreError {
        StoreError::Unreachable { doing, source: "simulated".into() }
    }

    async fn pause(&self) {
        let most = if self.troubled() { self.faults.delay_ms } else { 2 };
        self.rt.sleep(Duration::from_micros(self.rt.below(most * 1000 + 1))).await;
    }

    async fn before(&self, doing: &'static str) -> Result<(), StoreError> {
        self.pause().await;
        if self.troubled() && self.rt.chance(self.faults.refuse) { Err(self.error(doing)) } else { Ok(()) }
    }

    async fn after(&self, doing: &'static str) -> Result<(), StoreError> {
        self.pause().await;
        if self.troubled() && self.rt.chance(self.faults.lose_reply) {
            Err(self.error(doing))
        } else {
            Ok(())
        }
    }
}

macro_rules! call {
    ($self:ident, $name:ident ( $($arg:expr),* )) => {{
        $self.before(stringify!($name)).await?;
        let answer = $self.inner.$name($($arg),*).await?;
        $self.after(stringify!($name)).await?;
        Ok(answer)
    }};
}

#[async_trait]
impl Store for SimStore {
    async fn submit(&self, batch: Vec<NewTask>) -> Result<Vec<Submitted>, StoreError> {
        call!(self, submit(batch))
    }
    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>, StoreError> {
        call!(self, get(ids))
    }
    async fn commit(
        &self,
        changes: Vec<Change>,
        lease: Option<&Lease>,
    ) -> Result<Vec<Committed>, StoreError> {
        self.before("commit").await?;
        let ids: Vec<TaskId> = changes.iter().map(|c| c.task.id).collect();
        // The memory store answers at once: nothing happens between these reads and the write.
        let old = self.inner.get(&ids).await?;
        let copies = changes.clone();
        let leads = self.inner.leases(SCHEDULER).await?.first().map_or(0, |record| record.epoch);
        let answers = self.inner.commit(changes, lease).await?;
        for ((change, answer), old) in copies.iter().zip(&answers).zip(&old) {
            if *answer == Committed::Done {
                self.truth.wrote(old.as_ref(), change);
                // What is asked of a task that was claimed before is no claim.
                let was_claimed = old.as_ref().is_some_and(|old| old.phase() == Phase::Starting);
                let is_claim = change.task.phase() == Phase::Starting && !was_claimed;
                let claim = change.task.state.attempt().filter(|_| is_claim);
                if let Some(epoch) = claim.map(|attempt| attempt.epoch).filter(|epoch| *epoch < leads) {
                    let what =
                        format!("task {} was claimed under epoch {epoch}, {leads} leads", change.task.id);
                    self.truth.breach("I6", &what);
                }
                let task = &change.task;
                self.rt.trace(&format!("{} {:?} {}", task.id, task.phase(), task.rev.0));
            }
        }
        self.after("commit").await?;
        Ok(answers)
    }
    async fn scan(&self, scan: &Scan, after: Option<TaskId>, limit: usize) -> Result<Vec<Task>, StoreError> {
        // Small pages, so that paging is exercised with few tasks.
        call!(self, scan(scan, after, limit.min(7)))
    }
    async fn over(&self, filter: &OverFilter) -> Result<Vec<Task>, StoreError> {
        call!(self, over(filter))
    }
    async fn find(&self, query: &TaskQuery) -> Result<TaskPage, StoreError> {
        call!(self, find(query))
    }
    async fn counts(&self, owner: Option<&UserId>) -> Result<Counts, StoreError> {
        call!(self, counts(owner))
    }
    async fn made(&self, parent: TaskId) -> Result<Vec<std::ops::Range<u64>>, StoreError> {
        call!(self, made(parent))
    }
    async fn purge(&self, id: TaskId) -> Result<(), StoreError> {
        call!(self, purge(id))
    }
    async fn changes(&self, since: Seq, limit: usize) -> Result<Changes, StoreError> {
        call!(self, changes(since, limit))
    }
    async fn head(&self) -> Result<Seq, StoreError> {
        call!(self, head())
    }
    async fn rung(&self, seq: Seq) {
        if self.troubled() && self.rt.chance(0.05) {
            // A bell that is late.
            self.rt.sleep(Duration::from_millis(self.rt.below(3000))).await;
        }
        self.inner.rung(seq).await;
    }
    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRecord>, StoreError> {
        call!(self, leases(prefix))
    }
    async fn take_lease(
        &self,
        name: &str,
        holder: &Holder,
        found: Option<&LeaseRecord>,
    ) -> Result<Option<Lease>, StoreError> {
        call!(self, take_lease(name, holder, found))
    }
    async fn renew_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        call!(self, renew_lease(lease))
    }
    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        call!(self, release_lease(lease))
    }
    async fn drop_lease(&self, found: &LeaseRecord) -> Result<(), StoreError> {
        call!(self, drop_lease(found))
    }
    fn is_gone(&self, record: &LeaseRecord) -> bool {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        self.faults.proves_death && record.holder.as_ref().is_some_and(|h| dead.contains(h))
    }
    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        call!(self, user(id))
    }
    async fn users(&self) -> Result<Vec<User>, StoreError> {
        call!(self, users())
    }
    async fn put_user(&self, user: &User) -> Result<bool, StoreError> {
        call!(self, put_user(user))
    }
    async fn remove_user(&self, id: &UserId) -> Result<(), StoreError> {
        call!(self, remove_user(id))
    }
    async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        call!(self, projects())
    }
    async fn put_project(&self, project: &Project) -> Result<bool, StoreError> {
        call!(self, put_project(project))
    }
    async fn remove_project(&self, id: &ProjectId) -> Result<(), StoreError> {
        call!(self, remove_project(id))
    }
    async fn usage(&self, of: &UsageOf, from: Day) -> Result<Vec<UsageSum>, StoreError> {
        call!(self, usage(of, from))
    }
    async fn usage_since(&self, from: Day) -> Result<Ledger, StoreError> {
        call!(self, usage_since(from))
    }
    async fn reset_usage(&self, of: &UsageOf) -> Result<(), StoreError> {
        call!(self, reset_usage(of))
    }
    async fn images(&self) -> Result<Vec<String>, StoreError> {
        call!(self, images())
    }
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        call!(self, notices(limit))
    }
    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError> {
        call!(self, notices_sent(ids))
    }
    async fn audit(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        call!(self, audit(records))
    }
    async fn audited(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError> {
        call!(self, audited(after, limit))
    }
    async fn pin(&self, notes: Vec<(String, Option<String>)>) -> Result<(), StoreError> {
        call!(self, pin(notes))
    }
    async fn pinned(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        call!(self, pinned(prefix))
    }
}
