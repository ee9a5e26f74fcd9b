//! Bad input as users meet it: each is refused in words that name what is wrong, and leaves nothing behind.

use crate::site::{Site, until};
use crate::web::{Client, body};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

/// The text of a refusal.
#[track_caller]
fn refused(answer: (u16, Value), status: u16, words: &[&str]) {
    let (got, text) = answer;
    assert_eq!(got, status, "{text}");
    let error = text["error"].as_str().unwrap_or_else(|| panic!("no text in {text}"));
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error:?}");
    }
}

/// Waits until the server knows the sizes of nodes: before that a task that is too large is accepted and waits.
fn know_sizes(client: &Client) {
    until("sizes of nodes", || {
        let (status, answer) = changed(client, "/requirements/ram", json!(900_000));
        let Some(id) = answer["id"].as_u64().filter(|_| status == 200) else { return Some(()) };
        assert_eq!(client.ask("DELETE", &format!("/task/{id}"), &Value::Null).0, 200);
        None
    });
}

/// Submits with one part changed.
fn changed(client: &Client, part: &str, value: Value) -> (u16, Value) {
    let mut asked = body("job", "#!/bin/sh\nexit 0\n");
    *asked.pointer_mut(part).expect("a part of the body") = value;
    client.ask("POST", "/task", &asked)
}

#[test]
fn requests_that_can_not_be_met_are_refused_and_leave_nothing() {
    let site = Site::new();
    let (mut running, client) = site.up("local");
    let first = client.submit(&site.script(":", 0));
    assert_eq!(client.over(first)["status"]["exitcode"], 0);
    know_sizes(&client);
    let before = client.counts();
    let same = |what: &str| assert_eq!(client.counts(), before, "after {what}");

    let raw = |text: &[u8]| client.try_ask("POST", "/task", &[], text).expect("an answer");
    refused(raw(b"{\"meta\": {\"name\": "), 400, &["JSON"]);
    refused(raw(b"[1, 2]"), 400, &["list"]);
    refused(raw(&b"[".repeat(2000)), 400, &["nest"]);
    refused(raw(b"{\"command\": {\"cmd\": \"\xff\xfe\"}}"), 400, &["JSON"]);
    refused(raw(b""), 400, &["meta.name"]);
    same("bodies that are no task");

    let needs = |key: &str, value: Value| {
        let mut all = json!({"cpu": 1, "ram": 1});
        all[key] = value;
        changed(&client, "/requirements", all)
    };
    refused(needs("ram", json!(900_000)), 400, &["requirements", "fit on no node"]);
    refused(needs("ram", json!("much")), 400, &["requirements.ram"]);
    refused(needs("cpu", json!(0)), 400, &["requirements.cpu"]);
    refused(needs("cpu", json!(-1)), 400, &["requirements.cpu"]);
    refused(needs("cpu", json!(1e300)), 400, &["requirements.cpu"]);
    refused(
        needs("array", json!({"values": "1:1000000000000"})),
        400,
        &["requirements.array.values", "at most"],
    );
    for bad in ["1:", "5:1", "a", "1:10:0", "1,2,3", "3%0", "1:2:3:4"] {
        refused(needs("array", json!({"values": bad})), 400, &["requirements.array.values"]);
    }
    refused(needs("tasks", json!([987_654_321])), 400, &["requirements.tasks", "987654321"]);
    refused(needs("tasks", json!(["x"])), 400, &["requirements.tasks[0]"]);
    refused(needs("executor", json!("moon")), 400, &["requirements.executor", "local"]);
    refused(needs("time_limit", json!("soon")), 400, &["requirements.time_limit"]);
    refused(changed(&client, "/command/cmd", json!("")), 400, &["command.cmd"]);
    refused(changed(&client, "/command/cmd", json!(" \n\t")), 400, &["command.cmd"]);
    refused(changed(&client, "/command/cmd", json!(7)), 400, &["command.cmd"]);
    refused(changed(&client, "/meta/name", json!("")), 400, &["meta.name"]);
    refused(changed(&client, "/meta/name", json!("x".repeat(300))), 400, &["meta.name"]);
    let script = |bytes: usize| changed(&client, "/command/cmd", json!("x".repeat(bytes)));
    refused(script((1 << 20) + 1), 400, &["command.cmd", "1048577"]);
    refused(script(40 << 20), 400, &["bytes"]);
    same("bodies with one bad part");

    for path in
        ["/task/987654321", "/task/0", "/task/x", "/task/-1", "/task/99999999999999999999999", "/task/1e3"]
    {
        refused(client.ask("GET", path, &Value::Null), 404, &["no task"]);
        refused(client.ask("DELETE", path, &Value::Null), 404, &["no task"]);
    }
    refused(client.ask("GET", &format!("/task/{first}/files/no/such"), &Value::Null), 404, &[]);
    let key = [("Idempotency-Key", "\u{1}")];
    let text = body("job", "exit 0").to_string();
    let (status, answer) = client.try_ask("POST", "/task", &key, text.as_bytes()).expect("an answer");
    assert_eq!(status, 400, "{answer}");
    same("things that are not there");

    assert!(running.has_ended().is_none());
    let last = client.submit(&site.script(":", 6));
    assert_eq!(client.over(last)["status"]["exitcode"], 6, "the service goes on");
    running.end();
}

