//! A queue of a million tasks: what it costs to hold, to read after a restart, and to start something from.
//!
//! The queue is 1,000 users times 50 projects, two shapes each: a million tasks in 100,000 groups. A scheduler of its own,
//! with the store and the policy of the product, works on it; runs end as soon as they were all started, so that each
//! pass finds room for 64.

use crate::report::{Report, median, quantile};
use crate::site::{Site, json_of, rss_mib};
use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use god_core::executor::{
    Abandon, Cause, ExecError, Executor, Exit, Finished, Launch, Listed, Run, Seen, StartError, Started,
};
use god_core::ids::{ExecutorName, Holder, NodeName, ProjectId, TaskId, UserId};
use god_core::resources::{Amount, Node};
use god_core::spec::{Owner, TaskSpec};
use god_core::state::Event;
use god_core::store::{Change, Committed, NewTask, PendingLimits, Store};
use god_core::units::{Bytes, Cores, Seconds, Timestamp};
use god_engine::lease::{self, SCHEDULER, Tenure};
use god_engine::scheduler::{PassNote, Scheduler};
use god_engine::signal::Signal;
use god_engine::world::{Clock, Ops, Settings, World};
use god_testkit::build;
use policy_fairshare::FairShare;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store_sqlite::{Options, SqliteStore};
use tokio::sync::mpsc;

const TASKS: u64 = 1_000_000;
const USERS: u64 = 1_000;
const PROJECTS: u64 = 50;
/// Cores of the one node, and starts of a pass.
const ROOM: usize = 64;
/// Passes that are measured.
const PASSES: usize = 40;
/// Name of the database.
const FILE: &str = "god.db";

/// Measures the queue.
pub async fn million(report: &mut Report) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("god-bench-queue").tempdir()?;
    fill(dir.path()).await?;
    // Another process, so that nothing of the filling is counted.
    let out = Command::new(std::env::current_exe()?)
        .args(["--bin", "/", "--queue-probe"])
        .arg(dir.path())
        .stderr(Stdio::inherit())
        .output()?;
    if !out.status.success() {
        bail!("the probe ended with {}", out.status);
    }
    for line in String::from_utf8(out.stdout)?.lines() {
        let mut words = line.split_whitespace();
        let (name, value, unit) = (words.next(), words.next(), words.next());
        let value = value.context("a figure without a value")?.parse()?;
        report.add(name.unwrap_or_default(), value, unit.unwrap_or_default());
    }
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Task `n` of the queue.
fn spec(n: u64) -> TaskSpec {
    let owner = Owner {
        id: UserId::new(format!("user{:04}", n % USERS)),
        project: ProjectId::new(format!("project{:02}", n / USERS % PROJECTS)),
        ..build::owner(1000, 1000)
    };
    let script =
        "#!/bin/bash\nset -e\ncd \"$GODOCKER_PWD\"\n./analyse --input data.txt --output result.txt\n";
    let shape = n / USERS / PROJECTS % 2;
    TaskSpec { name: format!("task {n}"), ram: 1 + shape as u32, ..build::spec(owner, script) }
}

async fn fill(dir: &Path) -> Result<()> {
    let store = SqliteStore::open(dir.join(FILE), Options::default())?;
    let began = now().0 - 1000 * TASKS as i64 / 100;
    for batch in 0..TASKS / 2000 {
        let new = |n: u64| NewTask {
            spec: Arc::new(spec(n)),
            submitted: Timestamp(began + 10 * n as i64),
            idempotency: None,
            limits: PendingLimits::default(),
        };
        store.submit((batch * 2000..(batch + 1) * 2000).map(new).collect()).await?;
    }
    Ok(())
}

#[derive(Debug)]
struct SystemClock(Instant);

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        now()
    }
    fn mono(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// One node; what is started is told and never runs.
#[derive(Debug)]
struct Sink {
    name: ExecutorName,
    started: mpsc::UnboundedSender<TaskId>,
}

#[async_trait]
impl Executor for Sink {
    fn name(&self) -> &ExecutorName {
        &self.name
    }
    async fn nodes(&self) -> Result<Vec<Node>, ExecError> {
        let cores = Cores(u32::try_from(ROOM).unwrap_or(u32::MAX));
        Ok(vec![Node {
            name: NodeName::new("sink-1"),
            executor: self.name.clone(),
            total: Amount { cores, memory: Bytes::from_ram(1024), gpus: 0 },
            labels: Vec::new(),
            queue: 0,
            max_tasks: None,
        }])
    }
    async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>> {
        let accept = |launch: Launch| match self.started.send(launch.key.task) {
            Ok(()) => Ok(Started::Accepted),
            Err(_) => Err(StartError::Refused("the measurement is over".to_owned())),
        };
        launches.into_iter().map(accept).collect()
    }
    async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
        Ok(runs.iter().map(|_| Seen::Unknown("it only takes".to_owned())).collect())
    }
    async fn list(&self) -> Result<Vec<Listed>, ExecError> {
        Ok(Vec::new())
    }
    async fn kill(&self, runs: &[Run], _: Seconds) -> Vec<Result<(), ExecError>> {
        runs.iter().map(|_| Ok(())).collect()
    }
    async fn abandon(&self, _: &Run) -> Result<Abandon, ExecError> {
        Ok(Abandon::Ran)
    }
    async fn forget(&self, _: &[Finished]) -> Result<(), ExecError> {
        Ok(())
    }
}

