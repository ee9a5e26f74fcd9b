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
        line if line.starts_with("DELETE /task/") => Answer::json(
            &json!({"msg": "Task will be killed", "id": 1, "status": {"secondary": "kill requested"}}),
        ),
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
