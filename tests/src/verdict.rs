//! The one line that a run reports.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a history shows. All counts of wrongs are 0 after a good run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// Commit that was tested, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Tier of the test.
    pub tier: String,
    /// Kind of store.
    pub backend: String,
    /// Faults that were injected, by kind and target.
    pub faults: BTreeMap<String, u64>,
    /// Tasks that run something: single ones and children of arrays.
    pub tasks: u64,
    /// Attempts that were claimed for them.
    pub attempts: u64,
    /// Starts that the jobs wrote down.
    pub starts: u64,
    /// Seconds between the first and the last line of the logs.
    pub wall_s: f64,
    /// Submits that were answered with yes and have no document, or another one's; children that their array misses.
    pub lost: u64,
    /// Second documents of one idempotency key.
    pub duplicate_tasks: u64,
    /// Documents of submits that were answered with no.
    pub ghost_tasks: u64,
    /// Starts beyond those that the task's attempts explain.
    pub duplicate_starts: u64,
    /// Starts while an earlier run of the same task had not ended.
    pub concurrent_attempts: u64,
    /// Starts of tasks before those that they wait for had ended.
    pub early_starts: u64,
    /// Documents that are over while the job still ran, or that tell another end than the job did.
    pub false_ends: u64,
    /// Ends that were written or booked twice.
    pub double_ends: u64,
    /// Processes of jobs that are alive though nothing should run any more, and runs that no document knows.
    pub orphans_over_bound: u64,
    /// Documents that are not over.
    pub stuck: u64,
    /// Kills that were answered with yes and after whose bound the job still lived.
    pub late_kills: u64,
    /// Sum of the differences between the store's counters and a recount.
    pub counter_drift: u64,
    /// Time from a fault to the next start.
    pub recovery_s: Recovery,
    /// Longest time from an acknowledged kill to the end of a job that had started, in seconds.
    pub slowest_kill_s: f64,
    /// Answers from 500 on, except 503, which says that the request was not accepted.
    pub unexpected_5xx: u64,
    /// Parts of the run that were left out, and why.
    pub skipped: Vec<String>,
    /// For each wrong a few words, the first ones only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// Seconds from a fault to the next start of a job.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Recovery {
    /// Median.
    pub p50: f64,
    /// Ninety-nine of a hundred are not above.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

impl Recovery {
    /// From spans in nanoseconds, by the nearest rank; zeros when there are none.
    #[must_use]
    pub fn of(mut spans: Vec<u64>) -> Recovery {
        spans.sort_unstable();
        let rank = |percent: usize| {
            let place = (spans.len() * percent).div_ceil(100).max(1) - 1;
            spans.get(place).map_or(0.0, |ns| seconds(*ns))
        };
        Recovery { p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

/// Nanoseconds as seconds, to the millisecond.
pub(crate) fn seconds(ns: u64) -> f64 {
    (ns as f64 / 1e6).round() / 1e3
}

impl Verdict {
    /// Each kind of wrong that was found, with its count; empty after a good run.
    #[must_use]
    pub fn wrongs(&self) -> BTreeMap<&'static str, u64> {
        let all = [
            ("lost", self.lost),
            ("duplicate_tasks", self.duplicate_tasks),
            ("ghost_tasks", self.ghost_tasks),
            ("duplicate_starts", self.duplicate_starts),
            ("concurrent_attempts", self.concurrent_attempts),
            ("early_starts", self.early_starts),
            ("false_ends", self.false_ends),
            ("double_ends", self.double_ends),
            ("orphans_over_bound", self.orphans_over_bound),
            ("stuck", self.stuck),
            ("late_kills", self.late_kills),
            ("counter_drift", self.counter_drift),
            ("unexpected_5xx", self.unexpected_5xx),
        ];
        all.into_iter().filter(|(_, n)| *n > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_the_nearest_rank() {
        let recovery = Recovery::of((1..=200).rev().map(|n| n * 1_000_000_000).collect());
        assert_eq!(recovery, Recovery { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Recovery::of(vec![1_500_000]), Recovery { p50: 0.002, p99: 0.002, max: 0.002 });
        assert_eq!(Recovery::of(Vec::new()), Recovery::default());
    }

    #[test]
    fn a_wrong_is_named() {
        let verdict = Verdict { lost: 2, ..Verdict::default() };
        assert_eq!(verdict.wrongs(), [("lost", 2)].into());
        assert!(Verdict { starts: 5, attempts: 5, ..Verdict::default() }.wrongs().is_empty());
    }
}
