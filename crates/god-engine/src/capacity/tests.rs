use super::*;
use crate::accounts::Accounts;
use crate::testing::{claimed, node, spec, task};
use god_core::group::Group;
use god_core::spec::TaskSpec;
use proptest::prelude::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(250);

fn local() -> ExecutorName {
    ExecutorName::new("local")
}

fn ledger(nodes: Vec<Node>) -> Capacity {
    let mut capacity = Capacity::new(vec![local()], 10..13);
    capacity.set_nodes(&local(), nodes);
    capacity
}

fn shape(cores: u32, ram: u32) -> Shape {
    Group::of(&TaskSpec { cores: Cores(cores), ram, ..spec() }).shape
}

fn find(capacity: &Capacity, shape: &Shape) -> Result<(ExecutorName, NodeName), NoRoom> {
    capacity.find(shape, None, Duration::ZERO)
}

fn who() -> Who {
    Accounts::default().who(&Group::of(&spec()))
}

fn take(capacity: &mut Capacity, task: &Task, mono: Duration) {
    capacity.take(task, who(), mono);
}

fn found(capacity: &Capacity, shape: &Shape) -> String {
    match find(capacity, shape) {
        Ok((_, node)) => node.to_string(),
        Err(no) => no.reason(shape).text,
    }
}

/// A live task of so many cores and one GiB on a node.
fn live(id: u64, cores: u32, node: &str, ports: &[u16]) -> Task {
    claimed(&task(id, TaskSpec { cores: Cores(cores), ..spec() }), node, ports)
}

#[test]
fn the_node_with_the_most_free_cores_is_taken() {
    let mut capacity = ledger(vec![node("a", 4, 8, &[]), node("b", 6, 8, &[])]);
    assert_eq!(found(&capacity, &shape(1, 1)), "b");
    take(&mut capacity, &live(1, 3, "b", &[]), Duration::ZERO);
    assert_eq!(found(&capacity, &shape(1, 1)), "a");
    assert_eq!(found(&capacity, &shape(4, 8)), "a");
}

#[test]
fn labels_must_all_be_there() {
    let capacity =
        ledger(vec![node("a", 9, 9, &["disk==ssd"]), node("b", 2, 4, &["disk==ssd", "os==linux"])]);
    let labelled =
        |labels: &[&str]| Shape { labels: labels.iter().map(|l| (*l).to_owned()).collect(), ..shape(1, 1) };
    assert_eq!(found(&capacity, &labelled(&["disk==ssd", "os==linux"])), "b");
    let none = labelled(&["disk==tape"]);
    assert_eq!(find(&capacity, &none), Err(NoRoom::NoLabels(none.labels.clone())));
    assert_eq!(found(&capacity, &none), "No node has the labels disk==tape");
}

#[test]
fn larger_than_every_node_is_not_busy() {
    let capacity = ledger(vec![node("a", 4, 8, &[])]);
    assert!(
        matches!(find(&capacity, &shape(5, 1)), Err(NoRoom::TooLarge { largest }) if largest.cores == Cores(4))
    );
    assert_eq!(found(&capacity, &shape(1, 9)), "Needs 1 core, 9 GB; the largest node has 4 cores, 8 GiB");
    assert!(matches!(find(&capacity, &Shape { gpus: 1, ..shape(1, 1) }), Err(NoRoom::TooLarge { .. })));
}

#[test]
fn busy_is_said_with_what_is_free() {
    let mut capacity = ledger(vec![node("a", 4, 8, &[]), node("b", 4, 8, &[])]);
    take(&mut capacity, &live(1, 3, "a", &[]), Duration::ZERO);
    take(&mut capacity, &live(2, 2, "b", &[]), Duration::ZERO);
    assert_eq!(
        found(&capacity, &shape(3, 1)),
        "Not enough resources available: needs 3 cores, 1 GB; free on one node are 2 cores, 7 GiB"
    );
}

#[test]
fn a_node_of_another_build_does_not_make_a_busy_one_too_small() {
    let mut capacity = ledger(vec![node("cores", 16, 4, &[]), node("memory", 4, 64, &[])]);
    let task = claimed(&task(1, TaskSpec { cores: Cores(4), ram: 32, ..spec() }), "memory", &[]);
    take(&mut capacity, &task, Duration::ZERO);
    assert!(matches!(find(&capacity, &shape(4, 32)), Err(NoRoom::Busy { .. })));
    assert!(matches!(find(&capacity, &shape(5, 32)), Err(NoRoom::TooLarge { .. })));
}

