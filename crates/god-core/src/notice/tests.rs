use super::*;
use crate::array::ArraySpec;
use crate::executor::{Cause, Exit};
use crate::ids::{ExecutorName, NodeName, ProjectId, TaskId};
use crate::spec::{AfterPolicy, Output, Owner, TaskSpec};
use crate::state::{Ask, Attempt, Event};
use crate::units::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

const NOW: Timestamp = Timestamp(100_000);
const ALL: Rules = Rules { mail: true, live: true, usage: true, flow: true };

fn spec(array: Option<&str>) -> TaskSpec {
    TaskSpec {
        owner: Owner {
            id: UserId::new("bob"),
            uid: 1000,
            gid: 1000,
            sgids: Vec::new(),
            email: Some("bob@example.org".to_owned()),
            home: None,
            project: ProjectId::new("default"),
            guest: None,
        },
        name: "näme".into(),
        description: String::new(),
        tags: Vec::new(),
        cores: Cores(2),
        ram: 3,
        gpus: 0,
        array: array.map(|text| text.parse::<ArraySpec>().expect("a good array")),
        labels: Vec::new(),
        after: Vec::new(),
        after_policy: AfterPolicy::Any,
        ports: Vec::new(),
        network: "public".into(),
        executor: None,
        failure_policy: 1,
        tmp_storage: None,
        uris: Vec::new(),
        time_limit: None,
        fields: BTreeMap::new(),
        image: "image".into(),
        volumes: Vec::new(),
        root: false,
        interactive: false,
        script: "true".into(),
        notify_email: true,
        output: Output::None,
        quotas: [0.0; 6],
    }
}

fn task() -> Task {
    Task::new(TaskId(7), Arc::new(spec(None)), Timestamp(1000))
}

fn claim(number: u32) -> Event {
    Event::Claimed(Attempt {
        number,
        executor: ExecutorName::new("local"),
        node: NodeName::new("n"),
        ports: Vec::new(),
        epoch: 1,
        claimed: Timestamp(2000),
    })
}

fn started() -> Event {
    Event::Started { run: None, since: Timestamp(3000) }
}

fn ended(cause: Cause) -> Event {
    let started = Some(Timestamp(3000));
    let (ended, max_rss) = (Timestamp(8000), Bytes(9));
    Event::Ended(Exit { cause, by_request: false, started, ended, cpu_us: 5, max_rss })
}

/// The task after these events, with all that was told on the way.
fn walk(task: &Task, rules: Rules, events: &[Event]) -> (Task, Vec<Notice>) {
    let mut task = task.clone();
    let mut told = Vec::new();
    for event in events {
        let next = task.after(event, NOW).expect("a legal move");
        told.extend(of(&next, &moments(&task, &next), rules));
        task = next;
    }
    (task, told)
}

fn ids(notices: &[Notice]) -> Vec<&str> {
    notices.iter().map(|notice| notice.id.as_str()).collect()
}

#[track_caller]
fn message(notice: &Notice) -> Message {
    serde_json::from_value(notice.body.clone()).expect("it reads back")
}

#[test]
fn a_plain_life() {
    let (over, told) = walk(&task(), ALL, &[claim(1), started(), ended(Cause::Code(3))]);
    assert_eq!(ids(&told), ["7.1.start", "7.1.end", "7.1.live", "7.1.usage"]);
    assert!(told.iter().all(|notice| notice.task == over.id));
    let Message::Mail(start) = message(&told[0]) else { panic!("{told:?}") };
    assert_eq!((start.primary.as_str(), start.exit_code, start.at), ("running", None, Some(Timestamp(3000))));
    let Message::Mail(end) = message(&told[1]) else { panic!("{told:?}") };
    assert_eq!((end.primary.as_str(), end.secondary.as_str()), ("over", ""));
    assert_eq!((end.exit_code, end.at, end.array), (Some(3), Some(Timestamp(8000)), None));
    assert_eq!((end.name.as_str(), end.address.as_deref()), ("näme", Some("bob@example.org")));
    let live = Live { user: UserId::new("bob"), id: 7, status: "over".into(), name: "näme".into() };
    assert_eq!(message(&told[2]), Message::Live(live));
    let usage = Usage {
        user: UserId::new("bob"),
        image: "image".into(),
        cpu: Cores(2),
        ram: 3,
        ran_ms: 5000,
        waited_ms: 2000,
        at: Timestamp(8000),
    };
    assert_eq!(message(&told[3]), Message::Usage(usage));
}

#[test]
fn start_and_end_in_one_write_are_told_as_two() {
    let claimed = task().after(&claim(1), NOW).expect("claimed");
    let running = claimed.after(&started(), NOW).expect("started");
    let over = running.after(&ended(Cause::Code(0)), NOW).expect("ended");
    let told = of(&over, &[Moment::Started, Moment::Ended], Rules { mail: true, ..Rules::default() });
    assert_eq!(ids(&told), ["7.1.start", "7.1.end"]);
    let Message::Mail(start) = message(&told[0]) else { panic!("{told:?}") };
    assert_eq!((start.primary.as_str(), start.at), ("running", Some(Timestamp(3000))));
    // An end without a start seen before tells of the end alone.
    assert_eq!(moments(&claimed, &over), [Moment::Ended]);
}

