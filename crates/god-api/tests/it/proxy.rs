//! Proxies in front of the server, through a real listener: what they say is believed, and of nobody else.

use crate::listener::{Server, exchange, serve};
use crate::world::{World, world_with};
use god_core::UserId;
use serde_json::{Value, json};

const SECRET: &str = "kG7qLz0PweR4vX2m";

/// A site with a proxy at these addresses.
async fn site(proxies: &str) -> World {
    world_with(|config| {
        config.doors.proxies = vec![proxies.parse().expect("a network")];
        config.doors.remote_user_secret = Some(SECRET.to_owned().into());
    })
    .await
}

/// Status, head and body of a POST with these header lines.
async fn post(server: &Server, path: &str, lines: &str, body: &str) -> (u16, String, Value) {
    let mut stream = server.connect().await;
    let request = format!(
        "POST /api/1.0{path} HTTP/1.1\r\nHost: god\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let (head, body) = exchange(&mut stream, &request).await;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test]
async fn a9_the_proxy_says_who_somebody_is() {
    let world = site("127.0.0.1/32").await;
    let named =
        format!("Remote-User: bob\r\nX-God-Proxy-Secret: {SECRET}\r\nX-Forwarded-For: 198.51.100.7\r\n");
    let server = serve(&world).await;
    let (status, head, answer) = post(&server, "/login", &named, "").await;
    assert_eq!((status, &answer["user"]), (200, &json!("bob")), "{answer}");
    assert!(head.to_ascii_lowercase().contains("set-cookie: god_session="), "{head}");
    let (status, _, answer) = post(&server, "/authenticate", &named, "{}").await;
    assert!(status == 200 && answer["token"].is_string(), "{answer}");
    // The header alone does nothing on other routes.
    let mut stream = server.connect().await;
    let (head, _) =
        exchange(&mut stream, &format!("GET /api/1.0/count HTTP/1.1\r\nHost: g\r\n{named}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 401"), "{head}");
    drop(stream);
    // Nobody becomes a user by being named.
    let stranger = named.replace("bob", "nobody");
    assert_eq!(post(&server, "/login", &stranger, "").await.0, 403);
    // A proxy that ends TLS says so.
    let tls = format!("{named}X-Forwarded-Proto: https\r\n");
    let (_, head, _) = post(&server, "/login", &tls, "").await;
    assert!(head.contains("__Host-god_session=") && head.contains("; Secure"), "{head}");
    server.stop().await;
}

#[tokio::test]
async fn a9_headers_from_other_addresses_or_without_the_secret_are_ignored() {
    let right = format!("Remote-User: bob\r\nX-God-Proxy-Secret: {SECRET}\r\n");
    let elsewhere = site("10.0.0.0/8").await;
    let here = site("127.0.0.1/32").await;
    let (elsewhere, at_here) = (serve(&elsewhere).await, serve(&here).await);
    for (server, lines) in [
        (&elsewhere, right.clone()),
        (&at_here, "Remote-User: bob\r\n".to_owned()),
        (&at_here, "Remote-User: bob\r\nX-God-Proxy-Secret: wrong\r\n".to_owned()),
        (
            &at_here,
            format!("X-Remote-User: bob\r\nHTTP_REMOTE_USER: bob\r\nX-God-Proxy-Secret: {SECRET}\r\n"),
        ),
        (&at_here, format!("Remote-User: ../bob\r\nX-God-Proxy-Secret: {SECRET}\r\n")),
    ] {
        for path in ["/login", "/authenticate"] {
            let (status, _, answer) = post(server, path, &lines, "").await;
            assert_eq!(status, 401, "{lines} {answer}");
        }
    }
    let off =
        world_with(|config| config.doors.proxies = vec!["127.0.0.1/32".parse().expect("a network")]).await;
    let off = serve(&off).await;
    assert_eq!(post(&off, "/login", &right, "").await.0, 401, "off by default");
    // Who logs in by name is not the one whom the proxy knows.
    let body = json!({"user": "eve", "apikey": here.keys["eve"]}).to_string();
    assert_eq!(post(&at_here, "/login", &right, &body).await.2["user"], "eve");
}

#[tokio::test]
async fn a4_guesses_through_a_proxy_count_for_their_own_address() {
    let world = site("127.0.0.1/32").await;
    world.auth.set_password(&UserId::new("bob"), "correct horse".to_owned()).await.expect("set");
    let server = serve(&world).await;
    let log_in = async |from: &str, login: &str, password: &str| {
        let lines = format!("X-Forwarded-For: 10.9.9.9, {from}\r\n");
        let body = json!({"user": login, "password": password}).to_string();
        let (status, _, answer) = post(&server, "/login", &lines, &body).await;
        (status, answer["error"].as_str().unwrap_or_default().to_owned())
    };
    // Bob was here before.
    assert_eq!(log_in("192.0.2.1", "bob", "correct horse").await.0, 200);
    for _ in 0..6 {
        log_in("198.51.100.7", "bob", "wrong").await;
    }
    assert!(log_in("198.51.100.7", "bob", "correct horse").await.1.contains("too many"), "shut");
    assert_eq!(log_in("192.0.2.1", "bob", "correct horse").await.0, 200, "not for bob at home");
}
