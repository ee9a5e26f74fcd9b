//! What the moves mean.

use super::*;

fn lost() -> Cause {
    Cause::Lost("node is gone".into())
}

#[track_caller]
fn outcome(task: &Task) -> &Outcome {
    task.state.outcome().expect("it is over")
}

/// Running, of a task that may be lost so many times.
fn running_with(retries: u32) -> Task {
    Task { spec: spec(None, retries), ..running() }
}

const KILLED: Outcome = Outcome::Killed { reason: None };

// --- ends ---

#[test]
fn an_end_that_nobody_asked_for_keeps_its_own_result() {
    for (cause, want) in [
        (Cause::Code(0), Outcome::Exited(0)),
        (Cause::Code(3), Outcome::Exited(3)),
        (Cause::Signal(11), Outcome::Signalled(11)),
        (Cause::TimeLimit, Outcome::TimedOut),
        (Cause::OutOfMemory, Outcome::OutOfMemory),
        (lost(), Outcome::Lost("node is gone".into())),
    ] {
        for task in [running(), starting()] {
            let next = after(&task, &Event::Ended(exit(cause.clone())));
            assert_eq!(outcome(&next), &want);
            let TaskState::Over { at, last: Some(last), .. } = &next.state else { panic!("{next:?}") };
            assert_eq!((*at, last.started), (Timestamp(8000), Some(Timestamp(3000))));
            assert_eq!((last.attempt.number, last.cpu_us, last.max_rss), (1, 5, Bytes(9)));
        }
    }
}

#[test]
fn the_end_we_asked_for_is_a_kill_and_carries_the_reason_of_the_request() {
    let task = running().asked(Ask::Kill, Some("quota"), NOW).expect("wanted");
    for cause in [Cause::Signal(9), Cause::Code(0)] {
        let next = after(&task, &Event::Ended(asked_exit(cause)));
        assert_eq!(outcome(&next), &Outcome::Killed { reason: Some("quota".into()) });
        assert_eq!(wish_of(&next), Some((Ask::Kill, WishStatus::Done)));
    }
}

#[test]
fn a_script_that_ended_before_our_signal_keeps_its_result_and_the_kill_is_answered() {
    let next = after(&asked(&running(), Ask::Kill), &Event::Ended(exit(Cause::Code(4))));
    assert_eq!(outcome(&next), &Outcome::Exited(4));
    assert_eq!(wish_of(&next), Some((Ask::Kill, WishStatus::Rejected)));
}

#[test]
fn a_limit_that_struck_is_named_even_when_we_sent_the_signal() {
    for (cause, want) in [(Cause::TimeLimit, Outcome::TimedOut), (Cause::OutOfMemory, Outcome::OutOfMemory)] {
        assert_eq!(outcome(&after(&running(), &Event::Ended(asked_exit(cause)))), &want);
    }
}

#[test]
fn an_end_by_request_without_a_kill_does_not_borrow_another_requests_reason() {
    let refused = after(&asked(&running(), Ask::Suspend), &Event::AskRejected("can not pause".into()));
    let next = after(&refused, &Event::Ended(asked_exit(Cause::Signal(9))));
    assert_eq!(outcome(&next), &KILLED);
}

#[test]
fn a_kill_does_not_fulfil_a_suspend() {
    let next = after(&asked(&running(), Ask::Suspend), &Event::Ended(asked_exit(Cause::Signal(9))));
    assert_eq!(outcome(&next), &KILLED);
    assert_eq!(wish_of(&next), Some((Ask::Suspend, WishStatus::Rejected)));
}

// --- lost and never ran ---

#[test]
fn a_lost_run_is_tried_again_as_often_as_the_task_allows() {
    let mut task = Task { spec: spec(None, 2), ..plain() };
    for number in 1..=3 {
        task = after(&task, &Event::Claimed(attempt(number)));
        task = after(&task, &started());
        task = after(&task, &Event::Ended(exit(lost())));
        assert_eq!(task.failures.count, number);
        assert_eq!(task.failures.nodes.len(), number as usize);
        if number < 3 {
            let TaskState::Pending { requeued: true, why: Some(why), .. } = &task.state else {
                panic!("{:?}", task.state)
            };
            assert_eq!(why, "node is gone");
        }
    }
    assert_eq!(outcome(&task), &Outcome::Lost("node is gone".into()));
    assert_eq!(task.attempts, 3);
}

