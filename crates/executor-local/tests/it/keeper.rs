//! Daemons and keepers that come and go.

use crate::bed::{Site, is_alive, plain};
use executor_local::{Cgroups, LocalExecutor, Options};
use god_core::executor::{
    Abandon, AttemptKey, Cause, Events, Executor, Finished, Launch, Run, Seen, StartError, Started,
};
use god_core::ids::{ExecutorName, NodeName};
use god_core::spec::{Output, TaskSpec};
use god_core::units::Bytes;
use god_testkit::{build, until};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn owner() -> god_core::spec::Owner {
    // SAFETY: both always succeed.
    match unsafe { (libc::geteuid(), libc::getegid()) } {
        (0, _) => build::owner(20_001, 20_001),
        (uid, gid) => build::owner(uid, gid),
    }
}

fn spec(script: &str) -> TaskSpec {
    build::spec(owner(), script)
}

fn launch(spec: TaskSpec, task: u64) -> Launch {
    build::launch(spec, task, 1, &NodeName::new("here"))
}

async fn start(executor: &LocalExecutor, launch: Launch) -> Result<Started, StartError> {
    executor.start(vec![launch]).await.remove(0)
}

async fn observe(executor: &LocalExecutor, launch: &Launch) -> Seen {
    executor.observe(&[build::run_of(launch)]).await.unwrap().remove(0)
}

