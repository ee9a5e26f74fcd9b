//! The file that logs the first user in: address of the server, login, API key.

use crate::first::Caller;
use anyhow::{Context, Result};
use auth_local::{LocalAuth, NewUser, UserError};
use god_config::Config;
use god_core::UserId;
use god_core::keys::{self, Purpose, Secret};
use god_core::store::Store;
use god_daemon::clock::now;
use nix::unistd::{Gid, Uid, fchown};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the file in the data directory.
pub const FILE: &str = "client.json";

/// The secret that hashes of API keys are made with.
pub fn key_secret(config: &Config) -> Secret {
    Secret::derive(config.auth.secret_passphrase.reveal().as_bytes(), Purpose::ApiKeys)
}

/// Makes sure that the caller is a user, and that the file holds a key that is valid at this address.
///
/// # Errors
/// The user can not be made, or the file not be written.
pub async fn ensure(
    config: &Config,
    store: &Arc<dyn Store>,
    caller: &Caller,
    server: &str,
) -> Result<PathBuf> {
    let path = config.base.data_dir.join(FILE);
    let secret = key_secret(config);
    let login = UserId::parse(&caller.login)?;
    let auth = LocalAuth::new(Arc::clone(store));
    match auth.create_user(NewUser { login: caller.login.clone(), ..NewUser::default() }).await {
        Ok(_) | Err(UserError::Exists(_)) => {}
        Err(err) => return Err(err).with_context(|| format!("cannot make the user {login}")),
    }
    let keys = store.user(&login).await?.map(|user| user.keys).unwrap_or_default();
    let saved = read(&path)?.unwrap_or_default();
    let text = |key: &str| saved.get(key).and_then(Value::as_str).unwrap_or_default();
    let is_valid = text("user") == login.as_str() && keys::verify(&secret, text("apikey"), &keys);
    if is_valid && text("server") == server {
        return Ok(path);
    }
    let key = match is_valid {
        true => text("apikey").to_owned(),
        false => auth.make_key(&login, &secret, false, now()).await?,
    };
    let content = json!({"server": server, "user": login, "apikey": key});
    write(&path, &content, caller).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What the file holds; `None` when it is not there, or not readable as what it should be.
fn read(path: &Path) -> Result<Option<Value>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(serde_json::from_str(&text).ok()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Replaces the file. It belongs to the caller, who alone can read it.
fn write(path: &Path, content: &Value, caller: &Caller) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    if Uid::effective().is_root() {
        fchown(&file, Some(Uid::from_raw(caller.uid)), Some(Gid::from_raw(caller.gid)))?;
    }
    writeln!(file, "{content}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}
