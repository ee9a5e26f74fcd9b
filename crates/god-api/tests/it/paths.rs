//! Addresses, headers and codes that existing clients compare.

use crate::world::{JSON, world};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

#[tokio::test]
async fn the_home_page_needs_no_login() {
    let world = world().await;
    let answer = world.send(Request::get("/").body(Body::empty()).expect("a request")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
}

#[tokio::test]
async fn slashes_mean_nothing() {
    let world = world().await;
    for path in [
        "/api/1.0/config",
        "//api/1.0/config",
        "/api//1.0///config/",
        "/api/1.0/config//",
        "/api/1.0/config/?x=1",
    ] {
        let request = Request::get(format!("http://host{path}")).body(Body::empty()).expect("a request");
        let answer = world.send(request).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(JSON));
    }
}

#[tokio::test]
async fn errors_have_a_known_code_and_a_body() {
    let world = world().await;
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/task/x/files", 404),
        ("GET", "/task/99", 404),
        ("GET", "/task/0", 404),
        ("GET", "/task/-1", 404),
        ("GET", "/task/1.5", 404),
        ("GET", "/task/99999999999999999999", 404),
        ("GET", "/task/%FF", 404),
        ("POST", "/task/over/a/b", 404),
        ("POST", "/task/over/-1/5", 404),
        ("DELETE", "/task", 400),
        ("PATCH", "/task/1", 400),
        ("GET", "/task/99/wait?timeout=x", 400),
        ("GET", "/user/no%2Fbody", 404),
        ("GET", "/user/eve", 403),
    ] {
        let answer = world.call("bob", method, path, None).await;
        assert!(!answer.error(status).is_empty(), "{method} {path}");
    }
}

#[tokio::test]
async fn b7_every_answer_says_what_browsers_must_not_do() {
    let world = world().await;
    let from_elsewhere = [("Origin", "https://evil.example"), ("Host", "evil.example")];
    for (login, method, path) in [
        ("", "GET", "/config"),
        ("", "GET", "/task/1"),
        ("bob", "GET", "/nothing"),
        ("bob", "OPTIONS", "/task"),
        ("bob", "POST", "/task/over/0/0"),
    ] {
        let answer = world.call_with(login, method, path, None, &from_elsewhere).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
        assert!(!answer.text().contains("evil.example"), "{path}");
        assert!(!answer.status.is_redirection(), "{path}");
    }
}

#[tokio::test]
async fn the_public_configuration() {
    let world = world().await;
    let config = world.get("", "/config").await.ok();
    assert_eq!(
        config["images"][0],
        json!({"name": "Debian", "url": "debian:12", "interactive": false, "default": true})
    );
    assert_eq!(config["constraints"], json!([{"name": "disk", "value": ["ssd", "hdd"]}]));
    assert_eq!(config["executor_features"], json!(["kill", "pause"]));
    assert_eq!(config["volumes"][0]["name"], "home");
    assert_eq!(config["volumes"][0]["acl"], "rw");
    assert!(!config.to_string().contains("secret"));
}

#[tokio::test]
async fn metrics_count_tasks() {
    let world = world().await;
    world.submit("bob", |_| {}).await;
    let request = Request::get("/metrics").body(Body::empty()).expect("a request");
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("\ngod_tasks{state=\"pending\"} 1\n"), "{}", answer.text());
}

#[tokio::test]
async fn metrics_may_be_closed() {
    let world = crate::world::world_with(|config| config.open_metrics = false).await;
    let metrics = |token: Option<&str>| {
        let mut request = Request::get("/metrics");
        if let Some(login) = token {
            request = request.header("Authorization", format!("Bearer {}", world.tokens[login]));
        }
        world.send(request.body(Body::empty()).expect("a request"))
    };
    assert_eq!(metrics(None).await.status, 401);
    assert_eq!(metrics(Some("bob")).await.status, 403);
    assert_eq!(metrics(Some("ada")).await.status, 200);
}
