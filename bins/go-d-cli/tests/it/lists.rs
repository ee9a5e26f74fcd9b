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
        {"id": 61, "date": 1466000000.0, "user": {"id": "bob", "project": "sea"}, "meta": {"name": "b"},
         "requirements": {"cpu": 1, "ram": 1}, "container": {"meta": null},
         "status": {"primary": "pending", "secondary": null, "exitcode": null, "reason": null, "date_over": null}}
    ])
}

#[test]
fn piped_columns_are_stable_and_hold_no_control_characters() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /task/active" => Answer::json(&tasks()),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let done = account.run(&["list"]).with(0);
    assert_eq!(
        done.out(),
        "60\tada\tdefault\talign x\tover\tkilled\t137\t2\t4\t2016-06-15T14:13:20Z\t61\tnode-1\tMax  duration\n\
         61\tbob\tsea\tb\tpending\t-\t-\t1\t1\t2016-06-15T14:13:20Z\t-\t-\t-\n"
    );
    assert_eq!(account.run(&["list", "-q"]).with(0).out(), "60\n61\n");
    let table = account.run(&["list", "--output", "table"]).with(0);
    let lines: Vec<&str> = table.out().lines().collect();
    assert!(lines[0].starts_with("ID  NAME     STATE    DETAIL  CODE  CPU  RAM  SUBMITTED"), "{lines:?}");
    assert!(
        lines[1].starts_with("60  align x  over     killed  137   2    4    2016-06-15 14:13:20  1m01s"),
        "{lines:?}"
    );
    assert!(!table.out().contains('\x1b') && !table.out().contains('\r'));
    let json = account.run(&["list", "--output", "json"]).with(0);
    assert!(!json.out().contains('\x1b') && !json.out().contains('\u{202e}'));
    assert_eq!(serde_json::from_str::<Value>(json.out()).expect("JSON"), tasks());
}

#[test]
fn options_of_list_are_routes() {
    let server = Fake::start(|_, _| Answer::json(&json!([])));
    let account = Account::at(&server);
    for (line, want) in [
        ("list", "GET /task/active"),
        ("list --all", "GET /task/active/all"),
        ("list --project sea", "GET /task/active?project=sea"),
        ("list --over", "POST /task/over/0/100"),
        ("list --over --skip 5 --limit 0 --project a&b", "POST /task/over/5/0?project=a%26b"),
        ("list --over --all", "POST /task/over/all/0/100"),
    ] {
        assert_eq!(account.run(&line.split(' ').collect::<Vec<_>>()).with(0).out(), "", "{line}");
        assert_eq!(server.lines().last().map(String::as_str), Some(want), "{line}");
    }
    account.run(&["list", "--limit", "5"]).with(2);
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
