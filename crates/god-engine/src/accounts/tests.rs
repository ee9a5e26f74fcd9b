use super::*;
use god_core::group::Shape;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn group(user: &str, project: &str) -> Group {
    let shape = Shape {
        cores: 1,
        ram: 1,
        gpus: 0,
        executor: String::new(),
        labels: Vec::new(),
        ports: 0,
        time_limit: None,
        avoid: Vec::new(),
    };
    Group { owner: UserId::new(user), project: ProjectId::new(project), shape }
}

fn user(id: &str, prio: u32, quotas: [f64; 3]) -> User {
    let text = format!(r#"{{"id": "{id}", "type": "local", "uid": 1, "gid": 1, "prio": {prio}}}"#);
    User { quotas, ..serde_json::from_str(&text).expect("a user") }
}

fn project(id: &str, prio: u32, quotas: [f64; 3]) -> Project {
    let text = format!(r#"{{"id": "{id}", "prio": {prio}}}"#);
    Project { quotas, ..serde_json::from_str(&text).expect("a project") }
}

fn charge(cores: u32, ram: u32) -> Charge {
    Charge { cores, ram, claimed: NOW }
}

/// Reads the books: what bob and the project used.
fn read(accounts: &mut Accounts, used: Used, quotas: [f64; 3], of_project: [f64; 3]) {
    let settling = accounts.settling();
    let ledger = Ledger {
        users: [(UserId::new("bob"), used)].into(),
        projects: [(ProjectId::new("p"), used), (ProjectId::new("default"), used)].into(),
    };
    let people =
        ([user("bob", 60, quotas)], [project("p", 80, of_project), project("default", 90, [0.1; 3])]);
    accounts.settle(settling, &ledger, Some((&people.0, &people.1)));
}

fn used(millis: u64, cores: u64, ram: u64, disk: u64) -> Used {
    Used { millis, cores, ram, disk }
}

/// `free`, or the code and whether it is final.
fn judged(accounts: &Accounts, who: Who, cores: u32, ram: u32, now: Timestamp) -> String {
    match accounts.judge(who, cores, ram, now) {
        Verdict::Free => "free".to_owned(),
        Verdict::Wait(why) => format!("wait {}", why.code),
        Verdict::Never(why) => format!("never {}", why.code),
    }
}

#[test]
fn equality_is_allowed_and_one_more_is_not() {
    let mut accounts = Accounts::new(None, 30);
    let who = accounts.who(&group("bob", "default"));
    read(&mut accounts, used(10_000, 6, 8, 0), [10.0, 8.0, 16.0], [0.0; 3]);
    assert_eq!(judged(&accounts, who, 2, 8, NOW), "free");
    assert_eq!(judged(&accounts, who, 3, 8, NOW), "never quota_user_cpu");
    assert_eq!(judged(&accounts, who, 2, 9, NOW), "never quota_user_ram");
    read(&mut accounts, used(10_001, 0, 0, 0), [10.0, 8.0, 16.0], [0.0; 3]);
    assert_eq!(judged(&accounts, who, 1, 1, NOW), "never quota_user_time");
    read(&mut accounts, used(u64::MAX, 1 << 60, 1 << 60, 0), [0.0, f64::NAN, -1.0], [0.0; 3]);
    assert_eq!(judged(&accounts, who, 1, 1, NOW), "free", "zero and nonsense are no quota");
}

#[test]
fn what_runs_is_held_against_the_quota() {
    let mut accounts = Accounts::new(None, 30);
    let who = accounts.who(&group("bob", "p"));
    read(&mut accounts, used(0, 2, 2, 0), [0.0, 8.0, 0.0], [0.0, 0.0, 9.0]);
    accounts.hold(who, charge(4, 2));
    assert_eq!(judged(&accounts, who, 2, 5, NOW), "free");
    assert_eq!(judged(&accounts, who, 3, 1, NOW), "wait quota_user_cpu");
    assert_eq!(judged(&accounts, who, 2, 6, NOW), "wait quota_project_ram");
    let Verdict::Wait(why) = accounts.judge(who, 3, 1, NOW) else { panic!("it waits") };
    assert_eq!(
        why.text,
        "Waits for quota: user bob may use 8 cores in 30 days, used 2, tasks that run hold 4, this task asks for 3"
    );
    assert_eq!(
        serde_json::to_value(&why.numbers).expect("numbers"),
        serde_json::json!({
            "quota": 8, "used": 2, "held": 4, "asked": 3, "days": 30,
        })
    );
    // Another user of the project is under the project's quota too.
    let eve = accounts.who(&group("eve", "p"));
    assert!(accounts.has_strangers(), "nothing is known of her");
    assert_eq!(judged(&accounts, eve, 1, 6, NOW), "wait quota_project_ram");
    accounts.unhold(who, charge(4, 2));
    assert_eq!(judged(&accounts, who, 3, 6, NOW), "free");
}

#[test]
fn run_time_is_held_as_it_passes() {
    let mut accounts = Accounts::new(None, 30);
    let who = accounts.who(&group("bob", "default"));
    read(&mut accounts, used(4_000, 0, 0, 0), [10.0, 0.0, 0.0], [0.0; 3]);
    accounts.hold(who, charge(1, 1));
    accounts.hold(who, charge(1, 1));
    assert_eq!(judged(&accounts, who, 1, 1, Timestamp(NOW.0 + 3_000)), "free", "four and two times three");
    assert_eq!(judged(&accounts, who, 1, 1, Timestamp(NOW.0 + 3_001)), "wait quota_user_time");
    assert_eq!(judged(&accounts, who, 1, 1, Timestamp(0)), "free", "a clock that was set back adds nothing");
}

#[test]
fn the_default_project_has_no_quota_and_the_middle_priority() {
    let mut accounts = Accounts::new(None, 30);
    let (own, none) = (accounts.who(&group("bob", "p")), accounts.who(&group("bob", "default")));
    read(&mut accounts, used(0, 5, 0, 0), [0.0; 3], [0.0, 4.0, 0.0]);
    assert_eq!(judged(&accounts, own, 1, 1, NOW), "never quota_project_cpu");
    assert_eq!(judged(&accounts, none, 1, 1, NOW), "free");
    let (user, project) = accounts.standings(own);
    assert_eq!((user.prio, project.prio, project.used.cores), (0.6, 0.8, 5));
    assert_eq!(accounts.standings(none).1.prio, 0.5);
}

#[test]
fn a_full_disk_quota_is_final() {
    let mut accounts = Accounts::new(Some(Bytes(10)), 30);
    let who = accounts.who(&group("bob", "default"));
    read(&mut accounts, used(0, 0, 0, 10), [0.0; 3], [0.0; 3]);
    assert_eq!(judged(&accounts, who, 1, 1, NOW), "free");
    read(&mut accounts, used(0, 0, 0, 11), [0.0; 3], [0.0; 3]);
    assert_eq!(judged(&accounts, who, 1, 1, NOW), "never quota_disk");
}

#[test]
fn a_record_that_was_removed_leaves_no_quota() {
    let mut accounts = Accounts::new(None, 30);
    let who = accounts.who(&group("bob", "default"));
    read(&mut accounts, used(0, 9, 0, 0), [0.0, 4.0, 0.0], [0.0; 3]);
    assert_eq!(judged(&accounts, who, 1, 1, NOW), "never quota_user_cpu");
    let settling = accounts.settling();
    accounts.settle(settling, &Ledger::default(), Some((&[], &[])));
    assert_eq!((judged(&accounts, who, 1, 1, NOW).as_str(), accounts.is_limited()), ("free", false));
}

#[derive(Debug, Clone)]
enum Step {
    /// Claims a task if the verdict is free.
    Claim(u32),
    /// A live task ends and is booked in the same instant; with `false` it never ran and nothing is booked.
    End(usize, bool),
    /// The scheduler hears of the oldest end that it has not heard of.
    Hear,
    /// The books are read, and so many ends happen between the beginning and the end of the reading.
    Read(usize),
    /// A reading that fails.
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u32..5).prop_map(Step::Claim),
        2 => (0usize..8, prop::bool::weighted(0.8)).prop_map(|(n, ran)| Step::End(n, ran)),
        2 => Just(Step::Hear),
        2 => (0usize..3).prop_map(Step::Read),
        1 => Just(Step::Fail),
    ]
}

