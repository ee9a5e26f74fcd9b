//! The scheduler: starts the tasks that fit, in the order of the policy. One of many leads.

use god_daemon::Kind;
use std::process::ExitCode;

fn main() -> ExitCode {
    god_daemon::front::main(Kind::Scheduler)
}
