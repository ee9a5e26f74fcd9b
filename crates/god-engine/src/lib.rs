//! The work of the daemons, written against the traits of `god-core` only.
//!
//! Nothing here opens a file, spawns a thread or reads a clock: the store, the executors, time and chance are handed in
//! ([`World`]). So the same code runs in the daemons and, on a virtual clock with every fault one can think of, in
//! the simulator.

pub mod accounts;
pub mod archiver;
pub mod ask;
pub mod capacity;
pub mod flaw;
mod inflight;
pub mod lease;
pub mod moves;
pub mod pace;
pub mod pending;
pub mod plan;
pub mod processes;
pub mod queue;
pub mod scheduler;
pub mod signal;
#[cfg(test)]
mod testing;
pub mod watcher;
pub mod world;

pub use world::{Clock, Settings, World};

/// An error with all its causes in one line, for logs.
#[must_use]
pub fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
