//! The judge of a run with faults: what clients were told, what jobs wrote down about themselves, and the documents at
//! the end are held against each other. The daemons are never asked whether they are right.
//!
//! [`check::check`] reads the three witnesses, [`judge::judge`] is pure, [`verdict::Verdict`] is the one line that a run
//! reports. The program `history-checker` is the same as a command.

pub mod check;
pub mod client_log;
pub mod documents;
pub mod judge;
pub mod processes;
pub mod run_log;
pub mod verdict;
