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
    /// The password was right, and the entry can not be used all the same: the text says why, for the user.
    #[error("{0}")]
    Refused(String),
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

    /// Whether the directory is another one than the store, so that its users change without our doing.
    fn is_elsewhere(&self) -> bool {
        true
    }

    /// What a user gets who logs in for the first time.
    fn grants(&self, _login: &UserId, _is_guest: bool) -> Grants {
        Grants::default()
    }

    /// What everybody must be told who uses a site with this plugin.
    fn warning(&self) -> Option<&'static str> {
        None
    }
}

/// Priority and quotas of a new user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grants {
    /// Scheduling priority 0..=100.
    pub prio: u32,
    /// Quotas over the usage window, 0 is none: time, cpu, ram.
    pub quotas: [f64; 3],
}

impl Default for Grants {
    /// The middle priority, no quotas.
    fn default() -> Grants {
        Grants { prio: 50, quotas: [0.0; 3] }
    }
}

/// An address for mail from a directory, a form or a command line, if it is one plain address: no name beside it, no
/// second recipient, nothing that could end a header's line. Everything else is as good as no address.
#[must_use]
pub fn plain_email(text: &str) -> Option<&str> {
    let text = text.trim_matches(' ');
    let (local, domain) = text.rsplit_once('@')?;
    let in_local = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let in_domain = |c: char| c.is_alphanumeric() || c == '-';
    let good_local = !local.is_empty() && local.len() <= 64 && local.chars().all(in_local);
    let good_part = |part: &str| !part.is_empty() && !part.starts_with('-') && part.chars().all(in_domain);
    (text.len() <= 254 && good_local && domain.split('.').all(good_part)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e3_an_address_is_one_plain_address_or_none() {
        for good in
            ["bob@example.org", "b.o-b+tag@mail.example.org", "bob@localhost", "jos\u{e9}@b\u{fc}ro.example"]
        {
            assert_eq!(plain_email(good), Some(good));
        }
        assert_eq!(plain_email(" bob@example.org "), Some("bob@example.org"));
        let long = format!("{}@example.org", "x".repeat(65));
        let longer = format!("bob@{}", "x.".repeat(150));
        for bad in [
            "",
            "bob",
            "@example.org",
            "bob@",
            "bob@example.org\r\nBcc: eve@example.org",
            "bob@example.org\nBcc: eve@example.org",
            "bob\r@example.org",
            "bob@example.org\r",
            "bob@example.org\n",
            "bob@example.org\0",
            "bob@example.org\u{2028}x",
            "bob@example.org\u{85}x",
            "bob%0d%0aBcc:eve@example.org",
            "bob@example.org,eve@example.org",
            "bob@example.org;eve@example.org",
            "bob@example.org eve@example.org",
            "Bob <bob@example.org>",
            "<bob@example.org>",
            "\"bob\"@example.org",
            "bob@example..org",
            "bob@.example.org",
            "bob@-example.org",
            "bob@[127.0.0.1]",
            "bob@exam ple.org",
            "bob\t@example.org",
            "bob@a@example.org",
            "bob:x@example.org",
            "bob(comment)@example.org",
            "bob\\@example.org",
            &long,
            &longer,
        ] {
            assert_eq!(plain_email(bad), None, "{bad:?}");
        }
    }
}
