//! Files of tasks: lists, downloads, ranges, and what a hostile job plants.

use crate::world::{World, world, world_with};
use god_core::TaskId;
use serde_json::json;
use std::os::unix::fs::symlink;

async fn with_files() -> (World, TaskId) {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    world.start(id).await;
    let dir = world.job_dir(id);
    std::fs::write(dir.join("god.log"), "0123456789").expect("written");
    std::fs::write(dir.join("data.json"), "{}").expect("written");
    std::fs::create_dir(dir.join("sub")).expect("made");
    std::fs::write(dir.join("sub/ü x.txt"), "hello").expect("written");
    (world, id)
}

#[tokio::test]
async fn listings_and_downloads() {
    let (world, id) = with_files().await;
    for path in ["files", "files/"] {
        let list = world.get("bob", &format!("/task/{id}/{path}")).await.ok();
        let names: Vec<_> =
            list.as_array().expect("a list").iter().map(|e| e["name"].as_str().expect("a text")).collect();
        assert_eq!(names, ["data.json", "god.log", "sub", "cmd.sh"]);
        assert_eq!(list[1]["type"], "file");
        assert_eq!(list[1]["size"], 10);
        assert_eq!(list[2]["type"], "dir");
    }
    let list = world.get("bob", &format!("/task/{id}/files/sub/")).await.ok();
    assert_eq!(list[0]["name"], "ü x.txt");
    let answer = world.get("bob", &format!("/task/{id}/files/sub/%C3%BC%20x.txt")).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "hello"));

    let log = world.get("bob", &format!("/task/{id}/files/god.log")).await;
    assert_eq!(log.text(), "0123456789");
    assert_eq!(log.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(log.header("content-length"), Some("10"));
    let data = world.get("bob", &format!("/task/{id}/files/data.json")).await;
    assert_eq!(data.header("content-type"), Some("application/octet-stream"));
    assert_eq!(data.header("x-content-type-options"), Some("nosniff"));
    world.get("bob", &format!("/task/{id}/files/none")).await.error(404);

    let head = world.call("bob", "HEAD", &format!("/task/{id}/files/god.log"), None).await;
    assert_eq!((head.status.as_u16(), head.header("content-length"), head.bytes.len()), (200, Some("10"), 0));
    let admin = world.get("ada", &format!("/task/{id}/files/god.log")).await;
    assert_eq!(admin.status, 200);
}

#[tokio::test]
async fn the_script_is_there_without_a_directory() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    let script = world.get("bob", &format!("/task/{id}/files/cmd.sh")).await;
    assert_eq!(script.text(), "#!/bin/bash\necho hi\n");
    assert_eq!(script.header("content-type"), Some("text/plain; charset=utf-8"));
    let list = world.get("bob", &format!("/task/{id}/files/")).await.ok();
    assert_eq!(list, json!([{"name": "cmd.sh", "type": "file", "size": 20}]));
    world.get("bob", &format!("/task/{id}/files/god.log")).await.error(404);
    // A copy in the directory goes first.
    std::fs::write(world.job_dir(id).join("cmd.sh"), "changed").expect("written");
    assert_eq!(world.get("bob", &format!("/task/{id}/files/cmd.sh")).await.text(), "changed");
    assert_eq!(world.get("bob", &format!("/task/{id}/files/")).await.ok().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn ranges() {
    let (world, id) = with_files().await;
    let path = format!("/task/{id}/files/god.log");
    for (range, status, text, content) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=8-", 206, "89", Some("bytes 8-9/10")),
        ("bytes=-3", 206, "789", Some("bytes 7-9/10")),
        ("bytes=0-0,2-2", 200, "0123456789", None),
    ] {
        let answer = world.call_with("bob", "GET", &path, None, &[("Range", range)]).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (status, text), "{range}");
        assert_eq!(answer.header("content-range"), content);
    }
    let answer = world.call_with("bob", "GET", &path, None, &[("Range", "bytes=10-")]).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-range")), (416, Some("bytes */10")));
    let script = format!("/task/{id}/files/cmd.sh");
    let answer = world.call_with("bob", "GET", &script, None, &[("Range", "bytes=2-10")]).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (206, "/bin/bash"));
}

#[tokio::test]
async fn a_large_file_comes_whole() {
    let (world, id) = with_files().await;
    let bytes: Vec<u8> = (0..1_000_003u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(world.job_dir(id).join("big"), &bytes).expect("written");
    let answer = world.get("bob", &format!("/task/{id}/files/big")).await;
    assert!(answer.bytes == bytes);
}

#[tokio::test]
async fn files_above_the_limit_are_not_sent() {
    let world = world_with(|config| config.max_file_download = Some(5)).await;
    let id = world.submit("bob", |_| {}).await;
    std::fs::write(world.job_dir(id).join("small"), "12345").expect("written");
    std::fs::write(world.job_dir(id).join("large"), "123456").expect("written");
    assert_eq!(world.get("bob", &format!("/task/{id}/files/small")).await.status, 200);
    world.get("bob", &format!("/task/{id}/files/large")).await.error(403);
}

#[tokio::test]
async fn nothing_outside_is_reached() {
    let (world, id) = with_files().await;
    let dir = world.job_dir(id);
    let secret = world.dir.path().join("secret");
    std::fs::write(&secret, "SECRET").expect("written");
    symlink(&secret, dir.join("link")).expect("made");
    symlink("/etc", dir.join("etc")).expect("made");
    symlink(world.dir.path(), dir.join("up")).expect("made");
    let fifo = std::process::Command::new("mkfifo").arg(dir.join("pipe")).status().expect("runs");
    assert!(fifo.success());
    for path in [
        "link",
        "etc",
        "etc/passwd",
        "up/secret",
        "pipe",
        "..",
        "../secret",
        "%2e%2e/secret",
        "..%2Fsecret",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret",
        "sub/../../secret",
        "%2Fetc%2Fpasswd",
        "sub/%2e%2e/%2e%2e/1/task/god.log",
        "god.log%00",
        "%00",
        "....//secret",
        "..%5csecret",
    ] {
        let answer = world.get("bob", &format!("/task/{id}/files/{path}")).await;
        assert!([400, 403, 404].contains(&answer.status.as_u16()), "{path} gives {}", answer.status);
        assert!(!answer.text().contains("SECRET") && !answer.text().contains("root:"), "{path}");
        assert!(
            !answer.text().contains(world.dir.path().to_str().expect("UTF-8")),
            "{path} shows a path of ours"
        );
    }
    let list = world.get("bob", &format!("/task/{id}/files/")).await.ok();
    assert!(list.as_array().expect("a list").iter().all(|e| e["name"] != "link" && e["name"] != "pipe"));
}

#[tokio::test]
async fn a_childs_files_are_in_its_parents_directory() {
    let world = world().await;
    let id = world.submit("bob", |body| body["requirements"]["array"] = json!({"values": "5:6"})).await;
    let dir = world.job_dir(id).join("6");
    std::fs::create_dir_all(&dir).expect("made");
    std::fs::write(dir.join("god.log"), "six").expect("written");
    let answer = world.get("bob", &format!("/task/{}/files/god.log", id.0 + 2)).await;
    assert_eq!(answer.text(), "six");
}
