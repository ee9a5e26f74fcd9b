//! The store: the only truth about tasks, users, usage and who leads.
//!
//! It speaks the domain in bulk and knows nothing of states' meaning: callers compute the next document with
//! [`crate::task::Task::after`], and [`Store::commit`] writes it only over the version it was made from.

use crate::BoxError;
pub use crate::audit::AuditRecord;
use crate::ids::{Holder, OpId, ProjectId, Rev, TaskId, UserId};
use crate::notice::{self, Moment};
use crate::query::{TaskPage, TaskQuery};
use crate::spec::TaskSpec;
use crate::state::Phase;
use crate::task::Task;
use crate::units::{Day, Timestamp};
use crate::usage::{Ledger, UsageRecord, UsageSum};
use crate::user::{Project, User};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A task to be stored for the first time.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// What to run; with an array it makes a parent, and ids for all children are set aside.
    pub spec: Arc<TaskSpec>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// The same owner and key give the same task again, never a second one, as long as that task is stored.
    pub idempotency: Option<String>,
    /// Pending tasks the owner and everybody may have after this submit, children counted; checked with the insert.
    pub limits: PendingLimits,
}

/// Limits of pending tasks, `None` is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PendingLimits {
    /// For the owner.
    pub per_user: Option<u64>,
    /// For all users together.
    pub all: Option<u64>,
}

/// What became of one submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// Stored, durable.
    New(TaskId),
    /// The idempotency key was seen before: the task it made then.
    Known(TaskId),
    /// A limit was reached; nothing was stored. The text names the limit.
    OverLimit(String),
}

/// What a change expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// This version.
    Rev(Rev),
    /// No document: the first write of an array's child. Its parent must not be over; while the end of the parent is
    /// wanted ([`Task::kill_wanted`]), only a child that is over itself may be written.
    Absent,
}

/// A mail or event to send once the transition it belongs to is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// `task.attempt.kind`: while a notice waits, the same one is not stored again.
    pub id: String,
    /// The task.
    pub task: TaskId,
    /// What to say, for the sender.
    pub body: serde_json::Value,
}

/// One transition: the next document with all that must be written in the same instant.
#[derive(Debug, Clone)]
pub struct Change {
    /// The document as it shall be; its `rev` is above the expected one, its `op` the writer's mark.
    pub task: Task,
    /// What must be there now.
    pub expect: Expect,
    /// Usage to book, once for each attempt.
    pub usage: Option<UsageRecord>,
    /// What is worth telling of it; notices are made of these where it is known what the site wants.
    pub moments: Vec<Moment>,
    /// Notices to send.
    pub notices: Vec<Notice>,
}

/// What became of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// Durable.
    Done,
    /// Something else is stored than was expected; nothing was written. Read again and decide again.
    Stale,
}

/// A lease that a process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is leased: `scheduler`, or `watcher/<holder>`.
    pub name: String,
    /// Who holds it.
    pub holder: Holder,
    /// Grows with every change of holder, by whatever step, also after the record was dropped in between. A write that
    /// carries an old epoch is refused.
    pub epoch: u64,
}

/// A lease as everybody can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    /// What is leased.
    pub name: String,
    /// Who holds it, `None` when it was given back.
    pub holder: Option<Holder>,
    /// Its epoch.
    pub epoch: u64,
    /// Grows with every renewal. A holder whose beat stands still for the time-to-live, measured on the observer's own
    /// monotonic clock, may be deposed.
    pub beat: u64,
}

/// Position in the sequence of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// One entry of the change sequence: what changed, not the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeNote {
    /// Its position.
    pub seq: Seq,
    /// The task.
    pub task: TaskId,
    /// Its array's parent.
    pub parent: Option<TaskId>,
    /// The phase it is in since.
    pub phase: Phase,
    /// Whether this change made it over; later ones (measured, archived, something asked) did not.
    pub ends: bool,
    /// Whether a request on it is open.
    pub wished: bool,
    /// Its version.
    pub rev: Rev,
}

/// Answer of [`Store::changes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// What came after, oldest first; empty when nothing did. Ask again from the last one's position.
    Notes(Vec<ChangeNote>),
    /// The sequence does not reach back that far, or ends before that position (a backup was put back): scan all
    /// active tasks, then go on from here.
    TooOld(Seq),
}

/// Which tasks a scan visits, in ascending order of id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// In one of these phases (not meant for the over ones).
    Phases(Vec<Phase>),
    /// Everything not over, of one owner or of all. Children without a document are not among them.
    Active(Option<UserId>),
    /// Children of an array that have a document.
    ChildrenOf(TaskId),
    /// Over, with an open request to archive or purge ([`Task::to_remove`]).
    ToRemove,
}

