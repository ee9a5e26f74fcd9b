//! The judge: compares what clients were told, what is stored and what the engine did.

use crate::engine::{Engine, Truth};
use crate::rt::Rt;
use crate::scenario::{Client, Plan};
use futures::FutureExt;
use god_core::state::{Outcome, Phase, TaskState};
use god_core::store::{OverFilter, Scan, Store};
use god_core::task::Task;
use god_core::{AttemptKey, TaskId};
use god_store::MemoryStore;
use std::collections::BTreeMap;

/// The judgement on one run.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// What was broken; empty when all held.
    pub breaches: Vec<String>,
    /// Hash of everything that happened.
    pub trace: u64,
    /// Turns of processes.
    pub turns: u64,
    /// Crashes of processes.
    pub crashes: u64,
    /// Freezes of processes.
    pub freezes: u64,
    /// Tasks submitted, children included.
    pub tasks: u64,
    /// Scripts started.
    pub starts: u64,
    /// Virtual seconds.
    pub seconds: u64,
}

/// An answer of the memory store, which never waits.
fn now<T>(answer: impl Future<Output = T>) -> Option<T> {
    answer.now_or_never()
}

fn documents(store: &MemoryStore) -> BTreeMap<TaskId, Task> {
    let mut all = BTreeMap::new();
    let mut after = None;
    while let Some(Ok(page)) = now(store.scan(&Scan::Active(None), after, 10_000)) {
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        all.extend(page.into_iter().map(|t| (t.id, t)));
    }
    let filter = OverFilter { owner: None, skip: 0, limit: None };
    if let Some(Ok(over)) = now(store.over(&filter)) {
        all.extend(over.into_iter().map(|t| (t.id, t)));
    }
    all
}

/// Whether all is over and nothing runs.
#[must_use]
pub fn is_still(store: &MemoryStore, engine: &Engine) -> bool {
    let active = now(store.scan(&Scan::Active(None), None, 1));
    engine.left().is_empty() && matches!(active, Some(Ok(page)) if page.is_empty())
}

/// Judges a run that has come to rest.
#[must_use]
pub fn judge(
    plan: &Plan,
    rt: &Rt,
    store: &MemoryStore,
    truth: &Truth,
    engine: &Engine,
    clients: &[Client],
) -> Verdict {
    let docs = documents(store);
    let submitted: u64 = clients
        .iter()
        .flat_map(|c| c.submitted.values())
        .map(|s| 1 + s.array.as_ref().map_or(0, |a| a.count()))
        .sum();
    for client in clients {
        for (id, spec) in &client.submitted {
            match docs.get(id) {
                None => truth.breach("I1", &format!("task {id} was acknowledged and is not stored")),
                Some(task) => {
                    if *task.spec != **spec {
                        truth.breach("I1", &format!("task {id} is stored with another specification"));
                    }
                    array(task, &docs, truth);
                }
            }
        }
        for id in &client.killed {
            if let Some(task) = docs.get(id)
                && !task.phase().is_over()
            {
                truth.breach("I9", &format!("task {id} was killed and is {:?}", task.phase()));
            }
        }
    }
    for task in docs.values().filter(|t| !t.phase().is_over()) {
        let state = format!("{:?}", task.state);
        let what =
            format!("task {} never ended: {:?} {state:.200}, wish {:?}", task.id, task.children, task.wish);
        truth.breach("I18", &what);
    }
    for task in docs.values().filter(|t| t.phase() == Phase::Over) {
        if truth.facts().ends.get(&task.id).copied().unwrap_or(0) == 0 {
            truth.breach("I4", &format!("task {} is over without a recorded end", task.id));
        }
    }
    let left = engine.left();
    if !left.is_empty() {
        truth.breach("I7", &format!("runs are left: {}", list(&left)));
    }
    usage(truth);
    let (trace, turns, crashes, freezes) = rt.summary();
    let facts = truth.facts();
    Verdict {
        seed: plan.seed,
        breaches: facts.breaches.clone(),
        trace,
        turns,
        crashes,
        freezes,
        tasks: submitted,
        starts: facts.starts.values().map(|n| u64::from(*n)).sum(),
        seconds: rt.now().as_secs(),
    }
}

fn list(keys: &[AttemptKey]) -> String {
    keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Each attempt that ran is booked once, with the time it ran.
fn usage(truth: &Truth) {
    let mut breaches = Vec::new();
    {
        let facts = truth.facts();
        for (key, ran) in &facts.ran {
            match facts.booked.get(key) {
                // Nobody saw it run, nor end.
                None if facts.lost.contains(key) => {}
                None => breaches.push(format!("attempt {key} ran and was not booked")),
                Some(booked) if booked != ran && !facts.lost.contains(key) => {
                    breaches.push(format!("attempt {key} ran {ran} ms and was booked with {booked}"));
                }
                Some(_) => {}
            }
        }
        for key in facts.booked.keys().filter(|k| !facts.starts.contains_key(k)) {
            breaches.push(format!("attempt {key} was booked and never ran"));
        }
    }
    breaches.iter().for_each(|what| truth.breach("I5", what));
}

/// A parent and its children agree.
fn array(parent: &Task, docs: &BTreeMap<TaskId, Task>, truth: &Truth) {
    let Some(spec) = parent.array() else { return };
    let TaskState::Over { outcome, .. } = &parent.state else { return };
    let children: Vec<_> = (0..spec.count()).map(|n| docs.get(&parent.id.child(n))).collect();
    let made = children.iter().flatten().count() as u64;
    let over = children.iter().flatten().filter(|t| t.phase().is_over()).count() as u64;
    let failed =
        children.iter().flatten().filter(|t| t.state.outcome().is_some_and(|o| !o.is_success())).count()
            as u64;
    if made != over {
        truth.breach("I17", &format!("array {} is over with {} of {made} children", parent.id, over));
    }
    match outcome {
        Outcome::Gathered { failed: told } => {
            if over != spec.count() {
                let what = format!("array {} is over after {over} of {} children", parent.id, spec.count());
                truth.breach("I17", &what);
            }
            if *told != failed {
                truth
                    .breach("I17", &format!("array {} counts {told} failed children of {failed}", parent.id));
            }
        }
        Outcome::Killed { .. } | Outcome::Skipped(_) | Outcome::Refused(_) | Outcome::Quota(_) => {}
        other => truth.breach("I17", &format!("array {} ended as {other}", parent.id)),
    }
}
