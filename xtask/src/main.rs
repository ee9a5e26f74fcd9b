//! The project's own commands: `cargo xtask check`, `bench`, `init-static`, `up`, `down`.
//!
//! One file per subcommand. What a caller may want to read by program goes to standard output, everything else to
//! standard error. Nothing here is part of the product.

mod bench;
mod check;
mod elf;
mod init_static;
mod repo;
mod up;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Commands for people who work on GO-Docker.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format, lints, the rules of the tree and of its dependencies: what must hold before every commit.
    Check(check::Args),
    /// Measure the suite beside the limits of this machine; figures go to target/bench.txt.
    Bench(bench::Args),
    /// Build go-d-init as a static program and print its path.
    InitStatic(init_static::Args),
    /// Make a service reachable for tests and print the variable that leads to it.
    Up(up::Args),
    /// Stop a service that `up` started, and remove what it left.
    Down(up::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check(args) => check::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::InitStatic(args) => init_static::run(&args),
        Command::Up(args) => up::up(&args),
        Command::Down(args) => up::down(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("xtask: {err:#}");
            ExitCode::FAILURE
        }
    }
}
