//! A directory with three people and two groups.

use auth_ldap::{LdapAuth, Options, Searcher, Security};
use god_core::UserId;
use god_core::auth::{Auth, AuthError, Identity};
use god_testkit::slapd::{ADMIN, Plan, ROOT, Slapd, group, person};
use std::time::Duration;

pub fn entries() -> String {
    // Carol's mail address is Dave's uid.
    let carol = person("carol", 20_003, "carolpw").replace("mail: carol@example.org", "mail: dave");
    [
        person("alice", 20_001, "alicepw"),
        person("bob", 20_002, "bobpw"),
        carol,
        person("dave", 20_004, "davepw"),
        group("proj", 20_100, &["alice", "bob"]),
        group("lab", 20_101, &["alice"]),
    ]
    .join("\n")
}

pub fn plan() -> Plan {
    Plan { entries: entries(), ..Plan::default() }
}

pub fn options(slapd: &Slapd, security: Security) -> Options {
    Options {
        // The certificate is for this name.
        host: "localhost".to_owned(),
        port: if security == Security::Tls { slapd.tls_port } else { slapd.port },
        security,
        ca_file: Some(slapd.ca_file()).filter(|file| file.exists()),
        user_base: format!("ou=People,{ROOT}"),
        group_base: ROOT.to_owned(),
        searcher: None,
        home_field: "homeDirectory".to_owned(),
        timeout: Duration::from_secs(20),
    }
}

pub fn searcher() -> Searcher {
    Searcher { dn: ADMIN.0.to_owned(), password: ADMIN.1.to_owned() }
}

pub fn auth(slapd: &Slapd) -> LdapAuth {
    LdapAuth::new(options(slapd, Security::StartTls)).expect("good options")
}

pub async fn log_in(auth: &LdapAuth, login: &str, password: &str) -> Result<Identity, AuthError> {
    auth.by_password(&UserId::new(login), password).await
}

/// Whether it was refused like any wrong password.
pub async fn is_denied(auth: &LdapAuth, login: &str, password: &str) -> bool {
    matches!(log_in(auth, login, password).await, Err(AuthError::Denied))
}

/// The whole chain of an error.
pub fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(err) = next {
        text += &format!(": {err}");
        next = err.source();
    }
    text
}
