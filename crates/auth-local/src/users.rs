//! Making and changing users: what the programs for administrators call.

use crate::password::PasswordError;
use crate::system::{self, SystemAccount};
use crate::{LocalAuth, NAME};
use god_core::keys::{self, Secret};
use god_core::store::StoreError;
use god_core::user::User;
use god_core::{Timestamp, UserId};
use std::io;

/// A user to be made. What is not given comes from the system's account of the same name.
#[derive(Debug, Clone, Default)]
pub struct NewUser {
    /// Login.
    pub login: String,
    /// Password; without one only API keys log in.
    pub password: Option<String>,
    /// Numeric user id.
    pub uid: Option<u32>,
    /// Numeric primary group.
    pub gid: Option<u32>,
    /// Secondary groups, by number or name.
    pub groups: Option<Vec<String>>,
    /// Address for mail.
    pub email: String,
    /// Home directory.
    pub home: Option<String>,
}

/// Why a user was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The login is taken.
    #[error("user {0} exists already")]
    Exists(UserId),
    /// There is no such user.
    #[error("there is no user {0}")]
    Unknown(UserId),
    /// What was given makes no user.
    #[error("{0}")]
    Invalid(String),
    /// The system's directory failed.
    #[error("cannot look up the account {login}")]
    System {
        /// Whose.
        login: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The password could not be hashed.
    #[error("cannot set the password")]
    Password(#[source] PasswordError),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// The store failed.
    #[error("cannot reach the record of the user")]
    Store(#[source] StoreError),
}

impl LocalAuth {
    /// Makes a user.
    ///
    /// # Errors
    /// [`UserError::Exists`], or `Invalid` when the login is no login or the system does not know what was not given.
    pub async fn create_user(&self, new: NewUser) -> Result<User, UserError> {
        let id = UserId::parse(&new.login).map_err(|e| UserError::Invalid(e.to_string()))?;
        if self.store.user(&id).await.map_err(UserError::Store)?.is_some() {
            return Err(UserError::Exists(id));
        }
        let system = |source| UserError::System { login: new.login.clone(), source };
        let account = SystemAccount::find(&new.login).await.map_err(system)?;
        let given = |number: Option<u32>, of: fn(&SystemAccount) -> u32, option: &str| {
            number.or(account.as_ref().map(of)).ok_or_else(|| {
                UserError::Invalid(format!("the system has no account {}: give {option}", new.login))
            })
        };
        let uid = given(new.uid, |account| account.uid, "a uid")?;
        let gid = given(new.gid, |account| account.gid, "a gid")?;
        let sgids = match new.groups {
            Some(groups) => groups_of(groups).await?,
            // Groups of an account with another number would be somebody else's.
            None => account.as_ref().filter(|a| a.uid == uid).map_or(Vec::new(), |a| a.sgids.clone()),
        };
        let password = match new.password {
            Some(password) => Some(self.hashed(password).await?),
            None => None,
        };
        let home = new.home.or(account.map(|account| account.home)).unwrap_or_default();
        let user = User {
            id,
            kind: NAME.to_owned(),
            password,
            uid,
            gid,
            sgids,
            email: new.email,
            home,
            keys: Vec::new(),
            key_version: 0,
            ssh_public: String::new(),
            prio: 50,
            quotas: [0.0; 3],
            active: true,
            guest: false,
            rev: 0,
        };
        if self.store.put_user(&user).await.map_err(UserError::Store)? {
            Ok(user)
        } else {
            Err(UserError::Exists(user.id))
        }
    }

    /// Sets a user's password; tokens made before end.
    ///
    /// # Errors
    /// [`UserError::Unknown`] for no such user, `Invalid` for an empty password.
    pub async fn set_password(&self, login: &UserId, password: String) -> Result<(), UserError> {
        let hash = self.hashed(password).await?;
        let change = |user: &mut User| {
            user.password = Some(hash.clone());
            user.key_version = user.key_version.wrapping_add(1);
        };
        self.change(login, change).await
    }

    /// Makes an API key and gives back its text, which is stored nowhere. With `replace` all earlier keys, and tokens
    /// made with them, end.
    ///
    /// # Errors
    /// [`UserError::Unknown`] for no such user.
    pub async fn make_key(
        &self,
        login: &UserId,
        secret: &Secret,
        replace: bool,
        now: Timestamp,
    ) -> Result<String, UserError> {
        let mut random = [0; 38];
        getrandom::fill(&mut random).map_err(|e| UserError::Random(e.to_string()))?;
        let (text, record) = keys::make(secret, &random, now);
        let change = |user: &mut User| {
            if replace {
                user.keys.clear();
                user.key_version = user.key_version.wrapping_add(1);
            }
            user.keys.push(record.clone());
        };
        self.change(login, change).await?;
        Ok(text)
    }

    /// Records a key that exists already, such as one of an earlier server.
    ///
    /// # Errors
    /// [`UserError::Unknown`] for no such user, `Invalid` for an empty key.
    pub async fn adopt_key(
        &self,
        login: &UserId,
        secret: &Secret,
        key: &str,
        now: Timestamp,
    ) -> Result<(), UserError> {
        if key.is_empty() {
            return Err(UserError::Invalid("an empty key is no key".to_owned()));
        }
        let record = keys::record(secret, key, now);
        self.change(login, |user| user.keys.push(record.clone())).await
    }

    /// Removes a user's record; tasks stay.
    ///
    /// # Errors
    /// [`UserError::Unknown`] for no such user.
    pub async fn remove_user(&self, login: &UserId) -> Result<(), UserError> {
        if self.store.user(login).await.map_err(UserError::Store)?.is_none() {
            return Err(UserError::Unknown(login.clone()));
        }
        self.store.remove_user(login).await.map_err(UserError::Store)
    }

    async fn hashed(&self, password: String) -> Result<String, UserError> {
        if password.is_empty() {
            return Err(UserError::Invalid("an empty password is no password".to_owned()));
        }
        self.passwords.hash(password).await.map_err(UserError::Password)
    }

    /// Writes a change over the version it was made from, again when somebody was faster.
    async fn change(&self, login: &UserId, change: impl Fn(&mut User)) -> Result<(), UserError> {
        loop {
            let found = self.store.user(login).await.map_err(UserError::Store)?;
            let mut user = found.ok_or_else(|| UserError::Unknown(login.clone()))?;
            change(&mut user);
            if self.store.put_user(&user).await.map_err(UserError::Store)? {
                return Ok(());
            }
        }
    }
}

async fn groups_of(names: Vec<String>) -> Result<Vec<u32>, UserError> {
    let found = tokio::task::spawn_blocking(move || {
        names
            .into_iter()
            .map(|name| match system::group(&name) {
                Ok(Some(gid)) => Ok(gid),
                Ok(None) => Err(UserError::Invalid(format!("the system has no group {name}"))),
                Err(source) => Err(UserError::System { login: name, source }),
            })
            .collect()
    });
    found.await.map_err(|e| UserError::System { login: String::new(), source: io::Error::other(e) })?
}
