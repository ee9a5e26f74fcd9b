use super::*;
use crate::testing::{Fifo, claimed, parent, spec, task};
use god_core::policy::{Candidate, Policy, Ranks};
use god_core::spec::TaskSpec;
use god_core::state::Ask;
use god_core::units::Cores;

const NOW: Timestamp = Timestamp(5000);

fn add(pending: &mut Pending, task: Task, made: Vec<Range<u64>>) {
    pending.add(task, made, &mut accounts());
}

/// Nobody but one user in one project.
fn accounts() -> Accounts {
    let mut accounts = Accounts::default();
    accounts.who(&Group::of(&spec()));
    accounts
}

fn ranked(pending: &Pending, policy: &dyn Policy, mono: Duration) -> Ranked {
    pending.ranked(policy, &accounts(), NOW, Some(mono))
}

/// Heads of groups, best first.
fn heads(pending: &Pending, policy: &dyn Policy, mono: Duration) -> Vec<u64> {
    let ranked = ranked(pending, policy, mono);
    let mut order = Order::new(&ranked, pending, |_| true);
    let places = std::iter::from_fn(|| order.pop());
    places.filter_map(|place| pending.head(place.ix)).map(|(pick, _)| pick.id().0).collect()
}

/// What starts, in order, when all that waits is started at once.
fn drain(pending: &mut Pending) -> Vec<u64> {
    let mut ids = Vec::new();
    let ranked = ranked(pending, &Fifo, Duration::ZERO);
    let mut order = Order::new(&ranked, pending, |_| true);
    while let Some(place) = order.pop() {
        let Some((pick, parent)) = pending.pop(place.ix) else { continue };
        ids.push(pick.id().0);
        if let Some(parent) = parent {
            pending.child_live(parent, 1);
        }
        order.push(place, pending);
    }
    ids
}

fn wide(id: u64) -> Task {
    task(id, TaskSpec { cores: Cores(2), ..spec() })
}

fn waiting_child(parent: &Task, ordinal: u64) -> Task {
    let child = parent.child(ordinal).expect("it has so many");
    child.asked(Ask::Suspend, None, NOW).expect("a document with a rejected request")
}

#[test]
fn singles_and_children_start_by_id_across_groups() {
    let mut pending = Pending::default();
    for id in [9, 2] {
        add(&mut pending, task(id, spec()), Vec::new());
    }
    add(&mut pending, wide(8), Vec::new());
    add(&mut pending, parent(3, "1:3"), Vec::new());
    add(&mut pending, wide(1), Vec::new());
    assert_eq!(drain(&mut pending), [1, 2, 4, 5, 6, 8, 9]);
    assert_eq!(drain(&mut pending), [0; 0]);
}

#[test]
fn a_better_rank_goes_before_a_lower_id() {
    #[derive(Debug)]
    struct WideFirst;
    impl Policy for WideFirst {
        fn name(&self) -> &'static str {
            "wide-first"
        }
        fn rank(&self, candidates: &[Candidate<'_>], _now: Timestamp) -> Ranks {
            let bases = candidates.iter().map(|c| -f64::from(c.group.shape.cores)).collect();
            Ranks { bases, ..Ranks::equal(0) }
        }
    }
    let mut pending = Pending::default();
    add(&mut pending, task(1, spec()), Vec::new());
    add(&mut pending, wide(2), Vec::new());
    assert_eq!(heads(&pending, &WideFirst, Duration::ZERO), [2, 1]);
}

#[test]
fn an_array_keeps_to_its_limit() {
    let mut pending = Pending::default();
    add(&mut pending, parent(3, "1:5%2"), Vec::new());
    add(&mut pending, task(20, spec()), Vec::new());
    assert_eq!(drain(&mut pending), [4, 5, 20], "what is not of the array goes on");
    pending.child_live(TaskId(3), -1);
    assert_eq!(drain(&mut pending), [6]);
    // A child that was put back counts like any other.
    let again = claimed(&parent(3, "1:5%2").child(0).expect("the first"), "n", &[]);
    let again = again.after(&god_core::Event::Returned { why: None }, NOW).expect("put back");
    add(&mut pending, again, Vec::new());
    assert_eq!(drain(&mut pending), [0; 0]);
    pending.child_live(TaskId(3), -2);
    assert_eq!(drain(&mut pending), [4, 7]);
}

#[test]
fn children_with_a_document_are_not_made_again() {
    let mut pending = Pending::default();
    add(&mut pending, parent(10, "1:8"), vec![0..2, 3..4, 6..8]);
    assert_eq!(drain(&mut pending), [13, 15, 16]);
    let mut pending = Pending::default();
    add(&mut pending, parent(10, "1:2"), std::iter::once(0..2).collect());
    assert_eq!(drain(&mut pending), [0; 0]);
}

#[test]
fn a_child_that_got_a_document_while_it_waited_starts_from_its_document() {
    let mut pending = Pending::default();
    let array = parent(10, "1:3");
    add(&mut pending, array.clone(), Vec::new());
    let child = waiting_child(&array, 0);
    add(&mut pending, child.clone(), Vec::new());
    let ix = pending.group_of(&child).expect("queued");
    assert_eq!(pending.pop(ix), Some((Pick::Single(child.id), Some(TaskId(10)))));
    // Known twice: the second time it is of the array, and whoever places it sees that it has its room already.
    assert_eq!(pending.pop(ix), Some((Pick::Child { parent: TaskId(10), ordinal: 0 }, Some(TaskId(10)))));
    assert_eq!(pending.pop(ix).map(|(pick, _)| pick.id()), Some(TaskId(12)));
}

