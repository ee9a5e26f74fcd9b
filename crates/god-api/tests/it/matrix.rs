//! Every route as every kind of user: the table in `matrix.txt`.

use crate::world::{World, body, world_with};
use axum::body::Body;
use axum::http::{Method, Request};
use god_api::{Kind, RouteInfo, routes};
use god_core::admission::GuestRules;
use god_core::store::Store;
use god_core::{TaskId, UserId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tower::ServiceExt;

pub const ROLES: [(&str, &str); 8] = [
    ("nobody", ""),
    ("stranger", "sam"),
    ("owner", "bob"),
    ("member", "eve"),
    ("former", "fay"),
    ("guest", "gus"),
    ("inactive", "ida"),
    ("admin", "ada"),
];

/// One row of the table.
pub struct Row {
    pub method: Method,
    pub route: String,
    pub path: String,
    pub body: Option<String>,
    /// For each role, where members share and where they do not.
    pub expected: Vec<(u16, u16)>,
}

pub fn rows() -> Vec<Row> {
    let lines =
        include_str!("matrix.txt").lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split('|').map(str::trim).collect();
            let [route, request, expected] = parts[..] else { panic!("three parts: {line}") };
            let (method, route) = route.split_once(char::is_whitespace).expect("method and route");
            let mut request = request.split_whitespace();
            let number = |text: &str| text.parse::<u16>().expect("a status");
            let expected: Vec<(u16, u16)> = expected
                .split_whitespace()
                .map(|text| match text.split_once('/') {
                    Some((shared, alone)) => (number(shared), number(alone)),
                    None => (number(text), number(text)),
                })
                .collect();
            assert_eq!(expected.len(), ROLES.len(), "{line}");
            Row {
                method: method.parse().expect("a method"),
                route: route.trim().to_owned(),
                path: request.next().expect("a path").to_owned(),
                body: request.next().map(str::to_owned),
                expected,
            }
        })
        .collect()
}

/// Records that setting up the stage leaves: of its submits, and of the user who becomes inactive.
const SET_UP: usize = 2;

/// A site where all of [`ROLES`] are, with the three tasks.
pub struct Stage {
    pub world: World,
    tasks: [TaskId; 3],
}

pub async fn stage(share: bool) -> Stage {
    let mut world = world_with(|config| {
        config.share_project_tasks = share;
        config.site.guests = Some(GuestRules { allow_root: true });
    })
    .await;
    for (uid, login) in (3001..).zip(["sam", "fay", "gus", "ida"]) {
        world.add_user(login, uid).await;
    }
    world.edit_user("gus", |user| user.guest = true).await;
    world.call("ada", "PUT", "/user/ida", Some(json!({"active": false}))).await.ok();
    // Members change: the server may remember the projects for a second, so this comes before it reads them.
    let mut lab = world.store.projects().await.expect("answers").pop().expect("lab");
    lab.members.push(UserId::new("fay"));
    assert!(world.store.put_project(&lab).await.expect("answers"));
    lab = world.store.projects().await.expect("answers").pop().expect("lab");
    lab.members.retain(|member| member.as_str() != "fay");
    assert!(world.store.put_project(&lab).await.expect("answers"));
    let mut tasks = [TaskId(0); 3];
    for task in &mut tasks {
        *task = world.submit("bob", |body| body["user"] = json!({"project": "lab"})).await;
    }
    for task in &tasks[1..] {
        world.start(*task).await;
    }
    std::fs::write(world.job_dir(tasks[2]).join("god.log"), "hi\n").expect("written");
    world.end(tasks[2], 0).await;
    Stage { world, tasks }
}

