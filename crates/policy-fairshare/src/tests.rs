use super::*;
use god_core::group::{Group, Shape};
use god_core::ids::{TaskId, UserId};
use proptest::prelude::*;

/// One pending task with what is known of its user and its project.
#[derive(Debug, Clone)]
struct One {
    user: &'static str,
    project: &'static str,
    submitted: i64,
    user_standing: Standing,
    project_standing: Standing,
}

fn one(user: &'static str) -> One {
    One {
        user,
        project: ProjectId::DEFAULT,
        submitted: 0,
        user_standing: Standing::default(),
        project_standing: Standing::default(),
    }
}

fn used(seconds: f64, cores: u64, ram: u64) -> Used {
    Used { millis: (seconds * 1000.0) as u64, cores, ram, disk: 0 }
}

fn group(one: &One) -> Group {
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
    Group { owner: UserId::new(one.user), project: ProjectId::new(one.project), shape }
}

/// The shares of tasks, each as a group of its own.
fn shares(weights: Weights, tasks: &[One]) -> Vec<f64> {
    let groups: Vec<Group> = tasks.iter().map(group).collect();
    let candidates: Vec<Candidate<'_>> = tasks
        .iter()
        .zip(&groups)
        .zip(1..)
        .map(|((one, group), id)| Candidate {
            group,
            user: &one.user_standing,
            project: &one.project_standing,
            head: TaskId(id),
            submitted: Timestamp(one.submitted),
            newest: Timestamp(one.submitted),
        })
        .collect();
    let ranks = FairShare::new(weights).rank(&candidates, Timestamp(1_000_000));
    (0..tasks.len()).map(|n| ranks.of(n, Timestamp(tasks[n].submitted))).collect()
}

/// Indexes of tasks in the order in which they are tried: by share, then by id.
fn order(tasks: &[One]) -> Vec<usize> {
    let shares = shares(Weights::default(), tasks);
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by(|a, b| shares[*a].total_cmp(&shares[*b]).then(a.cmp(b)));
    order
}

/// The formula as it is published, task by task.
fn published(weights: &Weights, tasks: &[One], now: i64) -> Vec<f64> {
    let n = |v: f64, all: &[f64]| {
        let min = all.iter().copied().fold(f64::INFINITY, f64::min);
        let max = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max - min < 1.0 { 0.5 } else { (v - min) / (max - min) }
    };
    let wait = |one: &One| (now - one.submitted) as f64 / 1000.0;
    let waits: Vec<f64> = tasks.iter().map(wait).collect();
    let of_users = |pick: fn(&Used) -> f64| -> Vec<f64> {
        tasks.iter().map(|one| pick(&one.user_standing.used)).collect()
    };
    let named = |one: &&One| one.project != ProjectId::DEFAULT;
    let of_projects = |pick: fn(&Used) -> f64| -> Vec<f64> {
        let named = tasks.iter().filter(named).map(|one| pick(&one.project_standing.used));
        named.chain([0.0]).collect()
    };
    let share = |one: &One| {
        let picks: [fn(&Used) -> f64; 3] =
            [|u| u.millis as f64 / 1000.0, |u| u.cores as f64, |u| u.ram as f64];
        let user: Vec<f64> =
            picks.iter().map(|pick| n(pick(&one.user_standing.used), &of_users(*pick))).collect();
        let project: Vec<f64> = picks
            .iter()
            .map(|pick| {
                let all = of_projects(*pick);
                let most = all.iter().copied().fold(0.0, f64::max);
                let own = if named(&one) { pick(&one.project_standing.used) } else { most };
                n(own, &all)
            })
            .collect();
        let project_prio = if named(&one) { one.project_standing.prio } else { 0.5 };
        (1.0 - n(wait(one), &waits)) * weights.waiting_time
            + user[0] * weights.user_time
            + user[1] * weights.user_cpu
            + user[2] * weights.user_ram
            + project[0] * weights.project_time
            + project[1] * weights.project_cpu
            + project[2] * weights.project_ram
            + (1.0 - one.user_standing.prio) * weights.user
            + (1.0 - project_prio) * weights.project
    };
    tasks.iter().map(share).collect()
}

