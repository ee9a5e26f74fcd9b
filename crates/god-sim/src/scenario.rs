//! One run: a world from a seed, clients that submit and ask, faults for a while, then quiet.

use crate::check::{self, Verdict};
use crate::engine::{Engine, EngineFaults, SimExecutor, Truth};
use crate::rng::Rng;
use crate::rt::{Ended, MOST_TURNS, Proc, Rt, SimClock, Unrest, wall};
use crate::store::{SimStore, StoreFaults};
use futures::FutureExt;
use god_core::array::ArraySpec;
use god_core::ids::{Holder, ProjectId, TaskId, UserId};
use god_core::spec::{AfterPolicy, Output, Owner, TaskSpec};
use god_core::state::Ask;
use god_core::store::{NewTask, PendingLimits, Store, Submitted};
use god_core::units::{Cores, Seconds};
use god_core::user::User;
use god_engine::ask::{Asked, ask};
use god_engine::flaw::{self, Flaw};
use god_engine::lease::{self, Tenure};
use god_engine::scheduler::Scheduler;
use god_engine::signal::Signal;
use god_engine::watcher::Watcher;
use god_engine::world::{Clock, Ops, Settings, World};
use god_store::MemoryStore;
use policy_fairshare::FairShare;
use policy_fifo::FiFo;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Schedulers.
    pub schedulers: u32,
    /// Watchers.
    pub watchers: u32,
    /// Clients.
    pub clients: u32,
    /// Tasks each client submits.
    pub tasks: u32,
    /// How long faults last.
    pub faulty: Duration,
    /// How long it may take afterwards until all is over.
    pub quiet: Duration,
    /// Nobody dies, but all lose their senses again and again for longer than a lease lives: what a process still knows
    /// when it takes its lease again is tried here, which a crash would wipe out.
    pub faints: bool,
    /// Whether the policy is the one of fair shares, else who came first goes first.
    pub fair: bool,
    /// Cores that each client may use, all attempts together; `None` is any number.
    pub quota: Option<u32>,
    /// A known mistake to switch on.
    pub flaw: Option<Flaw>,
}

impl Plan {
    /// The usual plan for a seed.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::new(seed ^ 0x91a4);
        let faints = seed % 7 == 3;
        let schedulers = 1 + rng.below(3) as u32;
        Plan {
            seed,
            schedulers: if faints { 1 } else { schedulers },
            faints,
            watchers: 1 + rng.below(4) as u32,
            clients: 1 + rng.below(2) as u32,
            tasks: 2 + rng.below(5) as u32,
            faulty: Duration::from_secs(20 + rng.below(40)),
            quiet: Duration::from_secs(1500),
            fair: seed.is_multiple_of(2),
            quota: rng.chance(0.4).then(|| 3 + rng.below(25) as u32),
            flaw: None,
        }
    }
}

/// What a client was told.
#[derive(Debug, Default)]
pub struct Client {
    /// Acknowledged submits with what was asked for.
    pub submitted: BTreeMap<TaskId, Arc<TaskSpec>>,
    /// Acknowledged kills.
    pub killed: Vec<TaskId>,
    /// Whether it has nothing more to ask.
    pub done: bool,
}

/// The kinds of processes that come back after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scheduler,
    Watcher,
}

struct Stage {
    rt: Rt,
    rng: Rng,
    plan: Plan,
    store: Arc<MemoryStore>,
    truth: Arc<Truth>,
    engine: Arc<Engine>,
    quiet: Arc<AtomicBool>,
    dead: Arc<Mutex<Vec<Holder>>>,
    store_faults: StoreFaults,
    engine_faults: EngineFaults,
    procs: BTreeMap<Proc, (Kind, Holder)>,
    clocks: Vec<Arc<SimClock>>,
    next_proc: u32,
}

