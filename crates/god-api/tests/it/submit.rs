//! Submits as existing clients send them, and their refusals.

use crate::world::{START, body, world, world_with};
use god_core::resources::{Amount, Node};
use god_core::store::{PendingLimits, Store};
use god_core::{Bytes, Cores, ExecutorName, NodeName, TaskId, Timestamp};
use serde_json::{Value, json};

#[tokio::test]
async fn every_clients_body_is_taken() {
    let world = world().await;
    let script = "#!/bin/bash\necho hi\n";
    let bodies = [
        // The command line client.
        json!({
            "user": {"id": "bob", "uid": 2001, "gid": 2001, "project": "default"}, "date": 1466000000.12,
            "meta": {"name": "n", "description": "", "tags": []},
            "requirements": {"cpu": 1, "ram": 2, "gpus": 0, "array": {"values": null}, "label": [null],
                "failure_policy": 0, "tasks": [], "tmpstorage": null, "executor": null},
            "container": {"image": "debian:12", "volumes": [{"name": "home", "acl": "ro"}], "network": true,
                "id": null, "meta": null, "stats": null, "ports": [], "root": false},
            "command": {"interactive": false, "cmd": script},
            "status": {"primary": null, "secondary": null},
        }),
        // Galaxy.
        json!({
            "user": {"project": "lab"}, "date": 1466000000.5,
            "meta": {"name": "tool", "description": "", "tags": ["galaxy", "cat1"]},
            "requirements": {"cpu": 1, "ram": 2, "array": {"values": null}, "label": [], "tasks": [], "tmpstorage": null},
            "container": {"image": "debian:12", "volumes": [{"name": "home"}, {"name": ""}], "network": true,
                "id": null, "meta": null, "stats": null, "ports": [], "root": false},
            "command": {"interactive": false, "cmd": script},
            "status": {"primary": null, "secondary": null},
        }),
        // A submitter without user, date, root and status.
        json!({
            "meta": {"name": "n"}, "requirements": {"cpu": 1, "ram": 2, "executor": "local", "gpus": 0},
            "container": {"image": "debian:12", "volumes": [], "ports": []}, "command": {"cmd": script},
        }),
    ];
    for (n, body) in bodies.into_iter().enumerate() {
        let answer = world.call("bob", "POST", "/task", Some(body)).await;
        assert_eq!(answer.text(), format!("{{\"msg\": \"Task added\", \"id\": {}}}", n + 1));
        answer.ok();
    }
    let task = world.task(TaskId(1)).await;
    assert_eq!(task.spec.script, script);
    assert_eq!(task.submitted, Timestamp(START), "the date is ours");
    let document = world.get("bob", "/task/2").await.ok();
    assert_eq!(document["user"]["project"], "lab");
    assert_eq!(document["container"]["volumes"][0]["path"], "/home/bob");
    assert_eq!(document["status"]["primary"], "pending");
    assert_eq!(document["status"]["exitcode"], Value::Null);
}

#[tokio::test]
async fn refusals_say_what_to_change() {
    let world = world().await;
    let submit = |login: &'static str, path: &'static str, value: Value| {
        let mut body = body();
        *body.pointer_mut(path).expect("a path") = value;
        let world = &world;
        async move { world.call(login, "POST", "/task", Some(body)).await }
    };
    let image = submit("bob", "/container/image", json!("evil")).await;
    assert!(image.error(400).contains("debian:12"));
    assert_eq!(image.json()["faults"][0]["path"], "container.image");
    let mut mine = body();
    mine["user"] = json!({"id": "eve"});
    world.call("bob", "POST", "/task", Some(mine.clone())).await.error(403);
    world.call("ada", "POST", "/task", Some(mine)).await.ok();
    assert_eq!(world.task(TaskId(1)).await.spec.owner.uid, 2002);
    let mut root = body();
    root["container"]["root"] = json!(true);
    world.call("bob", "POST", "/task", Some(root)).await.error(403);
    submit("bob", "/command/interactive", json!(true)).await.error(400);
    world.call("", "POST", "/task", Some(body())).await.error(401);
}

