//! Figures that daemons push, processes, and the monitor of a container.

use crate::world::{world, world_with};
use axum::body::Body;
use axum::http::Request;
use god_api::Cadvisor;
use god_core::ids::{ExecutorName, Holder, NodeName};
use god_core::resources::{Amount, Node};
use god_core::status::Process;
use god_core::store::Store;
use god_core::{Bytes, Cores};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test]
async fn pushed_figures_are_shown() {
    let world = world().await;
    let push = |body: Value| world.call("", "POST", "/prometheus", Some(body));
    let stat = json!([
        {"name": "god_scheduler_sched_duration", "value": 2},
        {"name": "god_watcher_job_error", "value": 1, "host": "node-1"},
    ]);
    for _ in 0..2 {
        push(json!({"key": "push-key", "stat": stat})).await.ok();
    }
    let answer = world.send(Request::get("/metrics").body(Body::empty()).expect("a request")).await.text();
    assert!(answer.contains("\ngod_scheduler_sched_duration 2\n"), "{answer}");
    assert!(answer.contains("\ngod_watcher_job_error{host=\"node-1\"} 2\n"), "{answer}");
    for key in [json!("push-keys"), json!(""), Value::Null, json!({"$ne": ""})] {
        push(json!({"key": key, "stat": stat})).await.error(403);
    }
    for bad in [
        json!({}),
        json!([{"name": "x", "value": 1}]),
        json!([{"name": "god_x", "value": "1"}]),
        json!([{"name": "god_x{a=\"b\"}", "value": 1}]),
        json!([{"name": "god_x", "value": 1, "host": "a\"} 1\nb"}]),
        json!([{"name": "god_x"}]),
    ] {
        push(json!({"key": "push-key", "stat": bad})).await.error(400);
    }
    let closed = world_with(|config| config.prometheus_key = None).await;
    let body = json!({"key": "", "stat": []});
    closed.call("", "POST", "/prometheus", Some(body)).await.error(403);
}

#[tokio::test]
async fn processes_are_those_that_gave_a_sign_of_life() {
    let world = world().await;
    let now = god_core::Timestamp(world.clock.load(std::sync::atomic::Ordering::Relaxed));
    for (kind, name) in [("web", "web-h"), ("scheduler", "scheduler-h")] {
        let process = Process { kind: kind.into(), name: name.into(), host: "h".into() };
        let holder = Holder::new("p");
        god_engine::processes::sign(&*world.store, &[process], &holder, now).await.expect("writes");
    }
    let list = world.get("ada", "/status").await.ok();
    let seen = now.0 / 1000;
    let entry =
        |name: &str, kind: &str| json!({"name": name, "type": kind, "status": true, "timestamp": seen});
    assert_eq!(list, json!([entry("scheduler-h", "scheduler"), entry("web-h", "web")]));
}

fn node(name: &str) -> Node {
    Node {
        name: NodeName::new(name),
        executor: ExecutorName::new("local"),
        total: Amount { cores: Cores(4), memory: Bytes::from_ram(8), gpus: 0 },
        labels: Vec::new(),
        queue: 0,
        max_tasks: None,
    }
}

/// Answers every request with this text, and tells the first line of each.
async fn stand_in(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 2048];
            let n = stream.read(&mut buffer).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&buffer[..n]).lines().next().unwrap_or_default().to_owned();
            if tell.send(line).is_err() || stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    (port, told)
}

async fn monitored(port: u16, inventory: &str) -> crate::world::Answer {
    let world = world_with(|config| {
        config.cadvisor = Some(Cadvisor { port, url_part: "/docker".to_owned(), samples: 60 });
    })
    .await;
    let nodes = serde_json::to_string(&[node(inventory)]).expect("JSON");
    world.store.pin(vec![("nodes/local".to_owned(), Some(nodes))]).await.expect("pinned");
    let id = world.submit("bob", |_| {}).await;
    world.get("bob", &format!("/task/{id}/monitor")).await.error(400);
    world.start_on(id, "127.0.0.1").await;
    world.get("bob", &format!("/task/{id}/monitor")).await
}

#[tokio::test]
async fn a_containers_use_comes_from_its_node() {
    let (port, mut told) =
        stand_in("HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"/docker\": [1]}")
            .await;
    drop(monitored(port, "127.0.0.1").await);
    assert_eq!(told.recv().await.as_deref(), Some("GET /api/v1.2/docker/r1?num_stats=60 HTTP/1.1"));
    let (port, _told) =
        stand_in("HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{\"/docker\": [1]}")
            .await;
    assert_eq!(monitored(port, "127.0.0.1").await.ok(), json!({"/docker": [1]}));
}

#[tokio::test]
async fn f7_no_other_address_is_asked_and_nothing_but_json_comes_back() {
    let (port, mut told) =
        stand_in("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").await;
    // The node of the task is none that an executor publishes.
    monitored(port, "127.0.0.2").await.error(400);
    assert!(told.try_recv().is_err(), "nothing was asked");
    for answer in [
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nConnection: close\r\n\r\n{}",
    ] {
        let (port, _told) = stand_in(answer).await;
        let status = monitored(port, "127.0.0.1").await.status;
        assert!(status == 400 || status == 404, "{answer}");
    }
}
