//! A flag that can be waited for, on any executor of futures.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

/// Rung many times, heard at least once after each ring.
#[derive(Debug, Default)]
pub struct Signal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    rings: u64,
    wakers: Vec<Waker>,
}

impl Signal {
    /// Wakes everybody who waits.
    pub fn ring(&self) {
        let wakers = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.rings += 1;
            std::mem::take(&mut inner.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// How often it was rung.
    #[must_use]
    pub fn rings(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).rings
    }

    /// Waits until it was rung more than `seen` times. Safe to drop.
    pub async fn past(&self, seen: u64) {
        poll_fn(|cx| {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            if inner.rings > seen {
                return Poll::Ready(());
            }
            if !inner.wakers.iter().any(|w| w.will_wake(cx.waker())) {
                inner.wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
