//! Which server, which user, which key: from the environment, from what `login` saved, or from the file of the older
//! client. A key never goes to another server than the one it was saved for.

use crate::failure::{Failure, warn};
use crate::private;
use crate::server::Server;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// All it takes to authenticate.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The server.
    pub server: Server,
    /// Login name.
    pub user: String,
    /// The API key.
    pub apikey: SecretString,
    /// Where a token may be kept between commands; `None` for a key that must leave nothing behind.
    pub token_file: Option<PathBuf>,
}

/// The saved file; the older client's has the same first three fields.
#[derive(Serialize, Deserialize)]
struct Saved {
    server: String,
    user: String,
    apikey: String,
    #[serde(default, alias = "noCert", skip_serializing_if = "is_false", deserialize_with = "yes")]
    insecure: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// The older client wrote the flag as it came: true, false or null.
fn yes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(from)?.unwrap_or(false))
}

#[derive(Serialize, Deserialize)]
struct Cached {
    server: String,
    user: String,
    token: String,
}

/// The directories and variables that matter, so that tests need no process of their own.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// `~/.config/go-docker`.
    pub dir: Option<PathBuf>,
    /// `~/.godocker_auth`.
    pub old_file: Option<PathBuf>,
    /// `--server` or `GODOCKER_SERVER`.
    pub server: Option<String>,
    /// `GODOCKER_USER`.
    pub user: Option<String>,
    /// `GODOCKER_APIKEY`.
    pub apikey: Option<SecretString>,
    /// Whether the older client's file stands before ours.
    pub old_first: bool,
}

impl Surroundings {
    /// Those of this process. An empty variable counts as none.
    pub fn of_process(server: Option<&str>) -> Surroundings {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        Surroundings {
            dir: config.or(home.as_ref().map(|home| home.join(".config"))).map(|dir| dir.join("go-docker")),
            old_file: home.map(|home| home.join(".godocker_auth")),
            server: server.filter(|server| !server.is_empty()).map(str::to_owned),
            user: variable("GODOCKER_USER"),
            apikey: variable("GODOCKER_APIKEY").map(SecretString::from),
            old_first: false,
        }
    }