#[tokio::test]
async fn the_same_key_makes_one_task() {
    let world = world().await;
    let submit = |login: &'static str, key: &'static str| {
        let world = &world;
        async move {
            let answer =
                world.call_with(login, "POST", "/task", Some(body()), &[("Idempotency-Key", key)]).await;
            answer.ok()["id"].as_u64().expect("an id")
        }
    };
    let first = submit("bob", "k1").await;
    assert_eq!(submit("bob", "k1").await, first);
    assert_ne!(submit("bob", "k2").await, first);
    assert_ne!(submit("eve", "k1").await, first, "a key is one user's");
    let long = "x".repeat(256);
    world.call_with("bob", "POST", "/task", Some(body()), &[("Idempotency-Key", &long)]).await.error(400);
}

#[tokio::test]
async fn limits_and_maintenance() {
    let world = world_with(|config| {
        config.limits = PendingLimits { per_user: Some(3), all: None };
    })
    .await;
    world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "1:2"})).await;
    let answer = world.call("bob", "POST", "/task", Some(body())).await;
    answer.error(400);
    world.submit("eve", |_| {}).await;

    world.call("bob", "PUT", "/maintenance", Some(json!({"value": "on"}))).await.error(403);
    world.call("ada", "PUT", "/maintenance", Some(json!({"value": "maybe"}))).await.error(400);
    assert_eq!(
        world.call("ada", "PUT", "/maintenance", Some(json!({"value": "on"}))).await.ok()["value"],
        "on"
    );
    assert!(world.call("eve", "POST", "/task", Some(body())).await.error(400).contains("maintenance"));
    assert_eq!(world.get("ada", "/maintenance").await.ok()["value"], "on");
    world.call("ada", "PUT", "/maintenance", Some(json!({"value": "off"}))).await.ok();
    world.submit("eve", |_| {}).await;
}

#[tokio::test]
async fn only_visible_tasks_can_be_waited_for() {
    let world = world().await;
    let mine = world.submit("bob", |_| {}).await;
    let others = world.submit("eve", |_| {}).await;
    world.submit("bob", |body| body["requirements"]["tasks"] = json!([mine.to_string()])).await;
    for id in [others.0, 999] {
        let mut body = body();
        body["requirements"]["tasks"] = json!([id]);
        let answer = world.call("bob", "POST", "/task", Some(body)).await;
        assert!(
            answer.error(400).contains(&format!("no task {id}")),
            "someone else's and none look the same"
        );
    }
}

#[tokio::test]
async fn a_task_larger_than_every_node_is_refused() {
    let world = world().await;
    let node = Node {
        name: NodeName::new("n1"),
        executor: ExecutorName::new("local"),
        total: Amount { cores: Cores(4), memory: Bytes::from_ram(8), gpus: 0 },
        labels: Vec::new(),
        queue: 0,
        max_tasks: None,
    };
    let text = serde_json::to_string(&[node]).expect("JSON");
    world.store.pin(vec![("nodes/local".to_owned(), Some(text))]).await.expect("pinned");
    let mut large = body();
    large["requirements"]["cpu"] = json!(5);
    let answer = world.call("bob", "POST", "/task", Some(large)).await;
    assert!(answer.error(400).contains("4 cores, 8 GiB"), "{}", answer.text());
    let usage = world.get("ada", "/usage").await.ok();
    assert_eq!(usage[0]["cpu"], json!([0, 4]));
    let id = world.submit("bob", |body| body["requirements"]["cpu"] = json!(3)).await;
    world.start(id).await;
    let usage = world.get("ada", "/usage").await.ok();
    assert_eq!(usage[0]["cpu"], json!([3, 4]));
    assert_eq!(usage[0]["mem"], json!([2u64 << 30, 8u64 << 30]));
    world.get("bob", "/usage").await.error(403);
}
