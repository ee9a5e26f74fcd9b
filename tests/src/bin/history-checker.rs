//! Judges a run with faults after all is quiet: one JSON line on standard output; exit status 0 when nothing is wrong.

use clap::Parser;
use god_tests::check::{Inputs, check};
use god_tests::judge::Bounds;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Judges a run from what its clients, its jobs and the database tell.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Cli {
    /// Log of the clients, JSON lines
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    /// Log that the jobs wrote themselves
    #[arg(long, value_name = "FILE")]
    runs: PathBuf,
    /// The SQLite database, which no daemon uses any more
    #[arg(long, value_name = "FILE")]
    database: PathBuf,
    /// The directory of jobs
    #[arg(long, value_name = "DIR")]
    shared: PathBuf,
    /// How long processes of jobs may live on, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    orphan_bound: u64,
    /// How long a killed job may live on, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    kill_bound: u64,
    /// Tier of the test, for the report
    #[arg(long, default_value = "T2")]
    tier: String,
    /// Something that was left out of the run, for the report; may be repeated
    #[arg(long, value_name = "TEXT")]
    skipped: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let inputs = Inputs {
        client: cli.client,
        runs: cli.runs,
        database: cli.database,
        shared: cli.shared,
        orphan_bound: Duration::from_secs(cli.orphan_bound),
    };
    let bounds = Bounds { kill: cli.kill_bound.saturating_mul(1_000_000_000), ..Bounds::default() };
    let mut verdict = match check(&inputs, &bounds).await {
        Ok(verdict) => verdict,
        Err(err) => {
            eprintln!("history-checker: {err}");
            return ExitCode::from(2);
        }
    };
    verdict.tier = cli.tier;
    verdict.skipped = cli.skipped;
    verdict.commit = commit();
    match serde_json::to_string(&verdict) {
        Ok(line) => println!("{line}"),
        Err(err) => {
            eprintln!("history-checker: the verdict cannot be written: {err}");
            return ExitCode::from(2);
        }
    }
    if verdict.wrongs().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The commit of the directory we are in, if it is one.
fn commit() -> Option<String> {
    let asked = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(asked.stdout).ok()?;
    asked.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}
