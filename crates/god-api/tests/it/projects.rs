//! Projects and who is in them.

use crate::world::{body, world};
use god_core::store::Store;
use serde_json::{Value, json};

fn new(id: &str) -> Value {
    json!({"id": id, "description": "", "prio": 50, "members": ["bob"], "quota_cpu": 0, "quota_ram": 0, "quota_time": 0})
}

#[tokio::test]
async fn a_project_lives_as_the_command_line_drives_it() {
    let world = world().await;
    let post = |path: &'static str, body: Value| world.call("ada", "POST", path, Some(body));
    let made = post(
        "/project",
        json!({"id": "sea", "description": null, "prio": 70, "members": ["[]"], "quota_cpu": 5}),
    )
    .await
    .ok();
    let expected = json!({
        "id": "sea", "description": "", "prio": 70, "members": [], "volumes": [],
        "quota_time": 0, "quota_cpu": 5, "quota_ram": 0,
    });
    assert_eq!(made, expected);
    assert_eq!(world.get("ada", "/project/sea").await.ok(), expected);
    // A member and a volume are appended to the document that was read.
    let mut document = expected;
    document["members"] = json!(["bob"]);
    document["volumes"] = json!([{"name": "db", "path": "/data/db", "mount": "/data/db", "acl": "ro"}]);
    document["id"] = json!("land");
    let changed = post("/project/sea", document.clone()).await.ok();
    document["id"] = json!("sea");
    assert_eq!(changed, document, "the id can not be changed");
    assert_eq!(world.get("bob", "/user/bob/project").await.ok()[2], document);
    let ids: Vec<Value> = world
        .get("ada", "/project")
        .await
        .ok()
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| p["id"].clone())
        .collect();
    assert_eq!(ids, ["lab", "sea"]);
    world.call("ada", "DELETE", "/project/sea", None).await.ok();
    world.get("ada", "/project/sea").await.error(404);
    world.call("ada", "DELETE", "/project/sea", None).await.error(404);
    post("/project/sea", document).await.error(404);
}

#[tokio::test]
async fn what_makes_no_project() {
    let world = world().await;
    for (id, word) in
        [("lab", "already"), ("default", "everybody"), ("", "letters"), ("a/b", "letters"), ("..", "letters")]
    {
        let text = world.call("ada", "POST", "/project", Some(new(id))).await.error(400);
        assert!(text.contains(word), "{id}: {text}");
    }
    for (field, value) in [
        ("prio", json!(101)),
        ("quota_cpu", json!(-1)),
        ("quota_time", json!("1")),
        ("members", json!(["a b"])),
        ("volumes", json!([{"name": "home", "path": "/x"}])),
        ("volumes", json!([{"name": "v", "path": "/a/../b"}])),
        // Well-formed, but the site's rules say no.
        ("volumes", json!([{"name": "v", "path": "/etc/ssl"}])),
    ] {
        let mut project = new("sea");
        project[field] = value.clone();
        world.call("ada", "POST", "/project", Some(project.clone())).await.error(400);
        project["id"] = json!("lab");
        let text = world.call("ada", "POST", "/project/lab", Some(project)).await.error(400);
        assert!(!text.is_empty(), "{field} {value}");
    }
    assert_eq!(world.store.projects().await.expect("answers").len(), 1);
}

#[tokio::test]
async fn members_get_the_project_with_its_quotas_and_volumes() {
    let world = world().await;
    let lab = json!({
        "id": "lab", "prio": 60, "members": ["bob"], "quota_time": 100, "quota_cpu": 20, "quota_ram": 30,
        "volumes": [{"name": "db", "path": "/data/db", "mount": null, "acl": "rw"}],
    });
    world.call("ada", "POST", "/project/lab", Some(lab)).await.ok();
    world.call("ada", "PUT", "/user/bob", Some(json!({"usage": {"quota_cpu": 7}}))).await.ok();
    let ask = |body: &mut Value| {
        body["user"] = json!({"project": "lab"});
        body["container"]["volumes"] = json!([{"name": "db", "acl": "rw"}, {"name": "other", "acl": "rw"}]);
    };
    let id = world.submit("bob", ask).await;
    let task = world.get("bob", &format!("/task/{id}")).await.ok();
    let needs = &task["requirements"];
    assert_eq!(
        (&needs["user_quota_cpu"], &needs["project_quota_time"], &needs["project_quota_cpu"]),
        (&json!(7), &json!(100), &json!(20))
    );
    assert_eq!(
        task["container"]["volumes"],
        json!([{"name": "db", "path": "/data/db", "mount": "/data/db", "acl": "rw"}])
    );
    // Outside of the project the volume does not exist, and who is no member any more can not submit.
    let id = world.submit("bob", |body| body["container"]["volumes"] = json!([{"name": "db"}])).await;
    assert_eq!(world.get("bob", &format!("/task/{id}")).await.ok()["container"]["volumes"], json!([]));
    let mut lab = body();
    ask(&mut lab);
    world.call("eve", "POST", "/task", Some(lab)).await.error(403);
}

#[tokio::test]
async fn used_quotas_are_reset() {
    let world = world().await;
    let id = world.submit("bob", |body| body["user"] = json!({"project": "lab"})).await;
    world.start(id).await;
    world.end(id, 0).await;
    let usage = json!([{"date": "2023_11_14", "cpu": 1, "ram": 2, "time": 2.5}]);
    assert_eq!(world.get("eve", "/project/lab/usage").await.ok(), usage);
    world.call("ada", "DELETE", "/project/lab/quota", None).await.ok();
    assert_eq!(world.get("eve", "/project/lab/usage").await.ok(), json!([]));
    assert_eq!(world.get("bob", "/user/bob/usage").await.ok(), usage, "the user's own still count");
    world.call("ada", "DELETE", "/project/none/quota", None).await.error(404);
}
