//! Real services that a test starts for itself: on ports nobody else uses, with a directory of their own, ended with the
//! test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A port of this host that nobody used a moment ago.
///
/// # Panics
/// There is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A program in `PATH`, or below the directory that caches what the tests fetch (`~/.cache/go-docker`). `None`, said
/// aloud, when it is not there.
///
/// # Panics
/// It is not there, and `CI` is `true`.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| home.join(".cache"), PathBuf::from)
        .join("go-docker");
    let cached = std::fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path());
    let found =
        std::env::split_paths(&path).chain(cached).map(|dir| dir.join(name)).find(|file| file.is_file());
    if found.is_none() {
        crate::skip(&format!("{name} is not installed; scripts/test gets it"));
    }
    found
}

/// A running service. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a program; what it says goes to the file `log`.
    ///
    /// # Panics
    /// It can not be started.
    #[must_use]
    pub fn start(command: &mut Command, log: &Path) -> Server {
        let file = std::fs::File::create(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|err| panic!("{command:?} can not be started: {err}"));
        Server { child, log: log.to_owned() }
    }

    /// Waits until `look` says that the service answers.
    ///
    /// # Panics
    /// It ended, or does not answer within 30 s; the message holds what it said.
    pub async fn ready(mut self, mut look: impl AsyncFnMut() -> bool) -> Server {
        let begun = tokio::time::Instant::now();
        while !look().await {
            let ended = self.child.try_wait().expect("its status");
            let late = begun.elapsed() > Duration::from_secs(30);
            if ended.is_some() || late {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                panic!("the service is not ready (ended: {ended:?}): {said}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self
    }

    /// Kills it at once, as a power cut would.
    ///
    /// # Panics
    /// The system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("its end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; a test that panics must not panic again here.
        if let Err(err) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("a service was not ended: {err}");
        }
    }
}
