//! Archiving, purging and replaying.

use crate::world::{START, World, world};
use god_core::TaskId;
use god_core::state::Ask;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

const DAY: i64 = 86_400_000;

async fn over(world: &World, login: &str, tag: &str) -> TaskId {
    let tags = json!([tag]);
    let id = world.submit(login, |body| body["meta"]["tags"] = tags).await;
    world.start(id).await;
    world.end(id, 0).await;
    id
}

async fn asked(world: &World, ids: &[TaskId]) -> Vec<Option<Ask>> {
    let mut asked = Vec::new();
    for id in ids {
        asked.push(world.task(*id).await.to_remove());
    }
    asked
}

#[tokio::test]
async fn one_task_is_queued_for_the_archiver() {
    let world = world().await;
    let running = world.submit("bob", |_| {}).await;
    world.start(running).await;
    for method in ["GET", "POST", "DELETE"] {
        let text = world.call("bob", method, &format!("/task/{running}/archive"), None).await.error(400);
        assert!(text.contains("not over"), "{text}");
    }
    let id = over(&world, "bob", "t").await;
    let archive = |method: &'static str| {
        let world = &world;
        async move { world.call("bob", method, &format!("/task/{id}/archive"), None).await.ok() }
    };
    archive("GET").await;
    assert_eq!(asked(&world, &[id]).await, [Some(Ask::Archive)]);
    archive("POST").await;
    let answer = archive("DELETE").await;
    assert_eq!((&answer["id"], asked(&world, &[id]).await), (&json!(id), vec![Some(Ask::Purge)]));
    // What clients see meanwhile is a finished task.
    assert_eq!(world.get("bob", &format!("/task/{id}")).await.ok()["status"]["primary"], "over");
    world.call("bob", "DELETE", "/task/999/archive", None).await.error(404);
}

#[tokio::test]
async fn old_tasks_of_ones_own_by_age_and_tag() {
    let mut world = world().await;
    let ids =
        [over(&world, "bob", "a").await, over(&world, "bob", "b").await, over(&world, "eve", "a").await];
    let active = world.submit("bob", |_| {}).await;
    world.clock.store(START + 3 * DAY, Ordering::Relaxed);
    // The token has run out since.
    let token = world.log_in("bob").await;
    world.tokens.insert("bob".to_owned(), token);
    let call = |method: &'static str, path: &'static str| {
        let world = &world;
        async move { world.call("bob", method, path, None).await }
    };
    assert_eq!(call("GET", "/archive/3").await.ok()["nb"], 0, "they ended a little less than three days ago");
    assert_eq!(call("DELETE", "/archive/2?tag=a").await.ok()["nb"], 1);
    assert_eq!(asked(&world, &ids).await, [Some(Ask::Purge), None, None]);
    assert_eq!(call("GET", "/archive/2").await.ok()["nb"], 1, "a purge is not taken back");
    assert_eq!(asked(&world, &ids).await, [Some(Ask::Purge), Some(Ask::Archive), None]);
    assert_eq!(call("DELETE", "/archive/0").await.ok()["nb"], 1);
    assert_eq!(asked(&world, &ids).await, [Some(Ask::Purge), Some(Ask::Purge), None]);
    assert_eq!(asked(&world, &[active]).await, [None]);
    for days in ["-1", "x", "1.5", "99999999999"] {
        world.call("bob", "GET", &format!("/archive/{days}"), None).await.error(404);
    }
    assert_eq!(call("GET", "/archive/4000000000").await.ok()["nb"], 0);
}

#[tokio::test]
async fn a_replay_is_a_new_task_by_todays_rules() {
    let world = world().await;
    let first = world
        .submit("bob", |body| {
            body["requirements"]["array"] = json!({"values": "1:4:2"});
            body["requirements"]["maxlifespan"] = json!("1d");
            body["requirements"]["label"] = json!(["disk==ssd"]);
        })
        .await;
    let original = world.get("bob", &format!("/task/{first}")).await.ok();
    let replay = |login: &'static str, id: TaskId| {
        let world = &world;
        async move { world.call(login, "POST", &format!("/task/{id}/replay"), None).await }
    };
    let answer = replay("bob", first).await.ok();
    assert_eq!(answer["msg"], "Task added");
    let copy = TaskId(answer["id"].as_u64().expect("an id"));
    let strip = |mut task: Value| {
        task["id"] = Value::Null;
        task["requirements"]["array"]["tasks"] = Value::Null;
        task["status"]["why"] = Value::Null;
        task
    };
    assert_eq!(strip(world.get("bob", &format!("/task/{copy}")).await.ok()), strip(original));
    let text = replay("bob", TaskId(first.0 + 1)).await.error(400);
    assert!(text.contains(&format!("task {first}")), "{text}");
    // An admin's replay of somebody's task stays that user's.
    let answer = replay("ada", first).await.ok();
    let copy = TaskId(answer["id"].as_u64().expect("an id"));
    assert_eq!(world.task(copy).await.spec.owner.id.as_str(), "bob");
    // What only admins may set is not copied for others.
    let lane = json!({"name": "lane", "value": "fast"});
    world.call("ada", "PUT", &format!("/task/{first}"), Some(lane)).await.ok();
    let answer = replay("bob", first).await.ok();
    let copy = TaskId(answer["id"].as_u64().expect("an id"));
    assert!(world.task(copy).await.spec.fields.is_empty());
}
