//! The typed interface.

use crate::world::{START, World, world, world_with};
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures::StreamExt;
use god_core::TaskId;
use god_core::board::{Board, Line};
use god_core::group::Group;
use god_core::ids::{ExecutorName, NodeName};
use god_core::reason::{Code, Reason};
use god_core::resources::{Amount, Node};
use god_core::state::{Ask, Event, Outcome};
use god_core::store::Store;
use god_core::{Bytes, Cores};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tower::ServiceExt;

fn ids(list: &Value) -> Vec<u64> {
    list["tasks"].as_array().expect("a list").iter().map(|task| task["id"].as_u64().expect("an id")).collect()
}

async fn list(world: &World, login: &str, query: &str) -> Value {
    world.get(login, &format!("/api/2/tasks{query}")).await.ok()
}

/// What a client may rely on: exactly these names.
#[tokio::test]
async fn the_fields_of_a_task() {
    let world = world().await;
    let id = world
        .submit("bob", |body| {
            body["user"] = json!({"project": "lab"});
            body["requirements"]["maxlifespan"] = json!("2h");
        })
        .await;
    world.start(id).await;
    world.end(id, 3).await;
    let task = list(&world, "bob", "").await["tasks"][0].clone();
    let expected = json!({
        "id": id, "parent": null, "index": null, "name": "align", "description": "", "user": "bob", "project": "lab",
        "tags": ["t1"], "state": "over", "paused": false, "request": null, "outcome": "failed", "exit_code": 3,
        "reason": null, "position": null, "submitted": 1_700_000_000.0, "started": 1_700_000_002.0,
        "ended": 1_700_000_004.5, "node": "n1", "executor": "local", "cpu": 1, "ram": 2, "gpus": 0,
        "image": "debian:12", "time_limit": 7200, "cpu_seconds": 7e-6, "max_rss_bytes": 9,
        "efficiency": {"cpu": 0.0, "memory": 0.0}, "disk_bytes": null, "attempts": 1, "array": null,
    });
    assert_eq!(task, expected);
    let details = world.get("bob", &format!("/api/2/tasks/{id}")).await.ok();
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&details[name], value, "{name}");
    }
    assert_eq!(details["script"], "#!/bin/bash\necho hi\n");
    assert_eq!(
        details["volumes"][0],
        json!({"name": "home", "path": "/home/bob", "mount": "/mnt/home", "writable": true})
    );
    assert!(details["directory"].as_str().expect("a path").starts_with('/'));
}

#[tokio::test]
async fn states_and_reasons() {
    let world = world().await;
    let waiting = world.submit("bob", |_| {}).await;
    let key = Group::of(&world.task(waiting).await.spec).key();
    let reason = Reason::new(Code::Resources, "No room: 1 core free").with("cores_free", 1u32);
    let line = Line { why: Some(0), knots: vec![(waiting.0, 3)] };
    let board = Board { reasons: vec![reason], groups: [(key.clone(), line)].into(), ..Board::default() };
    let text = serde_json::to_string(&board).expect("plain data");
    world.store.pin(vec![(Board::pin_of(&key), Some(text))]).await.expect("pinned");
    let task = world.get("bob", &format!("/api/2/tasks/{waiting}")).await.ok();
    assert_eq!((&task["state"], &task["position"]), (&json!("pending"), &json!(3)));
    assert_eq!(
        task["reason"],
        json!({"code": "resources", "text": "No room: 1 core free", "numbers": {"cores_free": 1}})
    );
    let after = world.submit("bob", |body| body["requirements"]["tasks"] = json!([waiting])).await;
    assert_eq!(world.get("bob", &format!("/api/2/tasks/{after}")).await.ok()["reason"]["code"], "dependency");
    let lost = world.submit("bob", |_| {}).await;
    world.happen(lost, Event::EndedUnstarted(Outcome::Quota("cores: 5 of 4".to_owned()))).await;
    let task = world.get("bob", &format!("/api/2/tasks/{lost}")).await.ok();
    assert_eq!(
        (&task["state"], &task["outcome"], &task["started"]),
        (&json!("over"), &json!("quota"), &Value::Null)
    );
    assert_eq!(task["reason"], json!({"code": "quota", "text": "cores: 5 of 4", "numbers": {}}));
    let running = world.submit("bob", |_| {}).await;
    world.start(running).await;
    world.call("bob", "DELETE", &format!("/task/{running}"), None).await.ok();
    let task = world.get("bob", &format!("/api/2/tasks/{running}")).await.ok();
    assert_eq!((&task["state"], &task["request"]), (&json!("running"), &json!("kill")));
    let array = world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "3"})).await;
    let task = world.get("bob", &format!("/api/2/tasks/{array}")).await.ok();
    assert_eq!(task["array"], json!({"count": 3, "over": 0, "failed": 0}));
}

