//! Calls to a flow server that answers as it is told.

use god_core::TaskId;
use god_core::notice::Message;
use god_telemetry::outbox::flow::FlowCaller;
use god_telemetry::outbox::{Channel, Delivery, Item};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const SECRET: &[u8] = b"a secret that both sides know";

fn item(task: u64) -> Item {
    Item { id: format!("{task}.1.flow"), task: TaskId(task), message: Message::Flow {} }
}

/// Answers one request with this status; the head of the request.
async fn answer(listener: &TcpListener, status: &str) -> String {
    let (mut stream, _) = listener.accept().await.expect("a caller");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("the caller reads");
    String::from_utf8(head).expect("text")
}

#[tokio::test]
async fn the_flow_server_is_called_with_a_signed_token() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let caller = FlowCaller::new(&format!("http://{address}/sub/"), SECRET).expect("an address");
    let one = [item(42)];
    let (answers, head) = tokio::join!(caller.deliver(&one), answer(&listener, "200 OK"));
    assert_eq!(answers, [Delivery::Done]);
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("GET /sub/godflow/api/1.0/event/42/status/over HTTP/1.1"));
    let token = lines.find_map(|line| line.strip_prefix("authorization: Bearer ")).expect("a token");
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&["urn:godocker/api"]);
    let claims = decode::<Value>(token, &DecodingKey::from_secret(SECRET), &validation).expect("good").claims;
    assert_eq!(claims["event"], 42);
    for (status, later) in [("500 Broken", true), ("401 Who", true), ("302 There", true), ("404 None", false)]
    {
        let (answers, _) = tokio::join!(caller.deliver(&one), answer(&listener, status));
        assert_eq!(matches!(answers[0], Delivery::Down(_)), later, "{answers:?}");
        assert_eq!(matches!(answers[0], Delivery::Never(_)), !later, "{answers:?}");
    }
    drop(listener);
    assert!(matches!(caller.deliver(&one).await[0], Delivery::Down(_)));
    FlowCaller::new("not an address", SECRET).expect_err("no address");
}
