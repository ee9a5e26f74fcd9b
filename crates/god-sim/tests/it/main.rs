//! Seeds that must hold, flaws that must be found, and one trace for one seed.

use god_engine::flaw::Flaw;
use god_sim::check::Verdict;
use god_sim::scenario::{Plan, run};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of each run of the tests.
const SEEDS: u64 = 2_000;

/// Seeds that once broke something, kept for ever.
const CORPUS: [u64; 11] = [26, 147, 184, 211, 275, 278, 298, 575, 965, 2405, 6813];

fn campaign(seeds: impl Iterator<Item = u64>) -> Vec<Verdict> {
    let seeds: Vec<u64> = seeds.collect();
    let next = AtomicU64::new(0);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let verdict = run(&Plan::of(*seed));
                    all.lock().expect("no panic under the lock").push(verdict);
                }
            });
        }
    });
    all.into_inner().expect("threads are done")
}

fn assert_sound(verdicts: &[Verdict]) {
    let broken: Vec<_> = verdicts.iter().filter(|v| !v.breaches.is_empty()).collect();
    let shown: Vec<String> =
        broken.iter().take(3).map(|v| format!("seed {}: {}", v.seed, v.breaches.join("; "))).collect();
    assert!(
        broken.is_empty(),
        "{} of {} seeds broke an invariant:\n{}",
        broken.len(),
        verdicts.len(),
        shown.join("\n")
    );
}

#[test]
fn two_thousand_seeds_break_no_invariant() {
    let verdicts = campaign(1..=SEEDS);
    assert_sound(&verdicts);
    // The faults did happen: a simulation of a calm sea proves nothing.
    let sum = |f: fn(&Verdict) -> u64| verdicts.iter().map(f).sum::<u64>();
    assert!(sum(|v| v.crashes) > SEEDS && sum(|v| v.freezes) > SEEDS / 2, "too few faults");
    assert!(sum(|v| v.starts) > 5 * SEEDS, "too few jobs ran");
}

#[test]
fn seeds_that_once_broke_something_hold() {
    assert_sound(&campaign(CORPUS.into_iter()));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 77, 1234] {
        let (one, two) = (run(&Plan::of(seed)), run(&Plan::of(seed)));
        assert_eq!((one.trace, one.turns), (two.trace, two.turns), "seed {seed}");
        assert_ne!(one.trace, run(&Plan::of(seed + 1)).trace, "the trace says nothing");
    }
}

/// The first of these seeds that breaks something with this flaw on, and what it broke.
fn first_broken(flaw: Flaw, seeds: u64) -> Option<(u64, String)> {
    let next = AtomicU64::new(1);
    let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds || found.lock().expect("no panic under the lock").is_some() {
                        return;
                    }
                    let verdict = run(&Plan { flaw: Some(flaw), ..Plan::of(seed) });
                    if let Some(breach) = verdict.breaches.into_iter().next() {
                        found.lock().expect("no panic under the lock").get_or_insert((seed, breach));
                    }
                }
            });
        }
    });
    found.into_inner().expect("threads are done")
}

#[test]
fn every_known_flaw_is_found() {
    for (name, flaw) in Flaw::ALL {
        let Some((seed, breach)) = first_broken(flaw, 4_000) else {
            panic!("{name} ({flaw:?}) was not found in 4,000 seeds");
        };
        println!("{name} after {seed} seeds by {breach:.100}");
    }
}
