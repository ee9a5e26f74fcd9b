use super::*;
use std::fs;

const OLD: &str =
    r#"{"apikey": "OLDKEY1234", "noCert": true, "server": "https://old.example.org/", "user": "bob"}"#;

fn home() -> (tempfile::TempDir, Surroundings) {
    let home = tempfile::tempdir().expect("a directory");
    let around = Surroundings {
        dir: Some(home.path().join(".config/go-docker")),
        old_file: Some(home.path().join(".godocker_auth")),
        ..Surroundings::default()
    };
    (home, around)
}

fn login(around: &Surroundings, server: &str) -> Credentials {
    let credentials = Credentials {
        server: Server::parse(server, false).expect("an address"),
        user: "ada".to_owned(),
        apikey: "NEWKEY".into(),
        token_file: around.tokens_beside_login(),
    };
    around.save(&credentials).expect("saved");
    credentials
}

fn refused(around: &Surroundings) -> String {
    match around.credentials() {
        Err(Failure::NotLoggedIn(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_anywhere_says_how_to_log_in() {
    let (_home, around) = home();
    assert!(refused(&around).contains("go-d-cli login --server"));
}

#[test]
fn the_older_file_is_read_until_there_is_a_new_one() {
    let (_home, around) = home();
    private::write(around.old_file.as_ref().expect("set"), OLD).expect("written");
    let old = around.credentials().expect("old login");
    assert_eq!((old.user.as_str(), old.apikey.expose_secret()), ("bob", "OLDKEY1234"));
    assert_eq!(old.server.to_string(), "https://old.example.org");
    assert!(old.server.insecure());
    login(&around, "http://new:6543");
    let new = around.credentials().expect("new login");
    assert_eq!((new.user.as_str(), new.apikey.expose_secret()), ("ada", "NEWKEY"));
    assert!(!new.server.insecure());
}

#[test]
fn a_missing_or_null_flag_of_the_older_file_is_no() {
    for flag in [r#""noCert": null, "#, r#""noCert": false, "#, ""] {
        let text = format!(r#"{{{flag}"server": "http://s", "user": "u", "apikey": "k"}}"#);
        assert!(!serde_json::from_str::<Saved>(&text).expect(flag).insecure);
    }
}

#[test]
fn a_saved_key_goes_to_its_own_server_only() {
    let (_home, mut around) = home();
    login(&around, "http://new:6543");
    around.server = Some("http://other:6543".to_owned());
    assert!(refused(&around).contains("is for http://new:6543, not for http://other:6543"));
    around.server = Some("http://new:6543/".to_owned());
    around.credentials().expect("the same place");
    around.user = Some("eve".to_owned());
    assert!(refused(&around).contains("is ada's"));
}

#[test]
fn the_environment_stands_before_files_and_leaves_nothing() {
    let (_home, mut around) = home();
    around.apikey = Some("ENVKEY".into());
    assert!(refused(&around).contains("GODOCKER_USER"));
    around.user = Some("eve".to_owned());
    assert!(refused(&around).contains("go-d-cli login"));
    login(&around, "http://new:6543");
    let found = around.credentials().expect("server from the file");
    assert_eq!((found.user.as_str(), found.apikey.expose_secret()), ("eve", "ENVKEY"));
    assert_eq!(found.token_file, None);
    around.server = Some("http://other".to_owned());
    assert_eq!(around.credentials().expect("all given").server.to_string(), "http://other");
}

#[test]
fn a_token_is_for_one_server_and_one_user() {
    let (_home, around) = home();
    let ada = login(&around, "http://new:6543");
    assert!(ada.cached_token().is_none());
    ada.cache_token(&"abc".into());
    assert_eq!(ada.cached_token().expect("kept").expose_secret(), "abc");
    let other = Credentials { user: "eve".to_owned(), ..ada.clone() };
    assert!(other.cached_token().is_none());
    let elsewhere = Credentials { server: Server::parse("http://x", false).expect("an address"), ..ada };
    assert!(elsewhere.cached_token().is_none());
}

#[test]
fn a_broken_file_is_named_and_its_content_is_not() {
    let (_home, around) = home();
    let path = around.login_file().expect("set");
    private::write(&path, r#"{"server": "http://s", "user": "u", "apikey": 7SECRET}"#).expect("written");
    let text = refused(&around);
    assert!(text.contains("login.json") && text.contains("line 1"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");
    fs::remove_file(path).expect("removed");
}

#[test]
fn debug_output_shows_no_key() {
    let (_home, around) = home();
    let shown = format!("{:?}", login(&around, "http://new:6543"));
    assert!(!shown.contains("NEWKEY"), "{shown}");
}
