//! The disk of the jobs is full; that of the store is not.

use crate::site::{Site, free_address, until};
use crate::web::Client;
use god_testkit::skip;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A small file system, unmounted with the test.
struct Small(PathBuf);

impl Small {
    /// `None` where this process may not mount.
    fn mount(place: &Path) -> Option<Small> {
        fs::create_dir(place).expect("our directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=755", "god-test"])
            .arg(place)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Small(place.to_owned()))
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("filler")).expect("a file without content");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("our file");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: whatever still looks at it must not keep it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

#[test]
fn a_full_disk_of_jobs_puts_starts_off_until_there_is_room() {
    if !nix::unistd::Uid::effective().is_root() {
        return skip("a full disk: only root can mount a small one");
    }
    let address = free_address();
    let site = Site::configured(|config| config.replace("127.0.0.1:6543", &address));
    let Some(small) = Small::mount(&site.path().join("small")) else {
        return skip("a full disk: mounting a tmpfs is not allowed here");
    };
    let config = fs::read_to_string(site.config()).expect("our file");
    let shared = site.data().join("shared");
    let moved = config.replace(
        &format!("shared_dir: \"{}\"", shared.display()),
        &format!("shared_dir: \"{}\"", small.0.display()),
    );
    assert_ne!(config, moved);
    fs::write(site.config(), moved).expect("our file");
    let mut command = site.command("go-d");
    let running = site.spawn(command.arg("up"));
    let client = Client::log_in(&address, &site.worker());
    let first = client.submit(&site.script(":", 3));
    assert_eq!(client.over(first)["status"]["exitcode"], 3);

    small.fill();
    let task = client.submit(&site.script(":", 4));
    let waits = until("a reason", || {
        let task = client.task(task);
        let reason = task["status"]["reason"].as_str().unwrap_or_default().to_lowercase();
        assert_ne!(task["status"]["primary"], "over", "{}", task["status"]);
        assert_ne!(task["status"]["primary"], "running", "{}", task["status"]);
        reason.contains("space").then_some(task)
    });
    assert_eq!(waits["status"]["primary"], "pending", "{}", waits["status"]);
    // The store is on another disk: it goes on taking tasks and requests.
    let killed = client.submit(&site.script(":", 5));
    let (status, answer) = client.ask("DELETE", &format!("/task/{killed}"), &serde_json::Value::Null);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(client.over(killed)["status"]["primary"], "over");
    assert_eq!(client.task(task)["status"]["primary"], "pending");

    small.free();
    assert_eq!(client.over(task)["status"]["exitcode"], 4, "it goes on by itself");
    let runs = site.runs();
    assert_eq!(runs.iter().filter(|run| **run == format!("start {task}")).count(), 1, "{runs:?}");
    assert!(!runs.contains(&format!("start {killed}")), "{runs:?}");
    running.end();
}
