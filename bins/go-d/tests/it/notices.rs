//! Mail of a whole site.

use crate::site::{Client, Site, until};
use god_testkit::smtp::{Mode, Received, Sink};
use serde_json::json;
use std::fs;

fn submit(client: &Client, script: &str, more: &serde_json::Value) -> u64 {
    let mut body = json!({
        "meta": {"name": "mailed"},
        "requirements": {"cpu": 1, "ram": 1},
        "command": {"cmd": script},
        "notify": {"email": true},
    });
    body["requirements"].as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    let (status, answer) = client.ask("POST", "/task", &body);
    assert_eq!(status, 200, "{answer}");
    answer["id"].as_u64().unwrap_or_else(|| panic!("no id in {answer}"))
}

#[test]
fn owners_who_want_it_hear_of_their_tasks() {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let Some(mut sink) = runtime.block_on(Sink::start(Mode::StartTls)) else { return };
    let site = Site::new();
    let (running, _) = site.up("fake");
    running.end();
    let authority = sink.authority().expect("it has one");
    let config = fs::read_to_string(site.config()).expect("a configuration");
    let mail = format!(
        "\nemail_smtp_host: 127.0.0.1\nemail_smtp_port: {}\nemail_smtp_tls: true\nemail_smtp_ca_cert: {}\n\
         email_smtp_user: god\nemail_smtp_password: pw\nemail_from: god@example.org\n",
        sink.port(),
        authority.display()
    );
    fs::write(site.config(), config + &mail).expect("written");
    let (running, client) = site.up("fake");
    let add = ["user", "add", "ann", "--no-password", "--uid", "4001", "--gid", "4001"];
    site.said("go-d", &[&add[..], &["--email", "ann@example.org"]].concat());
    let key = site.said("go-d", &["user", "key", "ann"]).trim().to_owned();
    let ann = client.other(&("ann".to_owned(), key));

    let task = submit(&ann, "#FAKE duration=100ms exit=3\n", &json!({}));
    let array = submit(&ann, "#FAKE exit=0\n", &json!({"array": {"values": "1:3"}}));
    assert_eq!(ann.over(task)["status"]["exitcode"], 3);
    ann.over(array);
    let subjects = |received: &[Received]| {
        let mut subjects: Vec<String> =
            received.iter().map(|mail| mail.header("Subject").to_owned()).collect();
        subjects.sort();
        subjects
    };
    let expected = [
        format!("Task {task}: over"),
        format!("Task {task}: running"),
        format!("Task {array}: over"),
        format!("Task {array}: running"),
    ];
    until("four mails", || (subjects(&sink.received()) == expected).then_some(()));
    assert!(sink.received().iter().all(|mail| mail.to == ["ann@example.org"] && mail.tls));

    // Nobody waits for a mail server; what it missed it gets from the next process.
    sink.kill();
    let killed = submit(&ann, "#FAKE duration=1h\n", &json!({}));
    until("a run", || (ann.task(killed)["status"]["primary"] == "running").then_some(()));
    assert_eq!(ann.ask("DELETE", &format!("/task/{killed}"), &serde_json::Value::Null).0, 200);
    assert_eq!(ann.over(killed)["status"]["secondary"], "killed");
    running.end();
    runtime.block_on(sink.again());
    let (running, _) = site.up("fake");
    let of_killed = || {
        let all = sink.received();
        let subject = format!("Task {killed}: ");
        let of = |mail: &&Received| mail.header("Subject").starts_with(&subject);
        Some(all.iter().filter(of).cloned().collect::<Vec<_>>()).filter(|mails| mails.len() == 2)
    };
    let mails = until("the mails of the one that was killed", of_killed);
    assert!(mails.iter().any(|mail| mail.body().contains("switched to status over/killed")), "{mails:?}");
    running.end();
    assert_eq!(sink.received().len(), 6, "each once");
}