impl Stage {
    /// The status of one request of the table. The body of the answer is not waited for: some never end.
    pub async fn ask(&self, row: &Row, login: &str) -> u16 {
        let [pending, running, over] = self.tasks.map(|task| task.to_string());
        let path = row.path.replace("PENDING", &pending).replace("RUNNING", &running).replace("OVER", &over);
        let path = path.replace("BOBKEY", &self.world.keys["bob"][..12]);
        let mut request = Request::builder().method(row.method.clone()).uri(path);
        if !login.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.world.tokens[login]));
        }
        let body = row.body.as_ref().map_or(Body::empty(), |name| Body::from(self.body(name).to_string()));
        let answer = self.world.router.clone().oneshot(request.body(body).expect("a request")).await;
        answer.expect("never fails").status().as_u16()
    }

    fn body(&self, name: &str) -> Value {
        let submit = |change: &dyn Fn(&mut Value)| {
            let mut body = body();
            change(&mut body);
            body
        };
        match name {
            "login" => json!({"user": "bob", "apikey": self.world.keys["bob"]}),
            "push" => json!({"key": "push-key", "stat": [{"name": "god_x", "value": 1}]}),
            "badpush" => json!({"key": "other", "stat": []}),
            "on" => json!({"value": "on"}),
            "submit" => body(),
            "project" => submit(&|body| body["user"] = json!({"project": "lab"})),
            "behalf" => submit(&|body| body["user"] = json!({"id": "bob"})),
            "root" => submit(&|body| body["container"]["root"] = json!(true)),
            "field" => json!({"name": "maxlifespan", "value": "2d"}),
            "adminfield" => json!({"name": "lane", "value": "fast"}),
            "userkey" => json!({
                "usage": {"prio": 70},
                "credentials": {"public": format!("ssh-ed25519 {} bob", "A".repeat(60))},
            }),
            "running" => json!({"ids": [self.tasks[1]]}),
            "over" => json!({"ids": [self.tasks[2]]}),
            "ofbob" => json!({"filter": {"user": "bob"}}),
            "own" => json!({"filter": {"state": "pending,running"}}),
            "newproject" => json!({"id": "new", "description": "", "prio": 50, "members": ["bob"]}),
            "project100" => json!({"id": "lab", "prio": 100, "members": ["bob"], "volumes": []}),
            other => panic!("no body named {other}"),
        }
    }
}

#[test]
fn b2_every_route_is_in_the_table() {
    let known: BTreeSet<(String, String)> =
        routes().iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    let listed: BTreeSet<(String, String)> =
        rows().iter().map(|row| (row.method.to_string(), row.route.clone())).collect();
    assert_eq!(known, listed);
}

#[tokio::test]
async fn b2_matrix_of_routes_and_roles() {
    let mut wrong = Vec::new();
    for row in rows() {
        for (role, (name, login)) in ROLES.iter().enumerate() {
            for share in [true, false] {
                let (shared, alone) = row.expected[role];
                let expected = if share { shared } else { alone };
                if !share && shared == alone && *name != "member" {
                    continue;
                }
                let got = stage(share).await.ask(&row, login).await;
                if got != expected {
                    wrong.push(format!(
                        "{} {} {name} sharing {share}: {got}, not {expected}",
                        row.method, row.path
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn f11_every_change_leaves_one_record() {
    let changes: Vec<_> =
        routes().into_iter().filter(|route| matches!(route.kind, Kind::Changes(_))).collect();
    assert!(changes.len() > 20);
    futures::future::join_all(changes.into_iter().map(one_record)).await;
}

async fn one_record(route: RouteInfo) {
    let Kind::Changes(action) = route.kind else { return };
    if route.path == "/api/1.0/logout" {
        // For browsers only: sessions.rs.
        return;
    }
    // As whoever may do it: the owner or the admin.
    let may = |row: &Row| [2, 7].into_iter().find(|role| row.expected[*role].0 == 200);
    let is_it = |row: &Row| row.method == route.method && row.route == route.path && may(row).is_some();
    let row = rows().into_iter().find(is_it);
    let row = row.unwrap_or_else(|| panic!("{} {} works for nobody", route.method, route.path));
    let login = ROLES[may(&row).expect("was found")].1;
    let stage = stage(true).await;
    let before = stage.world.audited(SET_UP).await.len();
    assert_eq!(stage.ask(&row, login).await, 200);
    let records = stage.world.audited(before + 1).await;
    let new = &records[before..];
    assert_eq!(new.len(), 1, "{} {}: {new:?}", row.method, row.path);
    assert_eq!((new[0].action.as_str(), new[0].who.as_str()), (action, login), "{} {}", row.method, row.path);
    assert!(!new[0].object.is_empty() && !new[0].from.is_empty());
    for key in stage.world.keys.values().chain(stage.world.tokens.values()) {
        assert!(!format!("{new:?}").contains(key.as_str()), "no secret is recorded");
    }
}

#[tokio::test]
async fn f11_what_is_refused_or_only_read_leaves_none() {
    let stage = stage(true).await;
    let before = stage.world.audited(SET_UP).await.len();
    for row in rows() {
        let is_change = routes()
            .iter()
            .any(|r| r.method == row.method && r.path == row.route && matches!(r.kind, Kind::Changes(_)));
        for (role, (_, login)) in ROLES.iter().enumerate() {
            let is_login = row.route == "/api/1.0/login";
            if !is_login && (!is_change || row.expected[role].0 != 200) {
                stage.ask(&row, login).await;
            }
        }
    }
    stage.world.submit("eve", |_| {}).await;
    let records = stage.world.audited(before + 1).await;
    assert_eq!(records.len(), before + 1, "only the last submit");
}
