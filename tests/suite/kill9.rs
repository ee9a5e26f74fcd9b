//! Two hundred deaths without warning while two thousand jobs are submitted, run and killed. Afterwards the judge
//! reads what clients, jobs and documents tell.

use crate::recorder::Recorder;
use crate::rng::Rng;
use crate::site::{END, ROOM, Running, Site, free_address, program, programs, within};
use crate::web::Client;
use god_tests::client_log::Op;
use god_tests::verdict::Verdict;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Submits of the phase with a process for each daemon, and of the phase with all in one.
const SUBMITS: [u64; 2] = [1300, 700];
/// Deaths in each of them.
const KILLS: [u64; 2] = [140, 60];
/// Longest pause between two deaths, milliseconds.
const PAUSE: [u64; 2] = [900, 1800];
/// Clients at once.
const CLIENTS: u64 = 6;
/// When all is quiet, everything must be over within this.
const QUIET: Duration = Duration::from_secs(60);

/// Longest time from a death to the next start of a job, in seconds, while daemons stay dead for up to a second.
const RECOVERY: f64 = 10.0;

/// A daemon that is started again after each death.
struct Daemon<'a> {
    name: String,
    start: Box<dyn Fn() -> Running + 'a>,
    running: Option<Running>,
    again_at: Instant,
}

/// What the clients of a phase do together: they submit so many jobs, and more until the last death is over, so that
/// there is always something to start.
struct Share {
    least: u64,
    submitted: AtomicU64,
    quiet: AtomicBool,
}

impl Share {
    fn is_done(&self) -> bool {
        self.quiet.load(Ordering::Relaxed) && self.submitted.load(Ordering::Relaxed) >= self.least
    }
}

/// What one client submits.
struct Job {
    body: Value,
    /// Ask for its end after this.
    kill_after: Option<Duration>,
}

