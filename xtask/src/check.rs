//! `cargo xtask check`: everything about the tree that can be judged without running the product.
//!
//! Every step runs, whatever failed before it; the faults are listed again at the end. Known advisories are not
//! looked up: that needs a database from the network, and its answer changes without the tree changing.

mod arrows;
mod supply;
mod tree;

use crate::repo::{cargo, run as run_tool, stdout_of};
use anyhow::{Context, Result, bail};
use arrows::Package;
use serde::Deserialize;
use std::process::Command;
use std::time::Instant;

/// No options: the check is the same for everybody.
#[derive(clap::Args)]
pub struct Args {}

/// What one step found.
enum Outcome {
    /// One line for each fault; none is what we want.
    Judged(Vec<String>),
    /// A tool that it needs is missing.
    Skipped(String),
}

type Step = (&'static str, fn() -> Result<Outcome>);

const STEPS: &[Step] = &[
    ("files that must exist", || judged(tree::missing_files(&crate::repo::root()))),
    ("words that must not be committed", || tree::forbidden_words().map(Outcome::Judged)),
    ("dependencies between our crates", || judged(arrows::faults(&packages()?))),
    ("a page for every plugin", || judged(tree::missing_pages(&crate::repo::root(), &names(&packages()?)))),
    ("paths that pages name", || judged(tree::dead_paths(&crate::repo::root(), &tracked_files()?))),
    ("tests that pages name", || judged(tree::missing_tests(&crate::repo::root(), &tracked_files()?))),
    ("a test for every sample configuration", || tree::untested_samples().map(Outcome::Judged)),
    ("one TLS provider", || supply::forbidden_crates().map(Outcome::Judged)),
    ("licences, bans and sources of dependencies", supply::cargo_deny),
    ("format", || tool(cargo().args(["fmt", "--all", "--check"]))),
    ("lints", || tool(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))),
];

/// Runs every step.
///
/// # Errors
/// At least one step found a fault or could not run, or, with `CI=true`, was skipped.
pub fn run(_: &Args) -> Result<()> {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let mut faults = Vec::new();
    for (name, step) in STEPS {
        let begun = Instant::now();
        let found = match step() {
            Ok(Outcome::Judged(found)) => found,
            Ok(Outcome::Skipped(why)) => {
                println!("SKIP {name}: {why}");
                if ci { vec![format!("skipped, and CI=true: {why}")] } else { continue }
            }
            Err(err) => vec![format!("{err:#}")],
        };
        let verdict = if found.is_empty() { "ok  " } else { "FAIL" };
        println!("{verdict} {name} ({:.1} s)", begun.elapsed().as_secs_f64());
        for fault in found {
            println!("     {fault}");
            faults.push(format!("{name}: {fault}"));
        }
    }
    if !faults.is_empty() {
        bail!("faults: {}\n  {}", faults.len(), faults.join("\n  "));
    }
    Ok(())
}

fn judged(faults: Vec<String>) -> Result<Outcome> {
    Ok(Outcome::Judged(faults))
}

/// A program that prints its own findings.
fn tool(command: &mut Command) -> Result<Outcome> {
    run_tool(command).map(|()| Outcome::Judged(Vec::new()))
}

fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let text = stdout_of(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    Ok(metadata.packages)
}

fn names(packages: &[Package]) -> Vec<&str> {
    packages.iter().map(|package| package.name.as_str()).collect()
}

/// The paths of tracked files, relative to the root.
fn tracked_files() -> Result<Vec<String>> {
    let list = stdout_of(Command::new("git").arg("-C").arg(crate::repo::root()).args(["ls-files", "-z"]))?;
    Ok(list.split_terminator('\0').map(str::to_owned).collect())
}
