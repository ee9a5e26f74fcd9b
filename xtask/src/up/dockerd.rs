//! A Docker daemon of our own in one folder: own data, own socket, own bridge, none of the machine's firewall rules.
//!
//! It is a detached process that outlives the command that started it. Containers reach the bridge only, not the
//! world: the tests need no more, and so nothing on the machine has to be changed back but the bridge.

use super::engine::Engine;
use super::mounts;
use crate::repo::{on_path, run, stdout_of};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longest state path that leaves room for the socket names the daemon makes below it (108 bytes in all).
const LONGEST_STATE: usize = 60;
const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);

/// The daemon of this state folder: the one that runs, else a new one, once it answers.
///
/// # Errors
/// Not root, `dockerd` or `ip` missing, the path too long, or the daemon does not answer within a minute; the
/// message then ends with the last lines of its log.
pub fn start(state: &Path) -> Result<Engine> {
    let engine = Engine::at(&format!("unix://{}", state.join("docker.sock").display()));
    if let Some(pid) = daemon(state) {
        eprintln!("up: the daemon of {} runs as {pid}", state.display());
        wait_ready(&engine, state, pid)?;
        return Ok(engine);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("no Docker engine answers, and starting one needs root: set DOCKER_HOST");
    }
    let dockerd =
        ["dockerd", "ip"].map(|name| on_path(name).with_context(|| format!("{name} is not installed")));
    let [dockerd, ip] = dockerd;
    let (dockerd, _) = (dockerd?, ip?);
    if state.as_os_str().len() > LONGEST_STATE {
        bail!("{}: longer than {LONGEST_STATE} bytes, too long for the sockets below it", state.display());
    }

    // Left by a daemon that was killed, or by a machine that went down: nothing of it is worth keeping.
    if state.exists() {
        stop(state)?;
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(state)
        .with_context(|| format!("cannot create {}", state.display()))?;
    let bridge = Bridge::create(state)?;
    let config = state.join("daemon.json");
    fs::write(&config, "{}\n")?;
    let log = File::create(log_file(state))?;
    let child = Command::new(dockerd)
        .arg("--config-file")
        .arg(&config)
        .arg("--data-root")
        .arg(state.join("data"))
        .arg("--exec-root")
        .arg(state.join("exec"))
        .arg("--pidfile")
        .arg(pid_file(state))
        .arg("--host")
        .arg(engine.host())
        .args(["--bridge", &bridge.name, "--fixed-cidr", &bridge.subnet])
        .args(["--iptables=false", "--ip-masq=false"])
        .current_dir("/")
        .env_remove("DOCKER_HOST")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("cannot start dockerd")?;
    let pid = i32::try_from(child.id()).context("a process id fits an i32")?;
    wait_ready(&engine, state, pid)?;
    eprintln!("up: dockerd {pid} in {}", state.display());
    Ok(engine)
}

/// Ends the daemon of this state folder with all it started, and removes the folder and the bridge.
///
/// # Errors
/// A process does not end, or a mount, the bridge or a file cannot be removed.
pub fn stop(state: &Path) -> Result<()> {
    if !state.join("daemon.json").exists() && !is_empty(state)? {
        bail!("{}: not a folder that `up docker` made: remove it yourself", state.display());
    }
    if let Some(pid) = daemon(state) {
        end(pid, Signal::SIGTERM)?;
        if !gone_within(STOP_LIMIT, || !is_alive(pid)) {
            end(pid, Signal::SIGKILL)?;
        }
    }
    // What a daemon that was killed leaves: its containerd, the shims, and the processes in its containers.
    for pid in processes_of(state)? {
        end(pid, Signal::SIGKILL)?;
    }
    if !gone_within(STOP_LIMIT, || processes_of(state).is_ok_and(|left| left.is_empty())) {
        bail!("{}: processes {:?} do not end", state.display(), processes_of(state)?);
    }
    mounts::unmount_below(state)?;
    Bridge::remove(state)?;
    fs::remove_dir_all(state).with_context(|| format!("cannot remove {}", state.display()))?;
    eprintln!("down: removed {}", state.display());
    Ok(())
}

fn wait_ready(engine: &Engine, state: &Path, pid: i32) -> Result<()> {
    let limit = Instant::now() + READY_LIMIT;
    while !engine.answers() {
        if !is_alive(pid) || Instant::now() > limit {
            let log = fs::read_to_string(log_file(state)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n");
            let why = if is_alive(pid) { "does not answer" } else { "has ended" };
            bail!("dockerd {why}; the end of {}:\n{tail}", log_file(state).display());
        }
        sleep(POLL);
    }
    Ok(())
}

fn log_file(state: &Path) -> PathBuf {
    state.join("dockerd.log")
}

fn pid_file(state: &Path) -> PathBuf {
    state.join("docker.pid")
}

fn is_empty(folder: &Path) -> Result<bool> {
    Ok(fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.next().is_none())
}

/// The daemon that the pid file names, if that process still is a daemon of this folder.
fn daemon(state: &Path) -> Option<i32> {
    let pid = fs::read_to_string(pid_file(state)).ok()?.trim().parse().ok()?;
    (is_alive(pid) && command_line(pid).contains(pid_file(state).to_str()?)).then_some(pid)
}

/// A zombie counts as ended: the process that must reap it may be slow.
fn is_alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name, in parentheses, may hold anything; the state follows its last parenthesis.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The engine's own processes below the state folder, and those in its containers; never a program that merely
/// names the folder.
fn processes_of(state: &Path) -> Result<Vec<i32>> {
    let below = format!("{}/", state.display());
    let containers = container_ids(state)?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = command_line(pid);
        let program = line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let ours = ["dockerd", "containerd", "docker-proxy"].contains(&program)
            || program.starts_with("containerd-shim");
        if ((ours && line.contains(&below)) || is_in_one_of(&containers, pid)) && is_alive(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

fn container_ids(state: &Path) -> Result<Vec<String>> {
    match fs::read_dir(state.join("data/containers")) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(err) => Err(err).with_context(|| format!("cannot list the containers of {}", state.display())),
    }
}

/// The control group of a process in a container is named after the container, in version 1 and 2 alike.
fn is_in_one_of(containers: &[String], pid: i32) -> bool {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    containers.iter().any(|id| groups.contains(id.as_str()))
}

fn end(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
        Err(err) => Err(err).with_context(|| format!("cannot signal process {pid}")),
    }
}

fn gone_within(limit: Duration, gone: impl Fn() -> bool) -> bool {
    let limit = Instant::now() + limit;
    while !gone() {
        if Instant::now() > limit {
            return false;
        }
        sleep(POLL);
    }
    true
}

/// The network of one daemon. Its name comes from the state folder, its subnet is the first that nobody uses.
struct Bridge {
    name: String,
    subnet: String,
}

impl Bridge {
    fn name(state: &Path) -> String {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        // An interface name has 15 characters at most.
        format!("god{:010x}", hasher.finish() & 0xff_ffff_ffff)
    }

    fn create(state: &Path) -> Result<Self> {
        let name = Self::name(state);
        let used = stdout_of(Command::new("ip").args(["-4", "-o", "addr"]))?
            + &stdout_of(Command::new("ip").args(["-4", "route"]))?;
        let free = (1..255).find(|n| !used.contains(&format!("172.30.{n}.")));
        let n = free.context("every network of 172.30.0.0/16 is in use")?;
        run(Command::new("ip").args(["link", "add", &name, "type", "bridge"]))?;
        run(Command::new("ip").args(["addr", "add", &format!("172.30.{n}.1/24"), "dev", &name]))?;
        run(Command::new("ip").args(["link", "set", &name, "up"]))?;
        Ok(Self { name, subnet: format!("172.30.{n}.0/24") })
    }

    fn remove(state: &Path) -> Result<()> {
        let name = Self::name(state);
        match fs::metadata(Path::new("/sys/class/net").join(&name)) {
            Ok(_) => run(Command::new("ip").args(["link", "del", &name])),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(()),
            Err(err) => Err(err).with_context(|| format!("cannot look at the bridge {name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_name_fits_an_interface_and_depends_on_the_folder() {
        let one = Bridge::name(Path::new("/tmp/one"));
        assert!(one.len() <= 15, "{one}");
        assert_ne!(one, Bridge::name(Path::new("/tmp/two")));
    }

    #[test]
    fn a_zombie_has_ended() {
        let mut child = Command::new("true").spawn().expect("true starts");
        let pid = i32::try_from(child.id()).expect("a pid");
        assert!(gone_within(Duration::from_secs(20), || !is_alive(pid)), "true ends, unreaped");
        child.wait().expect("reaped");
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("thesis.tex"), "").expect("a file");
        stop(folder.path()).expect_err("not ours");
        assert!(folder.path().join("thesis.tex").exists());
    }

    #[test]
    fn a_stale_pid_file_names_no_daemon() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(pid_file(folder.path()), std::process::id().to_string()).expect("a pid file");
        assert_eq!(daemon(folder.path()), None, "this test is not a dockerd");
    }
}
