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
    assert_eq!(
        server.lines(),
        ["GET /task/7", "GET /config", "POST /task"],
        "the configuration is read for the volumes alone"
    );
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

#[test]
fn options_may_stand_in_the_script() {
    let server = offers(json!([]));
    let account = Account::at(&server);
    let script = "#!/bin/bash\n#GOD --cpu 2 --ram 3 -t a,b\n#SBATCH --time=10 -p long\n#GOD --image debian:12\n\
                  run it\n#GOD --gpus 9\n";
    fs::write(account.home.path().join("a.sh"), script).expect("written");
    let dry = account.run(&["submit", "--dry-run", "a.sh", "--cpu", "4", "--tag", "c"]).with(0);
    assert!(server.lines().is_empty(), "nothing was sent");
    let body: Value = serde_json::from_str(dry.out()).expect("JSON");
    assert_eq!(body["requirements"], json!({"cpu": 4, "ram": 3}));
    assert_eq!(body["meta"]["tags"], json!(["a", "b", "c"]));
    assert_eq!(body["container"]["image"], "debian:12");
    assert_eq!(body["command"]["cmd"], script, "the script is sent as it stands");

    let done = account.run(&["submit", "a.sh", "--read", "sbatch"]).with(0);
    assert!(done.err.contains("a.sh, line 3: -p long has no counterpart here"), "{}", done.err);
    let sent = server.request("POST /task").json();
    assert_eq!(sent["requirements"], json!({"cpu": 2, "ram": 3, "time_limit": "600s"}));

    fs::write(account.home.path().join("bad.sh"), "#!/bin/sh\n#GOD --cpus 2\n").expect("written");
    account
        .run(&["submit", "bad.sh"])
        .with(1)
        .says(&["bad.sh, line 2: unexpected argument '--cpus'", "'--cpu'"]);
    account.run(&["submit", "bad.sh", "--read", "none", "--image", "x"]).with(0);
    account.run(&["submit", "a.sh", "--cpus", "2"]).with(2).says(&["'--cpu'"]);
}

#[test]
fn a_volume_that_nobody_offers_is_told() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": [], "volumes": [{"name": "home", "acl": "rw"}]})),
        "GET /user/ada/project" => {
            Answer::json(&json!([{"id": "default"}, {"id": "sea", "volumes": [{"name": "data"}]}]))
        }
        "POST /task" => added(),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let done = account.run(&["submit", "--cmd", "x", "-v", "home", "-v", "data"]).with(0);
    assert_eq!(done.err, "");
    let done = account.run(&["submit", "--cmd", "x", "-v", "hmoe"]).with(0);
    assert!(
        done.err.contains("no volume \"hmoe\"") && done.err.contains("did you mean \"home\""),
        "{}",
        done.err
    );
}

#[test]
fn run_shows_the_output_and_ends_with_the_code_of_the_job() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        "POST /task" => added(),
        "GET /task/42/log?stream=out&follow=1" => {
            Answer::events("event: text\nid: 3\ndata: \"hi\\n\"\n\nevent: end\ndata: \"\"\n\n")
        }
        "GET /task/42/log?stream=err&follow=1" => {
            Answer::events("event: text\nid: 4\ndata: \"bad\\n\"\n\nevent: end\ndata: \"\"\n\n")
        }
        "GET /task/42/wait?timeout=50" => {
            Answer::json(&json!({"id": 42, "status": {"primary": "over", "exitcode": 7}}))
        }
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let done = account.run(&["run", "--cpu", "2", "--", "sh", "-c", "echo 'it is'; exit 7", "--cpu"]).with(7);
    assert_eq!(done.out(), "hi\n");
    assert_eq!(done.err, "Task added. Job id is 42\nbad\n");
    let sent = server.request("POST /task").json();
    assert_eq!(sent["command"]["cmd"], "#!/bin/sh\nexec sh -c \"echo 'it is'; exit 7\" --cpu\n");
    assert_eq!(sent["meta"]["name"], "sh");
    assert_eq!(account.run(&["attach", "42"]).with(7).out(), "hi\n");
    account.run(&["run"]).with(2);
    account.run(&["run", "--array", "3", "true"]).with(1).says(&["Use submit"]);
}
