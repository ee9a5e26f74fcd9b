//! Where a program looks when it is not told: for its data, and for its configuration.

use god_config::{Environment, ProcessEnv};
use std::path::{Path, PathBuf};

/// Name of the configuration file in a data directory.
pub const CONFIG_FILE: &str = "go-d.ini";

/// The data directory of whoever runs the program: `/var/lib/go-docker` for root, else `go-docker` in the user's own
/// data directory.
#[must_use]
pub fn default_data_dir(environment: &Environment, is_root: bool) -> PathBuf {
    let absolute = |name| environment.get(name).map(Path::new).filter(|path| path.is_absolute());
    let base = match (is_root, absolute("XDG_DATA_HOME"), absolute("HOME")) {
        (true, ..) => PathBuf::from("/var/lib"),
        (false, Some(data), _) => data.to_owned(),
        (false, None, Some(home)) => home.join(".local/share"),
        (false, None, None) => PathBuf::from("/var/lib"),
    };
    base.join("go-docker")
}

/// The configuration file: what the option says, then what `GOD_CONFIG` says, then `go-d.ini` in the working directory,
/// then the one in the data directory. The first two are meant even if they do not exist.
#[must_use]
pub fn config_file(option: Option<&Path>, process: &ProcessEnv, data_dir: &Path) -> PathBuf {
    if let Some(file) = option {
        return file.to_owned();
    }
    if process.config_file_is_set || process.config_file.is_file() {
        return process.config_file.clone();
    }
    data_dir.join(CONFIG_FILE)
}

/// Host part of the process's name.
#[must_use]
pub fn host_name(process: &ProcessEnv) -> String {
    let system = || nix::unistd::gethostname().ok().map(|name| name.to_string_lossy().into_owned());
    let name = process.host_name.clone().or_else(system).unwrap_or_default();
    // The name becomes part of the names of leases and files.
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if plain.is_empty() { "localhost".to_owned() } else { plain }
}

/// Whether this process may do anything on this host.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().copied().collect()
    }

    #[test]
    fn the_data_directory_follows_the_user() {
        let check = |variables, is_root, expected: &str| {
            assert_eq!(default_data_dir(&environment(variables), is_root), Path::new(expected));
        };
        check(&[("HOME", "/home/bob")], false, "/home/bob/.local/share/go-docker");
        check(&[("HOME", "/home/bob"), ("XDG_DATA_HOME", "/data/bob")], false, "/data/bob/go-docker");
        check(&[("HOME", "/home/bob"), ("XDG_DATA_HOME", "odd")], false, "/home/bob/.local/share/go-docker");
        // What sudo leaves of a user's environment does not move root's files to the user.
        check(&[("HOME", "/home/bob"), ("XDG_DATA_HOME", "/data/bob")], true, "/var/lib/go-docker");
        check(&[], false, "/var/lib/go-docker");
    }

    #[test]
    fn the_configuration_is_looked_for_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let read = |variables| ProcessEnv::read(&environment(variables)).unwrap();
        let plain = read(&[]);
        assert_eq!(config_file(None, &plain, dir.path()), dir.path().join("go-d.ini"));
        let set = read(&[("GOD_CONFIG", "/nowhere/x.ini")]);
        assert_eq!(config_file(None, &set, dir.path()), Path::new("/nowhere/x.ini"));
        assert_eq!(config_file(Some(Path::new("y.ini")), &set, dir.path()), Path::new("y.ini"));
    }

    #[test]
    fn the_host_has_a_plain_name() {
        let process = ProcessEnv::read(&environment(&[("HOSTNAME", "node-1.example")])).unwrap();
        assert_eq!(host_name(&process), "node-1.example");
        let own = host_name(&ProcessEnv::read(&environment(&[])).unwrap());
        assert!(!own.is_empty() && own.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    }
}
