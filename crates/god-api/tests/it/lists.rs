//! Reading tasks.

use crate::world::{world, world_with};
use god_core::board::{Board, Line};
use god_core::group::Group;
use god_core::reason::{Code, Reason};
use god_core::store::Store;
use serde_json::{Value, json};

fn ids(list: &Value) -> Vec<u64> {
    list.as_array().expect("a list").iter().map(|task| task["id"].as_u64().expect("an id")).collect()
}

#[tokio::test]
async fn active_and_over_tasks_of_ones_own() {
    let world = world().await;
    let mut mine = Vec::new();
    for _ in 0..4 {
        mine.push(world.submit("bob", |_| {}).await);
    }
    let others = world.submit("eve", |_| {}).await;
    for id in &mine[..3] {
        world.start(*id).await;
        world.end(*id, 0).await;
    }
    assert_eq!(ids(&world.get("bob", "/task/active").await.ok()), [mine[3].0]);
    assert_eq!(ids(&world.get("ada", "/task/active/all").await.ok()), [mine[3].0, others.0]);
    world.get("bob", "/task/active/all").await.error(403);
    let over = |path: &'static str| world.call("bob", "POST", path, None);
    let all = ids(&over("/task/over/0/0").await.ok());
    assert_eq!(all, [mine[2].0, mine[1].0, mine[0].0], "the newest first");
    assert_eq!(ids(&over("/task/over/1/1").await.ok()), [mine[1].0]);
    assert_eq!(ids(&over("/task/over/0/100").await.ok()).len(), 3);
    over("/task/over/all/0/0").await.error(403);
    assert_eq!(ids(&world.call("ada", "POST", "/task/over/all/0/2", None).await.ok()).len(), 2);
    let count = world.get("bob", "/count").await.ok();
    assert_eq!(count, json!({"pending": 2, "running": 0, "over": 3}));
}

#[tokio::test]
async fn members_see_each_others_tasks_only_where_they_share() {
    for share in [false, true] {
        let world = world_with(|config| config.share_project_tasks = share).await;
        let shared = world.submit("bob", |body| body["user"] = json!({"project": "lab"})).await;
        let private = world.submit("bob", |_| {}).await;
        let own = world.submit("eve", |body| body["user"] = json!({"project": "lab"})).await;
        let listed = ids(&world.get("eve", "/task/active?project=lab").await.ok());
        assert_eq!(listed, if share { vec![shared.0, own.0] } else { vec![own.0] });
        assert_eq!(ids(&world.get("eve", "/task/active").await.ok()), [own.0]);
        assert_eq!(ids(&world.get("eve", "/task/active?project=default").await.ok()), Vec::<u64>::new());
        let status = if share { 200 } else { 403 };
        assert_eq!(world.get("eve", &format!("/task/{shared}")).await.status, status);
        assert_eq!(world.get("eve", &format!("/task/{private}")).await.status, 403);
        world.start(shared).await;
        world.end(shared, 0).await;
        let over = ids(&world.call("eve", "POST", "/task/over/0/10?project=lab", None).await.ok());
        assert_eq!(over, if share { vec![shared.0] } else { vec![] });
    }
}

#[tokio::test]
async fn a_task_through_its_life() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    let status = |doc: &Value| doc["status"]["primary"].as_str().expect("a text").to_owned();
    let read = || async { world.get("bob", &format!("/task/{id}")).await.ok() };
    let doc = read().await;
    assert_eq!(status(&doc), "pending");
    assert!(doc["status"].get("date_running").is_none() && doc["container"]["meta"].is_null());
    world.start(id).await;
    let doc = read().await;
    assert_eq!(status(&doc), "running");
    assert_eq!(doc["container"]["meta"]["Node"]["Name"], "n1");
    let volumes = doc["container"]["volumes"].as_array().expect("a list");
    let job = volumes.iter().find(|volume| volume["name"] == "go-docker").expect("the job's own");
    assert!(job["path"].as_str().expect("a path").ends_with("/tasks/pairtree_root/1/task"), "{job}");
    world.end(id, 3).await;
    let doc = read().await;
    assert_eq!(status(&doc), "over");
    assert_eq!(doc["status"]["exitcode"], 3);
    assert_eq!(doc["status"]["duration"], 2.5);
    let answer = world.get("bob", &format!("/task/{id}/status")).await.ok();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["status"], doc["status"]);
}

