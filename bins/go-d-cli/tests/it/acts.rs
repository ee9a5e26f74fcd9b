use crate::client::Account;
use crate::fake::{Answer, Fake};
use serde_json::{Value, json};

fn server() -> Fake {
    Fake::start(|seen, _| match seen.line().as_str() {
        "DELETE /task/5" => Answer::status(404, &json!({"error": "there is no task 5"})),
        "DELETE /task/6" => Answer::status(403, &json!({"error": "it is not yours"})),
        "POST /task/3/suspend" => {
            Answer::json(&json!({"msg": "Not possible in the state the task is in", "id": 3,
            "status": {"primary": "pending", "secondary": "suspend rejected"}}))
        }
        "POST /task/3/resume" | "POST /task/3/reschedule" => {
            Answer::json(&json!({"id": 3, "status": {"secondary": null}}))
        }
        "DELETE /user/ada/task?tag=a+b" => Answer::json(&json!({"msg": "2 tasks will be killed"})),
        "GET /task/7" => {
            Answer::json(&json!({"requirements": {"array": {"values": "2:8:3", "tasks": [8, 9, 10]}}}))
        }
        line if line.starts_with("DELETE /task/") && !line.ends_with("/archive") => Answer::json(
            &json!({"msg": "Task will be killed", "id": 1, "status": {"secondary": "kill requested"}}),
        ),
        "GET /task/3/replay" => Answer::json(&json!({"msg": "Task added", "id": 77})),
        "PUT /task/3" => Answer::json(&json!({"msg": "changed"})),
        "GET /task/3/archive"
        | "DELETE /task/3/archive"
        | "GET /archive/30"
        | "DELETE /archive/0?tag=t"
        | "DELETE /user/ada/task" => Answer::json(&json!({"msg": "noted"})),
        _ => Answer::missing(),
    })
}

#[test]
fn one_bad_task_does_not_save_the_others() {
    let server = server();
    let account = Account::at(&server);
    let done = account.run(&["kill", "4-5,3", "7_5-8"]).with(1);
    assert_eq!(
        done.out(),
        "task 4: Task will be killed\ntask 3: Task will be killed\ntask 9: Task will be killed\n\
         task 10: Task will be killed\n"
    );
    done.says(&["killing task 5: there is no task 5", "1 of 5 failed"]);
    assert_eq!(
        server.lines(),
        [
            "GET /task/7",
            "POST /2/tasks/kill",
            "DELETE /task/4",
            "DELETE /task/5",
            "DELETE /task/3",
            "DELETE /task/9",
            "DELETE /task/10"
        ]
    );
    assert_eq!(server.logins(), 1);
}

#[test]
fn a_single_refusal_has_its_own_exit_code() {
    let server = server();
    let account = Account::at(&server);
    account.run(&["kill", "6"]).with(4).says(&["killing task 6: the server refuses: it is not yours"]);
    account.run(&["kill", "7_3"]).with(1).says(&["there is no 7_3", "2:8:3"]);
    account.run(&["kill"]).with(2);
    account.run(&["kill", "x"]).with(2).says(&["is no task: accepted are"]);
}

#[test]
fn other_requests() {
    let server = server();
    let account = Account::at(&server);
    account.run(&["suspend", "3"]).with(1).says(&["suspending task 3: Not possible in the state"]);
    assert_eq!(account.run(&["resume", "3"]).with(0).out(), "task 3: resume requested\n");
    assert_eq!(account.run(&["reschedule", "3", "-q"]).with(0).out(), "");
    let tagged = account.run(&["kill", "--tag", "a b"]).with(0);
    assert_eq!(tagged.out(), "tasks with tag a b: 2 tasks will be killed\n");
    let done = account.run(&["kill", "1,2", "--output", "json"]).with(0);
    let answers: Value = serde_json::from_str(done.out()).expect("JSON");
    assert_eq!(answers.as_array().map(Vec::len), Some(2));
}

