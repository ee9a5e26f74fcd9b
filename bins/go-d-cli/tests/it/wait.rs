use crate::client::{Account, finish};
use crate::fake::{Answer, Fake};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

fn over(status: &Value) -> Answer {
    let mut status = status.clone();
    status["primary"] = "over".into();
    Answer::json(&json!({"id": 42, "status": status}))
}

/// Submits work, and tasks end as `status` says.
fn ends(status: Value) -> Fake {
    Fake::start(move |seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        "POST /task" => Answer::json(&json!({"msg": "Task added", "id": 42})),
        "GET /task/42/wait?timeout=50" => over(&status),
        _ => Answer::missing(),
    })
}

#[test]
fn the_exit_code_of_the_job_is_passed_on() {
    for (code, want) in [(0, 0), (7, 7), (137, 137), (255, 255), (256, 1)] {
        let server = ends(json!({"exitcode": code, "secondary": ""}));
        let done = Account::at(&server).run(&["submit", "--cmd", "true", "--wait"]).with(want);
        assert_eq!(done.out(), "Task added. Job id is 42\n");
        assert_eq!(done.err, "");
    }
}

#[test]
fn a_job_without_an_exit_code_ends_with_3_and_the_reason() {
    let server =
        ends(json!({"exitcode": null, "secondary": "quota reached", "reason": "time\x1b[2J used up"}));
    let done = Account::at(&server).run(&["submit", "--cmd", "true", "--wait", "-q"]).with(3);
    assert_eq!(done.err, "go-d-cli: task 42 ended without an exit code: time used up\n");
    assert_eq!(done.out(), "42\n");
}

#[test]
fn waiting_asks_until_it_is_over_and_survives_a_server_that_goes_away() {
    let server = Fake::start(|seen, before| match (seen.path.as_str(), before) {
        ("/api/1.0/task/5/wait", 0) => Answer::json(&json!({"id": 5, "status": {"primary": "running"}})),
        ("/api/1.0/task/5/wait", 1) => Answer::raw(200, "application/json", vec![b"{".to_vec()]).breaking(),
        ("/api/1.0/task/5/wait", 2) => Answer::raw(502, "text/html", vec![b"<html>".to_vec()]),
        ("/api/1.0/task/5/wait", 3) => over(&json!({"exitcode": 9})),
        _ => Answer::missing(),
    });
    let done = Account::at(&server).run(&["wait", "5"]).with(9).says(&["trying on"]);
    assert_eq!(done.out(), "task 5 is over, exit code 9\n");
    assert_eq!(done.err.matches("trying on").count(), 1, "one line for one absence: {}", done.err);
    assert_eq!(server.lines().len(), 4);
}

#[test]
fn a_server_that_never_answered_is_not_waited_for() {
    let server = Fake::start(|_, _| Answer::raw(200, "application/json", vec![]).breaking());
    Account::at(&server).run(&["wait", "5"]).with(5);
}

#[test]
fn several_tasks_end_with_the_first_failure_in_the_order_given() {
    let server = Fake::start(|seen, _| match seen.path.as_str() {
        "/api/1.0/task/1/wait" => over(&json!({"exitcode": 0})),
        "/api/1.0/task/2/wait" => over(&json!({"exitcode": null, "secondary": "rejected by scheduler"})),
        "/api/1.0/task/3/wait" => over(&json!({"exitcode": 4})),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let done = account.run(&["wait", "3,1-2"]).with(4);
    assert_eq!(done.out(), "task 3 is over, exit code 4\ntask 1 is over, exit code 0\n");
    assert_eq!(done.err, "go-d-cli: task 2 ended without an exit code: rejected by scheduler\n");
    account.run(&["wait", "1-3"]).with(3);
    assert_eq!(account.run(&["wait", "1", "1", "--quiet"]).with(0).out(), "");
    let json = account.run(&["wait", "1", "--output", "json"]).with(0);
    let answers: Value = serde_json::from_str(json.out()).expect("JSON");
    assert_eq!(answers[0]["status"]["exitcode"], 0);
    account.run(&["wait", "1,9,3"]).with(1).says(&["waiting for task 9: there is nothing", "1 of 3 failed"]);
}

#[test]
fn ctrl_c_while_waiting_says_that_the_job_goes_on() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        "POST /task" => Answer::json(&json!({"msg": "Task added", "id": 42})),
        _ => Answer::json(&json!({"id": 42, "status": {"primary": "running"}})),
    });
    let account = Account::at(&server);
    let mut child = account
        .command(&["submit", "--cmd", "true", "--wait"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    out.read_line(&mut line).expect("said");
    // It asks again only after the first answer, so by then it listens for signals.
    let begun = std::time::Instant::now();
    while server.lines().len() < 4 {
        assert!(begun.elapsed().as_secs() < 60, "{:?}", server.lines());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    child.stdout = Some(out.into_inner());
    finish(child).with(130).says(&["task 42 goes on", "go-d-cli kill 42"]);
}
