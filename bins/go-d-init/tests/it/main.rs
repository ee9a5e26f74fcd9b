//! The real program: as PID 1 of a container-like place, and as keeper of local jobs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod adoption;
mod cgroups;
mod container;
mod ends;
mod hostile;
mod images;
mod queue;
mod requests;
mod runs;
mod support;
mod users;
