use crate::client::Account;
use crate::fake::{Answer, Fake};
use serde_json::{Value, json};

fn tasks() -> Value {
    json!([
        {"id": 60, "date": 1466000000.5, "user": {"id": "ada", "project": "default"},
         "meta": {"name": "al\x1b]0;owned\x07ign\t\u{202e}x", "tags": []},
         "requirements": {"cpu": 2, "ram": 4}, "container": {"meta": {"Node": {"Name": "node-1"}}},
         "status": {"primary": "over", "secondary": "killed", "exitcode": 137, "reason": "Max\r\nduration",
            "date_running": 1466000001.0, "date_over": 1466000062.5, "duration": 61.5}},
        {"id": 61, "date": 1466000000.0, "user": {"id": "ada", "project": "sea"}, "meta": {"name": "b", "tags": ["t"]},
         "requirements": {"cpu": 1, "ram": 1}, "container": {"meta": null},
         "status": {"primary": "pending", "secondary": null, "exitcode": null, "reason": null, "date_over": null}}
    ])
}

/// A server without the typed interface.
fn older() -> Fake {
    Fake::start(|seen, _| match seen.line().as_str() {
        "GET /task/active" | "GET /task/active?project=sea" => Answer::json(&json!([tasks()[1]])),
        "POST /task/over/0/0" => Answer::json(&json!([tasks()[0]])),
        _ => Answer::missing(),
    })
}

#[test]
fn b5_piped_columns_are_stable_and_hold_no_control_characters() {
    let server = older();
    let account = Account::at(&server);
    let all = ["list", "--state", "any"];
    let done = account.run(&all).with(0);
    assert_eq!(
        done.out(),
        "61\tada\tsea\tb\tpending\t-\t-\t1\t1\t2016-06-15T14:13:20Z\t-\t-\t-\n\
         60\tada\tdefault\talign x\tover\tkilled\t137\t2\t4\t2016-06-15T14:13:20Z\t61\tnode-1\tMax  duration\n"
    );
    assert_eq!(account.run(&[&all[..], &["-q"]].concat()).with(0).out(), "61\n60\n");
    let table = account.run(&[&all[..], &["--output", "table"]].concat()).with(0);
    let lines: Vec<&str> = table.out().lines().collect();
    assert!(lines[0].starts_with("ID  NAME     STATE    OUTCOME  CODE  CPU  RAM  SUBMITTED"), "{lines:?}");
    assert!(
        lines[2].starts_with("60  align x  over     killed   137   2    4    2016-06-15 14:13:20  1m01s"),
        "{lines:?}"
    );
    assert!(!table.out().contains('\x1b') && !table.out().contains('\r'));
    let json = account.run(&[&all[..], &["--output", "json"]].concat()).with(0);
    assert!(!json.out().contains('\x1b') && !json.out().contains('\u{202e}'));
    let json: Value = serde_json::from_str(json.out()).expect("JSON");
    assert_eq!(json[1]["name"], tasks()[0]["meta"]["name"], "a program gets the very name");
    assert_eq!(json[1]["reason"]["text"], "Max\r\nduration");
}

#[test]
fn an_older_server_is_asked_in_its_own_words() {
    let server = older();
    let account = Account::at(&server);
    assert_eq!(account.run(&["list", "-q"]).with(0).out(), "61\n");
    assert_eq!(account.run(&["list", "-q", "--over"]).with(0).out(), "60\n");
    assert_eq!(account.run(&["list", "-q", "--project", "sea"]).with(0).out(), "61\n");
    assert_eq!(account.run(&["list", "-q", "--tag", "none"]).with(0).out(), "");
    assert_eq!(account.run(&["search", "-q", "^al"]).with(0).out(), "60\n");
    let asked: Vec<String> = server.lines().into_iter().filter(|line| !line.contains("/2/tasks")).collect();
    assert_eq!(
        asked,
        [
            "GET /task/active",
            "POST /task/over/0/0",
            "GET /task/active?project=sea",
            "GET /task/active",
            "POST /task/over/0/0",
            "GET /task/active"
        ]
    );
}

fn typed(id: u64, name: &str, state: &str) -> Value {
    json!({"id": id, "parent": null, "index": null, "name": name, "user": "ada", "project": "default", "tags": ["t"],
        "state": state, "outcome": null, "exit_code": null, "reason": null, "position": id, "submitted": 1466000000.0,
        "cpu": 1, "ram": 1})
}

