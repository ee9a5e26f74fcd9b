//! An executor of futures on a virtual clock, with processes that can die and freeze.

use crate::rng::Rng;
use async_trait::async_trait;
use god_core::units::Timestamp;
use god_engine::world::{Clock, mix};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// A process of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proc(pub u32);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Slot {
    proc: Proc,
    work: Option<Work>,
}

#[derive(Default)]
struct Ready {
    ids: BTreeSet<usize>,
}

struct TaskWaker {
    id: usize,
    ready: Arc<Mutex<Ready>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).ids.insert(self.id);
    }
}

/// What the clock does with processes while faults are on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unrest {
    /// Probability of a crash after each turn of a process.
    pub crash: f64,
    /// Probability of a freeze after each turn of a process.
    pub freeze: f64,
}

struct Inner {
    now: Duration,
    rng: Rng,
    slots: Vec<Slot>,
    timers: BinaryHeap<Reverse<(Duration, u64)>>,
    wakers: BTreeMap<u64, Waker>,
    next_timer: u64,
    frozen: BTreeMap<Proc, Duration>,
    mortal: BTreeSet<Proc>,
    deaths: Vec<Proc>,
    unrest: Unrest,
    trace: u64,
    turns: u64,
    crashes: u64,
    freezes: u64,
}

/// The clock and all processes.
#[derive(Clone)]
pub struct Rt {
    inner: Arc<Mutex<Inner>>,
    ready: Arc<Mutex<Ready>>,
}

impl fmt::Debug for Rt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rt({:?})", self.now())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run that needs more turns than this spins without getting anywhere.
pub const MOST_TURNS: u64 = 300_000;

/// How a run of the clock ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The time was reached.
    Time,
    /// A process died; see [`Rt::deaths`].
    Death,
    /// It took more turns than anything sensible needs.
    Still,
}

impl Rt {
    /// A world at time zero.
    #[must_use]
    pub fn new(seed: u64) -> Rt {
        Rt {
            inner: Arc::new(Mutex::new(Inner {
                now: Duration::ZERO,
                rng: Rng::new(seed ^ 0x5eed),
                slots: Vec::new(),
                timers: BinaryHeap::new(),
                wakers: BTreeMap::new(),
                next_timer: 0,
                frozen: BTreeMap::new(),
                mortal: BTreeSet::new(),
                deaths: Vec::new(),
                unrest: Unrest::default(),
                trace: 0,
                turns: 0,
                crashes: 0,
                freezes: 0,
            })),
            ready: Arc::default(),
        }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        lock(&self.inner).now
    }

    /// A random number below `n`.
    #[must_use]
    pub fn below(&self, n: u64) -> u64 {
        lock(&self.inner).rng.below(n)
    }

    /// Whether something with this probability happens now.
    #[must_use]
    pub fn chance(&self, probability: f64) -> bool {
        lock(&self.inner).rng.chance(probability)
    }

