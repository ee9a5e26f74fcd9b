//! What existing clients send, byte for byte, and what they need of the answers: rest-api.md, row by row.
//!
//! A case file begins with the name of the program that sends its requests. Each case is a name after `##`, then
//! requests. A request is its first line as the client writes it (without the version), headers of its own, perhaps an
//! empty line and a body, and what the answer must be, one line each:
//!
//! - `= 200` the status; `= 200 json` with exactly the content type that clients compare; `= 200 text` with another one
//! - `/pointer is JSON` that value; `/pointer string`, `int`, `number`, `bool`, `list`, `object`, `null` that kind
//! - `/pointer absent` is not there, which is not the same as null
//! - `body TEXT` the whole body, byte for byte; `says TEXT` a part of it
//! - `header NAME: VALUE`
//!
//! `$bob`, `$eve`, `$ada` stand for tokens, `$key` for bob's API key, and the names of the fixture's tasks for their ids.

use crate::world::{JSON, World, world_with};
use god_core::store::PendingLimits;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const FILES: [(&str, &str); 8] = [
    ("daemons", include_str!("daemons.txt")),
    ("galaxy", include_str!("galaxy.txt")),
    ("godbatch", include_str!("godbatch.txt")),
    ("godfile", include_str!("godfile.txt")),
    ("godjob", include_str!("godjob.txt")),
    ("godproject", include_str!("godproject.txt")),
    ("goduser", include_str!("goduser.txt")),
    ("herodote", include_str!("herodote.txt")),
];

struct Case {
    name: String,
    requests: Vec<Request>,
}

#[derive(Default)]
struct Request {
    line: String,
    headers: Vec<String>,
    body: String,
    checks: Vec<String>,
}

/// The cases of one file, and the program that sends them.
fn read(text: &str) -> (String, Vec<Case>) {
    let mut lines = text.lines().filter(|line| !line.starts_with("# "));
    let client = lines.next().expect("a first line").strip_prefix("client ").expect("names the client");
    let mut cases: Vec<Case> = Vec::new();
    let mut in_body = false;
    for line in lines {
        if let Some(name) = line.strip_prefix("## ") {
            cases.push(Case { name: name.to_owned(), requests: Vec::new() });
            in_body = false;
            continue;
        }
        if cases.is_empty() && line.is_empty() {
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("before the first case: {line}"));
        let begins = ["GET ", "POST ", "PUT ", "DELETE "].iter().any(|method| line.starts_with(method));
        if begins {
            case.requests.push(Request { line: line.to_owned(), ..Request::default() });
            in_body = false;
            continue;
        }
        let Some(request) = case.requests.last_mut() else {
            assert!(line.trim().is_empty(), "before the first request: {line}");
            continue;
        };
        if line.starts_with("= ") || !request.checks.is_empty() {
            request.checks.extend(Some(line.to_owned()).filter(|line| !line.trim().is_empty()));
        } else if in_body {
            request.body.push_str(line);
        } else if line.is_empty() {
            in_body = true;
        } else {
            request.headers.push(line.to_owned());
        }
    }
    (client.to_owned(), cases)
}

/// The bytes on the wire, in the order in which that program writes its headers.
fn bytes(client: &str, request: &Request) -> String {
    let has_body = !request.body.is_empty();
    let method = request.line.split(' ').next().expect("a method");
    let own = |name: &str| {
        let value = |header: &String| {
            let (n, value) = header.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then(|| value.to_owned())
        };
        request.headers.iter().find_map(value)
    };
    let mut head = format!("{} HTTP/1.1\r\nHost: god.example.org:6543\r\n", request.line);
    let rest = |head: &mut String, but: &[&str]| {
        for header in &request.headers {
            let name = header.split(':').next().expect("a name");
            if !but.iter().any(|but| but.eq_ignore_ascii_case(name)) {
                head.push_str(&format!("{header}\r\n"));
            }
        }
    };
    if client.starts_with("python-requests") {
        let accept = own("Accept").unwrap_or_else(|| "*/*".to_owned());
        head.push_str(&format!(
            "User-Agent: {client}\r\nAccept-Encoding: gzip, deflate\r\nAccept: {accept}\r\nConnection: keep-alive\r\n"
        ));
        rest(&mut head, &["Accept"]);
        // The library writes a length of 0 for everything that could have a body.
        if has_body || method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
        }
    } else if client.starts_with("node") {
        rest(&mut head, &[]);
        if has_body {
            head.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                request.body.len()
            ));
        }
        head.push_str("Connection: close\r\n");
    } else {
        head.push_str(&format!("User-Agent: {client}\r\nAccept: */*\r\n"));
        rest(&mut head, &[]);
        if has_body {
            head.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
        }
    }
    format!("{head}\r\n{}", request.body)
}

