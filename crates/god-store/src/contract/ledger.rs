//! Checks of the usage of everybody, and of the audit trail.

use super::Wanted;
use super::fixture::{START, attempt, exit, kit, spec, user};
use god_core::store::{AuditRecord, Committed, Store, UsageOf};
use god_core::units::Day;
use god_core::usage::{Ledger, UsageSum, Used};
use god_core::{Event, ProjectId, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

const DAY: i64 = 86_400_000;

/// Runs a task for a second that ends `day` days after the start.
async fn ran(kit: &super::fixture::Kit, owner: &str, project: &str, day: i64) {
    let mut asked = spec(owner, None);
    asked.owner.project = ProjectId::new(project);
    let id = kit.submit(asked).await;
    let from = START + day * DAY;
    kit.step(id, &Event::Claimed(attempt(1))).await;
    let running = kit.step(id, &Event::Started { run: None, since: Timestamp(from) }).await;
    let end = kit.event(&running, &Event::Ended(exit(0, Timestamp(from), Timestamp(from + 1000))));
    assert_eq!(kit.commit_one(end).await, Committed::Done);
}

fn used(n: u64) -> Used {
    Used { millis: 1000 * n, cores: 3 * n, ram: 4 * n, disk: 0 }
}

fn users(of: &[(&str, u64)]) -> BTreeMap<god_core::UserId, Used> {
    of.iter().map(|(name, n)| (user(name), used(*n))).collect()
}

fn projects(of: &[(&str, u64)]) -> BTreeMap<ProjectId, Used> {
    of.iter().map(|(name, n)| (ProjectId::new(*name), used(*n))).collect()
}

/// One read tells the sums of everybody in a window of days, idle days or not.
pub async fn usage_of_everybody_is_read_at_once(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let since = async |day| kit.store.usage_since(day).await.expect("reads");
    assert_eq!(since(Day(0)).await, Ledger::default());
    let first = Timestamp(START).day();
    for (owner, project, day) in
        [("bob", "p1", 0), ("bob", "p2", 0), ("eve", "p1", 1), ("bob", "p1", 5), ("ann", "default", 9)]
    {
        ran(&kit, owner, project, day).await;
    }
    let day = |n: i32| Day(first.0 + n);
    let all = Ledger {
        users: users(&[("ann", 1), ("bob", 3), ("eve", 1)]),
        projects: projects(&[("default", 1), ("p1", 3), ("p2", 1)]),
    };
    assert_eq!(since(Day(0)).await, all);
    assert_eq!(since(day(0)).await, all);
    let late = Ledger {
        users: users(&[("ann", 1), ("bob", 1), ("eve", 1)]),
        projects: projects(&[("default", 1), ("p1", 2)]),
    };
    assert_eq!(since(day(1)).await, late);
    assert_eq!(since(day(10)).await, Ledger::default());
}

/// What was counted before a reset counts no more, and what ends after it does.
pub async fn a_reset_forgets_what_was_counted(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let kit = kit(make).await;
    let since = async || kit.store.usage_since(Day(0)).await.expect("reads");
    for (owner, project, day) in [("bob", "p1", 0), ("bob", "bob", 1), ("eve", "p1", 1)] {
        ran(&kit, owner, project, day).await;
    }
    let p1 = UsageOf::Project(ProjectId::new("p1"));
    kit.store.reset_usage(&p1).await.expect("resets");
    kit.store.reset_usage(&p1).await.expect("twice is fine");
    assert_eq!(kit.store.usage(&p1, Day(0)).await.expect("reads"), []);
    let want = Ledger { users: users(&[("bob", 2), ("eve", 1)]), projects: projects(&[("bob", 1)]) };
    assert_eq!(since().await, want, "users keep theirs");
    kit.store.reset_usage(&UsageOf::User(user("bob"))).await.expect("resets");
    let want = Ledger { users: users(&[("eve", 1)]), projects: projects(&[("bob", 1)]) };
    assert_eq!(since().await, want, "a project with a user's name is another thing");
    ran(&kit, "bob", "p1", 1).await;
    let day = Day(Timestamp(START).day().0 + 1);
    let sum = UsageSum { day, cores: 3, ram: 4, millis: 1000 };
    assert_eq!(kit.store.usage(&p1, Day(0)).await.expect("reads"), [sum]);
    let want =
        Ledger { users: users(&[("bob", 1), ("eve", 1)]), projects: projects(&[("bob", 1), ("p1", 1)]) };
    assert_eq!(since().await, want);
}

/// The trail grows at its end, in order, and is read in pages.
pub async fn the_audit_trail_keeps_every_act(make: &impl AsyncFn(Wanted) -> Arc<dyn Store>) {
    let store = kit(make).await.store;
    let act = |n: i64| AuditRecord {
        at: Timestamp(START - n),
        who: "ädmin".into(),
        from: "192.0.2.7".into(),
        action: "user.change".into(),
        object: format!("bob{n}"),
        before: (n > 0).then(|| serde_json::json!({"prio": n, "quotas": [1.5, null]})),
        after: (n != 2).then(|| serde_json::json!({"prio": 60})),
    };
    let read = async |after, limit| store.audited(after, limit).await.expect("reads");
    assert_eq!(read(None, 9).await, []);
    store.audit(&[]).await.expect("none is fine");
    store.audit(&[act(0), act(1)]).await.expect("adds");
    store.audit(&[act(2)]).await.expect("adds");
    let all = read(None, 9).await;
    let acts: Vec<_> = all.iter().map(|(_, act)| act.clone()).collect();
    assert_eq!(acts, [act(0), act(1), act(2)]);
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{all:?}");
    assert_eq!(read(None, 2).await, all[..2]);
    assert_eq!(read(Some(all[0].0), 1).await, all[1..2]);
    assert_eq!(read(Some(all[2].0), 9).await, []);
    assert_eq!(read(Some(u64::MAX), 9).await, []);
    assert_eq!(read(None, 0).await, []);
}
