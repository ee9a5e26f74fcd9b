//! Tokens: who gets one, and which are refused.

use crate::world::{SECRET, START, world};
use axum::body::Body;
use axum::http::Request;
use god_core::keys::{Purpose, Secret};
use god_core::store::Store;
use god_core::{Timestamp, UserId};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_key_gives_a_token_and_nothing_else_does() {
    let world = world().await;
    let bob = &world.keys["bob"];
    let log_in = |body: Value| world.call("", "POST", "/authenticate", Some(body));
    log_in(json!({"user": "bob", "apikey": bob})).await.ok();
    let mut texts = Vec::new();
    for body in [
        json!({"user": "bob", "apikey": "wrong"}),
        json!({"user": "eve", "apikey": bob}),
        json!({"user": "nobody", "apikey": bob}),
        json!({"user": "bob", "apikey": ""}),
        json!({"user": "bob", "apikey": null}),
        json!({"user": "bob", "apikey": {"$ne": ""}}),
        json!({"user": {"$ne": ""}, "apikey": bob}),
        json!({"user": "../bob", "apikey": bob}),
        json!({"user": "bob", "password": "x"}),
        json!({"user": "bob"}),
        json!({"apikey": bob}),
        json!([]),
        json!({}),
    ] {
        texts.push(log_in(body).await.error(401));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "one text for all: {texts:?}");
}

#[tokio::test]
async fn a_password_gives_a_token_too() {
    let world = world().await;
    let bob = UserId::new("bob");
    world.auth.set_password(&bob, "correct horse".to_owned()).await.expect("set");
    let log_in = |password: &str| {
        let body = json!({"user": "bob", "password": password});
        world.call("", "POST", "/authenticate", Some(body))
    };
    assert!(log_in("correct horse").await.ok()["token"].is_string());
    log_in("correct hors").await.error(401);
    log_in("").await.error(401);
}

#[tokio::test]
async fn requests_without_a_good_token_are_refused() {
    let world = world().await;
    let good = world.tokens["bob"].clone();
    let ask = |header: Option<String>| {
        let mut request = Request::get("/api/1.0/task/active");
        if let Some(header) = header {
            request = request.header("Authorization", header);
        }
        world.send(request.body(Body::empty()).expect("a request"))
    };
    for header in [format!("Bearer {good}"), format!("bearer {good}"), format!("BEARER  {good} ")] {
        assert_eq!(ask(Some(header)).await.status, 200);
    }
    for header in [
        "",
        "Bearer",
        "Bearer ",
        "Basic Ym9iOng=",
        &good,
        &format!("Token {good}"),
        &format!("Bearer {good}x"),
    ] {
        ask(Some(header.to_owned())).await.error(401);
    }
    ask(None).await.error(401);
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_with_its_keys_its_user_and_its_time() {
    let world = world().await;
    let bob = UserId::new("bob");
    let secret = Secret::derive(SECRET, Purpose::ApiKeys);
    let second = || tokio::time::advance(std::time::Duration::from_millis(1100));
    world.get("bob", "/count").await.ok();

    // A further key ends nothing.
    world.auth.make_key(&bob, &secret, false, Timestamp(START)).await.expect("made");
    second().await;
    world.get("bob", "/count").await.ok();
    // Replaced keys end old tokens, and the old key.
    world.auth.make_key(&bob, &secret, true, Timestamp(START)).await.expect("made");
    second().await;
    world.get("bob", "/count").await.error(401);
    let body = json!({"user": "bob", "apikey": world.keys["bob"]});
    world.call("", "POST", "/authenticate", Some(body)).await.error(401);

    // Somebody who is not active any more.
    let mut eve = world.store.user(&UserId::new("eve")).await.expect("answers").expect("exists");
    world.get("eve", "/count").await.ok();
    eve.active = false;
    assert!(world.store.put_user(&eve).await.expect("answers"));
    second().await;
    world.get("eve", "/count").await.error(401);
    let body = json!({"user": "eve", "apikey": world.keys["eve"]});
    world.call("", "POST", "/authenticate", Some(body)).await.error(401);

    // Somebody who was removed, and a token that is too old.
    world.get("ada", "/count").await.ok();
    world.clock.fetch_add(1_000_000, Ordering::Relaxed);
    world.get("ada", "/count").await.error(401);
    world.clock.store(START, Ordering::Relaxed);
    world.get("ada", "/count").await.ok();
    world.store.remove_user(&UserId::new("ada")).await.expect("removed");
    second().await;
    world.get("ada", "/count").await.error(401);
}

#[tokio::test]
async fn a_key_made_this_instant_works() {
    let world = world().await;
    let secret = Secret::derive(SECRET, Purpose::ApiKeys);
    let key = world.auth.make_key(&UserId::new("bob"), &secret, false, Timestamp(START)).await.expect("made");
    // The record that the interface remembers is older than the key.
    let body = json!({"user": "bob", "apikey": key});
    world.call("", "POST", "/authenticate", Some(body)).await.ok();
    // A key of an earlier server, short and without our prefix.
    world.auth.adopt_key(&UserId::new("bob"), &secret, "A1B2C3D4E5", Timestamp(START)).await.expect("kept");
    let body = json!({"user": "bob", "apikey": "A1B2C3D4E5"});
    world.call("", "POST", "/authenticate", Some(body)).await.ok();
}

#[tokio::test]
async fn no_answer_and_no_record_holds_a_key() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    let record = serde_json::to_string(&world.store.users().await.expect("answers")).expect("JSON");
    let mut seen = vec![record];
    for path in
        ["/user/bob".to_owned(), format!("/task/{id}"), "/task/active".to_owned(), "/config".to_owned()]
    {
        seen.push(world.get("bob", &path).await.text());
    }
    for text in seen {
        for key in world.keys.values() {
            assert!(!text.contains(&key[13..]), "a key is in {text}");
        }
    }
}
