//! `go-d-cli`, the users' client: submits, follows and manages tasks over the REST interface of a server.
//!
//! It knows nothing that the server does not tell it, and keeps nothing but a login and a token.

mod args;
mod client;
mod commands;
mod credentials;
mod failure;
mod follow;
mod ids;
mod output;
mod private;
mod prompt;
mod server;
mod sse;
mod task;
mod text;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Bad usage, --help and --version end here.
    let cli = args::Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(err) => Err(failure::Failure::Usage(format!("cannot start: {err}"))),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure::report(&failure),
    }
}
