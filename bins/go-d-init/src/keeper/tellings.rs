//! When to tell what happened. A quiet keeper tells at once; a busy one gathers for a few
//! milliseconds, because telling of ten ends costs its listeners little more than telling of one.

/// How long a busy keeper gathers.
const GATHER_MS: u64 = 4;
/// Length of the window in which events are counted.
const WINDOW_MS: u64 = 20;
/// Events in a window that make a keeper busy: some 300 jobs a second.
const MANY: usize = 12;

/// Decides when events are told.
#[derive(Debug, Default)]
pub struct Tellings {
    window: u64,
    counted: usize,
    before: usize,
    told: u64,
    /// When events that wait are to be told.
    due: Option<u64>,
}

impl Tellings {
    /// Takes note of `new` events at a time, in milliseconds. Answers whether to tell all that
    /// waits now; `waiting` says whether anything does.
    pub fn tell_now(&mut self, new: usize, waiting: bool, now: u64) -> bool {
        let age = now.saturating_sub(self.window);
        if age >= WINDOW_MS {
            self.before = if age < 2 * WINDOW_MS { self.counted } else { 0 };
            self.counted = 0;
            self.window = now;
        }
        self.counted += new;
        if !waiting {
            return false;
        }
        let busy = self.counted.max(self.before) > MANY;
        if busy && now < self.told + GATHER_MS {
            self.due = Some(self.told + GATHER_MS);
            return false;
        }
        self.told = now;
        self.due = None;
        true
    }

    /// When [`Self::tell_now`] is to be asked again, if anything waits.
    pub fn due(&self) -> Option<u64> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_keeper_tells_at_once_and_a_busy_one_gathers() {
        let mut tellings = Tellings::default();
        for now in (1000..2000).step_by(5) {
            assert!(tellings.tell_now(2, true, now), "{now}");
            assert!(tellings.tell_now(1, true, now + 1), "{now}");
        }
        assert!(!tellings.tell_now(0, false, 2000), "there is nothing to tell");
        assert!(tellings.tell_now(30, true, 3000), "the first of a burst is told at once");
        assert!(!tellings.tell_now(5, true, 3001));
        assert_eq!(tellings.due(), Some(3004));
        assert!(tellings.tell_now(0, true, 3004));
        assert_eq!(tellings.due(), None);
        assert!(tellings.tell_now(1, true, 4000), "the burst is over");
    }
}