/// The site that all cases begin with, and the words of the cases.
async fn fixture() -> (World, BTreeMap<&'static str, String>) {
    let world = world_with(|config| {
        config.max_file_download = Some(1000);
        config.share_project_tasks = true;
        // Nine are there from the start; two more may come.
        config.limits = PendingLimits { per_user: Some(8), all: None };
    })
    .await;
    let pending = world.submit("bob", |_| {}).await;
    let running = world.submit("bob", |body| body["meta"]["tags"] = json!(["batch:sea"])).await;
    let over = world.submit("bob", |_| {}).await;
    let killed = world.submit("bob", |_| {}).await;
    let array = world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "1:4:2"})).await;
    let others = world.submit("eve", |_| {}).await;
    let shared = world.submit("eve", |body| body["user"] = json!({"project": "lab"})).await;
    for id in [running, over] {
        world.start(id).await;
    }
    let dir = world.job_dir(over);
    std::fs::create_dir(dir.join("out")).expect("made");
    for (name, text) in [
        ("god.log", "hello\nworld\n".to_owned()),
        ("god.err", String::new()),
        ("god.info", "1\n2\n".to_owned()),
        ("out/result.json", "{\"a\": 1}".to_owned()),
        ("big.bin", "x".repeat(1001)),
    ] {
        std::fs::write(dir.join(name), text).expect("written");
    }
    world.end(over, 0).await;
    world.call("bob", "DELETE", &format!("/task/{killed}"), None).await.ok();
    let mut words = BTreeMap::from([("key", world.keys["bob"].clone())]);
    for login in ["bob", "eve", "ada"] {
        words.insert(login, world.tokens[login].clone());
    }
    for (name, id) in [
        ("pending", pending),
        ("running", running),
        ("over", over),
        ("killed", killed),
        ("array", array),
        ("others", others),
        ("shared", shared),
    ] {
        words.insert(name, id.to_string());
    }
    (world, words)
}

