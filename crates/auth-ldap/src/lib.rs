//! Users of an LDAP directory, under the name that configurations know: `goauth`.
//!
//! A login is searched by uid or mail address, exactly one entry must be meant, and its password is checked by a bind
//! with the name that this very entry has. An empty password is refused before the directory is asked, because
//! directories take a login without password for one of nobody and say yes. The certificate is always checked; without
//! TLS nothing is sent unless the options ask for it. Groups come from the directory's `posixGroup`s and from the groups
//! of this host. Nothing is kept between two logins.

mod entry;
mod groups;
mod options;
mod talk;

pub use options::{BadOptions, Options, Searcher, Security};

use async_trait::async_trait;
use god_core::auth::{Auth, AuthError, Identity};
use god_core::{BoxError, UserId};
use rustls::ClientConfig;
use std::sync::Arc;
use talk::{Found, Talk};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The name of this plugin, and the kind of its users.
pub const NAME: &str = "goauth";

/// Conversations at once.
const AT_ONCE: usize = 16;

/// The plugin.
#[derive(Debug, Clone)]
pub struct LdapAuth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    tls: Arc<ClientConfig>,
    turns: Semaphore,
}

impl LdapAuth {
    /// Users of this directory. Does not ask it yet: it may be down when a daemon starts.
    ///
    /// # Errors
    /// [`BadOptions`].
    pub fn new(options: Options) -> Result<LdapAuth, BadOptions> {
        options.check()?;
        if options.security == Security::Plain {
            tracing::warn!(host = options.host, "passwords are sent to the directory without TLS");
        }
        let tls = options.tls()?;
        Ok(LdapAuth(Arc::new(Inner { options, tls, turns: Semaphore::new(AT_ONCE) })))
    }

    /// Runs one conversation on a task of its own, within the time allowed. A directory's answer that breaks the client
    /// library breaks that task only.
    async fn ask<T: Send + 'static, F>(
        &self,
        conversation: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, AuthError>
    where
        F: Future<Output = Result<T, AuthError>> + Send + 'static,
    {
        let limit = self.0.options.timeout;
        let inner = Arc::clone(&self.0);
        let conversation = conversation(Arc::clone(&self.0));
        let task = tokio::spawn(async move {
            let turn = inner.turns.acquire().await.map_err(unreachable)?;
            let result = conversation.await;
            drop(turn);
            result
        });
        let ending = task.abort_handle();
        match timeout(limit, task).await {
            Ok(Ok(result)) => result,
            Ok(Err(broken)) => Err(unreachable(broken)),
            Err(_) => {
                ending.abort();
                let seconds = limit.as_secs_f64();
                Err(unreachable(format!("{} gave no answer in {seconds} s", self.0.options.url())))
            }
        }
    }
}

fn unreachable(err: impl Into<BoxError>) -> AuthError {
    AuthError::Unreachable(err.into())
}

#[async_trait]
impl Auth for LdapAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn by_password(&self, login: &UserId, password: &str) -> Result<Identity, AuthError> {
        if login.as_str().is_empty() || password.is_empty() || password.contains('\0') {
            return Err(AuthError::Denied);
        }
        let (login, password) = (login.clone(), password.to_owned());
        self.ask(|inner| async move { inner.log_in(&login, &password).await }).await
    }

    async fn lookup(&self, login: &UserId) -> Result<Option<Identity>, AuthError> {
        if login.as_str().is_empty() {
            return Ok(None);
        }
        let login = login.clone();
        self.ask(|inner| async move { inner.look_up(&login).await }).await
    }
}

impl Inner {
    async fn log_in(&self, login: &UserId, password: &str) -> Result<Identity, AuthError> {
        let login = login.as_str();
        let mut talk = Talk::open(&self.options, Arc::clone(&self.tls)).await.map_err(unreachable)?;
        let found = talk.user(&self.options, &entry::by_uid_or_mail(login)).await.map_err(unreachable)?;
        let Found::One(found) = found else {
            if matches!(found, Found::Several) {
                tracing::warn!(
                    user = login,
                    "refused: several entries of the directory have this uid or mail address"
                );
            }
            talk.pretend(&self.options, login, password).await.map_err(unreachable)?;
            talk.close().await;
            return Err(AuthError::Denied);
        };
        let identity = entry::identity(&found, login, &self.options.home_field);
        // Before the bind: afterwards the directory would answer as it answers this user.
        let groups = match &identity {
            Ok(identity) => talk.groups(&self.options, identity, &found.dn).await.map_err(unreachable)?,
            Err(_) => Vec::new(),
        };
        let is_right = talk.is_password(&found.dn, password).await.map_err(unreachable)?;
        talk.close().await;
        if !is_right {
            return Err(AuthError::Denied);
        }
        let identity = identity.map_err(|err| {
            tracing::warn!(user = login, dn = found.dn, %err, "a user of the directory can not be one here");
            AuthError::Refused(format!("your entry in the directory can not be used here: {err}"))
        })?;
        with_groups(identity, groups).await
    }

    async fn look_up(&self, login: &UserId) -> Result<Option<Identity>, AuthError> {
        let mut talk = Talk::open(&self.options, Arc::clone(&self.tls)).await.map_err(unreachable)?;
        let found = talk.user(&self.options, &entry::by_uid(login.as_str())).await.map_err(unreachable)?;
        let known = match found {
            Found::One(found) => match entry::identity(&found, login.as_str(), &self.options.home_field) {
                // A directory does not look at capitals; here they tell users apart.
                Ok(identity) if identity.id == *login => Some((identity, found.dn)),
                Ok(_) => None,
                Err(err) => {
                    tracing::warn!(user = %login, dn = found.dn, %err, "a user of the directory can not be one here");
                    None
                }
            },
            Found::Nobody | Found::Several => None,
        };
        let Some((identity, dn)) = known else {
            talk.close().await;
            return Ok(None);
        };
        let groups = talk.groups(&self.options, &identity, &dn).await.map_err(unreachable)?;
        talk.close().await;
        with_groups(identity, groups).await.map(Some)
    }
}

/// Adds the groups of this host to those of the directory.
async fn with_groups(mut identity: Identity, mut groups: Vec<u32>) -> Result<Identity, AuthError> {
    groups.extend(groups::of_host(identity.id.as_str(), identity.gid).await.map_err(unreachable)?);
    groups.retain(|group| *group != identity.gid);
    groups.sort_unstable();
    groups.dedup();
    identity.sgids = groups;
    Ok(identity)
}
