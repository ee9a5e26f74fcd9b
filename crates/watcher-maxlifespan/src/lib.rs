//! The watcher `maxlifespan`: no task runs longer than its limit.
//!
//! The first process of every job measures the limit itself, to the second and also while all daemons are down. This
//! plugin is the second fence, for engines where that process is stuck or that have none: it lets pass a while on top of
//! the limit, so that the first fence always comes first and its result counts.

use god_core::task::Task;
use god_core::units::Seconds;
use god_core::watcher::{Verdict, WatcherPlugin};

/// The name in the configuration.
pub const NAME: &str = "maxlifespan";

/// What the first fence is given on top of the limit: a minute and a twentieth of the limit.
const SPARE_SECONDS: u64 = 60;
const SPARE_PART: u64 = 20;

/// The reason that the owner reads.
const REASON: &str = "Max duration reached";

/// Ends what runs far over its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxLifespan;

impl WatcherPlugin for MaxLifespan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn can_run(&self, task: &Task, elapsed: Seconds) -> Verdict {
        let Some(limit) = task.spec.time_limit else { return Verdict::GoOn };
        let spare = SPARE_SECONDS.saturating_add(limit.0 / SPARE_PART);
        if elapsed.0 > limit.0.saturating_add(spare) {
            Verdict::End(REASON.to_owned())
        } else {
            Verdict::GoOn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::{TaskId, Timestamp};
    use god_testkit::build::{owner, spec};
    use std::sync::Arc;

    fn task(limit: Option<u64>) -> Task {
        let mut spec = spec(owner(1000, 1000), "true");
        spec.time_limit = limit.map(Seconds);
        Task::new(TaskId(1), Arc::new(spec), Timestamp(0))
    }

    #[test]
    fn a_run_far_over_its_limit_must_end_and_no_other() {
        let end = Verdict::End("Max duration reached".to_owned());
        for (limit, elapsed, verdict) in [
            (None, u64::MAX, Verdict::GoOn),
            (Some(10), 10, Verdict::GoOn),
            (Some(10), 70, Verdict::GoOn),
            (Some(10), 71, end.clone()),
            (Some(100_000), 105_060, Verdict::GoOn),
            (Some(100_000), 105_061, end),
            (Some(u64::MAX), u64::MAX, Verdict::GoOn),
        ] {
            assert_eq!(MaxLifespan.can_run(&task(limit), Seconds(elapsed)), verdict, "{limit:?} {elapsed}");
        }
        MaxLifespan.can_start(&task(Some(0))).expect("it has no say in starts");
    }
}
