//! The measurements, limits and ours in turns.

use crate::docker;
use crate::http::{self, request};
use crate::limits;
use crate::list;
use crate::queue;
use crate::report::{Report, median, quantile};
use crate::site::{Site, json_of};
use anyhow::{Context, Result, bail};
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The script of the measured tasks: its interpreter ends at once.
const TRUE: &str = "#!/bin/true\n";

/// Runs all of it; `tasks` is the length of the history in which lists are measured.
pub async fn run(
    bin: &Path,
    init: Option<&Path>,
    rounds: usize,
    tasks: u64,
    report: &mut Report,
) -> Result<()> {
    if report.names("list") {
        list::run(tasks, report).await?;
    }
    if report.wants(&["limit.spawn_t2", "limit.files_t2", "run.local_array10000", "run.local_ratio"]) {
        local(bin, rounds, report).await?;
    }
    if report.wants(&["limit.commit_http", "submit.rest_durable", "submit.ratio_limit"]) {
        submits(bin, rounds, report).await?;
    }
    if report.wants(&["latency.submit_to_running_p50", "latency.submit_to_over_p99"]) {
        latency(bin, report).await?;
    }
    if report.wants(&["limit.docker_p4", "run.docker_p4", "run.docker_ratio_limit"]) {
        docker(bin, init, rounds, report).await?;
    }
    if report.wants(&["run.fake_array100000"]) {
        let site = Site::start(bin, None, "fake", "").await?;
        report.add("run.fake_array100000", site.array("#FAKE\n", 100_000, true, "none").await?, "tasks/s");
    }
    if report.wants(&["queue.1m_pending_rss_mib", "queue.1m_pass_p50_ms", "queue.1m_cold_start_s"]) {
        queue::million(report).await?;
    }
    if report.wants(&["array.1m_submit_ms", "array.1m_rss_growth_mib", "queue."]) {
        queue::array(bin, report).await?;
    }
    if report.wants(&["idle.cpu_percent", "idle.rss_mib"]) {
        idle(bin, report).await?;
    }
    Ok(())
}

async fn local(bin: &Path, rounds: usize, report: &mut Report) -> Result<()> {
    let site = Site::start(bin, None, "local", "").await?;
    let work = tempfile::Builder::new().prefix("god-bench-files").tempdir()?;
    let (mut spawn, mut files, mut with_files, mut quiet) = (vec![], vec![], vec![], vec![]);
    site.array(TRUE, 500, false, "none").await?;
    for round in 0..rounds {
        spawn.push(limits::spawns(2_500, None)?);
        quiet.push(site.array(TRUE, 10_000, true, "none").await?);
        let dir = work.path().join(round.to_string());
        std::fs::create_dir(&dir)?;
        files.push(limits::spawns(5_000, Some(&dir))?);
        with_files.push(site.array(TRUE, 10_000, false, "none").await?);
    }
    report.add("limit.spawn_t2", median(&spawn), "spawns/s");
    report.add("limit.files_t2", median(&files), "spawns/s");
    report.add("run.local_array10000", median(&with_files), "tasks/s");
    report.add("run.local_ratio_files", ratio(&with_files, &files), "of limit.files_t2");
    report.add("run.local_quiet_array10000", median(&quiet), "tasks/s");
    report.add("run.local_ratio_spawn", ratio(&quiet, &spawn), "of limit.spawn_t2");
    Ok(())
}

/// The middle of the ratios of each round.
fn ratio(ours: &[f64], limits: &[f64]) -> f64 {
    median(&ours.iter().zip(limits).map(|(a, b)| a / b).collect::<Vec<_>>())
}