#[tokio::test]
async fn pages_follow_each_other_and_lose_nothing() {
    let world = world().await;
    let mut all = Vec::new();
    for _ in 0..25 {
        all.push(world.submit("bob", |_| {}).await.0);
        world.submit("eve", |_| {}).await;
    }
    all.reverse();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = list(&world, "bob", &format!("?limit=10&sort=-id{after}")).await;
        found.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
        // What comes in meanwhile moves nothing.
        world.submit("bob", |_| {}).await;
    }
    assert_eq!(found, all);
    for bad in ["limit=0", "limit=x", "limit=-1", "after=x", "sort=name", "stat=running", "state=done"] {
        world.get("bob", &format!("/api/2/tasks?{bad}")).await.error(400);
    }
    assert_eq!(
        ids(&list(&world, "bob", "?limit=100000").await).len(),
        27,
        "a large page is cut, not refused"
    );
}

#[tokio::test]
async fn filters_work_on_the_server() {
    let world = world().await;
    let one = world.submit("bob", |body| body["meta"] = json!({"name": "align-1", "tags": ["x", "y"]})).await;
    let two = world
        .submit("bob", |body| {
            body["meta"] = json!({"name": "sort-2", "tags": ["y"]});
            body["user"] = json!({"project": "lab"});
        })
        .await;
    world.clock.store(START + 500_000, Ordering::Relaxed);
    let three = world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "2"})).await;
    let eves = world.submit("eve", |body| body["user"] = json!({"project": "lab"})).await;
    world.start(one).await;
    world.end(one, 1).await;
    world.start(two).await;
    let check = async |query: &str, expected: &[TaskId]| {
        let expected: Vec<u64> = expected.iter().map(|id| id.0).collect();
        assert_eq!(ids(&list(&world, "bob", query).await), expected, "{query}");
    };
    check("", &[three, two, one]).await;
    check("?state=running", &[two]).await;
    check("?state=pending,over", &[three, one]).await;
    check("?outcome=failed,lost", &[one]).await;
    check("?outcome=success", &[]).await;
    check("?tag=y", &[two, one]).await;
    check("?tag=x&state=running", &[]).await;
    check("?name=lign", &[three, one]).await;
    check("?name=align-", &[one]).await;
    check("?project=lab", &[two]).await;
    check("?user=bob&project=default", &[three, one]).await;
    check("?older=5m", &[two, one]).await;
    check("?newer=5m", &[three]).await;
    let children = [TaskId(three.0 + 2), TaskId(three.0 + 1)];
    check(&format!("?ids={one},{three}-{eves}"), &[children[0], children[1], three, one]).await;
    check(&format!("?children=false&ids={one},{three}-{eves}"), &[three, one]).await;
    check(&format!("?ids={eves}"), &[]).await;
    check(&format!("?parent={three}"), &[]).await;
    assert_eq!(ids(&list(&world, "ada", "").await).len(), 4);
    assert_eq!(ids(&list(&world, "ada", "?user=eve").await), [eves.0]);
    world.get("bob", "/api/2/tasks?user=eve").await.error(403);
    let shared = world_with(|config| config.share_project_tasks = true).await;
    let mine = shared.submit("bob", |body| body["user"] = json!({"project": "lab"})).await;
    let private = shared.submit("bob", |_| {}).await;
    assert_eq!(ids(&list(&shared, "eve", "?project=lab").await), [mine.0]);
    assert_eq!(ids(&list(&shared, "eve", "?project=lab&user=bob").await), [mine.0]);
    assert_eq!(
        ids(&list(&shared, "eve", &format!("?ids={mine},{private}")).await),
        [] as [u64; 0],
        "the own ones"
    );
    shared.get("eve", "/api/2/tasks?project=default&user=bob").await.error(403);
}

#[tokio::test]
async fn many_tasks_are_asked_at_once() {
    let world = world().await;
    let mut mine = Vec::new();
    for n in 0..5 {
        mine.push(world.submit("bob", |body| body["meta"]["tags"] = json!([format!("t{}", n % 2)])).await);
    }
    let eves = world.submit("eve", |_| {}).await;
    for id in &mine[..2] {
        world.start(*id).await;
    }
    let post = async |action: &str, body: Value| {
        world.call("bob", "POST", &format!("/api/2/tasks/{action}"), Some(body)).await
    };
    let answer = post("suspend", json!({"filter": {"state": "running"}})).await.ok();
    assert_eq!(answer, json!({"asked": 2, "idle": 0, "ids": [mine[0], mine[1]]}));
    let answer = post("kill", json!({"filter": {"tag": "t0"}, "reason": "wrong input"})).await.ok();
    assert_eq!((&answer["asked"], &answer["ids"]), (&json!(3), &json!([mine[0], mine[2], mine[4]])));
    let task = world.get("bob", &format!("/api/2/tasks/{}", mine[4])).await.ok();
    assert_eq!((&task["outcome"], &task["reason"]["text"]), (&json!("killed"), &json!("wrong input")));
    // One that may not be changed, or that does not exist, and nothing is done to any.
    let rev = world.task(mine[3]).await.rev;
    post("kill", json!({"ids": [mine[3], eves]})).await.error(403);
    post("kill", json!({"ids": [mine[3], 999]})).await.error(404);
    assert_eq!(world.task(mine[3]).await.rev, rev);
    let answer = post("kill", json!({"ids": [mine[3], mine[4]]})).await.ok();
    assert_eq!((&answer["asked"], &answer["idle"]), (&json!(1), &json!(1)));
    let answer = post("purge", json!({"filter": {"outcome": "killed"}})).await.ok();
    assert_eq!(answer["asked"], 3);
    assert_eq!(world.task(mine[4]).await.to_remove(), Some(Ask::Purge));
    for bad in [
        json!({}),
        json!({"filter": {}}),
        json!({"filter": {"stat": "running"}}),
        json!({"filter": {"state": "done"}}),
        json!({"ids": [1], "filter": {"state": "running"}}),
        json!({"ids": ["1"]}),
        json!({"ids": vec![1; 10_001]}),
        json!({"ids": [1], "reason": "a\nb"}),
        json!([]),
    ] {
        post("kill", bad.clone()).await.error(400);
    }
    assert!(!world.task(eves).await.phase().is_over());
}

