//! The environment of a user's script, as users' scripts rely on it. Pure: facts in, variables out.
//!
//! The variables come in two parts: those all children of an array share, and the few that
//! differ, so that a launch of ten thousand children carries the shared ones once.

use crate::launch::Variable;

/// Working directory inside every container.
pub const CONTAINER_WORKDIR: &str = "/mnt/go-docker";
/// Mount of the user's uploaded files.
pub const DATA_DIR: &str = "/mnt/god-data";
/// Search path where neither the image nor the user gives one.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a container: the working directory is [`CONTAINER_WORKDIR`].
    Container {
        /// Mount of the volume named `home`, if the task asked for it.
        home_mount: Option<&'a str>,
    },
    /// As a plain process on a host.
    Native {
        /// Path of the volume named `home`, if the task asked for it.
        home_volume: Option<&'a str>,
        /// The user's home directory on that host, if there is one.
        home: Option<&'a str>,
    },
}

/// The place of a child in its array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayRange {
    /// First index.
    pub first: i64,
    /// Last index.
    pub last: i64,
    /// Distance between indices.
    pub step: i64,
}

/// The variables that all tasks of one array, or one plain task, share.
pub fn shared(login: &str, place: Place<'_>, array: Option<ArrayRange>) -> Vec<Variable> {
    let mut env = vec![("GODOCKER_DATA".to_owned(), DATA_DIR.to_owned())];
    let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
    set("USER", login);
    set("LOGNAME", login);
    match place {
        Place::Container { home_mount } => {
            set("GODOCKER_PWD", CONTAINER_WORKDIR);
            set("GODOCKER_HOME", home_mount.unwrap_or(CONTAINER_WORKDIR));
            set("HOME", &format!("/home/{login}"));
        }
        Place::Native { home_volume, home } => {
            // The working directory stands in for what is missing: see `own_native`.
            home_volume.iter().for_each(|path| set("GODOCKER_HOME", path));
            home.iter().for_each(|path| set("HOME", path));
            // An image brings its own; a daemon's is no business of a job.
            set("PATH", DEFAULT_PATH);
        }
    }
    if let Some(ArrayRange { first, last, step }) = array {
        for (name, value) in [("FIRST", first), ("LAST", last), ("STEP", step)] {
            for prefix in ARRAY_PREFIXES {
                set(&format!("{prefix}_{name}"), &value.to_string());
            }
        }
    }
    env
}

/// The variables of one task. `index` is its place in its array, `workdir` its directory when it
/// runs natively.
pub fn own(task: u64, index: Option<i64>, workdir: Option<&str>) -> Vec<Variable> {
    let mut env = vec![("GODOCKER_JID".to_owned(), task.to_string())];
    if let Some(workdir) = workdir {
        env.push(("GODOCKER_PWD".to_owned(), workdir.to_owned()));
    }
    if let Some(index) = index {
        env.extend(ARRAY_PREFIXES.map(|prefix| (format!("{prefix}_ID"), index.to_string())));
    }
    env
}

/// The variables of one task that runs natively: also its working directory, which stands in for a
/// home that `shared` does not name.
pub fn own_native(task: u64, index: Option<i64>, workdir: &str, shared: &[Variable]) -> Vec<Variable> {
    let mut env = own(task, index, Some(workdir));
    for name in ["GODOCKER_HOME", "HOME"] {
        if !shared.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), workdir.to_owned()));
        }
    }
    env
}

/// The first spelling is that of the old documentation, and so of users' scripts; the second is
/// the one meant.
const ARRAY_PREFIXES: [&str; 2] = ["GOGOCKER_TASK", "GODOCKER_TASK"];

/// Longest single argument or variable the kernel takes, bytes with the closing NUL.
const MAX_STRING: usize = 128 << 10;
/// Arguments and environment together, bytes: a quarter of the usual stack limit, less what the
/// kernel and a shebang line add.
const MAX_TOTAL: usize = (2 << 20) - (16 << 10);

/// Why a program cannot be given these arguments and variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooBig {
    /// One string is too long.
    #[error("{what} has {bytes} bytes; {MAX_STRING} are accepted")]
    One {
        /// Which: the variable's name or `an argument`.
        what: String,
        /// Its size.
        bytes: usize,
    },
    /// All together are too long.
    #[error("arguments and environment have {bytes} bytes together; {MAX_TOTAL} are accepted")]
    Total {
        /// Their size.
        bytes: usize,
    },
}

