//! Sessions of browsers: begun, shown, ended, and of no use to pages of others.

use crate::world::{Answer, START, World, world, world_with};
use axum::body::Body;
use axum::http::{Method, Request};
use god_api::{Kind, Who, routes};
use god_core::UserId;
use god_core::store::Store;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// What a browser keeps of a session.
struct Browser {
    cookie: String,
    csrf: String,
}

async fn world_with_password() -> World {
    let mut world = world().await;
    world.auth.set_password(&UserId::new("bob"), "correct horse".to_owned()).await.expect("set");
    // A new password ends the tokens there were, and a login by password sees the record as it is now.
    let body = json!({"user": "bob", "password": "correct horse"});
    world.call("", "POST", "/authenticate", Some(body)).await.ok();
    let token = world.log_in("bob").await;
    world.tokens.insert("bob".to_owned(), token);
    world
}

async fn try_login(world: &World, body: Value, headers: &[(&str, &str)]) -> Answer {
    world.call_with("", "POST", "/login", Some(body), headers).await
}

/// The cookie that an answer sets, as a browser sends it.
fn cookie(answer: &Answer) -> String {
    let text = answer.header("set-cookie").expect("a cookie");
    text.split(';').next().expect("a pair").to_owned()
}

async fn log_in(world: &World) -> Browser {
    let answer = try_login(world, json!({"user": "bob", "password": "correct horse"}), &[]).await;
    let csrf = answer.ok()["csrf"].as_str().expect("a text").to_owned();
    Browser { cookie: cookie(&answer), csrf }
}

impl Browser {
    async fn ask(&self, world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("Cookie", self.cookie.as_str())];
        all.extend(headers);
        world.call_with("", method, path, Some(json!({})), &all).await
    }
}

