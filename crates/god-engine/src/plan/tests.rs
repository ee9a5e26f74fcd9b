use super::*;
use crate::testing::{node, spec, task};
use god_core::group::Group;
use god_core::ids::{ProjectId, UserId};
use god_core::resources::Node;
use god_core::spec::{Owner, TaskSpec};
use god_core::task::Task;
use god_core::units::{Cores, Seconds};
use god_core::usage::{Ledger, Used};
use god_core::user::{Project, User};
use policy_fairshare::FairShare;
use policy_fifo::FiFo;
use proptest::prelude::*;
use std::collections::{BTreeMap, BinaryHeap};

/// A site without store and executors: what is planned runs until it is told to end.
struct Yard {
    pending: Pending,
    capacity: Capacity,
    accounts: Accounts,
    turns: Turns,
    settings: Settings,
    policy: Box<dyn Policy>,
    /// Milliseconds since the beginning.
    at: u64,
}

impl Yard {
    fn new(nodes: Vec<Node>, policy: impl Policy + 'static) -> Yard {
        let local = ExecutorName::new("local");
        let mut capacity = Capacity::new(vec![local.clone()], 10_000..11_000);
        capacity.set_nodes(&local, nodes);
        Yard {
            pending: Pending::default(),
            capacity,
            accounts: Accounts::new(None, 30),
            turns: Turns::default(),
            settings: Settings { claim_batch: 64, ..Settings::default() },
            policy: Box::new(policy),
            at: 0,
        }
    }

    fn planner(&mut self) -> Planner<'_> {
        Planner {
            pending: &mut self.pending,
            capacity: &mut self.capacity,
            accounts: &mut self.accounts,
            turns: &mut self.turns,
            settings: &self.settings,
            now: Timestamp(self.at as i64),
            mono: Duration::from_millis(self.at),
        }
    }

    fn pass(&mut self) -> Vec<u64> {
        let policy = std::mem::replace(&mut self.policy, Box::new(FiFo));
        let plan = self.planner().plan(policy.as_ref());
        self.policy = policy;
        plan.placed.iter().map(|placed| placed.pick.id().0).collect()
    }

    fn submit(&mut self, id: u64, user: &str, project: &str, spec: TaskSpec) {
        let owner = Owner { id: UserId::new(user), project: ProjectId::new(project), ..spec.owner.clone() };
        let task = Task { submitted: Timestamp(self.at as i64), ..task(id, TaskSpec { owner, ..spec }) };
        self.pending.add(task, Vec::new(), &mut self.accounts);
    }

    fn end(&mut self, id: u64) {
        let mono = Duration::from_millis(self.at);
        let held = self.capacity.give(TaskId(id), mono, Duration::ZERO).expect("it lives");
        self.accounts.ended(held.who, held.charge);
    }

    fn read_books(&mut self, ledger: &Ledger, users: &[User], projects: &[Project]) {
        let settling = self.accounts.settling();
        self.accounts.settle(settling, ledger, Some((users, projects)));
    }

    /// The codes of reasons by user.
    fn whys(&mut self) -> BTreeMap<String, Option<Code>> {
        let groups: Vec<GroupIx> = self.pending.groups().collect();
        let mono = Duration::from_millis(self.at);
        let of = |ix: &GroupIx| {
            let code = why(&self.pending, &self.capacity, *ix, mono).map(|reason| reason.code);
            (self.pending.group(*ix).owner.to_string(), code)
        };
        groups.iter().map(of).collect()
    }
}

