//! Guesses at keys and passwords.

use crate::directory::Book;
use crate::world::{SECRET, START, World, world, world_in};
use god_core::keys::{self, Purpose, Secret};
use god_core::store::Store;
use god_core::{Timestamp, UserId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

async fn try_one(world: &World, body: Value) -> (u16, String) {
    let answer = world.call("", "POST", "/authenticate", Some(body)).await;
    (answer.status.as_u16(), answer.text())
}

#[tokio::test(start_paused = true)]
async fn a4_guessing_is_throttled() {
    let book = Arc::new(Book::default());
    book.put("ann", |_| {});
    let world = world_in(Some(book.clone()), |_| {}).await;
    // Whether the login exists makes no difference.
    for login in ["ann", "nobody"] {
        let before = book.passwords.load(Ordering::Relaxed);
        for guess in 0..20 {
            assert_eq!(try_one(&world, json!({"user": login, "password": guess.to_string()})).await.0, 401);
        }
        let looked_at = book.passwords.load(Ordering::Relaxed) - before;
        assert!(looked_at <= 10, "{login}: {looked_at}");
        // Then 10^5 in a row, which take no time of the clock: not one is looked at.
        let before = book.passwords.load(Ordering::Relaxed);
        for guess in 0..100_000 {
            try_one(&world, json!({"user": login, "password": format!("x{guess}")})).await;
        }
        assert_eq!(book.passwords.load(Ordering::Relaxed), before, "{login}");
        assert_eq!(
            try_one(&world, json!({"user": login, "password": "pw"})).await.0,
            401,
            "not even the right one"
        );
    }
    // After the longest pause the right one is let in again.
    tokio::time::advance(Duration::from_secs(901)).await;
    assert_eq!(try_one(&world, json!({"user": "ann", "password": "pw"})).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a4_keys_of_earlier_servers_can_not_be_guessed() {
    let world = world().await;
    let secret = Secret::derive(SECRET, Purpose::ApiKeys);
    world.auth.adopt_key(&UserId::new("bob"), &secret, "A1B2C3D4E5", Timestamp(START)).await.expect("kept");
    for guess in 0..200 {
        try_one(&world, json!({"user": "bob", "apikey": format!("GUESS{guess:05}")})).await;
    }
    // While guesses go on, the short key is not looked at; ours, which nobody guesses, is.
    assert_eq!(try_one(&world, json!({"user": "bob", "apikey": "A1B2C3D4E5"})).await.0, 401);
    let ours = &world.keys["bob"];
    assert_eq!(try_one(&world, json!({"user": "bob", "apikey": ours})).await.0, 200);
    for wrong in [&world.keys["eve"], &format!("{}x", &ours[..55]), &ours.to_lowercase()] {
        assert_eq!(try_one(&world, json!({"user": "bob", "apikey": wrong})).await.0, 401, "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn a4_answers_do_not_tell_who_exists() {
    let world = world().await;
    world.auth.set_password(&UserId::new("bob"), "correct horse".to_owned()).await.expect("set");
    let mut seen = Vec::new();
    for login in ["bob", "nobody", "ada"] {
        let mut answers = Vec::new();
        for n in 0..12 {
            let what = if n % 2 == 0 { "apikey" } else { "password" };
            let begun = Instant::now();
            let answer = try_one(&world, json!({"user": login, what: "wrong"})).await;
            // The clock stands still but for pauses.
            answers.push((answer, begun.elapsed().as_millis() / 10));
        }
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    assert!(seen[0].iter().any(|((_, text), _)| text.contains("too many")));
}

#[tokio::test]
async fn a7_the_servers_secret_can_be_changed_without_ending_anything() {
    let world = world().await;
    let new: &[u8] = b"the secret that comes after the other";
    let log_in = async |world: &World, login: &str| {
        let body = json!({"user": login, "apikey": world.keys[login]});
        let request = axum::http::Request::post("/api/1.0/authenticate").body(body.to_string().into());
        world.send(request.expect("a request")).await
    };
    let old_token = world.tokens["bob"].clone();
    let use_token = async |world: &World, token: &str| {
        let request =
            axum::http::Request::get("/api/1.0/count").header("Authorization", format!("Bearer {token}"));
        world.send(request.body(axum::body::Body::empty()).expect("a request")).await
    };
    let during = world.through(new, Some(SECRET));
    use_token(&during, &old_token).await.ok();
    let token = log_in(&during, "bob").await.ok()["token"].as_str().expect("a token").to_owned();
    use_token(&during, &token).await.ok();
    // Bob's key was used and is kept under the new secret; eve's was not.
    let after = world.through(new, None);
    use_token(&after, &token).await.ok();
    use_token(&after, &old_token).await.error(401);
    log_in(&after, "bob").await.ok();
    log_in(&after, "eve").await.error(401);
    let bob = world.store.user(&UserId::new("bob")).await.expect("answers").expect("exists");
    assert!(keys::verify(&Secret::derive(new, Purpose::ApiKeys), &world.keys["bob"], &bob.keys));
}