/// Which finished tasks a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OverFilter {
    /// Of this owner only.
    pub owner: Option<UserId>,
    /// Left out at the start.
    pub skip: usize,
    /// At most this many; `None` is all.
    pub limit: Option<usize>,
}

/// Number of tasks in each phase, by [`Phase::code`]; children of arrays without a document count as pending as long as
/// their parent is not over, and nowhere after that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts(pub [u64; Phase::ALL.len()]);

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer; a write may have been applied all the same: read again, the document's `op` tells.
    #[error("the store does not answer while {doing}")]
    Unreachable {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: BoxError,
    },
    /// The disk is full or read-only: nothing was written.
    #[error("the store can not write: {0}")]
    Full(String),
    /// The lease that the write carried is not held any more; nothing was written.
    #[error("lease {0} is lost")]
    Fenced(String),
    /// What is stored can not be read.
    #[error("the store holds something unreadable at {place}: {what}")]
    Corrupt {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
}

/// The state of the whole suite. Every method is safe to call from many processes at once.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    // --- tasks ---

    /// Stores new tasks and gives them ids; one answer each, in the same order. When this returns they are durable.
    ///
    /// # Errors
    /// [`StoreError`]; after `Unreachable` some may have been stored (idempotency keys make a retry safe).
    async fn submit(&self, batch: Vec<NewTask>) -> Result<Vec<Submitted>, StoreError>;

    /// The documents of these ids in the same order. A child of an array that was never written is made up from its
    /// parent (`rev` 0, pending).
    ///
    /// # Errors
    /// [`StoreError`].
    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<Task>>, StoreError>;

    /// A document in exactly this version, if this process happens to have it at hand: for those who follow the changes
    /// and are told of a version that was written here a moment ago. It is what [`Store::get`] would answer for that version.
    /// Asks nobody; `None` says nothing.
    fn at_hand(&self, _id: TaskId, _rev: Rev) -> Option<Task> {
        None
    }

    /// Writes each change whose expectation holds, all of them durable when this returns; one answer each. With a
    /// lease, nothing is written unless it is still held (checked in the same instant). A parent's `children`
    /// counters follow its children's changes in the same instant and need no change of their own; what a change
    /// carries in `children` is ignored. A parent can not be made over while a child with a document is not, and what is
    /// over stays over: such changes are stale. Changes are applied in their order, each sees those before it.
    /// Identity (parent, ordinal, owner, submit time) is what is stored, whatever a change carries. Of the
    /// specification only [`TaskSpec::fields`] may change, and not by a child, which shares its parent's.
    ///
    /// # Errors
    /// [`StoreError`]; `Fenced` when the lease is lost.
    async fn commit(&self, changes: Vec<Change>, lease: Option<&Lease>)
    -> Result<Vec<Committed>, StoreError>;

    /// Tasks with an id above `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn scan(&self, scan: &Scan, after: Option<TaskId>, limit: usize) -> Result<Vec<Task>, StoreError>;

    /// Finished tasks (archived ones too), the newest end first; at the same end the higher id.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn over(&self, filter: &OverFilter) -> Result<Vec<Task>, StoreError>;

    /// One page of the tasks that a query asks for, the highest id first, whatever their phase.
    ///
    /// Each call looks at a bounded number of tasks, so that a page costs the same however long the history is: when too
    /// few of them are asked for, the page is short and [`TaskPage::next`] goes on from there. Finished tasks are found
    /// without searching by owner, project, tag, parent, an outcome other than success, and the beginning of a name
    /// (unless tasks with very many different names begin like that). Ids are given in the order of submits: a store may
    /// rely on `submitted` growing with them, up to an hour.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find(&self, query: &TaskQuery) -> Result<TaskPage, StoreError>;

    /// Numbers of tasks by phase, of one owner or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn counts(&self, owner: Option<&UserId>) -> Result<Counts, StoreError>;

    /// Ordinals of an array's children that have a document, ascending, as ranges `start..end`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn made(&self, parent: TaskId) -> Result<Vec<std::ops::Range<u64>>, StoreError>;

    /// Removes a finished task's document (a parent's with its children's); the id is never used again. Does nothing
    /// for an unknown task, for one that is not over, and for a child alone, which goes with its parent. What was used
    /// stays booked.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn purge(&self, id: TaskId) -> Result<(), StoreError>;

    // --- what changed ---

    /// The changes after a position, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn changes(&self, since: Seq, limit: usize) -> Result<Changes, StoreError>;

    /// The position of the newest change.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn head(&self) -> Result<Seq, StoreError>;

    /// Returns as soon as the newest change is above `seq`, made by whatever process. May return early. Safe to drop.
    async fn rung(&self, seq: Seq);

    // --- leases ---

    /// All leases whose name begins with `prefix`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn leases(&self, prefix: &str) -> Result<Vec<LeaseRecord>, StoreError>;

    /// Takes a lease that nobody holds (`found` is `None` when there is no record), or deposes the holder found: only if
    /// the record still is as it was found, beat included. The epoch grows. `None` when somebody was faster.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take_lease(
        &self,
        name: &str,
        holder: &Holder,
        found: Option<&LeaseRecord>,
    ) -> Result<Option<Lease>, StoreError>;

    /// Adds a beat; `false` when the lease is not held any more.
    ///
    /// # Errors
    /// [`StoreError`]; the holder must count its time from before the call.
    async fn renew_lease(&self, lease: &Lease) -> Result<bool, StoreError>;

    /// Gives a lease back, if it is still held.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release_lease(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Removes a record whose holder is gone (still as it was found). Used for members that will not come back.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn drop_lease(&self, found: &LeaseRecord) -> Result<(), StoreError>;

    /// Whether the holder is provably dead, so that nobody needs to wait for its time-to-live.
    fn is_gone(&self, _record: &LeaseRecord) -> bool {
        false
    }

    // --- users, projects, usage ---

    /// One user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// All users by login.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn users(&self) -> Result<Vec<User>, StoreError>;

    /// Writes a user over the version it was read in (`rev` 0: must not exist yet); the stored one gets `rev + 1`.
    /// `false` when somebody was faster.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_user(&self, user: &User) -> Result<bool, StoreError>;

    /// Removes a user's record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_user(&self, id: &UserId) -> Result<(), StoreError>;

    /// All projects by name.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn projects(&self) -> Result<Vec<Project>, StoreError>;

    /// Writes a project like [`Store::put_user`] does a user.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_project(&self, project: &Project) -> Result<bool, StoreError>;

    /// Removes a project's record.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn remove_project(&self, id: &ProjectId) -> Result<(), StoreError>;

    /// Sums of each day from `from` on that has any, of a user or of a project.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn usage(&self, of: &UsageOf, from: Day) -> Result<Vec<UsageSum>, StoreError>;

    /// What everybody used from a day on, and what of it still fills the disk: sums, read in one go.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn usage_since(&self, from: Day) -> Result<Ledger, StoreError>;

    /// The usage counted so far of a user or project no longer counts. What its files fill on the disk still does.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn reset_usage(&self, of: &UsageOf) -> Result<(), StoreError>;

    /// Images that tasks which ended without a fault have used.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn images(&self) -> Result<Vec<String>, StoreError>;

    // --- notices, audit trail and board ---

    /// Notices not yet acknowledged, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError>;

    /// Acknowledges notices.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError>;

    /// Adds acts to the audit trail, in this order; they are durable when this returns and are never changed.
    ///
    /// # Errors
    /// [`StoreError`]; after `Unreachable` they may have been added.
    async fn audit(&self, records: &[AuditRecord]) -> Result<(), StoreError>;

    /// Acts with a number above `after`, oldest first, at most `limit`. Numbers grow and are never used again.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn audited(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, AuditRecord)>, StoreError>;

    /// Writes small texts that processes show each other (nodes, reasons, maintenance); `None` removes. Not a change of
    /// any task, rings no bell.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn pin(&self, notes: Vec<(String, Option<String>)>) -> Result<(), StoreError>;

    /// All texts whose key begins with `prefix`, by key.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn pinned(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError>;
}

/// Whose usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageOf {
    /// A user's.
    User(UserId),
    /// A project's.
    Project(ProjectId),
}

impl Change {
    /// A change of one task from the version that was read, with its usage and the writer's mark.
    #[must_use]
    pub fn of(before: &Task, mut after: Task, op: OpId) -> Change {
        let usage = before.usage_of(&after);
        let moments = notice::moments(before, &after);
        after.op = op;
        let expect = if before.rev == Rev(0) && before.parent.is_some() {
            Expect::Absent
        } else {
            Expect::Rev(before.rev)
        };
        Change { task: after, expect, usage, moments, notices: Vec::new() }
    }
}
