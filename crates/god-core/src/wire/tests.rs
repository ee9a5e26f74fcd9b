use super::*;
use crate::array::ArraySpec;
use crate::executor::PortPair;
use crate::ids::{ExecutorName, NodeName, OpId, ProjectId, Rev, RunRef, TaskId, UserId};
use crate::reason::{Code, Reason};
use crate::spec::{AfterPolicy, Output, Owner, TaskSpec, Volume};
use crate::state::{Ask, Attempt, Outcome, Ran, TaskState, Wish, WishStatus};
use crate::task::{Children, Failures, Task};
use crate::units::{Bytes, Cores, Seconds, Timestamp};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

fn dir(task: &Task) -> String {
    format!("/shared/tasks/{}", task.id)
}

fn written(task: &Task) -> Value {
    document(task, &WireContext { job_dir: &dir, why: None })
}

fn time() -> impl Strategy<Value = Timestamp> {
    (1_000_000_000_000i64..4_000_000_000_000).prop_map(Timestamp)
}

fn word() -> impl Strategy<Value = String> {
    ".{1,12}"
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let port = (1u16.., 1u16..).prop_map(|(host, container)| PortPair { host, container });
    (1u32..5, word(), word(), vec(port, 0..3), time()).prop_map(|(number, executor, node, ports, claimed)| {
        Attempt {
            number,
            executor: ExecutorName::new(executor),
            node: NodeName::new(node),
            ports,
            epoch: 3,
            claimed,
        }
    })
}

fn run() -> impl Strategy<Value = Option<RunRef>> {
    of(word().prop_map(RunRef::new))
}

fn last() -> impl Strategy<Value = Option<Ran>> {
    of((attempt(), run(), of(time()), any::<u32>(), any::<u32>()).prop_map(
        |(attempt, run, started, cpu, rss)| Ran {
            attempt,
            run,
            started,
            cpu_us: u64::from(cpu),
            max_rss: Bytes(u64::from(rss)),
        },
    ))
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<i32>().prop_map(Outcome::Exited),
        (1i32..65).prop_map(Outcome::Signalled),
        of(".{0,8}").prop_map(|reason| Outcome::Killed { reason }),
        Just(Outcome::TimedOut),
        Just(Outcome::OutOfMemory),
        ".{0,8}".prop_map(Outcome::Lost),
        ".{0,8}".prop_map(Outcome::Quota),
        ".{0,8}".prop_map(Outcome::Refused),
        ".{0,8}".prop_map(Outcome::Skipped),
    ]
}

fn plain_state() -> impl Strategy<Value = TaskState> {
    prop_oneof![
        (time(), any::<bool>(), of(".{0,8}")).prop_map(|(since, requeued, why)| TaskState::Pending {
            since,
            requeued,
            why
        }),
        attempt().prop_map(|attempt| TaskState::Starting { attempt }),
        (attempt(), run(), time(), any::<bool>())
            .prop_map(|(attempt, run, since, paused)| TaskState::Running { attempt, run, since, paused }),
        (".{0,8}", time()).prop_map(|(reason, since)| TaskState::Held { reason, since }),
        (outcome(), time(), last()).prop_map(|(outcome, at, last)| TaskState::Over { outcome, at, last }),
        (outcome(), time(), last(), time()).prop_map(|(outcome, at, last, archived)| TaskState::Archived {
            outcome,
            at,
            last,
            archived
        }),
    ]
}

/// A parent of an array runs nothing itself and has no exit code but that of its children.
fn parent_state() -> impl Strategy<Value = TaskState> {
    let outcome = outcome().prop_map(|outcome| match outcome {
        Outcome::Exited(code) => Outcome::Gathered { failed: u64::from(code.unsigned_abs() % 3) },
        other => other,
    });
    prop_oneof![
        (time(), of(".{0,8}")).prop_map(|(since, why)| TaskState::Pending { since, requeued: false, why }),
        time().prop_map(|since| TaskState::Gathering { since }),
        (".{0,8}", time()).prop_map(|(reason, since)| TaskState::Held { reason, since }),
        (outcome, time()).prop_map(|(outcome, at)| TaskState::Over { outcome, at, last: None }),
    ]
}

