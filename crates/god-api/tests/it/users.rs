//! A user's own data.

use crate::world::world;
use serde_json::{Value, json};

#[tokio::test]
async fn ones_own_record() {
    let world = world().await;
    for login in ["bob", "ada"] {
        let user = world.get(login, "/user/bob").await.ok();
        assert_eq!(user["id"], "bob");
        assert_eq!((&user["uid"], &user["gid"]), (&json!(2001), &json!(2001)));
        assert_eq!(user["email"], "bob@example.org");
        assert_eq!(user["homeDirectory"], "/home/bob");
        assert_eq!(user["admin"], false);
        for key in ["apikey", "public", "private"] {
            assert!(user["credentials"][key].is_string());
        }
        for key in ["prio", "quota_cpu", "quota_ram", "quota_time", "disk", "guest_home"] {
            assert!(user["usage"][key].is_number(), "{key}");
        }
        let shown = user["credentials"]["apikey"].as_str().expect("a text");
        assert!(shown.starts_with("god_") && shown.len() < 20, "{shown}");
    }
    assert_eq!(world.get("ada", "/user/ada").await.ok()["admin"], true);
    world.get("bob", "/user/eve").await.error(403);
    world.get("bob", "/user/nobody").await.error(403);
    world.get("ada", "/user/nobody").await.error(404);
}

#[tokio::test]
async fn projects_begin_with_everybodys() {
    let world = world().await;
    let projects = world.get("bob", "/user/bob/project").await.ok();
    assert_eq!(projects[0], json!({"id": "default", "prio": 50}));
    assert_eq!(projects[1]["id"], "lab");
    assert_eq!(projects[1]["members"], json!(["bob", "eve"]));
    assert_eq!(projects[1]["volumes"], json!([]));
    assert_eq!(projects[1]["quota_time"], 1.0);
    assert_eq!(world.get("ada", "/user/ada/project").await.ok().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn usage_by_day() {
    let world = world().await;
    assert_eq!(world.get("bob", "/user/bob/usage").await.ok(), json!([]));
    let id = world.submit("bob", |body| body["requirements"]["cpu"] = json!(2)).await;
    world.start(id).await;
    world.end(id, 0).await;
    let usage = world.get("bob", "/user/bob/usage").await.ok();
    assert_eq!(usage, json!([{"date": "2023_11_14", "cpu": 2, "ram": 2, "time": 2.5}]));
    world.get("eve", "/user/bob/usage").await.error(403);
}

#[tokio::test]
async fn images_of_good_ends() {
    let world = world().await;
    assert_eq!(world.get("bob", "/image").await.ok(), json!([]));
    let id = world.submit("bob", |_| {}).await;
    world.start(id).await;
    world.end(id, 0).await;
    let images: Value = world.get("bob", "/image").await.ok();
    assert_eq!(images, json!(["debian:12"]));
    world.get("", "/image").await.error(401);
}
