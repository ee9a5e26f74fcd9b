//! Engines that go away and come back. Whatever happens: no end that was none.

use crate::bed::{BUSYBOX, Cluster, bed, bed_of, engine, init, owner};
use crate::private::Dockerd;
use executor_docker::{DockerExecutor, Options};
use god_core::executor::{Cause, ExecError, Executor, Run, Seen, StartError};
use god_core::ids::{ExecutorName, NodeName};
use god_testkit::executor_contract::Bed;
use god_testkit::{build, until};
use rustix::process::Signal;
use std::time::Duration;

const LONG: &str = "#!/bin/sh\necho yes > ready\nsleep 600\n";
/// Ends with success when it is asked to end: nothing that an engine which shuts down may be believed.
const OBEDIENT: &str = "#!/bin/sh\ntrap 'exit 0' TERM\necho yes > ready\nwhile :; do sleep 0.1; done\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_not_there_ends_nothing() {
    let Some(init) = init() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        url: format!("unix://{}", dir.path().join("no.sock").display()),
        ..Options::new("nowhere", dir.path(), init)
    };
    let executor = DockerExecutor::new(ExecutorName::new("docker"), options).expect("it starts all the same");
    let launch = build::launch(
        god_core::TaskSpec { image: BUSYBOX.to_owned(), ..build::spec(owner(), LONG) },
        1,
        1,
        &NodeName::new("n"),
    );
    let run = build::run_of(&launch);
    let one = std::slice::from_ref(&run);
    assert!(matches!(executor.nodes().await, Err(ExecError::Unreachable { .. })));
    assert!(matches!(executor.observe(one).await, Err(ExecError::Unreachable { .. })));
    assert!(matches!(executor.list().await, Err(ExecError::Unreachable { .. })));
    assert!(matches!(executor.start(vec![launch]).await[..], [Err(StartError::NotNow(_))]));
    assert!(matches!(
        executor.kill(one, god_core::Seconds(0)).await[..],
        [Err(ExecError::Unreachable { .. })]
    ));
    let mut stream = executor.events().expect("has events").subscribe();
    let heard = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    assert!(heard.is_err(), "it waits for the engine: {heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_proves_nothing() {
    let Some(bed) = bed().await else { return };
    let (_, run) = bed.run(LONG).await;
    let cluster: &Cluster = bed.keep[0].downcast_ref().expect("kept");
    let identity = cluster.dir.path().join("control/engine-docker");
    let known = std::fs::read_to_string(&identity).expect("remembered");
    std::fs::write(&identity, "AAAA:BBBB\n").expect("written");
    let second = bed.second.as_ref().expect("has one");
    let unknown = build::run_of(&bed.launch(LONG));
    let seen = second.observe(&[unknown]).await.expect("the list itself is fine");
    assert!(matches!(&seen[..], [Seen::Unknown(why)] if why.contains("another engine")), "{seen:?}");
    std::fs::write(&identity, known).expect("written");
    bed.kill(&run, 0).await;
}

async fn private_bed(live_restore: bool) -> Option<(Bed, Dockerd)> {
    let from = engine()?;
    init()?;
    let dockerd = Dockerd::start(if live_restore { &["--live-restore"] } else { &[] }).await?;
    dockerd.load(BUSYBOX, &from);
    let cluster = Cluster::new(dockerd.url());
    let options = Options { grace: god_core::Seconds(2), ..cluster.options()? };
    Some((bed_of(cluster, options).await, dockerd))
}

async fn started(bed: &Bed, script: &str) -> Run {
    let (launch, run) = bed.run(script).await;
    bed.until_running(&run).await;
    bed.until_written(&launch, "ready").await;
    run
}

/// Looks until the engine answers again; on the way there nothing may be said to have ended.
async fn after_return(bed: &Bed, run: &Run) -> Seen {
    until(bed.patience, "the engine answers again", async || {
        match bed.executor.observe(std::slice::from_ref(run)).await {
            Ok(mut seen) => match seen.remove(0) {
                Seen::Unknown(_) => None,
                seen => Some(seen),
            },
            Err(_) => None,
        }
    })
    .await
}