#[test]
fn a_node_that_lost_two_runs_is_named_once() {
    let mut task = Task { spec: spec(None, 5), ..plain() };
    for number in 1..=2 {
        let claim = Attempt { node: NodeName::new("bad"), ..attempt(number) };
        task = after(&task, &Event::Claimed(claim));
        task = after(&task, &Event::Ended(exit(lost())));
    }
    assert_eq!((task.failures.count, task.failures.nodes.len()), (2, 1));
}

#[test]
fn what_was_lost_while_its_end_was_wanted_is_killed_not_tried_again() {
    let task = asked(&running_with(9), Ask::Kill);
    let next = after(&task, &Event::Ended(exit(lost())));
    assert_eq!((outcome(&next), next.failures.count), (&KILLED, 0));
}

#[test]
fn what_never_ran_goes_back_into_the_queue_without_counting_as_a_failure() {
    let next = after(&starting(), &Event::Ended(exit(Cause::NeverRan)));
    assert!(matches!(next.state, TaskState::Pending { requeued: true, why: None, .. }));
    assert_eq!((next.failures.count, next.attempts), (0, 1));
    let again = after(&next, &Event::Claimed(attempt(2)));
    assert_eq!(again.attempts, 2);
}

#[test]
fn a_start_that_was_put_off_says_why() {
    let next = after(&starting(), &Event::Returned { why: Some("no image".into()) });
    let TaskState::Pending { why, requeued: true, since } = &next.state else { panic!("{:?}", next.state) };
    assert_eq!((why.as_deref(), *since), (Some("no image"), NOW));
}

#[test]
fn kill_while_starting_ends_it_whatever_became_of_the_start() {
    let task = asked(&starting(), Ask::Kill);
    for event in [Event::Returned { why: None }, Event::Ended(exit(Cause::NeverRan))] {
        let next = after(&task, &event);
        assert_eq!((outcome(&next), wish_of(&next)), (&KILLED, Some((Ask::Kill, WishStatus::Done))));
    }
    let next = after(&task, &started());
    assert!(next.kill_wanted(), "it did start: the kill goes on");
}

// --- requests ---

#[test]
fn a_kill_of_a_waiting_task_is_done_at_once() {
    for task in [plain(), parent(), held()] {
        let next = task.asked(Ask::Kill, Some("bye"), NOW).expect("wanted");
        assert_eq!(outcome(&next), &Outcome::Killed { reason: Some("bye".into()) });
        assert_eq!(next.rev, task.rev.next());
    }
}

#[test]
fn an_array_that_waits_with_children_of_its_own_is_killed_through_them() {
    let children = Children { made: 2, over: 1, failed: 1 };
    let task = asked(&Task { children, ..parent() }, Ask::Kill);
    assert!(task.kill_wanted() && task.phase() == Phase::Pending);
    assert!(task.after(&Event::Claimed(attempt(1)), NOW).is_err());
    assert_eq!(outcome(&after(&task, &Event::Gathered { failed: 2 })), &KILLED);
    let told = Children { made: 2, over: 2, failed: 1 };
    assert_eq!(outcome(&asked(&Task { children: told, ..parent() }, Ask::Kill)), &KILLED);
}

#[test]
fn kill_wins_over_everything_and_nothing_wins_over_kill() {
    for first in [Ask::Suspend, Ask::Reschedule] {
        let task = asked(&asked(&running(), first), Ask::Kill);
        assert_eq!(wish_of(&task), Some((Ask::Kill, WishStatus::Requested)));
        for later in [Ask::Kill, Ask::Suspend, Ask::Resume, Ask::Reschedule] {
            assert_eq!(task.asked(later, None, NOW), None, "{later:?} after kill");
        }
    }
}

#[test]
fn the_same_request_twice_is_one_request() {
    for ask in [Ask::Kill, Ask::Suspend, Ask::Reschedule] {
        assert_eq!(asked(&running(), ask).asked(ask, None, NOW), None, "{ask:?}");
    }
    assert_eq!(asked(&paused(), Ask::Resume).asked(Ask::Resume, None, NOW), None);
}

#[test]
fn nothing_is_asked_of_what_is_over() {
    for task in [over(), after(&over(), &Event::Archived)] {
        for ask in [Ask::Kill, Ask::Suspend, Ask::Resume, Ask::Reschedule] {
            assert_eq!(task.asked(ask, None, NOW), None, "{ask:?}");
        }
    }
}

