//! How fast a loop turns. An idle loop answers at once; a busy one gathers what happens within a few milliseconds, because
//! a turn costs the same for one task as for fifty.

use std::time::Duration;

/// Counts what a loop does and says how long to gather before the next turn.
#[derive(Debug, Default)]
pub struct Pace {
    window: Duration,
    moved: u32,
    before: u32,
    turned: Duration,
}

/// Length of the window in which moves are counted.
const WINDOW: Duration = Duration::from_millis(50);
/// Moves within a window that make a loop busy. A task makes about four in its life, so that is some 250 tasks a second;
/// somebody who runs one short task after the other is never made to wait.
const MANY: u32 = 48;

impl Pace {
    /// Notes that tasks were moved at a monotonic time.
    pub fn moved(&mut self, n: usize, mono: Duration) {
        self.roll(mono);
        self.moved = self.moved.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
    }

    /// Whether much happens now.
    pub fn is_busy(&mut self, mono: Duration) -> bool {
        self.roll(mono);
        self.moved.max(self.before) > MANY
    }

    /// How long to wait before the next turn; none when little happens. Call once a turn.
    pub fn rest(&mut self, mono: Duration, pace: Duration) -> Option<Duration> {
        let since = mono.saturating_sub(self.turned);
        self.turned = mono;
        if !self.is_busy(mono) || since >= pace {
            return None;
        }
        self.turned = mono + (pace - since);
        Some(pace - since)
    }

    fn roll(&mut self, mono: Duration) {
        let age = mono.saturating_sub(self.window);
        if age >= WINDOW {
            self.before = if age < WINDOW * 2 { self.moved } else { 0 };
            self.moved = 0;
            self.window = mono;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_loop_never_rests_and_a_busy_one_gathers() {
        let ms = Duration::from_millis;
        let mut pace = Pace::default();
        for at in (1000..2000).step_by(40) {
            pace.moved(20, ms(at));
            assert_eq!(pace.rest(ms(at), ms(10)), None);
            assert_eq!(pace.rest(ms(at + 1), ms(10)), None);
        }
        pace.moved(100, ms(3000));
        assert_eq!(pace.rest(ms(3000), ms(10)), None, "the first of a burst is handled at once");
        assert_eq!(pace.rest(ms(3002), ms(10)), Some(ms(8)));
        assert_eq!(pace.rest(ms(4000), ms(10)), None, "the burst is over");
    }
}