async fn submits(bin: &Path, rounds: usize, report: &mut Report) -> Result<()> {
    // No executor has room, so that nothing but submits is measured.
    let site = Site::start(bin, None, "local", "local: {cores: 1}\n").await?;
    let mut connection = site.connect().await?;
    // Something long in front of the queue.
    json_of(connection.call(&site.submit("#!/bin/sh\nsleep 600\n", None, true, "none")).await?)?;
    let work = tempfile::Builder::new().prefix("god-bench-limit").tempdir()?;
    let me = std::env::current_exe()?;
    let mut server = Command::new(me)
        .arg("--bin")
        .arg(bin)
        .arg("--limit-server")
        .arg(work.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    std::io::BufReader::new(server.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
    let ours = site.submit("#!/bin/sh\ntrue\n", None, false, "none");
    let body = String::from_utf8_lossy(&ours);
    let body = body.split("\r\n\r\n").nth(1).unwrap_or_default();
    let bare = request("POST", "/", None, body);
    let (mut limit, mut durable) = (vec![], vec![]);
    for _ in 0..rounds {
        limit.push(hammer(line.trim(), &bare, 20_000).await?);
        durable.push(hammer(site.address(), &ours, 20_000).await?);
    }
    server.kill()?;
    server.wait()?;
    report.add("limit.commit_http", median(&limit), "requests/s");
    report.add("submit.rest_durable", median(&durable), "submits/s");
    report.add("submit.ratio_limit", ratio(&durable, &limit), "of limit.commit_http");
    Ok(())
}

/// Requests per second over 64 connections.
async fn hammer(address: &str, request: &[u8], total: usize) -> Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..64 {
        connections.push(http::tcp(address).await?);
    }
    let each = total / connections.len();
    let began = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for mut connection in connections {
        let request = request.to_vec();
        workers.spawn(async move {
            for _ in 0..each {
                let (status, body) = connection.call(&request).await?;
                if status != 200 {
                    bail!("status {status}: {}", String::from_utf8_lossy(&body));
                }
            }
            Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok((each * 64) as f64 / began.elapsed().as_secs_f64())
}

async fn latency(bin: &Path, report: &mut Report) -> Result<()> {
    let site = Site::start(bin, None, "local", "").await?;
    let mut connection = site.connect().await?;
    let (mut running, mut over) = (vec![], vec![]);
    for _ in 0..60 {
        let began = Instant::now();
        let answer =
            json_of(connection.call(&site.submit("#!/bin/sh\nsleep 0.1\n", None, false, "none")).await?)?;
        let id = answer["id"].as_u64().context("no id")?;
        let status = site.get(&format!("/task/{id}/status"));
        loop {
            let seen = json_of(connection.call(&status).await?)?;
            if seen["status"]["primary"] != "pending" {
                break;
            }
        }
        running.push(began.elapsed().as_secs_f64() * 1000.0);
        site.until_over(&mut connection, id, Duration::from_secs(20)).await?;
    }
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        let answer = json_of(connection.call(&site.submit(TRUE, None, false, "none")).await?)?;
        let id = answer["id"].as_u64().context("no id")?;
        site.until_over(&mut connection, id, Duration::from_secs(20)).await?;
        over.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    report.add("latency.submit_to_running_p50", quantile(&running, 0.5), "ms");
    report.add("latency.submit_to_running_p99", quantile(&running, 0.99), "ms");
    report.add("latency.submit_to_over_p50", quantile(&over, 0.5), "ms");
    report.add("latency.submit_to_over_p99", quantile(&over, 0.99), "ms");
    Ok(())
}

async fn docker(bin: &Path, init: Option<&Path>, rounds: usize, report: &mut Report) -> Result<()> {
    let Ok(host) = std::env::var("DOCKER_HOST") else {
        println!("SKIP limit.docker_p4: DOCKER_HOST is not set (cargo xtask up docker)");
        return Ok(());
    };
    let init = init.context("containers need the static go-d-init")?;
    let socket = host.strip_prefix("unix://").context("DOCKER_HOST must be a unix socket here")?.to_owned();
    let lines = format!(
        "docker: {{url: 'unix://{socket}', cores: 4, memory: 16G, network: none}}\nallow_user_images: true\n"
    );
    let site = Site::start(bin, Some(init), "docker", &lines).await?;
    let (mut limit, mut ours) = (vec![], vec![]);
    site.array("#!/bin/true\n", 8, false, docker::IMAGE).await?;
    for _ in 0..rounds {
        limit.push(docker::cycles(&socket, 60).await?);
        ours.push(site.array("#!/bin/true\n", 60, false, docker::IMAGE).await?);
    }
    report.add("limit.docker_p4", median(&limit), "containers/s");
    report.add("run.docker_p4", median(&ours), "tasks/s");
    report.add("run.docker_ratio_limit", ratio(&ours, &limit), "of limit.docker_p4");
    Ok(())
}

async fn idle(bin: &Path, report: &mut Report) -> Result<()> {
    let site = Site::start(bin, None, "local", "").await?;
    site.array(TRUE, 200, false, "none").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, _) = site.cost()?;
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (after, rss) = site.cost()?;
    report.add("idle.cpu_percent", (after - before) / began.elapsed().as_secs_f64() * 100.0, "% of one core");
    report.add("idle.rss_mib", rss, "MiB");
    Ok(())
}
