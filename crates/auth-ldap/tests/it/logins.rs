//! Who gets in, and what is learned of them.

use crate::world::{auth, is_denied, log_in, options, plan, searcher};
use auth_ldap::{LdapAuth, Options, Searcher, Security};
use god_core::UserId;
use god_core::auth::{Auth, AuthError};
use god_testkit::slapd::{Plan, Slapd};

#[tokio::test]
async fn a_login_by_uid_or_mail_gives_the_identity_of_the_entry() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    let auth = auth(&slapd);
    for login in ["alice", "alice@example.org", "Alice"] {
        let alice = log_in(&auth, login, "alicepw").await.expect("right");
        assert_eq!((alice.id.as_str(), alice.uid, alice.gid), ("alice", 20_001, 20_001), "{login}");
        assert_eq!((alice.email.as_str(), alice.home.as_str()), ("alice@example.org", "/home/alice"));
        assert_eq!(alice.sgids, [20_100, 20_101], "groups of the directory");
    }
    for (login, password) in [("alice", "bobpw"), ("alice", "alicepw "), ("nobody", "alicepw"), ("bob", "x")]
    {
        assert!(is_denied(&auth, login, password).await, "{login} {password}");
    }
    let bob = auth.lookup(&UserId::new("bob")).await.expect("answers").expect("known");
    assert_eq!((bob.uid, bob.sgids), (20_002, vec![20_100]));
    for login in ["nobody", "Bob", "bob@example.org"] {
        assert_eq!(auth.lookup(&UserId::new(login)).await.expect("answers"), None, "{login}");
    }
}

#[tokio::test]
async fn groups_of_this_host_count_too() {
    // Every system has a group that lists some login; its name is given to a person of the directory.
    let groups = std::fs::read_to_string("/etc/group").expect("every system has it");
    let listed = groups.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let login = fields.get(3)?.split(',').next().filter(|login| !login.is_empty())?;
        Some((login.to_owned(), fields[2].parse::<u32>().ok()?))
    });
    let Some((login, gid)) = listed else {
        println!("no group of this host lists anybody");
        return;
    };
    let entries = god_testkit::slapd::person(&login, 20_009, "pw");
    let Some(slapd) = Slapd::start(&Plan { entries, ..Plan::default() }) else { return };
    let found = log_in(&auth(&slapd), &login, "pw").await.expect("right");
    assert!(found.sgids.contains(&gid), "{login} is in {gid}: {:?}", found.sgids);
}

#[tokio::test]
async fn the_fields_and_the_searcher_are_those_of_the_options() {
    let Some(slapd) = Slapd::start(&Plan { anonymous_search: false, ..plan() }) else { return };
    let without = auth(&slapd);
    assert!(is_denied(&without, "alice", "alicepw").await, "nobody is found without a name");
    let with =
        Options { searcher: Some(searcher()), home_field: "sn".to_owned(), ..options(&slapd, Security::Tls) };
    let alice = log_in(&LdapAuth::new(with.clone()).expect("good"), "alice", "alicepw").await.expect("right");
    assert_eq!((alice.home.as_str(), alice.sgids.len()), ("", 2), "sn holds no path");
    let wrong = Some(Searcher { password: "wrong".to_owned(), ..searcher() });
    let wrong = LdapAuth::new(Options { searcher: wrong, ..with }).expect("good");
    let Err(AuthError::Unreachable(err)) = log_in(&wrong, "alice", "alicepw").await else {
        panic!("a searcher who may not search is no wrong password");
    };
    assert!(err.to_string().contains("may not log in at the directory"), "{err}");
}

#[tokio::test]
async fn a_right_password_of_an_entry_without_numbers_is_told_apart() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    slapd.modify(
        "dn: uid=eve,ou=People,dc=example,dc=org\nchangetype: add\nobjectClass: inetOrgPerson\nuid: eve\ncn: eve\n\
         sn: eve\nuserPassword: evepw\n",
    );
    let auth = auth(&slapd);
    assert!(is_denied(&auth, "eve", "wrong").await);
    let Err(AuthError::Refused(text)) = log_in(&auth, "eve", "evepw").await else { panic!("refused") };
    assert!(text.contains("uidNumber"), "{text}");
    assert_eq!(auth.lookup(&UserId::new("eve")).await.expect("answers"), None);
}

#[tokio::test]
async fn changes_and_restarts_of_the_directory_are_seen_at_once() {
    let Some(mut slapd) = Slapd::start(&plan()) else { return };
    let auth = auth(&slapd);
    log_in(&auth, "alice", "alicepw").await.expect("right");
    slapd.modify(
        "dn: uid=alice,ou=People,dc=example,dc=org\nchangetype: modify\nreplace: uidNumber\nuidNumber: 20077\n-\n\
         replace: userPassword\nuserPassword: newpw\n",
    );
    assert!(is_denied(&auth, "alice", "alicepw").await);
    assert_eq!(log_in(&auth, "alice", "newpw").await.expect("right").uid, 20_077);
    slapd.restart();
    log_in(&auth, "alice", "newpw").await.expect("a new connection");
    slapd.stop();
    assert!(matches!(log_in(&auth, "alice", "newpw").await, Err(AuthError::Unreachable(_))));
    slapd.restart();
    log_in(&auth, "alice", "newpw").await.expect("it is back");
}

#[tokio::test]
async fn many_logins_at_once_all_get_an_answer() {
    let Some(slapd) = Slapd::start(&plan()) else { return };
    let auth = auth(&slapd);
    let mut logins = tokio::task::JoinSet::new();
    for n in 0..60 {
        let auth = auth.clone();
        let (login, password, right) = [("alice", "alicepw", true), ("bob", "wrong", false)][n % 2];
        logins.spawn(async move { (log_in(&auth, login, password).await.is_ok(), right) });
    }
    while let Some(login) = logins.join_next().await {
        let (got, right) = login.expect("no panic");
        assert_eq!(got, right);
    }
}
