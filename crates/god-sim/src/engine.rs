//! The simulated engine that runs jobs, and the truth about what it did.
//!
//! Handles of processes on it are unreliable: calls fail, take effect late or without an answer, events get lost, lists
//! are stale, and the engine itself restarts and loses runs. What really happened is in [`Truth`], which only the checker
//! reads.

use crate::rt::{Proc, Rt, wall};
use async_trait::async_trait;
use god_core::executor::*;
use god_core::ids::{ExecutorName, NodeName, TaskId, UserId};
use god_core::resources::{Amount, Node};
use god_core::spec::TaskSpec;
use god_core::state::{Attempt, Outcome, Phase, TaskState};
use god_core::store::Change;
use god_core::task::Task;
use god_core::units::{Bytes, Cores, Seconds};
use god_engine::signal::Signal;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run whose kill was acknowledged is dead after this, once there are no faults: grace, a watcher's time-to-live and a
/// reconciliation.
const KILL_BOUND: Duration = Duration::from_secs(30);

/// What the engine did and what was written, with every breach of what must hold.
#[derive(Debug)]
pub struct Truth {
    rt: Rt,
    facts: Mutex<Facts>,
}

/// The facts.
#[derive(Debug, Default)]
pub struct Facts {
    /// How often the script of each attempt was started.
    pub starts: BTreeMap<AttemptKey, u32>,
    /// Attempts whose script runs now, with their host ports.
    pub running: BTreeMap<AttemptKey, Vec<u16>>,
    /// How long each attempt that ended ran, in milliseconds.
    pub ran: BTreeMap<AttemptKey, u64>,
    /// Usage booked.
    pub booked: BTreeMap<AttemptKey, u64>,
    /// Cores that users may use in all.
    pub quotas: BTreeMap<UserId, u64>,
    /// Cores of the attempts that are claimed and not at their end, as written.
    pub live: BTreeMap<AttemptKey, (UserId, u64)>,
    /// Cores booked for users.
    pub used: BTreeMap<UserId, u64>,
    /// Final transitions of each task.
    pub ends: BTreeMap<TaskId, u32>,
    /// Attempt number that a kill was acknowledged at: no later one may start.
    pub killed_at: BTreeMap<TaskId, u32>,
    /// When each kill was acknowledged.
    pub kill_times: BTreeMap<TaskId, Duration>,
    /// When the faults ended.
    pub quiet_since: Option<Duration>,
    /// Attempts that ended with the engine: nobody knows when.
    pub lost: BTreeSet<AttemptKey>,
    /// What must never be.
    pub breaches: Vec<String>,
}

impl Truth {
    /// No facts yet.
    #[must_use]
    pub fn new(rt: &Rt) -> Truth {
        Truth { rt: rt.clone(), facts: Mutex::default() }
    }

    /// The facts.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// Notes a breach.
    pub fn breach(&self, invariant: &str, what: &str) {
        let at = self.rt.now().as_secs_f64();
        lock(&self.facts).breaches.push(format!("{invariant} at {at:.3}s: {what}"));
    }

    fn started(&self, key: AttemptKey, ports: Vec<u16>) {
        self.rt.trace(&format!("start {key}"));
        let mut breaches = Vec::new();
        {
            let mut facts = lock(&self.facts);
            let n = facts.starts.entry(key).or_default();
            *n += 1;
            if *n > 1 {
                breaches.push(("I2", format!("attempt {key} started {n} times")));
            }
            if let Some(other) = facts.running.keys().find(|k| k.task == key.task) {
                breaches.push(("I3", format!("attempt {key} started while {other} runs")));
            }
            for (other, theirs) in &facts.running {
                if ports.iter().any(|p| theirs.contains(p)) {
                    breaches.push(("I11", format!("attempts {key} and {other} hold the same port")));
                }
            }
            if facts.killed_at.get(&key.task).is_some_and(|n| key.attempt > *n) {
                breaches
                    .push(("I9", format!("attempt {key} started after the task's kill was acknowledged")));
            }
            facts.running.insert(key, ports);
        }
        breaches.iter().for_each(|(invariant, what)| self.breach(invariant, what));
    }

