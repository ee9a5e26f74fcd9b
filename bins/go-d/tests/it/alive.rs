//! Which daemons are alive, as `go-d-status` and the REST interface tell.

use crate::site::{Site, until};
use serde_json::{Value, json};

fn overview(site: &Site) -> (Option<i32>, String) {
    let output = site.run("go-d-status", &["status"]);
    (output.status.code(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn processes_come_are_killed_and_end() {
    let site = Site::new();
    site.said("go-d", &["init"]);
    let (code, text) = overview(&site);
    assert_eq!((code, text.as_str()), (Some(1), "alive: 0 scheduler, 0 watcher, 0 web\n"));
    for wrong in [&[][..], &["dance"], &["status", "now"]] {
        assert_eq!(site.run("go-d-status", wrong).status.code(), Some(2), "{wrong:?}");
    }

    let (mut running, client) = site.up("fake");
    until("all are well", || (overview(&site).0 == Some(0)).then_some(()));
    let (_, text) = overview(&site);
    assert!(text.ends_with("alive: 1 scheduler, 1 watcher, 1 web\n"), "{text}");
    let (status, list) = client.ask("GET", "/status", &Value::Null);
    assert_eq!(status, 200, "{list}");
    let kinds: Vec<&Value> = list.as_array().expect("a list").iter().map(|p| &p["type"]).collect();
    assert_eq!(kinds, [&json!("scheduler"), &json!("watcher"), &json!("archiver"), &json!("web")]);

    // Its leases prove its death at once, for all that it was.
    running.signal("-KILL");
    running.ended();
    let (code, text) = overview(&site);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(text.matches(": not well, last seen ").count(), 4, "{text}");

    // An orderly end leaves nothing behind.
    let (running, _) = site.up("fake");
    until("all are well again", || (overview(&site).0 == Some(0)).then_some(()));
    running.end();
    assert_eq!(overview(&site).1, "alive: 0 scheduler, 0 watcher, 0 web\n");
}
