//! Several processes on one file: this test binary starts itself in the roles below.

use crate::audit::audit;
use crate::{fresh, submit};
use god_core::state::{Ask, Phase};
use god_core::store::{Change, NewTask, Seq, Store, StoreError, Submitted};
use god_core::{Event, Holder, OpId, Task, TaskId, Timestamp};
use god_store::contract::fixture::{START, attempt, exit, new_task, spec};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use store_sqlite::{Options, SqliteStore};

const ROLE: &str = "GOD_STORE_TEST_ROLE";
const FILE: &str = "GOD_STORE_TEST_FILE";

/// Starts this binary as another process; dropping it kills that.
pub(crate) struct Other(pub(crate) Child);

impl Other {
    pub(crate) fn start(role: &str, path: &Path, out: Stdio) -> Other {
        let child = Command::new(std::env::current_exe().expect("has a path"))
            .args(["--exact", "processes::in_a_role", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(FILE, path)
            .stdin(Stdio::piped())
            .stdout(out)
            .spawn()
            .expect("starts");
        Other(child)
    }

    /// Its lines, as it writes them.
    pub(crate) fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let out = self.0.stdout.take().expect("a pipe, taken once");
        // The test harness says something of its own first.
        BufReader::new(out).lines().map(|line| line.expect("text")).filter_map(|line| {
            let (_, said) = line.split_once("##")?;
            Some(said.to_owned())
        })
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let input = self.0.stdin.as_mut().expect("a pipe");
        writeln!(input, "{line}").expect("listens");
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().expect("can be killed");
        self.0.wait().expect("ends");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Already gone is fine.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn say(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // One write, so that a kill never cuts a line in two.
    out.write_all(format!("##{text}\n").as_bytes()).expect("somebody listens");
    out.flush().expect("somebody listens");
}

/// What the other processes run; for the parent's harness it is a test that does nothing.
#[test]
fn in_a_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var(FILE).expect("the parent set it"));
    let store = SqliteStore::open(&path, Options::default()).expect("opens");
    let run_time = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a run time");
    run_time.block_on(async {
        match role.as_str() {
            "work" => work(store).await,
            "submit when told" => submit_when_told(&store).await,
            "hold a lease" => hold_a_lease(&store).await,
            other => panic!("no role {other}"),
        }
    });
}

/// Lives of tasks, many at once, for ever; says what was acknowledged.
async fn work(store: Arc<SqliteStore>) {
    let process = std::process::id();
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let store = Arc::clone(&store);
            async move {
                for turn in 0u64.. {
                    let key = format!("{process}/{caller}/{turn}");
                    let array = (turn % 3 == 0).then_some("4");
                    let keyed = NewTask { idempotency: Some(key), ..new_task(spec("bob", array)) };
                    let batch = vec![keyed, new_task(spec("eve", None))];
                    let Some(answers) = patiently(store.submit(batch).await) else { continue };
                    for answer in answers {
                        let Submitted::New(id) = answer else { panic!("a new key: {answer:?}") };
                        say(format_args!("new {id}"));
                        live(&store, id, turn).await;
                    }
                }
            }
        })
        .collect();
    let mut running = tokio::task::JoinSet::new();
    for caller in callers {
        running.spawn(caller);
    }
    running.join_all().await;
}

/// The value, or `None` when the store was busy for too long.
fn patiently<T>(result: Result<T, StoreError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(StoreError::Unreachable { .. }) => None,
        Err(err) => panic!("{err}"),
    }
}

/// Takes a task (or an array's children) to its end, now and then by a kill.
async fn live(store: &SqliteStore, id: TaskId, turn: u64) {
    let Some(task) = find(store, id).await else { return };
    let kids = task.array().map_or(0, god_core::ArraySpec::count);
    for child in (0..kids).map(|ordinal| id.child(ordinal)) {
        run(store, child, turn).await;
    }
    if kids == 0 {
        run(store, id, turn).await;
    } else {
        step(store, id, |task| {
            task.after(&Event::Gathered { failed: task.children.failed }, Timestamp(START)).ok()
        })
        .await;
    }
    if turn % 5 == 4 {
        say(format_args!("purging {id}"));
        patiently(store.purge(id).await);
    } else {
        say(format_args!("over {id}"));
    }
}

async fn run(store: &SqliteStore, id: TaskId, turn: u64) {
    let now = Timestamp(START);
    if turn % 7 == 6 {
        step(store, id, |task| task.asked(Ask::Kill, None, now)).await;
        return;
    }
    step(store, id, |task| task.after(&Event::Claimed(attempt(1)), now).ok()).await;
    step(store, id, |task| task.after(&Event::Started { run: None, since: now }, now).ok()).await;
    step(store, id, |task| task.after(&Event::Ended(exit(0, now, now)), now).ok()).await;
}

async fn find(store: &SqliteStore, id: TaskId) -> Option<Task> {
    patiently(store.get(&[id]).await)?.remove(0)
}

/// One change, tried until it is there. An answer that was lost is told from a refusal by the next read.
async fn step(store: &SqliteStore, id: TaskId, next: impl Fn(&Task) -> Option<Task>) {
    loop {
        let Some(before) = find(store, id).await else { continue };
        let Some(after) = next(&before) else { return };
        if patiently(store.commit(vec![Change::of(&before, after, OpId(turn_mark()))], None).await).is_some()
        {
            return;
        }
    }
}