    /// Adds a fact to the trace.
    pub fn trace(&self, fact: &str) {
        let mut inner = lock(&self.inner);
        let mut h = inner.trace ^ inner.now.as_micros() as u64;
        for byte in fact.bytes() {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.trace = mix(h);
    }

    /// The hash of all facts so far, turns, crashes and freezes.
    #[must_use]
    pub fn summary(&self) -> (u64, u64, u64, u64) {
        let inner = lock(&self.inner);
        (inner.trace, inner.turns, inner.crashes, inner.freezes)
    }

    /// Starts work in a process; `mortal` ones may be crashed and frozen.
    pub fn spawn(&self, proc: Proc, mortal: bool, work: impl Future<Output = ()> + Send + 'static) {
        let mut inner = lock(&self.inner);
        let id = inner.slots.len();
        inner.slots.push(Slot { proc, work: Some(Box::pin(work)) });
        if mortal {
            inner.mortal.insert(proc);
        }
        lock(&self.ready).ids.insert(id);
    }

    /// Ends a process between two instructions.
    pub fn kill(&self, proc: Proc) {
        let dropped: Vec<Work> = {
            let mut inner = lock(&self.inner);
            inner.frozen.remove(&proc);
            inner.slots.iter_mut().filter(|s| s.proc == proc).filter_map(|s| s.work.take()).collect()
        };
        drop(dropped);
    }

    /// Sets what befalls processes.
    pub fn set_unrest(&self, unrest: Unrest) {
        lock(&self.inner).unrest = unrest;
    }

    /// Processes that died since the last question.
    #[must_use]
    pub fn deaths(&self) -> Vec<Proc> {
        std::mem::take(&mut lock(&self.inner).deaths)
    }

    /// Waits.
    pub async fn sleep(&self, span: Duration) {
        let until = self.now() + span;
        let mut registered = false;
        std::future::poll_fn(|cx| {
            let mut inner = lock(&self.inner);
            if inner.now >= until {
                return Poll::Ready(());
            }
            if !registered {
                registered = true;
                let n = inner.next_timer;
                inner.next_timer += 1;
                inner.timers.push(Reverse((until, n)));
                inner.wakers.insert(n, cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    /// Lets everything happen up to a time, or to the next death.
    pub fn run_until(&self, end: Duration) -> Ended {
        loop {
            if !lock(&self.inner).deaths.is_empty() {
                return Ended::Death;
            }
            if lock(&self.inner).turns > MOST_TURNS {
                return Ended::Still;
            }
            let ids: Vec<usize> = lock(&self.ready).ids.iter().copied().collect();
            if ids.is_empty() {
                if !self.advance(end) {
                    return Ended::Time;
                }
                continue;
            }
            let id = ids[self.below(ids.len() as u64) as usize];
            lock(&self.ready).ids.remove(&id);
            self.turn(id);
        }
    }

    /// Moves the clock to the next timer; `false` when that is past `end` or there is none.
    fn advance(&self, end: Duration) -> bool {
        let mut inner = lock(&self.inner);
        let Some(Reverse((at, _))) = inner.timers.peek().copied() else {
            inner.now = end;
            return false;
        };
        if at > end {
            inner.now = end;
            return false;
        }
        inner.now = inner.now.max(at);
        let mut woken = Vec::new();
        while let Some(Reverse((t, n))) = inner.timers.peek().copied() {
            if t > inner.now {
                break;
            }
            inner.timers.pop();
            woken.extend(inner.wakers.remove(&n));
        }
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
        true
    }

    fn turn(&self, id: usize) {
        let (proc, mut work) = {
            let mut inner = lock(&self.inner);
            let proc = inner.slots[id].proc;
            if let Some(until) = inner.frozen.get(&proc).copied() {
                if inner.now < until {
                    // Looked at again when the process thaws.
                    let n = inner.next_timer;
                    inner.next_timer += 1;
                    inner.timers.push(Reverse((until, n)));
                    let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
                    inner.wakers.insert(n, waker);
                    return;
                }
                inner.frozen.remove(&proc);
            }
            inner.turns += 1;
            let Some(work) = inner.slots[id].work.take() else { return };
            (proc, work)
        };
        let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
        let pending = work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending();
        let mut inner = lock(&self.inner);
        if pending {
            inner.slots[id].work = Some(work);
        }
        if !inner.mortal.contains(&proc) {
            return;
        }
        let unrest = inner.unrest;
        if inner.rng.chance(unrest.crash) {
            inner.crashes += 1;
            inner.deaths.push(proc);
            drop(inner);
            self.kill(proc);
        } else if inner.rng.chance(unrest.freeze) {
            inner.freezes += 1;
            let span = Duration::from_millis(inner.rng.below(20_000));
            let until = inner.now + span;
            inner.frozen.insert(proc, until);
        }
    }
}

/// The clock of one process: its wall clock may jump, its monotonic one starts anywhere.
#[derive(Debug)]
pub struct SimClock {
    rt: Rt,
    base: Duration,
    wall_offset: Mutex<i64>,
}

impl SimClock {
    /// A clock of a process.
    #[must_use]
    pub fn new(rt: &Rt) -> SimClock {
        let base = Duration::from_secs(rt.below(1_000_000));
        SimClock { rt: rt.clone(), base, wall_offset: Mutex::new(0) }
    }

    /// Makes the wall clock jump by milliseconds.
    pub fn jump(&self, millis: i64) {
        *lock(&self.wall_offset) += millis;
    }
}

/// Wall time at virtual time zero.
pub const EPOCH: i64 = 1_700_000_000_000;

/// The true wall time.
#[must_use]
pub fn wall(now: Duration) -> Timestamp {
    Timestamp(EPOCH + now.as_millis() as i64)
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp(wall(self.rt.now()).0 + *lock(&self.wall_offset))
    }

    fn mono(&self) -> Duration {
        self.base + self.rt.now()
    }

    async fn sleep(&self, span: Duration) {
        self.rt.sleep(span).await;
    }
}
