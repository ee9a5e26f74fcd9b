//! What the engine is given: store, executors, policy, time, chance, and its settings.

use async_trait::async_trait;
use god_core::executor::Executor;
use god_core::ids::{ExecutorName, Holder, OpId};
use god_core::policy::Policy;
use god_core::store::Store;
use god_core::units::{Bytes, Seconds, Timestamp};
use god_core::watcher::WatcherPlugin;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Time, real or virtual.
#[async_trait]
pub trait Clock: fmt::Debug + Send + Sync {
    /// The wall clock, for what people read and for accounting.
    fn now(&self) -> Timestamp;
    /// A clock that never jumps, for deadlines; its zero is any.
    fn mono(&self) -> Duration;
    /// Waits.
    async fn sleep(&self, span: Duration);
}

/// Numbers that make writes recognisable: unique for a process, and across processes with overwhelming odds.
#[derive(Debug)]
pub struct Ops {
    seed: u64,
    count: AtomicU64,
}

impl Ops {
    /// From a random seed.
    #[must_use]
    pub fn new(seed: u64) -> Ops {
        Ops { seed, count: AtomicU64::new(0) }
    }

    /// The next mark.
    pub fn next(&self) -> OpId {
        OpId(mix(self.seed ^ mix(self.count.fetch_add(1, Ordering::Relaxed))))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that spreads every bit.
#[must_use]
pub fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Times and limits of the loops.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Life of a lease without renewal.
    pub lease_ttl: Duration,
    /// How often a standby looks whether the leader is gone.
    pub standby_poll: Duration,
    /// The safety net: how often documents and world are compared.
    pub reconcile: Duration,
    /// How often nodes are asked for again.
    pub nodes_refresh: Duration,
    /// How long a running attempt must be seen absent before it counts as lost.
    pub absent_grace: Duration,
    /// How long a claimed attempt may be absent before its latch is asked whether it will ever run.
    pub starting_grace: Duration,
    /// How long an unknown run of ours is left alone before it is killed.
    pub orphan_grace: Duration,
    /// Time between the polite and the hard signal of a kill.
    pub kill_grace: Seconds,
    /// How long a kill, pause or resume is given before it is tried again.
    pub retry: Duration,
    /// Most tasks claimed in one commit.
    pub claim_batch: usize,
    /// Runs shorter than this make the scheduler grant starts ahead of room.
    pub short_run: Duration,
    /// While much happens, how long a loop gathers between two turns.
    pub busy_pace: Duration,
    /// While many tasks start, how long a start may stay unwritten in the hope of its end.
    pub start_hold: Duration,
    /// Days that usage counts, today among them.
    pub usage_days: u32,
    /// Most that the job directories of one user may hold.
    pub disk_quota: Option<Bytes>,
    /// How long the best task that does not fit waits before room is kept for it.
    pub keep_after: Duration,
    /// How long a task waits before it is tried out of order now and then.
    pub overdue_after: Duration,
    /// Whether a task is not placed again on a node that lost it, as long as there are others.
    pub skip_failed_nodes: bool,
    /// Ports to give to tasks.
    pub ports: std::ops::Range<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            lease_ttl: Duration::from_secs(6),
            standby_poll: Duration::from_millis(250),
            reconcile: Duration::from_secs(10),
            nodes_refresh: Duration::from_secs(5),
            absent_grace: Duration::from_secs(5),
            starting_grace: Duration::from_secs(20),
            orphan_grace: Duration::from_secs(15),
            kill_grace: Seconds(10),
            retry: Duration::from_secs(2),
            claim_batch: 256,
            short_run: Duration::from_millis(250),
            busy_pace: Duration::from_millis(25),
            start_hold: Duration::from_millis(50),
            usage_days: 30,
            disk_quota: None,
            keep_after: Duration::from_secs(60),
            overdue_after: Duration::from_secs(3600),
            skip_failed_nodes: false,
            ports: 10_000..11_000,
        }
    }
}

/// Everything a loop needs.
#[derive(Debug, Clone)]
pub struct World {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The configured executors; the first is the default.
    pub executors: Vec<Arc<dyn Executor>>,
    /// Have a say in starts and runs.
    pub watchers: Vec<Arc<dyn WatcherPlugin>>,
    /// The order of pending tasks.
    pub policy: Arc<dyn Policy>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Marks of writes.
    pub ops: Arc<Ops>,
    /// Times and limits.
    pub settings: Settings,
    /// Name of this process for its leases.
    pub holder: Holder,
}

impl World {
    /// The executor of this name.
    #[must_use]
    pub fn executor(&self, name: &ExecutorName) -> Option<&Arc<dyn Executor>> {
        self.executors.iter().find(|e| e.name() == name)
    }
}