#[test]
fn nothing_of_an_array_whose_end_is_wanted_starts() {
    let array = parent(10, "1:3");
    let mut pending = Pending::default();
    add(&mut pending, array.clone(), Vec::new());
    let child = waiting_child(&array, 1);
    add(&mut pending, child.clone(), Vec::new());
    assert_eq!(pending.stop_array(TaskId(10)), [child.id]);
    assert_eq!(drain(&mut pending), [0; 0]);

    let gathering = array.after(&god_core::Event::Unfolded, NOW).expect("unfolded");
    let killed = gathering.asked(Ask::Kill, None, NOW).expect("wanted");
    let mut pending = Pending::default();
    add(&mut pending, gathering, Vec::new());
    add(&mut pending, killed, Vec::new());
    assert_eq!(drain(&mut pending), [0; 0]);
    assert!(pending.array(TaskId(10)).is_some_and(|a| a.killed));
}

#[test]
fn an_older_copy_of_a_parent_does_not_replace_a_newer_one() {
    let old = parent(10, "1:3");
    let new = old.after(&god_core::Event::Unfolded, NOW).expect("unfolded");
    let mut pending = Pending::default();
    add(&mut pending, new.clone(), Vec::new());
    add(&mut pending, old, Vec::new());
    assert_eq!(pending.array(TaskId(10)).map(|a| a.parent.rev), Some(new.rev));
}

#[test]
fn a_group_whose_start_failed_is_left_alone_longer_each_time() {
    let mut pending = Pending::default();
    let first = task(1, spec());
    add(&mut pending, first.clone(), Vec::new());
    add(&mut pending, wide(2), Vec::new());
    let ix = pending.group_of(&first).expect("queued");
    let best = |pending: &Pending, mono| heads(pending, &Fifo, mono).first().copied();
    let mut mono = Duration::ZERO;
    let mut spans = Vec::new();
    for _ in 0..9 {
        pending.back_off(ix, mono);
        let until = pending.next_unblock(mono).expect("it is left alone");
        assert_eq!(best(&pending, until - Duration::from_millis(1)), Some(2), "the others go on");
        assert_eq!(best(&pending, until), Some(1));
        spans.push((until - mono).as_millis());
        mono = until;
    }
    assert_eq!(spans, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    pending.back_off(ix, mono);
    pending.went_well(ix);
    assert_eq!((best(&pending, mono), pending.next_unblock(mono)), (Some(1), None));
    pending.back_off(ix, mono);
    assert_eq!(pending.next_unblock(mono), Some(mono + Duration::from_millis(500)), "from the start again");
}

#[test]
fn a_task_is_released_by_each_of_those_it_waits_for() {
    let mut pending = Pending::default();
    pending.wait(TaskId(5), &[TaskId(1), TaskId(2)]);
    pending.wait(TaskId(6), &[TaskId(1)]);
    assert_eq!(pending.released_by(TaskId(1)), [TaskId(5), TaskId(6)]);
    assert_eq!(pending.released_by(TaskId(1)), [TaskId(0); 0]);
    assert_eq!(pending.released_by(TaskId(2)), [TaskId(5)]);
}

#[test]
fn groups_that_have_nothing_left_are_forgotten() {
    let mut pending = Pending::default();
    let (first, second) = (task(1, spec()), wide(2));
    add(&mut pending, first.clone(), Vec::new());
    add(&mut pending, second.clone(), Vec::new());
    add(&mut pending, parent(10, "1:2"), Vec::new());
    pending.tidy(Duration::ZERO);
    assert_eq!(pending.groups().count(), 2);
    assert_eq!(drain(&mut pending), [1, 2, 11, 12]);
    let failed = pending.group_of(&first).expect("queued");
    pending.tidy(Duration::ZERO);
    assert!(pending.group_of(&second).is_none(), "it has nothing left");
    assert_eq!(pending.group_of(&first), Some(failed), "its array is not over");
    pending.drop_array(TaskId(10));
    pending.back_off(failed, Duration::ZERO);
    pending.tidy(Duration::ZERO);
    assert!(pending.group_of(&first).is_some(), "it is remembered how its start went");
    pending.tidy(Duration::from_secs(1));
    assert!(pending.group_of(&first).is_none() && pending.shapes().count() == 0);
    // Places of forgotten groups are used again.
    let other = task(3, TaskSpec { cores: Cores(3), ..spec() });
    add(&mut pending, other.clone(), Vec::new());
    assert!(pending.group_of(&other).is_some_and(|ix| ix < 2));
    assert_eq!(drain(&mut pending), [3]);
}

#[test]
fn a_full_array_costs_nothing_and_comes_back_when_it_has_room() {
    let mut pending = Pending::default();
    for n in 0..3 {
        add(&mut pending, parent(10 + 10 * n, "1:5%1"), Vec::new());
    }
    let ix = pending.group_of(&parent(10, "1:5%1")).expect("queued");
    assert_eq!((pending.extent(ix).n, pending.members(ix).count()), (15, 15));
    assert_eq!(drain(&mut pending), [11, 21, 31]);
    assert_eq!((pending.queues[ix].ready.len(), pending.is_waiting()), (0, false));
    pending.child_live(TaskId(20), -1);
    assert_eq!((pending.queues[ix].ready.len(), pending.extent(ix).n), (1, 4));
    let ids = |extent: Extent| (extent.first.0.0, extent.last.0.0);
    assert_eq!(ids(pending.extent(ix)), (22, 25));
    assert_eq!(drain(&mut pending), [22]);
}