#[test]
fn a_limit_of_tasks_holds_though_there_is_room() {
    let mut capacity = ledger(vec![Node { max_tasks: Some(1), ..node("a", 4, 8, &[]) }]);
    take(&mut capacity, &live(1, 1, "a", &[]), Duration::ZERO);
    assert!(matches!(find(&capacity, &shape(1, 1)), Err(NoRoom::Busy { .. })));
    capacity.give(TaskId(1), LONG, SHORT).expect("it was live");
    assert_eq!(found(&capacity, &shape(1, 1)), "a");
}

#[test]
fn executors_are_told_apart() {
    let mut capacity = Capacity::new(vec![local(), ExecutorName::new("docker")], 10..13);
    let on = |executor: &str| Shape { executor: executor.into(), ..shape(1, 1) };
    assert_eq!(found(&capacity, &on("")), "Executor local does not answer");
    capacity.set_nodes(&local(), vec![node("here", 1, 1, &[])]);
    assert_eq!(found(&capacity, &on("")), "here");
    assert_eq!(found(&capacity, &on("local:queue")), "here");
    assert_eq!(find(&capacity, &on("docker")), Err(NoRoom::NoNodes("docker".into())));
    assert_eq!(find(&capacity, &on("slurm")), Err(NoRoom::UnknownExecutor("slurm".into())));
    capacity.set_nodes(&local(), Vec::new());
    assert_eq!(find(&capacity, &on("local")), Err(NoRoom::NoNodes("local".into())));
}

#[test]
fn a_port_has_one_task_at_a_time() {
    let mut capacity = ledger(vec![node("a", 8, 8, &[])]);
    let ports = |n| Shape { ports: n, ..shape(1, 1) };
    assert_eq!(capacity.free_ports(2), [10, 11]);
    take(&mut capacity, &live(1, 1, "a", &[10, 12]), Duration::ZERO);
    assert_eq!(capacity.free_ports(3), [11]);
    assert_eq!(found(&capacity, &ports(1)), "a");
    assert_eq!(find(&capacity, &ports(2)), Err(NoRoom::NoPorts));
    // A port of an older range takes none of this one.
    take(&mut capacity, &live(2, 1, "a", &[9]), Duration::ZERO);
    assert_eq!(found(&capacity, &ports(1)), "a");
    capacity.give(TaskId(1), LONG, SHORT).expect("it was live");
    assert_eq!(capacity.free_ports(9), [10, 11, 12]);
}

#[test]
fn starts_are_granted_ahead_only_where_runs_are_short() {
    let ahead = |capacity: &Capacity| capacity.places.values().map(|p| p.ahead).sum::<u32>();
    let mut capacity = ledger(vec![node("a", 1, 1, &[])]);
    let mut mono = Duration::from_secs(1);
    capacity.tune(mono);
    for id in 1..40 {
        take(&mut capacity, &live(id, 1, "a", &[]), mono);
        mono += LONG;
        capacity.give(TaskId(id), mono, SHORT).expect("it was live");
        capacity.tune(mono);
    }
    assert_eq!(ahead(&capacity), 0, "long runs are never granted ahead");
    for id in 40..60 {
        take(&mut capacity, &live(id, 1, "a", &[]), mono);
        capacity.give(TaskId(id), mono, SHORT).expect("it was live");
    }
    mono += MEASURE;
    capacity.tune(mono);
    assert_eq!(ahead(&capacity), 4, "as many as the node can queue");
    take(&mut capacity, &live(60, 1, "a", &[]), mono);
    assert!(find(&capacity, &shape(1, 1)).is_ok(), "one more than it has room for");
    for _ in 0..4 {
        mono += MEASURE;
        capacity.tune(mono);
    }
    assert_eq!(ahead(&capacity), 0, "nothing ends any more: the grant goes away");
}

#[test]
fn news_of_a_node_does_not_take_back_what_was_granted() {
    let mut capacity = ledger(vec![node("a", 1, 1, &[])]);
    for id in 1..9 {
        take(&mut capacity, &live(id, 1, "a", &[]), Duration::ZERO);
        capacity.give(TaskId(id), Duration::ZERO, SHORT).expect("it was live");
    }
    capacity.tune(MEASURE);
    let executor = capacity.places.keys().next().expect("one node").0.clone();
    capacity.set_nodes(&executor, vec![node("a", 1, 1, &[])]);
    assert_eq!(capacity.places.values().map(|p| p.ahead).collect::<Vec<_>>(), [4]);
}

