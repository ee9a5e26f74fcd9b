//! The order in which groups are tried: by policy, and by id where ranks are equal.

use super::{GroupIx, Pending};
use crate::accounts::Accounts;
use god_core::ids::TaskId;
use god_core::policy::{Candidate, Policy, Ranks};
use god_core::units::Timestamp;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// All groups that have something to start, with their ranks.
#[derive(Debug)]
pub struct Ranked {
    groups: Vec<GroupIx>,
    ranks: Ranks,
}

/// A group among the ranked ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    candidate: usize,
    /// The group.
    pub ix: GroupIx,
}

impl Ranked {
    /// All of them.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.groups.iter().enumerate().map(|(candidate, ix)| Place { candidate, ix: *ix })
    }

    /// Where a task of a group stands: smaller goes first.
    #[must_use]
    pub fn key(&self, place: Place, task: TaskId, submitted: Timestamp) -> (Rank, TaskId) {
        (Rank(self.ranks.of(place.candidate, submitted)), task)
    }
}

impl Pending {
    /// Ranks the groups that have something to start. Those that are left alone for a while are among them only when
    /// there is no `mono`.
    #[must_use]
    pub fn ranked(
        &self,
        policy: &dyn Policy,
        accounts: &Accounts,
        now: Timestamp,
        mono: Option<Duration>,
    ) -> Ranked {
        let mut candidates = Vec::new();
        let mut groups = Vec::new();
        for (ix, top) in self.tops.iter().enumerate() {
            let Some((head, submitted, newest)) = top.head else { continue };
            if mono.is_some_and(|mono| mono < top.blocked_until) {
                continue;
            }
            let (user, project) = accounts.standings(top.who);
            let group = &self.queues[ix].group;
            candidates.push(Candidate { group, user, project, head, submitted, newest });
            groups.push(ix);
        }
        let ranks = policy.rank(&candidates, now);
        Ranked { groups, ranks }
    }
}

/// Heads of some of the ranked groups, best first.
#[derive(Debug)]
pub struct Order<'r> {
    ranked: &'r Ranked,
    heap: BinaryHeap<Reverse<(Rank, TaskId, Place)>>,
}

impl<'r> Order<'r> {
    /// The groups that `wanted` says.
    #[must_use]
    pub fn new(ranked: &'r Ranked, pending: &Pending, mut wanted: impl FnMut(Place) -> bool) -> Order<'r> {
        let heads = ranked.places().filter(|place| wanted(*place)).filter_map(|place| {
            let (head, submitted, _) = pending.tops[place.ix].head?;
            let (rank, id) = ranked.key(place, head, submitted);
            Some(Reverse((rank, id, place)))
        });
        Order { ranked, heap: heads.collect::<Vec<_>>().into() }
    }

    /// The best group.
    pub fn pop(&mut self) -> Option<Place> {
        self.heap.pop().map(|Reverse((_, _, place))| place)
    }

    /// Puts a group back with its new head, if it has one.
    pub fn push(&mut self, place: Place, pending: &Pending) {
        if let Some((head, submitted, _)) = pending.tops[place.ix].head {
            let (rank, id) = self.ranked.key(place, head, submitted);
            self.heap.push(Reverse((rank, id, place)));
        }
    }
}

/// A rank with a total order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rank(pub f64);

impl Eq for Rank {}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
