//! The web server: the REST interface. Any number serve the same site.

use god_daemon::Kind;
use std::process::ExitCode;

fn main() -> ExitCode {
    god_daemon::front::main(Kind::Web)
}