async fn until_seen(
    executor: &LocalExecutor,
    launch: &Launch,
    what: &str,
    wanted: impl Fn(&Seen) -> bool,
) -> Seen {
    until(LIMIT, &format!("{} is {what}", launch.key), async || {
        let seen = observe(executor, launch).await;
        wanted(&seen).then_some(seen)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_keeper_is_succeeded_and_runs_go_on() {
    let site = Site::new(Cgroups::Off);
    let executor = site.executor();
    let mut events = executor.subscribe();
    let long = launch(spec("#!/bin/sh\nexec sleep 1000\n"), 1);
    start(&executor, long.clone()).await.unwrap();
    let ended = launch(spec("#!/bin/sh\nexit 4\n"), 2);
    start(&executor, ended.clone()).await.unwrap();
    until_seen(&executor, &ended, "over", |seen| matches!(seen, Seen::Exited(_))).await;
    let keeper = site.keeper_pid().unwrap();
    // SAFETY: plain integers.
    assert_eq!(unsafe { libc::kill(keeper, libc::SIGKILL) }, 0);
    // Nobody asks anything: whoever listens for events keeps a keeper alive.
    until(LIMIT, "another keeper serves", async || site.keeper_pid().filter(|pid| *pid != keeper)).await;
    assert!(!is_alive(keeper));
    assert!(matches!(observe(&executor, &long).await, Seen::Running { .. }));
    match observe(&executor, &ended).await {
        Seen::Exited(exit) => assert_eq!(exit.cause, Cause::Code(4)),
        other => panic!("{other:?}"),
    }
    // Events come over the new connection.
    let next = launch(spec("#!/bin/sh\nexit 5\n"), 3);
    start(&executor, next.clone()).await.unwrap();
    let told = tokio::time::timeout(LIMIT, async {
        loop {
            let some = events.next().await.unwrap();
            if some.iter().any(|event| event.key == next.key && matches!(event.seen, Seen::Exited(_))) {
                return;
            }
        }
    });
    told.await.expect("the end is told");
    let run = build::run_of(&long);
    executor.kill(std::slice::from_ref(&run), god_core::Seconds(0)).await.remove(0).unwrap();
    match until_seen(&executor, &long, "over", |seen| matches!(seen, Seen::Exited(_))).await {
        Seen::Exited(exit) => assert!(exit.by_request && matches!(exit.cause, Cause::Lost(_)), "{exit:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_fits_waits_and_starts_by_itself() {
    let mut site = Site::new(Cgroups::Off);
    site.options.cores = Some(1);
    let executor = site.executor();
    assert_eq!(executor.nodes().await.unwrap()[0].total.cores.0, 1);
    let go = site.root.path().join("go");
    let held = spec(&format!("#!/bin/sh\nwhile ! [ -e {} ]; do sleep 0.01; done\n", go.display()));
    let launches: Vec<Launch> = (1..4).map(|task| launch(held.clone(), task)).collect();
    let answers = executor.start(launches.clone()).await;
    assert!(matches!(answers[0], Ok(Started::Running { .. })), "{answers:?}");
    assert_eq!(answers[1..], [Ok(Started::Accepted), Ok(Started::Accepted)]);
    assert_eq!(observe(&executor, &launches[1]).await, Seen::Created);
    assert_eq!(executor.abandon(&build::run_of(&launches[1])).await.unwrap(), Abandon::NeverRan);
    std::fs::write(go, "").unwrap();
    for (place, cause) in [(0, Cause::Code(0)), (1, Cause::NeverRan), (2, Cause::Code(0))] {
        match until_seen(&executor, &launches[place], "over", |seen| matches!(seen, Seen::Exited(_))).await {
            Seen::Exited(exit) => assert_eq!(exit.cause, cause),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_reaches_a_keeper_that_runs() {
    let mut site = Site::new(Cgroups::Off);
    let first = site.executor();
    let keeper = first.keeper().await.unwrap();
    site.options.cores = Some(7);
    site.options.memory = Some(Bytes(5 << 30));
    let pong = LocalExecutor::new(ExecutorName::new("local"), site.options.clone()).unwrap();
    let node = pong.nodes().await.unwrap().remove(0);
    assert_eq!((node.total.cores.0, node.total.memory), (7, Bytes(5 << 30)));
    assert_eq!(first.keeper().await.unwrap().pid, keeper.pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_run_is_refused() {
    let site = Site::new(Cgroups::Off);
    let executor = site.executor();
    let good = || spec("#!/bin/sh\nexit 0\n");
    let system = god_core::spec::Owner { uid: 0, ..owner() };
    for bad in [
        TaskSpec { root: true, ..good() },
        TaskSpec { interactive: true, ..good() },
        TaskSpec { gpus: 1, ..good() },
        TaskSpec { owner: system, ..good() },
        TaskSpec { cores: god_core::Cores(65), ..good() },
    ] {
        // A bad one spoils nothing for the others of its batch.
        let answers = executor.start(vec![launch(bad, 1), launch(good(), 2)]).await;
        assert!(matches!(answers[0], Err(StartError::Refused(_))), "{answers:?}");
        assert!(answers[1].is_ok(), "{answers:?}");
        assert_eq!(observe(&executor, &launch(good(), 1)).await, Seen::Absent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_keeper_attempts_can_still_be_given_up() {
    let site = Site::new(Cgroups::Off);
    let key = AttemptKey { task: god_core::TaskId(1), attempt: 1 };
    let run = Run { key, run: None };
    let mut options = site.options.clone();
    // Something that never serves.
    options.init = "/bin/false".into();
    let alone = LocalExecutor::new(ExecutorName::new("local"), options).unwrap();
    assert!(alone.nodes().await.is_err());
    assert!(alone.observe(std::slice::from_ref(&run)).await.is_err(), "silence is no answer");
    let refused = start(&alone, launch(spec("#!/bin/sh\n"), 5)).await;
    assert!(matches!(refused, Err(StartError::NotNow(_))), "{refused:?}");
    for _ in 0..2 {
        assert_eq!(alone.abandon(&run).await.unwrap(), Abandon::NeverRan);
    }
    let executor = site.executor();
    let late = start(&executor, launch(spec("#!/bin/sh\n"), 1)).await;
    assert!(matches!(late, Err(StartError::NotNow(_))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_when_nothing_is_wanted() {
    let bed = plain().await.unwrap();
    let launch = bed.launch("#!/bin/sh\necho x > file\n");
    let run = bed.start(&launch).await;
    bed.until_exited(&run).await;
    let dir = bed.job_dir(&launch).unwrap();
    let shared = dir.ancestors().find(|dir| dir.ends_with("shared")).unwrap().to_owned();
    for _ in 0..2 {
        bed.executor.forget(&[Finished { key: launch.key, parent: None, keep_files: false }]).await.unwrap();
    }
    let find = std::process::Command::new("find").arg(shared).args(["-type", "f"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&find.stdout), "");
    assert!(!dir.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_shares_one_script_and_goes_as_a_whole() {
    let site = Site::new(Cgroups::Off);
    let executor = site.executor();
    let array =
        TaskSpec { array: Some("1:20".parse().unwrap()), ..spec("#!/bin/sh\necho $GODOCKER_TASK_ID\n") };
    let children: Vec<Launch> = (0..20)
        .map(|ordinal| build::child_launch(array.clone(), 700, ordinal, &NodeName::new("here")))
        .collect();
    for answer in executor.start(children.clone()).await {
        answer.unwrap();
    }
    let dirs = god_runtime::jobdir::JobDirs::new(&site.options.shared_dir);
    for child in &children {
        until_seen(&executor, child, "over", |seen| matches!(seen, Seen::Exited(_))).await;
        let index = child.child.as_ref().unwrap().index;
        let log = std::fs::read_to_string(dirs.child_dir(700, index).join("god.log")).unwrap();
        assert_eq!(log, format!("{index}\n"));
        assert!(!dirs.control_dir(child.key.task.0).exists(), "a child has a script of its own");
    }
    assert!(dirs.script_path(700).exists());
    let parent = Finished {
        key: AttemptKey { task: god_core::TaskId(700), attempt: 0 },
        parent: None,
        keep_files: false,
    };
    executor.forget(&[parent]).await.unwrap();
    assert!(!dirs.script_path(700).exists() && !dirs.task_dir(700).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_keeps_no_output_gets_none() {
    let mut site = Site::new(Cgroups::Off);
    site.options.keep_output = false;
    let executor = site.executor();
    let one = launch(TaskSpec { output: Output::Files, ..spec("#!/bin/sh\necho out\nexit 2\n") }, 1);
    start(&executor, one.clone()).await.unwrap();
    until_seen(&executor, &one, "over", |seen| matches!(seen, Seen::Exited(_))).await;
    assert!(!site.options.shared_dir.join("tasks").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_one_connection() {
    let site = Site::new(Cgroups::Off);
    let executor = site.executor();
    let one = async |n: u64| {
        let one = launch(spec(&format!("#!/bin/sh\nexit {n}\n")), 100 + n);
        start(&executor, one.clone()).await.unwrap();
        match until_seen(&executor, &one, "over", |seen| matches!(seen, Seen::Exited(_))).await {
            Seen::Exited(exit) => assert_eq!(exit.cause, Cause::Code(i32::try_from(n).unwrap())),
            other => panic!("{other:?}"),
        }
    };
    futures::future::join_all((0..40).map(one)).await;
    assert_eq!(executor.list().await.unwrap().len(), 40);
    let fds = std::fs::read_dir(format!("/proc/{}/fd", site.keeper_pid().unwrap())).unwrap();
    let sockets = fds.flatten().filter(|fd| {
        std::fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
    });
    assert!(sockets.count() <= 3, "the listener, the connection, and the one that asked for the id");
}

#[test]
fn options_of_another_site_do_not_mix() {
    let bad = Options { cluster: "a/b".to_owned(), ..Site::new(Cgroups::Off).options.clone() };
    assert!(LocalExecutor::new(ExecutorName::new("local"), bad).is_err());
}
