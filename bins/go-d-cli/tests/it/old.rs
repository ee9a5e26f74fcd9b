//! The program under its older names: what scripts rely on, and what they never should have had to.

use crate::client::{Account, Ended, finish};
use crate::fake::{Answer, Fake, KEY};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

/// Calls the program by another name.
fn call(account: &Account, name: &str, args: &[&str]) -> Ended {
    let link = account.home.path().join(name);
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_go-d-cli"), &link).expect("linked");
    }
    let mut command: Command = account.command(args);
    let mut other = Command::new(&link);
    other.args(args).env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    other.current_dir(account.home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command = other;
    finish(command.spawn().expect("the program starts"))
}

fn task(id: u64) -> Value {
    json!({"id": id, "date": 1466000000.0, "user": {"id": "ada", "project": "default"},
        "meta": {"name": "al\x1b]0;owned\x07ign <b>", "description": "", "tags": ["t"]},
        "requirements": {"cpu": 1, "ram": 2}, "command": {"interactive": true},
        "container": {"image": "debian:12", "root": false, "ports": ["10022"],
            "meta": {"Node": {"Name": "node-1"}, "State": {"ExitCode": 0}}},
        "status": {"primary": if id == 9 { "running" } else { "over" }, "secondary": "", "exitcode": 0,
            "date_running": 1466000001.0, "date_over": 1466000002.0}})
}

fn server() -> Fake {
    Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({
            "images": [{"name": "deb", "url": "debian:12", "interactive": true, "default": true}],
            "volumes": [{"name": "home", "acl": "rw"}, {"name": "bank", "acl": "ro"}]})),
        "GET /image" => Answer::json(&json!(["used:1"])),
        "POST /task" => Answer::json(&json!({"msg": "Task added", "id": 42})),
        "GET /task/42/wait?timeout=50" => {
            Answer::json(&json!({"status": {"primary": "over", "exitcode": 3, "date_over": 1.0}}))
        }
        "GET /task/7" => Answer::json(&task(7)),
        "GET /task/9" => Answer::json(&task(9)),
        "GET /task/active" => Answer::json(&json!([task(9)])),
        "POST /task/over/0/100" | "POST /task/over/0/0" => Answer::json(&json!([task(7)])),
        "PUT /task/7" => Answer::json(&json!({"msg": "changed"})),
        "GET /task/7/files/" => Answer::json(&json!([{"name": "god.log", "type": "file", "size": 3},
            {"name": "sub", "type": "dir", "size": 4096}])),
        "GET /task/7/files/god.log" | "GET /task/7/files/sub/out.tgz" => {
            Answer::raw(200, "application/octet-stream", vec![b"log".to_vec()])
        }
        "DELETE /task/7"
        | "GET /task/7/archive"
        | "DELETE /task/7/archive"
        | "POST /task/7/suspend"
        | "DELETE /user/ada/task"
        | "DELETE /user/ada/task?tag=t"
        | "GET /archive/30"
        | "DELETE /archive/30?tag=t" => Answer::json(&json!({"msg": "noted"})),
        "GET /user/ada" => {
            Answer::json(&json!({"id": "ada", "uid": 1, "gid": 1, "email": "", "homeDirectory": "/h",
            "credentials": {"apikey": KEY, "private": KEY}}))
        }
        "GET /user/ada/project" => Answer::json(&json!([{"id": "default", "prio": 50}])),
        "GET /user" => Answer::json(&json!([{"id": "ada", "email": "", "homeDirectory": "/h",
            "credentials": {"apikey": KEY}}])),
        "GET /project/sea" | "POST /project/sea" | "POST /project" => Answer::json(
            &json!({"id": "sea", "description": "", "prio": 50, "members": ["ada"], "volumes": []}),
        ),
        "DELETE /project/sea/quota" => Answer::json(&json!({"msg": "reset"})),
        _ => Answer::missing(),
    })
}