async fn lost(bed: &Bed, run: &Run) {
    let seen = until(bed.patience, "the end is seen", async || match after_return(bed, run).await {
        Seen::Running { .. } => None,
        seen => Some(seen),
    })
    .await;
    let Seen::Exited(exit) = seen else { panic!("{}: {seen:?}", run.key) };
    assert!(matches!(exit.cause, Cause::Lost(_)), "{}: {exit:?}", run.key);
    assert!(!exit.by_request, "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_shuts_down_loses_runs_and_fakes_no_result() {
    let Some((bed, mut dockerd)) = private_bed(false).await else { return };
    let obedient = started(&bed, OBEDIENT).await;
    let long = started(&bed, LONG).await;
    let paused = started(&bed, LONG).await;
    let (_, ended) = bed.run("#!/bin/sh\nexit 3\n").await;
    let before = bed.until_exited(&ended).await;
    for answer in bed.executor.pausing().expect("pauses").pause(std::slice::from_ref(&paused)).await {
        answer.expect("pauses");
    }
    let mut stream = bed.executor.events().expect("has events").subscribe();
    let first = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    assert!(first.is_err(), "{first:?}");
    dockerd.down(Signal::TERM).await;
    let down = bed.executor.observe(std::slice::from_ref(&long)).await;
    assert!(matches!(down, Err(ExecError::Unreachable { .. })), "{down:?}");
    let unstarted = bed.launch(LONG);
    assert!(matches!(bed.try_start(&unstarted).await, Err(StartError::NotNow(_))));
    dockerd.up().await;
    for run in [&obedient, &long, &paused] {
        lost(&bed, run).await;
    }
    // A fresh instance, which remembers nothing, says the same; what had ended before keeps its result.
    let second = bed.second.as_ref().expect("has one");
    let seen = second.observe(&[obedient, ended]).await.expect("answers");
    assert!(matches!(&seen[0], Seen::Exited(exit) if matches!(exit.cause, Cause::Lost(_))), "{seen:?}");
    assert_eq!(seen[1], Seen::Exited(before));
    // The engine works again, and its events are heard again by the same stream.
    let (_, next) = bed.run("#!/bin/sh\nexit 4\n").await;
    let told = async {
        loop {
            let news = stream.next().await.expect("lives");
            if news.iter().any(|event| event.key == next.key && matches!(event.seen, Seen::Exited(_))) {
                return;
            }
        }
    };
    tokio::time::timeout(bed.patience, told).await.expect("events come again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_crashes_fakes_no_result() {
    let Some((bed, mut dockerd)) = private_bed(false).await else { return };
    let obedient = started(&bed, OBEDIENT).await;
    let long = started(&bed, LONG).await;
    dockerd.down(Signal::KILL).await;
    dockerd.up().await;
    for run in [&obedient, &long] {
        lost(&bed, run).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_outlive_an_engine_that_lets_them() {
    let Some((bed, mut dockerd)) = private_bed(true).await else { return };
    let long = started(&bed, LONG).await;
    let (_, short) = bed.run("#!/bin/sh\nsleep 3\nexit 5\n").await;
    let obedient = started(&bed, OBEDIENT).await;
    dockerd.down(Signal::TERM).await;
    dockerd.up().await;
    for run in [&long, &obedient] {
        let seen = after_return(&bed, run).await;
        assert!(matches!(seen, Seen::Running { .. }), "{}: {seen:?}", run.key);
    }
    assert_eq!(bed.until_exited(&short).await.cause, Cause::Code(5));
    bed.kill(&obedient, 20).await;
    let exit = bed.until_exited(&obedient).await;
    assert_eq!((exit.cause, exit.by_request), (Cause::Code(0), true));
    bed.kill(&long, 0).await;
    bed.until_exited(&long).await;
}
