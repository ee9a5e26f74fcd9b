use crate::client::Account;
use crate::fake::{Answer, Fake, Seen};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

/// Tasks by the key under which they were submitted: name, and how often they were asked about.
#[derive(Default)]
struct Site {
    tasks: BTreeMap<u64, (String, u32)>,
    keys: BTreeMap<String, u64>,
    most: usize,
    /// Answers to lose after the task was added.
    lose: u32,
}

impl Site {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let line = seen.line();
        if line == "POST /task" {
            let key = seen.headers["idempotency-key"].clone();
            let next = self.tasks.len() as u64 + 1;
            let id = *self.keys.entry(key).or_insert(next);
            let name = seen.json()["meta"]["name"].as_str().expect("a name").to_owned();
            self.tasks.entry(id).or_insert((name, 0));
            let active = self.tasks.values().filter(|(name, asked)| !is_over(name, *asked)).count();
            self.most = self.most.max(active);
            if self.lose > 0 {
                self.lose -= 1;
                return Answer::raw(200, "application/json", vec![b"{".to_vec()]).breaking();
            }
            return Answer::json(&json!({"msg": "Task added", "id": id}));
        }
        if let Some(id) = line.strip_prefix("GET /task/").and_then(|rest| rest.split('/').next()) {
            let Some((name, asked)) = id.parse().ok().and_then(|id| self.tasks.get_mut(&id)) else {
                return Answer::missing();
            };
            *asked += 1;
            let over = is_over(name, *asked);
            let code = if !over { Value::Null } else { i64::from(name.starts_with("bad")).into() };
            let state = if over { "over" } else { "running" };
            return Answer::json(&json!({"status": {"primary": state, "exitcode": code}}));
        }
        match line.as_str() {
            "GET /config" => Answer::json(&json!({"images": []})),
            _ if seen.path == "/api/2/tasks" => {
                let running = self.tasks.iter().filter(|(_, (name, asked))| !is_over(name, *asked));
                let tasks: Vec<Value> = running
                    .map(|(id, _)| json!({"id": id, "state": "running", "tags": ["batch:night"]}))
                    .collect();
                Answer::json(&json!({"tasks": tasks, "next": null}))
            }
            _ => Answer::missing(),
        }
    }
}

/// The third question finds it over, unless it is to hang.
fn is_over(name: &str, asked: u32) -> bool {
    asked >= 3 && !name.starts_with("hang")
}

fn site() -> (Fake, Arc<Mutex<Site>>) {
    let site = Arc::new(Mutex::new(Site::default()));
    let inner = Arc::clone(&site);
    (Fake::start(move |seen, _| inner.lock().expect("no panic holds it").answer(seen)), site)
}

fn list(account: &Account, lines: &str) {
    fs::write(account.home.path().join("night.list"), lines).expect("written");
}

#[test]
fn a_list_is_played_a_few_at_a_time() {
    let (server, site) = site();
    let account = Account::at(&server);
    let lines: String = (1..=7).map(|n| format!("--cmd true --name good{n}\n")).collect();
    list(&account, &format!("# tonight\n#GOD --cpu 2\n{lines}"));
    assert_eq!(account.run(&["batch", "check", "night.list"]).with(0).out(), "7 tasks, each can be read\n");
    let done = account.run(&["batch", "play", "night.list", "--parallel", "3"]).with(0);
    assert!(done.out().starts_with("line 3: task 1 added (good1)\n"), "{}", done.out());
    assert!(done.out().contains("line 9: task 7 is over, exit code 0\n"), "{}", done.out());
    assert_eq!(site.lock().expect("free").most, 3);
    let bodies: Vec<Value> =
        server.seen().iter().filter(|seen| seen.line() == "POST /task").map(Seen::json).collect();
    assert!(bodies.iter().all(|body| body["meta"]["tags"] == json!(["batch:night"])), "{bodies:?}");
    assert!(bodies.iter().all(|body| body["requirements"]["cpu"] == 2), "{bodies:?}");

    let again = account.run(&["batch", "play", "night.list"]).with(0);
    assert_eq!(again.out(), "7 of 7 tasks are done, 0 are active\n");
    assert_eq!(site.lock().expect("free").tasks.len(), 7, "nothing is submitted twice");
    let status = account.run(&["batch", "status", "night.list"]).with(0);
    assert!(status.out().starts_with("3\tgood1\tdone\t1\t0\n"), "{}", status.out());
}