#[tokio::test(start_paused = true)]
async fn a8_a_session_is_good_until_it_is_over() {
    let world = world_with_password().await;
    try_login(&world, json!({"user": "bob", "password": "wrong"}), &[]).await.error(401);
    try_login(&world, json!({}), &[]).await.error(401);
    let browser = log_in(&world).await;
    let who = browser.ask(&world, "GET", "/session", &[]).await.ok();
    assert_eq!(
        (&who["user"], &who["admin"], &who["csrf"]),
        (&json!("bob"), &json!(false), &json!(browser.csrf))
    );
    assert_eq!(who["ends"], START / 1000 + 172_800);
    browser.ask(&world, "GET", "/task/active", &[]).await.ok();
    world.clock.fetch_add(172_799_000, Ordering::Relaxed);
    browser.ask(&world, "GET", "/session", &[]).await.ok();
    world.clock.fetch_add(1000, Ordering::Relaxed);
    browser.ask(&world, "GET", "/session", &[]).await.error(401);
    // With a token it is said, too, who one is.
    world.clock.store(START, Ordering::Relaxed);
    let who = world.get("ada", "/session").await.ok();
    assert_eq!((&who["user"], &who["admin"], &who["csrf"]), (&json!("ada"), &json!(true), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a8_a_logout_ends_the_session_at_the_server() {
    let world = world_with_password().await;
    let (one, other) = (log_in(&world).await, log_in(&world).await);
    let proof = ("X-CSRF-Token", one.csrf.as_str());
    let answer = one.ask(&world, "POST", "/logout", &[proof]).await;
    assert!(
        answer.header("set-cookie").expect("taken back").contains("god_session=; "),
        "{:?}",
        answer.headers
    );
    assert!(answer.header("set-cookie").expect("taken back").contains("Max-Age=0"));
    one.ask(&world, "GET", "/session", &[]).await.error(401);
    other.ask(&world, "GET", "/session", &[]).await.ok();
    let ends = world.audited(1).await.into_iter().filter(|record| record.action == "session.end").count();
    assert_eq!(ends, 1);
    // Sessions end with the user's right to come in.
    let mut bob = world.store.user(&UserId::new("bob")).await.expect("answers").expect("exists");
    bob.active = false;
    assert!(world.store.put_user(&bob).await.expect("answers"));
    tokio::time::advance(std::time::Duration::from_millis(1100)).await;
    other.ask(&world, "GET", "/session", &[]).await.error(401);
}

#[tokio::test(start_paused = true)]
async fn a8_a_new_password_ends_all_sessions() {
    let world = world_with_password().await;
    let browser = log_in(&world).await;
    world.auth.set_password(&UserId::new("bob"), "battery staple".to_owned()).await.expect("set");
    tokio::time::advance(std::time::Duration::from_millis(1100)).await;
    browser.ask(&world, "GET", "/session", &[]).await.error(401);
}

#[tokio::test]
async fn a8_a_login_makes_a_new_name_and_ends_the_old_one() {
    let world = world_with_password().await;
    // A name that somebody else chose and planted.
    let planted = format!("god_session={}", "A".repeat(43));
    let body = json!({"user": "bob", "password": "correct horse"});
    let answer = try_login(&world, body.clone(), &[("Cookie", &planted)]).await;
    answer.ok();
    assert_ne!(cookie(&answer), planted);
    world.call_with("", "GET", "/session", None, &[("Cookie", &planted)]).await.error(401);
    // The session that was there ends with the next login.
    let first = Browser { cookie: cookie(&answer), csrf: String::new() };
    let answer = try_login(&world, body, &[("Cookie", &first.cookie)]).await;
    assert_ne!(cookie(&answer), first.cookie);
    first.ask(&world, "GET", "/session", &[]).await.error(401);
}

#[tokio::test]
async fn a8_no_page_of_others_changes_anything() {
    let world = world_with_password().await;
    let browser = log_in(&world).await;
    let stranger = log_in(&world).await;
    let proof = browser.csrf.as_str();
    let changes: Vec<_> =
        routes().into_iter().filter(|route| matches!(route.kind, Kind::Changes(_))).collect();
    assert!(changes.len() > 10, "the table is walked");
    for route in &changes {
        if matches!(route.who, Who::Anyone | Who::Key) {
            continue;
        }
        let path = route.path.strip_prefix("/api/1.0").unwrap_or(route.path);
        let path = path.replace("{id}", "1").replace("{prefix}", "x").replace("{days}", "1");
        let method = route.method.as_str();
        for headers in [
            &[][..],
            &[("X-CSRF-Token", "")],
            &[("X-CSRF-Token", "x")],
            &[("X-CSRF-Token", stranger.csrf.as_str())],
            &[("X-Requested-With", "XMLHttpRequest")],
            &[("Content-Type", "text/plain")],
            &[("X-CSRF-Token", proof), ("Origin", "http://evil.example")],
            &[("X-CSRF-Token", proof), ("Origin", "null")],
            &[("X-CSRF-Token", proof), ("Host", "god"), ("Origin", "http://god.evil.example")],
            &[("X-CSRF-Token", proof), ("Sec-Fetch-Site", "cross-site")],
        ] {
            let answer = browser.ask(&world, method, &path, headers).await;
            assert_eq!(answer.status, 403, "{method} {path} {headers:?}: {}", answer.text());
        }
        // With the proof it comes as far as a program with a token.
        let own = [("X-CSRF-Token", proof), ("Host", "god"), ("Origin", "http://god")];
        if path != "/logout" {
            let program = world.call("bob", method, &path, Some(json!({}))).await;
            let page = browser.ask(&world, method, &path, &own).await;
            assert_eq!(page.status, program.status, "{method} {path}: {} {}", page.text(), program.text());
        }
    }
    // A program needs none of this.
    let id = world.submit("bob", |_| {}).await;
    let evil = [("Origin", "http://evil.example")];
    world.call_with("bob", "DELETE", &format!("/task/{id}"), None, &evil).await.ok();
}

#[tokio::test]
async fn a8_nobody_is_logged_in_by_a_page_of_others() {
    let world = world_with_password().await;
    let body = json!({"user": "bob", "password": "correct horse"});
    for headers in [
        [("Host", "god"), ("Origin", "http://evil.example")],
        [("Host", "god"), ("Origin", "null")],
        [("Host", "god"), ("Sec-Fetch-Site", "cross-site")],
    ] {
        try_login(&world, body.clone(), &headers).await.error(403);
    }
    try_login(&world, body, &[("Host", "god"), ("Origin", "http://god")]).await.ok();
}

#[tokio::test]
async fn a8_over_tls_the_cookie_is_for_tls() {
    let world =
        world_with(|config| config.doors.public_url = Some("https://god.example.org".to_owned())).await;
    world.auth.set_password(&UserId::new("bob"), "correct horse".to_owned()).await.expect("set");
    let body = json!({"user": "bob", "password": "correct horse"});
    // The proxy in front asks under another name than people do.
    let headers = [("Host", "127.0.0.1:6543"), ("Origin", "https://god.example.org")];
    let answer = try_login(&world, body, &headers).await;
    let set = answer.header("set-cookie").expect("a cookie");
    assert!(set.starts_with("__Host-god_session=") && set.ends_with("; Secure"), "{set}");
    let browser = Browser { cookie: cookie(&answer), csrf: String::new() };
    browser.ask(&world, "GET", "/session", &[]).await.ok();
    let plain = Browser { cookie: browser.cookie.replace("__Host-", ""), csrf: String::new() };
    plain.ask(&world, "GET", "/session", &[]).await.error(401);
}

#[tokio::test]
async fn a_session_is_known_to_every_web_server_of_the_site() {
    let world = world_with_password().await;
    let browser = log_in(&world).await;
    // Another process, or the same one after a restart; even the server's secret may be another one.
    let other = world.through(b"another secret of the server", None);
    browser.ask(&other, "GET", "/session", &[]).await.ok();
    let proof = ("X-CSRF-Token", browser.csrf.as_str());
    browser.ask(&other, "POST", "/logout", &[proof]).await.ok();
    assert!(world.store.pinned("session/").await.expect("answers").is_empty());
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_over_are_removed() {
    let world = world_with_password().await;
    for _ in 0..3 {
        log_in(&world).await;
    }
    let stored = || async { world.store.pinned("session/").await.expect("answers") };
    let pins = stored().await;
    assert_eq!(pins.len(), 3);
    world.clock.fetch_add(172_800_000, Ordering::Relaxed);
    tokio::time::advance(std::time::Duration::from_secs(601)).await;
    log_in(&world).await;
    assert_eq!(stored().await.len(), 1);
}

#[tokio::test]
async fn a1_what_is_stored_of_a_session_is_no_cookie() {
    let world = world_with_password().await;
    let browser = log_in(&world).await;
    let text = browser.cookie.trim_start_matches("god_session=");
    for (key, value) in world.store.pinned("session/").await.expect("answers") {
        assert!(!format!("{key}{value}").contains(text));
        let stolen = format!("god_session={}", key.trim_start_matches("session/"));
        world.call_with("", "GET", "/session", None, &[("Cookie", &stolen)]).await.error(401);
    }
}

#[tokio::test]
async fn a_token_beside_a_cookie_counts_alone() {
    let world = world_with_password().await;
    let browser = log_in(&world).await;
    let ask = |token: String| {
        let request = Request::builder()
            .method(Method::GET)
            .uri("/api/1.0/session")
            .header("Cookie", &browser.cookie)
            .header("Authorization", format!("Bearer {token}"));
        world.send(request.body(Body::empty()).expect("a request"))
    };
    assert_eq!(ask(world.tokens["eve"].clone()).await.ok()["user"], "eve");
    ask("x".to_owned()).await.error(401);
}

#[tokio::test(start_paused = true)]
async fn keys_are_made_and_ended_by_their_users() {
    let world = world_with_password().await;
    let browser = log_in(&world).await;
    let proof = [("X-CSRF-Token", browser.csrf.as_str())];
    let second = || tokio::time::advance(std::time::Duration::from_millis(1100));
    let made = browser.ask(&world, "POST", "/user/bob/key", &proof).await.ok();
    let (key, prefix) = (made["apikey"].as_str().expect("a key"), made["prefix"].as_str().expect("a prefix"));
    let log_in =
        |key: &str| world.call("", "POST", "/authenticate", Some(json!({"user": "bob", "apikey": key})));
    log_in(key).await.ok();
    let list = browser.ask(&world, "GET", "/user/bob/key", &[]).await.ok();
    assert_eq!(list.as_array().expect("a list").len(), 2);
    assert_eq!(list[1], json!({"prefix": prefix, "created": START / 1000}));
    assert!(!list.to_string().contains(&key[13..]));

    // Others neither see nor make them; admins may end them.
    world.get("eve", "/user/bob/key").await.error(403);
    world.call("eve", "POST", "/user/bob/key", Some(json!({}))).await.error(403);
    world.call("ada", "POST", "/user/bob/key", Some(json!({}))).await.error(403);
    world.call("eve", "DELETE", &format!("/user/bob/key/{prefix}"), None).await.error(403);
    world.call("ada", "DELETE", "/user/bob/key/none", None).await.error(404);
    let token = world.tokens["bob"].clone();
    world.call("ada", "DELETE", &format!("/user/bob/key/{prefix}"), None).await.ok();
    second().await;
    log_in(key).await.error(401);
    world.get("bob", "/count").await.error(401);
    browser.ask(&world, "GET", "/session", &[]).await.error(401);
    assert!(!token.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a6_a_replaced_key_ends_tokens_and_the_session_that_asked_goes_on() {
    let world = world_with_password().await;
    let (browser, other) = (log_in(&world).await, log_in(&world).await);
    let headers = [("Cookie", browser.cookie.as_str()), ("X-CSRF-Token", browser.csrf.as_str())];
    let body = Some(json!({"replace": true}));
    let made = world.call_with("", "POST", "/user/bob/key", body, &headers).await.ok();
    tokio::time::advance(std::time::Duration::from_millis(1100)).await;
    world.get("bob", "/count").await.error(401);
    let old = json!({"user": "bob", "apikey": world.keys["bob"]});
    world.call("", "POST", "/authenticate", Some(old)).await.error(401);
    let new = json!({"user": "bob", "apikey": made["apikey"]});
    world.call("", "POST", "/authenticate", Some(new)).await.ok();
    browser.ask(&world, "GET", "/session", &[]).await.ok();
    other.ask(&world, "GET", "/session", &[]).await.error(401);
}
