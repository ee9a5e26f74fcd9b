//! The watcher: sees tasks start and end, and makes requests on them true. Any number share the work.

use god_daemon::Kind;
use std::process::ExitCode;

fn main() -> ExitCode {
    god_daemon::front::main(Kind::Watcher)
}
