//! A server that gives the answers a test wants and remembers the requests.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{Response, StatusCode};
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// The key that the server takes.
pub const KEY: &str = "SECRETKEY42";

const JSON: &str = "application/json; charset=UTF-8";

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Seen {
    /// `GET /task/7?x=y`, below the base path; `GET /2/tasks` for the typed interface.
    pub fn line(&self) -> String {
        let path =
            self.path.strip_prefix("/api/1.0").or(self.path.strip_prefix("/api")).unwrap_or(&self.path);
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        format!("{} {path}{query}", self.method)
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// What the server says.
pub struct Answer {
    status: u16,
    kind: String,
    headers: Vec<(&'static str, String)>,
    /// The body in pieces; after the last the connection breaks when `breaks` says so.
    pieces: Vec<Vec<u8>>,
    breaks: bool,
}

impl Answer {
    pub fn json(value: &Value) -> Answer {
        Answer::status(200, value)
    }

    pub fn status(status: u16, value: &Value) -> Answer {
        Answer::raw(status, JSON, vec![value.to_string().into_bytes()])
    }

    pub fn raw(status: u16, kind: &str, pieces: Vec<Vec<u8>>) -> Answer {
        Answer { status, kind: kind.to_owned(), headers: Vec::new(), pieces, breaks: false }
    }

    pub fn events(text: &str) -> Answer {
        Answer::raw(200, "text/event-stream", vec![text.as_bytes().to_vec()])
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Answer {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The connection breaks after the body, before its end is told.
    pub fn breaking(mut self) -> Answer {
        self.breaks = true;
        self
    }

    pub fn missing() -> Answer {
        Answer::status(404, &json!({"error": "there is nothing at this address"}))
    }

    fn into_response(self) -> Response<Body> {
        let pieces: Vec<io::Result<Bytes>> = self.pieces.into_iter().map(|p| Ok(p.into())).collect();
        let end = futures::stream::iter(self.breaks.then_some(())).then(|()| async {
            // What was said so far goes out while we seem to think.
            tokio::task::yield_now().await;
            Err(io::Error::other("broken on purpose"))
        });
        let mut response = Response::builder().status(StatusCode::from_u16(self.status).expect("a status"));
        response = response.header("content-type", self.kind);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        response.body(Body::from_stream(futures::stream::iter(pieces).chain(end))).expect("a response")
    }
}

type Handler = Box<dyn Fn(&Seen, usize) -> Answer + Send + Sync>;

struct Shared {
    handler: Handler,
    seen: Mutex<Vec<Seen>>,
    /// Number of the newest token.
    token: AtomicU32,
    /// Tokens below this number are no longer taken.
    taken_from: AtomicU32,
}

/// The server; it ends with this value.
pub struct Fake {
    pub url: String,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    /// Starts it. `handler` gets each request that has a good token, and how many requests with the same method and
    /// path came before it.
    pub fn start(handler: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Fake {
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            seen: Mutex::default(),
            token: AtomicU32::new(0),
            taken_from: AtomicU32::new(0),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = std::sync::mpsc::channel();
        let inner = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
                ready.send(listener.local_addr().expect("an address")).expect("the test waits");
                let app = Router::new().fallback(move |request: Request| {
                    let shared = Arc::clone(&inner);
                    async move { shared.answer(request).await }
                });
                let serving = async { axum::serve(listener, app).await };
                tokio::select! {
                    served = serving => served.expect("serves"),
                    _ = stopped => {}
                }
            });
        });
        let address = address.recv().expect("the server starts");
        Fake { url: format!("http://{address}"), shared, stop: Some(stop), thread: Some(thread) }
    }

    /// No token given so far is good any longer.
    pub fn forget_tokens(&self) {
        let next = self.shared.token.load(Ordering::SeqCst) + 1;
        self.shared.taken_from.store(next, Ordering::SeqCst);
    }

    /// No token will ever be good.
    pub fn take_no_token(&self) {
        self.shared.taken_from.store(u32::MAX, Ordering::SeqCst);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().expect("no panic holds it").clone()
    }

    /// The requests as lines, without the logins.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).filter(|line| line != "POST /authenticate").collect()
    }

    pub fn logins(&self) -> usize {
        self.seen().iter().filter(|seen| seen.path.ends_with("/authenticate")).count()
    }

    /// The one request with this line.
    pub fn request(&self, line: &str) -> Seen {
        let found: Vec<Seen> = self.seen().into_iter().filter(|seen| seen.line() == line).collect();
        assert_eq!(found.len(), 1, "{line} among {:?}", self.lines());
        found[0].clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
    }
}

impl Shared {
    async fn answer(&self, request: Request) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, 64 << 20).await.expect("a whole body").to_vec();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let seen = Seen {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: headers.collect(),
            body,
        };
        let before = {
            let mut all = self.seen.lock().expect("no panic holds it");
            let same = |other: &&Seen| other.method == seen.method && other.path == seen.path;
            let before = all.iter().filter(same).count();
            all.push(seen.clone());
            before
        };
        let answer = if seen.path.ends_with("/api/1.0/authenticate") {
            self.authenticate(&seen)
        } else if seen.path.ends_with("/api/1.0/config") || self.is_known(&seen) {
            (self.handler)(&seen, before)
        } else {
            Answer::status(401, &json!({"error": "the token is too old"}))
        };
        answer.into_response()
    }

    fn authenticate(&self, seen: &Seen) -> Answer {
        if seen.json()["apikey"] != KEY {
            return Answer::status(401, &json!({"error": "login, key or password is wrong"}));
        }
        let number = self.token.fetch_add(1, Ordering::SeqCst) + 1;
        Answer::json(&json!({"token": format!("token.{number}")}))
    }

    fn is_known(&self, seen: &Seen) -> bool {
        let token = seen.headers.get("authorization").and_then(|value| value.strip_prefix("Bearer token."));
        let number = token.and_then(|number| number.parse::<u32>().ok());
        number.is_some_and(|number| number >= self.taken_from.load(Ordering::SeqCst))
    }
}