#[tokio::test]
async fn foreign_tasks_are_refused_and_unknown_ones_not_found() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    world.start(id).await;
    for (method, path) in [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("GET", "/status"),
        ("GET", "/wait?timeout=1"),
        ("GET", "/suspend"),
        ("POST", "/suspend"),
        ("GET", "/resume"),
        ("POST", "/resume"),
        ("GET", "/reschedule"),
        ("POST", "/reschedule"),
        ("GET", "/files"),
        ("GET", "/files/god.log"),
        ("HEAD", "/files/god.log"),
        ("GET", "/log"),
        ("GET", "/log?follow=1"),
    ] {
        let body = (method == "PUT").then(|| json!({"name": "maxlifespan", "value": "1d"}));
        for (login, id, expected) in
            [("eve", id.0, 403), ("eve", 999, 404), ("bob", 999, 404), ("", id.0, 401)]
        {
            let answer = world.call(login, method, &format!("/task/{id}{path}"), body.clone()).await;
            assert_eq!(answer.status.as_u16(), expected, "{login} {method} {id}{path}");
        }
    }
    assert_eq!(world.task(id).await.wish, None, "nothing was asked of it");
}

#[tokio::test]
async fn children_that_were_never_written_are_there() {
    let world = world().await;
    let id = world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "5:7%1"})).await;
    let parent = world.get("bob", &format!("/task/{id}")).await.ok();
    assert_eq!(parent["requirements"]["array"]["nb_tasks"], 3);
    let child = world.get("bob", &format!("/task/{}", id.0 + 2)).await.ok();
    assert_eq!(child["parent_task_id"], id.0);
    assert_eq!(child["requirements"]["array"]["task_id"], 6);
    assert_eq!(child["status"]["primary"], "pending");
    world.get("bob", &format!("/task/{}", id.0 + 4)).await.error(404);
}

#[tokio::test]
async fn what_the_scheduler_says_is_shown() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    let key = Group::of(&world.task(id).await.spec).key();
    let text = "1 core fits nowhere".to_owned();
    let reason = Reason::new(Code::Resources, text.clone()).with("cores", 1);
    let line = Line { why: Some(0), knots: vec![(id.0, 3)] };
    let board = Board { reasons: vec![reason], groups: [(key.clone(), line)].into(), ..Board::default() };
    let published = serde_json::to_string(&board).expect("plain data");
    world.store.pin(vec![(Board::pin_of(&key), Some(published))]).await.expect("pinned");
    let doc = world.get("bob", &format!("/task/{id}")).await.ok();
    assert_eq!(doc["status"]["why"], json!({"code": "resources", "numbers": {"cores": 1}, "position": 3}));
    assert_eq!(doc["status"]["secondary"], "rejected by scheduler");
    assert_eq!(doc["status"]["reason"], json!(text));
    assert_eq!(world.get("bob", "/task/active").await.ok()[0]["status"], doc["status"]);

    let other = world.submit("eve", |_| {}).await;
    let status = world.get("eve", &format!("/task/{other}/status")).await.ok()["status"].clone();
    assert_eq!((&status["secondary"], &status["why"]["code"]), (&json!(null), &json!("priority")));
    let after = world.submit("eve", |body| body["requirements"]["tasks"] = json!([other.0])).await;
    let status = world.get("eve", &format!("/task/{after}/status")).await.ok()["status"].clone();
    assert_eq!(status["why"], json!({"code": "dependency", "numbers": {"tasks": 1}, "position": null}));
    assert_eq!(status["reason"], json!(format!("Waits for the end of task {other}")));
}

#[tokio::test]
async fn a_long_list_comes_in_parts_and_whole() {
    let world = world().await;
    let mut all = Vec::new();
    for n in 0..1500 {
        let project = if n % 3 == 0 { "lab" } else { "default" };
        all.push(world.submit("bob", |body| body["user"] = json!({"project": project})).await);
    }
    let expected: Vec<u64> = all.iter().map(|id| id.0).collect();
    let active = world.get("bob", "/task/active").await;
    assert_eq!(active.header("content-length"), None, "it is not gathered first");
    assert_eq!(ids(&active.ok()), expected);
    for id in &all {
        world.start(*id).await;
        world.end(*id, 0).await;
    }
    let newest: Vec<u64> = expected.iter().rev().copied().collect();
    let over = async |path: &str| ids(&world.call("bob", "POST", path, None).await.ok());
    assert_eq!(over("/task/over/0/0").await, newest);
    assert_eq!(over("/task/over/100/1200").await, newest[100..1300]);
    assert_eq!(over("/task/over/1499/10").await, newest[1499..]);
    assert_eq!(over("/task/over/1500/0").await, [] as [u64; 0]);
    let of_lab: Vec<u64> = expected.iter().step_by(3).rev().copied().collect();
    assert_eq!(over("/task/over/0/0?project=lab").await, of_lab);
    assert_eq!(over("/task/over/10/20?project=lab").await, of_lab[10..30]);
}
