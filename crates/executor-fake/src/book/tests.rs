use super::*;
use god_core::units::Cores;
use god_testkit::build;

const NODE: &str = "fake-1";

fn book(cores: u32, max_tasks: Option<u32>, queue: u32) -> Book {
    let each = Amount { cores: Cores(cores), memory: Bytes(1 << 40), gpus: 0 };
    Book::new(vec![NodeName::new(NODE)], each, max_tasks, queue)
}

fn launch(task: u64, order: &str) -> Launch {
    build::launch(build::spec(build::owner(1, 1), &format!("#FAKE {order}")), task, 1, &NodeName::new(NODE))
}

fn key(task: u64) -> AttemptKey {
    AttemptKey { task: TaskId(task), attempt: 1 }
}

fn exit(book: &Book, task: u64) -> Exit {
    match book.seen(key(task)) {
        Seen::Exited(exit) => exit,
        other => panic!("{task}: {other:?}"),
    }
}

#[test]
fn results_do_not_depend_on_when_somebody_looks() {
    let mut book = book(1, None, 9);
    for task in 1..=3 {
        assert!(book.start(&launch(task, "duration=10ms start_delay=5ms"), Timestamp(100)).is_ok());
    }
    book.advance(Timestamp(10_000));
    let times =
        [1, 2, 3].map(|task| exit(&book, task)).map(|exit| (exit.started.map_or(0, |at| at.0), exit.ended.0));
    assert_eq!(times, [(105, 115), (120, 130), (135, 145)]);
    assert_eq!(book.take_news().len(), 6);
    assert_eq!(book.next_due(), None);
}

#[test]
fn room_is_never_overdrawn_and_comes_back() {
    let mut book = book(2, None, 0);
    assert!(book.start(&launch(1, "duration=1s"), Timestamp(0)).is_ok());
    assert!(book.start(&launch(2, "duration=1s"), Timestamp(0)).is_ok());
    assert!(matches!(book.start(&launch(3, ""), Timestamp(0)), Err(StartError::NotNow(_))));
    assert_eq!(book.seen(key(3)), Seen::Absent, "nothing was started");
    book.kill(key(1), Seconds(0), Timestamp(10));
    assert!(book.start(&launch(3, "duration=1s"), Timestamp(10)).is_ok());
    book.forget(key(2), Timestamp(20));
    assert!(book.start(&launch(4, ""), Timestamp(20)).is_ok());
    assert!(
        matches!(book.start(&launch(4, ""), Timestamp(20)), Ok(Started::Running { .. })),
        "the same attempt"
    );
    assert!(matches!(book.start(&launch(5, ""), Timestamp(20)), Err(StartError::NotNow(_))));
}

#[test]
fn a_limit_of_tasks_holds_too() {
    let mut book = book(100, Some(1), 1);
    assert!(matches!(book.start(&launch(1, "duration=1s"), Timestamp(0)), Ok(Started::Running { .. })));
    assert_eq!(book.start(&launch(2, "duration=1s"), Timestamp(0)), Ok(Started::Accepted));
    assert!(matches!(book.start(&launch(3, ""), Timestamp(0)), Err(StartError::NotNow(_))));
    assert_eq!(book.seen(key(2)), Seen::Created);
    book.advance(Timestamp(1000));
    assert!(matches!(book.seen(key(2)), Seen::Running { since: Timestamp(1000), .. }));
}

#[test]
fn what_waits_can_be_taken_back() {
    let mut book = book(1, None, 5);
    for task in 1..=4 {
        assert!(book.start(&launch(task, "duration=1s"), Timestamp(0)).is_ok());
    }
    book.kill(key(2), Seconds(9), Timestamp(1));
    assert_eq!((exit(&book, 2).cause, exit(&book, 2).by_request), (Cause::NeverRan, true));
    assert_eq!(book.abandon(key(3), Timestamp(1)), Abandon::NeverRan);
    assert_eq!(book.abandon(key(1), Timestamp(1)), Abandon::Ran);
    assert_eq!(book.abandon(key(2), Timestamp(1)), Abandon::NeverRan);
    book.advance(Timestamp(1000));
    assert!(matches!(book.seen(key(4)), Seen::Running { since: Timestamp(1000), .. }));
    assert!(book.start(&launch(3, ""), Timestamp(2000)).is_err());
}

#[test]
fn faults_come_as_ordered() {
    let mut book = book(100, None, 0);
    let mut start = |task, order: &str| book.start(&launch(task, order), Timestamp(0));
    assert!(matches!(start(1, "fail=start"), Err(StartError::NotNow(_))));
    assert!(matches!(start(2, "fail=refuse"), Err(StartError::Refused(_))));
    assert!(matches!(start(3, "fail=unknown duration=1s exit=4"), Err(StartError::Unknown(_))));
    assert!(start(4, "fail=lost duration=1s").is_ok());
    assert!(start(5, "fail=lost fail_attempts=0").is_ok());
    assert!(matches!(start(6, "nonsense"), Err(StartError::Refused(_))));
    book.advance(Timestamp(1000));
    assert_eq!(
        (book.seen(key(1)), book.seen(key(2)), book.seen(key(6))),
        (Seen::Absent, Seen::Absent, Seen::Absent)
    );
    assert_eq!(exit(&book, 3).cause, Cause::Code(4), "an unknown start has started");
    assert!(matches!(exit(&book, 4).cause, Cause::Lost(_)));
    assert_eq!(exit(&book, 5).cause, Cause::Code(0));
}

#[test]
fn grace_and_pause_move_the_end() {
    let mut book = book(100, None, 0);
    for (task, order) in [(1, "duration=1h term=ignore"), (2, "duration=1s term=ignore"), (3, "duration=1s")]
    {
        assert!(book.start(&launch(task, order), Timestamp(0)).is_ok());
    }
    book.kill(key(1), Seconds(5), Timestamp(0));
    book.advance(Timestamp(1000));
    book.kill(key(1), Seconds(5), Timestamp(1000));
    book.kill(key(2), Seconds(5), Timestamp(0));
    book.advance(Timestamp(10_000));
    assert_eq!((exit(&book, 1).ended, exit(&book, 1).cause), (Timestamp(5000), Cause::Signal(9)));
    assert_eq!((exit(&book, 2).ended, exit(&book, 2).by_request), (Timestamp(1000), false));
    let mut book = self::book(100, None, 0);
    assert!(book.start(&launch(3, "duration=1s"), Timestamp(0)).is_ok());
    book.pause(key(3), Timestamp(600));
    book.pause(key(3), Timestamp(700));
    book.advance(Timestamp(5000));
    assert!(matches!(book.seen(key(3)), Seen::Paused { .. }));
    book.resume(key(3), Timestamp(5000));
    book.advance(Timestamp(9000));
    assert_eq!(exit(&book, 3).ended, Timestamp(5400));
}

#[test]
fn interactive_runs_last_until_they_are_killed() {
    let mut book = book(100, None, 0);
    let mut session = launch(1, "");
    std::sync::Arc::make_mut(&mut session.spec).interactive = true;
    assert!(book.start(&session, Timestamp(0)).is_ok());
    book.advance(Timestamp(1_000_000_000));
    assert!(matches!(book.seen(key(1)), Seen::Running { .. }));
    book.kill(key(1), Seconds(5), Timestamp(1_000_000_000));
    assert_eq!(exit(&book, 1).cause, Cause::Signal(15));
}
