//! The policy `FairShare`: who used less, has the higher priority or waits longer goes first.
//!
//! Everything but the time waited is the same for all tasks of a user in a project, and the time waited counts linearly;
//! so one number for each group and one slope for all order every pending task exactly, at the cost of the groups.

use god_core::ids::ProjectId;
use god_core::policy::{Candidate, Policy, Ranks, Standing};
use god_core::units::Timestamp;
use god_core::usage::Used;

/// The name in the configuration.
pub const NAME: &str = "FairShare";

/// How much each part of a share counts; none is negative. A share is the sum of its parts, each between 0 and its weight,
/// and the smallest share goes first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// The time waited; who waits longest has 0.
    pub waiting_time: f64,
    /// The user's run time over the usage window.
    pub user_time: f64,
    /// The user's cores.
    pub user_cpu: f64,
    /// The user's memory.
    pub user_ram: f64,
    /// The project's run time.
    pub project_time: f64,
    /// The project's cores.
    pub project_cpu: f64,
    /// The project's memory.
    pub project_ram: f64,
    /// The user's priority; the highest has 0.
    pub user: f64,
    /// The project's priority; the highest has 0.
    pub project: f64,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights {
            waiting_time: 0.1,
            user_time: 1.0,
            user_cpu: 0.2,
            user_ram: 0.2,
            project_time: 0.1,
            project_cpu: 0.01,
            project_ram: 0.01,
            user: 1.0,
            project: 1.0,
        }
    }
}

/// Shares by priority, usage and time waited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FairShare {
    weights: Weights,
}

impl FairShare {
    /// With these weights.
    #[must_use]
    pub fn new(weights: Weights) -> FairShare {
        FairShare { weights }
    }
}

/// The smallest and the largest of some values.
#[derive(Debug, Clone, Copy)]
struct Span {
    min: f64,
    max: f64,
}

impl Span {
    const EMPTY: Span = Span { min: f64::INFINITY, max: f64::NEG_INFINITY };

    fn add(&mut self, value: f64) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Where a value lies between the two, 0 to 1. All lie in the middle when the two are less than 1 apart.
    fn place(self, value: f64) -> f64 {
        let width = self.max - self.min;
        if width < 1.0 { 0.5 } else { (value - self.min) / width }
    }
}

/// What was used, as numbers that can be divided.
#[derive(Debug, Clone, Copy, Default)]
struct Amounts {
    seconds: f64,
    cores: f64,
    ram: f64,
}

impl Amounts {
    fn of(standing: &Standing) -> Amounts {
        let Used { millis, cores, ram, .. } = standing.used;
        Amounts { seconds: millis as f64 / 1000.0, cores: cores as f64, ram: ram as f64 }
    }
}

/// Spans of what some users or some projects used.
#[derive(Debug, Clone, Copy)]
struct Spans {
    seconds: Span,
    cores: Span,
    ram: Span,
}

impl Spans {
    const EMPTY: Spans = Spans { seconds: Span::EMPTY, cores: Span::EMPTY, ram: Span::EMPTY };

    fn add(&mut self, used: Amounts) {
        self.seconds.add(used.seconds);
        self.cores.add(used.cores);
        self.ram.add(used.ram);
    }

    /// The largest of each: what the worst of all may have used.
    fn most(self) -> Amounts {
        Amounts { seconds: self.seconds.max, cores: self.cores.max, ram: self.ram.max }
    }

    fn share(self, used: Amounts, [time, cpu, ram]: [f64; 3]) -> f64 {
        self.seconds.place(used.seconds) * time
            + self.cores.place(used.cores) * cpu
            + self.ram.place(used.ram) * ram
    }
}

impl Policy for FairShare {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rank(&self, candidates: &[Candidate<'_>], _now: Timestamp) -> Ranks {
        let weights = &self.weights;
        let mut users = Spans::EMPTY;
        let mut projects = Spans::EMPTY;
        // The project of those who have none counts like one that used nothing, as far as the bounds go.
        projects.add(Amounts::default());
        let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
        for candidate in candidates {
            users.add(Amounts::of(candidate.user));
            if !is_default(&candidate.group.project) {
                projects.add(Amounts::of(candidate.project));
            }
            oldest = oldest.min(candidate.submitted.0);
            newest = newest.max(candidate.newest.0).max(candidate.submitted.0);
        }
        // Now it is given the largest of each: who has a project goes before who has none.
        let no_project = (projects.most(), Standing::default().prio);
        // `now` adds the same to every time waited, so it does not matter.
        let waited_millis = newest.saturating_sub(oldest) as f64;
        let (per_milli, waiting) = if waited_millis < 1000.0 {
            (0.0, 0.5 * weights.waiting_time)
        } else {
            (weights.waiting_time / waited_millis, 0.0)
        };
        let by_user = [weights.user_time, weights.user_cpu, weights.user_ram];
        let by_project = [weights.project_time, weights.project_cpu, weights.project_ram];
        let base = |candidate: &Candidate<'_>| {
            let (used, prio) = match is_default(&candidate.group.project) {
                true => no_project,
                false => (Amounts::of(candidate.project), candidate.project.prio),
            };
            waiting
                + users.share(Amounts::of(candidate.user), by_user)
                + projects.share(used, by_project)
                + (1.0 - candidate.user.prio) * weights.user
                + (1.0 - prio) * weights.project
        };
        Ranks { bases: candidates.iter().map(base).collect(), per_milli, origin: Timestamp(oldest) }
    }
}

fn is_default(project: &ProjectId) -> bool {
    project.as_str() == ProjectId::DEFAULT
}

#[cfg(test)]
mod tests;
