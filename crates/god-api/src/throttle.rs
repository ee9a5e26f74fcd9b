//! Slows guesses down. A login with many wrong tries is checked only a few at a time, each wrong one with a pause; the
//! right key still works, so nobody can lock somebody else out for good.

use crate::error::ApiError;
use god_core::UserId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Wrong tries within the window that are free.
const FREE: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// A wrong try beyond the free ones is answered after this.
const PAUSE: Duration = Duration::from_secs(1);
/// Tries on such logins that are worked on at once, over all of them.
const AT_ONCE: usize = 16;
/// A try that gets no turn by then is refused unchecked.
const PATIENCE: Duration = Duration::from_secs(10);
/// Logins remembered.
const REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Throttle {
    wrong: Mutex<HashMap<UserId, (Instant, u32)>>,
    turns: Semaphore,
}

/// One try, to be told how it went.
#[derive(Debug)]
pub(crate) struct Try<'a> {
    throttle: &'a Throttle,
    login: UserId,
    turn: Option<SemaphorePermit<'a>>,
}

impl Default for Throttle {
    fn default() -> Self {
        Throttle { wrong: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Throttle {
    /// Begins a try; waits for a turn when there were many wrong ones.
    pub(crate) async fn begin(&self, login: &UserId) -> Result<Try<'_>, ApiError> {
        let turn = if self.is_suspect(login) {
            match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
                Ok(Ok(turn)) => Some(turn),
                _ => return Err(ApiError::NotLoggedIn("too many wrong tries; try again later")),
            }
        } else {
            None
        };
        Ok(Try { throttle: self, login: login.clone(), turn })
    }

    fn is_suspect(&self, login: &UserId) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get(login).is_some_and(|(since, n)| *n >= FREE && since.elapsed() < WINDOW)
    }

    fn count(&self, login: UserId) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= REMEMBERED {
            wrong.retain(|_, (since, _)| since.elapsed() < WINDOW);
            if wrong.len() >= REMEMBERED {
                wrong.clear();
            }
        }
        let entry = wrong.entry(login).or_insert_with(|| (Instant::now(), 0));
        if entry.0.elapsed() >= WINDOW {
            *entry = (Instant::now(), 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

impl Try<'_> {
    /// The key or password was right.
    pub(crate) fn right(self) {
        let mut wrong = self.throttle.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.remove(&self.login);
    }

    /// It was wrong; returns when that may be said.
    pub(crate) async fn wrong(self) {
        self.throttle.count(self.login);
        if self.turn.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wrong_tries_get_slow_and_the_right_one_still_passes() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        let begin = Instant::now();
        for _ in 0..FREE {
            throttle.begin(&bob).await.expect("a turn").wrong().await;
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        throttle.begin(&bob).await.expect("a turn").wrong().await;
        assert!(begin.elapsed() >= PAUSE);
        let other = Instant::now();
        throttle.begin(&UserId::new("eve")).await.expect("a turn").wrong().await;
        assert_eq!(other.elapsed(), Duration::ZERO, "others are not slowed down");
        throttle.begin(&bob).await.expect("a turn").right();
        assert!(!throttle.is_suspect(&bob));
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_guesses_is_bounded() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        for _ in 0..FREE {
            throttle.begin(&bob).await.expect("a turn").wrong().await;
        }
        let tries = (0..1000).map(|_| async {
            match throttle.begin(&bob).await {
                Ok(one) => {
                    one.wrong().await;
                    true
                }
                Err(_) => false,
            }
        });
        let checked = futures::future::join_all(tries).await.into_iter().filter(|checked| *checked).count();
        assert!(checked <= AT_ONCE * 11, "{checked}");
    }

    #[tokio::test(start_paused = true)]
    async fn old_tries_are_forgotten() {
        let throttle = Throttle::default();
        let bob = UserId::new("bob");
        for _ in 0..FREE {
            throttle.begin(&bob).await.expect("a turn").wrong().await;
        }
        tokio::time::advance(WINDOW).await;
        assert!(!throttle.is_suspect(&bob));
    }
}
