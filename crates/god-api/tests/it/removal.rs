//! Users: listing, changing, and removing them with their data.

use crate::world::world;
use god_core::state::{Ask, Outcome};
use god_core::store::Store;
use god_core::user::User;
use god_core::{TaskId, UserId};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

async fn user(world: &crate::world::World, login: &str) -> Option<User> {
    world.store.user(&UserId::new(login)).await.expect("answers")
}

#[tokio::test]
async fn admins_see_everybody_and_nobodys_key() {
    let world = world().await;
    let list = world.get("ada", "/user").await.ok();
    let ids: Vec<&Value> = list.as_array().expect("a list").iter().map(|user| &user["id"]).collect();
    assert_eq!(ids, ["ada", "bob", "eve"]);
    for user in list.as_array().expect("a list") {
        for field in ["email", "homeDirectory"] {
            assert!(user[field].is_string(), "{field}");
        }
        assert!(user["credentials"]["apikey"].as_str().expect("a text").ends_with("..."));
        assert_eq!(user["credentials"]["private"], "");
    }
    for key in world.keys.values() {
        assert!(!list.to_string().contains(key.as_str()), "a3: no key is listed");
    }
}

#[tokio::test]
async fn b1_a_user_sent_back_changes_only_what_the_sender_may() {
    let world = world().await;
    let mut document = world.get("ada", "/user/bob").await.ok();
    document["usage"] = json!({"prio": 80, "quota_time": 100.5, "quota_cpu": 4, "quota_ram": 8, "disk": 7});
    document["uid"] = json!(0);
    document["admin"] = json!(true);
    document["guest"] = json!(true);
    document["type"] = json!("x");
    document["credentials"]["apikey"] = json!("stolen");
    let before = user(&world, "bob").await.expect("exists");
    // Bob may change none of these.
    world.call("bob", "PUT", "/user/bob", Some(document.clone())).await.ok();
    assert_eq!(user(&world, "bob").await, Some(before.clone()));
    let answer = world.call("ada", "PUT", "/user/bob", Some(document)).await.ok();
    assert_eq!((&answer["usage"]["prio"], &answer["usage"]["quota_time"]), (&json!(80), &json!(100.5)));
    assert_eq!((&answer["uid"], &answer["admin"]), (&json!(2001), &json!(false)));
    let expected = User { prio: 80, quotas: [100.5, 4.0, 8.0], rev: before.rev + 1, ..before };
    assert_eq!(user(&world, "bob").await, Some(expected));
    let key = format!("ssh-ed25519 {}", "A".repeat(60));
    let body = json!({"credentials": {"public": key}});
    world.call("ada", "PUT", "/user/bob", Some(body.clone())).await.ok();
    assert_eq!(
        user(&world, "bob").await.expect("exists").ssh_public,
        "",
        "not even an admin sets somebody's key"
    );
    let answer = world.call("bob", "PUT", "/user/bob", Some(body)).await.ok();
    assert_eq!(answer["credentials"]["public"], key);
    for bad in [
        json!({"usage": {"prio": 101}}),
        json!({"usage": {"quota_cpu": -1}}),
        json!({"active": 1}),
        json!([]),
    ] {
        world.call("ada", "PUT", "/user/bob", Some(bad)).await.error(400);
    }
}

#[tokio::test]
async fn an_inactive_user_is_out_at_once() {
    let world = world().await;
    world.get("bob", "/image").await.ok();
    world.call("ada", "PUT", "/user/bob", Some(json!({"active": false}))).await.ok();
    world.get("bob", "/image").await.error(401);
    world.call("ada", "PUT", "/user/bob", Some(json!({"active": true}))).await.ok();
    world.get("bob", "/image").await.ok();
}

#[tokio::test]
async fn a_user_without_tasks_is_gone_at_once() {
    let world = world().await;
    world.call("ada", "DELETE", "/user/ada", None).await.error(400);
    world.call("ada", "DELETE", "/user/bob", None).await.ok();
    assert_eq!(user(&world, "bob").await, None);
    world.get("ada", "/user/bob").await.error(404);
    world.get("bob", "/image").await.error(401);
    let lab = world.store.projects().await.expect("answers").pop().expect("lab");
    assert_eq!(lab.members, [UserId::new("eve")], "memberships go too");
}

/// The server ends and purges the tasks of a removed user while it runs; a stand-in plays watcher and archiver.
#[tokio::test]
async fn a_removed_users_tasks_are_ended_and_purged_first() {
    let world = world().await;
    let pending = world.submit("bob", |_| {}).await;
    let running = world.submit("bob", |_| {}).await;
    let over = world.submit("bob", |_| {}).await;
    let eves = world.submit("eve", |_| {}).await;
    for task in [running, over] {
        world.start(task).await;
    }
    world.end(over, 0).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving =
        tokio::spawn(god_api::serve(listener, world.app.clone(), async { stopped.await.expect("told") }));
    let answer = world.call("ada", "DELETE", "/user/bob", None).await.ok();
    assert_eq!(answer["id"], "bob");
    world.get("bob", "/image").await.error(401);
    assert_eq!(world.get("ada", "/user/bob").await.ok()["removing"], true);
    world.call("ada", "PUT", "/user/bob", Some(json!({"active": true}))).await.error(400);
    assert_eq!(world.task(over).await.to_remove(), Some(Ask::Purge));
    assert!(world.task(pending).await.phase().is_over());
    assert!(world.task(running).await.kill_wanted());
    let killed = god_core::executor::Exit {
        by_request: true,
        ..god_core::executor::Exit {
            cause: god_core::executor::Cause::Code(137),
            by_request: true,
            started: None,
            ended: god_core::Timestamp(crate::world::START + 6000),
            cpu_us: 0,
            max_rss: god_core::Bytes(0),
        }
    };
    world.happen(running, god_core::state::Event::Ended(killed)).await;
    assert!(matches!(world.task(running).await.state.outcome(), Some(Outcome::Killed { .. })));
    let store: Arc<_> = world.store.clone();
    let archiver = async {
        loop {
            for task in store.scan(&god_core::store::Scan::ToRemove, None, 100).await.expect("answers") {
                store.purge(task.id).await.expect("answers");
            }
            if store.user(&UserId::new("bob")).await.expect("answers").is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), archiver).await.expect("the user is gone in time");
    let left = store.get(&[pending, running, over, eves]).await.expect("answers");
    let left: Vec<TaskId> = left.into_iter().flatten().map(|task| task.id).collect();
    assert_eq!(left, [eves]);
    stop.send(()).expect("still there");
    serving.await.expect("no panic").expect("no error");
}
