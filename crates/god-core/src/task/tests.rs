use super::*;
use crate::array::ArraySpec;
use crate::ids::{ExecutorName, ProjectId, UserId};
use crate::reason::{Code, Reason};
use crate::spec::{AfterPolicy, Output, Owner};
use crate::units::{Bytes, Cores};
use crate::wire::status_words;
use std::collections::{BTreeMap, BTreeSet};

mod meaning;
mod walks;

const NOW: Timestamp = Timestamp(100_000);

fn spec(array: Option<&str>, failure_policy: u32) -> Arc<TaskSpec> {
    Arc::new(TaskSpec {
        owner: Owner {
            id: UserId::new("bob"),
            uid: 1000,
            gid: 1000,
            sgids: Vec::new(),
            email: None,
            home: None,
            project: ProjectId::new("default"),
            guest: None,
        },
        name: "test".into(),
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
        failure_policy,
        tmp_storage: None,
        uris: Vec::new(),
        time_limit: None,
        fields: BTreeMap::new(),
        image: "image".into(),
        volumes: Vec::new(),
        root: false,
        interactive: false,
        script: "true".into(),
        notify_email: false,
        output: Output::None,
        quotas: [0.0; 6],
    })
}

fn plain() -> Task {
    Task::new(TaskId(7), spec(None, 0), Timestamp(1000))
}

fn parent() -> Task {
    Task::new(TaskId(7), spec(Some("1:3"), 0), Timestamp(1000))
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        executor: ExecutorName::new("local"),
        node: NodeName::new(format!("node{number}")),
        ports: Vec::new(),
        epoch: 1,
        claimed: Timestamp(2000),
    }
}

/// An end that nobody asked for; the script ran from 3 s to 8 s.
fn exit(cause: Cause) -> Exit {
    let started = (cause != Cause::NeverRan).then_some(Timestamp(3000));
    Exit { cause, by_request: false, started, ended: Timestamp(8000), cpu_us: 5, max_rss: Bytes(9) }
}

/// The same after we had asked for it.
fn asked_exit(cause: Cause) -> Exit {
    Exit { by_request: true, ..exit(cause) }
}

#[track_caller]
fn after(task: &Task, event: &Event) -> Task {
    task.after(event, NOW).expect("a legal move")
}

#[track_caller]
fn asked(task: &Task, ask: Ask) -> Task {
    task.asked(ask, None, NOW).expect("something changes")
}

fn starting() -> Task {
    after(&plain(), &Event::Claimed(attempt(1)))
}

fn started() -> Event {
    Event::Started { run: Some(RunRef::new("r")), since: Timestamp(3000) }
}

fn running() -> Task {
    after(&starting(), &started())
}

fn paused() -> Task {
    after(&running(), &Event::Paused)
}

fn held() -> Task {
    after(&plain(), &Event::Poisoned("three faults".into()))
}

fn over() -> Task {
    after(&running(), &Event::Ended(exit(Cause::Code(0))))
}

fn gathering() -> Task {
    after(&parent(), &Event::Unfolded)
}

fn wish_of(task: &Task) -> Option<(Ask, WishStatus)> {
    task.wish.as_ref().map(|w| (w.ask, w.status))
}

/// A task in every state, with and without an open request where that makes a difference.
fn samples() -> Vec<(&'static str, Task)> {
    vec![
        ("pending", plain()),
        ("pending array", parent()),
        ("starting", starting()),
        ("starting, suspend wanted", asked(&starting(), Ask::Suspend)),
        ("starting, kill wanted", asked(&starting(), Ask::Kill)),
        ("running", running()),
        ("running, reschedule wanted", asked(&running(), Ask::Reschedule)),
        ("running, kill wanted", asked(&running(), Ask::Kill)),
        ("paused", paused()),
        ("paused, resume wanted", asked(&paused(), Ask::Resume)),
        ("gathering", gathering()),
        ("gathering, kill wanted", asked(&gathering(), Ask::Kill)),
        ("held", held()),
        ("over", over()),
        ("over, purge wanted", asked(&over(), Ask::Purge)),
        ("archived", after(&over(), &Event::Archived)),
    ]
}

