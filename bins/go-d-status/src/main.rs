//! `go-d-status status`: which daemons are alive. Exit status 0 when all are well and there are a scheduler and a watcher,
//! 1 when not, 2 for a wrong call.

use clap::{Parser, Subcommand};
use god_daemon::{Kind, Overrides, Setup, front};
use std::path::PathBuf;
use std::process::ExitCode;

/// Shows which daemons are alive.
#[derive(Debug, Parser)]
#[command(version, subcommand_required = true, arg_required_else_help = false, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: GOD_CONFIG, then go-d.ini here, then the one in the data directory]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Print each process and how many there are of each kind
    Status,
}

fn main() -> ExitCode {
    let Cli { config, word: Word::Status } = Cli::parse();
    let setup = Setup::read(Kind::All, Overrides { config, ..Overrides::default() });
    let told = setup.map_err(front::FrontError::from).and_then(|setup| front::overview(&setup));
    front::tell("go-d-status", false, told)
}