    fn ended(&self, key: AttemptKey, millis: u64) {
        self.rt.trace(&format!("end {key}"));
        let mut facts = lock(&self.facts);
        facts.running.remove(&key);
        facts.ran.insert(key, millis);
        if let (Some(killed), Some(quiet)) = (facts.kill_times.get(&key.task), facts.quiet_since) {
            let late = self.rt.now().saturating_sub((*killed).max(quiet));
            if late > KILL_BOUND {
                let what = format!("I9: attempt {key} lived {late:?} after its kill was acknowledged");
                facts.breaches.push(what);
            }
        }
    }

    /// A durable write.
    pub fn wrote(&self, old: Option<&Task>, change: &Change) {
        let task = &change.task;
        let mut breaches = Vec::new();
        {
            let mut facts = lock(&self.facts);
            let was_over = old.is_some_and(|t| t.phase().is_over());
            if was_over && !task.phase().is_over() {
                breaches.push(("I4", format!("task {} was over and is {:?} again", task.id, task.phase())));
            }
            if task.phase() == Phase::Over {
                let n = facts.ends.entry(task.id).or_default();
                *n += 1;
                if *n > 1 {
                    breaches.push(("I4", format!("task {} ended {n} times", task.id)));
                }
            }
            let live = task.state.attempt().map(|a| a.number);
            let running = facts.running.keys().find(|k| k.task == task.id && Some(k.attempt) != live);
            if let Some(key) = running {
                let state = format!("{:?}", task.state);
                breaches.push(("I8", format!("task {} is {state:.60} while attempt {key} runs", task.id)));
            }
            if let TaskState::Over { outcome: Outcome::Exited(_), last: Some(last), .. } = &task.state {
                let key = AttemptKey { task: task.id, attempt: last.attempt.number };
                if !facts.ran.contains_key(&key) {
                    breaches.push((
                        "I8",
                        format!("task {} has an exit code but attempt {key} never ended", task.id),
                    ));
                }
            }
            breaches.extend(facts.account(old, change).map(|what| ("I12", what)));
            if let Some(usage) = &change.usage
                && facts.booked.insert(usage.key, usage.millis).is_some()
            {
                breaches.push(("I5", format!("usage of {} booked twice", usage.key)));
            }
        }
        breaches.iter().for_each(|(invariant, what)| self.breach(invariant, what));
    }
}

impl Facts {
    /// Keeps the books as they are written, and says what is wrong with them.
    fn account(&mut self, old: Option<&Task>, change: &Change) -> Option<String> {
        let task = &change.task;
        let key = |attempt: &Attempt| AttemptKey { task: task.id, attempt: attempt.number };
        let owner = &task.spec.owner.id;
        let (was, is) = (old.and_then(|old| old.state.attempt()).map(key), task.state.attempt().map(key));
        if let Some(usage) = &change.usage {
            *self.used.entry(usage.owner.clone()).or_default() += u64::from(usage.cores.0);
        }
        if was == is {
            return None;
        }
        was.map(|was| self.live.remove(&was));
        let is = is?;
        self.live.insert(is, (owner.clone(), u64::from(task.spec.cores.0)));
        let quota = *self.quotas.get(owner)?;
        let live: u64 = self.live.values().filter(|(user, _)| user == owner).map(|(_, cores)| cores).sum();
        let used = self.used.get(owner).copied().unwrap_or(0);
        let over = used + live > quota;
        over.then(|| {
            format!("attempt {is} was claimed: {used} cores used and {live} live of {quota} for {owner}")
        })
    }
}

