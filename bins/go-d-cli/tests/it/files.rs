use crate::client::Account;
use crate::fake::{Answer, Fake};
use serde_json::json;
use std::fs;

/// 8 MiB that differ everywhere, in odd pieces.
fn large() -> Vec<u8> {
    (0..8u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn server() -> Fake {
    Fake::start(|seen, _| match seen.line().as_str() {
        "GET /task/7/files/" => Answer::json(&json!([
            {"name": "god.log", "type": "file", "size": 2048}, {"name": "out\x1b[31m\n", "type": "dir", "size": 0}])),
        "GET /task/7/files/out/large%20file" => {
            let pieces = large().chunks(99_991).map(<[u8]>::to_vec).collect();
            Answer::raw(200, "application/octet-stream", pieces)
        }
        "GET /task/7/files/data.json" => Answer::raw(200, "application/octet-stream", vec![b"[1]".to_vec()]),
        "GET /task/7/files/half" => {
            Answer::raw(200, "application/octet-stream", vec![vec![1; 1000]]).breaking()
        }
        _ => Answer::status(404, &json!({"error": "there is no such file"})),
    })
}

fn names(account: &Account) -> Vec<String> {
    let entries = fs::read_dir(account.home.path()).expect("listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn listings() {
    let server = server();
    let account = Account::at(&server);
    assert_eq!(account.run(&["files", "ls", "7"]).with(0).out(), "file\t2048\tgod.log\ndir\t-\tout \n");
    assert_eq!(account.run(&["files", "ls", "7", "/./", "-q"]).with(0).out(), "god.log\nout \n");
    account.run(&["files", "ls", "7", "data.json"]).with(1).says(&["is a file", "files get 7 data.json"]);
    account.run(&["files", "ls", "7", "../8"]).with(1).says(&["leads out"]);
    account.run(&["files", "ls", "7", "no"]).with(1).says(&["listing no of task 7: there is no such file"]);
}

#[test]
fn a_file_comes_whole_under_its_own_name() {
    let server = server();
    let account = Account::at(&server);
    let done = account.run(&["files", "get", "7", "out/large file"]).with(0);
    assert_eq!(done.out(), "large file: 8 MiB\n");
    assert!(fs::read(account.home.path().join("large file")).expect("there") == large());
    let piped = account.run(&["files", "get", "7", "out/large file", "--to", "-"]).with(0);
    assert!(piped.bytes == large());
    assert_eq!(names(&account), ["large file"]);
}

#[test]
fn nothing_is_overwritten_unless_told() {
    let server = server();
    let account = Account::at(&server);
    let target = account.home.path().join("data.json");
    fs::write(&target, "mine").expect("written");
    account.run(&["files", "get", "7", "data.json"]).with(1).says(&["data.json is there already", "--force"]);
    assert_eq!(server.lines(), [""; 0], "nothing was asked for in vain");
    assert_eq!(fs::read_to_string(&target).expect("read"), "mine");
    account.run(&["files", "get", "7", "data.json", "--force"]).with(0);
    assert_eq!(fs::read_to_string(&target).expect("read"), "[1]");
    fs::create_dir(account.home.path().join("sub")).expect("made");
    account.run(&["files", "get", "7", "data.json", "-o", "sub"]).with(0);
    account.run(&["files", "get", "7", "data.json", "-o", "sub/other"]).with(0);
    assert_eq!(fs::read_dir(account.home.path().join("sub")).expect("listed").count(), 2);
}

#[test]
fn a_file_that_appears_meanwhile_is_not_overwritten_either() {
    let account = Account::new();
    let target = account.home.path().join("race");
    let planted = target.clone();
    let server = Fake::start(move |_, _| {
        fs::write(&planted, "mine").expect("written");
        Answer::raw(200, "application/octet-stream", vec![b"theirs".to_vec()])
    });
    let account = account.of(&server);
    account.run(&["files", "get", "7", "race"]).with(1).says(&["race is there already"]);
    assert_eq!(fs::read_to_string(&target).expect("read"), "mine");
    assert_eq!(names(&account), ["race"]);
}

#[test]
fn half_a_file_is_no_file() {
    let server = server();
    let account = Account::at(&server);
    account.run(&["files", "get", "7", "half"]).with(5).says(&["broke"]);
    account.run(&["files", "get", "7", "missing"]).with(1).says(&["fetching missing of task 7"]);
    account.run(&["files", "get", "7", ""]).with(1).says(&["names no file"]);
    assert_eq!(names(&account), [""; 0]);
}
