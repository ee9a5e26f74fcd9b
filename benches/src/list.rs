//! Pages of lists in a store with a long history.

use crate::report::{Report, quantile};
use anyhow::{Context, Result};
use god_core::query::{NameFilter, OutcomeClass, TaskQuery};
use god_core::spec::{Output, Owner};
use god_core::state::{Attempt, Outcome, Ran};
use god_core::store::{OverFilter, Store};
use god_core::task::{Children, Task};
use god_core::{
    ArraySpec, Bytes, Cores, ExecutorName, NodeName, OpId, ProjectId, Rev, RunRef, TaskId, TaskSpec,
    TaskState, Timestamp, UserId,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use store_sqlite::{Options, SqliteStore};

/// Questions asked, of each kind the same number.
const QUESTIONS: usize = 3_200;
/// Tasks of a page, as the client asks for by default.
const PAGE: usize = 100;
const USERS: u64 = 200;
const PROJECTS: u64 = 30;
const BATCHES: u64 = 20_000;
/// One task in two seconds for most of a year.
const STEP_MS: i64 = 2_000;
const START: i64 = 1_750_000_000_000;

/// Builds the store, asks, and removes it again.
pub async fn run(tasks: u64, report: &mut Report) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("god-bench-list").tempdir()?;
    let path = dir.path().join("god.db");
    let began = Instant::now();
    let n = store_sqlite::bulk::fill(&path, History::new(tasks)).context("cannot fill the store")?;
    report.add("list.fill_s", began.elapsed().as_secs_f64(), "s");
    report.add("list.tasks", n as f64, "tasks");
    report.add("list.file_gib", std::fs::metadata(&path)?.len() as f64 / f64::from(1 << 30), "GiB");
    let store = SqliteStore::open(&path, Options::default())?;
    let mut dice = Dice(7);
    let (mut all, mut n_empty) = (Vec::with_capacity(QUESTIONS), 0);
    let mut by_kind: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for question in 0..QUESTIONS {
        let kind = KINDS[question % KINDS.len()];
        let began = Instant::now();
        let found = ask(&*store, kind, &mut dice, n).await?;
        let ms = began.elapsed().as_secs_f64() * 1000.0;
        n_empty += usize::from(!found);
        all.push(ms);
        by_kind.entry(kind).or_default().push(ms);
    }
    // Some names begin like no task's.
    anyhow::ensure!(n_empty * 20 < QUESTIONS, "{n_empty} pages were empty");
    for (kind, values) in &by_kind {
        report.add(&format!("list.{kind}_p99_ms"), quantile(values, 0.99), "ms");
    }
    report.add("list.page_p50_ms", quantile(&all, 0.5), "ms");
    report.add("list.page_p99_ms", quantile(&all, 0.99), "ms");
    Ok(())
}

const KINDS: [&str; 11] = [
    "newest_of_user",
    "newest_of_all",
    "deep_of_all",
    "deep_of_user",
    "tag",
    "failed",
    "failed_of_user",
    "project",
    "name_prefix",
    "submitted_span",
    "over_pages",
];

/// Asks for one page; `false` when nothing was on it.
async fn ask(store: &dyn Store, kind: &str, dice: &mut Dice, n: u64) -> Result<bool> {
    let none = || TaskQuery { limit: PAGE, ..TaskQuery::default() };
    let user = |dice: &mut Dice| Some(user(dice.below(USERS)));
    let deep = |dice: &mut Dice| Some(TaskId(n / 50 + dice.below(n - n / 50)));
    let query = match kind {
        "newest_of_user" => TaskQuery { owner: user(dice), ..none() },
        "newest_of_all" => none(),
        "deep_of_all" => TaskQuery { before: deep(dice), ..none() },
        "deep_of_user" => TaskQuery { owner: user(dice), before: deep(dice), ..none() },
        "tag" => TaskQuery { tag: Some(batch(dice.below(BATCHES))), ..none() },
        "failed" => TaskQuery { outcomes: vec![OutcomeClass::Failed], before: deep(dice), ..none() },
        "failed_of_user" => TaskQuery { owner: user(dice), outcomes: vec![OutcomeClass::Failed], ..none() },
        "project" => TaskQuery { project: Some(project(dice.below(PROJECTS))), before: deep(dice), ..none() },
        "name_prefix" => {
            // From one tool's thousands of tasks to a single one.
            let text = format!("tool{}-{}", dice.below(100), dice.below(1000));
            let keep = 5 + usize::try_from(dice.below(5))?;
            TaskQuery { name: Some(NameFilter::Prefix(text.chars().take(keep).collect())), ..none() }
        }
        "submitted_span" => {
            let from = START + i64::try_from(dice.below(n))? * STEP_MS;
            let span = god_core::query::Span {
                from: Some(Timestamp(from)),
                until: Some(Timestamp(from + 86_400_000)),
            };
            TaskQuery { submitted: span, ..none() }
        }
        _ => {
            // The first ones have enough tasks for many pages.
            let owner = (dice.below(2) == 0).then(|| self::user(dice.below(USERS / 10)));
            let skip = usize::try_from(dice.below(20))? * PAGE;
            return Ok(!store.over(&OverFilter { owner, skip, limit: Some(PAGE) }).await?.is_empty());
        }
    };
    let mut query = query;
    // The way of a client: on to the next page until there is something to show.
    loop {
        let page = store.find(&query).await?;
        if !page.tasks.is_empty() || page.next.is_none() {
            return Ok(!page.tasks.is_empty());
        }
        query.before = page.next;
    }
}

