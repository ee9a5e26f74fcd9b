//! Users of a directory elsewhere: the first login makes the record, every other brings it up to date.

use crate::world::{World, world_in};
use async_trait::async_trait;
use god_core::UserId;
use god_core::auth::{Auth, AuthError, Grants, Identity};
use god_core::store::Store;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A directory that counts what it is asked; everybody's password is `pw`.
#[derive(Debug, Default)]
pub struct Book {
    people: Mutex<HashMap<String, Identity>>,
    pub passwords: AtomicU32,
    pub lookups: AtomicU32,
    is_down: Mutex<bool>,
}

impl Book {
    pub fn put(&self, login: &str, change: impl FnOnce(&mut Identity)) {
        let mut people = self.people.lock().expect("whole");
        let person = people.entry(login.to_owned()).or_insert_with(|| Identity {
            id: UserId::new(login),
            uid: 3001,
            gid: 3001,
            sgids: vec![3100],
            email: format!("{login}@example.org"),
            home: format!("/home/{login}"),
        });
        change(person);
    }

    fn find(&self, login: &UserId) -> Result<Option<Identity>, AuthError> {
        if *self.is_down.lock().expect("whole") {
            return Err(AuthError::Unreachable("it is down".into()));
        }
        Ok(self.people.lock().expect("whole").get(login.as_str()).cloned())
    }
}

#[async_trait]
impl Auth for Book {
    fn name(&self) -> &'static str {
        "book"
    }

    async fn by_password(&self, login: &UserId, password: &str) -> Result<Identity, AuthError> {
        self.passwords.fetch_add(1, Ordering::Relaxed);
        self.find(login)?.filter(|_| password == "pw").ok_or(AuthError::Denied)
    }

    async fn lookup(&self, login: &UserId) -> Result<Option<Identity>, AuthError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.find(login)
    }

    fn grants(&self, _login: &UserId, _is_guest: bool) -> Grants {
        Grants { prio: 42, quotas: [1.0, 2.0, 3.0] }
    }
}

async fn site() -> (World, Arc<Book>) {
    let book = Arc::new(Book::default());
    book.put("ann", |_| {});
    (world_in(Some(book.clone()), |_| {}).await, book)
}

async fn log_in(world: &World, login: &str, password: &str) -> crate::world::Answer {
    world.call("", "POST", "/authenticate", Some(json!({"user": login, "password": password}))).await
}

fn with(token: &Value) -> String {
    format!("Bearer {}", token.as_str().expect("a token"))
}

#[tokio::test]
async fn the_first_login_makes_the_record_and_shows_a_key_once() {
    let (world, _book) = site().await;
    log_in(&world, "ann", "wrong").await.error(401);
    assert_eq!(
        world.store.user(&UserId::new("ann")).await.expect("answers"),
        None,
        "a wrong password makes nobody"
    );
    let first = log_in(&world, "ann", "pw").await.ok();
    let key = first["apikey"].as_str().expect("shown").to_owned();
    let ann = world.store.user(&UserId::new("ann")).await.expect("answers").expect("made");
    assert_eq!((ann.kind.as_str(), ann.uid, ann.prio, ann.quotas), ("book", 3001, 42, [1.0, 2.0, 3.0]));
    assert!(ann.active && !ann.guest && ann.password.is_none());
    assert!(!format!("{ann:?}").contains(&key[13..]), "the record holds no key");
    let second = log_in(&world, "ann", "pw").await.ok();
    assert!(second.get("apikey").is_none(), "shown once");
    world.call("", "POST", "/authenticate", Some(json!({"user": "ann", "apikey": key}))).await.ok();
    let records = world.store.audited(None, 100).await.expect("answers");
    assert!(!serde_json::to_string(&records).expect("JSON").contains(&key[13..]));
}