/// One event of every kind, with the attempt number that the task expects.
fn events(task: &Task) -> Vec<Event> {
    vec![
        Event::Claimed(attempt(task.attempts + 1)),
        Event::Returned { why: None },
        started(),
        Event::Ended(exit(Cause::Code(0))),
        Event::Paused,
        Event::Resumed,
        Event::AskRejected("no".into()),
        Event::Unfolded,
        Event::Gathered { failed: 0 },
        Event::EndedUnstarted(Outcome::Refused("too large".into())),
        Event::Poisoned("three faults".into()),
        Event::Archived,
        Event::Measured(7),
    ]
}

/// Every legal move of the samples: what is not here must be refused.
const LEGAL: &[(&str, &str, Phase)] = &[
    ("pending", "claimed", Phase::Starting),
    ("pending", "ended unstarted", Phase::Over),
    ("pending", "poisoned", Phase::Held),
    ("pending array", "unfolded", Phase::Gathering),
    ("pending array", "gathered", Phase::Over),
    ("pending array", "ended unstarted", Phase::Over),
    ("pending array", "poisoned", Phase::Held),
    ("starting", "returned", Phase::Pending),
    ("starting", "started", Phase::Running),
    ("starting", "ended", Phase::Over),
    ("starting", "ended unstarted", Phase::Over),
    ("starting", "poisoned", Phase::Held),
    ("starting, suspend wanted", "returned", Phase::Pending),
    ("starting, suspend wanted", "started", Phase::Running),
    ("starting, suspend wanted", "ended", Phase::Over),
    ("starting, suspend wanted", "ask rejected", Phase::Starting),
    ("starting, suspend wanted", "ended unstarted", Phase::Over),
    ("starting, suspend wanted", "poisoned", Phase::Held),
    ("starting, kill wanted", "returned", Phase::Over),
    ("starting, kill wanted", "started", Phase::Running),
    ("starting, kill wanted", "ended", Phase::Over),
    ("starting, kill wanted", "ended unstarted", Phase::Over),
    ("starting, kill wanted", "poisoned", Phase::Over),
    ("running", "ended", Phase::Over),
    ("running", "paused", Phase::Running),
    ("running", "resumed", Phase::Running),
    ("running, reschedule wanted", "ended", Phase::Over),
    ("running, reschedule wanted", "paused", Phase::Running),
    ("running, reschedule wanted", "resumed", Phase::Running),
    ("running, reschedule wanted", "ask rejected", Phase::Running),
    ("running, kill wanted", "ended", Phase::Over),
    ("running, kill wanted", "paused", Phase::Running),
    ("running, kill wanted", "resumed", Phase::Running),
    ("paused", "ended", Phase::Over),
    ("paused", "paused", Phase::Running),
    ("paused", "resumed", Phase::Running),
    ("paused, resume wanted", "ended", Phase::Over),
    ("paused, resume wanted", "paused", Phase::Running),
    ("paused, resume wanted", "resumed", Phase::Running),
    ("paused, resume wanted", "ask rejected", Phase::Running),
    ("gathering", "gathered", Phase::Over),
    ("gathering, kill wanted", "gathered", Phase::Over),
    ("held", "ended unstarted", Phase::Over),
    ("over", "archived", Phase::Archived),
    ("over", "measured", Phase::Over),
    ("over, purge wanted", "archived", Phase::Archived),
    ("over, purge wanted", "measured", Phase::Over),
];

#[test]
fn every_move_of_the_table_is_made_and_no_other() {
    let mut n_legal = 0;
    for (name, task) in samples() {
        for event in events(&task) {
            let label = event.label();
            let legal = LEGAL.iter().find(|(state, event, _)| (*state, *event) == (name, label));
            let untouched = task.clone();
            match (task.after(&event, NOW), legal) {
                (Ok(next), Some((_, _, phase))) => {
                    n_legal += 1;
                    assert_eq!(next.phase(), *phase, "{name} {label}");
                    assert_eq!(next.rev, task.rev.next(), "{name} {label}");
                }
                (Err(bad), None) => {
                    assert_eq!(bad, BadMove { from: task.phase(), event: label }, "{name}");
                    assert_eq!(task, untouched, "{name} {label}");
                }
                (Ok(next), None) => panic!("{name} {label}: went to {:?}, must be refused", next.phase()),
                (Err(bad), Some(_)) => panic!("{name} {label}: {bad}"),
            }
        }
    }
    assert_eq!(n_legal, LEGAL.len(), "a line of the table is about no sample");
}

