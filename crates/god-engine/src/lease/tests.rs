use super::*;
use god_core::ids::Holder;

const TTL: Duration = Duration::from_secs(6);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn record(name: &str, epoch: u64, beat: u64) -> LeaseRecord {
    LeaseRecord { name: name.into(), holder: Some(Holder::new("h")), epoch, beat }
}

fn lease(epoch: u64) -> Lease {
    Lease { name: SCHEDULER.into(), holder: Holder::new("h"), epoch }
}

#[test]
fn a_beat_is_still_after_a_whole_time_to_live_of_our_own_clock() {
    let (mut beats, one) = (Beats::default(), record(SCHEDULER, 1, 7));
    assert!(!beats.is_still(&one, TTL, at(100)), "never seen before");
    beats.note(std::slice::from_ref(&one), at(100));
    beats.note(std::slice::from_ref(&one), at(103));
    assert!(!beats.is_still(&one, TTL, at(105)));
    assert!(beats.is_still(&one, TTL, at(106)), "counted from the first sight, not the last");
}

#[test]
fn a_renewal_or_another_holder_begins_anew() {
    for changed in [record(SCHEDULER, 1, 8), record(SCHEDULER, 2, 7), record(SCHEDULER, 2, 0)] {
        let mut beats = Beats::default();
        beats.note(&[record(SCHEDULER, 1, 7)], at(100));
        assert!(!beats.is_still(&changed, TTL, at(106)), "{changed:?} was not seen yet");
        beats.note(std::slice::from_ref(&changed), at(105));
        assert!(!beats.is_still(&changed, TTL, at(110)) && beats.is_still(&changed, TTL, at(111)));
    }
}

#[test]
fn who_was_gone_and_is_back_gets_its_whole_time() {
    let (mut beats, one) = (Beats::default(), record("watcher/a", 1, 7));
    let other = record("watcher/b", 2, 1);
    beats.note(&[one.clone(), other.clone()], at(100));
    beats.note(std::slice::from_ref(&other), at(103));
    beats.note(&[one.clone(), other.clone()], at(105));
    assert!(!beats.is_still(&one, TTL, at(106)) && beats.is_still(&one, TTL, at(111)));
    assert!(beats.is_still(&other, TTL, at(106)), "each is counted for itself");
}

#[test]
fn a_clock_that_does_not_move_deposes_nobody() {
    let (mut beats, one) = (Beats::default(), record(SCHEDULER, 1, 7));
    beats.note(std::slice::from_ref(&one), at(100));
    assert!(!beats.is_still(&one, TTL, at(100)) && !beats.is_still(&one, TTL, at(50)));
}

#[test]
fn a_tenure_ends_at_its_time_even_if_nobody_says_so() {
    let tenure = Tenure::default();
    assert_eq!(tenure.current(at(0)), None);
    tenure.set(Some(lease(3)), at(4));
    assert_eq!(tenure.current(at(3)), Some(lease(3)));
    assert_eq!(tenure.current(at(4)), None);
    assert_eq!(tenure.held(), Some(lease(3)), "it may still be renewed");
}

#[test]
fn a_refused_write_ends_the_tenure_it_was_made_under_and_no_later_one() {
    let tenure = Tenure::default();
    tenure.set(Some(lease(4)), at(9));
    tenure.lost(&lease(3));
    assert_eq!(tenure.current(at(0)), Some(lease(4)));
    tenure.lost(&lease(4));
    assert_eq!(tenure.current(at(0)), None);
}
