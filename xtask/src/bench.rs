//! `cargo xtask bench`: builds the suite in release mode, measures it beside the limits of this machine, and writes the
//! figures to `target/bench.txt`.

use crate::{init_static, repo};
use anyhow::{Context, Result};
use std::process::Command;

/// What to measure.
#[derive(clap::Args)]
pub struct Args {
    /// Only the figures whose name contains this; `list` (minutes, gigabytes) is measured only when it is named.
    #[arg(long)]
    only: Option<String>,
    /// Rounds of each pair of limit and figure.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// Builds and measures.
///
/// # Errors
/// When something does not build or does not run.
pub fn run(args: &Args) -> Result<()> {
    let root = repo::root();
    repo::run(repo::cargo().args([
        "build",
        "--release",
        "-p",
        "go-d",
        "-p",
        "go-d-init",
        "-p",
        "god-bench",
    ]))?;
    let bin = init_static::target_folder()?.join("release");
    let init = init_static::build("init")?;
    let mut bench = Command::new(bin.join("god-bench"));
    bench.arg("--bin").arg(&bin).arg("--init").arg(init).arg("--rounds").arg(args.rounds.to_string());
    // Figures belong to the tree they were measured on, wherever cargo builds.
    let out = root.join("target");
    std::fs::create_dir_all(&out).context("cannot make the target directory")?;
    bench.arg("--out").arg(out.join("bench.txt"));
    if let Some(only) = &args.only {
        bench.args(["--only", only]);
    }
    repo::run(&mut bench)
}
