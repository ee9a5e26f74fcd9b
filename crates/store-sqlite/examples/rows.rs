//! Rows per second of the store: submit, claim, end, in batches of 256 from one caller, then single submits from 64.
//!
//! `cargo run --release -p store-sqlite --example rows -- <directory> [tasks]`; the directory's disk is what is measured.
//! With the name of a database instead of a directory it submits one by one for some seconds and prints latencies:
//! start it several times at once to see processes get in each other's way.

use anyhow::Context;
use god_core::executor::Cause;
use god_core::state::Attempt;
use god_core::store::{Change, NewTask, PendingLimits, Scan, Store, Submitted};
use god_core::{
    Bytes, Cores, Event, ExecutorName, Exit, NodeName, OpId, ProjectId, Task, TaskId, TaskSpec, Timestamp,
    UserId,
};
use std::sync::Arc;
use std::time::Instant;
use store_sqlite::{Options, SqliteStore};

const BATCH: usize = 256;
const CALLERS: u64 = 64;

fn new_task(n: u64) -> NewTask {
    let owner = god_core::spec::Owner {
        id: UserId::new(format!("user{}", n % 50)),
        uid: 1000,
        gid: 1000,
        sgids: vec![1000],
        email: None,
        home: Some("/home/user".into()),
        project: ProjectId::new("default"),
        guest: None,
    };
    let spec = TaskSpec {
        owner,
        name: format!("task {n}"),
        description: String::new(),
        tags: Vec::new(),
        cores: Cores(1),
        ram: 1,
        gpus: 0,
        array: None,
        labels: Vec::new(),
        after: Vec::new(),
        after_policy: Default::default(),
        ports: Vec::new(),
        network: "public".into(),
        executor: None,
        failure_policy: 0,
        tmp_storage: None,
        uris: Vec::new(),
        time_limit: None,
        fields: Default::default(),
        image: "centos:latest".into(),
        volumes: Vec::new(),
        root: false,
        interactive: false,
        script: "#!/bin/bash\nset -e\necho one line of a script that does something\n".repeat(4),
        notify_email: false,
        output: Default::default(),
        quotas: [0.0; 6],
    };
    let limits = PendingLimits { per_user: Some(u64::MAX), all: Some(u64::MAX) };
    NewTask { spec: Arc::new(spec), submitted: Timestamp(1_767_225_600_000), idempotency: None, limits }
}

fn report(what: &str, rows: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    let rate = rows as f64 / seconds;
    println!("{what:<28} {rows:>8} rows {seconds:>7.2} s {rate:>9.0} rows/s {:>7.1} us", 1e6 / rate);
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("the first argument is a directory")?;
    let n: usize = args.next().map_or(Ok(50_000), |text| text.parse()).context("a number of tasks")?;
    if !std::path::Path::new(&dir).is_dir() {
        let store = SqliteStore::open(&dir, Options::default())?;
        return tokio::runtime::Runtime::new()?.block_on(latencies(store));
    }
    let path = std::path::Path::new(&dir).join(format!("rows-{}.db", std::process::id()));
    let store = SqliteStore::open(&path, Options::default())?;
    tokio::runtime::Runtime::new()?.block_on(measure(store, n))
}

async fn latencies(store: Arc<SqliteStore>) -> anyhow::Result<()> {
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let (started, mut took) = (Instant::now(), Vec::new());
                while started.elapsed().as_secs() < 5 {
                    let since = Instant::now();
                    store.submit(vec![new_task(caller)]).await?;
                    took.push(since.elapsed());
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for caller in callers {
        all.extend(caller.await??);
    }
    all.sort_unstable();
    let at = |per_mille: usize| all[(all.len() - 1) * per_mille / 1000];
    println!("{} submits, p50 {:?}, p99 {:?}, max {:?}", all.len(), at(500), at(990), at(1000));
    Ok(())
}

async fn measure(store: Arc<SqliteStore>, n: usize) -> anyhow::Result<()> {
    let batches: Vec<Vec<NewTask>> = (0..n)
        .step_by(BATCH)
        .map(|from| (from..n.min(from + BATCH)).map(|i| new_task(i as u64)).collect())
        .collect();
    let since = Instant::now();
    for batch in batches {
        store.submit(batch).await?;
    }
    report("submit, batches", n, since);

    let since = Instant::now();
    let mut tasks: Vec<Task> = Vec::new();
    loop {
        let page = store.scan(&Scan::Active(None), tasks.last().map(|task| task.id), 1000).await?;
        if page.is_empty() {
            break;
        }
        tasks.extend(page);
    }
    report("scan, pages of 1000", tasks.len(), since);

    let attempt = Attempt {
        number: 1,
        executor: ExecutorName::new("local"),
        node: NodeName::new("node-1"),
        ports: Vec::new(),
        epoch: 1,
        claimed: Timestamp(1_767_225_600_500),
    };
    let exit = Exit {
        cause: Cause::Code(0),
        by_request: false,
        started: None,
        ended: Timestamp(1_767_225_700_000),
        cpu_us: 1,
        max_rss: Bytes(1),
    };
    let moves = [
        ("claim", Event::Claimed(attempt)),
        ("started", Event::Started { run: None, since: Timestamp(1_767_225_601_000) }),
        ("end", Event::Ended(exit)),
    ];
    for (what, event) in moves {
        let mut batches = Vec::new();
        for chunk in tasks.chunks_mut(BATCH) {
            let mut changes = Vec::new();
            for task in chunk {
                let after = task.after(&event, Timestamp(1_767_225_700_000))?;
                changes.push(Change::of(task, after.clone(), OpId(7)));
                *task = after;
            }
            batches.push(changes);
        }
        let since = Instant::now();
        for changes in batches {
            store.commit(changes, None).await?;
        }
        report(what, n, since);
    }

    let since = Instant::now();
    let each = n as u64 / CALLERS / 4;
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for i in 0..each {
                    store.submit(vec![new_task(caller * each + i)]).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for caller in callers {
        caller.await??;
    }
    report("submit one, 64 callers", (each * CALLERS) as usize, since);

    let since = Instant::now();
    let mut last = TaskId(0);
    for i in 0..500 {
        if let Some(Submitted::New(id)) = store.submit(vec![new_task(i)]).await?.first() {
            last = *id;
        }
    }
    report("submit one, 1 caller", 500, since);
    let since = Instant::now();
    for _ in 0..2000 {
        store.get(&[last]).await?;
    }
    report("get one", 2000, since);
    Ok(())
}
