//! The policy plugin: in which order pending tasks are tried.

use crate::group::Group;
use crate::ids::TaskId;
use crate::units::Timestamp;
use std::fmt;

/// What a policy may look at: one group of pending tasks, by its oldest member.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The group.
    pub group: &'a Group,
    /// The oldest task in it.
    pub head: TaskId,
    /// When that task was submitted.
    pub submitted: Timestamp,
}

/// Orders pending tasks. Within a group the order is by id, always; a policy orders groups by their heads.
pub trait Policy: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;

    /// A rank for each candidate, in the same order: smaller goes first, equal ranks go by id. Never NaN.
    fn rank(&self, candidates: &[Candidate<'_>], now: Timestamp) -> Vec<f64>;
}
