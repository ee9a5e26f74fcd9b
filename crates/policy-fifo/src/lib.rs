//! The policy `FiFo`: who came first goes first. Ids grow with time, so every candidate has the same rank and the id
//! decides; nothing is looked at, not even the clock.

use god_core::policy::{Candidate, Policy, Ranks};
use god_core::units::Timestamp;

/// The name in the configuration.
pub const NAME: &str = "FiFo";

/// First in, first out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FiFo;

impl Policy for FiFo {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rank(&self, candidates: &[Candidate<'_>], _now: Timestamp) -> Ranks {
        Ranks::equal(candidates.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::group::{Group, Shape};
    use god_core::ids::{ProjectId, TaskId, UserId};
    use god_core::policy::Standing;

    fn group(owner: &str, cores: u32) -> Group {
        let shape = Shape {
            cores,
            ram: 1,
            gpus: 0,
            executor: String::new(),
            labels: Vec::new(),
            ports: 0,
            time_limit: None,
            avoid: Vec::new(),
        };
        Group { owner: UserId::new(owner), project: ProjectId::new("default"), shape }
    }

    /// The heads in the order in which they are tried: by rank, then by id.
    fn order(candidates: &[Candidate<'_>], now: Timestamp) -> Vec<u64> {
        let ranks = FiFo.rank(candidates, now);
        let mut tried: Vec<(f64, TaskId)> =
            candidates.iter().enumerate().map(|(n, c)| (ranks.of(n, c.submitted), c.head)).collect();
        tried.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        tried.into_iter().map(|(_, id)| id.0).collect()
    }

    #[test]
    fn the_lower_id_goes_first_whoever_owns_it_and_whatever_it_asks_for() {
        let (bob, eve, big) = (group("bob", 1), group("eve", 1), group("bob", 64));
        let (user, project) = (Standing::default(), Standing::default());
        let at = |group, head, submitted| Candidate {
            group,
            user: &user,
            project: &project,
            head: TaskId(head),
            submitted: Timestamp(submitted),
            newest: Timestamp(submitted),
        };
        // A clock that was set back between two submits changes nothing.
        let candidates = [at(&bob, 9, 100), at(&eve, 3, 900), at(&big, 5, 500)];
        assert_eq!(order(&candidates, Timestamp(1_000)), [3, 5, 9]);
        assert_eq!(order(&candidates, Timestamp(-1)), [3, 5, 9]);
        assert_eq!(order(&[], Timestamp(0)), [0; 0]);
    }
}