fn wish() -> impl Strategy<Value = Option<Wish>> {
    let ask = prop_oneof![Just(Ask::Kill), Just(Ask::Suspend), Just(Ask::Resume), Just(Ask::Reschedule)];
    let status = prop_oneof![Just(WishStatus::Requested), Just(WishStatus::Done), Just(WishStatus::Rejected)];
    of((ask, status, time(), of(".{0,8}")).prop_map(|(ask, status, at, reason)| Wish {
        ask,
        status,
        seq: 4,
        at,
        reason,
    }))
}

fn array() -> impl Strategy<Value = ArraySpec> {
    (-50i64..50, 0i64..20, 1i64..5, of(1u32..9)).prop_map(|(first, span, step, limit)| ArraySpec {
        first,
        last: first + span,
        step,
        limit,
    })
}

fn owner() -> impl Strategy<Value = Owner> {
    (
        word(),
        any::<u32>(),
        any::<u32>(),
        vec(any::<u32>(), 0..3),
        of(".{0,8}"),
        of(".{0,8}"),
        word(),
        of(".{0,5}"),
    )
        .prop_map(|(id, uid, gid, sgids, email, home, project, guest)| Owner {
            id: UserId::new(id),
            uid,
            gid,
            sgids,
            email,
            home,
            project: ProjectId::new(project),
            guest,
        })
}

fn volume() -> impl Strategy<Value = Volume> {
    (word(), ".{0,8}", ".{0,8}", any::<bool>())
        .prop_filter("added at each start", |(name, ..)| name != JOB_VOLUME && name != UPLOAD_VOLUME)
        .prop_map(|(name, path, mount, writable)| Volume { name, path, mount, writable })
}

fn spec() -> impl Strategy<Value = TaskSpec> {
    let texts =
        (".{0,12}", ".{0,12}", vec(word(), 0..3), word(), of(word()), of(word()), ".{0,12}", ".{0,40}");
    let numbers = (1u32..100, 1u32..100, 0u32..4, 0u32..9, of(1u64..9_000_000), any::<[u16; 6]>());
    let lists = (
        vec(word(), 0..3),
        proptest::collection::btree_set(1u64..9000, 0..3),
        proptest::collection::btree_set(1u16.., 0..3),
        vec(word(), 0..3),
        vec(volume(), 0..3),
        btree_map("x_[a-z]{1,5}", ".{0,8}", 0..3),
    );
    let flags = any::<[bool; 6]>();
    (owner(), texts, numbers, lists, flags).prop_map(|(owner, texts, numbers, lists, flags)| {
        let (name, description, tags, network, executor, tmp_storage, image, script) = texts;
        let (cores, ram, gpus, failure_policy, limit, quotas) = numbers;
        let (labels, after, ports, uris, volumes, mut fields) = lists;
        let [root, interactive, notify_email, after_ok, no_files, godflow] = flags;
        if godflow {
            fields.insert("godflow".to_owned(), "true".to_owned());
        }
        TaskSpec {
            owner,
            name,
            description,
            tags,
            cores: Cores(cores),
            ram,
            gpus,
            array: None,
            labels,
            after: after.into_iter().map(TaskId).collect(),
            after_policy: if after_ok { AfterPolicy::Ok } else { AfterPolicy::Any },
            ports: ports.into_iter().collect(),
            network,
            executor,
            failure_policy,
            tmp_storage,
            uris,
            time_limit: limit.map(Seconds),
            fields,
            image,
            volumes,
            root,
            interactive,
            script,
            notify_email,
            output: if no_files { Output::None } else { Output::Files },
            quotas: quotas.map(|q| f64::from(q) / 4.0),
        }
    })
}