/// Runs one plan and judges it.
#[must_use]
pub fn run(plan: &Plan) -> Verdict {
    set_flaw(plan.flaw);
    let mut rng = Rng::new(plan.seed);
    // Each kind of fault is absent in some runs, so that a fault does not hide what another one shows.
    let mut level = |most: f64| if rng.chance(0.3) { 0.0 } else { most * (rng.below(1000) as f64 / 1000.0) };
    let store_faults = StoreFaults {
        delay_ms: 5 + level(400.0) as u64,
        refuse: level(0.05),
        lose_reply: level(0.05),
        proves_death: plan.seed.is_multiple_of(2),
    };
    let engine_faults = EngineFaults {
        delay_ms: 5 + level(1500.0) as u64,
        fail: level(0.4),
        lose_reply: level(0.2),
        late: level(0.1),
        lose_event: level(0.5),
        stale: level(0.2),
    };
    let unrest = Unrest { crash: level(0.004), freeze: level(0.002) };
    let unrest = if plan.faints { Unrest { crash: 0.0, freeze: 0.01 } } else { unrest };
    let restarts = level(1.0);
    let rt = Rt::new(plan.seed);
    let truth = Arc::new(Truth::new(&rt));
    let engine = Engine::new(&rt, Proc(0), Arc::clone(&truth), 4);
    let mut stage = Stage {
        rt: rt.clone(),
        rng,
        plan: plan.clone(),
        store: Arc::new(MemoryStore::keeping(60)),
        truth: Arc::clone(&truth),
        engine: Arc::clone(&engine),
        quiet: Arc::new(AtomicBool::new(false)),
        dead: Arc::default(),
        store_faults,
        engine_faults,
        procs: BTreeMap::new(),
        clocks: Vec::new(),
        next_proc: 1,
    };
    for _ in 0..plan.schedulers {
        stage.start(Kind::Scheduler);
    }
    for _ in 0..plan.watchers {
        stage.start(Kind::Watcher);
    }
    if let Some(cores) = plan.quota {
        (0..plan.clients).for_each(|n| stage.limit(n, cores));
    }
    let clients: Vec<_> = (0..plan.clients).map(|n| stage.start_client(n)).collect();
    rt.set_unrest(unrest);
    stage.live(plan.faulty, restarts);
    rt.set_unrest(Unrest::default());
    stage.quiet.store(true, Ordering::Relaxed);
    truth.facts().quiet_since = Some(rt.now());
    stage.settle(plan.quiet, &clients);
    let clients: Vec<_> = clients
        .into_iter()
        .map(|c| std::mem::take(&mut *c.lock().unwrap_or_else(PoisonError::into_inner)))
        .collect();
    let verdict = check::judge(plan, &rt, &stage.store, &truth, &engine, &clients);
    set_flaw(None);
    verdict
}

fn set_flaw(flaw: Option<Flaw>) {
    flaw::set(flaw);
}

fn settings() -> Settings {
    Settings { kill_grace: Seconds(3), ports: 10_000..10_004, claim_batch: 8, ..Settings::default() }
}

impl Stage {
    fn handle(&self) -> Arc<SimStore> {
        Arc::new(SimStore::new(
            Arc::clone(&self.store),
            Arc::clone(&self.truth),
            self.rt.clone(),
            self.store_faults,
            Arc::clone(&self.quiet),
            Arc::clone(&self.dead),
        ))
    }

    fn start(&mut self, kind: Kind) {
        let proc = Proc(self.next_proc);
        self.next_proc += 1;
        let holder = Holder::new(format!("{kind:?}-{}", proc.0));
        let clock = Arc::new(SimClock::new(&self.rt));
        let executor = SimExecutor::new(&self.engine, proc, self.engine_faults, Arc::clone(&self.quiet));
        let world = Arc::new(World {
            store: self.handle(),
            executors: vec![Arc::new(executor)],
            watchers: Vec::new(),
            policy: if self.plan.fair { Arc::new(FairShare::default()) } else { Arc::new(FiFo) },
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ops: Arc::new(Ops::new(self.rng.draw())),
            settings: settings(),
            holder: holder.clone(),
        });
        let tenure = Arc::new(Tenure::default());
        let lease_name = match kind {
            Kind::Scheduler => lease::SCHEDULER.to_owned(),
            Kind::Watcher => format!("{}{holder}", lease::WATCHERS),
        };
        {
            let (world, tenure) = (Arc::clone(&world), Arc::clone(&tenure));
            self.rt.spawn(proc, true, async move { lease::hold(&world, &lease_name, &tenure).await });
        }
        self.rt.spawn(proc, true, async move {
            let (stop, beat) = (Signal::default(), Signal::default());
            match kind {
                Kind::Scheduler => Scheduler::new(&world, &tenure, &stop, &beat).run().await,
                Kind::Watcher => Watcher::new(&world, &tenure, &stop, &beat).run().await,
            }
        });
        self.clocks.push(clock);
        self.procs.insert(proc, (kind, holder));
    }

