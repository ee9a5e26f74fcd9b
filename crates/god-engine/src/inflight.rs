//! Calls of plugins under way beside a loop, and the answers that nobody has looked at yet.

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use std::panic::AssertUnwindSafe;
use std::pin::pin;

/// What is under way, with answers of one type.
#[derive(Debug)]
pub(crate) struct Inflight<T> {
    calls: FuturesUnordered<BoxFuture<'static, T>>,
    /// Answers that came while something else was waited for.
    pub(crate) done: Vec<T>,
}

impl<T> Default for Inflight<T> {
    fn default() -> Self {
        Inflight { calls: FuturesUnordered::new(), done: Vec::new() }
    }
}

impl<T> Inflight<T> {
    /// Begins a call. It goes on whenever the loop waits for anything.
    pub(crate) fn begin(&self, call: impl Future<Output = T> + Send + 'static) {
        self.calls.push(Box::pin(call));
    }

    /// Waits for something else while the calls go on.
    pub(crate) async fn drive<W>(&mut self, work: impl Future<Output = W>) -> W {
        let mut work = pin!(work);
        loop {
            if self.calls.is_empty() {
                return work.await;
            }
            match select(work.as_mut(), self.calls.next()).await {
                Either::Left((out, _)) => return out,
                Either::Right((Some(done), _)) => self.done.push(done),
                Either::Right((None, _)) => {}
            }
        }
    }

    /// Waits for the next answer, or for something else, whichever comes first.
    pub(crate) async fn next_or(&mut self, outside: impl Future) {
        let outside = pin!(outside);
        if self.calls.is_empty() {
            outside.await;
        } else if let Either::Right((Some(done), _)) = select(outside, self.calls.next()).await {
            self.done.push(done);
        }
    }

    /// Waits for all calls.
    pub(crate) async fn finish(&mut self) {
        while let Some(done) = self.calls.next().await {
            self.done.push(done);
        }
    }
}

/// The answer of a plugin's call, or what it said when it panicked: a fault in a plugin is that call's and nobody else's.
pub(crate) async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(call).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    #[test]
    fn answers_that_come_meanwhile_are_kept() {
        let mut inflight = Inflight::default();
        inflight.begin(ready(1));
        let mut turns = 0;
        let work = std::future::poll_fn(|_| {
            turns += 1;
            if turns > 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        });
        {
            let mut drive = pin!(inflight.drive(work));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            while drive.as_mut().poll(&mut cx).is_pending() {}
        }
        assert_eq!(inflight.done, [1]);
    }

    #[test]
    fn a_panic_is_an_answer() {
        let broken = async {
            if true {
                panic!("broken {}", 7)
            }
        };
        assert_eq!(guarded(broken).now_or_never(), Some(Err("broken 7".to_owned())));
        assert_eq!(guarded(ready(3)).now_or_never(), Some(Ok(3)));
    }
}
