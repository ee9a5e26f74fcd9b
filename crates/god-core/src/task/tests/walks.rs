//! What holds after any sequence of events and requests.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// A claim; the number is off by this from the right one.
    Claim(i64),
    Happens(Event),
    Asks(Ask),
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Code(0)),
        Just(Cause::Code(2)),
        Just(Cause::Signal(9)),
        Just(Cause::TimeLimit),
        Just(Cause::OutOfMemory),
        Just(Cause::NeverRan),
        Just(Cause::Lost("node is gone".into())),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0i64..1_000_000).prop_map(Timestamp)
}

fn end() -> impl Strategy<Value = Event> {
    (cause(), any::<bool>(), proptest::option::of(time()), time()).prop_map(
        |(cause, by_request, started, ended)| {
            let started = started.filter(|_| cause != Cause::NeverRan);
            Event::Ended(Exit { cause, by_request, started, ended, cpu_us: 0, max_rss: Bytes(0) })
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Claim(0)),
        1 => (-2i64..3).prop_map(Step::Claim),
        3 => proptest::option::of(Just("no image".to_owned()))
            .prop_map(|why| Step::Happens(Event::Returned { why })),
        6 => time().prop_map(|since| Step::Happens(Event::Started { run: None, since })),
        6 => end().prop_map(Step::Happens),
        2 => Just(Step::Happens(Event::Paused)),
        2 => Just(Step::Happens(Event::Resumed)),
        1 => Just(Step::Happens(Event::AskRejected("no".into()))),
        2 => Just(Step::Happens(Event::Unfolded)),
        1 => (0u64..3).prop_map(|failed| Step::Happens(Event::Gathered { failed })),
        1 => Just(Step::Happens(Event::EndedUnstarted(Outcome::Refused("no".into())))),
        1 => Just(Step::Happens(Event::Poisoned("faults".into()))),
        1 => Just(Step::Happens(Event::Archived)),
        1 => (0u64..9).prop_map(|bytes| Step::Happens(Event::Measured(bytes))),
        5 => prop_oneof![Just(Ask::Kill), Just(Ask::Suspend), Just(Ask::Resume), Just(Ask::Reschedule)]
            .prop_map(Step::Asks),
        2 => prop_oneof![Just(Ask::Archive), Just(Ask::Purge)].prop_map(Step::Asks),
    ]
}

fn fresh() -> impl Strategy<Value = Task> {
    (0u32..3, 0u8..4).prop_map(|(retries, kind)| {
        let array = (kind >= 2).then_some("1:3");
        let task = Task::new(TaskId(7), spec(array, retries), Timestamp(1000));
        if kind == 3 { task.child(1).expect("the second") } else { task }
    })
}

fn made(task: &Task, step: &Step, now: Timestamp) -> Option<Task> {
    match step {
        Step::Claim(off) => {
            let number = u32::try_from(i64::from(task.attempts) + 1 + off).unwrap_or(0);
            task.after(&Event::Claimed(attempt(number)), now).ok()
        }
        Step::Happens(event) => task.after(event, now).ok(),
        Step::Asks(ask) => task.asked(*ask, None, now),
    }
}

/// What one step may change.
fn judge(before: &Task, next: &Task) -> Result<(), TestCaseError> {
    prop_assert_eq!(next.rev, before.rev.next());
    prop_assert!(next.attempts == before.attempts || next.attempts == before.attempts + 1);
    if next.attempts > before.attempts {
        prop_assert_eq!(next.phase(), Phase::Starting, "only a claim makes an attempt");
        prop_assert!(!before.kill_wanted(), "a kill holds");
    }
    match before.phase() {
        Phase::Over => prop_assert!(next.phase().is_over()),
        Phase::Archived => {
            let told = (next.phase(), next.to_remove());
            prop_assert_eq!(told, (Phase::Archived, Some(Ask::Purge)), "nothing leaves the archive");
        }
        _ => {}
    }
    if before.phase().is_over() {
        prop_assert_eq!(next.state.outcome(), before.state.outcome(), "the end is not told anew");
    }
    if before.kill_wanted() {
        prop_assert!(next.kill_wanted() || next.phase().is_over(), "a kill is not forgotten");
    }
    if next.phase().is_over() || next.phase() == Phase::Held {
        let open = next.wish.as_ref().filter(|wish| wish.is_open());
        prop_assert!(open.is_none() || next.to_remove().is_some(), "nobody would answer it");
    }
    if !next.phase().is_over() {
        prop_assert_eq!((next.to_remove(), next.disk), (None, None), "not before the end");
    }
    if let (Some(a), Some(b)) = (before.state.attempt(), next.state.attempt()) {
        prop_assert_eq!(a, b, "an attempt does not change while it is live");
        let seq = |task: &Task| task.wish.as_ref().map_or(0, |w| w.seq);
        prop_assert!(seq(next) >= seq(before) && seq(next) <= seq(before) + 1);
    }
    if let Some(attempt) = next.state.attempt() {
        prop_assert_eq!(attempt.number, next.attempts);
    }
    prop_assert!(next.array().is_none() || next.attempts == 0, "a parent runs nothing");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_walk_breaks_a_rule(
        task in fresh(),
        steps in proptest::collection::vec((step(), time()), 0..40),
    ) {
        let mut task = task;
        let mut booked = BTreeSet::new();
        for (step, now) in steps {
            let Some(next) = made(&task, &step, now) else { continue };
            judge(&task, &next)?;
            if let Some(usage) = task.usage_of(&next) {
                prop_assert!(booked.insert(usage.key.attempt), "attempt {} twice", usage.key.attempt);
                prop_assert!(usage.key.attempt <= next.attempts && usage.millis <= 1_000_000);
            }
            task = next;
        }
    }

    #[test]
    fn a_run_that_was_seen_and_ended_is_booked(
        retries in 0u32..3,
        ask in proptest::option::of(prop_oneof![Just(Ask::Kill), Just(Ask::Suspend), Just(Ask::Reschedule)]),
        event in end(),
    ) {
        let mut task = Task { spec: spec(None, retries), ..running() };
        if let Some(ask) = ask {
            task = asked(&task, ask);
        }
        let next = after(&task, &event);
        prop_assert!(next.state.attempt().is_none());
        let never = matches!(&event, Event::Ended(exit) if exit.cause == Cause::NeverRan);
        prop_assert!(never || task.usage_of(&next).is_some(), "{:?}", next.state);
    }
}