#[test]
fn tasks_of_others_are_neither_shown_nor_touched() {
    let site = Site::new();
    let (running, client) = site.up("local");
    let stranger = client.other(&site.user("stranger", Some(4002)));
    let script =
        format!("#!/bin/sh\nwhile [ ! -e {}/go ]; do sleep 0.1; done\nexit 8\n", site.path().display());
    let task = client.submit(&script);
    client.running(task);
    let before = client.counts();
    for (method, path) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/status"),
        ("GET", "/log"),
        ("GET", "/files"),
        ("GET", "/files/god.log"),
        ("POST", "/suspend"),
        ("POST", "/reschedule"),
    ] {
        let (status, answer) = stranger.ask(method, &format!("/task/{task}{path}"), &Value::Null);
        assert!([403, 404].contains(&status), "{method} {path}: {status} {answer}");
        assert!(!answer.to_string().contains("sleep"), "{answer}");
    }
    let mut asked = body("job", "exit 0\n");
    asked["requirements"]["tasks"] = json!([task]);
    refused(stranger.ask("POST", "/task", &asked), 400, &["requirements.tasks", &task.to_string()]);
    let mut asked = body("job", "exit 0\n");
    asked["user"] = json!({"id": site.worker().0});
    refused(stranger.ask("POST", "/task", &asked), 403, &["another user"]);
    let nobody = client.anonymous();
    assert_eq!(nobody.ask("GET", &format!("/task/{task}"), &Value::Null).0, 401);
    assert_eq!(nobody.ask("POST", "/task", &body("job", "exit 0\n")).0, 401);
    assert_eq!(client.counts(), before);
    assert_eq!(client.task(task)["status"]["primary"], "running");

    fs::write(site.path().join("go"), "").expect("our directory");
    assert_eq!(client.over(task)["status"]["exitcode"], 8);
    running.end();
}

#[test]
fn the_command_line_client_says_what_is_wrong_with_a_script() {
    let site = Site::new();
    let (running, client) = site.up("local");
    let (user, key) = site.worker();
    let cli = |arguments: &[&str]| -> Output {
        let mut command = site.command("go-d-cli");
        command.env("GODOCKER_SERVER", format!("http://{}", client.server()));
        command.env("GODOCKER_USER", &user).env("GODOCKER_APIKEY", &key);
        command.args(arguments).output().expect("a program of ours")
    };
    let path = |name: &str| site.path().join(name).to_str().expect("plain names").to_owned();
    fs::write(path("good.sh"), "#!/bin/sh\nexit 0\n").expect("our directory");
    fs::write(path("empty.sh"), "").expect("our directory");
    fs::write(path("latin.sh"), b"#!/bin/sh\necho \xe9t\xe9\n").expect("our directory");
    fs::write(path("program"), [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0xff, 0xfe]).expect("our directory");
    fs::write(path("secret.sh"), "#!/bin/sh\n").expect("our directory");
    fs::set_permissions(path("secret.sh"), PermissionsExt::from_mode(0o000)).expect("our file");

    know_sizes(&client);
    let before = client.counts();
    let complains = |arguments: &[&str], words: &[&str]| {
        let output = cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {} {said}", output.status);
        for word in words {
            assert!(said.contains(word), "{arguments:?}: {word:?} is not in {said:?}");
        }
        assert_eq!(client.counts(), before, "{arguments:?} left something");
    };
    complains(&["submit", &path("empty.sh")], &["empty"]);
    complains(&["submit", &path("latin.sh")], &["latin.sh", "UTF-8"]);
    complains(&["submit", &path("program")], &["program"]);
    complains(&["submit", &path("missing.sh")], &["missing.sh"]);
    complains(&["submit", site.path().to_str().expect("plain names")], &["directory"]);
    // Root reads everything.
    if !nix::unistd::Uid::effective().is_root() {
        complains(&["submit", &path("secret.sh")], &["secret.sh", "ermission"]);
    }
    complains(&["submit", "--array", "5:1", &path("good.sh")], &["--array"]);
    complains(&["submit", "--ram", "900000", &path("good.sh")], &["requirements", "fit on no node"]);
    complains(&["submit", "--after", "987654321", &path("good.sh")], &["987654321"]);
    complains(&["kill", "987654321"], &["987654321"]);
    complains(&["show", "x"], &["x"]);

    let output = cli(&["submit", "--wait", &path("good.sh")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    running.end();
}
