//! Builders and short verbs for the checks; the builders serve a store's own tests as well. Every panic here is a
//! failed check.

use super::Wanted;
use god_core::executor::Cause;
use god_core::spec::{Output, Owner};
use god_core::state::{Ask, Attempt};
use god_core::store::{Change, Changes, Committed, NewTask, Notice, PendingLimits, Seq, Store, Submitted};
use god_core::{
    Cores, Event, ExecutorName, Exit, NodeName, OpId, ProjectId, RunRef, Task, TaskId, TaskSpec, Timestamp,
    UserId,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// 2026-01-01 00:00:00 UTC.
pub const START: i64 = 1_767_225_600_000;

/// One store with a clock that moves a second with each question, and marks that never repeat.
pub(super) struct Kit {
    pub(super) store: Arc<dyn Store>,
    clock: AtomicI64,
    ops: AtomicU64,
}

pub(super) async fn kit(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) -> Kit {
    kit_with(make, Wanted::default()).await
}

pub(super) async fn kit_with(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>, wanted: Wanted) -> Kit {
    Kit { store: make(wanted).await, clock: AtomicI64::new(START), ops: AtomicU64::new(1) }
}

/// A login.
#[must_use]
pub fn user(name: &str) -> UserId {
    UserId::new(name)
}

/// A specification in which every field that a store could lose holds something.
///
/// # Panics
/// When `array` is no array.
#[must_use]
pub fn spec(owner: &str, array: Option<&str>) -> TaskSpec {
    TaskSpec {
        owner: Owner {
            id: user(owner),
            uid: 1001,
            gid: 1002,
            sgids: vec![1002, 7],
            email: Some("someone@example.org".into()),
            home: Some("/home/someone".into()),
            project: ProjectId::new("default"),
            guest: None,
        },
        name: "a name with ünïcode \u{1F980} and 'quotes\"".into(),
        description: "two\nlines".into(),
        tags: vec!["one".into(), "two".into()],
        cores: Cores(3),
        ram: 4,
        gpus: 1,
        array: array.map(|text| text.parse().expect("a good array")),
        labels: vec!["disk==ssd".into()],
        after: vec![TaskId(77)],
        after_policy: god_core::spec::AfterPolicy::Ok,
        ports: vec![22, 8080],
        network: "public".into(),
        executor: Some("local".into()),
        failure_policy: 2,
        tmp_storage: Some("10g".into()),
        uris: vec!["https://example.org/data".into()],
        time_limit: Some(god_core::Seconds(3600)),
        fields: BTreeMap::from([("colour".to_owned(), "blue".to_owned())]),
        image: "centos:7".into(),
        volumes: Vec::new(),
        root: false,
        interactive: true,
        script: "#!/bin/sh\nprintf '\\0%s' \"$1\"\n".into(),
        notify_email: true,
        output: Output::None,
        quotas: [0.0, 1.5, 2.0, 3.0, 0.25, 1e12],
    }
}

/// A submit of it without key and limits.
#[must_use]
pub fn new_task(spec: TaskSpec) -> NewTask {
    NewTask {
        spec: Arc::new(spec),
        submitted: Timestamp(START),
        idempotency: None,
        limits: PendingLimits::default(),
    }
}

/// An attempt with this number.
#[must_use]
pub fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        executor: ExecutorName::new("local"),
        node: NodeName::new("node-1"),
        ports: vec![god_core::executor::PortPair { host: 30_000, container: 22 }],
        epoch: 3,
        claimed: Timestamp(START + 5),
    }
}

/// The end of a run by itself with this exit code.
#[must_use]
pub fn exit(code: i32, started: Timestamp, ended: Timestamp) -> Exit {
    Exit {
        cause: Cause::Code(code),
        by_request: false,
        started: Some(started),
        ended,
        cpu_us: 12_345,
        max_rss: god_core::Bytes(1 << 20),
    }
}

