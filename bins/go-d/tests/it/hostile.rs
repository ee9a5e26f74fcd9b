//! Users who try what they can, against real processes.

use crate::site::Site;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Every plain file below a directory.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), found),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
}

fn holds(text: &[u8], secret: &str) -> bool {
    text.windows(secret.len()).any(|part| part == secret.as_bytes())
}

/// A value of the configuration that stands alone on its line.
fn value_of(config: &str, key: &str) -> String {
    let line = config.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.expect(key).trim().trim_matches(['"', '\'']).to_owned()
}

#[test]
fn a2_no_secret_lies_in_what_jobs_can_see_and_no_key_is_stored() {
    let site = Site::new();
    let (running, admin) = site.up("local");
    let worker = site.worker();
    let client = admin.other(&worker);
    let script = "#!/bin/sh\ntr '\\0' '\\n' < /proc/self/environ\ntr '\\0' '\\n' < /proc/$$/cmdline\nls -la /proc/$$/fd\n";
    let tasks: Vec<u64> = (0..20).map(|_| client.submit(script)).collect();
    for task in &tasks {
        assert_eq!(client.over(*task)["status"]["exitcode"], 0);
    }
    assert!(client.file(tasks[0], "god.log").contains("GODOCKER_PWD="), "the job saw its environment");
    let config = fs::read_to_string(site.config()).expect("the configuration");
    let login: Value =
        serde_json::from_str(&fs::read_to_string(site.data().join("client.json")).expect("a login"))
            .expect("JSON");
    let key = login["apikey"].as_str().expect("a key").to_owned();
    let secrets = [worker.1.clone(), key, value_of(&config, "secret_passphrase")];
    assert!(secrets.iter().all(|secret| secret.len() >= 16), "they are real");
    running.end();

    let mut all = Vec::new();
    files(&site.data(), &mut all);
    assert!(
        all.iter().filter(|file| file.ends_with("god.log")).count() == 20,
        "the files of the jobs are among them"
    );
    for file in all {
        let text = fs::read(&file).expect("our file");
        let own = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        for secret in &secrets {
            // The two files that are made to hold a secret are private; everything else holds none.
            let made_for_it = matches!(own, "client.json" | "go-d.ini");
            assert!(made_for_it || !holds(&text, secret), "{} holds a secret", file.display());
        }
    }
    assert!(secrets.iter().all(|secret| !holds(site.log().as_bytes(), secret)), "the log holds a secret");
}

#[test]
fn e1_what_users_write_never_becomes_a_command() {
    let site = Site::new();
    let (running, admin) = site.up("local");
    let client = admin.other(&site.worker());
    let canary = site.data().with_file_name("canary");
    let touch = format!("touch {}", canary.display());
    let texts = [
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("; {touch} ;"),
        format!("' ; {touch} ; '"),
        format!("\" ; {touch} ; \""),
        format!("x\n{touch}\n"),
        format!("| {touch} &"),
        format!("--eval={touch}"),
        "%s%n%x ${IFS} ~root *".to_owned(),
    ];
    let mut tasks = Vec::new();
    for text in &texts {
        for place in 0..9 {
            let mut body = json!({
                "meta": {"name": "n", "description": "d", "tags": ["t"]},
                "requirements": {"cpu": 1, "ram": 1},
                "container": {"image": "debian", "volumes": []},
                "command": {"cmd": "#!/bin/sh\necho \"$GODOCKER_TASK_ID\" > mine\n"},
            });
            match place {
                0 => body["meta"]["name"] = json!(text),
                1 => body["meta"]["description"] = json!(text),
                2 => body["meta"]["tags"] = json!([text]),
                3 => body["requirements"]["array"] = json!({"values": text}),
                4 => body["requirements"]["label"] = json!([text]),
                5 => body["requirements"]["executor"] = json!(text),
                6 => body["container"]["image"] = json!(text),
                7 => body["container"]["volumes"] = json!([{"name": text}]),
                _ => body["user"] = json!({"project": text}),
            }
            let (status, answer) = client.ask("POST", "/task", &body);
            assert!(matches!(status, 200 | 400 | 403), "{status} {answer} for {text:?} at {place}");
            tasks.extend(answer["id"].as_u64());
        }
    }
    assert!(tasks.len() >= texts.len(), "most of them are plain text and run: {}", tasks.len());
    for task in tasks {
        let over = client.over(task);
        assert_eq!(over["status"]["exitcode"], 0, "{over}");
    }
    assert!(!canary.exists(), "a text was run");
    running.end();
}

#[test]
fn f8_the_storm_of_one_user_does_not_stop_the_others() {
    let site = Site::new();
    let (running, admin) = site.up("fake");
    let quiet = admin.other(&site.worker());
    let stop = AtomicBool::new(false);
    let mut took: Vec<Duration> = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let array = json!({
                    "meta": {"name": "storm"}, "requirements": {"cpu": 1, "ram": 1, "array": {"values": "1:100000"}},
                    "command": {"cmd": "#FAKE duration=1h\n"},
                });
                while !stop.load(Ordering::Relaxed) {
                    let (_, answer) = admin.ask("POST", "/task", &array);
                    if let Some(id) = answer["id"].as_u64() {
                        admin.ask("DELETE", &format!("/task/{id}"), &Value::Null);
                    }
                    let (status, _) = admin.ask("POST", "/task", &json!({"command": {"cmd": "x".repeat(2 << 20)}}));
                    assert!(matches!(status, 400 | 413), "{status}");
                }
            });
        }
        let took = (0..100)
            .map(|_| {
                let begun = Instant::now();
                quiet.submit("#FAKE exit=0\n");
                begun.elapsed()
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        took
    });
    took.sort();
    // Not the p99 of a quiet machine: this one may be busy with other tests.
    assert!(took[50] < Duration::from_millis(100), "half of the submits took longer than {:?}", took[50]);
    assert!(took[99] < Duration::from_secs(3), "one submit took {:?}", took[99]);
    running.end();
}
