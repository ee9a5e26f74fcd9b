//! `god-bench`: lines `name value unit` of what this machine can do and of what the suite does, measured in turns.
//!
//! Every figure of ours stands beside the limit it is compared with, taken in the same run, because machines are noisy.
//! `cargo xtask bench` builds what is measured in release mode and runs this.

mod docker;
mod http;
mod limits;
mod list;
mod queue;
mod report;
mod site;
mod suite;

use anyhow::{Context, Result};
use clap::Parser;
use report::Report;
use std::path::PathBuf;

/// Measures the suite against the limits of this machine.
#[derive(Debug, Parser)]
struct Args {
    /// Directory with the programs to measure.
    #[arg(long)]
    bin: PathBuf,
    /// Static go-d-init for containers.
    #[arg(long)]
    init: Option<PathBuf>,
    /// File to write the figures to as well.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only the figures whose name contains this; the long history of `list` is measured only when it is named.
    #[arg(long)]
    only: Option<String>,
    /// Rounds of each pair.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tasks in the history of `list`.
    #[arg(long, default_value_t = 10_000_000)]
    tasks: u64,
    /// Internal: the minimal server that a submit is compared with.
    #[arg(long, hide = true)]
    limit_server: Option<PathBuf>,
    /// Internal: the scheduler whose queue is measured, over the database in this directory.
    #[arg(long, hide = true)]
    queue_probe: Option<PathBuf>,
}

fn main() -> Result<()> {
    let began = std::time::Instant::now();
    let args = Args::parse();
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(dir) = &args.limit_server {
        return threads.block_on(limits::serve(dir));
    }
    if let Some(dir) = &args.queue_probe {
        return threads.block_on(queue::probe(dir, began));
    }
    let mut report = Report::new(args.only.clone());
    threads.block_on(suite::run(&args.bin, args.init.as_deref(), args.rounds, args.tasks, &mut report))?;
    let text = report.text();
    if let Some(out) = &args.out {
        std::fs::write(out, &text).with_context(|| format!("cannot write {}", out.display()))?;
    }
    Ok(())
}
