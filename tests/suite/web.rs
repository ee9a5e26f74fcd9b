//! Speaks the REST interface, as patiently as a program of a user should.

use crate::recorder::Recorder;
use crate::site::{PATIENCE, until};
use god_tests::client_log::Op;
use serde_json::{Value, json};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long one answer may take before the client takes it for lost.
const ANSWER: Duration = Duration::from_secs(20);

/// A user at a server.
#[derive(Debug, Clone)]
pub struct Client {
    server: SocketAddr,
    token: String,
}

impl Client {
    /// Logs in as soon as the server answers.
    pub fn log_in(server: &str, (user, key): &(String, String)) -> Client {
        let server = server.parse().expect("an address");
        let mut client = Client { server, token: String::new() };
        let body = json!({"user": user, "apikey": key});
        let answer = until("the web server", || {
            client.try_ask("POST", "/authenticate", &[], body.to_string().as_bytes()).ok()
        });
        assert_eq!(answer.0, 200, "{}", answer.1);
        client.token = answer.1["token"].as_str().expect("a token").to_owned();
        client
    }

    /// Another user at the same server.
    pub fn other(&self, user: &(String, String)) -> Client {
        Client::log_in(&self.server.to_string(), user)
    }

    /// Nobody at the same server.
    pub fn anonymous(&self) -> Client {
        Client { server: self.server, token: String::new() }
    }

    /// Host and port.
    pub fn server(&self) -> String {
        self.server.to_string()
    }

    /// One request and its answer, or why there is none.
    pub fn try_ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect_timeout(&self.server, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let mut head = format!("{method} /api/1.0{path} HTTP/1.1\r\nHost: god\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!(
            "Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            self.token,
            body.len()
        ));
        // A server may answer before it has read everything, and then hears no more.
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        let mut answer = Vec::new();
        let heard = stream.read_to_end(&mut answer);
        if sent.is_ok() || answer.is_empty() {
            sent.and(heard)?;
        }
        let torn = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is not whole");
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(torn)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(torn)?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if length.is_some_and(|length| body.len() < length) {
            return Err(torn());
        }
        Ok((status, serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()))))
    }

    /// One request to a server that is known to answer.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.try_ask(method, path, &[], body.as_bytes()).expect("the server answers")
    }

    /// Asks again and again until there is an answer that tells what was done; every try is recorded. `None` when
    /// the server said no.
    pub fn insist(
        &self,
        recorder: &Recorder,
        op: Op,
        key: &str,
        (method, path): (&str, &str),
        body: &Value,
    ) -> Option<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let begun = Instant::now();
        loop {
            recorder.invoke(op, key);
            match self.try_ask(method, path, &[("Idempotency-Key", key)], body.as_bytes()) {
                Ok((200, answer)) => {
                    recorder.ok(op, key, answer["id"].as_u64().expect("an id"));
                    return Some(answer);
                }
                Ok((429, _)) => {}
                Ok((status, _)) if status >= 500 => recorder.unknown(op, key, Some(status)),
                Ok((status, answer)) => {
                    recorder.fail(op, key, status);
                    println!("{method} {path} ({key}): {status} {answer}");
                    return None;
                }
                Err(_) => recorder.unknown(op, key, None),
            }
            assert!(begun.elapsed() < PATIENCE, "no answer to {method} {path} ({key})");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Submits a script; the task's id.
    pub fn submit(&self, script: &str) -> u64 {
        let (status, answer) = self.ask("POST", "/task", &body("job", script));
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_u64().unwrap_or_else(|| panic!("no id in {answer}"))
    }

    pub fn task(&self, id: u64) -> Value {
        let (status, task) = self.ask("GET", &format!("/task/{id}"), &Value::Null);
        assert_eq!(status, 200, "{task}");
        task
    }

    /// The task, once it runs.
    pub fn running(&self, id: u64) -> Value {
        until("a running task", || Some(self.task(id)).filter(|task| task["status"]["primary"] == "running"))
    }

    /// The task, once it is over.
    pub fn over(&self, id: u64) -> Value {
        until("the end of a task", || Some(self.task(id)).filter(|task| task["status"]["primary"] == "over"))
    }

    /// Numbers of pending, running and finished tasks.
    pub fn counts(&self) -> Value {
        let (status, counts) = self.ask("GET", "/count", &Value::Null);
        assert_eq!(status, 200, "{counts}");
        counts
    }
}

/// The body of a submit.
pub fn body(name: &str, script: &str) -> Value {
    json!({
        "meta": {"name": name},
        "requirements": {"cpu": 1, "ram": 1},
        "command": {"cmd": script},
    })
}
