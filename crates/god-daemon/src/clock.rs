//! The real clock.

use async_trait::async_trait;
use god_core::Timestamp;
use god_engine::Clock;
use std::time::{Duration, Instant, SystemTime};

/// Time of this host: the wall clock for people, the kernel's monotonic clock for deadlines, tokio's timer to wait.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    begun: Instant,
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock { begun: Instant::now() }
    }
}

/// The wall clock; a time before 1970 is told as 1970.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        now()
    }

    fn mono(&self) -> Duration {
        self.begun.elapsed()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_takes_its_time_and_the_clock_shows_it() {
        let clock = RealClock::default();
        let (wall, mono) = (clock.now(), clock.mono());
        clock.sleep(Duration::from_millis(20)).await;
        assert!(clock.mono() - mono >= Duration::from_millis(20));
        assert!(wall > Timestamp(1_700_000_000_000) && clock.now() >= wall);
    }
}
