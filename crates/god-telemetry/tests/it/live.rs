//! Live events at a real Redis.

use crate::world::World;
use futures::StreamExt;
use god_core::state::Ask;
use god_core::store::Change;
use god_core::{OpId, Timestamp};
use god_telemetry::outbox::Channel;
use god_telemetry::outbox::live::{Options, Publisher};
use god_testkit::server::{Server, free_port, program};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

struct Redis {
    dir: TempDir,
    port: u16,
    server: Option<Server>,
}

impl Redis {
    async fn new() -> Option<Redis> {
        program("redis-server")?;
        let mut redis = Redis { dir: TempDir::new().expect("made"), port: free_port(), server: None };
        redis.start().await;
        Some(redis)
    }

    async fn start(&mut self) {
        let mut command = Command::new(program("redis-server").expect("it was there"));
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--daemonize", "no"]).arg("--dir").arg(self.dir.path());
        let url = self.url();
        let answers = async || {
            let client = redis::Client::open(url.as_str()).expect("an address");
            client.get_multiplexed_async_connection().await.is_ok()
        };
        self.server = Some(Server::start(&mut command, &self.dir.path().join("log")).ready(answers).await);
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn publisher(&self) -> Arc<dyn Channel> {
        let options = Options { url: self.url(), prefix: "site".into() };
        Arc::new(Publisher::new(&options).expect("an address"))
    }

    async fn listen(&self) -> redis::aio::PubSub {
        let client = redis::Client::open(self.url()).expect("an address");
        let mut listener = client.get_async_pubsub().await.expect("connected");
        listener.subscribe("site:jobs:pubsub").await.expect("subscribed");
        listener
    }
}

async fn next(listener: &mut redis::aio::PubSub) -> Value {
    let mut stream = listener.on_message();
    let message = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
    let text: String = message.expect("in time").expect("a message").get_payload().expect("a text");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn ends_are_published_in_the_old_form() {
    let Some(redis) = Redis::new().await else { return };
    let mut listener = redis.listen().await;
    let world = World::new();
    let _sending = world.send(vec![redis.publisher()]);
    let task = world.submit(|spec| spec.name = "a \"b\" ü".into()).await;
    world.live(&task, 1).await;
    let expected = json!({"user": "bob", "id": 1, "status": "over", "name": "a \"b\" ü"});
    assert_eq!(next(&mut listener).await, expected);
    // Killed while it waits; and of an array only the parent.
    let waiting = world.submit(|spec| spec.name = "w".into()).await;
    let killed = waiting.asked(Ask::Kill, None, Timestamp(5)).expect("asked");
    world.store.commit(vec![Change::of(&waiting, killed, OpId(99))], None).await.expect("writes");
    assert_eq!(next(&mut listener).await, json!({"user": "bob", "id": 2, "status": "killed", "name": "w"}));
    world.sent().await;
}

#[tokio::test]
async fn a_redis_that_is_away_gets_the_events_when_it_is_back() {
    let Some(mut redis) = Redis::new().await else { return };
    let world = World::new();
    let _sending = world.send(vec![redis.publisher()]);
    let task = world.submit(|_| {}).await;
    world.live(&task, 0).await;
    world.sent().await;
    redis.server.as_mut().expect("it runs").kill();
    let task = world.submit(|_| {}).await;
    world.live(&task, 0).await;
    let waiting = async || {
        let waiting = world.store.notices(100).await.expect("reads");
        waiting.iter().all(|notice| notice.body.get("live").is_some()).then_some(waiting.len())
    };
    assert_eq!(god_testkit::until(Duration::from_secs(10), "the rest has gone", waiting).await, 1);
    redis.start().await;
    let mut listener = redis.listen().await;
    assert_eq!(next(&mut listener).await["id"], 2);
    world.sent().await;
}
