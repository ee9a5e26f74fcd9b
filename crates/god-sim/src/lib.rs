//! The whole control plane on one thread and a virtual clock: schedulers, watchers and clients over a store and an engine
//! that lose replies, delay, repeat and forget; processes that crash, freeze and come back; clocks that jump.
//!
//! A seed decides everything, so the same seed gives the same trace. [`check`] judges a run from what the simulated engine
//! did and what clients were told; the daemons are never asked whether they were right.

pub mod check;
pub mod engine;
pub mod rng;
pub mod rt;
pub mod scenario;
pub mod store;
