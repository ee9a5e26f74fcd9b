//! Points in a real InfluxDB.

use crate::world::{SUBMITTED, World};
use god_core::Timestamp;
use god_core::state::{Event, Outcome};
use god_telemetry::outbox::influx::{Influx, Options, SchedulerPoint};
use god_testkit::server::{Server, free_port, program};
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

struct Database {
    _dir: TempDir,
    port: u16,
    http: reqwest::Client,
    _server: Server,
}

impl Database {
    async fn new() -> Option<Database> {
        let influxd = program("influxd")?;
        let dir = TempDir::new().expect("made");
        let (port, backup) = (free_port(), free_port());
        let d = dir.path().display();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{backup}\"\n[meta]\n  dir = \"{d}/meta\"\n\
             [data]\n  dir = \"{d}/data\"\n  wal-dir = \"{d}/wal\"\n  query-log-enabled = false\n\
             [monitor]\n  store-enabled = false\n[http]\n  bind-address = \"127.0.0.1:{port}\"\n  \
             log-enabled = false\n  auth-enabled = true\n[logging]\n  level = \"warn\"\n"
        );
        let file = dir.path().join("influx.conf");
        std::fs::write(&file, config).expect("written");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let ping = format!("http://127.0.0.1:{port}/ping");
        let answers = async || http.get(&ping).send().await.is_ok_and(|answer| answer.status() == 204);
        let mut command = Command::new(influxd);
        command.args(["run", "-config"]).arg(&file);
        let server = Server::start(&mut command, &dir.path().join("log")).ready(answers).await;
        let database = Database { _dir: dir, port, http, _server: server };
        database.query("CREATE USER god WITH PASSWORD 's3 cret' WITH ALL PRIVILEGES").await;
        Some(database)
    }

    async fn query(&self, text: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/query", self.port);
        let query = self.http.post(url).query(&[("db", "god"), ("q", text)]);
        let answer = query.basic_auth("god", Some("s3 cret")).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        assert!(answer.get("error").is_none(), "{answer}");
        answer["results"][0]["series"][0].clone()
    }

    fn influx(&self, password: &str) -> Influx {
        let options = Options {
            host: "127.0.0.1".into(),
            port: self.port,
            db: "god".into(),
            user: "god".into(),
            password: password.into(),
        };
        Influx::new(options).expect("good options")
    }
}

#[tokio::test]
async fn usage_and_queue_become_points() {
    let Some(database) = Database::new().await else { return };
    let world = World::new();
    let influx = database.influx("s3 cret");
    let _sending = world.send(vec![Arc::new(influx.clone())]);
    let task = world.submit(|spec| spec.image = "centos, with=odd name".into()).await;
    world.live(&task, 0).await;
    // The database does not exist yet: its points wait for it. Two runs that end together are two points.
    let other = world.submit(|spec| spec.image = "centos, with=odd name".into()).await;
    world.live(&other, 9).await;
    let never_ran = world.submit(|_| {}).await;
    world.happen(&never_ran, &[Event::EndedUnstarted(Outcome::Quota("q".into()))]).await;
    let point = SchedulerPoint { pending: 4, running: 2, pass_seconds: 0.25, at: Timestamp(SUBMITTED + 1) };
    let why = influx.scheduler(&point).await.expect_err("no database");
    assert!(why.contains("404"), "{why}");
    database.query("CREATE DATABASE god").await;
    world.sent().await;
    let text = "SELECT \"user\", cpu, ram, durationtime, waitingtime, image FROM god_task_usage";
    let series = database.query(text).await;
    let columns = serde_json::json!(["time", "user", "cpu", "ram", "durationtime", "waitingtime", "image"]);
    assert_eq!(series["columns"], columns);
    let rows = series["values"].as_array().expect("rows");
    assert_eq!(rows.len(), 2, "{rows:?}");
    let spec = &task.spec;
    let expected = serde_json::json!(["bob", spec.cores, spec.ram, 5, 2, "centos, with=odd name"]);
    assert_eq!(rows[0].as_array().expect("a row")[1..], expected.as_array().expect("a row")[..]);

    influx.scheduler(&point).await.expect("written");
    let series = database.query("SELECT nb_pending, nb_running, duration_scheduler FROM god_scheduler").await;
    let expected = serde_json::json!([4, 2, 0.25]);
    assert_eq!(series["values"][0].as_array().expect("a row")[1..], expected.as_array().expect("a row")[..]);

    let why = database.influx("wrong").scheduler(&point).await.expect_err("refused");
    assert!(why.contains("401") && !why.contains("wrong"), "{why}");
}
