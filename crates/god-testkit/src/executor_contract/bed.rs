//! Where a contract is tested.

use crate::{build, until};
use god_core::executor::{Cause, Executor, Exit, Launch, Run, Seen, StartError, Started};
use god_core::ids::NodeName;
use god_core::spec::{Owner, TaskSpec};
use god_core::units::Timestamp;
use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Finds the job directory of a launch.
pub type JobDirs = Box<dyn Fn(&Launch) -> PathBuf + Send + Sync>;

/// One executor and what its tests must know about it. Each test has a bed of its own, with no run in it.
pub struct Bed {
    /// The executor under test.
    pub executor: Arc<dyn Executor>,
    /// A second instance over the same engine, as a restarted or another daemon would have it.
    pub second: Option<Arc<dyn Executor>>,
    /// Where job directories are; `None` for an executor that runs nothing.
    pub job_dirs: Option<JobDirs>,
    /// Node of the launches.
    pub node: NodeName,
    /// Owner of the tasks.
    pub owner: Owner,
    /// Image of the tasks, with a `/bin/sh` and the usual small programs.
    pub image: String,
    /// Whether scripts run under the owner's ids (and not just as the user of the test).
    pub sets_identity: bool,
    /// Whether a run that takes more than its memory is ended.
    pub limits_memory: bool,
    /// How long anything may take.
    pub patience: Duration,
    /// Whatever must live as long as the bed: a temporary directory, a private engine.
    pub keep: Vec<Box<dyn Any + Send + Sync>>,
    next_task: AtomicU64,
}

impl fmt::Debug for Bed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bed").field("executor", &self.executor).finish_non_exhaustive()
    }
}

impl Bed {
    /// A bed with no ability but those of the required methods; the caller sets the fields that are otherwise.
    #[must_use]
    pub fn new(executor: Arc<dyn Executor>, node: NodeName) -> Bed {
        Bed {
            executor,
            second: None,
            job_dirs: None,
            node,
            owner: build::owner(20_001, 20_001),
            image: String::new(),
            sets_identity: false,
            limits_memory: false,
            patience: Duration::from_secs(30),
            keep: Vec::new(),
            next_task: AtomicU64::new(1),
        }
    }

    /// A specification of the bed's owner and image.
    #[must_use]
    pub fn spec(&self, script: &str) -> TaskSpec {
        TaskSpec { image: self.image.clone(), ..build::spec(self.owner.clone(), script) }
    }

    /// A task id that this bed has not used, followed by room for an array.
    pub fn fresh_task(&self) -> u64 {
        self.next_task.fetch_add(1000, Ordering::Relaxed)
    }

    /// The first attempt of a fresh task with this script.
    #[must_use]
    pub fn launch(&self, script: &str) -> Launch {
        self.launch_of(self.spec(script))
    }

    /// The first attempt of a fresh task with this specification.
    #[must_use]
    pub fn launch_of(&self, spec: TaskSpec) -> Launch {
        build::launch(spec, self.fresh_task(), 1, &self.node)
    }

    /// Starts one launch.
    ///
    /// # Errors
    /// As the executor says.
    pub async fn try_start(&self, launch: &Launch) -> Result<Started, StartError> {
        let mut answers = self.executor.start(vec![launch.clone()]).await;
        assert_eq!(answers.len(), 1, "one launch has one answer");
        answers.remove(0)
    }

    /// Starts one launch that must be accepted.
    pub async fn start(&self, launch: &Launch) -> Run {
        match self.try_start(launch).await {
            Ok(Started::Accepted) => build::run_of(launch),
            Ok(Started::Running { run, .. }) => Run { key: launch.key, run },
            Err(err) => panic!("{} was not started: {err}", launch.key),
        }
    }

    /// Starts a script in a fresh task.
    pub async fn run(&self, script: &str) -> (Launch, Run) {
        let launch = self.launch(script);
        let run = self.start(&launch).await;
        (launch, run)
    }

    /// Observes one run. An executor that cannot say anything now is a failure here.
    pub async fn observe(&self, run: &Run) -> Seen {
        let mut seen = self.executor.observe(std::slice::from_ref(run)).await.expect("the executor answers");
        assert_eq!(seen.len(), 1, "one run has one answer");
        seen.remove(0)
    }

    /// Waits until the run is seen running.
    pub async fn until_running(&self, run: &Run) -> Timestamp {
        until(self.patience, &format!("{} runs", run.key), async || match self.observe(run).await {
            Seen::Running { since, .. } => Some(since),
            Seen::Created => None,
            other => panic!("{} should run, seen is {other:?}", run.key),
        })
        .await
    }

    /// Waits for the end.
    pub async fn until_exited(&self, run: &Run) -> Exit {
        until(self.patience, &format!("{} ends", run.key), async || match self.observe(run).await {
            Seen::Exited(exit) => Some(exit),
            Seen::Created | Seen::Running { .. } | Seen::Paused { .. } => None,
            other => panic!("{} should end, seen is {other:?}", run.key),
        })
        .await
    }

    /// Starts a script and waits for its end.
    pub async fn result_of(&self, script: &str) -> Exit {
        let (_, run) = self.run(script).await;
        self.until_exited(&run).await
    }

    /// Asks for an end; the request must be accepted.
    pub async fn kill(&self, run: &Run, grace: u64) {
        let answers = self.executor.kill(std::slice::from_ref(run), god_core::Seconds(grace)).await;
        assert_eq!(answers.len(), 1, "one run has one answer");
        for answer in answers {
            answer.expect("the request is taken");
        }
    }

    /// The job directory of a launch, `None` (said aloud) when the executor has no files.
    #[must_use]
    pub fn job_dir(&self, launch: &Launch) -> Option<PathBuf> {
        if self.job_dirs.is_none() {
            leave_out(&format!("executor {} leaves no files", self.executor.name()));
        }
        self.job_dirs.as_ref().map(|find| find(launch))
    }

    /// Waits until a file of the job directory holds something, and reads it. Empty when the executor has no files.
    pub async fn until_written(&self, launch: &Launch, file: &str) -> String {
        let Some(dir) = self.job_dirs.as_ref().map(|find| find(launch)) else { return String::new() };
        let path = dir.join(file);
        until(self.patience, &format!("{} is written", path.display()), async || {
            std::fs::read_to_string(&path).ok().filter(|text| !text.is_empty())
        })
        .await
    }
}

/// Says aloud which part of the contract an executor has no ability for. No fault, not even where nothing may be
/// skipped: the bed says what the executor has.
pub(super) fn leave_out(why: &str) {
    println!("LEFT OUT {why}");
}

/// Now, by the wall clock.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("a clock before the year 292 million"))
}

/// The end of a script that ran and ended by itself.
pub(super) fn by_itself(exit: &Exit, cause: Cause) {
    assert_eq!(exit.cause, cause, "{exit:?}");
    assert!(!exit.by_request, "nobody asked for this end: {exit:?}");
    assert!(exit.started.is_some_and(|started| started <= exit.ended), "{exit:?}");
}