pub(super) fn notice(id: &str, task: TaskId) -> Notice {
    Notice { id: id.to_owned(), task, body: serde_json::json!({ "what": id, "n": [1, 2.5, null] }) }
}

impl Kit {
    /// The next second.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp(self.clock.fetch_add(1000, Ordering::Relaxed) + 1000)
    }

    /// A mark that no other write of this kit carries.
    pub(super) fn op(&self) -> OpId {
        // The upper half of the range must survive as well.
        OpId(self.ops.fetch_add(1, Ordering::Relaxed) | 1 << 63)
    }

    pub(super) async fn submit(&self, spec: TaskSpec) -> TaskId {
        let answers = self.store.submit(vec![new_task(spec)]).await.expect("submits");
        let [Submitted::New(id)] = answers[..] else { panic!("a new task: {answers:?}") };
        id
    }

    pub(super) async fn find(&self, id: TaskId) -> Option<Task> {
        let mut found = self.store.get(&[id]).await.expect("reads");
        assert_eq!(found.len(), 1, "one answer for each id");
        found.remove(0)
    }

    pub(super) async fn get(&self, id: TaskId) -> Task {
        self.find(id).await.unwrap_or_else(|| panic!("task {id} exists"))
    }

    pub(super) fn change(&self, before: &Task, after: Task) -> Change {
        Change::of(before, after, self.op())
    }

    pub(super) fn event(&self, before: &Task, event: &Event) -> Change {
        let after = before.after(event, self.now()).expect("a move that the state allows");
        self.change(before, after)
    }

    pub(super) async fn commit(&self, changes: Vec<Change>) -> Vec<Committed> {
        let n = changes.len();
        let answers = self.store.commit(changes, None).await.expect("commits");
        assert_eq!(answers.len(), n, "one answer for each change");
        answers
    }

    pub(super) async fn commit_one(&self, change: Change) -> Committed {
        self.commit(vec![change]).await[0]
    }

    /// Moves a task and reads it back.
    pub(super) async fn step(&self, id: TaskId, event: &Event) -> Task {
        let before = self.get(id).await;
        let change = self.event(&before, event);
        assert_eq!(self.commit_one(change).await, Committed::Done, "{} of task {id}", event.label());
        self.get(id).await
    }

    /// Asks something of a task and reads it back.
    pub(super) async fn ask(&self, id: TaskId, ask: Ask) -> Task {
        let before = self.get(id).await;
        let after = before.asked(ask, Some("because"), self.now()).expect("the request changes something");
        let change = self.change(&before, after);
        assert_eq!(self.commit_one(change).await, Committed::Done, "{ask:?} of task {id}");
        self.get(id).await
    }

    pub(super) async fn start(&self, id: TaskId) -> Task {
        let number = self.get(id).await.attempts + 1;
        self.step(id, &Event::Claimed(attempt(number))).await;
        let started = Event::Started { run: Some(RunRef::new("run-1")), since: self.now() };
        self.step(id, &started).await
    }

    /// Runs a task to its end with this exit code.
    pub(super) async fn finish(&self, id: TaskId, code: i32) -> Task {
        self.start(id).await;
        let exit = exit(code, self.now(), self.now());
        self.step(id, &Event::Ended(exit)).await
    }

    /// All changes after a position.
    pub(super) async fn notes(&self, since: Seq) -> Vec<god_core::store::ChangeNote> {
        match self.store.changes(since, 10_000).await.expect("reads") {
            Changes::Notes(notes) => notes,
            Changes::TooOld(head) => panic!("nothing was cut off yet, and the head is {head:?}"),
        }
    }

    pub(super) async fn head(&self) -> Seq {
        self.store.head().await.expect("reads")
    }

    /// Number of tasks in a phase, of one owner or of all.
    pub(super) async fn count(&self, owner: Option<&str>, phase: god_core::state::Phase) -> u64 {
        let owner = owner.map(user);
        let counts = self.store.counts(owner.as_ref()).await.expect("reads");
        counts.0[usize::from(phase.code())]
    }
}
