use crate::client::Account;
use crate::fake::{Answer, Fake, KEY};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn counts() -> Fake {
    Fake::start(|seen, _| match seen.line().as_str() {
        "GET /count" => Answer::json(&json!({"pending": 1, "running": 2, "over": 3})),
        _ => Answer::missing(),
    })
}

#[test]
fn login_saves_a_private_file_and_commands_share_one_token() {
    let server = counts();
    let account = Account::new();
    let login = ["login", "--server", &server.url, "--user", "ada", "--apikey-stdin"];
    let done = account.run_with_input(&login, format!("{KEY}\n").as_bytes()).with(0);
    assert!(done.out().starts_with(&format!("Logged in at {} as ada.", server.url)), "{}", done.out());
    assert!(!done.out().contains(KEY) && !done.err.contains(KEY));
    for file in ["login.json", "token.json"] {
        let mode = fs::metadata(account.config(file)).expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let n_files = fs::read_dir(account.config("")).expect("listed").count();
    assert_eq!(n_files, 2, "nothing is left beside them");
    assert_eq!(account.run(&["count"]).with(0).out(), "over\t3\npending\t1\nrunning\t2\n");
    account.run(&["count"]).with(0);
    assert_eq!(server.logins(), 1);
}

#[test]
fn a_key_that_is_not_taken_is_not_saved() {
    let server = counts();
    let account = Account::new();
    let login = ["login", "--server", &server.url, "--apikey-stdin"];
    account
        .run_with_input(&login, b"WRONG")
        .with(4)
        .says(&["does not accept the API key of ada", &server.url]);
    assert!(!account.config("login.json").exists() && !account.config("token.json").exists());
    account.run_with_input(&login, b" \n").with(1).says(&["no API key on standard input"]);
    account.run(&["login"]).with(1).says(&["--server http"]);
}

#[test]
fn without_a_terminal_the_key_is_not_asked_for() {
    let server = counts();
    let account = Account::new().set("GODOCKER_APIKEY", KEY);
    account.run(&["login", "--server", &server.url]).with(0);
    assert!(account.config("login.json").exists());
}

#[test]
fn a_token_that_is_no_longer_taken_is_replaced_once() {
    let server = counts();
    let account = Account::new().set("GODOCKER_APIKEY", KEY);
    account.run(&["login", "--server", &server.url]).with(0);
    let account = account.plain();
    server.forget_tokens();
    account.run(&["count"]).with(0);
    account.run(&["count"]).with(0);
    assert_eq!(server.logins(), 2, "one login, one renewal");
    assert_eq!(server.lines().len(), 3, "one request was refused and sent again");

    server.take_no_token();
    account.run(&["count"]).with(4).says(&["takes us for nobody", "the token is too old", "go-d-cli login"]);
    assert_eq!(server.logins(), 3, "no second try");
}

#[test]
fn the_older_file_serves_until_there_is_a_new_login() {
    let server = counts();
    let account = Account::new();
    let old = json!({"user": "bob", "apikey": KEY, "server": format!("{}/", server.url), "noCert": false});
    fs::write(account.home.path().join(".godocker_auth"), format!("{old}\n")).expect("written");
    account.run(&["count"]).with(0).says(&["others may read the API key", ".godocker_auth"]);
    assert_eq!(server.request("POST /authenticate").json(), json!({"user": "bob", "apikey": KEY}));
}

#[test]
fn the_environment_stands_before_the_file_and_leaves_nothing() {
    let server = counts();
    let account = Account::at(&server);
    account.run(&["count"]).with(0);
    assert!(!account.config("").exists());
    let elsewhere = Account::new().set("GODOCKER_APIKEY", KEY);
    elsewhere.run(&["login", "--server", &server.url]).with(0);
    let elsewhere = elsewhere.plain().set("GODOCKER_SERVER", "http://other.example");
    elsewhere.run(&["count"]).with(4).says(&["is for http://127.0.0.1", "not for http://other.example"]);
}

#[test]
fn nobody_is_told_to_log_in() {
    Account::new().run(&["list"]).with(4).says(&["not logged in", "go-d-cli login --server"]);
}

#[test]
fn whoami_shows_no_key() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /user/ada" => Answer::json(&json!({"id": "ada", "uid": 1001, "gid": 100, "email": "",
            "homeDirectory": "/home/ada", "admin": false, "credentials": {"apikey": KEY}})),
        "GET /user/ada/project" => Answer::json(&json!([{"id": "default", "prio": 50}, {"id": "sea"}])),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let want = format!(
        "user\tada\nserver\t{}\nuid\t1001\ngid\t100\nhome\t/home/ada\nadministrator\tno\nprojects\tdefault,sea\n",
        server.url
    );
    assert_eq!(account.run(&["whoami"]).with(0).out(), want);
    assert!(!account.run(&["whoami", "--output", "json"]).with(0).out().contains(KEY));
}
