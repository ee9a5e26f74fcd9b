//! The plugin against a real etcd, by both of its interfaces.

use god_core::status::{Process, StatusPlugin};
use god_testkit::server::{Server, free_port, program};
use status_etcd::{Api, Etcd, Options};
use std::process::Command;
use tempfile::TempDir;

struct Bed {
    dir: TempDir,
    port: u16,
    peers: u16,
    server: Option<Server>,
    has_v2: bool,
    http: reqwest::Client,
}

impl Bed {
    /// A server of its own; `None` when there is no etcd here.
    async fn new(has_v2: bool) -> Option<Bed> {
        program("etcd")?;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let dir = TempDir::new().expect("made");
        let mut bed = Bed { dir, port: free_port(), peers: free_port(), server: None, has_v2, http };
        bed.start().await;
        Some(bed)
    }

    async fn start(&mut self) {
        let (client, peer) =
            (format!("http://127.0.0.1:{}", self.port), format!("http://127.0.0.1:{}", self.peers));
        let mut command = Command::new(program("etcd").expect("it was there"));
        command.args(["--name", "t", "--data-dir"]).arg(self.dir.path().join("etcd"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("t={peer}"), &format!("--enable-v2={}", self.has_v2)]);
        let health = format!("{client}/health");
        let answers = async || {
            let Ok(answer) = self.http.get(&health).send().await else { return false };
            answer.text().await.is_ok_and(|text| text.contains("\"true\""))
        };
        self.server = Some(Server::start(&mut command, &self.dir.path().join("log")).ready(answers).await);
    }

    fn plugin(&self, api: Api) -> Etcd {
        let options = Options { host: "127.0.0.1".into(), port: self.port, prefix: "/site".into(), api };
        Etcd::new(&options).expect("an address")
    }

    /// A key by the old interface, with its time to live.
    async fn v2_key(&self, key: &str) -> serde_json::Value {
        let url = format!("http://127.0.0.1:{}/v2/keys{key}", self.port);
        self.http.get(url).send().await.expect("an answer").json().await.expect("JSON")
    }

    async fn v3(&self, method: &str, body: &serde_json::Value) -> serde_json::Value {
        let url = format!("http://127.0.0.1:{}/v3/{method}", self.port);
        self.http.post(url).json(body).send().await.expect("an answer").json().await.expect("JSON")
    }
}

fn process(kind: &str, name: &str) -> Process {
    Process { kind: kind.into(), name: name.into(), host: "node 1".into() }
}

/// What every interface does.
async fn contract(plugin: &Etcd) {
    assert!(plugin.processes().await.expect("an answer").is_empty());
    let (scheduler, web) = (process("scheduler", "scheduler-a b"), process("web", "web-a"));
    plugin.leave(&web).await.expect("a process that was never there may leave");
    for _ in 0..2 {
        for process in [&scheduler, &web] {
            plugin.keep_alive(process).await.expect("written");
        }
    }
    let mut found = plugin.processes().await.expect("an answer");
    found.sort_by(|a, b| a.kind.cmp(&b.kind));
    let known: Vec<_> = found.iter().map(|p| (p.kind.as_str(), p.name.as_str(), p.alive)).collect();
    assert_eq!(known, [("scheduler", "scheduler-a b", true), ("web", "web-a", true)]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("later").as_secs();
    let age = i64::try_from(now).expect("small") - found[0].seen.expect("a time");
    assert!((0..60).contains(&age), "{age}");
    plugin.leave(&scheduler).await.expect("removed");
    let left: Vec<_> = plugin.processes().await.expect("an answer").into_iter().map(|p| p.name).collect();
    assert_eq!(left, ["web-a"]);
    // It may come back.
    plugin.keep_alive(&scheduler).await.expect("written");
    assert_eq!(plugin.processes().await.expect("an answer").len(), 2);
}

#[tokio::test]
async fn the_old_interface() {
    let Some(bed) = Bed::new(true).await else { return };
    contract(&bed.plugin(Api::V2)).await;
    let host = bed.v2_key("/site/hosts/web/web-a").await;
    assert_eq!(host["node"]["value"], "node 1");
    let left = host["node"]["ttl"].as_i64().expect("a time to live");
    assert!((3500..=3600).contains(&left), "{left}");
    // A process that was last seen long ago is not well.
    let url = format!("http://127.0.0.1:{}/v2/keys/site/process/watcher/watcher-x?value=5&ttl=60", bed.port);
    bed.http.put(url).send().await.expect("written");
    let found = bed.plugin(Api::V2).processes().await.expect("an answer");
    let old = found.iter().find(|p| p.kind == "watcher").expect("it is there");
    assert_eq!((old.alive, old.seen), (false, Some(5)));
}

#[tokio::test]
async fn version_3_and_a_server_that_comes_back() {
    let Some(mut bed) = Bed::new(false).await else { return };
    let plugin = bed.plugin(Api::V3);
    contract(&plugin).await;
    let count = bed.v3("lease/leases", &serde_json::json!({})).await;
    assert_eq!(count["leases"].as_array().map(Vec::len), Some(2), "one for each process: {count}");
    let lease = count["leases"][0]["ID"].clone();
    let left = bed.v3("lease/timetolive", &serde_json::json!({"ID": lease, "keys": true})).await;
    assert_eq!((left["grantedTTL"].as_str(), left["keys"].as_array().map(Vec::len)), (Some("3600"), Some(2)));

    // A lease that somebody took away is granted anew.
    bed.v3("lease/revoke", &serde_json::json!({"ID": lease})).await;
    assert_eq!(plugin.processes().await.expect("an answer").len(), 1);
    let (scheduler, web) = (process("scheduler", "scheduler-a b"), process("web", "web-a"));
    for process in [&scheduler, &web] {
        plugin.keep_alive(process).await.expect("written");
    }
    assert_eq!(plugin.processes().await.expect("an answer").len(), 2);

    bed.server.as_mut().expect("it runs").kill();
    let err = plugin.keep_alive(&web).await.expect_err("nobody answers");
    assert!(err.to_string().contains("does not answer while a sign of life is written"), "{err}");
    assert!(plugin.processes().await.is_err());
    bed.start().await;
    plugin.keep_alive(&web).await.expect("written");
    assert_eq!(plugin.processes().await.expect("an answer").len(), 2, "etcd had them on its disk");
}

#[tokio::test]
async fn what_is_spoken_is_found_out() {
    let Some(bed) = Bed::new(false).await else { return };
    let web = process("web", "web-a");
    bed.plugin(Api::Auto).keep_alive(&web).await.expect("written");
    assert_eq!(bed.plugin(Api::V3).processes().await.expect("an answer").len(), 1);
    // Without the old interface, who insists on it is told so.
    let err = bed.plugin(Api::V2).processes().await.expect_err("it is off");
    assert!(err.to_string().contains("etcd answers 404"), "{err}");
    assert!(bed.plugin(Api::V2).keep_alive(&web).await.is_err());
}

#[test]
fn an_address_that_is_none_is_said() {
    let options = |host: &str| Options { host: host.into(), port: 4001, prefix: "x".into(), api: Api::Auto };
    assert!(Etcd::new(&options("::1")).is_ok());
    let err = Etcd::new(&options("a b")).expect_err("no host").to_string();
    assert_eq!(err, "`http://a b:4001/` is not the address of an etcd");
}
