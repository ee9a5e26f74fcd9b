//! Checks of users, projects, usage, images, notices and pins.

use super::Wanted;
use super::fixture::{Kit, START, attempt, exit, kit, notice, spec, user};
use god_core::store::{Change, Committed, Store, UsageOf};
use god_core::units::Day;
use god_core::usage::{UsageRecord, UsageSum};
use god_core::user::{KeyRecord, Project, ProjectVolume, User};
use god_core::{AttemptKey, Cores, Event, ProjectId, Task, TaskId, Timestamp};
use std::sync::Arc;

const DAY: i64 = 86_400_000;

fn someone(name: &str) -> User {
    User {
        id: user(name),
        kind: "local".into(),
        password: Some("$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA".into()),
        uid: 4_000_000_000,
        gid: 100,
        sgids: vec![1, 2],
        email: "x@example.org".into(),
        home: "/home/x".into(),
        keys: vec![KeyRecord { prefix: "abc".into(), hash: "aGFzaA==".into(), created: Timestamp(START) }],
        key_version: 3,
        ssh_public: "ssh-ed25519 AAAA".into(),
        prio: 70,
        quotas: [1.5, 0.0, 1e9],
        active: true,
        guest: true,
        rev: 0,
    }
}

fn some_project(name: &str) -> Project {
    Project {
        id: ProjectId::new(name),
        description: "a project".into(),
        prio: 10,
        members: vec![user("bob"), user("eve")],
        volumes: vec![ProjectVolume {
            name: "data".into(),
            path: "/data/p".into(),
            mount: "/mnt/p".into(),
            acl: "rw".into(),
        }],
        quotas: [0.0, 2.0, 3.0],
        rev: 0,
    }
}