fn user(id: &str, prio: u32, quotas: [f64; 3]) -> User {
    let text = format!(r#"{{"id": "{id}", "type": "local", "uid": 1, "gid": 1, "prio": {prio}}}"#);
    User { quotas, ..serde_json::from_str(&text).expect("a user") }
}

fn of_cores(cores: u32) -> TaskSpec {
    TaskSpec { cores: Cores(cores), ..spec() }
}

fn limited(cores: u32, seconds: u64) -> TaskSpec {
    TaskSpec { time_limit: Some(Seconds(seconds)), ..of_cores(cores) }
}

const MINUTE: u64 = 60_000;

#[test]
fn reasons_follow_what_stands_in_the_way() {
    let mut yard = Yard::new(vec![node("a", 4, 16, &[])], FiFo);
    yard.submit(1, "runs", "default", of_cores(3));
    yard.submit(2, "wide", "default", of_cores(2));
    yard.submit(3, "huge", "default", of_cores(5));
    yard.submit(4, "labels", "default", TaskSpec { labels: vec!["a==b".into()], ..of_cores(1) });
    yard.submit(5, "else", "default", TaskSpec { executor: Some("sun".into()), ..of_cores(1) });
    yard.submit(6, "poor", "default", of_cores(1));
    yard.submit(7, "poor", "default", of_cores(1));
    yard.read_books(&Ledger::default(), &[user("poor", 50, [0.0, 1.0, 0.0])], &[]);
    assert_eq!(yard.pass(), [1, 6]);
    let code = |code| Some(code);
    let want = [
        ("wide", code(Code::Resources)),
        ("huge", code(Code::TooLarge)),
        ("labels", code(Code::Labels)),
        ("else", code(Code::ExecutorUnknown)),
        // Its quota is looked at even though there is no room either.
        ("poor", code(Code::QuotaUserCpu)),
    ];
    yard.planner().sweep();
    assert_eq!(yard.whys(), want.map(|(user, code)| (user.to_owned(), code)).into());
    yard.at += 2 * MINUTE;
    yard.end(6);
    yard.submit(8, "small", "default", of_cores(1));
    assert_eq!(yard.pass(), [8], "there is room for it alone, and wide gets a node kept");
    assert_eq!(yard.whys()["wide"], Some(Code::RoomKept));
}

#[test]
fn tasks_of_a_used_up_quota_are_doomed_and_of_a_held_one_wait() {
    let mut yard = Yard::new(vec![node("a", 64, 64, &[])], FiFo);
    for id in 1..=3 {
        yard.submit(id, "bob", "default", of_cores(2));
    }
    yard.submit(4, "eve", "default", of_cores(2));
    let users = [user("bob", 50, [0.0, 4.0, 0.0])];
    yard.read_books(&Ledger::default(), &users, &[]);
    assert_eq!(yard.pass(), [1, 2, 4], "in one pass too");
    let used = Used { cores: 4, ..Used::default() };
    yard.end(1);
    yard.end(2);
    assert_eq!(yard.pass(), [0; 0], "ended is not booked");
    let ledger = Ledger { users: [(UserId::new("bob"), used)].into(), ..Ledger::default() };
    yard.read_books(&ledger, &users, &[]);
    let plan = yard.planner().sweep();
    assert_eq!(plan.doomed.len(), 1);
    // They never ran after all.
    yard.read_books(&Ledger::default(), &users, &[]);
    assert_eq!(yard.pass(), [3]);
}

#[test]
fn a_node_is_kept_for_the_best_that_does_not_fit() {
    let mut yard = Yard::new(vec![node("a", 4, 16, &[]), node("b", 4, 16, &[])], FiFo);
    let mut id = 0;
    for _ in 0..8 {
        id += 1;
        yard.submit(id, "small", "default", of_cores(1));
    }
    let mut runs: std::collections::VecDeque<u64> = yard.pass().into();
    yard.submit(100, "large", "default", of_cores(4));
    let mut started = None;
    // Every half minute one ends and two come.
    for n in 1..=40 {
        yard.at += MINUTE / 2;
        for more in 0..2 {
            yard.submit(100 + 2 * n + more, "small", "default", of_cores(1));
        }
        yard.end(runs.pop_front().expect("something runs"));
        let more = yard.pass();
        if more.contains(&100) {
            started = Some(n);
            break;
        }
        runs.extend(more);
    }
    // A minute until it is kept, then the four of a node have to end, while others end on the other one.
    assert!(started.is_some_and(|n| n <= 12), "{started:?}");
    assert!(yard.capacity.kept(0).is_none(), "it is kept no longer");
}

#[test]
fn what_is_over_in_time_may_run_beside_kept_room() {
    let mut yard = Yard::new(vec![node("a", 4, 16, &[])], FiFo);
    yard.submit(1, "u", "default", limited(3, 3600));
    yard.submit(2, "u", "default", limited(1, 60));
    yard.pass();
    yard.submit(3, "large", "default", limited(4, 60));
    yard.at += 2 * MINUTE;
    yard.end(2);
    // The task that runs is over within an hour of its start: 58 minutes are left.
    yard.submit(4, "late", "default", limited(1, 59 * 60));
    yard.submit(5, "open", "default", of_cores(1));
    yard.submit(6, "fits", "default", limited(1, 58 * 60));
    assert_eq!(yard.pass(), [6]);
    assert_eq!(yard.whys()["late"], Some(Code::Resources));
    yard.at += MINUTE;
    yard.end(6);
    assert_eq!(yard.pass(), [0; 0]);
    yard.end(1);
    assert_eq!(yard.pass(), [3], "its own turn, before all that came later");
}

#[test]
fn what_kept_room_leaves_over_may_be_used() {
    let mut yard = Yard::new(vec![node("a", 4, 16, &[])], FiFo);
    yard.submit(1, "u", "default", of_cores(2));
    yard.submit(2, "u", "default", of_cores(1));
    yard.pass();
    yard.submit(3, "large", "default", of_cores(3));
    for id in 4..8 {
        yard.submit(id, "small", "default", of_cores(1));
    }
    yard.at += 2 * MINUTE;
    assert_eq!(yard.pass(), [4], "four cores less three leave one");
    yard.end(2);
    assert_eq!(yard.pass(), [0; 0]);
    yard.end(4);
    assert_eq!(yard.pass(), [5], "the one again");
    yard.end(1);
    assert_eq!(yard.pass(), [3]);
}

#[test]
fn room_is_not_kept_for_what_can_not_come() {
    let kept = |yard: &mut Yard| {
        yard.pass();
        yard.capacity.kept(0).map(|kept| kept.node.1.to_string())
    };
    let yard = || {
        let mut yard = Yard::new(vec![node("a", 4, 16, &[]), node("b", 2, 16, &[])], FiFo);
        yard.submit(1, "u", "default", of_cores(3));
        yard.pass();
        yard.submit(2, "large", "default", of_cores(4));
        yard.submit(3, "small", "default", of_cores(1));
        yard.at += 2 * MINUTE;
        yard
    };
    let mut gone = yard();
    assert_eq!(kept(&mut gone).as_deref(), Some("a"), "the only one that is large enough");
    gone.capacity.set_nodes(&ExecutorName::new("local"), vec![node("b", 2, 16, &[])]);
    assert_eq!(kept(&mut gone), None, "the node is gone");

    let mut poor = yard();
    poor.read_books(&Ledger::default(), &[user("large", 50, [0.0, 3.0, 0.0])], &[]);
    assert_eq!(kept(&mut poor), None, "its quota is in the way");

    let mut failing = yard();
    kept(&mut failing);
    let ix = failing.pending.groups().find(|ix| failing.pending.group(*ix).owner.as_str() == "large");
    failing.pending.back_off(ix.expect("it waits"), Duration::from_millis(failing.at));
    assert_eq!(kept(&mut failing), None, "its start failed");
}

/// The order in which tasks start one by one, and the one that the published formula gives.
fn orders(tasks: &[(usize, usize, u32, i64)], used: &[u64], prios: &[u32]) -> (Vec<u64>, Vec<u64>) {
    const USERS: [&str; 3] = ["ann", "bob", "eve"];
    const PROJECTS: [&str; 3] = ["default", "p", "q"];
    let mut yard = Yard::new(vec![node("a", 10_000, 10_000, &[])], FairShare::default());
    yard.settings.claim_batch = 1000;
    for (id, (user, project, cores, at)) in (1..).zip(tasks) {
        yard.at = *at as u64;
        yard.submit(id, USERS[*user], PROJECTS[*project], of_cores(*cores));
    }
    yard.at = 3_000_000;
    let sums = |n: usize| Used { millis: used[n] * 1000, cores: used[n] / 7, ram: used[n] / 5, disk: 0 };
    let ledger = Ledger {
        users: USERS.iter().enumerate().map(|(n, user)| (UserId::new(*user), sums(n))).collect(),
        projects: PROJECTS.iter().enumerate().map(|(n, p)| (ProjectId::new(*p), sums(3 + n))).collect(),
    };
    let users: Vec<User> = USERS.iter().zip(prios).map(|(id, prio)| user(id, *prio, [0.0; 3])).collect();
    let project = |id: &str, prio: u32| -> Project {
        serde_json::from_str(&format!(r#"{{"id": "{id}", "prio": {prio}}}"#)).expect("a project")
    };
    yard.read_books(&ledger, &users, &[project("p", prios[3]), project("q", prios[4])]);

    // Each task as a group of its own: the policy has a test that this is the published formula.
    let groups: Vec<Group> = tasks
        .iter()
        .map(|(user, project, _, _)| {
            let owner = Owner {
                id: UserId::new(USERS[*user]),
                project: ProjectId::new(PROJECTS[*project]),
                ..spec().owner.clone()
            };
            Group::of(&TaskSpec { owner, ..spec() })
        })
        .collect();
    let whos: Vec<_> = groups.iter().map(|group| yard.accounts.who(group)).collect();
    let candidates: Vec<_> = groups
        .iter()
        .zip(&whos)
        .zip(tasks)
        .zip(1..)
        .map(|(((group, who), (_, _, _, at)), id)| {
            let (user, project) = yard.accounts.standings(*who);
            let at = Timestamp(*at);
            god_core::policy::Candidate { group, user, project, head: TaskId(id), submitted: at, newest: at }
        })
        .collect();
    let ranks = FairShare::default().rank(&candidates, Timestamp(3_000_000));
    let mut single: Vec<(f64, u64)> =
        (0..tasks.len()).map(|n| (ranks.of(n, Timestamp(tasks[n].3)), n as u64 + 1)).collect();
    single.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    drop(candidates);
    (yard.pass(), single.into_iter().map(|(_, id)| id).collect())
}

proptest! {
    #[test]
    fn groups_start_in_the_order_of_their_single_tasks(
        mut tasks in prop::collection::vec((0usize..3, 0usize..3, 1u32..3, 0i64..2_000_000), 1..40),
        used in prop::collection::vec(0u64..10_000, 6),
        prios in prop::collection::vec(0u32..=100, 5),
    ) {
        tasks.sort_by_key(|task| task.3);
        let (groups, single) = orders(&tasks, &used, &prios);
        prop_assert_eq!(groups, single);
    }
}

/// A crowd of tasks that keep coming, and some that nobody would start by rank.
#[derive(Debug, Clone)]
struct Crowd {
    nodes: Vec<u32>,
    /// Cores, minutes and whether a time limit is given, of tasks that come each minute.
    coming: Vec<(u32, u64, bool)>,
    /// Cores of the tasks that are looked at, as a part of the largest node in percent.
    victims: Vec<(u32, bool)>,
    seed: u64,
}

fn crowd() -> impl Strategy<Value = Crowd> {
    let coming = prop::collection::vec((1u32..4, 1u64..20, any::<bool>()), 1..8);
    let victims = prop::collection::vec((1u32..=100, any::<bool>()), 1..4);
    (prop::collection::vec(2u32..9, 1..4), coming, victims, any::<u64>())
        .prop_map(|(nodes, coming, victims, seed)| Crowd { nodes, coming, victims, seed })
}

/// Minutes until all victims have started; `None` when they have not after a month.
fn minutes_until_started(crowd: &Crowd, policy: impl Policy + 'static, settings: Settings) -> Option<u64> {
    let names = ["a", "b", "c"];
    let nodes = crowd.nodes.iter().zip(names).map(|(cores, name)| node(name, *cores, 64, &[])).collect();
    let mut yard = Yard::new(nodes, policy);
    yard.settings = settings;
    let most = crowd.nodes.iter().copied().max().unwrap_or(1);
    let (mut random, mut id) = (crowd.seed, 0u64);
    let mut draw = move |n: u64| {
        random = crate::world::mix(random);
        random % n
    };
    let favourites = ["f0", "f1", "f2", "f3", "f4"];
    let mut users: Vec<User> = favourites.iter().map(|id| user(id, 100, [0.0; 3])).collect();
    users.push(user("victim", 0, [0.0; 3]));
    let mut used: BTreeMap<UserId, Used> = BTreeMap::new();
    // The victim used more than all others ever will.
    used.insert(
        UserId::new("victim"),
        Used { millis: u64::MAX >> 20, cores: 1 << 40, ram: 1 << 40, disk: 0 },
    );
    let mut ends: BinaryHeap<std::cmp::Reverse<(u64, u64)>> = BinaryHeap::new();
    let mut minutes: BTreeMap<u64, (u64, &str, u32)> = BTreeMap::new();
    let mut victims: std::collections::BTreeSet<u64> = Default::default();
    for minute in 0..30 * 24 * 60 {
        yard.at = minute * MINUTE;
        while let Some(std::cmp::Reverse((_, id))) = ends.peek().copied().filter(|end| end.0.0 <= minute) {
            ends.pop();
            yard.end(id);
            let (ran, user, cores) = minutes[&id];
            let sum = used.entry(UserId::new(user)).or_default();
            sum.millis += ran * MINUTE;
            sum.cores += u64::from(cores);
            sum.ram += 1;
        }
        // Enough comes to fill all nodes again and again.
        for (cores, length, timed) in &crowd.coming {
            for _ in 0..4 {
                id += 1;
                let user = favourites[draw(5) as usize];
                let spec = if *timed {
                    limited((*cores).min(most), length * 60)
                } else {
                    of_cores((*cores).min(most))
                };
                minutes.insert(id, (*length, user, spec.cores.0));
                if yard.pending.groups().map(|ix| yard.pending.extent(ix).n).sum::<u64>() < 24 {
                    yard.submit(id, user, "default", spec);
                }
            }
        }
        if minute == 60 {
            for (percent, timed) in &crowd.victims {
                id += 1;
                victims.insert(id);
                let cores = (most * percent / 100).max(1);
                let spec = if *timed { limited(cores, 600) } else { of_cores(cores) };
                minutes.insert(id, (10, "victim", cores));
                yard.submit(id, "victim", "default", spec);
            }
        }
        yard.read_books(&Ledger { users: used.clone(), ..Ledger::default() }, &users, &[]);
        for started in yard.pass() {
            ends.push(std::cmp::Reverse((minute + minutes[&started].0, started)));
            victims.remove(&started);
        }
        if minute > 60 && victims.is_empty() {
            return Some(minute - 60);
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_waits_for_ever(crowd in crowd()) {
        let fair = minutes_until_started(&crowd, FairShare::default(), Settings::default());
        // An hour until it is overdue; then all that is older goes first at worst, and between two of the victims come
        // sixteen others, one after the other, each of at most twenty minutes.
        let most = 60 + (24 + crowd.victims.len() as u64 * 20) * 20;
        prop_assert!(fair.is_some_and(|minutes| minutes <= most), "{fair:?} of {most} minutes");
        prop_assert!(minutes_until_started(&crowd, FiFo, Settings::default()).is_some());
    }
}

#[test]
fn without_the_rules_a_large_task_of_the_last_user_would_wait_for_ever() {
    let crowd = Crowd {
        nodes: vec![4],
        coming: vec![(1, 7, false), (1, 3, false), (2, 5, false)],
        victims: vec![(100, false), (25, false)],
        seed: 1,
    };
    let never = Duration::from_secs(1 << 40);
    let (kept, overdue) = (Settings::default().keep_after, Settings::default().overdue_after);
    let with = |keep_after, overdue_after| {
        let settings = Settings { keep_after, overdue_after, ..Settings::default() };
        minutes_until_started(&crowd, FairShare::default(), settings)
    };
    assert_eq!(with(never, never), None);
    assert_eq!(with(kept, never), None, "by rank it never is the best");
    assert!(with(kept, overdue).is_some());
}
