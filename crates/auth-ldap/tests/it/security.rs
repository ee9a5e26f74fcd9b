//! The connection: always protected, always with the certificate checked, unless asked otherwise.

use crate::world::{auth, chain, log_in, options, plan};
use auth_ldap::{LdapAuth, Options, Security};
use god_core::auth::AuthError;
use god_testkit::slapd::{Plan, Slapd};
use std::time::{Duration, Instant};

/// The chain of the error of a login that got no answer.
async fn trouble(options: Options) -> String {
    match log_in(&LdapAuth::new(options).expect("good options"), "alice", "alicepw").await {
        Err(err @ AuthError::Unreachable(_)) => chain(&err),
        other => panic!("the directory can not be trusted: {other:?}"),
    }
}

#[tokio::test]
async fn e5_all_ways_of_the_connection_work() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    for security in [Security::Tls, Security::StartTls, Security::Plain] {
        let auth = LdapAuth::new(options(&slapd, security)).expect("good options");
        let alice = log_in(&auth, "alice", "alicepw").await;
        assert_eq!(alice.expect("right").uid, 20_001, "{security:?}");
        assert!(matches!(log_in(&auth, "alice", "x").await, Err(AuthError::Denied)), "{security:?}");
    }
}

#[tokio::test]
async fn e5_a_certificate_of_another_authority_or_name_is_refused() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    for security in [Security::Tls, Security::StartTls] {
        let ca_file = Some(slapd.other_ca_file());
        let text = trouble(Options { ca_file, ..options(&slapd, security) }).await;
        assert!(text.contains("certificate") && text.contains("ldap.ca_cert"), "{security:?} {text}");
        let system = trouble(Options { ca_file: None, ..options(&slapd, security) }).await;
        assert!(system.contains("certificate"), "{security:?} {system}");
        // The certificate is for localhost only.
        let host = "127.0.0.1".to_owned();
        let text = trouble(Options { host, ..options(&slapd, security) }).await;
        assert!(text.contains("certificate"), "{security:?} {text}");
    }
}

#[tokio::test]
async fn e5_no_password_is_sent_without_the_tls_that_was_asked_for() {
    let Some(slapd) = Slapd::start(&Plan { tls: false, ..plan() }) else { return };
    let text = trouble(options(&slapd, Security::StartTls)).await;
    assert!(text.contains("refuses StartTLS") && text.contains("ldap.insecure"), "{text}");
    // ldaps at a port that speaks plain.
    let mut wrong = options(&slapd, Security::Tls);
    wrong.port = slapd.port;
    wrong.timeout = Duration::from_secs(2);
    trouble(wrong).await;
    let plain = LdapAuth::new(options(&slapd, Security::Plain)).expect("good options");
    assert!(log_in(&plain, "alice", "alicepw").await.is_ok(), "plain was asked for");
}

#[tokio::test]
async fn a_directory_that_says_nothing_is_left_in_time() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let Some(slapd) = Slapd::start(&plan()) else { return };
    for security in [Security::Tls, Security::StartTls, Security::Plain] {
        let begun = Instant::now();
        let timeout = Duration::from_millis(300);
        let text = trouble(Options { port, timeout, ..options(&slapd, security) }).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{security:?} {text}");
    }
    // Noise instead of LDAP: an answer that can not be read, or none.
    let noise = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = noise.local_addr().expect("bound").port();
    let noisy = tokio::spawn(async move {
        loop {
            let (mut stream, _) = noise.accept().await.expect("accepts");
            let sent =
                tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1, 2])
                    .await;
            sent.expect("sent");
        }
    });
    let timeout = Duration::from_millis(500);
    trouble(Options { port, timeout, ..options(&slapd, Security::Plain) }).await;
    noisy.abort();
    log_in(&auth(&slapd), "alice", "alicepw").await.expect("others are not touched");
}
