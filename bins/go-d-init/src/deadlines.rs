//! When a job is warned, told to end, and killed. Pure: the time is handed in.

use god_runtime::launch::Timing;

/// What a deadline asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send this signal: the time limit is near.
    Warn(i32),
    /// The time limit is reached.
    TimeOut,
    /// The grace is over.
    Kill,
}

/// The deadlines of one job, in milliseconds since the machine started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deadlines {
    began: u64,
    warn: Option<(u64, i32)>,
    limit: Option<u64>,
    kill: Option<u64>,
    grace_ms: u64,
}

impl Deadlines {
    /// The deadlines of a job that starts now.
    pub fn new(timing: &Timing, now: u64) -> Self {
        let limit = timing.time_limit_seconds.map(|limit| now.saturating_add(limit.saturating_mul(1000)));
        let warn = timing.warn.and_then(|warn| {
            let at = limit?.saturating_sub(warn.before_seconds.saturating_mul(1000)).max(now);
            Some((at, warn.signal))
        });
        Self { began: now, warn, limit, kill: None, grace_ms: timing.grace_seconds.saturating_mul(1000) }
    }

    /// The job may run so long from its start. A warning that was not given yet moves with the limit.
    pub fn set_limit(&mut self, seconds: Option<u64>) {
        let limit = seconds.map(|limit| self.began.saturating_add(limit.saturating_mul(1000)));
        let moved = self.warn.zip(self.limit).map(|((at, signal), old)| (old.saturating_sub(at), signal));
        self.warn = moved.zip(limit).map(|((before, signal), limit)| (limit.saturating_sub(before), signal));
        self.limit = limit;
    }

    /// The job was told to end: it will be killed after its own grace, or sooner if that was
    /// decided before.
    pub fn kill_after_grace(&mut self, now: u64) {
        self.kill_at(now.saturating_add(self.grace_ms));
    }

    /// The job will be killed then, or sooner if that was decided before.
    pub fn kill_at(&mut self, at: u64) {
        self.kill = Some(self.kill.map_or(at, |earlier| earlier.min(at)));
    }

    /// The earliest point in time at which something is to be done.
    pub fn next(&self) -> Option<u64> {
        [self.warn.map(|(at, _)| at), self.limit, self.kill].into_iter().flatten().min()
    }

    /// What is to be done now. Each is said once, except the kill, which is repeated every second
    /// until the job is gone.
    pub fn due(&mut self, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some((_, signal)) = self.warn.take_if(|(at, _)| *at <= now) {
            actions.push(Action::Warn(signal));
        }
        if self.limit.take_if(|at| *at <= now).is_some() {
            actions.push(Action::TimeOut);
            self.kill_after_grace(now);
        }
        if self.kill.is_some_and(|at| at <= now) {
            actions.push(Action::Kill);
            self.kill = Some(now.saturating_add(1000));
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use god_runtime::launch::Warn;

    use super::*;

    #[test]
    fn limit_then_grace_then_kill() {
        let timing = Timing {
            time_limit_seconds: Some(10),
            grace_seconds: 2,
            warn: Some(Warn { signal: 10, before_seconds: 3 }),
        };
        let mut deadlines = Deadlines::new(&timing, 1000);
        assert_eq!(deadlines.next(), Some(8000));
        assert_eq!(deadlines.due(7999), []);
        assert_eq!(deadlines.due(8000), [Action::Warn(10)]);
        assert_eq!(deadlines.next(), Some(11_000));
        assert_eq!(deadlines.due(11_000), [Action::TimeOut]);
        assert_eq!(deadlines.next(), Some(13_000));
        assert_eq!(deadlines.due(13_500), [Action::Kill]);
        assert_eq!(deadlines.due(14_000), []);
        assert_eq!(deadlines.due(14_500), [Action::Kill]);
    }

    #[test]
    fn a_second_kill_never_prolongs() {
        let mut deadlines = Deadlines::new(&Timing { grace_seconds: 5, ..Timing::default() }, 0);
        assert_eq!(deadlines.next(), None);
        deadlines.kill_after_grace(1000);
        deadlines.kill_after_grace(4000);
        assert_eq!(deadlines.next(), Some(6000));
        deadlines.kill_at(2000);
        assert_eq!(deadlines.next(), Some(2000));
    }

    #[test]
    fn huge_limits_do_not_wrap() {
        let timing = Timing { time_limit_seconds: Some(u64::MAX), grace_seconds: u64::MAX, warn: None };
        let mut deadlines = Deadlines::new(&timing, 5);
        assert_eq!(deadlines.next(), Some(u64::MAX));
        deadlines.kill_after_grace(5);
        assert_eq!(deadlines.due(1 << 60), []);
    }

    #[test]
    fn a_changed_limit_counts_from_the_start_and_takes_its_warning_along() {
        let warn = Some(Warn { signal: 10, before_seconds: 2 });
        let timing = Timing { time_limit_seconds: Some(10), grace_seconds: 5, warn };
        let mut deadlines = Deadlines::new(&timing, 1000);
        deadlines.set_limit(Some(20));
        assert_eq!(deadlines.due(18_999), []);
        assert_eq!(deadlines.due(19_000), [Action::Warn(10)]);
        deadlines.set_limit(None);
        assert_eq!(deadlines.next(), None);
        deadlines.set_limit(Some(1));
        assert_eq!(
            deadlines.due(19_001),
            [Action::TimeOut],
            "it ran longer than that, and was warned before"
        );
    }
}