#[tokio::test]
async fn r2_identity_is_what_the_directory_says_at_each_login() {
    let (world, book) = site().await;
    log_in(&world, "ann", "pw").await.ok();
    let mut ann = world.store.user(&UserId::new("ann")).await.expect("answers").expect("made");
    ann.prio = 77;
    assert!(world.store.put_user(&ann).await.expect("answers"));
    book.put("ann", |ann| {
        ann.uid = 3007;
        ann.sgids = vec![3200, 3201];
        ann.home = "/u/ann".to_owned();
        ann.email = "ann@elsewhere.example".to_owned();
    });
    log_in(&world, "ann", "pw").await.ok();
    let now = world.store.user(&UserId::new("ann")).await.expect("answers").expect("made");
    assert_eq!((now.uid, now.sgids, now.home.as_str()), (3007, vec![3200, 3201], "/u/ann"));
    assert_eq!(
        (now.email.as_str(), now.prio, now.keys),
        ("ann@elsewhere.example", 77, ann.keys),
        "the rest is ours"
    );
}

#[tokio::test]
async fn a_login_that_is_another_users_here_is_refused() {
    let (world, book) = site().await;
    // Bob is a local user, and somebody called himself bob in the directory.
    book.put("bob", |_| {});
    assert!(log_in(&world, "bob", "pw").await.error(403).contains("another user"));
    let bob = world.store.user(&UserId::new("bob")).await.expect("answers").expect("exists");
    assert_eq!((bob.kind.as_str(), bob.uid), ("local", 2001));
    // Keys of local users go on.
    world.get("bob", "/count").await.ok();
}

#[tokio::test]
async fn a_directory_that_is_down_is_no_wrong_password() {
    let (world, book) = site().await;
    *book.is_down.lock().expect("whole") = true;
    for _ in 0..20 {
        assert!(log_in(&world, "ann", "pw").await.error(500).contains("directory"));
    }
    *book.is_down.lock().expect("whole") = false;
    log_in(&world, "ann", "pw").await.ok();
}

#[tokio::test(start_paused = true)]
async fn users_whom_the_directory_forgets_are_logged_out() {
    let (world, book) = site().await;
    let token = with(&log_in(&world, "ann", "pw").await.ok()["token"]);
    let headers = [("Authorization", token.as_str())];
    let count = || world.call_with("", "GET", "/count", None, &headers);
    count().await.ok();
    let asked = book.lookups.load(Ordering::Relaxed);
    book.people.lock().expect("whole").remove("ann");
    count().await.ok();
    assert_eq!(book.lookups.load(Ordering::Relaxed), asked, "not asked at each request");
    tokio::time::advance(Duration::from_secs(601)).await;
    // This request finds out beside its own work; the next one is refused.
    count().await.ok();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(book.lookups.load(Ordering::Relaxed), asked + 1);
    count().await.error(401);
    // Down is not forgotten; and who comes back is let in again.
    book.put("ann", |_| {});
    *book.is_down.lock().expect("whole") = true;
    tokio::time::advance(Duration::from_secs(601)).await;
    count().await.error(401);
    tokio::time::sleep(Duration::from_secs(2)).await;
    *book.is_down.lock().expect("whole") = false;
    tokio::time::advance(Duration::from_secs(601)).await;
    count().await.error(401);
    tokio::time::sleep(Duration::from_secs(2)).await;
    count().await.ok();
    // Local users are no business of the directory.
    world.get("bob", "/count").await.ok();
}

#[tokio::test]
async fn f11_logins_leave_a_trace() {
    let (world, book) = site().await;
    log_in(&world, "ann", "pw").await.ok();
    book.put("ann", |ann| ann.uid = 3009);
    world.call("", "POST", "/login", Some(json!({"user": "ann", "password": "pw"}))).await.ok();
    for _ in 0..7 {
        log_in(&world, "eve", "wrong").await.error(401);
    }
    let records = world.store.audited(None, 100).await.expect("answers");
    let acts: Vec<_> = records.iter().map(|(_, act)| (act.who.as_str(), act.action.as_str())).collect();
    for expected in [
        ("ann", "user.first"),
        ("ann", "token.begin"),
        ("ann", "user.identity"),
        ("ann", "session.begin"),
        ("eve", "login.shut"),
    ] {
        assert_eq!(acts.iter().filter(|act| **act == expected).count(), 1, "{expected:?} in {acts:?}");
    }
    let changed = &records.iter().find(|(_, act)| act.action == "user.identity").expect("there").1;
    assert_eq!((&changed.before, &changed.after).0.as_ref().expect("before")["uid"], 3001);
    assert_eq!(changed.after.as_ref().expect("after")["uid"], 3009);
}