#[test]
fn a3_a_login_is_silent_and_its_file_private() {
    let server = server();
    let account = Account::new();
    let args = ["-a", KEY, "-l", "ada", "-s", &server.url, "--no-certificate"];
    let done = call(&account, "godlogin", &args).with(0);
    assert_eq!((done.out(), done.err.as_str()), ("", ""), "scripts take any word for an error");
    let path = account.home.path().join(".godocker_auth");
    assert_eq!(fs::metadata(&path).expect("written").permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("read");
    assert_eq!(text.lines().count(), 1, "{text}");
    let saved: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(saved, json!({"user": "ada", "apikey": KEY, "server": server.url, "noCert": true}));
    // Both kinds of names now work, and neither shows the key.
    let done = call(&account, "goduser", &["show"]).with(0);
    assert!(done.out().contains("ada") && !done.out().contains(KEY), "{}", done.out());
    assert!(!call(&account, "goduser", &["list"]).with(0).out().contains(KEY));
    account.run(&["whoami"]).with(0);

    let wrong = ["-a", "WRONG", "-l", "ada", "-s", &server.url];
    let done = call(&account, "godlogin", &wrong).with(4);
    assert!(
        done.out().contains("does not accept the API key"),
        "errors are where scripts look: {}",
        done.out()
    );
    assert_eq!(fs::read_to_string(&path).expect("read"), text, "the login before stays");
}

#[test]
fn the_older_file_stands_first_under_an_older_name() {
    let server = server();
    let account = Account::new().set("GODOCKER_APIKEY", KEY).set("GODOCKER_USER", "eve");
    account.run(&["login", "--server", &server.url]).with(0);
    let account = account.plain();
    call(&account, "godlogin", &["-a", KEY, "-l", "ada", "-s", &server.url]).with(0);
    let login = |n: usize| {
        let logins: Vec<Value> = server
            .seen()
            .iter()
            .filter(|seen| seen.path.ends_with("/authenticate"))
            .map(|s| s.json())
            .collect();
        logins[n]["user"].clone()
    };
    call(&account, "godproject", &["list"]).with(0);
    assert_eq!(server.lines().last().map(String::as_str), Some("GET /user/ada/project"));
    account.run(&["project", "list"]).with(1);
    assert_eq!(server.lines().last().map(String::as_str), Some("GET /user/eve/project"));
    assert_eq!((login(0), login(1)), (json!("eve"), json!("ada")));
    let done = account.run(&["logout"]).with(0);
    assert!(done.out().contains("login.json") && done.out().contains(".godocker_auth"), "{}", done.out());
    account.run(&["count"]).with(4).says(&["not logged in"]);
}

#[test]
fn create_says_what_scripts_cut_and_sends_what_the_older_one_sent() {
    let server = server();
    let account = Account::at(&server);
    fs::write(account.home.path().join("run.sh"), "#!/bin/bash\n#GOD --cpu 9\necho hi\n").expect("written");
    let line = "create -n align -d words -t a,b -c 4 -r 8 -i debian:12 -s run.sh -v home -v bank --parent 3,4, \
                --array 2:8:3 --retry 2 --placement docker --gpus 1 --port 80 --tmp_storage 10g --label a==b -p sea";
    let done = call(&account, "godjob", &line.split_whitespace().collect::<Vec<_>>()).with(0);
    assert_eq!((done.out(), done.err.as_str()), ("Task added. Job id is 42\n", ""));
    let sent = server.request("POST /task").json();
    assert_eq!(
        sent,
        json!({
            "user": {"project": "sea"},
            "meta": {"name": "align", "description": "words", "tags": ["a", "b"]},
            "requirements": {"cpu": 4, "ram": 8, "gpus": 1, "array": {"values": "2:8:3"}, "label": ["a==b"],
                "tasks": [3, 4], "executor": "docker", "failure_policy": 2, "ports": [80], "tmpstorage": {"size": "10g"}},
            "container": {"image": "debian:12", "root": false,
                "volumes": [{"name": "home", "acl": "rw"}, {"name": "bank", "acl": "ro"}]},
            "command": {"interactive": false, "cmd": "#!/bin/bash\n#GOD --cpu 9\necho hi\n"},
            "notify": {"email": false},
        }),
        "a line for the new command is none here"
    );
    let done = call(&account, "godjob.py", &["create", "-n", "x", "--cmd", "exit 3", "--wait"]).with(3);
    assert_eq!(done.out(), "Task added. Job id is 42\n");
    for (args, want) in [
        (&["create", "-n", "x", "--cmd", "y", "-i", "debain:12"][..], "did you mean \"debian:12\"?"),
        (&["create", "-n", "x"], "--script"),
        (&["create", "-n", "x", "--cmd", "y", "--parent", "a"], "--parent"),
    ] {
        let done = call(&account, "godjob", args).with(1);
        assert!(done.out().contains(want), "{}", done.out());
    }
    call(&account, "godjob", &["create", "-n", "x", "--cmd", "y", "-i", "any:1", "--external_image"]).with(0);
    call(&account, "godjob", &["create", "-n", "x", "--cmd", "y", "-i", "used:1"]).with(0);
    call(&account, "godjob", &["create", "--cmd", "y"]).with(2);
}

#[test]
fn b5_the_xml_that_scripts_cut_is_one_element_a_line() {
    let server = server();
    let account = Account::at(&server);
    let done = call(&account, "godjob", &["show", "--xml", "7"]).with(0);
    assert!(done.out().contains("jobs_infos"), "{}", done.out());
    let xml = fs::read_to_string(account.home.path().join("jobs_infos.xml")).expect("written");
    assert!(xml.contains("\n<primary_status>over</primary_status>\n"), "{xml}");
    assert!(xml.contains("<name>align &lt;b&gt;</name>"), "{xml}");
    let done = call(&account, "godjob", &["show", "7"]).with(0);
    assert!(done.out().contains("align <b>") && !done.out().contains('\x1b'), "{}", done.out());
}

#[test]
fn other_commands_on_tasks() {
    let server = server();
    let account = Account::at(&server);
    for (line, request) in [
        ("godjob kill 7", "DELETE /task/7"),
        ("godjob killall", "DELETE /user/ada/task"),
        ("godjob killall --tag t", "DELETE /user/ada/task?tag=t"),
        ("godjob suspend 7", "POST /task/7/suspend"),
        ("godjob archive 7", "GET /task/7/archive"),
        ("godjob archive 7 --purge", "DELETE /task/7/archive"),
        ("godjob archive --days 30", "GET /archive/30"),
        ("godjob archive --days 30 --tag t --purge", "DELETE /archive/30?tag=t"),
        ("godproject quota_reset sea", "DELETE /project/sea/quota"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let done = call(&account, words[0], &words[1..]).with(0);
        assert_eq!(server.lines().last().map(String::as_str), Some(request), "{line}");
        assert!(done.out().contains("noted") || done.out().contains("reset"), "{line}: {}", done.out());
    }
    let done = call(&account, "godjob", &["update", "7", "--name", "maxlifespan", "--value", "3d"]).with(0);
    assert!(done.out().contains("\"changed\""), "{}", done.out());
    assert_eq!(server.request("PUT /task/7").json(), json!({"name": "maxlifespan", "value": "3d"}));
    for (line, want) in [("list", "running"), ("list --over", "success"), ("search ^al.*ign", "debian:12")] {
        let done = call(&account, "godjob", &line.split(' ').collect::<Vec<_>>()).with(0);
        assert!(done.out().starts_with("id ") && done.out().contains(want), "{line}: {}", done.out());
        assert!(!done.out().contains('\x1b'));
    }
    let done = call(&account, "godjob", &["kill", "5"]).with(1);
    assert!(done.out().starts_with("Not Found: killing task 5"), "{}", done.out());
}

#[test]
fn files_images_sessions_and_projects() {
    let server = server();
    let account = Account::at(&server);
    let done = call(&account, "godfile", &["list", "7"]).with(0);
    assert!(done.out().contains("god.log") && done.out().contains("dir"), "{}", done.out());
    for _ in 0..2 {
        assert_eq!(call(&account, "godfile", &["download", "7"]).with(0).out(), "");
        assert_eq!(fs::read_to_string(account.home.path().join("god.log")).expect("fetched"), "log");
    }
    call(&account, "godfile", &["download", "7", "sub/out.tgz"]).with(0);
    assert!(account.home.path().join("out.tgz").exists());
    let done = call(&account, "godfile", &["download", "7", "none"]).with(1);
    assert!(done.out().starts_with("Not Found"), "{}", done.out());
    let done = call(&account, "godimage", &["list"]).with(0);
    assert!(done.out().contains("debian:12") && done.out().contains("used:1"), "{}", done.out());
    assert_eq!(call(&account, "godssh", &["9"]).with(0).out(), "ssh -p 10022 ada@node-1\n");
    assert!(call(&account, "godssh", &[]).with(0).out().starts_with("9 align <b>: ssh -p 10022"));
    assert!(call(&account, "godssh", &["7"]).with(1).out().contains("it does not run"));
    call(&account, "godproject", &["addmember", "sea", "-m", "bob"]).with(0);
    let sent = server.request("POST /project/sea").json();
    assert_eq!(sent["members"], json!(["ada", "bob"]));
    call(&account, "godproject", &["volume", "sea", "--add", "-v", "d", "--path", "/d", "--acl", "rw"])
        .with(0);
    call(&account, "godproject", &["create", "sea", "--prio", "5", "--quota_cpu", "2"]).with(0);
    assert_eq!(server.request("POST /project").json()["quota_cpu"], 2);
}

#[test]
fn a_list_is_played_under_its_older_name() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        "POST /task" => Answer::json(&json!({"msg": "Task added", "id": 42})),
        line if line.starts_with("GET /task/42/wait") => {
            Answer::json(&json!({"status": {"primary": "over", "exitcode": 0}}))
        }
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    fs::write(account.home.path().join("l.txt"), "--cmd true --name one\n").expect("written");
    call(&account, "godbatch", &["play", "l.txt", "--parallel", "2"]).with(0);
    assert_eq!(server.request("POST /task").json()["meta"]["tags"], json!(["batch:l"]));
}

#[test]
fn completions_pages_and_links_are_made_of_the_command_line() {
    let account = Account::new();
    for shell in ["bash", "zsh", "fish"] {
        let done = account.run(&["generate", "completions", shell]).with(0);
        assert!(done.out().contains("reschedule"), "{shell}");
        let done = account.run(&["generate", "completions", shell, "--program", "godjob"]).with(0);
        assert!(done.out().contains("killall"), "{shell}");
    }
    account.run(&["generate", "completions", "bash", "--program", "ls"]).with(1).says(&["godjob"]);
    let dir = account.home.path().join("made");
    fs::create_dir(&dir).expect("made");
    let path = dir.to_str().expect("text");
    account.run(&["generate", "man", path]).with(0);
    for page in ["go-d-cli.1", "go-d-cli-submit.1", "godjob.1", "godjob-create.1", "godproject-quota_reset.1"]
    {
        assert!(dir.join(page).exists(), "{page}");
    }
    for _ in 0..2 {
        account.run(&["generate", "links", path]).with(0);
    }
    assert!(fs::read_link(dir.join("godssh")).is_ok_and(|to| to.ends_with("go-d-cli")));
    fs::write(account.home.path().join("godjob"), "mine").expect("written");
    let home = account.home.path().to_str().expect("text").to_owned();
    account.run(&["generate", "links", &home]).with(1).says(&["godjob"]);
    assert_eq!(fs::read_to_string(account.home.path().join("godjob")).expect("read"), "mine");
}