proptest! {
    /// Whatever is heard late and read at a bad moment, what is booked in truth never exceeds the quota.
    #[test]
    fn a_quota_is_never_exceeded(steps in prop::collection::vec(step(), 0..80), quota in 1u64..20) {
        let mut accounts = Accounts::new(None, 30);
        let who = accounts.who(&group("bob", "default"));
        let quotas = [0.0, quota as f64, 0.0];
        read(&mut accounts, Used::default(), quotas, [0.0; 3]);
        let (mut live, mut unheard, mut booked): (Vec<u32>, Vec<u32>, u64) = (vec![], vec![], 0);
        let end = |live: &mut Vec<u32>, unheard: &mut Vec<u32>, booked: &mut u64, n: usize, ran: bool| {
            if !live.is_empty() {
                let cores = live.remove(n % live.len());
                *booked += if ran { u64::from(cores) } else { 0 };
                unheard.push(cores);
            }
        };
        for step in steps {
            match step {
                Step::Claim(cores) => {
                    if accounts.judge(who, cores, 1, NOW) == Verdict::Free {
                        accounts.hold(who, charge(cores, 1));
                        live.push(cores);
                    }
                }
                Step::End(n, ran) => end(&mut live, &mut unheard, &mut booked, n, ran),
                Step::Hear => {
                    if !unheard.is_empty() {
                        accounts.ended(who, charge(unheard.remove(0), 1));
                    }
                }
                Step::Read(ends) => {
                    let settling = accounts.settling();
                    for n in 0..ends {
                        end(&mut live, &mut unheard, &mut booked, n, true);
                    }
                    let used = used(0, booked, 0, 0);
                    let ledger = Ledger { users: [(UserId::new("bob"), used)].into(), ..Ledger::default() };
                    accounts.settle(settling, &ledger, None);
                }
                Step::Fail => {
                    let settling = accounts.settling();
                    accounts.keep(settling);
                }
            }
            let all_live: u64 = live.iter().map(|cores| u64::from(*cores)).sum();
            prop_assert!(booked + all_live <= quota, "{} booked, {} live of {}", booked, all_live, quota);
        }
        // When all is heard and read, exactly what is free may be used.
        while !live.is_empty() {
            end(&mut live, &mut unheard, &mut booked, 0, true);
        }
        unheard.into_iter().for_each(|cores| accounts.ended(who, charge(cores, 1)));
        read(&mut accounts, used(0, booked, 0, 0), quotas, [0.0; 3]);
        prop_assert_eq!(accounts.users[0].held, Held::default());
        let left = (quota - booked) as u32;
        prop_assert_eq!(judged(&accounts, who, left, 1, NOW), "free");
        prop_assert_eq!(judged(&accounts, who, left + 1, 1, NOW), "never quota_user_cpu");
    }
}
