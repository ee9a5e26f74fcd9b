//! A real listener: what only bytes on a connection show.

use crate::world::{World, body, world};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct Server {
    address: std::net::SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<std::io::Result<()>>,
}

pub async fn serve(world: &World) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        stopped.await.expect("told to stop");
    };
    let done = tokio::spawn(god_api::serve(listener, world.app.clone(), shutdown));
    Server { address, stop: Some(stop), done }
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    pub async fn stop(mut self) {
        self.stop.take().expect("not stopped yet").send(()).expect("still there");
        let done = tokio::time::timeout(Duration::from_secs(20), self.done).await;
        done.expect("stops in time").expect("no panic").expect("no error");
    }
}

/// Sends bytes and reads one answer: its head, and its body by `Content-Length`.
pub async fn exchange(stream: &mut TcpStream, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned)
                    })
                    .and_then(|text| text.trim().parse::<usize>().ok());
                if length.is_none_or(|length| rest.len() >= length) {
                    return (head.to_owned(), rest.to_owned());
                }
            }
            let mut buffer = [0; 4096];
            let n = stream.read(&mut buffer).await.expect("reads");
            assert!(n > 0, "the connection was closed after {text:?}");
            bytes.extend_from_slice(&buffer[..n]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer in time")
}

#[tokio::test]
async fn one_connection_carries_many_requests_of_old_clients() {
    let world = world().await;
    let server = serve(&world).await;
    let mut stream = server.connect().await;
    let token = &world.tokens["bob"];
    let text = body().to_string();
    let submit = format!(
        "POST //api/1.0/task HTTP/1.1\r\nHost: x\r\nauthorization: bearer {token}\r\nContent-type: application/json\r\n\
         Content-Length: {}\r\n\r\n{text}",
        text.len()
    );
    for id in 1..=3 {
        let (head, body) = exchange(&mut stream, &submit).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("content-type: application/json; charset=UTF-8\r\n"), "{head}");
        assert_eq!(body, format!("{{\"msg\": \"Task added\", \"id\": {id}}}"));
    }
    let over = format!(
        "POST /api/1.0/task/over/0/100 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-type: application/json\r\nContent-Length: 0\r\n\r\n"
    );
    let (head, body) = exchange(&mut stream, &over).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(body, "[]");
    let (head, _) = exchange(&mut stream, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn hostile_heads_are_cut_off() {
    let world = world().await;
    let server = serve(&world).await;
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(2_000_000));
    let both = "POST /api/1.0/task HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let body = "POST /api/1.0/task HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n";
    for request in [many.as_str(), &long, "\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", both, body] {
        let mut stream = server.connect().await;
        // The server may hang up while we still send.
        drop(stream.write_all(request.as_bytes()).await);
        let mut answer = [0; 64];
        let n = match tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer)).await {
            Ok(Ok(n)) => n,
            Ok(Err(_)) => 0,
            Err(_) => panic!("no answer to {:?}", &request[..request.len().min(60)]),
        };
        let head = String::from_utf8_lossy(&answer[..n]);
        let refused = n == 0 || head.starts_with("HTTP/1.1 4") || head.starts_with("HTTP/1.0 4");
        assert!(refused, "{:?} gives {head}", &request[..request.len().min(60)]);
    }
    // And the server is well.
    let (head, _) = exchange(&mut server.connect().await, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_ends_streams_and_lets_requests_finish() {
    let world = world().await;
    let server = serve(&world).await;
    let token = &world.tokens["bob"];
    let mut events = server.connect().await;
    let request = format!("GET /api/1.0/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let (head, _) = exchange(&mut events, &request).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut idle = server.connect().await;
    let (_, _) = exchange(&mut idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // Whether it comes before the stop or after it: a long wait is answered at once.
    let id = world.submit("bob", |_| {}).await;
    let path = format!("/task/{id}/wait?timeout=100");
    let begin = std::time::Instant::now();
    let (answer, ()) = tokio::join!(world.get("bob", &path), server.stop());
    assert!(begin.elapsed() < Duration::from_secs(4), "nothing was cut");
    assert_eq!(answer.ok()["status"]["primary"], "pending");
    let mut rest = Vec::new();
    events.read_to_end(&mut rest).await.expect("reads to the end");
}
