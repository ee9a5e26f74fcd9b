//! The plugin against a real Consul agent.

use god_core::status::{Process, ProcessStatus, StatusPlugin};
use god_testkit::server::{Server, free_port, program};
use serde_json::Value;
use status_consul::{Consul, Options};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

struct Bed {
    dir: TempDir,
    http: reqwest::Client,
    port: u16,
    agent: Option<Server>,
    /// Where a web and an FTP server would listen.
    web: u16,
    ftp: u16,
}

impl Bed {
    /// An agent of its own; `None` when there is no Consul here.
    async fn new() -> Option<Bed> {
        program("consul")?;
        let mut bed = Bed {
            dir: TempDir::new().expect("made"),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            port: free_port(),
            agent: None,
            web: free_port(),
            ftp: free_port(),
        };
        bed.start().await;
        Some(bed)
    }

    async fn start(&mut self) {
        let mut command = Command::new(program("consul").expect("it was there"));
        let number = |port: u16| port.to_string();
        command.args(["agent", "-dev", "-node", "t", "-bind", "127.0.0.1", "-client", "127.0.0.1"]);
        command.args(["-http-port", &number(self.port), "-dns-port", "-1", "-grpc-port", "-1"]);
        command.args(["-serf-lan-port", &number(free_port()), "-serf-wan-port", "-1"]);
        command.args(["-server-port", &number(free_port()), "-disable-host-node-id", "-log-level", "warn"]);
        let leader = format!("http://127.0.0.1:{}/v1/status/leader", self.port);
        let answers = async || {
            let Ok(answer) = self.http.get(&leader).send().await else { return false };
            answer.text().await.is_ok_and(|text| text.contains("127"))
        };
        self.agent = Some(Server::start(&mut command, &self.dir.path().join("log")).ready(answers).await);
    }

    fn plugin(&self) -> Consul {
        let options = Options {
            host: "127.0.0.1".into(),
            port: self.port,
            token: None,
            web: format!("http://127.0.0.1:{}/", self.web),
            web_port: self.web,
            ftp: ("127.0.0.1".into(), self.ftp),
        };
        Consul::new(options).expect("an address")
    }

    async fn agent(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/v1/agent/{path}", self.port);
        self.http.get(url).send().await.expect("an answer").json().await.expect("JSON")
    }
}

fn process(kind: &str, name: &str) -> Process {
    Process { kind: kind.into(), name: name.into(), host: "h".into() }
}

async fn alive(plugin: &Consul) -> Vec<(String, bool)> {
    let found = plugin.processes().await.expect("an answer");
    found.into_iter().map(|ProcessStatus { name, alive, .. }| (name, alive)).collect()
}

#[tokio::test]
async fn processes_come_and_go() {
    let Some(mut bed) = Bed::new().await else { return };
    let plugin = bed.plugin();
    assert!(alive(&plugin).await.is_empty());
    let (scheduler, watcher) = (process("scheduler", "scheduler-h"), process("watcher", "watcher-h-2"));
    plugin.leave(&watcher).await.expect("a process that was never there may leave");
    for _ in 0..2 {
        plugin.keep_alive(&scheduler).await.expect("registered");
        plugin.keep_alive(&watcher).await.expect("registered");
    }
    let both = [("scheduler-h".to_owned(), true), ("watcher-h-2".to_owned(), true)];
    assert_eq!(alive(&plugin).await, both);
    let service = bed.agent("service/scheduler-h").await;
    assert_eq!(
        (service["Service"].as_str(), service["Tags"][0].as_str()),
        (Some("scheduler"), Some("scheduler"))
    );
    let check = bed.agent("checks").await["scheduler-h_check"].clone();
    assert_eq!((check["Type"].as_str(), check["Status"].as_str()), (Some("ttl"), Some("passing")));

    // One whose check fails is not well, and its next sign of life makes it well.
    let fail = format!("http://127.0.0.1:{}/v1/agent/check/fail/watcher-h-2_check", bed.port);
    bed.http.put(fail).send().await.expect("an answer");
    assert_eq!(alive(&plugin).await[1], ("watcher-h-2".to_owned(), false));
    plugin.keep_alive(&watcher).await.expect("passed");
    assert_eq!(alive(&plugin).await, both);

    // An agent that forgot everything is told again.
    bed.agent.as_mut().expect("it runs").kill();
    let err = plugin.keep_alive(&watcher).await.expect_err("nobody answers");
    assert!(err.to_string().contains("does not answer while a sign of life is given"), "{err}");
    bed.start().await;
    assert!(alive(&plugin).await.is_empty());
    plugin.keep_alive(&scheduler).await.expect("registered again");
    plugin.keep_alive(&watcher).await.expect("registered again");
    assert_eq!(alive(&plugin).await, both);
    plugin.leave(&scheduler).await.expect("deregistered");
    assert_eq!(alive(&plugin).await, both[1..]);
}

#[tokio::test]
async fn the_agent_looks_at_servers_itself() {
    let Some(bed) = Bed::new().await else { return };
    let plugin = Arc::new(bed.plugin());
    let (web, ftp) = (process("web", "web-h"), process("ftp", "ftp-h"));
    // Nobody listens: registered, and not well.
    plugin.keep_alive(&web).await.expect("registered");
    plugin.keep_alive(&ftp).await.expect("registered");
    let known = bed.agent("services").await;
    assert_eq!((&known["web-h"]["Port"], &known["ftp-h"]["Port"]), (&bed.web.into(), &bed.ftp.into()));
    assert_eq!(alive(&plugin).await, [("ftp-h".to_owned(), false), ("web-h".to_owned(), false)]);
    let listener = TcpListener::bind(("127.0.0.1", bed.web)).await.expect("our port");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok() {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("sent");
            }
        }
    });
    let _ftp = TcpListener::bind(("127.0.0.1", bed.ftp)).await.expect("our port");
    // The agent looks at once after a registration, then every 20 s: the second process registers anew.
    plugin.leave(&web).await.expect("deregistered");
    plugin.leave(&ftp).await.expect("deregistered");
    let well = async || {
        plugin.keep_alive(&web).await.expect("registered");
        plugin.keep_alive(&ftp).await.expect("registered");
        let all = [("ftp-h".to_owned(), true), ("web-h".to_owned(), true)];
        (alive(&plugin).await == all).then_some(())
    };
    god_testkit::until(Duration::from_secs(60), "the agent has looked at both", well).await;
}
