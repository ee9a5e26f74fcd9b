//! Jobs wait until there is room, and then start at once.

use god_runtime::keeper::{Event, Op, Outcome, Reply, Seen, StartResult};
use god_runtime::latch::Verdict;

use crate::support::{World, key};

fn release(world: &World, task: u64) {
    std::fs::write(world.path().join(format!("go.{task}")), "").unwrap();
}

/// A job that ends once its file appears.
fn held(world: &World) -> god_runtime::launch::Template {
    let root = world.path().display();
    let mut template = world.template(&format!(
        "#!/bin/sh\nt=$(basename \"$PWD\")\nwhile ! [ -e {root}/go.$t ]; do sleep 0.01; done\n"
    ));
    template.needs.cores = 2;
    template.needs.memory = 1 << 30;
    template
}

fn limited(cores: u32, memory: u64) -> World {
    World::with(&["--cgroups", "off", "--cores", &cores.to_string(), "--memory", &memory.to_string()])
}

fn started(client: &crate::support::Client) -> Vec<u64> {
    let of = |event: &Event| match event {
        Event::Started { key, .. } => Some(key.task),
        _ => None,
    };
    client.events.iter().filter_map(of).collect()
}

#[test]
fn cores_are_never_exceeded_and_order_is_kept() {
    let world = limited(5, 1 << 40);
    let mut client = world.client();
    let template = held(&world);
    let results = client.start_all(&template, &[1, 2, 3, 4, 5]);
    let kinds: Vec<bool> =
        results.iter().map(|result| matches!(result, StartResult::Started { .. })).collect();
    assert_eq!(kinds, [true, true, false, false, false]);
    assert_eq!(results[2], StartResult::Queued);
    assert_eq!(client.seen(3), Seen::Queued);
    assert_eq!((client.ping().n_running, client.ping().n_queued), (2, 3));
    for task in [2, 1, 3, 4, 5] {
        release(&world, task);
        client.wait(task);
        let pong = client.ping();
        assert!(pong.n_running <= 2, "{pong:?}");
    }
    assert_eq!(started(&client), [1, 2, 3, 4, 5]);
}

#[test]
fn an_end_and_the_next_start_are_told_together() {
    let world = limited(2, 1 << 40);
    let mut client = world.client();
    client.start_all(&held(&world), &[1, 2]);
    release(&world, 1);
    client.wait(1);
    // One frame for one turn of the loop: the start is there as soon as the end is.
    assert_eq!(started(&client), [1, 2]);
    release(&world, 2);
    client.wait(2);
}

#[test]
fn memory_counts_too() {
    let world = limited(100, 3 << 30);
    let mut client = world.client();
    let results = client.start_all(&held(&world), &[1, 2, 3, 4]);
    assert!(matches!(results[2], StartResult::Started { .. }));
    assert_eq!(results[3], StartResult::Queued);
    // More room starts what waits, without any end.
    assert_eq!(client.call(Op::Capacity { cores: 100, memory: 4 << 30 }), Reply::Ok);
    crate::support::until("the fourth starts", || matches!(client.seen(4), Seen::Running { .. }));
    (1..5).for_each(|task| release(&world, task));
    (1..5).for_each(|task| drop(client.wait(task)));
}

#[test]
fn a_waiting_job_that_is_killed_never_runs() {
    let world = limited(2, 1 << 40);
    let mut client = world.client();
    let template = held(&world);
    client.start_all(&template, &[1, 2, 3]);
    assert_eq!(client.kill(2, 5), Outcome::NeverRan);
    assert_eq!(client.seen(2), Seen::NeverRan);
    assert_eq!(client.kill(2, 5), Outcome::NeverRan);
    assert_eq!(client.abandon(key(3)), Outcome::NeverRan);
    release(&world, 1);
    client.wait(1);
    client.finish(&world.template("#!/bin/sh\n"), 4);
    assert_eq!(started(&client), [1, 4]);
    assert!(client.events.contains(&Event::NeverRan { key: key(2) }));
    assert_eq!(client.forget(2), Outcome::Done);
    assert_eq!(client.seen(2), Seen::Absent { latch: Some(Verdict::Abandoned) });
    release(&world, 2);
    let again = client.start(&template, 2);
    assert_eq!(again, StartResult::Taken { verdict: Verdict::Abandoned, attempt: 1 });
    assert!(!world.jobs().join("2").exists());
}

#[test]
fn a_thousand_waiting_jobs_all_run_once() {
    let world = limited(8, 1 << 40);
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\necho x\n");
    template.needs.cores = 1;
    template.output = god_runtime::launch::Output::None;
    template.info = false;
    template.workdir = None;
    template.create = false;
    template.script = "/bin/true".into();
    let tasks: Vec<u64> = (0..1000).collect();
    for some in tasks.chunks(100) {
        client.start_all(&template, some);
    }
    for task in &tasks {
        assert_eq!(client.wait(*task).code, Some(0));
    }
    let mut all = started(&client);
    all.sort_unstable();
    assert_eq!(all, tasks);
    assert_eq!(client.observe_all().len(), 1000);
}