#[test]
fn two_hundred_deaths_without_warning() {
    let seed = std::env::var("GOD_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("kill9: seed {seed} (GOD_TEST_SEED)");
    let mut rng = Rng::new(seed);
    let address = free_address();
    let site = Site::configured(|config| config.replace("127.0.0.1:6543", &address) + ROOM);
    let worker = site.worker();
    let client_log = site.path().join("client.jsonl");
    let recorder = Recorder::new(&client_log);

    let mut daemons = Vec::new();
    for (name, id) in [
        ("go-d-scheduler", "1"),
        ("go-d-scheduler", "2"),
        ("go-d-watcher", "1"),
        ("go-d-watcher", "2"),
        ("go-d-web", "1"),
    ] {
        let site = &site;
        daemons
            .push(Daemon::new(name, move || site.spawn(site.command(name).arg("run").env("GOD_PROCID", id))));
    }
    phase(0, &site, &recorder, &mut rng, &mut daemons, (&address, &worker));
    stop(daemons);

    let all_in_one = || {
        let mut command = site.command("go-d");
        site.spawn(command.args(["up", "--listen", &address, "--executors", "local,fake"]))
    };
    let mut daemons = vec![Daemon::new("go-d up", all_in_one)];
    phase(1, &site, &recorder, &mut rng, &mut daemons, (&address, &worker));
    stop(daemons);

    let verdict = verdict(&site, &client_log);
    assert!(verdict.wrongs().is_empty(), "{:?}\n{:#?}", verdict.wrongs(), verdict.examples);
    assert_eq!(verdict.faults.values().sum::<u64>(), KILLS[0] + KILLS[1]);
    assert!(verdict.tasks >= SUBMITS[0] + SUBMITS[1], "{} tasks", verdict.tasks);
    assert!(verdict.starts > 1000, "{} starts", verdict.starts);
    assert!(verdict.recovery_s.max < RECOVERY, "{:?}", verdict.recovery_s);
}

impl<'a> Daemon<'a> {
    fn new(name: &str, start: impl Fn() -> Running + 'a) -> Daemon<'a> {
        let running = Some(start());
        Daemon { name: name.to_owned(), start: Box::new(start), running, again_at: Instant::now() }
    }

    /// Starts it again when it is time. It never ends by itself.
    fn keep(&mut self, now: Instant) {
        match &mut self.running {
            Some(running) => {
                let ended = running.has_ended();
                assert!(ended.is_none(), "{} ended by itself: {ended:?}", self.name);
            }
            None if now >= self.again_at => self.running = Some((self.start)()),
            None => {}
        }
    }
}

/// Submits, deaths, and the quiet after them.
fn phase(
    number: usize,
    site: &Site,
    recorder: &Recorder,
    rng: &mut Rng,
    daemons: &mut [Daemon<'_>],
    (address, worker): (&str, &(String, String)),
) {
    let begun = Instant::now();
    let client = Client::log_in(address, worker);
    let n_kills = KILLS[number];
    let expected = Duration::from_millis(n_kills * (PAUSE[number] + 50) / 2);
    let share = Share { least: SUBMITS[number], submitted: AtomicU64::new(0), quiet: AtomicBool::new(false) };
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for number_of_client in 0..CLIENTS {
            let (client, share, rng) = (client.clone(), &share, Rng::new(rng.next()));
            let pace = expected / u32::try_from(SUBMITS[number] / CLIENTS).expect("small");
            clients.push(scope.spawn(move || {
                let name = format!("p{number}c{number_of_client}");
                be_client(&client, recorder, &name, site, rng, (number, pace), share);
            }));
        }
        let mut left = n_kills;
        let mut next = Instant::now();
        while left > 0 || clients.iter().any(|client| !client.is_finished()) {
            let now = Instant::now();
            daemons.iter_mut().for_each(|daemon| daemon.keep(now));
            if left > 0 && now >= next {
                left -= u64::from(kill_one(daemons, rng, recorder));
                next = now + Duration::from_millis(rng.range(50, PAUSE[number]));
            }
            share.quiet.store(left == 0, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(5));
        }
        within(Duration::from_secs(2), "the last daemon's start", || {
            daemons.iter_mut().for_each(|daemon| daemon.keep(Instant::now()));
            daemons.iter().all(|daemon| daemon.running.is_some()).then_some(())
        });
    });
    let busy = begun.elapsed();
    let client = Client::log_in(address, worker);
    within(QUIET, "the end of all tasks", || {
        let counts = client.counts();
        (counts["pending"] == 0 && counts["running"] == 0).then_some(())
    });
    println!("kill9: phase {number}: busy for {busy:?}, quiet {:?} later", begun.elapsed() - busy);
}

/// Kills one of those that run; false when none does.
fn kill_one(daemons: &mut [Daemon<'_>], rng: &mut Rng, recorder: &Recorder) -> bool {
    let mut alive: Vec<&mut Daemon<'_>> =
        daemons.iter_mut().filter(|daemon| daemon.running.is_some()).collect();
    if alive.is_empty() {
        return false;
    }
    let chosen = usize::try_from(rng.range(0, alive.len() as u64)).expect("small");
    let daemon = &mut alive[chosen];
    let Some(running) = daemon.running.take() else { return false };
    recorder.fault("kill9", &daemon.name);
    running.kill();
    let pause = if rng.percent(50) { 0 } else { rng.range(0, 1000) };
    daemon.again_at = Instant::now() + Duration::from_millis(pause);
    true
}

/// One client's share of the submits.
fn be_client(
    client: &Client,
    recorder: &Recorder,
    name: &str,
    site: &Site,
    mut rng: Rng,
    (phase, pace): (usize, Duration),
    share: &Share,
) {
    let begun = Instant::now();
    let mut own = Vec::new();
    let mut kills: BTreeMap<Instant, u64> = BTreeMap::new();
    let mut n = 0;
    loop {
        while let Some(kill) = kills.first_entry().filter(|kill| *kill.key() <= Instant::now()) {
            let id = kill.remove();
            let answer = client.insist(
                recorder,
                Op::Kill,
                &format!("kill-{id}"),
                ("DELETE", &format!("/task/{id}")),
                &Value::Null,
            );
            assert!(answer.is_some(), "a kill of an own task was refused");
        }
        let done = share.is_done();
        if done && kills.is_empty() {
            return;
        }
        if done || begun.elapsed() < pace * n {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        share.submitted.fetch_add(1, Ordering::Relaxed);
        n += 1;
        let key = format!("{name}-{n}");
        let job = job(&key, site, &mut rng, phase, &own);
        let answer = client.insist(recorder, Op::Submit, &key, ("POST", "/task"), &job.body);
        let id = answer.and_then(|answer| answer["id"].as_u64()).expect("a good submit is accepted");
        own.push(id);
        if let Some(span) = job.kill_after {
            kills.insert(Instant::now() + span, id);
        }
    }
}

/// A job as chance wants it.
fn job(key: &str, site: &Site, rng: &mut Rng, phase: usize, own: &[u64]) -> Job {
    let sleep = |ms: u64| format!("sleep {}.{:03}", ms / 1000, ms % 1000);
    let code = if rng.percent(70) { 0 } else { u8::try_from(rng.range(1, 100)).expect("small") };
    let short = rng.range(0, 400);
    let mut kill_after = None;
    let mut needs = json!({"cpu": 1, "ram": 1});
    if phase == 1 && rng.percent(30) {
        let script = format!("#!/bin/sh\n#FAKE duration={short}ms exit={code}\n");
        needs["executor"] = json!("fake");
        if rng.percent(10) {
            kill_after = Some(Duration::from_millis(rng.range(0, 500)));
        }
        return Job { body: submit(key, needs, &script), kill_after };
    }
    let script = match rng.range(0, 100) {
        // Lasts until it is killed.
        0..8 => {
            kill_after = Some(Duration::from_millis(rng.range(0, 3000)));
            site.script("sleep 300", 0)
        }
        // Killed around its own end.
        8..14 => {
            kill_after = Some(Duration::from_millis(rng.range(0, 800)));
            site.script(&sleep(short), code)
        }
        // Array; some are killed.
        14..24 => {
            let limit = if rng.percent(30) { "%2" } else { "" };
            needs["array"] = json!({"values": format!("{}{limit}", rng.range(2, 7))});
            if rng.percent(20) {
                kill_after = Some(Duration::from_millis(rng.range(0, 800)));
            }
            site.script(&sleep(short), code)
        }
        // Waits for others.
        24..36 if !own.is_empty() => {
            let mut some =
                || own[own.len() - 1 - usize::try_from(rng.next() % 5).expect("small").min(own.len() - 1)];
            needs["tasks"] = json!([some(), some()]);
            needs["after_policy"] = json!(if rng.percent(50) { "ok" } else { "any" });
            site.script(&sleep(short), code)
        }
        _ => site.script(&sleep(short), code),
    };
    Job { body: submit(key, needs, &script), kill_after }
}

fn submit(key: &str, needs: Value, script: &str) -> Value {
    json!({"meta": {"name": key}, "requirements": needs, "command": {"cmd": script}})
}

/// Ends all daemons in an orderly way.
fn stop(daemons: Vec<Daemon<'_>>) {
    for daemon in daemons {
        let took = daemon.running.expect("it runs").end();
        assert!(took < END, "{} took {took:?}", daemon.name);
    }
}

/// What the judge says.
fn verdict(site: &Site, client_log: &std::path::Path) -> Verdict {
    let output = Command::new(program("history-checker"))
        .arg("--client")
        .arg(client_log)
        .arg("--runs")
        .arg(site.run_log())
        .arg("--database")
        .arg(site.data().join("god.db"))
        .arg("--shared")
        .arg(site.data().join("shared"))
        .stdin(Stdio::null())
        .output()
        .expect("the judge runs");
    let line = String::from_utf8_lossy(&output.stdout);
    let line = line.trim();
    assert!(!line.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{line}");
    let report = programs().parent().expect("the target directory").join("kill9.json");
    std::fs::write(report, format!("{line}\n")).expect("a report");
    serde_json::from_str(line).expect("a verdict")
}
