//! Waiting for a condition, with a limit.

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Looks again and again until `look` gives a value.
///
/// # Panics
/// After `limit` without one; the message says `what` was waited for.
pub async fn until<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain for: {what}");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_looks_until_there_is_something() {
        let mut looks = 0;
        let found = until(Duration::from_secs(5), "three looks", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "in vain for: the moon")]
    async fn it_gives_up() {
        until(Duration::from_secs(1), "the moon", async || None::<()>).await;
    }
}