#[test]
fn the_samples_are_in_every_phase_and_the_events_of_every_kind() {
    let phases: BTreeSet<Phase> = samples().iter().map(|(_, task)| task.phase()).collect();
    assert_eq!(phases.len(), Phase::ALL.len());
    let labels: BTreeSet<&str> = events(&plain()).iter().map(Event::label).collect();
    assert_eq!(labels.len(), 13, "{labels:?}");
}

fn word(phase: Phase) -> String {
    serde_json::to_value(phase).expect("a word").as_str().expect("a text").to_owned()
}

/// What the page says of the moves: from, event, and where it leads.
fn documented() -> BTreeSet<(String, String, String)> {
    let page = page();
    let table = page.split("<!-- moves -->").nth(1).expect("the page has the marks around its table");
    let mut moves = BTreeSet::new();
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let cells: Vec<Vec<String>> = row.split('|').skip(1).take(3).map(quoted).collect();
        let [from, event, to] = &cells[..] else { panic!("three cells: {row}") };
        for to in to {
            moves.insert((from[0].clone(), event[0].clone(), to.clone()));
        }
    }
    moves
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/task-states.md");
    std::fs::read_to_string(path).expect("the page about the states")
}

#[test]
fn the_page_about_the_states_tells_every_move_and_no_other() {
    let mut made = BTreeSet::new();
    for (_, task) in samples() {
        let mut task = task;
        for retries in [0, 1] {
            task.spec = spec(task.array().is_some().then_some("1:3"), retries);
            let mut all = events(&task);
            for cause in [Cause::Lost("node is gone".into()), Cause::NeverRan, Cause::Signal(9)] {
                all.push(Event::Ended(exit(cause.clone())));
                all.push(Event::Ended(asked_exit(cause)));
            }
            for event in all {
                if let Ok(next) = task.after(&event, NOW) {
                    made.insert((word(task.phase()), event.label().to_owned(), word(next.phase())));
                }
            }
        }
    }
    let told = documented();
    let untold: Vec<_> = made.difference(&told).collect();
    let untrue: Vec<_> = told.difference(&made).collect();
    assert!(untold.is_empty() && untrue.is_empty(), "not told: {untold:?}\nnot true: {untrue:?}");
}

#[test]
fn the_page_about_the_states_tells_every_word_of_the_wire() {
    let mut tasks: Vec<Task> = samples().into_iter().map(|(_, task)| task).collect();
    for outcome in [
        Outcome::Killed { reason: None },
        Outcome::TimedOut,
        Outcome::Quota("no cores left".into()),
        Outcome::Refused("too large".into()),
        Outcome::Skipped("task 1 failed".into()),
        Outcome::Lost("node is gone".into()),
    ] {
        tasks.push(Task { state: TaskState::Over { outcome, at: NOW, last: None }, ..plain() });
    }
    for ask in [Ask::Kill, Ask::Suspend, Ask::Resume, Ask::Reschedule] {
        for status in [WishStatus::Requested, WishStatus::Done, WishStatus::Rejected] {
            let wish = Some(Wish { ask, status, seq: 1, at: NOW, reason: None });
            tasks.push(Task { wish, ..running() });
        }
    }
    let (page, mut n_words) = (page(), BTreeSet::new());
    for task in tasks {
        for why in [None, Some(Reason::new(Code::Resources, "all nodes are busy"))] {
            let (primary, secondary) = status_words(&task, why.as_ref());
            for word in [Some(primary), secondary].into_iter().flatten().filter(|word| !word.is_empty()) {
                assert!(page.contains(&format!("`{word}`")), "{word:?} is not on the page");
                n_words.insert(word);
            }
        }
    }
    assert!(n_words.len() > 15, "{n_words:?}");
}
