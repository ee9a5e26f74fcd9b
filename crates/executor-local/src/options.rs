//! What the executor is told by the site, checked once.

use god_core::units::{Bytes, Seconds};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Whether tasks are held to their limits by control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cgroups {
    /// When this host lets us.
    #[default]
    Auto,
    /// Never: memory and cores are counted, but not enforced.
    Off,
    /// Always: nothing runs without them.
    Require,
}

impl Cgroups {
    /// The word for the keeper's command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Cgroups::Auto => "auto",
            Cgroups::Off => "off",
            Cgroups::Require => "require",
        }
    }
}

/// What the executor is told by the site.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of this GO-Docker among those on this host; letters, digits and `_ . -`. Two keepers with the same name
    /// would share their control groups.
    pub cluster: String,
    /// The directory of jobs.
    pub shared_dir: PathBuf,
    /// The program `go-d-init`.
    pub init: PathBuf,
    /// Directory of the keeper's socket, journal and latches: on a disk of this host that survives a restart, at most
    /// 95 bytes long.
    pub keeper_dir: PathBuf,
    /// Cores that tasks may use in all; `None` is all of this host.
    pub cores: Option<u32>,
    /// Memory that tasks may use in all; `None` is all of this host.
    pub memory: Option<Bytes>,
    /// Tasks that may wait in the keeper beyond what fits, to start in the moment another one ends.
    pub queue: u32,
    /// Labels `name==value` of the node.
    pub labels: Vec<String>,
    /// Time between the polite and the hard signal at a time limit, and when the host goes down.
    pub grace: Seconds,
    /// Lowest user and group id that tasks may run under, when the daemon is root.
    pub min_id: u32,
    /// Control groups.
    pub cgroups: Cgroups,
    /// Whether output is kept for tasks that want it; without, no task leaves a file.
    pub keep_output: bool,
}

/// Why no executor can be made of some options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    /// The name cannot be part of a control group's name.
    #[error(
        "cluster {0:?}: accepted are 1 to 40 letters, digits and _ . -, beginning with a letter or digit"
    )]
    Cluster(String),
    /// A path that must be absolute is not.
    #[error("{what} {path:?} is not an absolute path")]
    NotAbsolute {
        /// Which path.
        what: &'static str,
        /// Its text.
        path: PathBuf,
    },
    /// The path of the socket would be longer than sockets allow.
    #[error("keeper directory {0:?} is too long: up to 95 bytes are accepted")]
    TooLong(PathBuf),
    /// The keeper's program is missing.
    #[error("{0:?} is not an executable file: install go-d-init")]
    NoInit(PathBuf),
}

impl Options {
    /// The usual options.
    #[must_use]
    pub fn new(
        cluster: impl Into<String>,
        shared_dir: impl Into<PathBuf>,
        init: impl Into<PathBuf>,
        keeper_dir: impl Into<PathBuf>,
    ) -> Options {
        Options {
            cluster: cluster.into(),
            shared_dir: shared_dir.into(),
            init: init.into(),
            keeper_dir: keeper_dir.into(),
            cores: None,
            memory: None,
            queue: 512,
            labels: Vec::new(),
            grace: Seconds(10),
            min_id: 1000,
            cgroups: Cgroups::Auto,
            keep_output: true,
        }
    }

    /// Refuses what can only be a mistake.
    pub(crate) fn check(&self) -> Result<(), BadOptions> {
        let name = self.cluster.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !(1..=40).contains(&name.len()) || !name[0].is_ascii_alphanumeric() || !name.iter().all(plain) {
            return Err(BadOptions::Cluster(self.cluster.clone()));
        }
        let paths = [
            ("shared directory", &self.shared_dir),
            ("go-d-init", &self.init),
            ("keeper directory", &self.keeper_dir),
        ];
        for (what, path) in paths {
            if !path.is_absolute() {
                return Err(BadOptions::NotAbsolute { what, path: path.clone() });
            }
        }
        if self.keeper_dir.as_os_str().len() > 95 {
            return Err(BadOptions::TooLong(self.keeper_dir.clone()));
        }
        if !is_executable(&self.init) {
            return Err(BadOptions::NoInit(self.init.clone()));
        }
        Ok(())
    }
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o100 != 0)
}

/// The name of this host, as users see it.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_refused() {
        let good =
            || Options::new("site", "/srv/god", std::env::current_exe().unwrap(), "/var/lib/god/keeper");
        assert_eq!(good().check(), Ok(()));
        for cluster in ["", "-a", "a b", "a/b", "ü", &"a".repeat(41)] {
            let options = Options { cluster: cluster.into(), ..good() };
            assert!(matches!(options.check(), Err(BadOptions::Cluster(_))), "{cluster:?}");
        }
        assert!(matches!(
            Options { shared_dir: "x".into(), ..good() }.check(),
            Err(BadOptions::NotAbsolute { .. })
        ));
        assert!(matches!(
            Options { keeper_dir: "x".into(), ..good() }.check(),
            Err(BadOptions::NotAbsolute { .. })
        ));
        let long = format!("/{}", "x".repeat(95));
        assert!(matches!(Options { keeper_dir: long.into(), ..good() }.check(), Err(BadOptions::TooLong(_))));
        for init in ["/no/such", "/etc/passwd", "/"] {
            assert!(
                matches!(Options { init: init.into(), ..good() }.check(), Err(BadOptions::NoInit(_))),
                "{init}"
            );
        }
    }
}