#[test]
fn copies_changes_archives_and_removals() {
    let server = server();
    let account = Account::at(&server);
    let run = |line: &str| account.run(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(run("replay 3").with(0).out(), "Task added. Job id is 77\n");
    assert_eq!(run("replay 3 -q").with(0).out(), "77\n");
    assert_eq!(run("update 3 maxlifespan 3d").with(0).out(), "task 3: changed\n");
    assert_eq!(server.request("PUT /task/3").json(), json!({"name": "maxlifespan", "value": "3d"}));
    assert_eq!(run("archive 3").with(0).out(), "task 3: noted\n");
    assert_eq!(run("archive --older 30").with(0).out(), "tasks over for more than 30 days: noted\n");
    run("purge 3").with(1).says(&["cannot be undone", "--yes"]);
    assert_eq!(run("purge 3 --yes").with(0).out(), "task 3: noted\n");
    assert_eq!(
        run("purge --older 0 --tag t --yes").with(0).out(),
        "tasks over for more than 0 days: noted\n"
    );
    assert_eq!(run("kill --mine").with(0).out(), "your tasks: noted\n");
    for bad in ["purge", "purge 3 --tag t", "archive", "kill --mine --tag t", "update 3 x"] {
        run(bad).with(2);
    }
}

#[test]
fn sessions() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /task/9" => {
            Answer::json(&json!({"id": 9, "user": {"id": "ada"}, "command": {"interactive": true},
            "container": {"root": false, "ports": ["10022"], "meta": {"Node": {"Name": "n1"}}},
            "status": {"primary": "running"}}))
        }
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    assert_eq!(account.run(&["ssh", "9"]).with(0).out(), "user\tada\nhost\tn1\nport\t10022\n");
    let table = account.run(&["ssh", "9", "--output", "table"]).with(0);
    assert_eq!(table.out(), "ssh -p 10022 ada@n1\n");
    let bin = account.home.path().join("bin");
    std::fs::create_dir(&bin).expect("made");
    let path = bin.to_str().expect("text").to_owned();
    let account = account.set("PATH", &path);
    account.run(&["ssh", "9", "--run"]).with(1).says(&["cannot start ssh"]);
    std::fs::write(bin.join("ssh"), "#!/bin/sh\necho \"called $*\"\nexit 9\n").expect("written");
    std::fs::set_permissions(bin.join("ssh"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("ours");
    assert_eq!(account.run(&["ssh", "9", "--run"]).with(9).out(), "called -p 10022 ada@n1\n");
}

#[test]
fn many_tasks_are_killed_with_one_question() {
    let server = Fake::start(|seen, _| match seen.path.as_str() {
        "/api/2/tasks/kill" => {
            let ids = seen.json()["ids"].clone();
            let asked: Vec<Value> =
                ids.as_array().expect("ids").iter().filter(|id| **id != 3).cloned().collect();
            Answer::json(&json!({"asked": asked.len(), "idle": 1, "ids": asked}))
        }
        "/api/2/tasks" => Answer::json(&json!({"next": null, "tasks": [
            {"id": 12, "state": "pending", "name": "a1", "user": "ada"}, {"id": 11, "state": "pending", "name": "a2", "user": "ada"},
            {"id": 10, "state": "pending", "name": "a3", "user": "ada"}]})),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    let done = account.run(&["kill", "2-4"]).with(0);
    assert_eq!(
        done.out(),
        "task 2: Task will be killed\ntask 3: Nothing to do\ntask 4: Task will be killed\n"
    );
    assert_eq!(account.run(&["kill", "1-2500", "-q"]).with(0).out(), "");
    assert_eq!(server.lines().len(), 4, "a thousand at a time: {:?}", server.lines());
    let done = account.run(&["kill", "--state", "pending", "--name", "a"]).with(0);
    assert_eq!(done.out().lines().count(), 3, "{}", done.out());
    let asked = server.lines().into_iter().rfind(|line| line.starts_with("GET ")).expect("asked");
    assert!(asked.contains("state=pending&user=ada&name=a&children=false"), "{asked}");
    account.run(&["kill", "--state", "over"]).with(2);
    account.run(&["kill", "7", "--name", "x"]).with(2);
}
