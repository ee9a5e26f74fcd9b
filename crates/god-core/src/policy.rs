//! The policy plugin: in which order pending tasks are tried.

use crate::group::Group;
use crate::ids::TaskId;
use crate::units::Timestamp;
use crate::usage::Used;
use std::fmt;

/// What counts for the rank of a user or a project.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Priority, 0 to 1.
    pub prio: f64,
    /// What was booked over the usage window.
    pub used: Used,
}

impl Default for Standing {
    /// Somebody of whom nothing is known: the middle priority, and nothing used.
    fn default() -> Standing {
        Standing { prio: 0.5, used: Used::default() }
    }
}

/// What a policy may look at: one group of pending tasks. Within a group the order is by id, always.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The group.
    pub group: &'a Group,
    /// The user's standing.
    pub user: &'a Standing,
    /// The project's standing.
    pub project: &'a Standing,
    /// The oldest task in it.
    pub head: TaskId,
    /// When that task was submitted.
    pub submitted: Timestamp,
    /// When the newest task in it was submitted.
    pub newest: Timestamp,
}

/// Ranks of groups of pending tasks: smaller goes first, equal ranks go by id. The rank of a task grows with the time of
/// its submit, equally fast for all, so that one number for each group ranks every task in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranks {
    /// For each candidate, in the same order, the rank of a task submitted at `origin`. Never NaN.
    pub bases: Vec<f64>,
    /// What a rank grows by for each millisecond that a task was submitted later; never negative.
    pub per_milli: f64,
    /// The point in time that ranks are counted from.
    pub origin: Timestamp,
}

impl Ranks {
    /// Every candidate is as good as any other: the order is by id.
    #[must_use]
    pub fn equal(n: usize) -> Ranks {
        Ranks { bases: vec![0.0; n], per_milli: 0.0, origin: Timestamp(0) }
    }

    /// The rank of a task of the candidate with this index.
    #[must_use]
    pub fn of(&self, candidate: usize, submitted: Timestamp) -> f64 {
        let base = self.bases.get(candidate).copied().unwrap_or(f64::INFINITY);
        base + self.per_milli * (submitted.0.saturating_sub(self.origin.0)) as f64
    }
}

/// Orders pending tasks.
pub trait Policy: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;

    /// Ranks the groups that have something pending. All of them are given, whether there is room for them or not.
    fn rank(&self, candidates: &[Candidate<'_>], now: Timestamp) -> Ranks;
}