/// A user is made once and replaced only over the version that was read.
pub async fn users_are_written_over_their_version(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    let put = async |user: &User| store.put_user(user).await.expect("answers");
    let read = async |name: &str| store.user(&user(name)).await.expect("reads");
    assert_eq!(read("bob").await, None);
    assert!(!put(&User { rev: 1, ..someone("bob") }).await, "there is none to replace");
    assert!(put(&someone("bob")).await);
    assert!(!put(&someone("bob")).await, "there is one already");
    let bob = read("bob").await.expect("written");
    assert_eq!(bob, User { rev: 1, ..someone("bob") });
    assert!(put(&User { prio: 1, ..bob.clone() }).await);
    assert!(!put(&User { prio: 2, ..bob.clone() }).await, "somebody was faster");
    assert_eq!(read("bob").await, Some(User { prio: 1, rev: 2, ..bob }));
    assert!(put(&someone("alice")).await);
    let names = async || {
        let users = store.users().await.expect("reads");
        users.iter().map(|user| user.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["alice", "bob"]);
    store.remove_user(&user("alice")).await.expect("removes");
    store.remove_user(&user("alice")).await.expect("removing twice is fine");
    assert_eq!(names().await, ["bob"]);
    assert!(put(&someone("alice")).await, "a removed user can be made again");
}

/// A project is made once and replaced only over the version that was read.
pub async fn projects_are_written_over_their_version(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    let put = async |project: &Project| store.put_project(project).await.expect("answers");
    let all = async || store.projects().await.expect("reads");
    assert_eq!(all().await, []);
    assert!(put(&some_project("p2")).await);
    assert!(put(&some_project("p1")).await);
    assert!(!put(&some_project("p1")).await, "there is one already");
    let one = Project { rev: 1, ..some_project("p1") };
    assert_eq!(all().await, [one.clone(), Project { rev: 1, ..some_project("p2") }]);
    assert!(put(&Project { members: Vec::new(), ..one.clone() }).await);
    assert!(!put(&one).await, "somebody was faster");
    store.remove_project(&one.id).await.expect("removes");
    assert_eq!(all().await.len(), 1);
}

/// Runs a task from `from` to `to` and gives the change that ends it.
async fn end_of_run(kit: &Kit, id: TaskId, number: u32, from: i64, to: i64) -> Change {
    kit.step(id, &Event::Claimed(attempt(number))).await;
    let running = kit.step(id, &Event::Started { run: None, since: Timestamp(from) }).await;
    kit.event(&running, &Event::Ended(exit(0, Timestamp(from), Timestamp(to))))
}

/// An attempt is counted once, whatever is repeated.
pub async fn an_attempt_is_booked_once(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let end = end_of_run(&kit, id, 1, START, START + 500).await;
    assert!(end.usage.is_some());
    assert_eq!(kit.commit(vec![end.clone(), end.clone()]).await, [Committed::Done, Committed::Stale]);
    assert_eq!(kit.commit_one(end.clone()).await, Committed::Stale);
    let over = kit.get(id).await;
    let archived = Change { usage: end.usage, ..kit.event(&over, &Event::Archived) };
    assert_eq!(kit.commit_one(archived).await, Committed::Done, "the same attempt with another change");
    let want = [UsageSum { day: Timestamp(START).day(), cores: 3, ram: 4, millis: 500 }];
    let sums = kit.store.usage(&UsageOf::User(user("bob")), Day(0)).await.expect("reads");
    assert_eq!(sums, want);
    let project = UsageOf::Project(ProjectId::new("default"));
    assert_eq!(kit.store.usage(&project, Day(0)).await.expect("reads"), want);
}

/// Sums are by day and by user or project, from a day on, and survive large numbers.
pub async fn usage_is_summed_by_day(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let day = Timestamp(START).day();
    for (owner, project, from, millis) in [
        ("bob", "p1", 0, 1000),
        ("bob", "p2", 10, 2000),
        ("eve", "p1", 20, 4000),
        ("bob", "p1", DAY, 8000),
        ("bob", "p1", 3 * DAY, 1 << 40),
    ] {
        let mut asked = spec(owner, None);
        asked.owner.project = ProjectId::new(project);
        let id = kit.submit(asked).await;
        let mut end = end_of_run(&kit, id, 1, START + from, START + from + 1).await;
        end.usage = end.usage.map(|usage| UsageRecord { millis, ..usage });
        assert_eq!(kit.commit_one(end).await, Committed::Done);
    }
    let sum =
        |n: u64, days: i32, millis| UsageSum { day: Day(day.0 + days), cores: 3 * n, ram: 4 * n, millis };
    let of_user = async |name, from| kit.store.usage(&UsageOf::User(user(name)), from).await.expect("reads");
    let bob = [sum(2, 0, 3000), sum(1, 1, 8000), sum(1, 3, 1 << 40)];
    assert_eq!(of_user("bob", Day(0)).await, bob);
    assert_eq!(of_user("bob", Day(day.0 + 1)).await, bob[1..]);
    assert_eq!(of_user("bob", Day(day.0 + 4)).await, []);
    assert_eq!(of_user("eve", day).await, [sum(1, 0, 4000)]);
    assert_eq!(of_user("nobody", Day(0)).await, []);
    let p1 = UsageOf::Project(ProjectId::new("p1"));
    assert_eq!(
        kit.store.usage(&p1, Day(0)).await.expect("reads"),
        [sum(2, 0, 5000), sum(1, 1, 8000), sum(1, 3, 1 << 40)]
    );
    let lone = UsageRecord {
        key: AttemptKey { task: TaskId(1), attempt: 9 },
        owner: user("zoe"),
        project: ProjectId::new("p9"),
        day: Day(-1),
        cores: Cores(u32::MAX),
        ram: u32::MAX,
        millis: 1,
    };
    let id = kit.submit(spec("zoe", None)).await;
    let change = Change { usage: Some(lone), ..kit.event(&kit.get(id).await, &Event::Claimed(attempt(1))) };
    assert_eq!(kit.commit_one(change).await, Committed::Done);
    let most = u64::from(u32::MAX);
    let want = [UsageSum { day: Day(-1), cores: most, ram: most, millis: 1 }];
    assert_eq!(of_user("zoe", Day(-9)).await, want);
}

/// An image is known once a task that used it ended with exit code 0.
pub async fn images_that_worked_are_known(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let with = async |image: &str| {
        let mut asked = spec("bob", None);
        asked.image = image.into();
        kit.submit(asked).await
    };
    let (good, again, bad, running, none) =
        (with("z:1").await, with("z:1").await, with("b:1").await, with("r:1").await, with("").await);
    kit.finish(good, 0).await;
    kit.finish(again, 0).await;
    kit.finish(bad, 1).await;
    kit.start(running).await;
    kit.finish(none, 0).await;
    assert_eq!(kit.store.images().await.expect("reads"), ["z:1"]);
    kit.finish(with("a:1").await, 0).await;
    let mut images = kit.store.images().await.expect("reads");
    images.sort();
    assert_eq!(images, ["a:1", "z:1"]);
}

/// Notices come with their change, each once, and stay until they are acknowledged.
pub async fn notices_wait_until_acknowledged(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let id = kit.submit(spec("bob", None)).await;
    let ids = async |limit| {
        let waiting = kit.store.notices(limit).await.expect("reads");
        waiting.into_iter().map(|notice| notice.id).collect::<Vec<_>>()
    };
    assert!(ids(9).await.is_empty());
    let before = kit.get(id).await;
    let claim = kit.event(&before, &Event::Claimed(attempt(1)));
    let first = Change { notices: vec![notice("z", id), notice("a", id), notice("z", id)], ..claim };
    assert_eq!(kit.commit(vec![first.clone(), first.clone()]).await, [Committed::Done, Committed::Stale]);
    let stale = Change { notices: vec![notice("never", id)], ..first };
    assert_eq!(kit.commit_one(stale).await, Committed::Stale);
    let claimed = kit.get(id).await;
    let started = kit.event(&claimed, &Event::Started { run: None, since: kit.now() });
    let second = Change { notices: vec![notice("m", id), notice("a", id)], ..started };
    assert_eq!(kit.commit_one(second).await, Committed::Done);
    assert_eq!(ids(9).await, ["z", "a", "m"], "oldest first, each once");
    assert_eq!(ids(2).await, ["z", "a"]);
    assert_eq!(kit.store.notices(1).await.expect("reads"), [notice("z", id)]);
    kit.store.notices_sent(&["a".into(), "unknown".into()]).await.expect("answers");
    kit.store.notices_sent(&["a".into()]).await.expect("twice is fine");
    kit.store.notices_sent(&[]).await.expect("none is fine");
    assert_eq!(ids(9).await, ["z", "m"]);
}

/// Pinned texts are replaced, removed and found by the beginning of their key, which is no pattern.
pub async fn pins_are_found_by_prefix(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    let pin = async |key: &str, text: Option<&str>| {
        store.pin(vec![(key.to_owned(), text.map(str::to_owned))]).await.expect("pins");
    };
    for key in ["node/b", "node/a", "node_x", "node", "no%", "node/ü"] {
        pin(key, Some(key)).await;
    }
    let found = async |prefix: &str| store.pinned(prefix).await.expect("reads");
    let pair = |key: &str, text: &str| (key.to_owned(), text.to_owned());
    assert_eq!(
        found("node/").await,
        [pair("node/a", "node/a"), pair("node/b", "node/b"), pair("node/ü", "node/ü")]
    );
    assert_eq!(found("no%").await.len(), 1);
    assert_eq!(found("").await.len(), 6);
    assert_eq!(found("NODE").await, []);
    let batch = vec![
        ("node/a".to_owned(), Some("new".to_owned())),
        ("node/b".to_owned(), None),
        ("gone".to_owned(), None),
        ("twice".to_owned(), Some("1".to_owned())),
        ("twice".to_owned(), Some("2".to_owned())),
    ];
    store.pin(batch).await.expect("pins");
    assert_eq!(found("node/").await, [pair("node/a", "new"), pair("node/ü", "node/ü")]);
    assert_eq!(found("twice").await, [pair("twice", "2")], "in the order given");
    let long = "x".repeat(100_000);
    pin("long", Some(&long)).await;
    assert_eq!(found("long").await, [pair("long", &long)]);
    let task: Option<Task> = store.get(&[TaskId(1)]).await.expect("reads").remove(0);
    assert_eq!(task, None);
}
