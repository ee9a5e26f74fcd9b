use crate::client::Account;
use crate::fake::{Answer, Fake, KEY};
use serde_json::{Value, json};
use std::fs;

fn added() -> Answer {
    Answer::json(&json!({"msg": "Task added", "id": 42}))
}

fn offers(seen_images: Value) -> Fake {
    Fake::start(move |seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": seen_images})),
        "POST /task" => added(),
        "GET /task/7" => {
            Answer::json(&json!({"requirements": {"array": {"values": "1:3", "tasks": [8, 9, 10]}}}))
        }
        _ => Answer::missing(),
    })
}

#[test]
fn every_option_reaches_the_body() {
    let server = offers(json!([]));
    let account = Account::at(&server);
    fs::write(account.home.path().join("align.sh"), "#!/bin/bash\necho é\n").expect("written");
    let line = "submit align.sh --image debian:12 --cpu 4 --ram 8 --gpus 1 --array 1:9:2%3 --after-ok 3,5-6 \
                --after-ok 7_2 --label a==b --label c==d --volume home --volume data:rw --project sea --tag t1 --tag t2 \
                --executor docker:fast --time-limit 12h --output-none --root --tmpstorage 10g --notify \
                --description words";
    let done = account.run(&line.split_whitespace().collect::<Vec<_>>()).with(0);
    assert_eq!(done.out(), "Task added. Job id is 42\n");
    assert_eq!(done.err, "");
    let sent = server.request("POST /task");
    assert_eq!(
        sent.json(),
        json!({
            "user": {"project": "sea"},
            "meta": {"name": "align.sh", "description": "words", "tags": ["t1", "t2"]},
            "requirements": {"cpu": 4, "ram": 8, "gpus": 1, "array": {"values": "1:9:2%3"},
                "tasks": [3, 5, 6, 9], "after_policy": "ok", "label": ["a==b", "c==d"],
                "executor": "docker:fast", "time_limit": "12h", "output": "none", "tmpstorage": {"size": "10g"}},
            "container": {"image": "debian:12", "root": true,
                "volumes": [{"name": "home", "acl": "ro"}, {"name": "data", "acl": "rw"}]},
            "command": {"interactive": false, "cmd": "#!/bin/bash\necho é\n"},
            "notify": {"email": true},
        })
    );
    assert_eq!(sent.headers["content-type"], "application/json");
    assert_eq!(sent.headers["idempotency-key"].len(), 32);
    assert!(!server.lines().contains(&"GET /config".to_owned()), "the image was given");
}

#[test]
fn the_default_image_is_the_servers() {
    let images = json!([
        {"name": "a", "url": "a:1", "interactive": true},
        {"name": "b", "url": "b:1", "interactive": false, "default": true},
        {"name": "c", "url": "c:1", "interactive": true, "default": true},
    ]);
    let server = offers(images);
    let account = Account::at(&server);
    account.run(&["submit", "--cmd", "true"]).with(0);
    assert_eq!(server.request("POST /task").json()["container"]["image"], "b:1");
    account.run(&["submit", "--interactive"]).with(0);
    let sent = server.seen().last().expect("sent").json();
    assert_eq!(sent["container"]["image"], "c:1");
    assert_eq!(sent["command"], json!({"interactive": true, "cmd": ""}));
    assert_eq!(sent["meta"]["name"], "interactive");
}

#[test]
fn scripts_from_standard_input_and_what_is_printed() {
    let server = offers(json!([]));
    let account = Account::at(&server);
    let done = account.run_with_input(&["submit", "-", "--quiet"], b"#!/bin/sh\ntrue\n").with(0);
    assert_eq!(done.out(), "42\n");
    let sent = server.request("POST /task").json();
    assert_eq!(sent["command"]["cmd"], "#!/bin/sh\ntrue\n");
    assert_eq!(sent["meta"]["name"], "stdin");
    assert_eq!(sent["container"], json!({"volumes": [], "root": false}));
    let done = account.run(&["submit", "--cmd", "true", "--output", "json"]).with(0);
    let answer: Value = serde_json::from_str(done.out()).expect("JSON");
    assert_eq!(answer, json!({"msg": "Task added", "id": 42}));
}

#[test]
fn what_is_no_script_is_not_sent() {
    let server = offers(json!([]));
    let account = Account::at(&server);
    fs::write(account.home.path().join("a.out"), b"\x7fELF\xff").expect("written");
    account.run(&["submit", "a.out"]).with(1).says(&["a.out is no UTF-8 text", "line 1, byte 4"]);
    account.run(&["submit", "gone.sh"]).with(1).says(&["cannot read gone.sh", "No such file"]);
    account.run(&["submit", "--cmd", "  "]).with(1).says(&["is empty"]);
    account.run(&["submit"]).with(2);
    assert_eq!(server.lines(), [""; 0]);
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let server = Fake::start(|seen, before| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        "POST /task" if before == 0 => {
            Answer::raw(200, "application/json", vec![b"{\"msg\"".to_vec()]).breaking()
        }
        "POST /task" => added(),
        _ => Answer::missing(),
    });
    let done = Account::at(&server).run(&["submit", "--cmd", "true"]).with(0).says(&["asking again"]);
    assert_eq!(done.out(), "Task added. Job id is 42\n");
    let sent: Vec<_> = server.seen().into_iter().filter(|seen| seen.line() == "POST /task").collect();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].headers["idempotency-key"], sent[1].headers["idempotency-key"]);
    assert_eq!(sent[0].json(), sent[1].json());
    // Another submit is another task.
    Account::at(&server).run(&["submit", "--cmd", "true"]).with(0);
    let last = server.seen().last().expect("sent").headers["idempotency-key"].clone();
    assert_ne!(last, sent[0].headers["idempotency-key"]);
}

#[test]
fn an_answer_that_stays_lost_ends_in_doubt() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        _ => Answer::raw(200, "application/json", vec![b"{".to_vec()]).breaking(),
    });
    let done = Account::at(&server).run(&["submit", "--cmd", "true"]).with(5);
    done.says(&["Whether the task was added is not known", "go-d-cli list"]);
    assert_eq!(server.lines().iter().filter(|line| *line == "POST /task").count(), 4);
}

#[test]
fn the_servers_refusal_is_shown_and_harmless() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        _ => Answer::status(
            400,
            &json!({"error": "container.image: \"\x1b[31mx\x07\"\nrequirements.cpu: too many"}),
        ),
    });
    let done = Account::at(&server).run(&["submit", "--cmd", "true"]).with(1);
    assert_eq!(
        done.err,
        "go-d-cli: submitting the task: container.image: \"x\"\n  requirements.cpu: too many\n"
    );
    assert!(!done.err.contains(KEY));
}