#[tokio::test]
async fn usage_nodes_and_the_audit_trail() {
    let world = world().await;
    let node = Node {
        name: NodeName::new("n1"),
        executor: ExecutorName::new("local"),
        total: Amount { cores: Cores(4), memory: Bytes::from_ram(8), gpus: 1 },
        labels: vec!["disk==ssd".to_owned()],
        queue: 0,
        max_tasks: None,
    };
    let text = serde_json::to_string(&[node]).expect("JSON");
    world.store.pin(vec![("nodes/local".to_owned(), Some(text))]).await.expect("pinned");
    let id = world.submit("bob", |_| {}).await;
    world.start(id).await;
    let nodes = world.get("eve", "/api/2/nodes").await.ok();
    assert_eq!(
        nodes,
        json!({"nodes": [{
            "name": "n1", "executor": "local", "labels": ["disk==ssd"], "tasks": 1,
            "total": {"cpu": 4, "memory_bytes": 8u64 << 30, "gpus": 1},
            "used": {"cpu": 1, "memory_bytes": 2u64 << 30, "gpus": 0},
        }]})
    );
    world.end(id, 0).await;
    let used = json!({"cpu": 1, "ram": 2, "seconds": 2.5});
    let expected = json!({
        "user": "bob", "project": null, "window_days": 30, "total": used, "disk_bytes": 0,
        "days": [{"date": "2023-11-14", "cpu": 1, "ram": 2, "seconds": 2.5}],
    });
    assert_eq!(world.get("bob", "/api/2/usage").await.ok(), expected);
    assert_eq!(world.get("ada", "/api/2/usage?user=bob").await.ok(), expected);
    assert_eq!(world.get("eve", "/api/2/usage?project=default").await.ok()["total"], used);
    world.get("bob", "/api/2/usage?user=bob&project=lab").await.error(400);
    world.get("bob", "/api/2/usage?days=3").await.error(400);
    for value in ["on", "off", "on"] {
        world.call("ada", "PUT", "/maintenance", Some(json!({"value": value}))).await.ok();
    }
    world.audited(4).await;
    let first = world.get("ada", "/api/2/audit?limit=2").await.ok();
    let records = first["records"].as_array().expect("a list");
    assert_eq!(records.len(), 2);
    let rest = world.get("ada", &format!("/api/2/audit?after={}", first["next"])).await.ok();
    let all: Vec<&Value> = records.iter().chain(rest["records"].as_array().expect("a list")).collect();
    // Logins are in the trail, too.
    assert_eq!(all.iter().filter(|record| record["action"] != "token.begin").count(), 4);
    assert_eq!(rest["next"], Value::Null);
    let on = all.iter().find(|record| record["action"] == "site.maintenance").expect("recorded");
    assert_eq!(
        (&on["who"], &on["after"], &on["object"]),
        (&json!("ada"), &json!("on"), &json!("maintenance"))
    );
}

async fn until(stream: &mut BodyDataStream, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let chunk = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("in time");
        seen.push_str(std::str::from_utf8(&chunk.expect("goes on").expect("whole")).expect("UTF-8"));
    }
    seen
}

#[tokio::test]
async fn b9_events_carry_typed_tasks_of_the_caller_alone() {
    let world = world().await;
    let request = Request::get("/api/2/events")
        .header("Authorization", format!("Bearer {}", world.tokens["bob"]))
        .body(Body::empty())
        .expect("a request");
    let answer = world.router.clone().oneshot(request).await.expect("never fails");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut stream = answer.into_body().into_data_stream();
    until(&mut stream, "event: hello").await;
    world.submit("eve", |body| body["meta"]["name"] = json!("secret-of-eve")).await;
    world.submit("bob", |body| body["meta"]["name"] = json!("mine")).await;
    let seen = until(&mut stream, "\"mine\"").await;
    assert!(!seen.contains("secret-of-eve"), "{seen}");
    let data = seen.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    let task: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(
        (&task["name"], &task["state"], &task["user"]),
        (&json!("mine"), &json!("pending"), &json!("bob"))
    );
}
