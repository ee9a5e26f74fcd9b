//! A good history, and what the judge finds when one thing in it is bad.

use super::*;
use god_core::executor::{Cause, Exit};
use god_core::ids::{ExecutorName, NodeName};
use god_core::state::{Ask, Attempt, Event, Phase};
use god_core::units::{Bytes, Timestamp};
use god_core::usage::UsageSum;
use god_core::{Outcome, TaskState};
use god_testkit::build;
use std::sync::Arc;

const S: u64 = 1_000_000_000;

fn ms(second: u64) -> Timestamp {
    Timestamp(i64::try_from(second * 1000).unwrap())
}

fn task(id: u64, name: &str) -> Task {
    let mut spec = build::spec(build::owner(4001, 4001), "exit 0\n");
    spec.name = name.to_owned();
    spec.failure_policy = 2;
    Task::new(TaskId(id), Arc::new(spec), ms(1))
}

fn respec(task: &mut Task, change: impl FnOnce(&mut god_core::TaskSpec)) {
    let mut spec = god_core::TaskSpec::clone(&task.spec);
    change(&mut spec);
    task.spec = Arc::new(spec);
}

/// Claims and starts at second `at`.
fn started(task: &Task, at: u64) -> Task {
    let attempt = Attempt {
        number: task.attempts + 1,
        executor: ExecutorName::new("local"),
        node: NodeName::new("n"),
        ports: Vec::new(),
        epoch: 1,
        claimed: ms(at),
    };
    let claimed = task.after(&Event::Claimed(attempt), ms(at)).unwrap();
    claimed.after(&Event::Started { run: None, since: ms(at) }, ms(at)).unwrap()
}

fn ended(task: &Task, cause: Cause, at: u64, by_request: bool) -> Task {
    let exit = Exit { cause, by_request, started: None, ended: ms(at), cpu_us: 0, max_rss: Bytes(0) };
    task.after(&Event::Ended(exit), ms(at)).unwrap()
}

fn submit(history: &mut History, key: &str, task: u64) {
    history.client.push(ClientLine::Invoke { ns: S, op: Op::Submit, key: key.to_owned() });
    history.client.push(ClientLine::Ok { ns: S + 1, op: Op::Submit, key: key.to_owned(), task });
}

fn start(history: &mut History, task: u64, pid: u32, second: u64) {
    history.runs.push(RunLine { task, attempt: None, pid, ns: second * S + 5, what: What::Start });
}

fn end(history: &mut History, task: u64, pid: u32, second: u64, code: i32) {
    let what = What::End { code: Some(code) };
    history.runs.push(RunLine { task, attempt: None, pid, ns: second * S - 5, what });
}

fn store(history: &mut History, task: Task) {
    history.documents.tasks.insert(task.id, task);
}

/// Counts and books that fit the documents, as a store without a fault has them.
fn count(documents: &mut Documents) {
    let mut counts = god_core::store::Counts::default();
    let mut booked = UsageSum::default();
    for task in documents.tasks.values() {
        counts.0[usize::from(task.phase().code())] += 1;
        if let TaskState::Over { at, last: Some(ran), .. } = &task.state
            && let Some(started) = ran.started
        {
            booked.cores += 1;
            booked.millis += at.millis_since(started);
        }
    }
    documents.counts = counts;
    let owner = god_core::UserId::new("bob");
    documents.counts_of = [(owner.clone(), counts)].into();
    documents.booked = [(owner, booked)].into();
}

