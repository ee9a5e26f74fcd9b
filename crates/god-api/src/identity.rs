//! From an identity of the directory to a user's record, and the way back: whether the directory still knows them.
//!
//! Identity is what the directory says, at each login and every few minutes after that; what a client sends never enters
//! it. Users whom the directory does not know any more are logged out; their records stay.

use crate::app::{App, Inner};
use crate::error::ApiError;
use god_core::auth::{AuthError, Identity};
use god_core::user::User;
use god_core::{UserId, keys};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The directory is asked again about a user after this.
const CHECK: Duration = Duration::from_secs(600);
/// Tokens for the same user, from the same address, are told to the audit trail this often.
const TOLD: Duration = Duration::from_secs(3600);
/// Users remembered.
const REMEMBERED: usize = 10_000;

/// A user who was let in.
#[derive(Debug)]
pub(crate) struct Known {
    /// The record.
    pub(crate) user: Arc<User>,
    /// The API key that was made with it, when this was the first login. It is shown once.
    pub(crate) first_key: Option<String>,
}

/// What the directory said of users, and when.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    asked: Mutex<HashMap<UserId, (Instant, bool)>>,
    told: Mutex<HashMap<String, Instant>>,
}

impl Inner {
    /// The record of somebody whom the directory knows: made at the first login, brought up to date at every other.
    pub(crate) async fn known(&self, identity: &Identity, from: &str) -> Result<Known, ApiError> {
        let kind = self.auth.name();
        loop {
            let found = self.store.user(&identity.id).await?;
            let (next, first_key, before) = match found {
                None => {
                    let (user, key) = self.first_record(identity)?;
                    (user, Some(key), None)
                }
                Some(user) if user.kind != kind || user.guest => {
                    tracing::warn!(user = %user.id, kind = user.kind, "refused: the record of this login is of another kind");
                    let text = "there is another user of this login here; ask an administrator";
                    return Err(ApiError::Forbidden(text.to_owned()));
                }
                Some(user) => {
                    let next = renewed(&user, identity);
                    if next == user {
                        // What is remembered may be older than a password that was set just now.
                        self.forget_user(&user.id);
                        self.directory_knows(&user.id, true);
                        return Ok(Known { user: Arc::new(user), first_key: None });
                    }
                    (next, None, Some(of(&user)))
                }
            };
            if self.store.put_user(&next).await? {
                let action = if before.is_none() { "user.first" } else { "user.identity" };
                let changed = (before, Some(of(&next)));
                self.audit.act(self.now(), &next.id, from, action, next.id.as_str(), changed).await;
                self.forget_user(&next.id);
                self.directory_knows(&next.id, true);
                let user = self.user(&next.id).await?.ok_or(ApiError::Failed("a new user is not there"))?;
                return Ok(Known { user, first_key });
            }
        }
    }

    fn first_record(&self, identity: &Identity) -> Result<(User, String), ApiError> {
        let grants = self.auth.grants(&identity.id, false);
        let (key, record) = self.new_key()?;
        let user = User {
            id: identity.id.clone(),
            kind: self.auth.name().to_owned(),
            password: None,
            uid: identity.uid,
            gid: identity.gid,
            sgids: identity.sgids.clone(),
            email: identity.email.clone(),
            home: identity.home.clone(),
            keys: vec![record],
            key_version: 0,
            ssh_public: String::new(),
            prio: grants.prio,
            quotas: grants.quotas,
            active: true,
            guest: false,
            rev: 0,
        };
        Ok((user, key))
    }

    /// A new API key and its record.
    pub(crate) fn new_key(&self) -> Result<(String, god_core::user::KeyRecord), ApiError> {
        let mut random = [0; 38];
        getrandom::fill(&mut random).map_err(|err| {
            tracing::error!(%err, "the system gives no random numbers");
            ApiError::Failed("the server has no random numbers")
        })?;
        Ok(keys::make(&self.key_secret, &random, self.now()))
    }

    /// Whether the audit trail is to be told of a token: programs log in again and again, and once an hour says it.
    pub(crate) fn is_news(&self, login: &UserId, from: &str, how: &str) -> bool {
        let mut told = self.directory.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.retain(|_, at| at.elapsed() < TOLD);
        }
        let key = format!("{login} {from} {how}");
        match told.get(&key) {
            Some(at) if at.elapsed() < TOLD => false,
            _ => told.insert(key, Instant::now()).is_none_or(|at| at.elapsed() >= TOLD),
        }
    }

    fn directory_knows(&self, login: &UserId, is_known: bool) {
        let mut asked = self.directory.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= REMEMBERED {
            asked.retain(|_, (at, is_known)| at.elapsed() < CHECK || !*is_known);
            if asked.len() >= REMEMBERED {
                asked.clear();
            }
        }
        asked.insert(login.clone(), (Instant::now(), is_known));
    }
}

impl App {
    /// Whether the directory knew a user when it was asked last; asks again beside the request when that was long ago.
    /// While it does not answer, nothing changes.
    pub(crate) fn is_in_directory(&self, user: &User) -> bool {
        if user.kind != self.auth.name() || user.guest || !self.auth.is_elsewhere() {
            return true;
        }
        let is_known = {
            let mut asked = self.directory.asked.lock().unwrap_or_else(PoisonError::into_inner);
            match asked.get_mut(&user.id) {
                Some((at, is_known)) if at.elapsed() < CHECK => return *is_known,
                // The next request shall not ask, too.
                Some((at, is_known)) => {
                    *at = Instant::now();
                    *is_known
                }
                None => {
                    asked.insert(user.id.clone(), (Instant::now(), true));
                    true
                }
            }
        };
        let (app, login) = (self.clone(), user.id.clone());
        tokio::spawn(async move { app.ask_directory(&login).await });
        is_known
    }

    async fn ask_directory(&self, login: &UserId) {
        match self.auth.lookup(login).await {
            Ok(Some(identity)) => {
                if let Err(err) = self.known(&identity, "directory").await {
                    tracing::warn!(user = %login, ?err, "what the directory says of a user was not stored");
                }
            }
            Ok(None) => {
                tracing::warn!(user = %login, "the directory does not know this user any more; logged out");
                self.directory_knows(login, false);
            }
            Err(err @ (AuthError::Unreachable(_) | AuthError::Refused(_) | AuthError::Denied)) => {
                tracing::warn!(user = %login, err = %god_engine::chain(&err), "the directory was not asked about a user");
            }
        }
    }
}

/// A record with what the directory says now.
fn renewed(user: &User, identity: &Identity) -> User {
    User {
        uid: identity.uid,
        gid: identity.gid,
        sgids: identity.sgids.clone(),
        email: identity.email.clone(),
        home: identity.home.clone(),
        ..user.clone()
    }
}

/// Who somebody is, for the audit trail.
fn of(user: &User) -> Value {
    json!({
        "uid": user.uid, "gid": user.gid, "sgids": user.sgids, "email": user.email, "home": user.home,
        "type": user.kind, "guest": user.guest, "active": user.active,
    })
}