/// How bad the engine and the way to it are.
#[derive(Debug, Clone, Copy)]
pub struct EngineFaults {
    /// Longest delay of a call in milliseconds.
    pub delay_ms: u64,
    /// Probability that a call fails without effect.
    pub fail: f64,
    /// Probability that a start takes effect without an answer.
    pub lose_reply: f64,
    /// Probability that a start takes effect up to twenty seconds after its error.
    pub late: f64,
    /// Probability that an event is not delivered.
    pub lose_event: f64,
    /// Probability that a listing shows an old picture.
    pub stale: f64,
}

/// What a simulated script does.
#[derive(Debug, Clone, Copy)]
struct Script {
    millis: u64,
    exit: i32,
    stubborn: bool,
}

impl Script {
    /// Reads `millis exit stubborn`.
    fn of(spec: &TaskSpec) -> Script {
        let mut words = spec.script.split_whitespace();
        Script {
            millis: words.next().and_then(|w| w.parse().ok()).unwrap_or(0),
            exit: words.next().and_then(|w| w.parse().ok()).unwrap_or(0),
            stubborn: words.next() == Some("stubborn"),
        }
    }
}

#[derive(Debug, Clone)]
struct SimRun {
    seen: Seen,
    script: Script,
    ports: Vec<u16>,
    amount: Amount,
    started: Duration,
    /// Run time still to come, while not paused.
    left: Duration,
    resumed: Duration,
    paused: bool,
    by_request: bool,
    turn: u64,
}