    /// The time of faults.
    fn live(&mut self, span: Duration, restarts: f64) {
        let end = self.rt.now() + span;
        let mut comebacks: Vec<(Duration, Kind)> = Vec::new();
        while self.rt.now() < end && self.rt.summary().1 <= MOST_TURNS {
            let step = self.rt.now() + Duration::from_millis(500);
            let next = comebacks.iter().map(|(at, _)| *at).min().unwrap_or(end).min(step).min(end);
            let ended = self.rt.run_until(next);
            for proc in self.rt.deaths() {
                if let Some((kind, holder)) = self.procs.remove(&proc) {
                    self.dead.lock().unwrap_or_else(PoisonError::into_inner).push(holder);
                    comebacks.push((self.rt.now() + Duration::from_millis(self.rng.below(6000)), kind));
                }
            }
            let now = self.rt.now();
            let due: Vec<Kind> = comebacks.iter().filter(|(at, _)| *at <= now).map(|(_, k)| *k).collect();
            comebacks.retain(|(at, _)| *at > now);
            due.into_iter().for_each(|kind| self.start(kind));
            if ended == Ended::Time {
                if self.rng.chance(restarts * 0.02) {
                    self.engine.restart();
                }
                if self.rng.chance(0.02) {
                    let which = self.rng.below(self.clocks.len() as u64) as usize;
                    self.clocks[which].jump(self.rng.below(7_200_000) as i64 - 3_600_000);
                }
            }
        }
        comebacks.into_iter().for_each(|(_, kind)| self.start(kind));
    }

    /// The quiet time: until all is over and nothing is left, or the patience ends.
    fn settle(&mut self, patience: Duration, clients: &[Arc<Mutex<Client>>]) {
        let end = self.rt.now() + patience;
        while self.rt.now() < end {
            if self.rt.summary().1 > MOST_TURNS {
                self.truth.breach("I18", "the loops spin without getting anywhere");
                return;
            }
            self.rt.run_until(self.rt.now() + Duration::from_secs(5));
            let done = |c: &Arc<Mutex<Client>>| c.lock().unwrap_or_else(PoisonError::into_inner).done;
            if clients.iter().all(done) && check::is_still(&self.store, &self.engine) {
                // Time for the last leftovers to be found.
                self.rt.run_until(self.rt.now() + Duration::from_secs(30));
                return;
            }
        }
    }

    /// Gives a client a quota of cores.
    fn limit(&self, n: u32, cores: u32) {
        let id = login(n);
        let record = serde_json::json!({
            "id": id, "type": "sim", "uid": 1000, "gid": 1000, "prio": 40 + 10 * n, "quotas": [0, cores, 0],
        });
        let user: User = serde_json::from_value(record).expect("all that a record needs");
        let stored = self.store.put_user(&user).now_or_never();
        assert!(matches!(stored, Some(Ok(true))), "the store in memory answers at once: {stored:?}");
        self.truth.facts().quotas.insert(id, u64::from(cores));
    }

    fn start_client(&mut self, n: u32) -> Arc<Mutex<Client>> {
        let proc = Proc(self.next_proc);
        self.next_proc += 1;
        let record: Arc<Mutex<Client>> = Arc::default();
        let driver = Driver {
            rt: self.rt.clone(),
            rng: Rng::new(self.rng.draw()),
            store: self.handle(),
            raw: Arc::clone(&self.store),
            truth: Arc::clone(&self.truth),
            record: Arc::clone(&record),
            ops: Ops::new(self.rng.draw()),
            n,
            tasks: self.plan.tasks,
        };
        self.rt.spawn(proc, false, driver.run());
        record
    }
}

/// The login of a client.
fn login(n: u32) -> UserId {
    UserId::new(format!("user{n}"))
}

/// A client: retries until it is told that its request is stored.
struct Driver {
    rt: Rt,
    rng: Rng,
    store: Arc<SimStore>,
    raw: Arc<MemoryStore>,
    truth: Arc<Truth>,
    record: Arc<Mutex<Client>>,
    ops: Ops,
    n: u32,
    tasks: u32,
}

impl Driver {
    async fn run(mut self) {
        let mut mine: Vec<TaskId> = Vec::new();
        for k in 0..self.tasks {
            self.nap(4000).await;
            let spec = self.spec(&mine);
            let id = self.submit(Arc::clone(&spec), k).await;
            self.note(|r| {
                r.submitted.insert(id, spec);
            });
            mine.push(id);
            if self.rng.chance(0.5) {
                self.nap(6000).await;
                let victim = mine[self.rng.below(mine.len() as u64) as usize];
                self.bother(victim).await;
            }
        }
        self.note(|r| r.done = true);
    }

