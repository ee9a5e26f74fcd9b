use super::*;
use crate::accounts::Accounts;
use crate::testing::{Fifo, parent, spec, task};
use god_core::policy::{Candidate, Policy, Ranks};
use god_core::spec::TaskSpec;
use god_core::task::Task;
use god_core::units::{Cores, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Wide groups go later, and waiting counts.
#[derive(Debug)]
struct ByWidth {
    per_milli: f64,
}

impl Policy for ByWidth {
    fn name(&self) -> &'static str {
        "by-width"
    }

    fn rank(&self, candidates: &[Candidate<'_>], _now: Timestamp) -> Ranks {
        let bases = candidates.iter().map(|c| f64::from(c.group.shape.cores)).collect();
        Ranks { bases, per_milli: self.per_milli, origin: Timestamp(0) }
    }
}

fn queue(tasks: Vec<Task>) -> (Pending, Accounts) {
    let (mut pending, mut accounts) = (Pending::default(), Accounts::default());
    for task in tasks {
        pending.add(task, Vec::new(), &mut accounts);
    }
    (pending, accounts)
}

fn ranked(pending: &Pending, accounts: &Accounts, policy: &dyn Policy) -> Ranked {
    pending.ranked(policy, accounts, Timestamp(0), None)
}

fn of_width(id: u64, cores: u32, submitted: i64) -> Task {
    let task = task(id, TaskSpec { cores: Cores(cores), ..spec() });
    Task { submitted: Timestamp(submitted), ..task }
}

/// Number of tasks ahead, by task.
fn ahead(knots: Knots) -> BTreeMap<u64, u64> {
    knots.into_iter().flat_map(|(_, knots)| knots).collect()
}

#[test]
fn every_task_of_a_small_queue_is_counted() {
    let (pending, accounts) =
        queue(vec![of_width(1, 2, 0), of_width(2, 1, 0), parent(10, "1:3"), of_width(20, 2, 0)]);
    let fifo = ranked(&pending, &accounts, &Fifo);
    assert_eq!(ahead(knots(&pending, &fifo)), [(1, 0), (2, 1), (11, 2), (12, 3), (13, 4), (20, 5)].into());
    let by_width = ranked(&pending, &accounts, &ByWidth { per_milli: 0.0 });
    let want = [(2, 0), (11, 1), (12, 2), (13, 3), (1, 4), (20, 5)].into();
    assert_eq!(ahead(knots(&pending, &by_width)), want);
    let (pending, accounts) = queue(Vec::new());
    assert!(knots(&pending, &ranked(&pending, &accounts, &Fifo)).is_empty());
}

#[test]
fn a_large_array_is_counted_without_its_children() {
    let (pending, accounts) =
        queue(vec![of_width(1, 2, 0), parent(10, "1:1000000"), of_width(2_000_000, 2, 0)]);
    let counted = knots(&pending, &ranked(&pending, &accounts, &Fifo));
    assert_eq!(ahead(counted), [(1, 0), (11, 1), (1_000_010, 1_000_000), (2_000_000, 1_000_001)].into());
}

proptest! {
    /// Where groups are evenly spread, counting their ends says nearly what counting every task says.
    #[test]
    fn counting_groups_is_nearly_counting_tasks(
        groups in prop::collection::vec((1u32..6, 0i64..50_000, 1i64..40, 1usize..60), 1..8),
        per_milli in prop::sample::select(vec![0.0, 1e-6, 1e-4]),
    ) {
        let mut tasks = Vec::new();
        for (cores, begin, step, n) in &groups {
            for k in 0..*n as i64 {
                tasks.push((begin + step * k, *cores));
            }
        }
        tasks.sort_unstable();
        let n = tasks.len() as f64;
        let tasks = tasks.into_iter().zip(1..).map(|((at, cores), id)| of_width(id, cores, at)).collect();
        let (pending, accounts) = queue(tasks);
        let ranked = ranked(&pending, &accounts, &ByWidth { per_milli });
        let exact = ahead(one_by_one(&pending, &ranked));
        for (id, nearly) in ahead(by_groups(&pending, &ranked)) {
            let off = nearly.abs_diff(exact[&id]) as f64;
            // Groups of the same width may be two bunches with nothing in between: that is the worst.
            prop_assert!(off <= 1.0 + n / 2.0, "task {id}: {nearly} instead of {}", exact[&id]);
        }
        let first = exact.iter().find(|(_, ahead)| **ahead == 0).map(|(id, _)| *id).expect("somebody is first");
        prop_assert_eq!(ahead(by_groups(&pending, &ranked)).get(&first).copied(), Some(0));
    }
}
