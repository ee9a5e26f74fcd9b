//! Bodies that are no good, and content types that do not matter.

use crate::world::{body, world};
use axum::body::Body;
use axum::http::Request;
use serde_json::json;

#[tokio::test]
async fn bad_bodies_are_answered_with_400() {
    let world = world().await;
    let token = &world.tokens["bob"];
    let send = |bytes: Vec<u8>| {
        let request = Request::post("/api/1.0/task")
            .header("Authorization", format!("Bearer {token}"))
            .body(Body::from(bytes))
            .expect("a request");
        world.send(request)
    };
    let bodies: Vec<Vec<u8>> = vec![
        b"{".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"7".to_vec(),
        b"{}{}".to_vec(),
        b"{'a': 1}".to_vec(),
        b"{\"meta\": NaN}".to_vec(),
        vec![0xff, 0xfe, 0x00],
        vec![b'['; 100_000],
        b"{\"meta\":".repeat(40),
        b"{\"meta\": \"text\"}".to_vec(),
        b"{\"requirements\": {\"cpu\": 1e400}}".to_vec(),
        b"{\"requirements\": {\"cpu\": {\"$gt\": 0}}}".to_vec(),
        b"{\"meta\": {\"name\": {\"$ne\": null}}}".to_vec(),
        Vec::new(),
        vec![b' '; 2 << 20],
    ];
    for bytes in bodies {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert!(!send(bytes).await.error(400).is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn the_content_type_does_not_matter() {
    let world = world().await;
    for kind in [
        None,
        Some("application/json"),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("x"),
    ] {
        let mut request =
            Request::post("/api/1.0/task").header("Authorization", format!("Bearer {}", world.tokens["bob"]));
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        world.send(request.body(Body::from(body().to_string())).expect("a request")).await.ok();
    }
    // Lists of finished tasks are asked for with an empty body that claims to be JSON.
    let headers = [("Content-Type", "application/json"), ("Content-Length", "0")];
    let answer = world.call_with("bob", "POST", "/task/over/0/100", None, &headers).await;
    assert_eq!(answer.ok(), json!([]));
}

#[tokio::test]
async fn no_field_of_the_body_sets_what_is_the_servers() {
    let world = world().await;
    let id = world
        .submit("bob", |body| {
            body["id"] = json!(77);
            body["parent_task_id"] = json!(1);
            body["date"] = json!(1);
            body["user"] = json!({"id": "bob", "uid": 0, "gid": 0, "sgids": [0], "email": "x@y", "homeDirectory": "/"});
            body["requirements"]["user_quota_time"] = json!(5);
            body["requirements"]["ticket_share"] = json!(-5);
            body["requirements"]["unknown"] = json!("x");
            body["container"]["id"] = json!("abc");
            body["container"]["meta"] = json!({"Node": {"Name": "n"}});
            body["container"]["volumes"] = json!([{"name": "home", "path": "/etc", "mount": "/etc", "acl": "rw"},
                {"name": "go-docker", "path": "/etc"}]);
            body["container"]["port_mapping"] = json!([{"host": 22, "container": 22}]);
            body["command"]["script"] = json!("/bin/evil");
            body["status"] = json!({"primary": "over", "exitcode": 0, "date_over": 1});
        })
        .await;
    let document = world.get("bob", &format!("/task/{id}")).await.ok();
    let plain = world.submit("bob", |_| {}).await;
    let mut expected = world.get("bob", &format!("/task/{plain}")).await.ok();
    expected["id"] = json!(id);
    assert_eq!(document, expected);
}