#[test]
fn rescheduling_ends_the_run_and_puts_the_task_back() {
    let task = asked(&running(), Ask::Reschedule);
    for end in [asked_exit(Cause::Signal(15)), exit(lost()), exit(Cause::NeverRan)] {
        let next = after(&task, &Event::Ended(end));
        assert!(matches!(next.state, TaskState::Pending { requeued: true, .. }));
        assert_eq!((wish_of(&next), next.failures.count), (None, 0));
    }
    let by_itself = after(&task, &Event::Ended(exit(Cause::Code(0))));
    assert_eq!(outcome(&by_itself), &Outcome::Exited(0));
    assert_eq!(wish_of(&by_itself), Some((Ask::Reschedule, WishStatus::Rejected)));
    assert_eq!(plain().asked(Ask::Reschedule, None, NOW), None, "it waits already");
}

#[test]
fn a_run_that_is_being_put_back_is_not_paused_any_more() {
    let task = asked(&running(), Ask::Reschedule);
    assert_eq!(task.asked(Ask::Suspend, None, NOW), None);
    assert_eq!(task.asked(Ask::Resume, None, NOW), None);
}

#[test]
fn suspend_and_resume() {
    let task = asked(&running(), Ask::Suspend);
    assert_eq!(wish_of(&task), Some((Ask::Suspend, WishStatus::Requested)));
    let task = after(&task, &Event::Paused);
    assert!(matches!(task.state, TaskState::Running { paused: true, .. }));
    assert_eq!(wish_of(&task), Some((Ask::Suspend, WishStatus::Done)));
    assert_eq!(task.asked(Ask::Suspend, None, NOW), None, "it is paused");
    let task = after(&asked(&task, Ask::Resume), &Event::Resumed);
    assert!(matches!(task.state, TaskState::Running { paused: false, .. }));
    assert_eq!(wish_of(&task), Some((Ask::Resume, WishStatus::Done)));
    let task = asked(&task, Ask::Resume);
    assert_eq!(wish_of(&task), Some((Ask::Resume, WishStatus::Rejected)), "nothing to resume");
}

#[test]
fn the_last_of_suspend_and_resume_counts_while_the_first_is_under_way() {
    let task = asked(&asked(&running(), Ask::Suspend), Ask::Resume);
    assert_eq!(wish_of(&task), Some((Ask::Resume, WishStatus::Requested)));
    // The pause had happened after all.
    let task = after(&task, &Event::Paused);
    assert_eq!(wish_of(&task), Some((Ask::Resume, WishStatus::Requested)));
    assert_eq!(wish_of(&after(&task, &Event::Resumed)), Some((Ask::Resume, WishStatus::Done)));

    let task = asked(&asked(&paused(), Ask::Resume), Ask::Suspend);
    assert_eq!(wish_of(&task), Some((Ask::Suspend, WishStatus::Requested)));
    assert_eq!(wish_of(&after(&task, &Event::Paused)), Some((Ask::Suspend, WishStatus::Done)));
}

#[test]
fn a_suspend_waits_for_the_start() {
    let task = after(&asked(&starting(), Ask::Suspend), &started());
    assert_eq!(wish_of(&task), Some((Ask::Suspend, WishStatus::Requested)));
}

#[test]
fn what_can_not_be_is_rejected_at_once() {
    for (task, ask) in [
        (plain(), Ask::Suspend),
        (plain(), Ask::Resume),
        (held(), Ask::Suspend),
        (gathering(), Ask::Suspend),
        (gathering(), Ask::Reschedule),
        (running(), Ask::Resume),
        (starting(), Ask::Resume),
    ] {
        let next = asked(&task, ask);
        assert_eq!(wish_of(&next), Some((ask, WishStatus::Rejected)), "{ask:?}");
        assert_eq!(next.state, task.state);
    }
}

#[test]
fn each_request_of_an_attempt_has_a_higher_number() {
    let mut task = running();
    for (number, ask) in [Ask::Suspend, Ask::Resume, Ask::Suspend, Ask::Kill].into_iter().enumerate() {
        task = asked(&task, ask);
        assert_eq!(task.wish.as_ref().map(|w| w.seq), Some(number as u32 + 1));
    }
}

#[test]
fn an_executor_may_refuse_a_request_but_not_a_kill() {
    let task = after(&asked(&running(), Ask::Suspend), &Event::AskRejected("can not pause".into()));
    let wish = task.wish.as_ref().expect("kept to be shown");
    assert_eq!((wish.status, wish.reason.as_deref()), (WishStatus::Rejected, Some("can not pause")));
    assert!(task.after(&Event::AskRejected("again".into()), NOW).is_err(), "nothing is open");
    assert!(asked(&running(), Ask::Kill).after(&Event::AskRejected("no".into()), NOW).is_err());
}

