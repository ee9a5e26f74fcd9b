//! What one process alone cannot show: the latch between processes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod latch_race;