    fn note(&self, what: impl FnOnce(&mut Client)) {
        what(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn nap(&mut self, most_ms: u64) {
        let span = Duration::from_millis(self.rng.below(most_ms));
        self.rt.sleep(span).await;
    }

    fn spec(&mut self, earlier: &[TaskId]) -> Arc<TaskSpec> {
        let millis = if self.rng.chance(0.3) { self.rng.below(20) } else { self.rng.below(8000) };
        let exit = if self.rng.chance(0.2) { 3 } else { 0 };
        let stubborn = if self.rng.chance(0.2) { " stubborn" } else { "" };
        let array = self.rng.chance(0.3).then(|| ArraySpec {
            first: 1,
            last: 1 + self.rng.below(6) as i64,
            step: 1,
            limit: self.rng.chance(0.3).then_some(2),
        });
        // Some run so long that only a kill ends them in good time.
        let millis = if array.is_none() && self.rng.chance(0.1) { 150_000 } else { millis };
        let after = match earlier {
            [.., last] if self.rng.chance(0.2) => vec![*last],
            _ => Vec::new(),
        };
        Arc::new(TaskSpec {
            owner: Owner {
                id: login(self.n),
                uid: 1000,
                gid: 1000,
                sgids: Vec::new(),
                email: None,
                home: None,
                project: ProjectId::new("default"),
                guest: None,
            },
            name: "t".into(),
            description: String::new(),
            tags: Vec::new(),
            cores: Cores(1 + self.rng.below(3) as u32),
            ram: 1,
            gpus: 0,
            array,
            labels: Vec::new(),
            after,
            after_policy: if self.rng.chance(0.3) { AfterPolicy::Ok } else { AfterPolicy::Any },
            ports: if self.rng.chance(0.3) { vec![80] } else { Vec::new() },
            network: "public".into(),
            executor: None,
            failure_policy: self.rng.below(3) as u32,
            tmp_storage: None,
            uris: Vec::new(),
            time_limit: None,
            fields: BTreeMap::new(),
            image: "image".into(),
            volumes: Vec::new(),
            root: false,
            interactive: false,
            script: format!("{millis} {exit}{stubborn}"),
            notify_email: false,
            output: Output::None,
            quotas: [0.0; 6],
        })
    }

    async fn submit(&mut self, spec: Arc<TaskSpec>, k: u32) -> TaskId {
        loop {
            let new = NewTask {
                spec: Arc::clone(&spec),
                submitted: wall(self.rt.now()),
                idempotency: Some(format!("key{k}")),
                limits: PendingLimits::default(),
            };
            let answer = self.store.submit(vec![new]).await;
            match answer.ok().and_then(|mut a| a.pop()) {
                Some(Submitted::New(id) | Submitted::Known(id)) => return id,
                _ => self.nap(500).await,
            }
        }
    }

    async fn ask(&mut self, id: TaskId, what: Ask) -> Asked {
        loop {
            let now = wall(self.rt.now());
            let answer = ask(self.store.as_ref(), id, what, None, now, || self.ops.next()).await;
            match answer {
                Ok(asked) => return asked,
                Err(_) => self.nap(500).await,
            }
        }
    }

    /// Asks something of a task; sometimes of a child of an array.
    async fn bother(&mut self, id: TaskId) {
        let count = self.raw.get(&[id]).await.ok().and_then(|mut t| t.pop().flatten());
        let count = count.and_then(|t| t.array().map(ArraySpec::count)).unwrap_or(0);
        let id = if count > 0 && self.rng.chance(0.5) { id.child(self.rng.below(count)) } else { id };
        match self.rng.below(4) {
            0 => {
                self.ask(id, Ask::Suspend).await;
                self.nap(5000).await;
                // A suspended task must be able to end, so it is always resumed until that is so.
                loop {
                    self.ask(id, Ask::Resume).await;
                    self.nap(3000).await;
                    let doc = self.raw.get(&[id]).await.ok().and_then(|mut t| t.pop().flatten());
                    let stuck = doc.is_some_and(|t| {
                        let wish = t.wish.as_ref().map(|w| (w.ask, w.is_open()));
                        let paused = matches!(t.state, god_core::TaskState::Running { paused: true, .. });
                        paused || wish == Some((Ask::Suspend, true))
                    });
                    if !stuck {
                        break;
                    }
                }
            }
            1 => {
                self.ask(id, Ask::Reschedule).await;
            }
            _ => {
                self.ask(id, Ask::Kill).await;
                // Acknowledged: from here on no later attempt may start.
                let doc = self.raw.get(&[id]).await.ok().and_then(|mut t| t.pop().flatten());
                if let Some(task) = doc {
                    let ids: Vec<(TaskId, u32)> = vec![(id, task.attempts)];
                    let mut facts = self.truth.facts();
                    facts.killed_at.extend(ids);
                    facts.kill_times.insert(id, self.rt.now());
                }
                self.note(|r| r.killed.push(id));
            }
        }
    }
}
