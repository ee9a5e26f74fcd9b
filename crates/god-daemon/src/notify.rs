//! What systemd is told: that the daemon is ready, that it ends, and, as long as its loops work, that it lives.

use god_engine::signal::Signal;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Says that the daemon does its work now.
pub fn ready() {
    tell(&NotifyState::Ready);
}

/// Says that the daemon is about to end.
pub fn stopping() {
    tell(&NotifyState::Stopping);
}

/// Without systemd there is nobody to tell, which is fine.
fn tell(state: &NotifyState<'_>) {
    if let Err(err) = sd_notify::notify(std::slice::from_ref(state)) {
        warn!(%err, "systemd was not told");
    }
}

/// How long systemd waits for a sign of life; `None` when it waits for none.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Gives systemd a sign of life three times in `span`, each time only if every loop has turned since the last one. A
/// daemon whose loop stands still says nothing and is restarted, even though its run time is well.
pub async fn feed_watchdog(span: Duration, beats: Vec<(&'static str, Arc<Signal>)>) {
    feed(span / 3, beats, || tell(&NotifyState::Watchdog)).await;
}

async fn feed(period: Duration, beats: Vec<(&'static str, Arc<Signal>)>, mut alive: impl FnMut()) {
    let mut seen: Vec<u64> = beats.iter().map(|(_, beat)| beat.rings()).collect();
    loop {
        tokio::time::sleep(period).await;
        let still = beats.iter().zip(&seen).find(|((_, beat), seen)| beat.rings() <= **seen);
        match still {
            Some(((name, _), _)) => warn!(name, "a loop stands still"),
            None => {
                alive();
                seen = beats.iter().map(|(_, beat)| beat.rings()).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_ends_the_signs_of_life() {
        let (one, two) = (Arc::new(Signal::default()), Arc::new(Signal::default()));
        let signs = Cell::new(0);
        let period = Duration::from_secs(10);
        let beats = vec![("one", Arc::clone(&one)), ("two", Arc::clone(&two))];
        let fed = feed(period, beats, || signs.set(signs.get() + 1));
        let script = async {
            for (both, expected) in [(true, 1), (true, 2), (false, 2), (false, 2), (true, 3)] {
                one.ring();
                if both {
                    two.ring();
                }
                tokio::time::sleep(period).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert_eq!(signs.get(), expected);
            }
        };
        tokio::select! {
            biased;
            () = fed => unreachable!("it never ends"),
            () = script => {}
        }
    }
}
