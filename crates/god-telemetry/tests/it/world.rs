//! A store whose tasks are moved by hand, and the sender beside it.

use god_core::executor::{Cause, Exit};
use god_core::ids::{ExecutorName, NodeName, OpId};
use god_core::notice::Rules;
use god_core::spec::TaskSpec;
use god_core::state::{Attempt, Event};
use god_core::store::{Change, Committed, NewTask, PendingLimits, Store, Submitted};
use god_core::user::User;
use god_core::{Bytes, Task, TaskId, Timestamp, UserId};
use god_store::MemoryStore;
use god_telemetry::outbox::Channel;
use god_telemetry::{Noting, Outbox};
use god_testkit::build;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// When everything was submitted: a time that services find believable.
pub const SUBMITTED: i64 = 1_700_000_000_000;

pub struct World {
    pub store: Arc<dyn Store>,
    op: AtomicU64,
}

/// The sender; it stops when this is dropped.
pub struct Sending(JoinHandle<()>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl World {
    pub fn new() -> World {
        let rules = Rules { mail: true, live: true, usage: true, flow: true };
        World { store: Noting::over(Arc::new(MemoryStore::new()), rules), op: AtomicU64::new(1) }
    }

    pub fn send(&self, channels: Vec<Arc<dyn Channel>>) -> Sending {
        let outbox = Outbox::new(Arc::clone(&self.store), channels);
        Sending(tokio::spawn(async move { outbox.run(Arc::new(|| true), std::future::pending()).await }))
    }

    /// Until nothing waits to be sent.
    pub async fn sent(&self) {
        god_testkit::until(Duration::from_secs(30), "everything is sent", async || {
            self.store.notices(1).await.expect("reads").is_empty().then_some(())
        })
        .await;
    }

    pub async fn user(&self, login: &str, email: &str) {
        let user = serde_json::json!({"id": login, "type": "local", "uid": 1, "gid": 1, "email": email});
        let user: User = serde_json::from_value(user).expect("a user");
        assert!(self.store.put_user(&user).await.expect("writes"));
    }

    pub async fn submit(&self, change: impl FnOnce(&mut TaskSpec)) -> Task {
        let mut spec = build::spec(build::owner(1000, 1000), "true");
        spec.owner.id = UserId::new("bob");
        spec.notify_email = true;
        change(&mut spec);
        let new = NewTask {
            spec: Arc::new(spec),
            submitted: Timestamp(SUBMITTED),
            idempotency: None,
            limits: PendingLimits::default(),
        };
        let Some(Submitted::New(id)) = self.store.submit(vec![new]).await.expect("writes").pop() else {
            panic!("not submitted")
        };
        self.task(id).await
    }

    pub async fn task(&self, id: TaskId) -> Task {
        self.store.get(&[id]).await.expect("reads").pop().flatten().expect("it is stored")
    }

    /// Moves a task, one write for each event; the task as it is then.
    pub async fn happen(&self, task: &Task, events: &[Event]) -> Task {
        let mut task = task.clone();
        for event in events {
            let next = task.after(event, Timestamp(SUBMITTED + 9000)).expect("a legal move");
            let op = OpId(self.op.fetch_add(1, Ordering::Relaxed));
            let written = self.store.commit(vec![Change::of(&task, next, op)], None).await.expect("writes");
            assert_eq!(written, [Committed::Done]);
            task = self.task(task.id).await;
        }
        task
    }

    /// From its claim to its end with this code, five seconds after its start.
    pub async fn live(&self, task: &Task, code: i32) -> Task {
        let claim = Event::Claimed(Attempt {
            number: 1,
            executor: ExecutorName::new("local"),
            node: NodeName::new("n"),
            ports: Vec::new(),
            epoch: 1,
            claimed: Timestamp(SUBMITTED + 1000),
        });
        let started = Timestamp(SUBMITTED + 2000);
        let ended = Event::Ended(Exit {
            cause: Cause::Code(code),
            by_request: false,
            started: Some(started),
            ended: Timestamp(SUBMITTED + 7000),
            cpu_us: 0,
            max_rss: Bytes(0),
        });
        self.happen(task, &[claim, Event::Started { run: None, since: started }, ended]).await
    }
}
