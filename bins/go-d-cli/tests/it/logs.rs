use crate::client::Account;
use crate::fake::{Answer, Fake};
use serde_json::json;

const FOLLOW: &str = "GET /task/7/log?stream=out&follow=1";

fn text(id: usize, text: &str) -> String {
    format!("event: text\nid: {id}\ndata: {}\n\n", json!(text))
}

#[test]
fn a_broken_stream_is_taken_up_where_it_broke() {
    let server = Fake::start(|seen, before| match (seen.line().as_str(), before) {
        (FOLLOW, 0) => {
            Answer::events(&format!(": hi\n\n{}{}", text(4, "one\n"), text(8, "tw\ro"))).breaking()
        }
        // A server that closes in good order without having said the end.
        (FOLLOW, 1) => Answer::events(&text(10, "!\n")),
        (FOLLOW, 2) => Answer::events(&format!(
            "{}event: new\ndata: x\n\nevent: end\nid: 16\ndata: {{}}\n\n",
            text(16, "\x1b[1mé\n")
        )),
        _ => Answer::missing(),
    });
    let done = Account::at(&server).run(&["logs", "-f", "7"]).with(0);
    assert_eq!(done.out(), "one\ntw\ro!\n\x1b[1mé\n", "piped output is raw");
    let places: Vec<Option<String>> = server
        .seen()
        .iter()
        .filter(|seen| seen.line() == FOLLOW)
        .map(|seen| seen.headers.get("last-event-id").cloned())
        .collect();
    assert_eq!(places, [None, Some("8".to_owned()), Some("10".to_owned())]);
    assert_eq!(server.logins(), 1);
}

#[test]
fn bytes_that_are_no_text_arrive_as_they_are() {
    let file: &[u8] = b"a\n\xff\xfe\x00b\n";
    let server = Fake::start(move |seen, _| match (seen.line().as_str(), seen.headers.get("range")) {
        (FOLLOW, None) => Answer::events(&format!(
            "{}{}event: end\ndata: {{}}\n\n",
            text(2, "a\n"),
            text(file.len(), &String::from_utf8_lossy(&file[2..]))
        )),
        ("GET /task/7/log?stream=out", Some(range)) => {
            assert_eq!(range, &format!("bytes=2-{}", file.len() - 1));
            Answer::raw(206, "application/octet-stream", vec![file[2..].to_vec()])
        }
        ("GET /task/7/log?stream=out", None) => Answer::raw(200, "text/plain", vec![file.to_vec()]),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    assert_eq!(account.run(&["logs", "7"]).with(0).bytes, file);
    assert_eq!(account.run(&["logs", "7", "--follow"]).with(0).bytes, file);
}

#[test]
fn the_error_output_and_faults() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /task/7/log?stream=err" => {
            Answer::raw(200, "text/plain; charset=utf-8", vec![b"oops\n".to_vec()])
        }
        "GET /task/8/log?stream=out&follow=1" => {
            Answer::events("event: error\ndata: \"it\\u001b[31m broke\"\n\n")
        }
        "GET /task/9/log?stream=out&follow=1" => Answer::events("event: text\nid: 5\ndata: no json\n\n"),
        _ => Answer::missing(),
    });
    let account = Account::at(&server);
    assert_eq!(account.run(&["logs", "--err", "7"]).with(0).out(), "oops\n");
    account.run(&["logs", "-f", "8"]).with(1).says(&["reading the output of task 8: it broke"]);
    account.run(&["logs", "-f", "9"]).with(1).says(&["cannot read", "Is it a GO-Docker server?"]);
    account.run(&["logs", "10"]).with(1);
}

#[test]
fn submit_and_follow_shows_both_outputs_and_ends_as_the_job() {
    let server = Fake::start(|seen, _| match seen.line().as_str() {
        "GET /config" => Answer::json(&json!({"images": []})),
        "POST /task" => Answer::json(&json!({"msg": "Task added", "id": 7})),
        FOLLOW => Answer::events(&format!("{}event: end\ndata: {{}}\n\n", text(4, "out\n"))),
        "GET /task/7/log?stream=err&follow=1" => {
            Answer::events(&format!("{}event: end\ndata: {{}}\n\n", text(4, "err\n")))
        }
        "GET /task/7/wait?timeout=50" => {
            Answer::json(&json!({"id": 7, "status": {"primary": "over", "exitcode": 5}}))
        }
        _ => Answer::missing(),
    });
    let done = Account::at(&server).run(&["submit", "--cmd", "true", "--follow"]).with(5);
    assert_eq!(done.out(), "out\n", "nothing but the job's output");
    assert_eq!(done.err, "Task added. Job id is 7\nerr\n");
}
