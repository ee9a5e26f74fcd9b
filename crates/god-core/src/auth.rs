//! The authentication plugin: who somebody is.

use crate::BoxError;
use crate::ids::UserId;
use async_trait::async_trait;
use std::fmt;

/// An identity as the plugin's directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Login.
    pub id: UserId,
    /// Numeric user id.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Secondary groups.
    pub sgids: Vec<u32>,
    /// Address for mail, empty when not known.
    pub email: String,
    /// Home directory, empty when there is none.
    pub home: String,
}

/// Why nobody was authenticated.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown login or wrong password; never told apart.
    #[error("login or password is wrong")]
    Denied,
    /// The directory did not answer.
    #[error("the directory of users does not answer")]
    Unreachable(#[source] BoxError),
}

/// Checks passwords and looks up identities.
#[async_trait]
pub trait Auth: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;

    /// The identity behind a login and password.
    ///
    /// # Errors
    /// [`AuthError::Denied`] for an unknown login, a wrong or an empty password, in the same time.
    async fn by_password(&self, login: &UserId, password: &str) -> Result<Identity, AuthError>;

    /// The identity of a login, `None` when there is no such user.
    ///
    /// # Errors
    /// [`AuthError::Unreachable`] when the directory does not answer.
    async fn lookup(&self, login: &UserId) -> Result<Option<Identity>, AuthError>;
}