fn task() -> impl Strategy<Value = Task> {
    let failures = (0u32..3, vec(word(), 0..2), of(".{0,8}")).prop_map(|(count, nodes, reason)| Failures {
        count,
        nodes: nodes.into_iter().map(NodeName::new).collect(),
        reason,
    });
    let kind = prop_oneof![
        plain_state().prop_map(|state| (state, None, None)),
        (parent_state(), array()).prop_map(|(state, array)| (state, Some(array), None)),
        (plain_state(), array(), any::<prop::sample::Index>()).prop_map(|(state, array, which)| {
            let ordinal = which.index(array.count() as usize) as u64;
            (state, Some(array), Some(ordinal))
        }),
    ];
    (1u64..1 << 40, spec(), time(), kind, wish(), failures, any::<[u16; 2]>()).prop_map(
        |(id, mut spec, submitted, (state, array, ordinal), wish, mut failures, [over, failed])| {
            let is_parent = array.is_some() && ordinal.is_none();
            let disk = (state.phase().is_over() && failed % 2 == 0).then(|| u64::from(over) << 30);
            spec.array = array;
            // A lost run's reason and the reason of a new try are often the same text.
            if let TaskState::Pending { why: Some(why), .. } = &state
                && over % 2 == 0
            {
                failures.reason = Some(why.clone());
            }
            Task {
                id: ordinal.map_or(TaskId(id), |ordinal| TaskId(id).child(ordinal)),
                parent: ordinal.map(|_| TaskId(id)),
                ordinal,
                spec: Arc::new(spec),
                submitted,
                state,
                wish,
                attempts: 1,
                failures,
                children: if is_parent {
                    Children { made: 3, over: u64::from(over), failed: u64::from(failed) }
                } else {
                    Children::default()
                },
                disk,
                rev: Rev(9),
                op: OpId(4),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_document_read_back_is_the_same_document(task in task()) {
        let once = written(&task);
        let back = read_document(&once).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(written(&back), once);
    }

    #[test]
    fn every_document_keeps_what_clients_rely_on(task in task(), why in of(".{0,8}")) {
        let doc = document(&task, &WireContext { job_dir: &dir, why: why.map(|text| Reason::new(Code::Resources, text)).as_ref() });
        let status = &doc["status"];
        let primary = status["primary"].as_str().expect("a text");
        prop_assert!(["pending", "running", "over", "archived"].contains(&primary));
        prop_assert!(status["secondary"].is_null() || status["secondary"].is_string());
        let keys = status.as_object().expect("an object");
        prop_assert!(keys.contains_key("date_over") && keys.contains_key("exitcode"));
        prop_assert!(status["exitcode"].is_null() || status["exitcode"].is_i64());
        let started = keys.contains_key("date_running");
        prop_assert_eq!(started, primary != "pending");
        prop_assert_eq!(doc["container"]["meta"].is_object(), started);
        if started {
            prop_assert!(status["date_running"].is_f64());
        }
        let over = primary == "over" || primary == "archived";
        prop_assert_eq!(status["date_over"].is_f64(), over);
        prop_assert!(over || doc["container"]["meta"].get("State").is_none());
        if let Some(state) = doc["container"]["meta"].get("State") {
            prop_assert_eq!(&state["ExitCode"], &status["exitcode"]);
        }
        prop_assert_eq!(doc["container"]["meta"].get("disk_size").and_then(Value::as_u64), task.disk);
        for port in doc["container"]["ports"].as_array().expect("a list") {
            prop_assert!(port.is_string());
        }
        for volume in doc["container"]["volumes"].as_array().expect("a list") {
            for key in ["name", "path", "mount", "acl"] {
                prop_assert!(volume[key].is_string());
            }
        }
        prop_assert!(doc["user"].get("credentials").is_none());
        prop_assert!(doc["meta"]["description"].is_string());
    }

    #[test]
    fn any_json_is_answered(body in json_value()) {
        let _answered = Submission::read(&body);
        let _answered = read_document(&body);
    }

    #[test]
    fn a_good_body_with_something_odd_in_it_is_answered(body in spoiled(asked())) {
        match Submission::read(&body) {
            Ok(asked) => {
                prop_assert!(asked.tags.len() <= 50);
                prop_assert!(!asked.name.chars().any(char::is_control));
            }
            Err(faults) => prop_assert!(!faults.is_empty() && faults.len() <= 50),
        }
    }

    #[test]
    fn an_old_document_with_something_odd_in_it_is_answered(body in spoiled(written(&example()))) {
        let _answered = read_document(&body);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let key = prop_oneof![
            Just("user".to_owned()),
            Just("meta".to_owned()),
            Just("requirements".to_owned()),
            Just("container".to_owned()),
            Just("command".to_owned()),
            Just("status".to_owned()),
            Just("id".to_owned()),
            Just("array".to_owned()),
            Just("values".to_owned()),
            Just("tasks".to_owned()),
            Just("primary".to_owned()),
            ".{0,5}",
        ];
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(key, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// `good` with the value at one random path replaced by any JSON.
fn spoiled(good: Value) -> impl Strategy<Value = Value> {
    let mut paths = vec![String::new()];
    fn walk(value: &Value, at: &str, paths: &mut Vec<String>) {
        let mut visit = |key: String, inner: &Value| {
            let path = format!("{at}/{key}");
            paths.push(path.clone());
            walk(inner, &path, paths);
        };
        match value {
            Value::Object(map) => map.iter().for_each(|(key, inner)| visit(key.clone(), inner)),
            Value::Array(list) => list.iter().enumerate().for_each(|(i, inner)| visit(i.to_string(), inner)),
            _ => {}
        }
    }
    walk(&good, "", &mut paths);
    (prop::sample::select(paths), json_value()).prop_map(move |(path, odd)| {
        let mut body = good.clone();
        *body.pointer_mut(&path).expect("walked there") = odd;
        body
    })
}

/// A body with everything that clients are known to send.
fn asked() -> Value {
    json!({
        "user": {"id": "bob", "uid": 0, "gid": 0, "project": "default"},
        "date": 1466000000.5,
        "meta": {"name": "align", "description": "", "tags": ["t1", null]},
        "requirements": {
            "cpu": 2.0, "ram": 4, "gpus": 0, "array": {"values": "1:10:2%3"}, "label": [null],
            "failure_policy": 0, "tasks": ["12", 13, 12], "tmpstorage": {"size": "10g", "path": null},
            "executor": null, "ports": [80], "maxlifespan": "2d", "stage": "gold",
        },
        "container": {
            "image": "debian:12", "volumes": [{"name": "home", "acl": "rw"}, {"name": ""}, {"name": "db"}],
            "network": true, "id": null, "meta": null, "stats": null, "ports": [], "root": false,
        },
        "command": {"interactive": false, "cmd": "#!/bin/bash\necho hi\n"},
        "status": {"primary": null, "secondary": null},
        "surprise": {"deep": [1, 2, 3]},
    })
}

fn example() -> Task {
    let mut doc = asked();
    doc["id"] = json!(60);
    doc["requirements"]["array"] = Value::Null;
    doc["status"] = json!({"primary": "pending"});
    let mut task = read_document(&doc).expect("a good document");
    task.submitted = Timestamp(1_466_000_000_000);
    task.state = TaskState::Running {
        attempt: Attempt {
            number: 1,
            executor: ExecutorName::new("docker"),
            node: NodeName::new("n1"),
            ports: vec![PortPair { host: 10_000, container: 80 }, PortPair { host: 10_001, container: 22 }],
            epoch: 1,
            claimed: Timestamp(1_466_000_000_500),
        },
        run: Some(RunRef::new("abc")),
        since: Timestamp(1_466_000_001_500),
        paused: false,
    };
    task
}

#[test]
fn everything_clients_send_is_read() {
    let got = Submission::read(&asked()).expect("good");
    assert_eq!(got.name, "align");
    assert_eq!(got.user.as_deref(), Some("bob"));
    assert_eq!(got.tags, ["t1"]);
    assert_eq!((got.cpu, got.ram), (Some(2), Some(4)));
    assert_eq!(got.array.as_deref(), Some("1:10:2%3"));
    assert!(got.labels.is_empty());
    assert_eq!(got.after, [TaskId(12), TaskId(13)]);
    assert_eq!(got.tmp_storage.as_deref(), Some("10g"));
    assert_eq!(got.executor, None);
    assert_eq!(got.ports, [80]);
    assert_eq!(got.maxlifespan.as_deref(), Some("2d"));
    assert_eq!(got.fields.get("stage").map(String::as_str), Some("gold"));
    assert_eq!(got.volumes.len(), 2);
    assert!(got.volumes[0].writable && !got.volumes[1].writable);
    assert_eq!(got.script, "#!/bin/bash\necho hi\n");
}

#[test]
fn null_is_absent_everywhere() {
    let empty = Submission::read(&json!({})).expect("good");
    let nulls = json!({
        "user": null, "date": null, "meta": {"name": null, "description": null, "tags": null},
        "requirements": {
            "cpu": null, "ram": null, "array": null, "label": null, "tasks": null, "tmpstorage": null,
            "executor": null, "ports": null, "failure_policy": null, "maxlifespan": null, "output": null,
            "after_policy": null, "time_limit": null, "network": null, "gpus": null, "uris": null,
        },
        "container": {"image": null, "volumes": null, "root": null},
        "command": {"interactive": null, "cmd": null}, "status": null, "notify": null,
    });
    assert_eq!(Submission::read(&nulls), Ok(empty));
    assert_eq!(
        Submission::read(&json!({"requirements": {"array": {"values": null}}})).expect("good").array,
        None
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let mut body = asked();
    body["meta"]["tags"] = json!(vec!["x"; 51]);
    body["meta"]["name"] = json!("a\u{1b}[31m");
    body["requirements"]["cpu"] = json!(0);
    body["requirements"]["ram"] = json!("2");
    body["requirements"]["tasks"] = json!(["x"]);
    body["requirements"]["ports"] = json!([70_000]);
    body["requirements"]["after_policy"] = json!("never");
    body["container"]["root"] = json!("yes");
    let faults = Submission::read(&body).expect_err("bad");
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "meta.name",
            "meta.tags",
            "requirements.cpu",
            "requirements.ram",
            "requirements.tasks[0]",
            "requirements.after_policy",
            "requirements.ports[0]",
            "container.root",
        ]
    );
    assert_eq!(faults[5].to_string(), "requirements.after_policy: is \"never\"; accepted: any or ok");
}

#[test]
fn the_example_of_a_running_task() {
    let doc = written(&example());
    assert_eq!(doc["id"], 60);
    assert_eq!(doc["date"], 1_466_000_000.0);
    assert_eq!(doc["status"]["primary"], "running");
    assert_eq!(doc["status"]["secondary"], Value::Null);
    assert_eq!(doc["status"]["reason"], "");
    assert_eq!(doc["status"]["date_running"], 1_466_000_001.5);
    assert_eq!(doc["status"]["date_over"], Value::Null);
    assert_eq!(doc["container"]["id"], "abc");
    assert_eq!(doc["container"]["meta"]["Node"]["Name"], "n1");
    assert_eq!(doc["container"]["ports"], json!(["10000", "10001"]));
    let volumes = doc["container"]["volumes"].as_array().expect("a list");
    let job =
        json!({"name": "go-docker", "acl": "rw", "path": "/shared/tasks/60", "mount": "/mnt/go-docker"});
    assert_eq!(volumes.last(), Some(&job));

    let mut task = example();
    Arc::make_mut(&mut task.spec).interactive = true;
    assert_eq!(written(&task)["container"]["ports"], json!(["10001"]));
}

#[test]
fn a_task_that_ended_unstarted_looks_started_at_its_end() {
    let mut task = example();
    let at = Timestamp(1_466_000_009_000);
    task.state = TaskState::Over { outcome: Outcome::Killed { reason: None }, at, last: None };
    let doc = written(&task);
    assert_eq!(doc["status"]["date_running"], doc["status"]["date_over"]);
    assert_eq!(doc["status"]["duration"], 0.0);
    assert_eq!(doc["status"]["secondary"], "killed");
    assert_eq!(doc["status"]["exitcode"], 137);
    assert_eq!(doc["container"]["meta"], json!({"State": {"ExitCode": 137}}));
}

#[test]
fn a_claimed_task_and_an_unmade_child_look_pending() {
    let mut task = example();
    if let TaskState::Running { attempt, .. } = task.state.clone() {
        task.state = TaskState::Starting { attempt };
    }
    let doc = written(&task);
    assert_eq!(doc["status"]["primary"], "pending");
    assert_eq!(doc["container"]["meta"], Value::Null);
    assert_eq!(doc["container"]["ports"], json!([]));

    Arc::make_mut(&mut task.spec).array = Some("3:9:2".parse().expect("good"));
    task.parent = None;
    let child = task.child(1).expect("has one");
    let doc = written(&child);
    assert_eq!(doc["status"]["primary"], "pending");
    assert_eq!(doc["parent_task_id"], 60);
    assert_eq!(doc["requirements"]["array"]["task_id"], 5);
    assert_eq!(doc["requirements"]["array"]["values"], Value::Null);
    let parent = written(&task);
    assert_eq!(parent["requirements"]["array"]["tasks"], json!([61, 62, 63, 64]));
}

#[test]
fn what_the_scheduler_says_is_shown_for_pending_tasks_only() {
    let mut task = example();
    let why = |code| Reason::new(code, "no room");
    assert_eq!(status_words(&task, Some(&why(Code::Resources))), ("running", None));
    task.state = TaskState::Pending { since: task.submitted, requeued: false, why: None };
    assert_eq!(status_words(&task, None), ("pending", None));
    let tried = status(&task, Some(&why(Code::Resources)));
    assert_eq!(tried["secondary"], "rejected by scheduler");
    assert_eq!(tried["reason"], "no room");
    let waits = status(&task, Some(&why(Code::Priority)));
    assert_eq!((&waits["secondary"], &waits["reason"]), (&Value::Null, &json!("no room")));
}

#[test]
fn a_document_of_the_earlier_server_is_read() {
    let doc = json!({
        "id": 7, "parent_task_id": null, "date": 1400000000.25, "_id": {"$oid": "x"},
        "user": {"id": "al", "uid": 1001, "gid": 1001, "sgids": [4], "email": null, "project": "p",
                 "credentials": {"apikey": "SECRET"}},
        "meta": {"name": "n", "description": "", "tags": []},
        "requirements": {"cpu": 1, "ram": 2, "array": {"values": null, "task_id": null, "nb_tasks": null,
            "nb_tasks_over": null, "tasks": []}, "label": null, "tasks": ["3"], "tmpstorage": {"path": null, "size": ""},
            "ticket_share": 0.5, "user_quota_time": 3},
        "container": {"image": "i", "id": "c1", "meta": {"Node": {"Name": "h"}, "State": {"ExitCode": 3}},
            "ports": [], "root": false, "volumes": [{"name": "go-docker", "acl": "rw", "path": "/x", "mount": "/mnt/go-docker"}]},
        "command": {"interactive": false, "cmd": "true", "script": "/mnt/go-docker/wrapper.sh"},
        "status": {"primary": "over", "secondary": "", "reason": "", "exitcode": 3, "date_running": 1400000001.0,
            "date_over": 1400000002, "duration": 1.0},
    });
    let task = read_document(&doc).expect("good");
    assert_eq!(task.state.outcome(), Some(&Outcome::Exited(3)));
    assert_eq!(task.spec.after, [TaskId(3)]);
    assert_eq!(task.spec.tmp_storage, None);
    assert_eq!(task.spec.quotas[0], 3.0);
    assert!(task.spec.volumes.is_empty() && task.spec.fields.is_empty());
    assert!(!written(&task).to_string().contains("SECRET"));

    let bad = read_document(&json!({"id": 0, "user": {"id": "x"}, "status": {"primary": "gone"}}))
        .expect_err("bad");
    assert!(bad.to_string().contains("id: is 0"), "{bad}");
}
