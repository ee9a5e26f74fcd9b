//! The first start: a configuration is written down, and whoever starts becomes the first user.

use anyhow::{Context, Result, anyhow};
use god_config::{Embedded, Environment, ProcessEnv, Secret, embedded_file_text};
use god_daemon::{Overrides, front, places};
use nix::unistd::{Uid, User};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who started the program, before `sudo` if that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Login.
    pub login: String,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
}

impl Caller {
    /// Finds out.
    ///
    /// # Errors
    /// The system knows no account of this number.
    pub fn find() -> Result<Caller> {
        let own = Uid::current();
        let before_sudo = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
        let uid = before_sudo.filter(|_| own.is_root()).map_or(own, Uid::from_raw);
        let account = User::from_uid(uid).with_context(|| format!("cannot look up the account {uid}"))?;
        let account = account.ok_or_else(|| anyhow!("the system has no account with the number {uid}"))?;
        Ok(Caller { login: account.name, uid: uid.as_raw(), gid: account.gid.as_raw() })
    }
}

/// The configuration file that the program writes itself, when no other is named and none lies about.
fn own_config(overrides: &Overrides) -> Result<Option<(PathBuf, PathBuf)>> {
    let environment = Environment::from_os(std::env::vars_os());
    let process = ProcessEnv::read(&environment)?;
    let default = || places::default_data_dir(&environment, places::is_root());
    let data_dir = std::path::absolute(overrides.data_dir.clone().unwrap_or_else(default))?;
    let own = data_dir.join(places::CONFIG_FILE);
    let is_own = match (&overrides.config, &overrides.data_dir) {
        (Some(_), _) => false,
        (None, Some(_)) => true,
        (None, None) => places::config_file(None, &process, &data_dir) == own,
    };
    Ok(is_own.then_some((data_dir, own)))
}

/// Whose the configuration in use is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    /// One that somebody wrote and named.
    Named,
    /// The program's own, from an earlier start.
    Own,
    /// The program's own, written just now.
    Written,
}

/// Writes the configuration of a first start, unless there is one or another one is named.
///
/// # Errors
/// The file or its directory can not be written.
pub fn write_config(overrides: &Overrides, executors: Option<&[String]>) -> Result<Config> {
    let Some((data_dir, file)) = own_config(overrides)? else { return Ok(Config::Named) };
    front::make_data_dir(&data_dir)?;
    let shared_dir = data_dir.join("shared");
    if !shared_dir.is_dir() {
        // Jobs run as their owners and must get to their directories; each of those is its owner's alone.
        let mode = if places::is_root() { 0o755 } else { 0o700 };
        let made = std::fs::DirBuilder::new().mode(mode).create(&shared_dir);
        made.with_context(|| format!("cannot make the directory {}", shared_dir.display()))?;
    }
    if file.exists() {
        return Ok(Config::Own);
    }
    let caller = Caller::find()?;
    let local = || vec!["local".to_owned()];
    let choices = Embedded {
        data_dir,
        shared_dir,
        executors: executors.map_or_else(local, <[String]>::to_vec),
        secret_passphrase: Secret::new(random_text::<32>()?),
        admin: vec![caller.login.clone()],
    };
    let text = text(&choices, &caller, &random_text::<4>()?);
    write_new(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(Config::Written)
}

/// The file's text.
fn text(choices: &Embedded, caller: &Caller, name: &str) -> String {
    let mut text = embedded_file_text(choices);
    let mut add = |lines: &str| text.write_str(lines).expect("writing to a String cannot fail");
    add(&format!(
        "# Name of this site among others on the same host or the same engine; part of the names of containers.\n\
         cluster: god-{name}\n\n"
    ));
    if choices.executors.iter().any(|name| name == "docker") {
        add("# Images proposed to users, and whether they may run any other.\n\
             default_images: [{name: Debian, url: \"debian:stable-slim\", interactive: true, default: true}]\n\
             allow_user_images: true\n\n");
    }
    if caller.uid == 0 {
        add(
            "# root started this site for itself, so that tasks may run as root here. On a site for other users\n\
             # remove this line: then no task runs as root or as an account of the system (uid or gid below 1000).\n\
             min_uid: 0\n\n",
        );
    }
    text
}

/// Random bytes in hexadecimal digits.
fn random_text<const N: usize>() -> Result<String> {
    let mut random = [0u8; N];
    getrandom::fill(&mut random).map_err(|err| anyhow!("the system gives no random numbers: {err}"))?;
    let mut text = String::new();
    for byte in random {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    Ok(text)
}

/// Writes a file that its owner alone can read, and that is whole whenever it is there. One that is there stays.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Two first starts at once: the first file wins, and both read it.
        match std::fs::hard_link(&draft, path) {
            Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    let removed = std::fs::remove_file(&draft);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_config::{FileText, Input};
    use std::os::unix::fs::PermissionsExt;

    fn choices(executors: &[&str]) -> Embedded {
        Embedded {
            data_dir: "/d".into(),
            shared_dir: "/d/shared".into(),
            executors: executors.iter().map(|name| (*name).to_owned()).collect(),
            secret_passphrase: Secret::new(random_text::<32>().unwrap()),
            admin: vec!["bob".to_owned()],
        }
    }

    fn read(text: &str) -> god_config::Config {
        let loaded = god_config::Config::check(&Input {
            file: Some(FileText { name: "go-d.ini", bytes: text.as_bytes(), mode: Some(0o600) }),
            production: None,
            environment: &Environment::default(),
            known: god_config::Known {
                executors: &["local", "docker"],
                auth: &["local"],
                policies: &["FiFo"],
                watchers: &[],
                status: &[],
                storages: &["pairtree"],
            },
            data_dir: Path::new("/elsewhere"),
            dir_exists: &|_| true,
        });
        let loaded = loaded.unwrap_or_else(|err| panic!("{err}\n{text}"));
        assert_eq!(loaded.warnings, []);
        loaded.config
    }

    #[test]
    fn the_written_file_is_good_and_root_is_allowed_only_to_root() {
        let caller = |uid| Caller { login: "bob".to_owned(), uid, gid: uid };
        let config = read(&text(&choices(&["local"]), &caller(1000), "ab12"));
        assert_eq!((config.base.min_uid, config.refusals()), (1000, Vec::new()));
        assert!(!config.images.allow_user_images);
        assert_eq!(config.base.cluster, "god-ab12");
        assert_eq!(read(&text(&choices(&["local"]), &caller(999), "ab12")).base.min_uid, 1000);
        let config = read(&text(&choices(&["local", "docker"]), &caller(0), "ab12"));
        assert_eq!(config.base.min_uid, 0);
        assert!(config.images.allow_user_images && config.images.proposed[0].is_default);
    }

    #[test]
    fn a_file_that_is_there_stays_and_a_new_one_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("go-d.ini");
        write_new(&path, "one").unwrap();
        write_new(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
