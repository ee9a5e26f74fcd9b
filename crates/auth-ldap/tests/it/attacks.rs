//! Logins and passwords made to mean something else.

use crate::world::{auth, is_denied, log_in, options, plan};
use auth_ldap::{LdapAuth, Options, Security};
use god_core::UserId;
use god_core::auth::Auth;
use god_testkit::slapd::{Plan, Slapd};
use god_testkit::until;
use std::time::Duration;

#[tokio::test]
async fn e4_logins_that_look_like_filters_find_nobody() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    let auth = auth(&slapd);
    log_in(&auth, "alice", "alicepw").await.expect("the base of the table is good");
    // Each would mean alice, or everybody, if it were taken as a part of a filter.
    for login in [
        "*",
        "a*",
        "*lice",
        "al*ce",
        "alice*",
        "alice)(uid=*",
        "alice)(objectClass=*",
        "alice))(|(uid=alice",
        "*)(uid=alice",
        "*))(|(uid=*",
        "x)(|(uid=alice)",
        "x)(userPassword=*",
        "alice)(&",
        "alice)(|",
        "alice)(!(uid=bob)",
        "\\61lice",
        "\\2a",
        "alice\\00",
        "alice\0",
        "alice\0)(uid=*",
        "(uid=alice)",
        "uid=alice",
        "uid=alice,ou=People,dc=example,dc=org",
        "alice,ou=People",
        "alice\n",
        "alice\r\n",
        "alice;x",
        "alice:dn:=x",
        "uid:caseExactMatch:=alice",
        "&",
        "|",
        "!",
        "(",
        ")",
        "",
        "\u{ff0a}",
        "\u{200b}alice",
    ] {
        for password in ["alicepw", "x"] {
            assert!(is_denied(&auth, login, password).await, "{login:?}");
        }
        assert_eq!(auth.lookup(&UserId::new(login)).await.expect("answers"), None, "{login:?}");
    }
}

#[tokio::test]
async fn e4_a_login_that_means_two_entries_is_refused_for_both() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    let auth = auth(&slapd);
    // Carol wrote `dave` where her mail address belongs.
    for password in ["davepw", "carolpw"] {
        assert!(is_denied(&auth, "dave", password).await, "{password}");
    }
    assert_eq!(log_in(&auth, "dave@example.org", "davepw").await.expect("one entry").id.as_str(), "dave");
    assert_eq!(log_in(&auth, "carol", "carolpw").await.expect("one entry").id.as_str(), "carol");
}

#[tokio::test]
async fn e5_an_empty_password_is_refused_where_the_directory_takes_it() {
    let Some(slapd) = Slapd::start(&Plan { careless_binds: true, ..plan() }) else { return };
    // The directory itself says yes to it.
    let url = format!("ldap://127.0.0.1:{}", slapd.port);
    let bind = ["-x", "-H", &url, "-D", "uid=alice,ou=People,dc=example,dc=org", "-w", ""];
    let said = std::process::Command::new("ldapwhoami").args(bind).output().expect("ldapwhoami runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    for security in [Security::Tls, Security::StartTls, Security::Plain] {
        let auth = LdapAuth::new(options(&slapd, security)).expect("good options");
        for password in ["", "\0", "\0alicepw"] {
            assert!(is_denied(&auth, "alice", password).await, "{security:?} {password:?}");
        }
        assert!(log_in(&auth, "alice", "alicepw").await.is_ok());
    }
}

#[tokio::test]
async fn e5_an_empty_password_is_refused_before_the_network() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let timeout = Duration::from_secs(1);
    let auth =
        LdapAuth::new(Options { port, timeout, ..options(&slapd, Security::Plain) }).expect("good options");
    assert!(is_denied(&auth, "alice", "").await);
    let connected = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(connected.is_err(), "nobody connected");
}

#[tokio::test]
async fn a4_unknown_logins_cost_the_directory_what_known_ones_cost() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    let auth = auth(&slapd);
    // What the directory was asked since a position in its log.
    let asked = |from: usize| -> Vec<&'static str> {
        let log = slapd.log().split_off(from);
        let word =
            |line: &str| ["SRCH base", "BIND dn", "UNBIND"].into_iter().find(|word| line.contains(word));
        log.lines().filter_map(word).collect()
    };
    let mut all = Vec::new();
    for login in ["alice", "nobody", "alice@example.org", "dave", "*"] {
        let from = slapd.log().len();
        assert!(is_denied(&auth, login, "wrong").await);
        let said = until(Duration::from_secs(20), "the goodbye", async || {
            Some(asked(from)).filter(|said| said.contains(&"UNBIND"))
        });
        let said = said.await;
        all.push((login, said));
    }
    let (_, known) = &all[0];
    assert_eq!(*known, ["SRCH base", "SRCH base", "BIND dn", "UNBIND"]);
    assert!(all.iter().all(|(_, said)| said == known), "{all:?}");
}
