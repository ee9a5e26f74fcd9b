//! Who changed what, from where.

use crate::world::world;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[tokio::test]
async fn f11_a_record_says_who_from_where_what_before_and_after() {
    let world = world().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(god_api::serve(listener, world.app.clone(), async { stopped.await.expect("told") }));
    let body = json!({"usage": {"prio": 90}}).to_string();
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!(
        "PUT /api/1.0/user/bob HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        world.tokens["ada"],
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Durable before the answer.
    let record = world.audited(1).await.pop().expect("one");
    assert_eq!((record.who.as_str(), record.from.as_str()), ("ada", "127.0.0.1"));
    assert_eq!((record.action.as_str(), record.object.as_str()), ("user.change", "bob"));
    assert_eq!(record.before.expect("known")["prio"], 50);
    assert_eq!(record.after.expect("known")["prio"], 90);
    assert_eq!(record.at.0, crate::world::START);
    // Submits within a moment share a record, also when the server stops right after them.
    for _ in 0..3 {
        world.submit("bob", |_| {}).await;
    }
    world.submit("eve", |_| {}).await;
    stop.send(()).expect("still there");
    serving.await.expect("no panic").expect("no error");
    let records = world.audited(3).await;
    let submits: Vec<(&str, &str)> =
        records[1..].iter().map(|r| (r.who.as_str(), r.object.as_str())).collect();
    assert_eq!(records.len(), 3);
    assert!(submits.contains(&("bob", "1-3")) && submits.contains(&("eve", "4")), "{submits:?}");
}

#[tokio::test]
async fn asking_for_what_is_already_so_is_no_change() {
    let world = world().await;
    let headers = [("Idempotency-Key", "k")];
    for _ in 0..3 {
        world.call_with("bob", "POST", "/task", Some(crate::world::body()), &headers).await.ok();
    }
    let user = world.get("ada", "/user/bob").await.ok();
    world.call("ada", "PUT", "/user/bob", Some(user)).await.ok();
    world.call("ada", "PUT", "/maintenance", Some(json!({"value": "off"}))).await.ok();
    let records = world.audited(2).await;
    let actions: Vec<&str> = records.iter().map(|record| record.action.as_str()).collect();
    assert_eq!(actions.len(), 2, "{actions:?}");
}