#[test]
fn booking_twice_is_booking_once() {
    let mut capacity = ledger(vec![node("a", 4, 8, &[])]);
    let task = live(1, 2, "a", &[10]);
    take(&mut capacity, &task, Duration::ZERO);
    take(&mut capacity, &task, LONG);
    assert_eq!((found(&capacity, &shape(2, 1)).as_str(), capacity.n_live()), ("a", 1));
    assert!(
        capacity.give(TaskId(1), LONG, SHORT).is_some() && capacity.give(TaskId(1), LONG, SHORT).is_none()
    );
    assert_eq!(found(&capacity, &shape(4, 8)), "a");
}

#[derive(Debug, Clone)]
enum Step {
    Take { id: u64, cores: u32, node: usize, ports: Vec<u16> },
    Give(u64),
    Nodes(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let take = (1u64..12, 1u32..4, 0usize..4, 0usize..3).prop_map(|(id, cores, node, n_ports)| {
        // Each task has ports of its own, as the scheduler gives them.
        let ports = (0..n_ports as u16).map(|n| 10_000 + id as u16 * 4 + n).collect();
        Step::Take { id, cores, node, ports }
    });
    prop_oneof![4 => take, 3 => (1u64..12).prop_map(Step::Give), 1 => (0usize..4).prop_map(Step::Nodes)]
}

fn nodes(n: usize) -> Vec<Node> {
    ["a", "b", "c"].iter().take(n).map(|name| node(name, 16, 32, &[])).collect()
}

proptest! {
    #[test]
    fn what_is_used_is_what_the_live_tasks_hold(steps in proptest::collection::vec(step(), 0..60)) {
        let mut capacity = Capacity::new(vec![local()], 10_000..10_100);
        capacity.set_nodes(&local(), nodes(3));
        let mut n_nodes = 3;
        let mut model: BTreeMap<u64, Task> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Take { id, cores, node, ports } => {
                    let task = live(id, cores, ["a", "b", "c", "gone"][node], &ports);
                    take(&mut capacity, &task, Duration::ZERO);
                    model.entry(id).or_insert(task);
                }
                Step::Give(id) => {
                    let held = capacity.give(TaskId(id), LONG, SHORT);
                    prop_assert_eq!(held.is_some(), model.remove(&id).is_some());
                }
                Step::Nodes(n) => {
                    n_nodes = n;
                    capacity.set_nodes(&local(), nodes(n));
                }
            }
            prop_assert_eq!(capacity.n_live(), model.len());
            prop_assert_eq!(capacity.places.len(), n_nodes.min(3));
            for ((_, name), place) in &capacity.places {
                let here = model.values().filter(|t| t.state.attempt().is_some_and(|a| a.node == *name));
                let (mut used, mut n_tasks) = (Amount::default(), 0);
                for task in here {
                    used = used.plus(task.spec.amount());
                    n_tasks += 1;
                }
                prop_assert_eq!((place.used, place.tasks), (used, n_tasks), "{}", name);
            }
            let ports: BTreeSet<u16> = model.values().filter_map(|t| t.state.attempt()).flat_map(|a| &a.ports)
                .map(|p| p.host).collect();
            prop_assert_eq!(&capacity.ports, &ports);
        }
        for id in model.keys() {
            capacity.give(TaskId(*id), LONG, SHORT);
        }
        prop_assert!(capacity.ports.is_empty() && capacity.live.is_empty());
        prop_assert!(capacity.places.values().all(|p| p.used == Amount::default() && p.tasks == 0));
    }
}

#[test]
fn a_node_that_lost_a_task_is_left_out_as_long_as_there_is_another() {
    let nodes = || vec![node("big", 8, 8, &[]), node("small", 2, 2, &[])];
    let lost_on = |names: &[&str]| Shape {
        avoid: names.iter().map(|name| NodeName::new(*name)).collect(),
        ..shape(1, 1)
    };
    let name = |capacity: &Capacity, shape: &Shape| find(capacity, shape).expect("room").1.to_string();
    let capacity = ledger(nodes());
    assert_eq!(name(&capacity, &lost_on(&["big"])), "big", "the site does not ask for it");
    let mut capacity = capacity.skipping_failed_nodes(true);
    assert_eq!(name(&capacity, &lost_on(&[])), "big");
    assert_eq!(name(&capacity, &lost_on(&["big"])), "small");
    assert_eq!(name(&capacity, &lost_on(&["big", "small"])), "big", "there is no other");
    assert_eq!(name(&capacity, &Shape { cores: 4, ..lost_on(&["big"]) }), "big", "no other is large enough");
    // The other one is busy: it waits for that one.
    take(
        &mut capacity,
        &claimed(&task(1, TaskSpec { cores: Cores(2), ram: 2, ..spec() }), "small", &[]),
        Duration::ZERO,
    );
    let why = find(&capacity, &lost_on(&["big"]));
    assert!(matches!(why, Err(NoRoom::Busy { .. })), "{why:?}");
}