/// Numbers that look random and are the same in every run.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }
}

fn user(n: u64) -> UserId {
    UserId::new(format!("user{n}"))
}

fn project(n: u64) -> ProjectId {
    ProjectId::new(format!("project{n}"))
}

fn batch(n: u64) -> String {
    format!("batch:{n}")
}

/// Finished tasks by ascending id: plain ones, and arrays with their children.
#[derive(Debug)]
struct History {
    dice: Dice,
    tasks: u64,
    next: u64,
    /// The array that goes on, and the ordinal of its next child.
    array: Option<(Task, u64)>,
}

impl History {
    fn new(tasks: u64) -> History {
        History { dice: Dice(1), tasks, next: 1, array: None }
    }

    fn spec(&mut self, array: Option<ArraySpec>) -> TaskSpec {
        let dice = &mut self.dice;
        // Few users make most of the tasks.
        let most = if dice.below(2) == 0 { USERS } else { dice.below(USERS) + 1 };
        let n_user = dice.below(most);
        let in_project = dice.below(10) < 7;
        let tool = dice.below(100);
        let name = match dice.below(3) {
            0 => format!("tool{tool}-{}", dice.below(100_000)),
            1 => format!("tool{tool}-{}", dice.below(100)),
            _ => format!("tool{tool}"),
        };
        let tags = if dice.below(4) == 0 { vec![batch(dice.below(BATCHES))] } else { Vec::new() };
        TaskSpec {
            owner: Owner {
                id: user(n_user),
                uid: 1000 + u32::try_from(n_user).unwrap_or(0),
                gid: 100,
                sgids: Vec::new(),
                email: None,
                home: Some(format!("/home/user{n_user}")),
                project: if in_project { project(n_user % PROJECTS) } else { ProjectId::new("default") },
                guest: None,
            },
            name,
            description: String::new(),
            tags,
            cores: Cores(1),
            ram: 2,
            gpus: 0,
            array,
            labels: Vec::new(),
            after: Vec::new(),
            after_policy: god_core::spec::AfterPolicy::Any,
            ports: Vec::new(),
            network: "public".to_owned(),
            executor: None,
            failure_policy: 0,
            tmp_storage: None,
            uris: Vec::new(),
            time_limit: None,
            fields: BTreeMap::new(),
            image: format!("registry.example.org/tool{tool}:1"),
            volumes: Vec::new(),
            root: false,
            interactive: false,
            script: "#!/bin/sh\nexec tool --threads 1 --in \"$1\" --out result\n".to_owned(),
            notify_email: false,
            output: Output::Files,
            quotas: [0.0; 6],
        }
    }

    fn end(&mut self, task: &mut Task) {
        let dice = &mut self.dice;
        let at = Timestamp(task.submitted.0 + 1000 + i64::try_from(dice.below(3_600_000)).unwrap_or(0));
        let outcome = match dice.below(100) {
            0..5 => Outcome::Exited(1),
            5..8 => Outcome::Killed { reason: None },
            8 => Outcome::Signalled(11),
            9 => Outcome::TimedOut,
            _ => Outcome::Exited(0),
        };
        let attempt = Attempt {
            number: 1,
            executor: ExecutorName::new("docker"),
            node: NodeName::new(format!("node{}", dice.below(64))),
            ports: Vec::new(),
            epoch: 3,
            claimed: task.submitted,
        };
        let run = Some(RunRef::new(format!("god-{}-1", task.id)));
        let started = Some(Timestamp(task.submitted.0 + 500));
        let last = Some(Ran { attempt, run, started, cpu_us: 5_000_000, max_rss: Bytes(100 << 20) });
        task.state = TaskState::Over { outcome, at, last };
        task.attempts = 1;
        (task.rev, task.op) = (Rev(3), OpId(dice.below(u64::MAX)));
    }
}

impl Iterator for History {
    type Item = Task;

    fn next(&mut self) -> Option<Task> {
        if self.next > self.tasks {
            return None;
        }
        let id = TaskId(self.next);
        self.next += 1;
        if let Some((parent, ordinal)) = self.array.take()
            && let Some(mut child) = parent.child(ordinal)
        {
            self.end(&mut child);
            self.array = Some((parent, ordinal + 1));
            return Some(child);
        }
        // Two tasks of three are children of arrays, which are no larger than what is left.
        let size = 2 + i64::try_from(self.dice.below(80)).unwrap_or(0);
        let fits = id.0 + size.unsigned_abs() <= self.tasks;
        let array = (fits && self.dice.below(20) == 0).then_some(ArraySpec {
            first: 1,
            last: size,
            step: 1,
            limit: None,
        });
        let submitted = Timestamp(START + i64::try_from(id.0).unwrap_or(0) * STEP_MS);
        let mut task = Task::new(id, Arc::new(self.spec(array)), submitted);
        if task.array().is_some() {
            let n = size.unsigned_abs();
            task.children = Children { made: n, over: n, failed: 0 };
            let at = Timestamp(submitted.0 + 3_700_000);
            // Children come back with their own ends; only while the parent runs are they made up as pending.
            let mut ended = task.clone();
            ended.state = TaskState::Over { outcome: Outcome::Gathered { failed: 0 }, at, last: None };
            ended.rev = Rev(2 + n);
            self.array = Some((task, 0));
            return Some(ended);
        }
        self.end(&mut task);
        Some(task)
    }
}
