//! With the real keeper. As root the jobs run under other ids; else under those of the test.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bed;
mod contract;
mod keeper;