/// Single task 1; 2 waits for 1; array 3 with children 4 and 5, the latter fails; 6 is killed; 7 is lost once and
/// started again; 8 runs on an executor that runs nothing; 9 is killed before its start. A leader dies at second 12.
fn good() -> History {
    let mut history = History::default();
    let h = &mut history;
    submit(h, "k1", 1);
    start(h, 1, 101, 10);
    end(h, 1, 101, 11, 0);
    store(h, ended(&started(&task(1, "k1"), 10), Cause::Code(0), 11, false));

    submit(h, "k2", 2);
    let mut after = task(2, "k2");
    respec(&mut after, |spec| spec.after = vec![TaskId(1)]);
    h.client.push(ClientLine::Fault { ns: 12 * S, kind: "kill9".to_owned(), target: "leader".to_owned() });
    start(h, 2, 102, 13);
    end(h, 2, 102, 14, 3);
    store(h, ended(&started(&after, 13), Cause::Code(3), 14, false));

    submit(h, "k3", 3);
    let mut parent = task(3, "k3");
    respec(&mut parent, |spec| spec.array = Some("2".parse().unwrap()));
    for (ordinal, code) in [(0, 0), (1, 4)] {
        let child = parent.child(ordinal).unwrap();
        let pid = 104 + u32::try_from(ordinal).unwrap();
        start(h, child.id.0, pid, 15);
        end(h, child.id.0, pid, 16, code);
        store(h, ended(&started(&child, 15), Cause::Code(code), 16, false));
    }
    parent.children = god_core::task::Children { made: 2, over: 2, failed: 1 };
    store(h, parent.after(&Event::Gathered { failed: 1 }, ms(17)).unwrap());

    submit(h, "k6", 6);
    start(h, 6, 106, 18);
    end(h, 6, 106, 20, 143);
    h.client.push(ClientLine::Ok { ns: 19 * S, op: Op::Kill, key: "kill-6".to_owned(), task: 6 });
    let killed = started(&task(6, "k6"), 18).asked(Ask::Kill, None, ms(19)).unwrap();
    store(h, ended(&killed, Cause::Signal(15), 20, true));

    submit(h, "k7", 7);
    start(h, 7, 107, 21);
    let lost = ended(&started(&task(7, "k7"), 21), Cause::Lost("node".to_owned()), 22, false);
    start(h, 7, 117, 23);
    end(h, 7, 117, 24, 0);
    store(h, ended(&started(&lost, 23), Cause::Code(0), 24, false));

    submit(h, "k8", 8);
    let mut fake = task(8, "k8");
    respec(&mut fake, |spec| spec.executor = Some("fake".to_owned()));
    store(h, ended(&started(&fake, 24), Cause::Code(0), 25, false));

    submit(h, "k9", 9);
    h.client.push(ClientLine::Ok { ns: 26 * S, op: Op::Kill, key: "kill-9".to_owned(), task: 9 });
    store(h, task(9, "k9").asked(Ask::Kill, None, ms(26)).unwrap());

    h.client.push(ClientLine::Fail { ns: 27 * S, op: Op::Submit, key: "bad".to_owned(), status: 400 });
    h.client.push(ClientLine::Unknown {
        ns: 27 * S,
        op: Op::Submit,
        key: "k10".to_owned(),
        status: Some(503),
    });
    count(&mut h.documents);
    history
}

fn verdict(history: &History) -> Verdict {
    judge(history, &Bounds::default())
}

