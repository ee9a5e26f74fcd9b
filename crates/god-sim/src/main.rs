//! `god-sim`: runs seeds and prints one JSON line; with a flaw switched on, says how many seeds it took to find it.

use clap::Parser;
use god_engine::flaw::Flaw;
use god_sim::check::Verdict;
use god_sim::scenario::{Plan, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Simulates the control plane under faults.
#[derive(Debug, Parser)]
struct Args {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Number of seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// A known mistake to switch on (M1, M3, …), or `all` for each in turn.
    #[arg(long)]
    flaw: Option<String>,
    /// Runs each seed twice and compares the traces.
    #[arg(long)]
    twice: bool,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let flaws: Vec<(&str, Option<Flaw>)> = match args.flaw.as_deref() {
        None => vec![("none", None)],
        Some("all") => Flaw::ALL.iter().map(|(name, flaw)| (*name, Some(*flaw))).collect(),
        Some(name) => {
            let found = Flaw::ALL.iter().find(|(n, _)| *n == name);
            let known = Flaw::ALL.map(|(n, _)| n).join(" ");
            let (name, flaw) = found.ok_or_else(|| anyhow::anyhow!("no flaw {name}: known are {known}"))?;
            vec![(name, Some(*flaw))]
        }
    };
    let mut bad = 0;
    for (name, flaw) in flaws {
        bad += u64::from(!campaign(&args, name, flaw));
    }
    if bad > 0 {
        eprintln!("{bad} campaigns did not end as they should");
        std::process::exit(1);
    }
    Ok(())
}

/// Runs the seeds; true when nothing broke, or, with a flaw, when it was found.
fn campaign(args: &Args, name: &str, flaw: Option<Flaw>) -> bool {
    let started = Instant::now();
    let next = AtomicU64::new(args.from);
    let found = AtomicBool::new(false);
    let all: Mutex<Vec<Verdict>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.from + args.seeds || (flaw.is_some() && found.load(Ordering::Relaxed)) {
                        return;
                    }
                    let plan = Plan { flaw, ..Plan::of(seed) };
                    let mut verdict = run(&plan);
                    if args.twice && run(&plan).trace != verdict.trace {
                        verdict.breaches.push("the same seed gave another trace".to_owned());
                    }
                    if !verdict.breaches.is_empty() {
                        found.store(true, Ordering::Relaxed);
                    }
                    all.lock().expect("no thread panics while it holds this").push(verdict);
                }
            });
        }
    });
    let mut all = all.into_inner().expect("all threads are done");
    all.sort_by_key(|v| v.seed);
    let broken: Vec<&Verdict> = all.iter().filter(|v| !v.breaches.is_empty()).collect();
    for verdict in broken.iter().take(5) {
        for breach in verdict.breaches.iter().take(4) {
            eprintln!("{name} seed {}: {breach}", verdict.seed);
        }
    }
    let sum = |f: fn(&Verdict) -> u64| all.iter().map(f).sum::<u64>();
    let line = serde_json::json!({
        "flaw": name, "seeds": all.len(), "broken": broken.len(),
        "first_broken": broken.first().map(|v| v.seed), "tasks": sum(|v| v.tasks), "starts": sum(|v| v.starts),
        "crashes": sum(|v| v.crashes), "freezes": sum(|v| v.freezes), "turns": sum(|v| v.turns),
        "simulated_s": sum(|v| v.seconds), "wall_s": started.elapsed().as_secs_f64(),
        "trace": format!("{:016x}", all.iter().fold(0u64, |h, v| h.rotate_left(1) ^ v.trace)),
    });
    println!("{line}");
    broken.is_empty() != flaw.is_some()
}
