//! `cargo xtask init-static`: go-d-init as a program that runs in any container, an empty one included.

use crate::elf;
use crate::repo::{cargo, run as run_tool, stdout_of};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;

/// How to build it.
#[derive(clap::Args)]
pub struct Args {
    /// Profile of the build. `init` makes it small and without unwinding.
    #[arg(long, default_value = "init")]
    profile: String,
}

/// Builds, verifies that no dynamic loader is needed, and prints the path.
///
/// # Errors
/// The build fails, or what it made is not static.
pub fn run(args: &Args) -> Result<()> {
    println!("{}", build(&args.profile)?.display());
    Ok(())
}

/// Builds and verifies; gives the path.
///
/// # Errors
/// The build fails, or what it made is not static.
pub fn build(profile: &str) -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["rustc", "--package", "go-d-init", "--bin", "go-d-init", "--profile", profile]);
    // For the last crate only: in RUSTFLAGS they would reach the macros and the build scripts too.
    build.args(["--", "-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    run_tool(&mut build)?;
    let program = target_folder()?.join(folder_of(profile)).join("go-d-init");
    if !elf::is_static(&program)? {
        bail!("{} needs a dynamic loader; is the static C library (libc6-dev) installed?", program.display());
    }
    Ok(program)
}

/// Where cargo puts what it builds.
///
/// # Errors
/// `cargo metadata` fails.
pub fn target_folder() -> Result<PathBuf> {
    let text = stdout_of(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata")?;
    let folder = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(folder))
}

fn folder_of(profile: &str) -> &str {
    match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        other => other,
    }
}
