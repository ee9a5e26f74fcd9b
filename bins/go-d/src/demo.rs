//! `go-d demo`: a site at work for a few seconds, on an executor that runs nothing.

use crate::first::Caller;
use anyhow::{Context, Result, anyhow, bail};
use auth_local::{LocalAuth, NewUser};
use god_core::UserId;
use god_core::admission::{Requester, Site, Surroundings, admit};
use god_core::ids::TaskId;
use god_core::state::Phase;
use god_core::store::{NewTask, PendingLimits, Store, Submitted};
use god_core::user::User;
use god_core::wire::Submission;
use god_daemon::clock::now;
use god_daemon::{Daemon, Kind, Overrides, Setup, front};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// More than all tasks together may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the demonstration.
pub fn demo(n_tasks: u32) -> Result<ExitCode> {
    let dir = tempfile::Builder::new().prefix("go-d-demo.").tempdir().context("no directory for the demo")?;
    let executors = Some(vec!["fake".to_owned()]);
    let overrides = Overrides {
        data_dir: Some(dir.path().to_owned()),
        listen: Some(("127.0.0.1".to_owned(), 0)),
        ..Overrides::default()
    };
    crate::first::write_config(&overrides, executors.as_deref())?;
    let setup = Setup::read(Kind::All, overrides)?;
    let logs = god_telemetry::start(&god_telemetry::Options {
        level: god_telemetry::Level::Warn,
        ..setup.log_options()
    })?;
    front::block_on(async {
        let mut daemon = Daemon::open(setup).await?;
        daemon.start_scheduler();
        daemon.start_watcher();
        let address = daemon.start_web().await?;
        daemon.ready(&logs);
        println!("a site for this demonstration is at http://{address}; its executor runs nothing");
        let site = god_plugins::site(&daemon.setup().config, daemon.executors());
        let store = Arc::clone(daemon.store());
        let shown = tokio::select! {
            shown = timeout(PATIENCE, show(&store, &site, n_tasks)) => {
                shown.unwrap_or_else(|_| Err(anyhow!("the tasks did not end in time")))
            }
            () = daemon.until_asked_to_end() => Err(anyhow!("interrupted")),
        };
        daemon.close().await;
        shown?;
        println!("that was all: nothing is left of it");
        Ok(ExitCode::SUCCESS)
    })
}

/// Submits tasks and shows what becomes of them.
async fn show(store: &Arc<dyn Store>, site: &Site, n_tasks: u32) -> Result<()> {
    let user = user(store).await?;
    let mut batch = Vec::new();
    for number in 1..=n_tasks {
        let (cores, seconds, exit) = (1 + number % 4, 1 + number % 3, if number % 5 == 0 { 3 } else { 0 });
        let body = json!({
            "meta": {"name": format!("demo-{number}")},
            "requirements": {"cpu": cores, "ram": 2},
            "command": {"cmd": format!("#!/bin/sh\n#FAKE duration={seconds}s exit={exit}\n")},
        });
        let asked = Submission::read(&body).map_err(|faults| anyhow!("{faults:?}"))?;
        let who = Requester { user: &user, on_behalf: None, projects: &[], is_admin: false };
        let parents = BTreeSet::new();
        let around = Surroundings { site, nodes: &[], parents: &parents, volumes: &|_, _, _| Vec::new() };
        let spec = Arc::new(admit(asked, &who, &around)?);
        batch.push(NewTask { spec, submitted: now(), idempotency: None, limits: PendingLimits::default() });
    }
    let mut ids: Vec<TaskId> = Vec::new();
    for submitted in store.submit(batch).await? {
        match submitted {
            Submitted::New(id) | Submitted::Known(id) => ids.push(id),
            Submitted::OverLimit(limit) => bail!("a task was not taken: {limit}"),
        }
    }
    println!("submitted {n_tasks} tasks for {}", user.id);
    follow(store, &ids).await
}

/// Prints a line whenever the state of a task changes, until all are over.
async fn follow(store: &Arc<dyn Store>, ids: &[TaskId]) -> Result<()> {
    let mut told: BTreeMap<TaskId, String> = BTreeMap::new();
    loop {
        let seen = store.head().await?;
        let tasks: Vec<_> = store.get(ids).await?.into_iter().flatten().collect();
        for task in &tasks {
            let state = match (task.state.outcome(), task.phase()) {
                (Some(outcome), _) => outcome.to_string(),
                (None, Phase::Running) => "runs".to_owned(),
                (None, Phase::Starting) => "starts".to_owned(),
                (None, _) => "waits".to_owned(),
            };
            if told.get(&task.id) != Some(&state) {
                println!(
                    "  task {:>3}  {:<8}  {} cores  {state}",
                    task.id, task.spec.name, task.spec.cores.0
                );
                told.insert(task.id, state);
            }
        }
        if tasks.iter().all(|task| task.phase().is_over()) {
            return Ok(());
        }
        store.rung(seen).await;
    }
}

/// Whoever runs the demonstration.
async fn user(store: &Arc<dyn Store>) -> Result<User> {
    let caller = Caller::find()?;
    let new = NewUser {
        login: caller.login.clone(),
        uid: Some(caller.uid),
        gid: Some(caller.gid),
        ..NewUser::default()
    };
    LocalAuth::new(Arc::clone(store)).create_user(new).await?;
    let user = store.user(&UserId::parse(&caller.login)?).await?;
    user.context("the user who was just made is not there")
}