fn filled(text: &str, words: &BTreeMap<&str, String>) -> String {
    words.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

/// Head and body of one answer.
async fn exchange(stream: &mut TcpStream, request: &str) -> (String, Vec<u8>) {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let reading = async {
        let mut seen = Vec::new();
        loop {
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(seen[..end].to_vec()).expect("ASCII");
                let length =
                    |line: &str| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok();
                let length: usize = head.lines().find_map(length).expect("a length");
                if seen.len() >= end + 4 + length {
                    return (head, seen[end + 4..].to_vec());
                }
            }
            let mut buffer = [0; 8192];
            let n = stream.read(&mut buffer).await.expect("reads");
            assert!(n > 0, "the connection was closed");
            seen.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer in time")
}

/// What is wrong with an answer.
fn check(line: &str, head: &str, body: &[u8]) -> Result<(), String> {
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let text = String::from_utf8_lossy(body);
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let wrong = |got: &dyn std::fmt::Debug| Err(format!("{line}: got {got:?}"));
    match word {
        "=" => {
            let (status, kind) = rest.split_once(' ').unwrap_or((rest, ""));
            if !head.starts_with(&format!("HTTP/1.1 {status} ")) {
                return wrong(&format!("{head}\n{text}"));
            }
            let sent = header("content-type");
            match kind {
                "json" if sent.as_deref() != Some(JSON) => wrong(&sent),
                "text" if sent.as_deref() == Some(JSON) || sent.is_none() => wrong(&sent),
                _ => Ok(()),
            }
        }
        "body" => {
            if rest.replace("\\n", "\n") == text {
                Ok(())
            } else {
                wrong(&text)
            }
        }
        "says" => {
            if text.contains(rest) {
                Ok(())
            } else {
                wrong(&text)
            }
        }
        "header" => {
            let (name, value) = rest.split_once(": ").expect("name and value");
            let got = header(name);
            if got.as_deref() == Some(value) { Ok(()) } else { wrong(&got) }
        }
        pointer => {
            let document: Value = serde_json::from_slice(body).map_err(|err| format!("{line}: {err}"))?;
            let pointer = if pointer == "/" { "" } else { pointer };
            let got = document.pointer(pointer);
            let is = |good: bool| if good { Ok(()) } else { wrong(&got) };
            if let Some(expected) = rest.strip_prefix("is ") {
                let expected: Value =
                    serde_json::from_str(expected).map_err(|err| format!("{line}: {err}"))?;
                return is(got == Some(&expected));
            }
            is(match (rest, got) {
                ("absent", got) => got.is_none(),
                ("string", Some(got)) => got.is_string(),
                ("int", Some(got)) => got.is_i64() || got.is_u64(),
                ("number", Some(got)) => got.is_number(),
                ("bool", Some(got)) => got.is_boolean(),
                ("list", Some(got)) => got.is_array(),
                ("object", Some(got)) => got.is_object(),
                ("null", Some(got)) => got.is_null(),
                _ => false,
            })
        }
    }
}

async fn run(client: &str, case: &Case) -> Vec<String> {
    let (world, mut words) = fixture().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(god_api::serve(listener, world.app.clone(), async { stopped.await.expect("told") }));
    let mut wrong = Vec::new();
    for request in &case.requests {
        let request = Request {
            line: filled(&request.line, &words),
            headers: request.headers.iter().map(|header| filled(header, &words)).collect(),
            body: filled(&request.body, &words),
            checks: request.checks.iter().map(|check| filled(check, &words)).collect(),
        };
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let (head, body) = exchange(&mut stream, &bytes(client, &request)).await;
        for line in &request.checks {
            if let Err(err) = check(line, &head, &body) {
                wrong.push(format!("{}: {}: {err}", case.name, request.line));
            }
        }
        // A client goes on with the token and the task it was just given.
        if let Ok(answer) = serde_json::from_slice::<Value>(&body) {
            if let Some(token) = answer["token"].as_str() {
                words.insert("token", token.to_owned());
            }
            if answer["msg"] == "Task added" {
                words.insert("new", answer["id"].to_string());
            }
        }
    }
    stop.send(()).expect("still there");
    serving.await.expect("no panic").expect("no error");
    wrong
}

#[tokio::test]
async fn clients_get_what_they_need() {
    let (mut wrong, mut n) = (Vec::new(), 0);
    for (file, text) in FILES {
        let (client, cases) = read(text);
        for case in &cases {
            assert!(!case.requests.is_empty(), "{file}: {} asks nothing", case.name);
            for request in &case.requests {
                assert!(
                    request.checks.first().is_some_and(|check| check.starts_with("= ")),
                    "{file}: {}",
                    case.name
                );
            }
        }
        for some in cases.chunks(8) {
            let ran = some.iter().map(|case| run(&client, case));
            for found in futures::future::join_all(ran).await {
                wrong.extend(found.into_iter().map(|text| format!("{file}: {text}")));
            }
        }
        n += cases.len();
    }
    assert!(wrong.is_empty(), "{} of {n} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(n > 60, "{n}");
}

/// Every route that existing clients know is asked by some case.
#[test]
fn every_route_of_existing_clients_is_covered() {
    let asked: Vec<String> = FILES
        .iter()
        .flat_map(|(_, text)| read(text).1)
        .flat_map(|case| case.requests)
        .map(|request| request.line.replace("//api", "/api"))
        .collect();
    // In the order of the list of routes: rest-api.md, 2.
    for pattern in [
        "POST /api/1.0/authenticate",
        "GET /api/1.0/config",
        "GET /api/1.0/image",
        "GET /api/1.0/user",
        "GET /api/1.0/user/*",
        "PUT /api/1.0/user/*",
        "DELETE /api/1.0/user/*",
        "GET /api/1.0/user/*/project",
        "GET /api/1.0/user/*/usage",
        "DELETE /api/1.0/user/*/task",
        "GET /api/1.0/project",
        "POST /api/1.0/project",
        "GET /api/1.0/project/*",
        "POST /api/1.0/project/*",
        "DELETE /api/1.0/project/*",
        "GET /api/1.0/project/*/usage",
        "DELETE /api/1.0/project/*/quota",
        "POST /api/1.0/task",
        "GET /api/1.0/task/active",
        "GET /api/1.0/task/active/all",
        "POST /api/1.0/task/over/*/*",
        "POST /api/1.0/task/over/all/*/*",
        "GET /api/1.0/task/*",
        "PUT /api/1.0/task/*",
        "DELETE /api/1.0/task/*",
        "GET /api/1.0/task/*/status",
        "GET /api/1.0/task/*/suspend",
        "GET /api/1.0/task/*/resume",
        "GET /api/1.0/task/*/reschedule",
        "GET /api/1.0/task/*/archive",
        "DELETE /api/1.0/task/*/archive",
        "GET /api/1.0/archive/*",
        "DELETE /api/1.0/archive/*",
        "GET /api/1.0/task/*/files/*",
        "POST /api/1.0/prometheus",
        "GET /metrics",
        "GET /",
    ] {
        let wanted: Vec<&str> = pattern.split('/').collect();
        let fits = |line: &String| {
            let parts: Vec<&str> = line.split('?').next().unwrap_or_default().split('/').collect();
            parts.len() == wanted.len() && parts.iter().zip(&wanted).all(|(part, w)| *w == "*" || part == w)
        };
        assert!(asked.iter().any(fits), "{pattern}");
    }
}
