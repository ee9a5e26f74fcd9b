//! What comes by itself: output that is followed, events, and waiting.

use crate::world::{World, world};
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures::StreamExt;
use god_core::TaskId;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use tower::ServiceExt;

/// An open stream of server-sent events.
struct Stream {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Stream {
    async fn open(world: &World, login: &str, path: &str, last: Option<&str>) -> Stream {
        let mut request = Request::get(format!("/api/1.0{path}"))
            .header("Authorization", format!("Bearer {}", world.tokens[login]));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = world
            .router
            .clone()
            .oneshot(request.body(Body::empty()).expect("a request"))
            .await
            .expect("never fails");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Stream { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; `None` when the stream ended.
    async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(Duration::from_secs(30), self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let line = block.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|text| text.trim_start_matches(':').trim_start().to_owned())
                };
                if let Some(data) = field("data") {
                    return Some(Event {
                        name: field("event").unwrap_or_default(),
                        id: field("id").unwrap_or_default(),
                        data: serde_json::from_str(&data).expect("JSON"),
                    });
                }
                continue;
            }
            let bytes = self.body.next().await?.expect("no broken stream");
            self.text.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
        }
    }
}

async fn running(world: &World) -> (TaskId, std::fs::File) {
    let id = world.submit("bob", |_| {}).await;
    world.start(id).await;
    let file = std::fs::File::create(world.job_dir(id).join("god.log")).expect("made");
    (id, file)
}

#[tokio::test]
async fn output_is_followed_to_its_end() {
    let world = world().await;
    let (id, mut file) = running(&world).await;
    let mut stream = Stream::open(&world, "bob", &format!("/task/{id}/log?follow=1"), None).await;
    file.write_all("one\nü".as_bytes()).expect("written");
    let mut seen = String::new();
    let mut last = String::new();
    while !seen.ends_with('ü') {
        let event = stream.next().await.expect("more");
        assert_eq!(event.name, "text");
        seen.push_str(event.data.as_str().expect("a text"));
        last = event.id;
    }
    assert_eq!(seen, "one\nü");
    assert_eq!(last, "6", "bytes, not characters");
    // Half of a character is held back until the rest is there.
    file.write_all(&[0xe2, 0x82]).expect("written");
    let early = tokio::time::timeout(Duration::from_millis(200), stream.read()).await;
    assert!(early.is_err(), "half of a character was sent: {early:?}");
    file.write_all(&[0xac]).expect("written");
    assert_eq!(stream.next().await.expect("more").data, "€");
    // What is written before the end is sent before the end.
    file.write_all(b"last words").expect("written");
    world.end(id, 3).await;
    let mut seen = String::new();
    let end = loop {
        let event = stream.next().await.expect("more");
        if event.name == "end" {
            break event;
        }
        seen.push_str(event.data.as_str().expect("a text"));
    };
    assert_eq!(seen, "last words");
    assert_eq!(end.data["status"]["exitcode"], 3);
    assert_eq!(stream.next().await, None);

    // A client that comes back gets the rest only.
    let mut again = Stream::open(&world, "bob", &format!("/task/{id}/log?follow=1"), Some("9")).await;
    assert_eq!(again.next().await.expect("more").data, "last words");
    assert_eq!(again.next().await.expect("more").name, "end");
    assert_eq!(again.next().await, None);
    let whole = world.get("bob", &format!("/task/{id}/log")).await;
    assert_eq!(whole.text(), "one\nü€last words");
    assert_eq!(whole.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[tokio::test]
async fn output_that_does_not_exist_yet_is_waited_for() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    world.get("bob", &format!("/task/{id}/log")).await.error(404);
    let mut stream = Stream::open(&world, "bob", &format!("/task/{id}/log?follow=1&stream=err"), None).await;
    world.start(id).await;
    std::fs::write(world.job_dir(id).join("god.err"), [b'a', 0xff, b'b']).expect("written");
    assert_eq!(stream.next().await.expect("more").data, "a\u{fffd}b");
    // A task that ends without another word.
    world.end(id, 0).await;
    assert_eq!(stream.next().await.expect("more").name, "end");
    // A task that never ran ends as well.
    let id = world.submit("bob", |_| {}).await;
    let mut stream = Stream::open(&world, "bob", &format!("/task/{id}/log?follow=1"), None).await;
    world.call("bob", "DELETE", &format!("/task/{id}"), None).await.ok();
    assert_eq!(stream.next().await.expect("more").name, "end");
}

#[tokio::test]
async fn what_has_no_output_says_so() {
    let world = world().await;
    let array = world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "2"})).await;
    world.get("bob", &format!("/task/{array}/log?follow=1")).await.error(400);
    let silent = world.submit("bob", |body| body["requirements"]["output"] = json!("none")).await;
    world.get("bob", &format!("/task/{silent}/log")).await.error(400);
    world.get("bob", &format!("/task/{silent}/log?stream=x")).await.error(400);
}

#[tokio::test]
async fn events_are_ones_own() {
    let world = world().await;
    let mut bob = Stream::open(&world, "bob", "/events", None).await;
    let mut ada = Stream::open(&world, "ada", "/events", None).await;
    let hello = bob.next().await.expect("more");
    assert_eq!(hello.name, "hello");
    assert_eq!(ada.next().await.expect("more").name, "hello");
    let eves = world.submit("eve", |_| {}).await;
    let bobs = world.submit("bob", |body| body["meta"]["name"] = json!("mine")).await;
    world.start(eves).await;
    world.start(bobs).await;
    world.end(bobs, 4).await;
    let mut last = Value::Null;
    let mut id = String::new();
    while last["primary"] != "over" {
        let event = bob.next().await.expect("more");
        assert_eq!(event.name, "task");
        assert_eq!(event.data["id"], bobs.0, "never another's");
        assert_eq!(event.data["name"], "mine");
        last = event.data["status"].clone();
        id = event.id;
    }
    assert_eq!(last["exitcode"], 4);
    // Also an admin sees the own ones only here.
    let adas = world.submit("ada", |_| {}).await;
    assert_eq!(ada.next().await.expect("more").data["id"], adas.0);
    drop(bob);
    // Back again: too late, so lists must be read anew.
    let mut again = Stream::open(&world, "bob", "/events", Some(&id)).await;
    assert_eq!(again.next().await.expect("more").name, "reset");
}

#[tokio::test]
async fn waiting_ends_with_the_task_or_the_time() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    let answer = world.get("bob", &format!("/task/{id}/wait?timeout=0")).await.ok();
    assert_eq!(answer["status"]["primary"], "pending");
    let path = format!("/task/{id}/wait?timeout=60");
    let begin = std::time::Instant::now();
    let (answer, ()) = tokio::join!(world.get("bob", &path), async {
        world.start(id).await;
        world.end(id, 0).await;
    });
    assert_eq!(answer.ok()["status"]["primary"], "over");
    assert!(begin.elapsed() < Duration::from_secs(9), "the bell was heard");
    let answer = world.get("bob", &path).await.ok();
    assert_eq!(answer["status"]["exitcode"], 0);
}
