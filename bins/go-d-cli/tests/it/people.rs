use crate::client::Account;
use crate::fake::{Answer, Fake, KEY};
use serde_json::{Value, json};

fn user(id: &str) -> Value {
    json!({"id": id, "uid": 1001, "gid": 100, "sgids": [5, 6], "email": "a@b", "homeDirectory": "/home/ada",
        "admin": true, "credentials": {"apikey": KEY, "private": KEY, "public": "ssh-ed25519 x"}, "apikey": KEY,
        "usage": {"prio": 50, "quota_time": 0, "quota_cpu": 4, "quota_ram": 8, "disk": 2048}})
}

fn project() -> Value {
    json!({"id": "sea", "description": "the sea", "prio": 60, "members": ["ada", "bob"], "quota_time": 0, "quota_cpu": 0,
        "quota_ram": 0, "volumes": [{"name": "data", "path": "/data", "mount": "/data", "acl": "ro"}]})
}

fn server() -> Fake {
    Fake::start(|seen, _| match seen.line().as_str() {
        "PUT /user/ada" => {
            let mut user = user("ada");
            user["usage"] = seen.json()["usage"].clone();
            Answer::json(&user)
        }
        "GET /user/ada" => Answer::json(&user("ada")),
        "GET /user/eve" | "PUT /user/eve" => Answer::json(&user("eve")),
        "GET /user" => Answer::json(&json!([user("ada"), user("bob")])),
        "GET /user/ada/project" => Answer::json(&json!([{"id": "default", "prio": 50}, project()])),
        "GET /project" => Answer::json(&json!([project()])),
        "GET /user/ada/usage" | "GET /project/sea/usage" => {
            Answer::json(&json!([{"date": "2026_1_2", "cpu": 3, "ram": 6, "time": 90.5}]))
        }
        "GET /project/sea" | "POST /project/sea" | "POST /project" => Answer::json(&project()),
        "DELETE /project/sea" | "DELETE /project/sea/quota" | "DELETE /user/bob" => {
            Answer::json(&json!({"msg": "gone"}))
        }
        "GET /project/odd" => Answer::json(&json!([])),
        _ => Answer::missing(),
    })
}

#[test]
fn a3_no_command_shows_a_key() {
    let server = server();
    let account = Account::at(&server);
    for line in ["user show", "user list", "user show ada", "whoami", "user update ada --prio 5"] {
        for format in ["table", "plain", "json"] {
            let line = format!("{line} --output {format}");
            let done = account.run(&line.split(' ').collect::<Vec<_>>()).with(0);
            assert!(!done.out().contains(KEY) && !done.err.contains(KEY), "{line}: {}", done.out());
        }
    }
}

#[test]
fn users_are_shown_and_changed() {
    let server = server();
    let account = Account::at(&server);
    let shown = account.run(&["user", "show"]).with(0);
    assert!(
        shown.out().contains("groups\t5,6\n") && shown.out().contains("quota of cores\t4\n"),
        "{}",
        shown.out()
    );
    assert_eq!(account.run(&["user", "list", "-q"]).with(0).out(), "ada\nbob\n");
    assert_eq!(account.run(&["user", "usage"]).with(0).out(), "2026_1_2\t3\t6\t90.5\n");
    account.run(&["user", "update", "ada", "--prio", "70", "--quota-ram", "0"]).with(0);
    let sent = server.request("PUT /user/ada").json();
    let want = json!({"prio": 70, "quota_time": 0, "quota_cpu": 4, "quota_ram": 0, "disk": 2048});
    assert_eq!(sent, json!({"id": "ada", "usage": want}));
    account.run(&["user", "update", "eve", "--prio", "70"]).with(4).says(&["prio stays 50"]);
    account.run(&["user", "update", "ada"]).with(1).says(&["nothing to change"]);
    account.run(&["user", "update", "ada", "--prio", "101"]).with(2);
    account.run(&["user", "remove", "bob"]).with(1).says(&["--yes"]);
    assert_eq!(account.run(&["user", "remove", "bob", "--yes"]).with(0).out(), "user bob: gone\n");
}

#[test]
fn projects_are_shown_and_changed() {
    let server = server();
    let account = Account::at(&server);
    let run = |line: &str| account.run(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(run("project list").with(0).out(), "default\t50\t-\t-\nsea\t60\tada,bob\tthe sea\n");
    assert_eq!(run("project list --all -q").with(0).out(), "sea\n");
    assert!(run("project show sea").with(0).out().contains("volumes\tdata:ro /data at /data\n"));
    run("project create tide --member ada,bob --prio 20 --quota-cpu 9").with(0);
    let want = json!({"id": "tide", "description": "", "prio": 20, "members": ["ada", "bob"], "quota_time": 0,
        "quota_cpu": 9, "quota_ram": 0});
    assert_eq!(server.request("POST /project").json(), want);
    let changed = |line: &str| {
        assert_eq!(run(line).with(0).out(), "project sea: done\n");
        server.seen().iter().rfind(|seen| seen.line() == "POST /project/sea").expect("sent").json()
    };
    assert_eq!(changed("project add-member sea eve ada")["members"], json!(["ada", "bob", "eve"]));
    assert_eq!(changed("project remove-member sea ada")["members"], json!(["bob"]));
    let sent = changed("project add-volume sea data /new --rw");
    assert_eq!(sent["volumes"], json!([{"name": "data", "path": "/new", "mount": "/new", "acl": "rw"}]));
    assert_eq!(changed("project remove-volume sea data")["volumes"], json!([]));
    let mut want = project();
    want["description"] = "deep".into();
    assert_eq!(changed("project update sea --description deep"), want, "the rest stays as it is");
    run("project remove-member sea eve").with(1).says(&["its members are ada, bob"]);
    run("project remove-volume sea x").with(1).says(&["it has data"]);
    run("project show none").with(1).says(&["reading project none"]);
    run("project add-member odd eve").with(1).says(&["no project"]);
    run("project delete sea").with(1).says(&["--yes"]);
    assert_eq!(run("project delete sea --yes").with(0).out(), "project sea: gone\n");
    assert_eq!(run("project reset-quota sea").with(0).out(), "what project sea has used: gone\n");
}