impl SimRun {
    fn sight(&self) -> Seen {
        match &self.seen {
            Seen::Running { run, since } if self.paused => Seen::Paused { run: run.clone(), since: *since },
            seen => seen.clone(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<AttemptKey, SimRun>,
    latches: BTreeMap<TaskId, (u32, bool)>,
    subscribers: Vec<(Proc, Arc<Mailbox>)>,
    down_until: Duration,
    turns: u64,
}

/// Events on their way to one process.
#[derive(Debug, Default)]
struct Mailbox {
    events: Mutex<VecDeque<RunEvent>>,
    bell: Signal,
}

/// The engine: one node on which jobs run. It never crashes by itself; see [`Engine::restart`].
#[derive(Debug)]
pub struct Engine {
    rt: Rt,
    proc: Proc,
    truth: Arc<Truth>,
    total: Amount,
    state: Mutex<State>,
}

impl Engine {
    /// An idle engine whose own work happens in `proc`.
    #[must_use]
    pub fn new(rt: &Rt, proc: Proc, truth: Arc<Truth>, cores: u32) -> Arc<Engine> {
        let total = Amount { cores: Cores(cores), memory: Bytes(64 << 30), gpus: 0 };
        Arc::new(Engine { rt: rt.clone(), proc, truth, total, state: Mutex::default() })
    }

    /// Restarts: runs end with it, and nobody knows how; for a while nothing answers.
    pub fn restart(&self) {
        let down = Duration::from_millis(self.rt.below(8000));
        let mut state = lock(&self.state);
        state.down_until = self.rt.now() + down;
        let keys: Vec<AttemptKey> = state.runs.keys().copied().collect();
        for key in keys {
            let running = matches!(state.runs.get(&key).map(|r| &r.seen), Some(Seen::Running { .. }));
            if running && self.rt.chance(0.5) {
                let run = state.runs.remove(&key);
                drop(state);
                self.truth.facts().lost.insert(key);
                self.truth.ended(key, run.map_or(0, |r| (self.rt.now() - r.started).as_millis() as u64));
                state = lock(&self.state);
            }
        }
    }

    /// Runs that are left.
    #[must_use]
    pub fn left(&self) -> Vec<AttemptKey> {
        lock(&self.state).runs.keys().copied().collect()
    }

    fn tell(self: &Arc<Self>, key: AttemptKey, seen: Seen, loss: f64) {
        let state = lock(&self.state);
        for (_, queue) in &state.subscribers {
            if !self.rt.chance(loss) {
                lock(&queue.events).push_back(RunEvent { key, seen: seen.clone() });
                queue.bell.ring();
            }
        }
    }

    /// Takes the latch for an attempt; `false` when it is taken.
    fn latch(&self, key: AttemptKey, ran: bool) -> bool {
        let mut state = lock(&self.state);
        match state.latches.get(&key.task) {
            Some((attempt, _)) if *attempt >= key.attempt => false,
            _ => {
                state.latches.insert(key.task, (key.attempt, ran));
                true
            }
        }
    }

    /// The effect of a start.
    fn apply_start(self: &Arc<Self>, launch: &Launch, loss: f64) -> Result<Started, StartError> {
        let key = launch.key;
        if let Some(run) = lock(&self.state).runs.get(&key) {
            return Ok(match &run.seen {
                Seen::Running { run, since } => Started::Running { run: run.clone(), since: *since },
                _ => Started::Accepted,
            });
        }
        if !self.latch(key, true) {
            let ran =
                lock(&self.state).latches.get(&key.task).is_some_and(|(n, ran)| *n == key.attempt && *ran);
            return Err(if ran {
                StartError::Unknown("it ran before and is gone".into())
            } else {
                StartError::NotNow("the attempt was abandoned".into())
            });
        }
        let now = self.rt.now();
        let script = Script::of(&launch.spec);
        let amount = launch.spec.amount();
        let since = wall(now);
        let run = SimRun {
            seen: Seen::Running { run: None, since },
            script,
            ports: launch.ports.iter().map(|p| p.host).collect(),
            amount,
            started: now,
            left: Duration::from_millis(script.millis),
            resumed: now,
            paused: false,
            by_request: false,
            turn: 0,
        };
        let used = {
            let mut state = lock(&self.state);
            state.runs.insert(key, run.clone());
            state
                .runs
                .values()
                .filter(|r| matches!(r.seen, Seen::Running { .. }))
                .fold(Amount::default(), |sum, r| sum.plus(r.amount))
        };
        if !used.fits(self.total) {
            self.truth.breach("capacity", &format!("{} cores are in use", used.cores.0));
        }
        self.truth.started(key, run.ports);
        self.tell(key, run.seen, loss);
        self.schedule_end(key, Duration::from_millis(script.millis), loss);
        Ok(Started::Running { run: None, since })
    }

    /// Lets the run end by itself after a span, unless something happens to it before.
    fn schedule_end(self: &Arc<Self>, key: AttemptKey, span: Duration, loss: f64) {
        let engine = Arc::clone(self);
        let turn = {
            let mut state = lock(&self.state);
            state.turns += 1;
            let turn = state.turns;
            if let Some(run) = state.runs.get_mut(&key) {
                run.turn = turn;
            }
            turn
        };
        self.rt.spawn(self.proc, false, async move {
            engine.rt.sleep(span).await;
            let same = lock(&engine.state).runs.get(&key).is_some_and(|r| r.turn == turn && !r.paused);
            if same {
                engine.end(key, loss);
            }
        });
    }

    fn end(self: &Arc<Self>, key: AttemptKey, loss: f64) {
        let now = self.rt.now();
        let seen = {
            let mut state = lock(&self.state);
            let Some(run) = state.runs.get_mut(&key) else { return };
            if !matches!(run.seen, Seen::Running { .. }) {
                return;
            }
            let cause = if run.by_request { Cause::Signal(9) } else { Cause::Code(run.script.exit) };
            run.seen = Seen::Exited(Exit {
                cause,
                by_request: run.by_request,
                started: Some(wall(run.started)),
                ended: wall(now),
                cpu_us: 0,
                max_rss: Bytes(0),
            });
            let millis = (wall(now).0 - wall(run.started).0) as u64;
            let seen = run.seen.clone();
            drop(state);
            self.truth.ended(key, millis);
            seen
        };
        self.tell(key, seen, loss);
    }

    fn kill(self: &Arc<Self>, key: AttemptKey, grace: Seconds, loss: f64) {
        let span = {
            let mut state = lock(&self.state);
            let Some(run) = state.runs.get_mut(&key) else { return };
            if !matches!(run.seen, Seen::Running { .. }) || run.by_request {
                return;
            }
            run.by_request = true;
            run.paused = false;
            if run.script.stubborn { Duration::from_secs(grace.0) } else { Duration::from_millis(20) }
        };
        self.schedule_end(key, span, loss);
    }

    fn pause(self: &Arc<Self>, key: AttemptKey, paused: bool, loss: f64) {
        let now = self.rt.now();
        let left = {
            let mut state = lock(&self.state);
            let Some(run) = state.runs.get_mut(&key) else { return };
            if run.paused == paused || run.by_request || !matches!(run.seen, Seen::Running { .. }) {
                return;
            }
            run.paused = paused;
            if paused {
                run.left = run.left.saturating_sub(now - run.resumed);
                None
            } else {
                run.resumed = now;
                Some(run.left)
            }
        };
        if let Some(left) = left {
            self.schedule_end(key, left, loss);
        }
    }
}

/// A process's way to the engine.
#[derive(Debug)]
pub struct SimExecutor {
    engine: Arc<Engine>,
    proc: Proc,
    name: ExecutorName,
    faults: EngineFaults,
    quiet: Arc<AtomicBool>,
}

impl SimExecutor {
    /// A handle for a process.
    #[must_use]
    pub fn new(
        engine: &Arc<Engine>,
        proc: Proc,
        faults: EngineFaults,
        quiet: Arc<AtomicBool>,
    ) -> SimExecutor {
        SimExecutor { engine: Arc::clone(engine), proc, name: ExecutorName::new("sim"), faults, quiet }
    }

    fn troubled(&self) -> bool {
        !self.quiet.load(Ordering::Relaxed)
    }

    fn chance(&self, probability: f64) -> bool {
        self.troubled() && self.engine.rt.chance(probability)
    }

    fn loss(&self) -> f64 {
        if self.troubled() { self.faults.lose_event } else { 0.0 }
    }

    async fn way(&self) -> Result<(), ExecError> {
        let most = if self.troubled() { self.faults.delay_ms } else { 2 };
        let rt = &self.engine.rt;
        rt.sleep(Duration::from_micros(rt.below(most * 1000 + 1))).await;
        let down = rt.now() < lock(&self.engine.state).down_until;
        if down || self.chance(self.faults.fail) {
            return Err(ExecError::Unreachable { executor: self.name.clone(), source: "simulated".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl Executor for SimExecutor {
    fn name(&self) -> &ExecutorName {
        &self.name
    }

    async fn nodes(&self) -> Result<Vec<Node>, ExecError> {
        self.way().await?;
        Ok(vec![Node {
            name: NodeName::new("node"),
            executor: self.name.clone(),
            total: self.engine.total,
            labels: Vec::new(),
            queue: 0,
            max_tasks: None,
        }])
    }

    async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>> {
        let mut answers = Vec::new();
        for launch in launches {
            let unknown = || Err(StartError::Unknown("simulated".into()));
            if self.way().await.is_err() {
                answers.push(unknown());
            } else if self.chance(self.faults.late) {
                let engine = Arc::clone(&self.engine);
                let loss = self.loss();
                let span = Duration::from_millis(self.engine.rt.below(20_000));
                self.engine.rt.spawn(self.engine.proc, false, async move {
                    engine.rt.sleep(span).await;
                    // Whoever called is gone; what the answer would have been does not matter.
                    if let Err(late) = engine.apply_start(&launch, loss) {
                        engine.rt.trace(&late.to_string());
                    }
                });
                answers.push(unknown());
            } else {
                let answer = self.engine.apply_start(&launch, self.loss());
                answers.push(if self.chance(self.faults.lose_reply) { unknown() } else { answer });
            }
        }
        answers
    }

    async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
        self.way().await?;
        let stale = self.chance(self.faults.stale);
        let state = lock(&self.engine.state);
        let now = self.engine.rt.now();
        let look = |run: &Run| match state.runs.get(&run.key) {
            // An old picture does not show what is younger than itself.
            Some(r) if stale && now.saturating_sub(r.started) < Duration::from_secs(2) => Seen::Absent,
            Some(r) if self.troubled() && self.engine.rt.chance(0.02) => {
                let what = format!("no answer about {:?}", r.script);
                Seen::Unknown(what)
            }
            Some(r) => r.sight(),
            None => Seen::Absent,
        };
        Ok(runs.iter().map(look).collect())
    }

    async fn list(&self) -> Result<Vec<Listed>, ExecError> {
        self.way().await?;
        let state = lock(&self.engine.state);
        Ok(state.runs.iter().map(|(key, run)| Listed { key: *key, seen: run.sight() }).collect())
    }

    async fn kill(&self, runs: &[Run], grace: Seconds) -> Vec<Result<(), ExecError>> {
        let mut answers = Vec::new();
        for run in runs {
            let answer = self.way().await;
            if answer.is_ok() {
                self.engine.kill(run.key, grace, self.loss());
            }
            answers.push(answer);
        }
        answers
    }

    async fn abandon(&self, run: &Run) -> Result<Abandon, ExecError> {
        self.way().await?;
        if self.engine.latch(run.key, false) {
            return Ok(Abandon::NeverRan);
        }
        let ran = lock(&self.engine.state)
            .latches
            .get(&run.key.task)
            .is_none_or(|(n, ran)| *n > run.key.attempt || *ran);
        Ok(if ran { Abandon::Ran } else { Abandon::NeverRan })
    }

    async fn forget(&self, finished: &[Finished]) -> Result<(), ExecError> {
        self.way().await?;
        for item in finished {
            let run = lock(&self.engine.state).runs.remove(&item.key);
            if let Some(run) = run.filter(|r| matches!(r.seen, Seen::Running { .. })) {
                // Removal by force ends it.
                self.engine.truth.ended(item.key, (self.engine.rt.now() - run.started).as_millis() as u64);
            }
        }
        Ok(())
    }

    fn starts(&self) -> Starts {
        Starts { batch: 2, parallel: 3 }
    }

    fn pausing(&self) -> Option<&dyn Pausing> {
        Some(self)
    }

    fn events(&self) -> Option<&dyn Events> {
        Some(self)
    }
}

#[async_trait]
impl Pausing for SimExecutor {
    async fn pause(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        let mut answers = Vec::new();
        for run in runs {
            let answer = self.way().await;
            if answer.is_ok() {
                self.engine.pause(run.key, true, self.loss());
            }
            answers.push(answer);
        }
        answers
    }

    async fn resume(&self, runs: &[Run]) -> Vec<Result<(), ExecError>> {
        let mut answers = Vec::new();
        for run in runs {
            let answer = self.way().await;
            if answer.is_ok() {
                self.engine.pause(run.key, false, self.loss());
            }
            answers.push(answer);
        }
        answers
    }
}

impl Events for SimExecutor {
    fn subscribe(&self) -> Box<dyn EventStream> {
        let queue: Arc<Mailbox> = Arc::default();
        let mut state = lock(&self.engine.state);
        state.subscribers.retain(|(proc, _)| *proc != self.proc);
        state.subscribers.push((self.proc, Arc::clone(&queue)));
        Box::new(SimEvents { queue })
    }
}

struct SimEvents {
    queue: Arc<Mailbox>,
}

#[async_trait]
impl EventStream for SimEvents {
    async fn next(&mut self) -> Option<Vec<RunEvent>> {
        loop {
            let seen = self.queue.bell.rings();
            let events: Vec<RunEvent> = lock(&self.queue.events).drain(..).collect();
            if !events.is_empty() {
                return Some(events);
            }
            self.queue.bell.past(seen).await;
        }
    }
}
