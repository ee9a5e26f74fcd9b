//! `go-d-cli`, the users' client: submits, follows and manages tasks over the REST interface of a server. Called by the
//! name of a program of the older client it behaves as that one.
//!
//! It knows nothing that the server does not tell it, and keeps nothing but a login, a token, and how far a list of tasks
//! has got.

mod args;
mod batch;
mod client;
mod commands;
mod credentials;
mod directives;
mod failure;
mod follow;
mod ids;
mod nearest;
mod old;
mod output;
mod private;
mod prompt;
mod server;
mod sse;
mod task;
mod text;
mod view;

use clap::Parser as _;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args_os().next().as_deref().and_then(old::Program::called) {
        Some(program) => {
            failure::called(program.name());
            end(program.run(), old::report)
        }
        // Bad usage, --help and --version end here.
        None => end(commands::run(args::Cli::parse()), failure::report),
    }
}

fn end(work: impl Future<Output = Result<u8, Failure>>, report: impl Fn(&Failure) -> ExitCode) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(err) => Err(Failure::Usage(format!("cannot start: {err}"))),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => report(&failure),
    }
}
