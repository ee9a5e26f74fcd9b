//! One conversation with the directory: connect, search, check a password, leave. Each has a connection of its own: the
//! client library never connects again by itself, and a connection that knows somebody is not shared.

use crate::entry;
use crate::options::{Options, Security};
use god_core::auth::Identity;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchEntry, SearchOptions, dn_escape};
use rustls::ClientConfig;
use std::sync::Arc;

/// Result codes of RFC 4511 that mean something here.
const SUCCESS: u32 = 0;
const SIZE_LIMIT: u32 = 4;
const NO_SUCH_OBJECT: u32 = 32;
/// What a directory answers when it does not take a password: inappropriate, wrong, locked, not without a password.
const NOT_TAKEN: [u32; 4] = [48, 49, 50, 53];
/// Groups of one user that are read, at most.
const GROUPS: i32 = 2000;

/// Why a conversation ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    #[error("cannot connect to {url}{hint}")]
    Connect {
        url: String,
        hint: &'static str,
        #[source]
        source: LdapError,
    },
    #[error("{dn} may not log in at the directory to search it: {text}")]
    Searcher { dn: String, text: String },
    #[error("the directory does not {doing}: {text}")]
    Answer { doing: &'static str, text: String },
    #[error("the connection broke while the directory was asked to {doing}")]
    Broken {
        doing: &'static str,
        #[source]
        source: LdapError,
    },
}

/// What a search for one user found.
#[derive(Debug)]
pub(crate) enum Found {
    Nobody,
    /// More than one entry: nobody knows who is meant.
    Several,
    One(Box<SearchEntry>),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Talk {
    ldap: Ldap,
}

impl Talk {
    /// Connects, protected as configured, and logs the searcher in.
    pub(crate) async fn open(options: &Options, tls: Arc<ClientConfig>) -> Result<Talk, TalkError> {
        let starttls = options.security == Security::StartTls;
        let settings =
            LdapConnSettings::new().set_conn_timeout(options.timeout).set_starttls(starttls).set_config(tls);
        let url = options.url();
        let (connection, ldap) = LdapConnAsync::with_settings(settings, &url)
            .await
            .map_err(|source| TalkError::Connect { hint: hint(options.security, &source), url, source })?;
        tokio::spawn(async move {
            if let Err(err) = connection.drive().await {
                tracing::debug!(%err, "a connection to the directory broke");
            }
        });
        let mut talk = Talk { ldap };
        if let Some(searcher) = &options.searcher {
            let result = talk.bind(&searcher.dn, &searcher.password).await?;
            if result.rc != SUCCESS {
                return Err(TalkError::Searcher { dn: searcher.dn.clone(), text: text(&result) });
            }
        }
        Ok(talk)
    }

    /// The one user that a filter means.
    pub(crate) async fn user(&mut self, options: &Options, filter: &str) -> Result<Found, TalkError> {
        let fields = ["uid", "mail", "uidNumber", "gidNumber", options.home_field.as_str()];
        // Two are as bad as a thousand.
        let (mut entries, code) = self.search(&options.user_base, filter, &fields, 2).await?;
        match (code, entries.pop()) {
            (SIZE_LIMIT, _) => Ok(Found::Several),
            (_, None) => Ok(Found::Nobody),
            (_, Some(_)) if !entries.is_empty() => Ok(Found::Several),
            (_, Some(entry)) => Ok(Found::One(Box::new(entry))),
        }
    }

    /// Numbers of the groups that the directory lists a user in.
    pub(crate) async fn groups(
        &mut self,
        options: &Options,
        identity: &Identity,
        dn: &str,
    ) -> Result<Vec<u32>, TalkError> {
        let filter = entry::groups_of(identity.id.as_str(), dn);
        let (entries, code) = self.search(&options.group_base, &filter, &["gidNumber"], GROUPS).await?;
        if code == SIZE_LIMIT {
            tracing::warn!(user = %identity.id, "the directory does not give all groups of a user");
        }
        Ok(entries.iter().filter_map(entry::gid).collect())
    }

    /// Whether this is the password of this entry. It must not be empty: directories take that for nobody's login.
    pub(crate) async fn is_password(&mut self, dn: &str, password: &str) -> Result<bool, TalkError> {
        if dn.is_empty() || password.is_empty() {
            return Ok(false);
        }
        let result = self.bind(dn, password).await?;
        match result.rc {
            SUCCESS => Ok(true),
            code if NOT_TAKEN.contains(&code) => Ok(false),
            _ => Err(TalkError::Answer { doing: "check a password", text: text(&result) }),
        }
    }

    /// Makes the directory work as for a wrong password, for a login that nobody has.
    pub(crate) async fn pretend(
        &mut self,
        options: &Options,
        login: &str,
        password: &str,
    ) -> Result<(), TalkError> {
        let nobody = format!("uid={},ou=nobody,{}", dn_escape(login), options.user_base);
        self.search(&options.group_base, &entry::groups_of(login, &nobody), &["gidNumber"], GROUPS).await?;
        self.is_password(&nobody, password).await.map(|_| ())
    }

    /// Says goodbye. What was learned stays true when that fails.
    pub(crate) async fn close(mut self) {
        if let Err(err) = self.ldap.unbind().await {
            tracing::debug!(%err, "the directory was left without a goodbye");
        }
    }

    async fn bind(&mut self, dn: &str, password: &str) -> Result<ldap3::LdapResult, TalkError> {
        let doing = "check a password";
        self.ldap.simple_bind(dn, password).await.map_err(|source| TalkError::Broken { doing, source })
    }

    /// Entries and result code; an absent base has none.
    async fn search(
        &mut self,
        base: &str,
        filter: &str,
        fields: &[&str],
        limit: i32,
    ) -> Result<(Vec<SearchEntry>, u32), TalkError> {
        let doing = "search";
        let options = SearchOptions::new().sizelimit(limit);
        let answer =
            self.ldap.with_search_options(options).search(base, Scope::Subtree, filter, fields).await;
        let ldap3::SearchResult(entries, result) =
            answer.map_err(|source| TalkError::Broken { doing, source })?;
        match result.rc {
            SUCCESS | SIZE_LIMIT | NO_SUCH_OBJECT => {
                Ok((entries.into_iter().map(SearchEntry::construct).collect(), result.rc))
            }
            _ => Err(TalkError::Answer { doing, text: text(&result) }),
        }
    }
}

/// The directory's own words, and the code for those who look it up.
fn text(result: &ldap3::LdapResult) -> String {
    match result.text.as_str() {
        "" => format!("result code {}", result.rc),
        text => format!("{text} (result code {})", result.rc),
    }
}

/// What an operator may try.
fn hint(security: Security, error: &LdapError) -> &'static str {
    match (security, error) {
        (Security::StartTls, LdapError::LdapResult { .. }) => {
            ": the directory refuses StartTLS; accepted: a directory with TLS, or ldap.insecure: true"
        }
        (Security::Tls | Security::StartTls, LdapError::Io { source }) if is_tls(source) => {
            ": its certificate is not accepted; ldap.ca_cert names the authority that signed it"
        }
        _ => "",
    }
}

fn is_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}
