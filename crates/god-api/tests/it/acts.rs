//! Requests on tasks.

use crate::world::world;
use god_core::state::{Ask, WishStatus};
use serde_json::json;

#[tokio::test]
async fn kill_is_stored_once_and_harmless_afterwards() {
    let world = world().await;
    let pending = world.submit("bob", |_| {}).await;
    let running = world.submit("bob", |_| {}).await;
    world.start(running).await;
    let kill = |id| {
        let world = &world;
        async move { world.call("bob", "DELETE", &format!("/task/{id}"), None).await }
    };
    let answer = kill(pending).await.ok();
    assert_eq!(answer["id"], pending.0);
    assert_eq!(answer["status"]["secondary"], "killed");
    let doc = world.get("bob", &format!("/task/{pending}")).await.ok();
    assert_eq!(doc["status"]["primary"], "over");
    assert_eq!(doc["status"]["exitcode"], 137);
    assert_eq!(doc["status"]["date_running"], doc["status"]["date_over"]);

    kill(running).await.ok();
    let wish = world.task(running).await.wish.expect("asked");
    assert_eq!((wish.ask, wish.status), (Ask::Kill, WishStatus::Requested));
    let rev = world.task(running).await.rev;
    for id in [pending, running] {
        kill(id).await.ok();
    }
    assert_eq!(world.task(running).await.rev, rev, "asking again changes nothing");
    let doc = world.get("bob", &format!("/task/{running}")).await.ok();
    assert_eq!(doc["status"]["secondary"], "kill requested");
}

#[tokio::test]
async fn suspend_resume_and_reschedule() {
    let world = world().await;
    let pending = world.submit("bob", |_| {}).await;
    let running = world.submit("bob", |_| {}).await;
    world.start(running).await;
    for (method, what, word) in [
        ("GET", "suspend", "suspend requested"),
        ("POST", "suspend", "suspend requested"),
        ("GET", "reschedule", "reschedule requested"),
        ("POST", "reschedule", "reschedule requested"),
        // A run that is on its way back into the queue stays so.
        ("GET", "resume", "reschedule requested"),
    ] {
        let answer = world.call("bob", method, &format!("/task/{running}/{what}"), None).await.ok();
        assert_eq!(answer["status"]["secondary"], word, "{method} {what}");
        assert_eq!(answer["status"]["primary"], "running");
    }
    for (what, word) in [("suspend", "suspend rejected"), ("resume", "resume rejected")] {
        let answer = world.get("bob", &format!("/task/{pending}/{what}")).await.ok();
        assert_eq!(answer["status"]["secondary"], word);
    }
    world.get("bob", &format!("/task/{pending}/reschedule")).await.ok();
    let doc = world.get("bob", &format!("/task/{pending}")).await.ok();
    assert_eq!(doc["status"]["primary"], "pending");
}

#[tokio::test]
async fn dynamic_fields() {
    let world = world().await;
    let id = world.submit("bob", |_| {}).await;
    let put = |login: &'static str, name: &'static str, value: &'static str| {
        let body = json!({"name": name, "value": value});
        let world = &world;
        async move { world.call(login, "PUT", &format!("/task/{id}"), Some(body)).await }
    };
    put("bob", "maxlifespan", "2d").await.ok();
    let doc = world.get("bob", &format!("/task/{id}")).await.ok();
    assert_eq!(doc["requirements"]["maxlifespan"], "2d");
    put("bob", "maxlifespan", "soon").await.error(400);
    put("bob", "cpu", "64").await.error(400);
    put("bob", "lane", "fast").await.error(403);
    put("ada", "lane", "fast").await.ok();
    let doc = world.get("bob", &format!("/task/{id}")).await.ok();
    assert_eq!(doc["requirements"]["lane"], "fast");
    let path = format!("/task/{id}");
    world.call("bob", "PUT", &path, Some(json!({"value": "x"}))).await.error(400);
    world.call("bob", "PUT", &path, Some(json!({"name": "maxlifespan"}))).await.error(400);
    world.call("bob", "PUT", &path, Some(json!({"name": "maxlifespan", "value": 90}))).await.ok();
}

#[tokio::test]
async fn all_tasks_of_a_user_or_of_a_tag() {
    let world = world().await;
    let tagged = world.submit("bob", |body| body["meta"]["tags"] = json!(["batch:a", "x"])).await;
    let other = world.submit("bob", |body| body["meta"]["tags"] = json!(["batch:ab"])).await;
    let eves = world.submit("eve", |body| body["meta"]["tags"] = json!(["batch:a"])).await;
    world.call("eve", "DELETE", "/user/bob/task", None).await.error(403);
    let answer = world.call("bob", "DELETE", "/user/bob/task?tag=batch%3Aa", None).await.ok();
    assert_eq!(answer["nb"], 1);
    assert!(world.task(tagged).await.phase().is_over());
    assert!(!world.task(other).await.phase().is_over());
    world.call("ada", "DELETE", "/user/bob/task", None).await.ok();
    assert!(world.task(other).await.phase().is_over());
    assert!(!world.task(eves).await.phase().is_over());
}