#[test]
fn options_of_list_are_parameters_and_pages_are_put_together() {
    let server = Fake::start(|seen, _| match (seen.path.as_str(), seen.query.contains("after=")) {
        ("/api/2/tasks", false) => Answer::json(
            &json!({"tasks": [typed(9, "b", "running"), typed(8, "c", "running")], "next": "x8"}),
        ),
        ("/api/2/tasks", true) => Answer::json(&json!({"tasks": [typed(7, "a", "running")], "next": null})),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let list = |line: &str| account.run(&line.split(' ').collect::<Vec<_>>()).with(0).out().to_owned();
    let asked = || server.lines().last().cloned().unwrap_or_default();
    assert_eq!(list("list -q --limit 2"), "9\n8\n");
    assert_eq!(asked(), "GET /2/tasks?state=pending%2Cstarting%2Crunning%2Cheld&user=ada&limit=2&sort=-id");
    assert_eq!(list("list -q"), "9\n8\n7\n");
    assert!(asked().ends_with("&limit=100&sort=-id&after=x8"), "{}", asked());
    assert_eq!(list("list -q --sort name --limit 2 --all --tag t --name a --state running"), "7\n");
    assert!(asked().starts_with("GET /2/tasks?state=running&tag=t&name=a&limit=1000"), "{}", asked());
    assert_eq!(list("list --columns name,id,position --sort -name"), "c\t8\t8\nb\t9\t9\na\t7\t7\n");
    assert_eq!(list("list -q --since 1d --older 2h --limit 1"), "9\n");
    assert!(asked().contains("&newer=86400s&older=7200s&limit=1"), "by the server's clock: {}", asked());
    assert_eq!(list("list -q --outcome failed,timed_out --no-children"), "");
    assert!(
        asked().contains("state=over%2Carchived&user=ada&outcome=failed%2Ctimed_out&children=false"),
        "{}",
        asked()
    );
    account.run(&["list", "--columns", "nmae"]).with(2).says(&["name"]);
    account.run(&["list", "--state", "runing"]).with(2).says(&["running"]);
    account.run(&["list", "--sort", "size"]).with(2).says(&["accepted are id, user"]);
    account.run(&["search", "("]).with(1).says(&["no regular expression"]);
}

#[test]
fn a_list_that_never_ends_is_not_followed_for_ever() {
    let server = Fake::start(|_, _| Answer::json(&json!({"tasks": [], "next": "again"})));
    Account::at(&server).run(&["list"]).with(1).says(&["does not go on"]);
}

#[test]
fn why_and_eff() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /2/tasks/7" => {
            let mut task = typed(7, "big", "pending");
            task["reason"] =
                json!({"code": "no_room", "text": "no node has\x1b[2J 64 cores", "numbers": {"asked": 64}});
            Answer::json(&task)
        }
        "GET /2/tasks/8" => {
            let mut task = typed(8, "done", "over");
            task["efficiency"] = json!({"cpu": 0.934, "memory": 0.25});
            task["max_rss_bytes"] = json!(1 << 28);
            Answer::json(&task)
        }
        "GET /task/60" => Answer::json(&tasks()[0]),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let why = account.run(&["why", "7"]).with(0);
    assert!(
        why.out().contains("reason\tno node has 64 cores\nkind\tno_room\nnumbers\tasked 64\n"),
        "{}",
        why.out()
    );
    let why = account.run(&["why", "60", "--output", "json"]).with(0);
    assert!(why.out().contains("\"outcome\": \"killed\""), "{}", why.out());
    account.run(&["why", "61"]).with(1).says(&["asking about task 61"]);
    let eff = account.run(&["eff", "8"]).with(0);
    assert_eq!(eff.out(), "8\tdone\tover\t-\t-\t1\t-\t0.934\t1\t268435456\t0.250\n");
    let eff = account.run(&["eff", "8,60", "--output", "table"]).with(0);
    assert!(
        eff.out().contains("93 %") && eff.out().contains("On average: cores 93 %, memory 25 %"),
        "{}",
        eff.out()
    );
}

#[test]
fn show_images_config() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /task/60" => Answer::json(&tasks()[0]),
        "GET /config" => Answer::json(&json!({"version": "1", "defaults": {"cpu": 1},
            "images": [{"name": "deb", "url": "debian:12", "interactive": true, "default": true}]})),
        "GET /image" => Answer::json(&json!(["debian:12", "alpine\u{7}:3"])),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let shown = account.run(&["show", "60"]).with(0);
    assert!(
        shown.out().contains("state\tover (killed)\nreason\tMax  duration\nexit code\t137\n"),
        "{}",
        shown.out()
    );
    account.run(&["show", "60-61"]).with(1).says(&["one task, not several"]);
    let images = account.run(&["images"]).with(0);
    assert_eq!(images.out(), "debian:12\tdeb\tyes\tyes\nalpine:3\t-\t-\t-\n");
    let config = account.run(&["config"]).with(0);
    assert!(config.out().contains("defaults.cpu\t1\nimages.0.default\ttrue\n"), "{}", config.out());
}

#[test]
fn the_configuration_needs_no_login() {
    let server = Fake::start(|_, _| Answer::json(&json!({"version": "1"})));
    let account = Account::new();
    assert_eq!(account.run(&["config", "--server", &server.url]).with(0).out(), "version\t1\n");
    assert_eq!(server.logins(), 0);
}