#[test]
fn equal_users_go_by_id() {
    assert_eq!(order(&[one("bob"), one("eve"), one("bob")]), [0, 1, 2]);
    let shares = shares(Weights::default(), &[one("bob")]);
    // Half of the time waited and of all usage, half of both priorities; the default project has the largest usage.
    let want = 0.05 + (0.5 + 0.1 + 0.1) + (0.05 + 0.005 + 0.005) + 0.5 + 0.5;
    assert!((shares[0] - want).abs() < 1e-12, "{shares:?}");
}

#[test]
fn the_higher_priority_of_a_user_goes_first() {
    let of = |prio| One { user_standing: Standing { prio, ..Standing::default() }, ..one("u") };
    assert_eq!(order(&[of(0.5), of(0.6)]), [1, 0]);
}

#[test]
fn a_project_of_80_goes_before_the_default_one_and_one_of_20_after_it() {
    let of =
        |prio| One { project: "p", project_standing: Standing { prio, ..Standing::default() }, ..one("u") };
    assert_eq!(order(&[one("u"), of(0.8)]), [1, 0]);
    assert_eq!(order(&[of(0.2), one("u")]), [1, 0]);
}

#[test]
fn who_used_much_goes_after_who_used_nothing() {
    let of = |used| One { user_standing: Standing { used, ..Standing::default() }, ..one("u") };
    assert_eq!(order(&[of(used(60.0, 2, 2)), of(Used::default())]), [1, 0]);
    assert_eq!(order(&[of(used(0.9, 0, 0)), of(Used::default())]), [0, 1], "less than a second is nothing");
}

#[test]
fn who_waits_longer_goes_first_when_all_else_is_equal() {
    let at = |submitted| One { submitted, ..one("u") };
    assert_eq!(order(&[at(9_000), at(2_000), at(5_000)]), [1, 2, 0]);
    assert_eq!(order(&[at(2_900), at(2_000)]), [0, 1], "less than a second is nothing");
}

#[test]
fn who_has_no_project_counts_like_the_project_that_used_most() {
    let of =
        |used| One { project: "p", project_standing: Standing { used, ..Standing::default() }, ..one("u") };
    assert_eq!(order(&[one("u"), of(used(50.0, 5, 5)), of(used(90.0, 5, 5))]), [1, 0, 2]);
}

#[test]
fn nothing_to_rank_is_no_fault() {
    assert!(shares(Weights::default(), &[]).is_empty());
}

fn standing() -> impl Strategy<Value = Standing> {
    (0u32..=100, 0.0..1e6, 0u64..1000, 0u64..1000).prop_map(|(prio, seconds, cores, ram)| Standing {
        prio: f64::from(prio) / 100.0,
        used: used(seconds, cores, ram),
    })
}

fn task() -> impl Strategy<Value = One> {
    let users = prop::sample::select(vec!["ann", "bob", "eve"]);
    let projects = prop::sample::select(vec![ProjectId::DEFAULT, "p", "q"]);
    (users, projects, -10_000i64..2_000_000, standing(), standing()).prop_map(
        |(user, project, submitted, user_standing, project_standing)| One {
            user,
            project,
            submitted,
            user_standing,
            project_standing,
        },
    )
}

proptest! {
    #[test]
    fn every_share_is_the_published_one_and_within_its_bounds(
        tasks in prop::collection::vec(task(), 1..12),
        weights in prop::collection::vec(0.0..2.0f64, 9),
    ) {
        let weights = Weights {
            waiting_time: weights[0],
            user_time: weights[1],
            user_cpu: weights[2],
            user_ram: weights[3],
            project_time: weights[4],
            project_cpu: weights[5],
            project_ram: weights[6],
            user: weights[7],
            project: weights[8],
        };
        let sum = weights.waiting_time + weights.user_time + weights.user_cpu + weights.user_ram
            + weights.project_time + weights.project_cpu + weights.project_ram + weights.user + weights.project;
        let got = shares(weights, &tasks);
        for (got, want) in got.iter().zip(published(&weights, &tasks, 1_000_000)) {
            prop_assert!((got - want).abs() < 1e-9, "{got} instead of {want}");
            prop_assert!((-1e-9..=sum + 1e-9).contains(got), "{got} of {sum}");
        }
    }
}
