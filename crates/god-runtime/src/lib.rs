//! What surrounds a user's script: where its directory is, what its environment says, and the
//! description of a launch that `go-d-init` executes. Everything that touches a directory a job
//! can write goes through directory handles and never follows a link.
//!
//! This crate knows no task states, no store and no engine, starts no thread and reads no
//! configuration: every fact is handed to it. It stays light because `go-d-init`, which travels
//! into every container, is built from it.

pub mod environment;
pub mod files;
mod handle;
pub mod jobdir;
pub mod keeper;
pub mod latch;
pub mod launch;
pub mod pairtree;
pub mod plain;
mod remove;
mod size;
