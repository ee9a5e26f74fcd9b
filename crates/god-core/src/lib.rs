//! The words of GO-Docker: tasks, their states, users, units, and the traits that plugins implement.
//!
//! This crate is pure. It opens nothing, reads no clock and starts no thread: points in time and random numbers
//! come in as arguments. Everything above it (stores, executors, engine, REST) speaks in these types.

pub mod admission;
pub mod array;
pub mod audit;
pub mod auth;
pub mod board;
pub mod executor;
pub mod files;
pub mod group;
pub mod ids;
pub mod keys;
pub mod network;
pub mod notice;
pub mod policy;
pub mod query;
pub mod reason;
pub mod resources;
pub mod spec;
pub mod state;
pub mod status;
pub mod store;
pub mod task;
pub mod units;
pub mod usage;
pub mod user;
pub mod warning;
pub mod watcher;
pub mod wire;

pub use array::ArraySpec;
pub use executor::{AttemptKey, Exit, Launch, Seen};
pub use ids::{ExecutorName, Holder, NodeName, OpId, ProjectId, Rev, RunRef, TaskId, UserId};
pub use spec::TaskSpec;
pub use state::{Event, Outcome, TaskState};
pub use task::Task;
pub use units::{Bytes, Cores, Seconds, Timestamp};

/// The error a plugin wraps: whatever its own library said.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
