//! Local users: who they are, their passwords and API keys, all kept in the store.
//!
//! Passwords are stored as argon2 strings and API keys as keyed hashes, so the store holds nothing that can be used to
//! log in. Checking a password costs memory and time on purpose; only two are checked at once.

mod password;
mod system;
mod users;

pub use password::PasswordError;
pub use system::SystemAccount;
pub use users::{NewUser, UserError};

use async_trait::async_trait;
use god_core::UserId;
use god_core::auth::{Auth, AuthError, Identity};
use god_core::store::Store;
use god_core::user::User;
use password::Passwords;
use std::sync::Arc;

/// The name of this plugin, and the kind of its users.
pub const NAME: &str = "local";

/// The plugin.
#[derive(Debug, Clone)]
pub struct LocalAuth {
    store: Arc<dyn Store>,
    passwords: Passwords,
}

impl LocalAuth {
    /// Local users in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> LocalAuth {
        LocalAuth { store, passwords: Passwords::default() }
    }

    async fn local(&self, login: &UserId) -> Result<Option<User>, AuthError> {
        let found = self.store.user(login).await.map_err(|e| AuthError::Unreachable(e.into()))?;
        Ok(found.filter(|user| user.kind == NAME))
    }
}

#[async_trait]
impl Auth for LocalAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn by_password(&self, login: &UserId, password: &str) -> Result<Identity, AuthError> {
        let user = self.local(login).await?;
        let stored = user.as_ref().and_then(|user| user.password.clone());
        // The same work is done for nobody, so that the time does not tell who exists.
        let right = self.passwords.check(password.to_owned(), stored).await;
        let right = right.map_err(|e| AuthError::Unreachable(e.into()))?;
        match user {
            Some(user) if right && user.active => Ok(identity(user)),
            _ => Err(AuthError::Denied),
        }
    }

    async fn lookup(&self, login: &UserId) -> Result<Option<Identity>, AuthError> {
        Ok(self.local(login).await?.map(identity))
    }

    fn is_elsewhere(&self) -> bool {
        false
    }
}

fn identity(user: User) -> Identity {
    Identity {
        id: user.id,
        uid: user.uid,
        gid: user.gid,
        sgids: user.sgids,
        email: user.email,
        home: user.home,
    }
}
