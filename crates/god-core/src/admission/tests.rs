use super::*;
use crate::ids::{ExecutorName, NodeName};
use crate::state::{Ask, TaskState};
use crate::units::Timestamp;
use serde_json::{Value, json};

fn user(id: &str) -> User {
    serde_json::from_value(json!({
        "id": id, "type": "local", "uid": 1001, "gid": 1001, "sgids": [4, 2000], "email": "a@b.org",
        "home": "/home/x", "quotas": [1.0, 2.0, 3.0],
    }))
    .expect("a user")
}

fn site() -> Site {
    let executor = |name: &str, images, features: &[&str]| ExecutorRules {
        name: name.to_owned(),
        features: features.iter().map(|f| (*f).to_owned()).collect(),
        images,
    };
    Site {
        maintenance: false,
        allow_root: false,
        guests: None,
        images: vec!["debian:12".to_owned()],
        allow_user_images: false,
        constraints: vec![Constraint {
            name: "disk".to_owned(),
            values: vec!["ssd".to_owned(), "hdd".to_owned()],
        }],
        executors: vec![
            executor("docker", true, &["kill", "pause"]),
            executor("local", false, &["kill", "interactive"]),
        ],
        networks: vec!["public".to_owned()],
        failure_policy: 2,
        default_cpu: 1,
        default_ram: 2,
        array_max: 1000,
        script_max: 1000,
        min_uid: 1000,
        min_gid: 100,
        time_limit_default: Some(Seconds(86_400)),
        time_limit_max: Some(Seconds(7 * 86_400)),
        dynamic_fields: vec![
            DynamicField { name: "maxlifespan".to_owned(), admin_only: false },
            DynamicField { name: "stage".to_owned(), admin_only: false },
            DynamicField { name: "lane".to_owned(), admin_only: true },
        ],
        mail: true,
    }
}

fn project(id: &str, member: &str) -> Project {
    let volumes = json!([{"name": "of-project", "path": "/data/p"}]);
    serde_json::from_value(
        json!({"id": id, "members": [member], "quotas": [4.0, 5.0, 6.0], "volumes": volumes}),
    )
    .expect("a project")
}

fn nodes() -> Vec<Node> {
    let node = |executor: &str, cores, gb| Node {
        name: NodeName::new(format!("{executor}{cores}")),
        executor: ExecutorName::new(executor),
        total: Amount { cores: Cores(cores), memory: Bytes::from_ram(gb), gpus: 0 },
        labels: Vec::new(),
        queue: 0,
        max_tasks: None,
    };
    vec![node("docker", 8, 16), node("docker", 4, 64), node("local", 64, 512)]
}

fn body() -> Value {
    json!({
        "meta": {"name": "n"}, "container": {"image": "debian:12"}, "command": {"cmd": "true"},
        "requirements": {}, "notify": {"email": true},
    })
}

struct Case {
    body: Value,
    site: Site,
    user: User,
    is_admin: bool,
    nodes: Vec<Node>,
}

fn case() -> Case {
    Case { body: body(), site: site(), user: user("bob"), is_admin: false, nodes: nodes() }
}

impl Case {
    fn run(&self) -> Result<TaskSpec, Refusal> {
        let asked = Submission::read(&self.body).map_err(Refusal::Invalid)?;
        let other = user("eve");
        let projects = [project("p", "bob"), project("q", "eve")];
        let who = Requester {
            user: &self.user,
            on_behalf: asked.user.as_deref().filter(|login| *login == "eve").map(|_| &other),
            projects: &projects,
            is_admin: self.is_admin,
        };
        let parents = BTreeSet::from([TaskId(3)]);
        let resolve = |owner: &Owner, asked: &[AskedVolume], offered: &[ProjectVolume]| {
            asked
                .iter()
                .filter(|v| v.name != "of-project" || offered.iter().any(|o| o.name == v.name))
                .map(|v| Volume {
                    name: v.name.clone(),
                    path: format!("/data/{}", owner.id),
                    mount: "/mnt/x".to_owned(),
                    writable: v.writable,
                })
                .collect()
        };
        let around =
            Surroundings { site: &self.site, nodes: &self.nodes, parents: &parents, volumes: &resolve };
        admit(asked, &who, &around)
    }
}

