//! `go-d user` and `go-d backup`.

use crate::site::Site;
use std::io::Write;
use std::process::Stdio;

#[test]
fn users_are_made_listed_given_keys_and_removed() {
    let site = Site::new();
    site.said("go-d", &["init"]);
    let mut add = site.command("go-d");
    add.args([
        "user",
        "add",
        "ann",
        "--uid",
        "4001",
        "--gid",
        "4002",
        "-s",
        "4003,4004",
        "--home",
        "/home/ann",
    ]);
    add.args(["-e", "ann@example.org", "--password-stdin"]);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    assert!(add.wait().unwrap().success());

    let list = site.said("go-d", &["user", "list"]);
    assert!(list.starts_with("ann\tuid=4001\tgid=4002\tgroups=4003,4004\thome=/home/ann\t"), "{list}");
    assert!(list.contains("password=yes\tkeys=\n"), "{list}");
    let key = site.said("go-d", &["user", "key", "ann"]);
    let list = site.said("go-d", &["user", "list"]);
    assert!(key.len() > 40 && !list.contains(key.trim()), "a list shows no key: {list}");

    let again = site.run("go-d", &["user", "add", "ann", "--uid", "1", "--gid", "1", "--no-password"]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"));
    let nobody = site.run("go-d", &["user", "add", "no-such-account-here", "--no-password"]);
    assert!(!nobody.status.success());
    let silent = site.run("go-d", &["user", "add", "bob", "--uid", "4005", "--gid", "4005"]);
    assert!(String::from_utf8_lossy(&silent.stderr).contains("--password-stdin"));

    site.said("go-d", &["user", "del", "ann"]);
    assert_eq!(site.said("go-d", &["user", "list"]), "");
    assert!(!site.run("go-d", &["user", "del", "ann"]).status.success());
}

#[test]
fn a_copy_of_the_store_is_a_store_while_the_site_works() {
    let site = Site::new();
    let (running, client) = site.up("fake");
    let task = client.submit("#FAKE exit=0\n");
    client.over(task);
    let copy = site.data().join("copy.db");
    site.said("go-d", &["backup", copy.to_str().unwrap()]);
    running.end();

    let restored = Site::new();
    restored.said("go-d", &["init"]);
    for file in ["go-d.ini", "client.json"] {
        let text = std::fs::read_to_string(site.data().join(file)).unwrap();
        let moved = text.replace(site.data().to_str().unwrap(), restored.data().to_str().unwrap());
        std::fs::write(restored.data().join(file), moved).unwrap();
    }
    std::fs::copy(copy, restored.data().join("god.db")).unwrap();
    let (running, client) = restored.up("fake");
    assert_eq!(client.task(task)["status"]["primary"], "over");
    running.end();
}