#[test]
fn what_failed_is_told_and_can_be_tried_again() {
    let (server, site) = site();
    let account = Account::at(&server);
    list(&account, "--cmd false --name bad\n--cmd true --name good\n");
    account
        .run(&["batch", "play", "night.list", "-P", "1", "--stop-on-failure"])
        .with(1)
        .says(&["1 others are not submitted", "1 of 2 failed"]);
    account.run(&["batch", "play", "night.list"]).with(1).says(&["1 of 2 failed"]);
    assert_eq!(site.lock().expect("free").tasks.len(), 2);
    account.run(&["batch", "play", "night.list", "--retry-failed"]).with(1);
    assert_eq!(site.lock().expect("free").tasks.len(), 3, "the one that failed has run again");
    let json = account.run(&["batch", "play", "night.list", "--restart", "--output", "json"]).with(1);
    let rows: Value = serde_json::from_str(json.out()).expect("JSON");
    assert_eq!(rows[0]["state"], "failed");
    assert_eq!(site.lock().expect("free").tasks.len(), 5);
}

#[test]
fn an_answer_that_was_lost_makes_no_second_task() {
    let (server, site) = site();
    site.lock().expect("free").lose = 2;
    let account = Account::at(&server);
    list(&account, "--cmd true --name good\n");
    account.run(&["batch", "play", "night.list"]).with(0);
    assert_eq!(site.lock().expect("free").tasks.len(), 1);
}

#[test]
fn a_player_that_gave_up_sends_the_same_key_again() {
    let (server, site) = site();
    site.lock().expect("free").lose = 100;
    let account = Account::at(&server);
    list(&account, "--cmd true --name good\n");
    account.run(&["batch", "play", "night.list"]).with(5).says(&["is not known"]);
    assert!(account.run(&["batch", "status", "night.list"]).with(0).out().contains("sending"));
    site.lock().expect("free").lose = 0;
    account.run(&["batch", "play", "night.list"]).with(0);
    assert_eq!(site.lock().expect("free").tasks.len(), 1);
}

#[test]
fn a_player_that_was_killed_goes_on_where_it_was() {
    let (server, site) = site();
    let account = Account::at(&server);
    list(&account, "--cmd true --name good\n--cmd sleep --name hang\n--cmd true --name last\n");
    let mut command = account.command(&["batch", "play", "night.list", "-P", "2"]);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("starts");
    let begun = std::time::Instant::now();
    while site.lock().expect("free").tasks.len() < 3 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the third task is not submitted");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let busy = account.run(&["batch", "play", "night.list"]).with(1);
    busy.says(&["this list is played already"]);
    child.kill().expect("our child");
    child.wait().expect("our child");

    // The one that hung is let go; nothing is submitted again.
    site.lock().expect("free").tasks.get_mut(&2).expect("the second").0 = "good".to_owned();
    account.run(&["batch", "play", "night.list", "-P", "2"]).with(0);
    assert_eq!(site.lock().expect("free").tasks.len(), 3);
}

#[test]
fn all_that_is_wrong_with_a_list_is_told_before_anything_is_sent() {
    let (server, _site) = site();
    let account = Account::at(&server);
    list(&account, "missing.sh\n--cmd x --cpus 3\n");
    account
        .run(&["batch", "play", "night.list"])
        .with(1)
        .says(&["night.list, line 1: cannot read", "night.list, line 2: unexpected argument '--cpus'"]);
    assert!(server.seen().is_empty());
}
