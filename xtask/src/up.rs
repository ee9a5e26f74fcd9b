//! `cargo xtask up SERVICE` and `cargo xtask down SERVICE`: real services for tests, started as ordinary processes.
//!
//! A service that is there already is used and never stopped. What is started here lives in one state folder and
//! leaves the rest of the machine as it was. Both commands may be repeated and may run at the same time.

mod dockerd;
mod engine;
mod images;
mod mounts;

use anyhow::{Context, Result, bail};
use engine::Engine;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Which service, and where its state is.
#[derive(clap::Args)]
pub struct Args {
    /// The service.
    service: Service,
    /// Folder of everything the service keeps: socket, data, log. It is created, and removed by `down`.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Service {
    /// A Docker engine with the images godtest/busybox:1 and godtest/scratch:1.
    Docker,
}

/// Starts the service unless one answers, and prints `VARIABLE=value`.
///
/// # Errors
/// No engine answers and none can be started, or an image cannot be made.
pub fn up(args: &Args) -> Result<()> {
    let Service::Docker = args.service;
    let state = state_folder(args)?;
    let _held = lock(&state)?;
    let engine = match running_elsewhere() {
        Some(engine) => engine,
        None => dockerd::start(&state)?,
    };
    images::make_missing(&engine)?;
    println!("DOCKER_HOST={}", engine.host());
    Ok(())
}

/// Stops what `up` started with the same state folder. An engine that `up` only found is left alone.
///
/// # Errors
/// A process does not end, or a mount or a file cannot be removed.
pub fn down(args: &Args) -> Result<()> {
    let Service::Docker = args.service;
    let state = state_folder(args)?;
    let _held = lock(&state)?;
    if state.exists() {
        dockerd::stop(&state)?;
    }
    Ok(())
}

/// An engine that somebody else keeps: the one `DOCKER_HOST` names, or the machine's own.
fn running_elsewhere() -> Option<Engine> {
    if let Ok(host) = std::env::var("DOCKER_HOST")
        && !host.is_empty()
    {
        let engine = Engine::at(&host);
        if engine.answers() {
            eprintln!("up: using the engine of DOCKER_HOST");
            return Some(engine);
        }
        eprintln!("up: DOCKER_HOST={host} does not answer");
    }
    let engine = Engine::at("unix:///var/run/docker.sock");
    (Path::new("/var/run/docker.sock").exists() && engine.answers()).then(|| {
        eprintln!("up: using the engine of /var/run/docker.sock");
        engine
    })
}

fn state_folder(args: &Args) -> Result<PathBuf> {
    let state = args.state.clone().unwrap_or_else(|| {
        std::env::temp_dir().join(format!("god-services-{}", nix::unistd::getuid())).join("docker")
    });
    std::path::absolute(&state).with_context(|| format!("{}: not a usable path", state.display()))
}

/// Waits for its turn: one `up` or `down` at a time for one state folder. The lock lies beside the folder, because
/// `down` removes the folder.
fn lock(state: &Path) -> Result<File> {
    let parent = state.parent().context("the state folder needs a parent")?;
    if !parent.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut path = state.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let owner = file.metadata()?.uid();
    if owner != nix::unistd::getuid().as_raw() {
        bail!("{} belongs to uid {owner}: choose another folder with --state", path.display());
    }
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}