    fn login_file(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join("login.json"))
    }

    fn token_file(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join("token.json"))
    }

    /// What was saved, by us or else by the older client; the other way round under its names.
    fn saved(&self) -> Result<Option<(Saved, PathBuf)>, Failure> {
        let mut files = [self.login_file(), self.old_file.clone()];
        if self.old_first {
            files.reverse();
        }
        for path in files.into_iter().flatten() {
            let Some((text, open)) = private::read(&path)? else { continue };
            let saved = serde_json::from_str::<Saved>(&text).map_err(|err| {
                // The cause may quote what it could not read, and that may be the key.
                let at = format!("line {}, column {}", err.line(), err.column());
                Failure::NotLoggedIn(format!(
                    "{} is no login ({at}). Log in again: go-d-cli login --server URL",
                    path.display()
                ))
            })?;
            if open {
                warn(&format!(
                    "warning: others may read the API key in {path}: chmod 600 {path}, and ask for a \
                     new key",
                    path = path.display()
                ));
            }
            return Ok(Some((saved, path)));
        }
        Ok(None)
    }

    /// The server alone, for what needs no login.
    ///
    /// # Errors
    /// [`Failure::NotLoggedIn`] when none is named anywhere; [`Failure::Usage`] for a bad address.
    pub fn server(&self) -> Result<Server, Failure> {
        let saved = self.saved()?;
        match (&self.server, saved) {
            (Some(named), Some((saved, _))) => {
                let named = Server::parse(named, false)?;
                let saved = Server::parse(&saved.server, saved.insecure)?;
                Ok(if named.same_place(&saved) { saved } else { named })
            }
            (Some(named), None) => Server::parse(named, false),
            (None, Some((saved, _))) => Server::parse(&saved.server, saved.insecure),
            (None, None) => Err(no_login()),
        }
    }

    /// Server, user and key.
    ///
    /// # Errors
    /// [`Failure::NotLoggedIn`] when something is missing or does not belong together.
    pub fn credentials(&self) -> Result<Credentials, Failure> {
        if let Some(apikey) = &self.apikey {
            let saved = self.saved()?.map(|(saved, _)| saved.user);
            let user = self.user.clone().or(saved).ok_or_else(|| {
                Failure::NotLoggedIn(
                    "whose key is it? GODOCKER_APIKEY is set, GODOCKER_USER is not".to_owned(),
                )
            })?;
            return Ok(Credentials {
                server: self.server()?,
                user,
                apikey: apikey.clone(),
                token_file: None,
            });
        }
        let (saved, path) = self.saved()?.ok_or_else(no_login)?;
        let server = Server::parse(&saved.server, saved.insecure)?;
        if let Some(named) = &self.server
            && !Server::parse(named, false)?.same_place(&server)
        {
            return Err(Failure::NotLoggedIn(format!(
                "the login in {} is for {server}, not for {named}. Log in there: go-d-cli login --server {named}",
                path.display()
            )));
        }
        if let Some(user) = self.user.as_ref().filter(|user| **user != saved.user) {
            return Err(Failure::NotLoggedIn(format!(
                "GODOCKER_USER is {user}, the login in {} is {}'s. Set GODOCKER_APIKEY as well, or log in: \
                 go-d-cli login --user {user}",
                path.display(),
                saved.user
            )));
        }
        let apikey = SecretString::from(saved.apikey);
        Ok(Credentials { server, user: saved.user, apikey, token_file: self.token_file() })
    }

    /// Saves a login that the server has accepted.
    ///
    /// # Errors
    /// [`Failure::File`], or [`Failure::Usage`] when there is no home directory.
    pub fn save(&self, credentials: &Credentials) -> Result<PathBuf, Failure> {
        let path = self.login_file().ok_or_else(|| {
            Failure::Usage(
                "there is no home directory to save the login in: set HOME or XDG_CONFIG_HOME, or use \
                 GODOCKER_SERVER, GODOCKER_USER and GODOCKER_APIKEY instead"
                    .to_owned(),
            )
        })?;
        let saved = Saved {
            server: credentials.server.to_string(),
            user: credentials.user.clone(),
            apikey: credentials.apikey.expose_secret().to_owned(),
            insecure: credentials.server.insecure(),
        };
        let text = serde_json::to_string(&saved).expect("texts and a flag are JSON");
        private::write(&path, &format!("{text}\n"))?;
        Ok(path)
    }

    /// Removes what [`Surroundings::save`] and [`Surroundings::save_old`] write, and the token; gives the files that
    /// were there.
    ///
    /// # Errors
    /// [`Failure::File`] for one that cannot be removed.
    pub fn forget(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut removed = Vec::new();
        for path in [self.login_file(), self.token_file(), self.old_file.clone()].into_iter().flatten() {
            match std::fs::remove_file(&path) {
                Ok(()) => removed.push(path),
                Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(Failure::File { doing: "cannot remove", path, source }),
            }
        }
        Ok(removed)
    }

    /// Saves a login where the older client keeps it, as that client writes it.
    ///
    /// # Errors
    /// As [`Surroundings::save`].
    pub fn save_old(&self, credentials: &Credentials) -> Result<PathBuf, Failure> {
        let path = self.old_file.clone().ok_or_else(|| {
            Failure::Usage("there is no home directory to save the login in: set HOME".to_owned())
        })?;
        let saved = serde_json::json!({
            "user": credentials.user,
            "apikey": credentials.apikey.expose_secret(),
            "server": credentials.server.to_string(),
            "noCert": credentials.server.insecure(),
        });
        private::write(&path, &format!("{saved}\n"))?;
        Ok(path)
    }

    /// Where `save` lets tokens be kept.
    pub fn tokens_beside_login(&self) -> Option<PathBuf> {
        self.token_file()
    }
}

impl Credentials {
    /// The token of an earlier command, if it is for this server and user.
    pub fn cached_token(&self) -> Option<SecretString> {
        let (text, open) = private::read(self.token_file.as_deref()?).ok()??;
        let cached: Cached = serde_json::from_str(&text).ok()?;
        let ours = !open && cached.user == self.user && cached.server == self.server.to_string();
        ours.then(|| SecretString::from(cached.token))
    }

    /// Keeps a token for the next command.
    pub fn cache_token(&self, token: &SecretString) {
        let Some(path) = &self.token_file else { return };
        let cached = Cached {
            server: self.server.to_string(),
            user: self.user.clone(),
            token: token.expose_secret().to_owned(),
        };
        let text = serde_json::to_string(&cached).expect("texts are JSON");
        // A home that can not be written costs one more request in the next command, nothing else.
        drop(private::write(path, &text));
    }
}

fn no_login() -> Failure {
    Failure::NotLoggedIn(
        "not logged in. Log in first: go-d-cli login --server http://HOST:6543 --user NAME".to_owned(),
    )
}

#[cfg(test)]
mod tests;
