//! The archiver: removes the files of finished tasks for which that was asked, and measures what finished tasks fill.

use god_daemon::Kind;
use std::process::ExitCode;

fn main() -> ExitCode {
    god_daemon::front::main(Kind::Archiver)
}