/// Checks that the kernel will accept these arguments and variables when the script is executed.
///
/// # Errors
/// [`TooBig`], to be shown to the user.
pub fn exec_bytes_limit<'a>(
    args: impl IntoIterator<Item = &'a str>,
    env: impl IntoIterator<Item = &'a Variable>,
) -> Result<(), TooBig> {
    // Each string costs its bytes, a NUL and a pointer.
    let cost = |bytes: usize| bytes + 1 + size_of::<usize>();
    let mut total = 0;
    for arg in args {
        if arg.len() >= MAX_STRING {
            return Err(TooBig::One { what: "an argument".to_owned(), bytes: arg.len() });
        }
        total += cost(arg.len());
    }
    for (name, value) in env {
        let bytes = name.len() + 1 + value.len();
        if bytes >= MAX_STRING {
            let what = format!("variable {}", name.chars().take(64).collect::<String>());
            return Err(TooBig::One { what, bytes });
        }
        total += cost(bytes);
    }
    if total > MAX_TOTAL { Err(TooBig::Total { bytes: total }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn all(shared: Vec<Variable>, own: Vec<Variable>) -> BTreeMap<String, String> {
        let n = shared.len() + own.len();
        let map: BTreeMap<_, _> = shared.into_iter().chain(own).collect();
        assert_eq!(map.len(), n, "a variable is set twice");
        map
    }

    #[test]
    fn container_without_home() {
        let env = all(shared("bob", Place::Container { home_mount: None }, None), own(42, None, None));
        let expected = [
            ("GODOCKER_DATA", "/mnt/god-data"),
            ("GODOCKER_HOME", "/mnt/go-docker"),
            ("GODOCKER_JID", "42"),
            ("GODOCKER_PWD", "/mnt/go-docker"),
            ("HOME", "/home/bob"),
            ("LOGNAME", "bob"),
            ("USER", "bob"),
        ];
        assert_eq!(env, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn container_with_home() {
        let env = all(shared("bob", Place::Container { home_mount: Some("/mnt/home") }, None), vec![]);
        assert_eq!(env["GODOCKER_HOME"], "/mnt/home");
        assert_eq!(env["HOME"], "/home/bob");
    }

    #[test]
    fn native_uses_real_paths() {
        let check = |home_volume, home, expected: [&str; 2]| {
            let shared = shared("bob", Place::Native { home_volume, home }, None);
            let env = all(shared.clone(), own_native(7, None, "/shared/7/task", &shared));
            assert_eq!(env["GODOCKER_PWD"], "/shared/7/task");
            assert_eq!([env["GODOCKER_HOME"].as_str(), env["HOME"].as_str()], expected);
            assert_eq!(env["PATH"], DEFAULT_PATH);
        };
        check(Some("/data/bob"), Some("/users/bob"), ["/data/bob", "/users/bob"]);
        check(None, Some("/users/bob"), ["/shared/7/task", "/users/bob"]);
        check(None, None, ["/shared/7/task", "/shared/7/task"]);
    }

    #[test]
    fn arrays_have_both_spellings() {
        let range = ArrayRange { first: 1, last: 10, step: 3 };
        let env =
            all(shared("bob", Place::Container { home_mount: None }, Some(range)), own(9, Some(4), None));
        for prefix in ["GOGOCKER", "GODOCKER"] {
            for (name, value) in [("ID", "4"), ("FIRST", "1"), ("LAST", "10"), ("STEP", "3")] {
                assert_eq!(env[&format!("{prefix}_TASK_{name}")], value);
            }
        }
    }

    #[test]
    fn size_limits() {
        let var = |n: usize| ("A".to_owned(), "x".repeat(n));
        assert_eq!(exec_bytes_limit(["a"], &[var(100)]), Ok(()));
        assert!(matches!(exec_bytes_limit([], &[var(MAX_STRING)]), Err(TooBig::One { .. })));
        assert!(matches!(exec_bytes_limit([&*"y".repeat(MAX_STRING)], &[]), Err(TooBig::One { .. })));
        let many = vec![var(100_000); 22];
        assert!(matches!(exec_bytes_limit([], &many), Err(TooBig::Total { .. })));
    }

    #[test]
    fn the_kernel_accepts_what_passes() {
        let value = "x".repeat(100_000);
        let vars: Vec<Variable> = (0..20).map(|i| (format!("V{i}"), value.clone())).collect();
        assert_eq!(exec_bytes_limit(["/bin/true"], &vars), Ok(()));
        let status = std::process::Command::new("/bin/true").env_clear().envs(vars).status().unwrap();
        assert!(status.success());
    }
}