/// The measured process: prints figures.
pub async fn probe(dir: &Path, began: Instant) -> Result<()> {
    let store: Arc<dyn Store> = SqliteStore::open(dir.join(FILE), Options::default())?;
    let (started, mut starts) = mpsc::unbounded_channel();
    let executor: Arc<dyn Executor> = Arc::new(Sink { name: ExecutorName::new("sink"), started });
    let world = World {
        store: Arc::clone(&store),
        executors: vec![executor],
        policy: Arc::new(FairShare::default()),
        watchers: Vec::new(),
        clock: Arc::new(SystemClock(began)),
        ops: Arc::new(Ops::new(began.elapsed().as_nanos() as u64)),
        settings: Settings { busy_pace: Duration::ZERO, ..Settings::default() },
        holder: Holder::new("bench"),
    };
    let (tenure, stop, beat) = (Tenure::default(), Signal::default(), Signal::default());
    let (told, mut notes) = mpsc::unbounded_channel();
    let scheduler = Scheduler::new(&world, &tenure, &stop, &beat).watched(move |note: PassNote| {
        if told.send(note).is_err() {
            // The measurement is over.
        }
    });
    let measure = async {
        let mut passes = Vec::new();
        let mut first = None;
        while passes.len() < PASSES {
            let mut ids = Vec::with_capacity(ROOM);
            while ids.len() < ROOM {
                ids.push(starts.recv().await.context("the scheduler has ended")?);
                first.get_or_insert_with(|| began.elapsed());
            }
            end_all(store.as_ref(), &world.ops, &ids).await?;
            while let Ok(note) = notes.try_recv() {
                if note.claimed == ROOM {
                    passes.push(note.took.as_secs_f64() * 1000.0);
                }
            }
        }
        let first = first.context("nothing was started")?;
        println!("queue.1m_cold_start_s {:.2} s", first.as_secs_f64());
        println!("queue.1m_pending_rss_mib {:.1} MiB", rss_mib(std::process::id())?);
        println!("queue.1m_pass_p50_ms {:.2} ms", median(&passes));
        println!("queue.1m_pass_p99_ms {:.2} ms", quantile(&passes, 0.99));
        anyhow::Ok(())
    };
    tokio::select! {
        () = scheduler.run() => bail!("the scheduler has ended"),
        () = lease::hold(&world, SCHEDULER, &tenure) => bail!("the lease has ended"),
        measured = measure => measured,
    }
}

/// Ends tasks that were started.
async fn end_all(store: &dyn Store, ops: &Ops, ids: &[TaskId]) -> Result<()> {
    let ended = now();
    let exit = Exit {
        cause: Cause::Code(0),
        by_request: false,
        started: Some(Timestamp(ended.0 - 1000)),
        ended,
        cpu_us: 0,
        max_rss: Bytes(0),
    };
    let docs = store.get(ids).await?;
    let changes: Vec<Change> = docs
        .iter()
        .flatten()
        .filter_map(|task| {
            Some(Change::of(task, task.after(&Event::Ended(exit.clone()), ended).ok()?, ops.next()))
        })
        .collect();
    let all = changes.len();
    let done = store.commit(changes, None).await?.iter().filter(|answer| **answer == Committed::Done).count();
    if (done, all) != (ids.len(), ids.len()) {
        bail!("{done} of {} tasks were ended", ids.len());
    }
    Ok(())
}

/// One array of a million tasks in a running site.
pub async fn array(bin: &Path, report: &mut Report) -> Result<()> {
    let site = Site::start(bin, None, "local", "local: {cores: 1}\n").await?;
    let mut connection = site.connect().await?;
    // Something long in front of it, so that it waits as a whole.
    json_of(connection.call(&site.submit("#!/bin/sh\nsleep 600\n", None, true, "none")).await?)?;
    let (mut took, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (_, before) = site.cost()?;
        let began = Instant::now();
        json_of(connection.call(&site.submit("#!/bin/true\n", Some(TASKS), true, "none")).await?)?;
        took.push(began.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        grown.push(site.cost()?.1 - before);
    }
    report.add("array.1m_submit_ms", median(&took), "ms");
    report.add("array.1m_rss_growth_mib", median(&grown), "MiB");
    Ok(())
}