#[test]
fn only_what_the_site_and_the_owner_want() {
    let life = [claim(1), started(), ended(Cause::Code(0))];
    assert_eq!(walk(&task(), Rules::default(), &life).1, []);
    let mail = Rules { mail: true, ..Rules::default() };
    let quiet = TaskSpec { notify_email: false, ..spec(None) };
    let quiet = Task::new(TaskId(7), Arc::new(quiet), Timestamp(1000));
    assert_eq!(walk(&quiet, mail, &life).1, []);
    assert_eq!(ids(&walk(&quiet, ALL, &life).1), ["7.1.live", "7.1.usage"]);
}

#[test]
fn an_array_is_told_once_and_its_children_only_count() {
    let parent = Task::new(TaskId(7), Arc::new(spec(Some("1:3"))), Timestamp(1000));
    let child = parent.child(1).expect("a child");
    let (_, told) = walk(&child, ALL, &[claim(1), started(), ended(Cause::Code(1))]);
    assert_eq!(ids(&told), ["9.1.usage"]);
    let (_, told) = walk(&parent, ALL, &[Event::Unfolded, Event::Gathered { failed: 2 }]);
    assert_eq!(ids(&told), ["7.0.start", "7.0.end", "7.0.live"]);
    let Message::Mail(end) = message(&told[1]) else { panic!("{told:?}") };
    assert_eq!(end.array, Some(Digest { count: 3, over: 0, failed: 2 }));
    assert_eq!(end.exit_code, Some(1));
}

#[test]
fn each_pause_is_told_by_itself() {
    let pauses = [claim(1), started(), Event::Paused, Event::Resumed, Event::Paused];
    let (task, told) = walk(&task(), ALL, &pauses);
    assert_eq!(ids(&told), ["7.1.start", "7.1.suspend.3", "7.1.resume.4", "7.1.suspend.5"]);
    let Message::Mail(last) = message(&told[3]) else { panic!("{told:?}") };
    assert_eq!((last.primary.as_str(), last.secondary.as_str()), ("running", "suspended"));
    // A request alone is not worth telling, only what came of it.
    let asked = task.asked(Ask::Resume, None, NOW).expect("asked");
    assert_eq!(moments(&task, &asked), []);
}

#[test]
fn what_is_killed_counts_for_nobody() {
    // While it waits.
    let asked = task().asked(Ask::Kill, Some("because"), NOW).expect("over at once");
    let told = of(&asked, &moments(&task(), &asked), ALL);
    assert_eq!(ids(&told), ["7.0.end", "7.0.live"]);
    let Message::Mail(end) = message(&told[0]) else { panic!("{told:?}") };
    assert_eq!((end.secondary.as_str(), end.reason.as_str()), ("killed", "because"));
    let Message::Live(live) = message(&told[1]) else { panic!("{told:?}") };
    assert_eq!(live.status, "killed");
    // While it runs, and by its time limit.
    let (_, told) = walk(&task(), ALL, &[claim(1), started(), ended(Cause::TimeLimit)]);
    assert_eq!(ids(&told), ["7.1.start", "7.1.end", "7.1.live"]);
}

#[test]
fn trouble_is_told() {
    let life = [claim(1), started(), ended(Cause::Lost("node n is gone".into()))];
    let (pending, told) = walk(&task(), ALL, &life);
    assert_eq!(ids(&told), ["7.1.start", "7.1.lost"]);
    let Message::Mail(lost) = message(&told[1]) else { panic!("{told:?}") };
    assert_eq!((lost.primary.as_str(), lost.secondary.as_str()), ("pending", "rescheduled"));
    assert_eq!((lost.reason.as_str(), lost.at), ("node n is gone", Some(Timestamp(8000))));
    // The second attempt has names of its own; the policy allows no third.
    let more = [claim(2), started(), ended(Cause::Lost("node n is gone".into()))];
    let (_, told) = walk(&pending, ALL, &more);
    assert_eq!(ids(&told), ["7.2.start", "7.2.end", "7.2.live", "7.2.usage"]);
    let quota = Event::EndedUnstarted(Outcome::Quota("quota of user bob: cpu".into()));
    let (_, told) = walk(&task(), ALL, &[quota]);
    assert_eq!(ids(&told), ["7.0.end", "7.0.live"]);
    let Message::Mail(end) = message(&told[0]) else { panic!("{told:?}") };
    assert_eq!((end.secondary.as_str(), end.exit_code), ("quota reached", None));
    let (_, told) = walk(&task(), ALL, &[Event::Poisoned("three panics".into())]);
    assert_eq!(ids(&told), ["7.0.held"]);
}

#[test]
fn a_flow_server_is_told_of_the_end_of_tasks_that_ask_for_it() {
    let asked = |text: &str| {
        let (task, _) = walk(&task(), ALL, &[claim(1), started(), ended(Cause::Code(3))]);
        let fields = [("godflow".to_owned(), text.to_owned())].into();
        Task { spec: Arc::new(TaskSpec { fields, ..(*task.spec).clone() }), ..task }
    };
    let kinds = |task: &Task, moment| {
        let rules = Rules { flow: true, ..Rules::default() };
        of(task, &[moment], rules).into_iter().map(|notice| notice.id).collect::<Vec<_>>()
    };
    let task = asked("true");
    assert_eq!(kinds(&task, Moment::Ended), [format!("{}.{}.flow", task.id, task.attempts)]);
    assert!(kinds(&task, Moment::Started).is_empty());
    assert!(kinds(&asked("false"), Moment::Ended).is_empty());
}