fn turn_mark() -> u64 {
    u64::from(std::process::id())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_processes_lose_nothing_and_leave_no_damage() {
    let (dir, store) = fresh(Options { notes_kept: 500, ..Options::default() });
    let path = dir.path().join("god.db");
    let said = |i: usize| dir.path().join(format!("said-{i}"));
    let mut others = Vec::new();
    let kills: usize = std::env::var("GOD_STORE_TEST_KILLS").map_or(40, |n| n.parse().expect("a number"));
    for i in 0..kills {
        let out = File::create(said(i)).expect("creates");
        others.push(Other::start("work", &path, out.into()));
        if others.len() == 4 {
            // The oldest one works by now; it is killed in the middle of something.
            let victim = others.remove(0);
            until("the oldest one works", || grown(&said(i - 3), 500)).await;
            tokio::time::sleep(Duration::from_micros(u64::try_from(i * 7919 % 20_000).expect("small"))).await;
            victim.kill();
            audit_now_and_then(i, &path).await;
        }
    }
    for other in others {
        other.kill();
    }
    let (mut new, mut purged) = (Vec::new(), BTreeSet::new());
    for i in 0..kills {
        for line in std::fs::read_to_string(said(i)).expect("reads").lines() {
            let Some((_, said)) = line.split_once("##") else { continue };
            let (what, id) = said.split_once(' ').expect("two words");
            let id: TaskId = id.parse().expect("an id");
            match what {
                "new" => new.push(id),
                "purging" => {
                    purged.insert(id);
                }
                _ => {
                    let task = store.get(&[id]).await.expect("reads").remove(0).expect("is there");
                    assert_eq!(task.phase(), Phase::Over, "task {id}");
                }
            }
        }
    }
    assert!(new.len() > kills, "they did work: {} tasks", new.len());
    let mut ids = new.clone();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), new.len(), "no id is given twice");
    let found = store.get(&new).await.expect("reads");
    for (id, task) in new.iter().zip(found) {
        assert!(task.is_some() || purged.contains(id), "task {id} was acknowledged");
    }
    drop(store);
    audit(&path);
}

async fn audit_now_and_then(i: usize, path: &Path) {
    if i % 8 == 7 {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || audit(&path)).await.expect("whole, while others write");
    }
}

fn grown(path: &Path, size: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > size)
}

/// Waits for a condition, half a minute at most.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn submit_when_told(store: &SqliteStore) {
    say("ready");
    for line in std::io::stdin().lines() {
        line.expect("text");
        submit(store, "bob", None).await;
        say(nanos());
    }
}

fn nanos() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i128::try_from(now.as_nanos()).expect("not that far")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bell_is_heard_in_other_processes() {
    let (dir, store) = fresh(Options::default());
    let mut other = Other::start("submit when told", &dir.path().join("god.db"), Stdio::piped());
    let mut lines = other.lines();
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let mut late = Vec::new();
    for round in 0..100 {
        let head = store.head().await.expect("reads");
        other.tell("go");
        let heard = tokio::time::timeout(Duration::from_secs(10), store.rung(head)).await;
        let heard_at = nanos();
        heard.unwrap_or_else(|_| panic!("round {round}: woken"));
        assert_eq!(store.head().await.expect("reads"), Seq(head.0 + 1));
        let durable_at: i128 = lines.next().expect("alive").parse().expect("a number");
        late.push((heard_at - durable_at).max(0));
    }
    late.sort_unstable();
    assert!(late[50] < 50_000_000, "half of the bells are heard within 50 ms: {late:?}");
    assert!(late[95] < 500_000_000, "and nearly all of them soon: {late:?}");
}

/// How often the threads of a process went to sleep of their own will, which they only do after having been awake.
fn naps(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it lives");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?.to_owned();
            line.split_whitespace().last()?.parse::<u64>().ok()
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_store_sleeps() {
    let (dir, _store) = fresh(Options::default());
    let mut other = Other::start("submit when told", &dir.path().join("god.db"), Stdio::piped());
    let mut lines = other.lines();
    assert_eq!(lines.next().as_deref(), Some("ready"));
    // Its threads are on their way to their first sleep; then nothing may wake them for a while.
    let started = Instant::now();
    loop {
        let before = naps(other.0.id());
        tokio::time::sleep(Duration::from_millis(300)).await;
        if naps(other.0.id()) == before {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "something keeps it awake");
    }
}

async fn hold_a_lease(store: &SqliteStore) {
    let holder = Holder::new(format!("scheduler/{}", std::process::id()));
    let found = store.leases("scheduler").await.expect("reads").pop();
    let lease = store.take_lease("scheduler", &holder, found.as_ref()).await.expect("answers").expect("free");
    let member = store.take_lease("watcher/x", &holder, None).await.expect("answers").expect("free");
    say(format_args!("{} {}", lease.epoch, member.epoch));
    for line in std::io::stdin().lines() {
        line.expect("text");
        let renewed = store.renew_lease(&lease).await.expect("answers");
        say(renewed);
    }
}
