use crate::client::{Account, finish};
use crate::fake::{Answer, Fake, KEY};
use serde_json::json;

/// An address on which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn a_refused_connection_names_the_address_and_what_to_do() {
    let url = nobody();
    let account =
        Account::new().set("GODOCKER_SERVER", &url).set("GODOCKER_USER", "a").set("GODOCKER_APIKEY", KEY);
    for line in [
        &["list"][..],
        &["submit", "--cmd", "true", "--wait"],
        &["wait", "1"],
        &["logs", "-f", "1"],
        &["config"],
    ] {
        let done = account.run(line).with(5).says(&[&url, "connection refused", "go-d up"]);
        assert_eq!(done.err.lines().count(), 1, "{}", done.err);
        assert_eq!(done.out(), "");
    }
}

#[test]
fn several_tasks_are_given_up_when_the_server_is_not_there() {
    let url = nobody();
    let account =
        Account::new().set("GODOCKER_SERVER", &url).set("GODOCKER_USER", "a").set("GODOCKER_APIKEY", KEY);
    let done = account.run(&["kill", "1-1000"]).with(5);
    assert_eq!(done.err.lines().count(), 1, "{}", done.err);
}

#[test]
fn a_host_that_is_not_known() {
    let account = Account::new().set("GODOCKER_SERVER", "http://no-such-host.invalid:6543");
    let account = account.set("GODOCKER_USER", "a").set("GODOCKER_APIKEY", KEY);
    account.run(&["list"]).with(5).says(&["no-such-host.invalid"]);
}

#[test]
fn an_address_that_is_none() {
    let account = Account::new();
    account.run(&["config", "--server", "localhost:6543"]).with(1).says(&["http:// or https://"]);
    let done = account.run(&["config", "--server", "http://u:hidden@h"]).with(1);
    assert!(!done.err.contains("hidden"), "{}", done.err);
}

#[test]
fn what_is_no_go_docker_server() {
    let server = Fake::start(|_, _| Answer::raw(200, "text/html", vec![b"<html>Welcome</html>".to_vec()]));
    Account::at(&server).run(&["list"]).with(1).says(&["/api/2/tasks", "Is it a GO-Docker server?"]);
}

#[test]
fn statuses_have_words() {
    let server = Fake::start(|seen, _| match seen.path.as_str() {
        "/api/1.0/task/1" => Answer::status(403, &json!({"error": "not yours"})),
        "/api/1.0/task/2" => Answer::raw(500, "text/html", vec![b"<html>stack</html>".to_vec()]),
        "/api/1.0/task/3" => Answer::raw(500, "text/plain", vec![b"plain \x1b[31mwords".to_vec()]),
        "/api/1.0/task/4" => Answer::raw(503, "text/html", vec![]),
        "/api/1.0/task/5" => Answer::raw(404, "text/html", vec![]),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    account.run(&["show", "1"]).with(4).says(&["reading task 1: the server refuses: not yours"]);
    let done = account.run(&["show", "2"]).with(1).says(&["500 Internal Server Error"]);
    assert!(!done.err.contains("stack"), "a page is not shown: {}", done.err);
    assert_eq!(account.run(&["show", "3"]).with(1).err, "go-d-cli: reading task 3: plain words\n");
    account.run(&["show", "4"]).with(5).says(&["503", "Try again later"]);
    account.run(&["show", "5"]).with(1).says(&["reading task 5: there is no such thing"]);
}

#[test]
fn a_redirect_is_named_and_never_followed() {
    let other = Fake::start(|_, _| Answer::json(&json!([])));
    let to = format!("{}/api/1.0/task/active", other.url);
    let server = Fake::start(move |_, _| Answer::raw(307, "text/plain", vec![]).header("location", &to));
    Account::at(&server).run(&["list"]).with(1).says(&["sends us to", &other.url]);
    assert_eq!(other.seen().len(), 0, "neither key nor token went there");
}

#[test]
fn a_reader_that_goes_away_ends_us_quietly() {
    let tasks: Vec<_> = (1..20_000).map(|id| json!({"id": id, "name": "x", "state": "running"})).collect();
    let server = Fake::start(move |_, _| Answer::json(&json!({"tasks": tasks, "next": null})));
    let account = Account::at(&server);
    for line in
        [&["list"][..], &["list", "-q"], &["list", "--output", "json"], &["list", "--output", "table"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = account.command(line);
        let done = command.stdout(writer).output().expect("runs");
        assert_eq!((done.status.code(), done.stderr), (Some(0), Vec::new()), "{line:?}");
    }
    finish(account.command(&["list", "-q"]).spawn().expect("starts")).with(0);
}

#[test]
fn no_output_shows_a_key_or_a_token() {
    let server = Fake::start(|_, _| Answer::status(500, &json!({"error": "x"})));
    let account = Account::at(&server);
    for line in [&["list"][..], &["whoami"], &["submit", "--cmd", "x"], &["--help"], &["login", "--help"]] {
        let done = account.run(line);
        let all = format!("{}{}", done.out(), done.err);
        assert!(!all.contains(KEY) && !all.contains("token."), "{all}");
    }
}
