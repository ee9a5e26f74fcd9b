//! The executor from outside: the contract of all executors, and what the fake alone promises.

use executor_fake::{FakeExecutor, Options};
use god_core::executor::{Cause, Executor, Finished, Seen};
use god_core::ids::{ExecutorName, NodeName};
use god_core::resources::Amount;
use god_core::units::{Bytes, Cores};
use god_testkit::build;
use god_testkit::executor_contract::Bed;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn roomy() -> FakeExecutor {
    let each = Amount { cores: Cores(1_000_000), memory: Bytes(1 << 60), gpus: 0 };
    FakeExecutor::new(ExecutorName::new("fake"), Options { each, ..Options::default() })
}

async fn bed() -> Option<Bed> {
    let executor = roomy();
    let mut bed = Bed::new(Arc::new(executor.clone()), NodeName::new("fake-1"));
    bed.second = Some(Arc::new(executor));
    bed.limits_memory = true;
    Some(bed)
}

god_testkit::executor_contract!(bed);

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_runs_are_nothing_special() {
    let executor = roomy();
    let node = NodeName::new("fake-1");
    let spec = Arc::new(build::spec(build::owner(1, 1), "#FAKE duration=10s exit=1"));
    let one = build::launch((*spec).clone(), 1, 1, &node);
    let begun = Instant::now();
    let mut stream = executor.events().expect("has events").subscribe();
    let mut runs = Vec::new();
    for batch in 0..100_u64 {
        let launches: Vec<_> = (0..1000)
            .map(|n| {
                let mut launch = one.clone();
                launch.key.task.0 = batch * 1000 + n + 1;
                launch
            })
            .collect();
        runs.extend(launches.iter().map(build::run_of));
        assert!(executor.start(launches).await.iter().all(Result::is_ok));
    }
    let mut ended = 0;
    while ended < runs.len() {
        let news = stream.next().await.expect("lives");
        ended += news.iter().filter(|event| matches!(event.seen, Seen::Exited(_))).count();
    }
    let seen = executor.observe(&runs).await.expect("answers");
    assert!(seen.iter().all(|seen| matches!(seen, Seen::Exited(exit) if exit.cause == Cause::Code(1))));
    let over: Vec<_> =
        runs.iter().map(|run| Finished { key: run.key, parent: None, keep_files: true }).collect();
    executor.forget(&over).await.expect("forgets");
    assert!(executor.list().await.expect("answers").is_empty());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?} for 100,000 runs");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_executor() {
    let executor = roomy();
    let mut stream = executor.events().expect("has events").subscribe();
    let waiting = tokio::spawn(async move { stream.next().await });
    tokio::task::yield_now().await;
    drop(executor);
    assert_eq!(waiting.await.expect("no panic"), None);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_stream_hears_of_a_nearer_end() {
    let executor = roomy();
    let mut stream = executor.events().expect("has events").subscribe();
    let node = NodeName::new("fake-1");
    let start = |task, order: &str| {
        let launch = build::launch(build::spec(build::owner(1, 1), order), task, 1, &node);
        executor.start(vec![launch])
    };
    start(1, "#FAKE duration=1h").await;
    assert_eq!(stream.next().await.expect("lives").len(), 1, "the start");
    let waiting = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 2 {
            seen.extend(stream.next().await.expect("lives"));
        }
        seen
    });
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    start(2, "#FAKE duration=1s exit=5").await;
    let seen = waiting.await.expect("no panic");
    assert_eq!(begun.elapsed().as_secs(), 1, "told when it happened");
    assert!(matches!(&seen[1].seen, Seen::Exited(exit) if exit.cause == Cause::Code(5)), "{seen:?}");
}

#[tokio::test]
async fn nodes_are_published() {
    let options =
        Options { nodes: 3, labels: vec!["disk==ssd".to_owned()], max_tasks: Some(7), ..Options::default() };
    let executor = FakeExecutor::new(ExecutorName::new("dry"), options);
    let nodes = executor.nodes().await.expect("answers");
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["dry-1", "dry-2", "dry-3"]);
    assert!(nodes.iter().all(|node| node.max_tasks == Some(7) && node.labels == ["disk==ssd"]));
}