#[test]
fn a_held_task_is_let_go_or_killed() {
    let held = after(&asked(&starting(), Ask::Reschedule), &Event::Poisoned("three faults".into()));
    assert_eq!(wish_of(&held), None);
    let free = asked(&held, Ask::Reschedule);
    assert!(matches!(free.state, TaskState::Pending { requeued: true, why: None, .. }));
    assert_eq!(outcome(&asked(&held, Ask::Kill)), &KILLED);
    let refused = after(&held, &Event::EndedUnstarted(Outcome::Refused("no".into())));
    assert_eq!(outcome(&refused), &Outcome::Refused("no".into()));
}

#[test]
fn a_task_whose_end_is_wanted_is_never_held() {
    let next = after(&asked(&starting(), Ask::Kill), &Event::Poisoned("three faults".into()));
    assert_eq!((outcome(&next), wish_of(&next)), (&KILLED, Some((Ask::Kill, WishStatus::Done))));
}

// --- claims ---

#[test]
fn a_claim_is_of_the_next_attempt_only() {
    let once = after(&starting(), &Event::Returned { why: None });
    for (task, right) in [(plain(), 1), (once, 2)] {
        for number in 0..4 {
            let answer = task.after(&Event::Claimed(attempt(number)), NOW);
            assert_eq!(answer.is_ok(), number == right, "attempt {number} of {} before", task.attempts);
        }
    }
}

#[test]
fn a_claim_forgets_a_request_that_was_rejected_before() {
    let task = asked(&plain(), Ask::Suspend);
    assert_eq!(after(&task, &Event::Claimed(attempt(1))).wish, None);
}

#[test]
fn a_launch_is_made_of_a_claim_alone() {
    let launch = starting().launch().expect("it is starting");
    assert_eq!((launch.key, launch.epoch), (AttemptKey { task: TaskId(7), attempt: 1 }, 1));
    assert!(plain().launch().is_none() && running().launch().is_none() && over().launch().is_none());
    let run = running().run().expect("it runs");
    assert_eq!((run.key, run.run), (launch.key, Some(RunRef::new("r"))));
}

// --- arrays ---

#[test]
fn a_parent_runs_nothing_and_a_child_is_no_parent() {
    assert!(parent().after(&Event::Claimed(attempt(1)), NOW).is_err());
    let child = parent().child(2).expect("the third");
    assert_eq!((child.id, child.parent, child.array_index()), (TaskId(10), Some(TaskId(7)), Some(3)));
    assert!(child.array().is_none());
    for event in [Event::Unfolded, Event::Gathered { failed: 0 }] {
        assert!(child.after(&event, NOW).is_err() && plain().after(&event, NOW).is_err());
    }
    let child = after(&child, &Event::Claimed(attempt(1)));
    assert_eq!(child.launch().and_then(|l| l.child).map(|c| (c.parent, c.index)), Some((TaskId(7), 3)));
    assert!(parent().child(3).is_none() && plain().child(0).is_none());
}

#[test]
fn an_array_ends_with_its_children() {
    assert_eq!(outcome(&after(&gathering(), &Event::Gathered { failed: 0 })).exit_code(), Some(0));
    assert_eq!(outcome(&after(&gathering(), &Event::Gathered { failed: 2 })).exit_code(), Some(1));
    let killed = asked(&gathering(), Ask::Kill);
    assert!(killed.kill_wanted(), "a parent waits for its children");
    assert_eq!(outcome(&after(&killed, &Event::Gathered { failed: 1 })), &KILLED);
}

#[test]
fn a_child_that_was_never_written_is_over_and_archived_with_its_parent() {
    let killed = asked(&parent(), Ask::Kill);
    for parent in [after(&killed, &Event::Archived), killed] {
        let child = parent.child(0).expect("the first");
        assert_eq!((child.phase(), outcome(&child)), (parent.phase(), &KILLED));
        assert!(child.after(&Event::Claimed(attempt(1)), NOW).is_err());
    }
    assert_eq!(gathering().child(0).expect("the first").phase(), Phase::Pending);
}

// --- usage ---

