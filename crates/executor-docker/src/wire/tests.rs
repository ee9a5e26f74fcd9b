use super::*;

fn ended(code: i64, seconds: i64) -> Inspected {
    Inspected {
        id: "c0ffee".to_owned(),
        key: None,
        status: ContainerStateStatusEnum::EXITED,
        code,
        oom: false,
        started: Some(Timestamp(1000)),
        ended: Some(Timestamp(1000 + seconds * 1000)),
        limit: None,
        error: String::new(),
    }
}

fn record(code: i32) -> ExitRecord {
    ExitRecord { code: Some(code), ..ExitRecord::default() }
}

fn hints(record: Option<ExitRecord>) -> Hints {
    Hints { record, ..Hints::default() }
}

fn check(state: &Inspected, hints: &Hints, cause: Cause) {
    assert_eq!(exit(state, hints).expect("has an end").cause, cause, "{state:?} {hints:?}");
}

fn is_lost(state: &Inspected, hints: &Hints) -> bool {
    matches!(exit(state, hints).expect("has an end").cause, Cause::Lost(_))
}

#[test]
fn codes_and_signals() {
    for code in [0, 1, 125, 126, 127, 128, 193, 255] {
        check(&ended(code.into(), 1), &hints(Some(record(code))), Cause::Code(code));
    }
    check(&ended(7, 1), &hints(None), Cause::Code(7));
    check(&ended(143, 1), &hints(None), Cause::Signal(15));
    let signalled = ExitRecord { signal: Some(9), ..record(137) };
    check(&ended(137, 1), &hints(Some(signalled)), Cause::Signal(9));
    check(&ended(137, 1), &hints(Some(record(137))), Cause::Code(137));
    // A record that does not fit what the engine says counts for nothing.
    check(&ended(143, 1), &hints(Some(record(0))), Cause::Signal(15));
    check(&ended(3, 1), &hints(Some(record(0))), Cause::Code(3));
}

#[test]
fn no_run_starts_after_its_end() {
    let state = Inspected { ended: Some(Timestamp(990)), ..ended(0, 0) };
    let exit = exit(&state, &hints(Some(record(0)))).expect("has an end");
    assert_eq!((exit.started, exit.ended), (Some(Timestamp(990)), Timestamp(990)));
}

#[test]
fn who_ended_it() {
    let asked = |record| Hints { asked: true, ..hints(record) };
    let killed = |code| Some(ExitRecord { killed: true, ..record(code) });
    check(&ended(137, 1), &asked(None), Cause::Signal(9));
    check(&ended(0, 1), &asked(killed(0)), Cause::Code(0));
    assert!(exit(&ended(0, 1), &asked(None)).expect("has an end").by_request);
    assert!(is_lost(&ended(0, 1), &hints(killed(0))), "a script that met the engine's end politely");
    assert!(is_lost(&ended(143, 1), &hints(killed(143))));
    assert!(is_lost(&ended(137, 1), &hints(None)));
    assert!(is_lost(&ended(255, 1), &hints(None)));
    assert!(is_lost(&Inspected { started: None, ..ended(127, 1) }, &hints(None)));
    assert_eq!(exit(&Inspected { ended: None, ..ended(0, 1) }, &hints(None)), None);
}

#[test]
fn limits() {
    let limited = |code, seconds| Inspected { limit: Some(Seconds(10)), ..ended(code, seconds) };
    let timed_out = |code| hints(Some(ExitRecord { timed_out: true, ..record(code) }));
    check(&limited(143, 10), &timed_out(143), Cause::TimeLimit);
    check(&limited(0, 11), &hints(Some(record(0))), Cause::TimeLimit);
    check(&limited(143, 9), &timed_out(143), Cause::TimeLimit);
    check(&limited(0, 3), &timed_out(0), Cause::Code(0));
    check(&limited(0, 9), &hints(Some(record(0))), Cause::Code(0));
    let oom = |code| Inspected { oom: true, ..ended(code, 1) };
    check(&oom(137), &hints(Some(record(137))), Cause::OutOfMemory);
    check(&oom(137), &hints(None), Cause::OutOfMemory);
    check(&oom(0), &hints(Some(record(0))), Cause::Code(0));
}

#[test]
fn a_latch_that_was_taken() {
    let given_up = Hints { abandoned: true, ..Hints::default() };
    check(&ended(125, 0), &given_up, Cause::NeverRan);
    assert_eq!(exit(&ended(125, 0), &given_up).expect("has an end").started, None);
    check(&ended(125, 0), &Hints::default(), Cause::Code(125));
    check(&ended(0, 0), &given_up, Cause::Code(0));
    check(&ended(125, 0), &hints(Some(record(125))), Cause::Code(125));
    assert!(is_lost(&ended(125, 0), &hints(Some(record(2)))), "that is not how it ended the first time");
}

#[test]
fn only_our_containers_are_ours() {
    let labels = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let good = [(LABEL_CLUSTER, "site"), (LABEL_TASK, "17"), (LABEL_ATTEMPT, "2")];
    let key = AttemptKey { task: TaskId(17), attempt: 2 };
    assert_eq!(key_of(&labels(&good), "site"), Some(key));
    assert_eq!(key_of(&labels(&good), "other"), None);
    for missing in 0..3 {
        let mut some = good.to_vec();
        some.remove(missing);
        assert_eq!(key_of(&labels(&some), "site"), None);
    }
    for (task, attempt) in [("0", "1"), ("x", "1"), ("1", "0"), ("1", "-1"), ("1", "")] {
        let bad = [(LABEL_CLUSTER, "site"), (LABEL_TASK, task), (LABEL_ATTEMPT, attempt)];
        assert_eq!(key_of(&labels(&bad), "site"), None, "{task} {attempt}");
    }
    let summary = |name: &str| ContainerSummary {
        id: Some("c0ffee".to_owned()),
        names: Some(vec![name.to_owned()]),
        labels: Some(labels(&good)),
        ..ContainerSummary::default()
    };
    assert_eq!(listed(&summary("/god-site-17-2"), "site"), Some((key, "c0ffee".to_owned())));
    assert_eq!(listed(&summary("/impostor"), "site"), None);
}

#[test]
fn times() {
    assert_eq!(time(Some("2026-11-24T21:13:13.757726105Z")), Some(Timestamp(1_795_554_793_757)));
    assert_eq!(time(Some("2026-11-24T21:13:13+01:00")), Some(Timestamp(1_795_551_193_000)));
    for none in ["0001-01-01T00:00:00Z", "", "yesterday"] {
        assert_eq!(time(Some(none)), None, "{none}");
    }
    assert_eq!(time(None), None);
}