/// What is found when the good history is changed.
#[track_caller]
fn finds(change: impl FnOnce(&mut History), expected: &[(&'static str, u64)]) {
    let mut history = good();
    change(&mut history);
    let verdict = verdict(&history);
    assert_eq!(verdict.wrongs(), expected.iter().copied().collect(), "{:#?}", verdict.examples);
    assert!(!verdict.examples.is_empty() || expected.iter().any(|(name, _)| *name == "unexpected_5xx"));
}

fn change(history: &mut History, id: u64, change: impl FnOnce(&Task) -> Task) {
    let changed = change(&history.documents.tasks[&TaskId(id)]);
    history.documents.tasks.insert(TaskId(id), changed);
}

#[test]
fn a_good_history_is_clean_and_counted() {
    let verdict = verdict(&good());
    assert!(verdict.wrongs().is_empty(), "{:#?}", verdict.examples);
    assert_eq!((verdict.tasks, verdict.attempts, verdict.starts), (8, 8, 7));
    assert_eq!(verdict.faults, [("kill9 leader".to_owned(), 1)].into());
    assert_eq!(verdict.recovery_s, Recovery { p50: 1.0, p99: 1.0, max: 1.0 });
    assert_eq!(verdict.slowest_kill_s, 1.0);
    assert_eq!(verdict.wall_s, 26.0);
}

#[test]
fn what_was_acknowledged_and_is_not_stored_is_lost() {
    finds(|h| submit(h, "k11", 11), &[("lost", 1)]);
    // Another one's document under the acknowledged number.
    finds(|h| submit(h, "k11", 1), &[("lost", 1)]);
}

#[test]
fn an_array_that_ended_without_a_child_has_lost_it() {
    finds(
        |h| {
            // Both the store's counters and the document agree that child 5 never was.
            h.documents.tasks.remove(&TaskId(5));
            h.runs.retain(|line| line.task != 5);
            change(h, 3, |parent| {
                let outcome = Outcome::Gathered { failed: 0 };
                let state = TaskState::Over { outcome, at: ms(17), last: None };
                let children = god_core::task::Children { made: 1, over: 1, failed: 0 };
                Task { state, children, ..parent.clone() }
            });
            count(&mut h.documents);
        },
        &[("lost", 1)],
    );
}

#[test]
fn one_key_makes_one_task() {
    finds(
        |h| {
            store(h, task(20, "k1").asked(Ask::Kill, None, ms(2)).unwrap());
            count(&mut h.documents);
        },
        &[("duplicate_tasks", 1)],
    );
}

#[test]
fn what_was_refused_is_not_stored_and_what_is_unknown_may_be() {
    let stored = |key: &'static str| {
        move |h: &mut History| {
            store(h, task(20, key).asked(Ask::Kill, None, ms(2)).unwrap());
            count(&mut h.documents);
        }
    };
    finds(stored("bad"), &[("ghost_tasks", 1)]);
    let mut history = good();
    stored("k10")(&mut history);
    assert!(verdict(&history).wrongs().is_empty());
}

#[test]
fn a_second_start_is_found_by_count_and_by_attempt() {
    finds(
        |h| {
            start(h, 1, 201, 30);
            end(h, 1, 201, 11, 0);
        },
        &[("duplicate_starts", 1)],
    );
    // Task 7 may start twice, but not a third time, and not twice as the same attempt.
    finds(
        |h| {
            let line = h.runs.iter().position(|line| line.pid == 117).unwrap();
            let early = RunLine { pid: 127, ns: 22 * S, ..h.runs[line] };
            h.runs.insert(line, early);
        },
        &[("duplicate_starts", 1)],
    );
    finds(
        |h| h.runs.iter_mut().filter(|line| line.task == 7).for_each(|line| line.attempt = Some(1)),
        &[("duplicate_starts", 1)],
    );
}

#[test]
fn two_runs_at_once_are_found() {
    finds(
        |h| {
            // The run that was given up as lost goes on, and ends after the second one began.
            let at = h.runs.iter().position(|line| line.pid == 117).unwrap() + 1;
            let what = What::End { code: Some(0) };
            h.runs.insert(at, RunLine { task: 7, attempt: None, pid: 107, ns: 23 * S + 500, what });
        },
        &[("concurrent_attempts", 1)],
    );
}

#[test]
fn a_start_before_its_time_is_found() {
    finds(
        |h| {
            change(h, 2, |task| {
                let mut task = task.clone();
                respec(&mut task, |spec| spec.after = vec![TaskId(4)]);
                task
            })
        },
        &[("early_starts", 1)],
    );
}

#[test]
fn ends_that_were_none_are_found() {
    // Over while it still ran.
    finds(|h| h.runs.iter_mut().filter(|l| l.task == 1).for_each(|l| l.ns += S / 10), &[("false_ends", 1)]);
    // An exit code that the script did not have; none at all; a run that the document knows nothing of.
    finds(
        |h| {
            let line = h.runs.iter_mut().find(|line| line.task == 1 && line.what != What::Start).unwrap();
            line.what = What::End { code: Some(9) };
        },
        &[("false_ends", 1)],
    );
    finds(|h| h.runs.retain(|line| line.task != 1), &[("false_ends", 1)]);
    finds(|h| start(h, 9, 109, 25), &[("false_ends", 1)]);
    // A kill that says it is done before it is.
    finds(
        |h| {
            let line = h.runs.iter_mut().find(|line| line.task == 6 && line.what != What::Start).unwrap();
            line.ns = 21 * S;
        },
        &[("false_ends", 1)],
    );
    // A parent that miscounts.
    finds(
        |h| {
            change(h, 3, |parent| {
                let state =
                    TaskState::Over { outcome: Outcome::Gathered { failed: 0 }, at: ms(17), last: None };
                Task { state, ..parent.clone() }
            })
        },
        &[("false_ends", 1)],
    );
}

#[test]
fn ends_and_bookings_count_once() {
    finds(|h| end(h, 1, 101, 11, 0), &[("double_ends", 1)]);
    let booked = |cores: u64, millis: u64| {
        move |h: &mut History| {
            let sum = h.documents.booked.values_mut().next().unwrap();
            (sum.cores, sum.millis) = (sum.cores + cores, sum.millis + millis);
        }
    };
    // Task 7 was lost once, and that may have been booked; no more.
    let mut history = good();
    booked(1, 1000)(&mut history);
    assert!(verdict(&history).wrongs().is_empty());
    finds(booked(2, 2000), &[("double_ends", 1)]);
    // Without it the times must fit.
    let without = |h: &mut History| {
        h.documents.tasks.remove(&TaskId(7));
        h.runs.retain(|line| line.task != 7);
        h.client.retain(|line| !matches!(line, ClientLine::Ok { task: 7, .. }));
        count(&mut h.documents);
    };
    finds(
        |h| {
            without(h);
            booked(0, 1)(h);
        },
        &[("double_ends", 1)],
    );
    finds(
        |h| {
            without(h);
            h.documents.booked.values_mut().for_each(|sum| sum.millis -= 1);
        },
        &[("counter_drift", 1)],
    );
    finds(|h| h.documents.booked.clear(), &[("counter_drift", 7)]);
}

#[test]
fn processes_without_a_living_task_are_orphans() {
    finds(|h| h.alive.push(Alive { pid: 9, task: 1 }), &[("orphans_over_bound", 1)]);
    finds(|h| start(h, 99, 5, 15), &[("orphans_over_bound", 1)]);
}

#[test]
fn what_is_not_over_is_stuck() {
    finds(
        |h| {
            submit(h, "k20", 20);
            store(h, started(&task(20, "k20"), 9));
            count(&mut h.documents);
            start(h, 20, 220, 9);
        },
        &[("stuck", 1)],
    );
    finds(
        |h| {
            submit(h, "k20", 20);
            store(h, task(20, "k20"));
            count(&mut h.documents);
        },
        &[("stuck", 1)],
    );
}

#[test]
fn kills_hold_and_in_time() {
    let late = |h: &mut History, id| {
        h.client.insert(0, ClientLine::Ok { ns: S, op: Op::Kill, key: "k".to_owned(), task: id });
    };
    finds(|h| late(h, 6), &[("late_kills", 1)]);
    // The kill of an array reaches its children; that one was in time.
    let mut history = good();
    late(&mut history, 3);
    assert_eq!(verdict(&history).wrongs(), [("late_kills", 1)].into());
    let mut history = good();
    history.client.push(ClientLine::Ok { ns: 15 * S, op: Op::Kill, key: "k".to_owned(), task: 3 });
    assert!(verdict(&history).wrongs().is_empty());
}

#[test]
fn a_run_that_died_with_its_process_is_killed_late_only_when_that_lived_long_enough() {
    let killed_at = |second: u64| {
        move |h: &mut History| {
            h.client.push(ClientLine::Ok { ns: 25 * S, op: Op::Kill, key: "k".to_owned(), task: 8 });
            change(h, 8, |task| {
                let mut task = task.clone();
                if let TaskState::Over { outcome, at, .. } = &mut task.state {
                    (*outcome, *at) = (Outcome::Killed { reason: None }, ms(second));
                }
                task
            });
            count(&mut h.documents);
        }
    };
    finds(killed_at(41), &[("late_kills", 1)]);
    let mut history = good();
    killed_at(41)(&mut history);
    let death = |ns| ClientLine::Fault { ns, kind: "kill9".to_owned(), target: "go-d up".to_owned() };
    history.client.push(death(35 * S));
    assert!(verdict(&history).wrongs().is_empty());
    history.client.pop();
    history.client.push(death(42 * S));
    assert_eq!(verdict(&history).wrongs(), [("late_kills", 1)].into());
}

#[test]
fn counters_that_differ_from_a_recount_are_found() {
    let over = usize::from(Phase::Over.code());
    finds(|h| h.documents.counts.0[over] += 2, &[("counter_drift", 2)]);
    finds(|h| h.documents.counts_of.clear(), &[("counter_drift", 9)]);
    finds(
        |h| {
            change(h, 3, |parent| {
                let children = god_core::task::Children { made: 3, over: 2, failed: 0 };
                Task { children, ..parent.clone() }
            })
        },
        &[("counter_drift", 2)],
    );
}

#[test]
fn faults_of_the_server_are_told() {
    let unknown = |status| {
        move |h: &mut History| {
            let key = "k1".to_owned();
            h.client.push(ClientLine::Unknown { ns: 2 * S, op: Op::Submit, key, status: Some(status) });
        }
    };
    finds(unknown(500), &[("unexpected_5xx", 1)]);
    let mut history = good();
    unknown(503)(&mut history);
    assert!(verdict(&history).wrongs().is_empty());
}
