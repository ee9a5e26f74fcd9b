//! Keeps a loop of a daemon alive: one that panics is logged and started again, the others go on.

use futures::FutureExt;
use god_engine::signal::Signal;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::error;

/// The first pause after a panic; it doubles with each that follows soon.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// A loop that worked this long is well again: the next pause is the first one.
const WELL: Duration = Duration::from_secs(120);

/// Runs `work` until `stop` is rung, again and again when it panics or returns before that.
///
/// Loops of ours can be started again at any point: all they know is in the store.
pub async fn keep_alive<F: Future<Output = ()>>(name: &str, stop: Arc<Signal>, mut work: impl FnMut() -> F) {
    let mut pause = FIRST;
    loop {
        let begun = Instant::now();
        let ended = AssertUnwindSafe(work()).catch_unwind().await;
        if stop.rings() > 0 {
            return;
        }
        if begun.elapsed() >= WELL {
            pause = FIRST;
        }
        let how = if ended.is_err() { "panicked" } else { "ended" };
        error!(
            name,
            how,
            pause_seconds = pause.as_secs(),
            "a loop stopped working and will be started again"
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.past(0) => return,
        }
        pause = (pause * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_is_started_again_with_growing_pauses() {
        let stop = Arc::new(Signal::default());
        let count = Arc::new(AtomicU32::new(0));
        let begun = Instant::now();
        let at = Arc::new(std::sync::Mutex::new(Vec::new()));
        keep_alive("test", Arc::clone(&stop), || {
            let (stop, count, at) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&at));
            async move {
                at.lock().unwrap().push(begun.elapsed().as_secs());
                match count.fetch_add(1, Ordering::Relaxed) {
                    0 | 1 => panic!("on purpose"),
                    // Works for a while, then returns, which it should not.
                    2 => tokio::time::sleep(WELL).await,
                    3 => {}
                    _ => stop.ring(),
                }
            }
        })
        .await;
        // 1 s and 2 s after the panics; after the long work the pauses are short again.
        assert_eq!(*at.lock().unwrap(), [0, 1, 3, 124, 126]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_ends_with_the_process() {
        let stop = Arc::new(Signal::default());
        let begun = Instant::now();
        let kept = keep_alive("test", Arc::clone(&stop), || async { panic!("on purpose") });
        let ring = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            stop.ring();
        };
        tokio::join!(kept, ring);
        assert_eq!(begun.elapsed(), Duration::from_millis(1500));
    }
}