#[test]
fn an_attempt_is_booked_when_it_ends_however_it_ends() {
    let key = AttemptKey { task: TaskId(7), attempt: 1 };
    let reschedule = asked(&running(), Ask::Reschedule);
    for (task, end) in [
        (running(), exit(Cause::Code(0))),
        (starting(), exit(Cause::Code(0))),
        (running(), exit(lost())),
        (running_with(1), exit(lost())),
        (reschedule, asked_exit(Cause::Signal(15))),
    ] {
        let next = after(&task, &Event::Ended(end));
        let usage = task.usage_of(&next).expect("it ran");
        assert_eq!((usage.key, usage.millis), (key, 5000), "{:?}", next.state);
        assert_eq!((usage.cores, usage.ram, usage.day), (Cores(2), 3, Timestamp(8000).day()));
    }
}

#[test]
fn what_did_not_run_is_not_booked() {
    let steps = [
        (plain(), starting()),
        (starting(), running()),
        (running(), paused()),
        (starting(), after(&starting(), &Event::Returned { why: None })),
        (starting(), after(&starting(), &Event::Ended(exit(Cause::NeverRan)))),
        (starting(), after(&starting(), &Event::EndedUnstarted(Outcome::Refused("no".into())))),
        (plain(), asked(&plain(), Ask::Kill)),
        (over(), after(&over(), &Event::Archived)),
    ];
    for (before, next) in steps {
        assert_eq!(before.usage_of(&next), None, "{:?}", next.state);
    }
}

#[test]
fn a_clock_that_was_set_back_adds_nothing() {
    let back = Exit { ended: Timestamp(10), ..exit(Cause::Code(0)) };
    let next = after(&running(), &Event::Ended(back.clone()));
    let TaskState::Over { at, .. } = next.state else { panic!("{next:?}") };
    assert_eq!(at, Timestamp(3000), "never before its start");
    assert_eq!(running().usage_of(&next).map(|u| u.millis), Some(0));

    let task = asked(&running(), Ask::Reschedule);
    let next = after(&task, &Event::Ended(Exit { by_request: true, ..back }));
    assert_eq!(task.usage_of(&next).map(|u| u.millis), Some(0));
}

#[test]
fn what_is_over_can_be_archived_and_purged() {
    let archive = asked(&over(), Ask::Archive);
    assert_eq!((archive.to_remove(), &archive.state), (Some(Ask::Archive), &over().state));
    assert_eq!(archive.asked(Ask::Archive, None, NOW), None, "the same again");
    let archived = after(&archive, &Event::Archived);
    assert_eq!(wish_of(&archived), Some((Ask::Archive, WishStatus::Done)));
    assert_eq!(archived.asked(Ask::Archive, None, NOW), None, "it is");
    let purge = asked(&archived, Ask::Purge);
    assert_eq!((purge.to_remove(), purge.phase()), (Some(Ask::Purge), Phase::Archived));
    assert_eq!(purge.asked(Ask::Purge, None, NOW), None, "the same again");

    let purge = asked(&archive, Ask::Purge);
    assert_eq!(purge.to_remove(), Some(Ask::Purge), "more was asked");
    assert_eq!(purge.asked(Ask::Archive, None, NOW), None, "less is part of it");
    assert_eq!(after(&purge, &Event::Archived).to_remove(), Some(Ask::Purge), "the record is still there");
}

#[test]
fn nothing_is_removed_of_what_is_not_over() {
    for (name, task) in samples().into_iter().filter(|(_, task)| !task.phase().is_over()) {
        for ask in [Ask::Archive, Ask::Purge] {
            assert_eq!(task.asked(ask, None, NOW), None, "{name} {ask:?}");
        }
    }
}

#[test]
fn a_child_is_archived_alone_but_purged_with_its_parent() {
    let mut gone = parent();
    gone.state = over().state;
    let child = gone.child(1).expect("the second");
    assert_eq!(child.asked(Ask::Archive, None, NOW), None, "it has no document and no files");
    let child = Task { rev: Rev(3), ..child };
    for ask in [Ask::Archive, Ask::Purge] {
        assert_eq!(asked(&child, ask).to_remove(), Some(Ask::Archive), "{ask:?}");
    }
    let archived = after(&child, &Event::Archived);
    assert_eq!(archived.asked(Ask::Purge, None, NOW), None);
}

#[test]
fn bytes_count_until_the_files_are_gone() {
    let measured = after(&over(), &Event::Measured(9));
    assert_eq!((measured.disk, measured.disk_held()), (Some(9), 9));
    assert_eq!(after(&measured, &Event::Measured(4)).disk_held(), 4);
    let archived = after(&measured, &Event::Archived);
    assert_eq!((archived.disk, archived.disk_held()), (Some(9), 0));
}