/// The outcome of the base case after `change`: "ok", "403 …" or the fault texts.
fn outcome(change: impl FnOnce(&mut Case)) -> String {
    let mut case = case();
    change(&mut case);
    match case.run() {
        Ok(_) => "ok".to_owned(),
        Err(Refusal::Forbidden(text)) => format!("403 {text}"),
        Err(refusal @ Refusal::Invalid(_)) => refusal.to_string(),
    }
}

/// The outcome with the value at a JSON pointer of the body replaced.
fn with(path: &'static str, value: Value) -> impl FnOnce(&mut Case) {
    move |case| {
        let (parent, key) = path.rsplit_once('/').expect("a pointer");
        if case.body.pointer(parent).is_none() {
            case.body[&parent[1..]] = json!({});
        }
        case.body.pointer_mut(parent).expect("made above")[key] = value;
    }
}

fn check(change: impl FnOnce(&mut Case), expected: &str) {
    let got = outcome(change);
    let fits = if expected == "ok" { got == "ok" } else { got.contains(expected) };
    assert!(fits, "expected {expected:?}, got {got:?}");
}

#[test]
fn the_owner_comes_from_the_record_alone() {
    let mut case = case();
    case.body["user"] =
        json!({"id": "bob", "uid": 0, "gid": 0, "sgids": [0], "email": "x", "homeDirectory": "/"});
    case.body["requirements"]["user_quota_time"] = json!(99);
    let spec = case.run().expect("admitted");
    assert_eq!((spec.owner.uid, spec.owner.gid), (1001, 1001));
    assert_eq!(spec.owner.sgids, [2000], "groups below the floor stay out");
    assert_eq!(spec.owner.email.as_deref(), Some("a@b.org"));
    assert_eq!(spec.owner.project.as_str(), "default");
    assert_eq!(spec.quotas, [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
    assert_eq!((spec.cores, spec.ram, spec.failure_policy), (Cores(1), 2, 2));
    assert_eq!(spec.network, "public");
    assert_eq!(spec.time_limit, Some(Seconds(86_400)));
    assert!(spec.notify_email);
}

#[test]
fn maintenance_and_other_owners() {
    check(|_| {}, "ok");
    check(|c| c.site.maintenance = true, "maintenance");
    check(
        |c| {
            c.site.maintenance = true;
            c.is_admin = true;
        },
        "ok",
    );
    check(with("/user/id", json!("eve")), "403 only admins");
    check(
        |c| {
            c.is_admin = true;
            c.body["user"] = json!({"id": "eve"});
        },
        "ok",
    );
    check(
        |c| {
            c.is_admin = true;
            c.body["user"] = json!({"id": "nobody"});
        },
        "user.id: there is no user",
    );
    check(|c| c.user.active = false, "403 the login bob is not active");
}

#[test]
fn projects() {
    check(with("/user/project", json!("default")), "ok");
    check(with("/user/project", json!("p")), "ok");
    check(with("/user/project", json!("q")), "403 bob is no member");
    check(with("/user/project", json!("none")), "403 bob is no member");
    let mut case = case();
    case.body["user"] = json!({"project": "p"});
    assert_eq!(case.run().expect("admitted").quotas, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn identities() {
    check(with("/container/root", json!(true)), "403 scripts can not run as root");
    check(|c| c.user.uid = 999, "uid 999");
    check(|c| c.user.gid = 0, "gid 0");
    check(|c| c.user.uid = 65_534, "uid 65534");
    check(|c| c.user.id = UserId::new("a/b"), "user.id");
    check(
        |c| {
            c.site.allow_root = true;
            c.user.uid = 0;
        },
        "uid 0",
    );
    let mut case = case();
    case.site.allow_root = true;
    case.body["container"]["root"] = json!(true);
    case.body["container"]["volumes"] =
        json!([{"name": "home", "acl": "rw"}, {"name": "go-docker", "acl": "rw"}]);
    let spec = case.run().expect("admitted");
    assert_eq!(spec.volumes.len(), 1, "reserved names are dropped");
    assert!(!spec.volumes[0].writable, "root jobs read only");
    case.body["container"]["root"] = json!(false);
    assert!(case.run().expect("admitted").volumes[0].writable);
}

#[test]
fn texts() {
    check(with("/meta/name", json!("  ")), "meta.name: is missing");
    check(with("/command/cmd", json!(" \n")), "command.cmd: is empty");
    check(with("/command/cmd", json!("x".repeat(1001))), "1001 bytes; accepted: at most 1000");
    check(with("/requirements/tmpstorage", json!({"size": "10x"})), "\"10x\" is no size");
    check(with("/requirements/tmpstorage", json!({"size": "10g"})), "ok");
    check(with("/requirements/network", json!("user")), "there is no network \"user\"; accepted: public");
}

#[test]
fn images() {
    check(with("/container/image", json!("evil")), "not offered here; accepted: debian:12");
    check(with("/container/image", json!("debian:12.evil")), "not offered");
    check(with("/container/image", json!("")), "is missing");
    check(
        |c| {
            c.site.allow_user_images = true;
            c.body["container"]["image"] = json!("registry.org:5000/a/b@sha256:00");
        },
        "ok",
    );
    for bad in ["-v/:/host", "a b", "a;b", "ä"] {
        check(
            |c| {
                c.site.allow_user_images = true;
                c.body["container"]["image"] = json!(bad);
            },
            "is no image",
        );
    }
    check(
        |c| {
            c.body["container"]["image"] = json!("");
            c.body["requirements"]["executor"] = json!("local");
        },
        "ok",
    );
}

#[test]
fn placement() {
    check(with("/requirements/executor", json!("docker:queue:native")), "ok");
    check(
        with("/requirements/executor", json!("swram")),
        "names no executor of this site; accepted: docker, local",
    );
    check(|c| c.site.executors.clear(), "no executor is configured");
    check(with("/command/interactive", json!(true)), "not built in yet on executor docker");
    check(
        |c| {
            c.body["command"] = json!({"interactive": true, "cmd": ""});
            c.body["requirements"]["executor"] = json!("local");
        },
        "ok",
    );
    check(with("/requirements/label", json!(["disk==ssd", null, ""])), "ok");
    for bad in ["disk==tape", "disk=ssd", "ssd", "==", "disk==ssd==x"] {
        check(
            with("/requirements/label", json!([bad])),
            "is not offered here; accepted: disk==ssd, disk==hdd",
        );
    }
}

#[test]
fn sizes() {
    check(with("/requirements/cpu", json!(8)), "ok");
    check(with("/requirements/ram", json!(64)), "ok");
    check(
        with("/requirements/cpu", json!(9)),
        "9 cores, 2 GiB fit on no node of executor docker; accepted: at most what its largest node has: 8 cores, 16 GiB",
    );
    check(
        |c| {
            c.body["requirements"] = json!({"cpu": 8, "ram": 64});
        },
        "fit on no node",
    );
    check(
        |c| {
            c.body["requirements"] = json!({"cpu": 999});
            c.nodes.clear();
        },
        "ok",
    );
    check(with("/requirements/gpus", json!(1)), "and 1 GPUs fit on no node");
    check(
        |c| {
            c.body["requirements"] = json!({"gpus": 1});
            c.nodes.clear();
        },
        "offers no GPUs",
    );
    check(with("/requirements/cpu", json!(0)), "requirements.cpu: is 0");
    check(with("/requirements/ram", json!(-1)), "requirements.ram: is -1");
}

#[test]
fn arrays_and_limits() {
    check(with("/requirements/array", json!({"values": "1:1000%5"})), "ok");
    check(with("/requirements/array", json!({"values": "1001"})), "1001 tasks; accepted: at most 1000");
    check(with("/requirements/array", json!({"values": "5:1"})), "is empty");
    check(with("/requirements/array", json!({"values": "1:5:0"})), "step");
    check(with("/requirements/failure_policy", json!(2)), "ok");
    check(with("/requirements/failure_policy", json!(3)), "asks for 3 restarts; accepted: at most 2");
    check(with("/requirements/maxlifespan", json!("1w")), "is no duration");
    check(with("/requirements/time_limit", json!("8d")), "8d is too long");
    let mut case = case();
    case.body["requirements"] = json!({"maxlifespan": "15m", "time_limit": "2h"});
    assert_eq!(case.run().expect("admitted").time_limit, Some(Seconds(900)));
}

#[test]
fn what_to_wait_for_must_be_visible() {
    check(with("/requirements/tasks", json!(["3"])), "ok");
    check(with("/requirements/tasks", json!([3, 4])), "there is no task 4 that you may wait for");
}

#[test]
fn free_fields() {
    let mut case = case();
    case.body["requirements"] = json!({"stage": 5, "other": "x", "godflow": true});
    let spec = case.run().expect("admitted");
    let fields: Vec<(&str, &str)> = spec.fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(fields, [("godflow", "true"), ("stage", "5")]);
    check(with("/requirements/lane", json!("fast")), "403 lane can be set by admins only");
    check(with("/requirements/stage", json!("a\nb")), "control characters");
}

#[test]
fn mail_needs_a_server_and_an_address() {
    let mut case = case();
    case.site.mail = false;
    assert!(!case.run().expect("admitted").notify_email);
    case.site.mail = true;
    case.user.email.clear();
    assert!(!case.run().expect("admitted").notify_email);
}

#[test]
fn all_faults_come_together() {
    let got = outcome(|c| {
        c.body = json!({"requirements": {"executor": "x", "label": ["y"], "tasks": [9]}});
    });
    for part in [
        "meta.name",
        "command.cmd",
        "container.image",
        "requirements.executor",
        "requirements.label[0]",
        "task 9",
    ] {
        assert!(got.contains(part), "{part} is not in {got:?}");
    }
}

#[test]
fn a_dynamic_field_changes_alone() {
    let site = site();
    let spec = case().run().expect("admitted");
    let task = Task::new(TaskId(5), Arc::new(spec), Timestamp(0));
    let next = set_field(&task, "stage", "gold", false, &site).expect("allowed");
    assert_eq!(next.spec.fields.get("stage").map(String::as_str), Some("gold"));
    assert_eq!(next.rev, task.rev.next());
    let next = set_field(&task, "maxlifespan", "2d", false, &site).expect("allowed");
    assert_eq!(next.spec.limit(), Some(Seconds(172_800)));
    let refused = |name: &str, value: &str| set_field(&task, name, value, false, &site).expect_err("refused");
    assert!(matches!(refused("lane", "x"), Refusal::Forbidden(_)));
    assert!(matches!(refused("cpu", "99"), Refusal::Invalid(_)));
    assert!(matches!(refused("maxlifespan", "soon"), Refusal::Invalid(_)));
    assert!(matches!(refused("maxlifespan", "8d"), Refusal::Invalid(_)));
    let over = task.asked(Ask::Kill, None, Timestamp(1)).expect("killed");
    assert!(matches!(over.state, TaskState::Over { .. }));
    assert!(set_field(&over, "stage", "x", true, &site).is_err());
}

#[test]
fn f10_guests_follow_the_rules_for_guests() {
    let guest = |allow: bool, allow_root: bool, root: bool| {
        outcome(move |case| {
            case.user.guest = true;
            case.user.kind = "google".to_owned();
            case.site.allow_root = true;
            case.site.guests = allow.then_some(GuestRules { allow_root });
            case.body["container"]["root"] = json!(root);
        })
    };
    assert_eq!(guest(true, false, false), "ok");
    assert_eq!(guest(true, true, true), "ok");
    assert!(guest(true, false, true).starts_with("403"));
    assert!(guest(false, true, false).starts_with("403"), "guests were allowed once");
    let mut case = case();
    case.user.guest = true;
    case.site.guests = Some(GuestRules { allow_root: false });
    assert_eq!(case.run().expect("admitted").owner.guest.as_deref(), Some("local"));
}

#[test]
fn volumes_of_a_project_are_offered_in_it_alone() {
    let volumes = |project: Value| {
        let mut case = case();
        case.body["user"] = json!({"project": project});
        case.body["container"]["volumes"] = json!([{"name": "of-project"}]);
        case.run().expect("admitted").volumes.len()
    };
    assert_eq!((volumes(json!("p")), volumes(Value::Null)), (1, 0));
}
