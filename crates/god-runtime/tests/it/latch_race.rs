//! Two processes try to take the same latches; each latch has exactly one winner.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use god_runtime::latch::{Latch, Taken, Verdict};
use god_runtime::launch::Key;

const TASKS: u64 = 10_000;
/// After so many the contenders wait for each other.
const TOGETHER: u64 = 50;
const DIR: &str = "GOD_TEST_LATCH_DIR";
const VERDICT: &str = "GOD_TEST_LATCH_VERDICT";

/// Run by the test below in processes of its own; does nothing by itself.
#[test]
fn contender() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let verdict = match std::env::var(VERDICT).as_deref() {
        Ok("started") => Verdict::Started,
        _ => Verdict::Abandoned,
    };
    let dir = PathBuf::from(dir);
    let latch = Latch::open(&dir).unwrap();
    let mut won = String::new();
    for task in 0..TASKS {
        if task % TOGETHER == 0 {
            meet(&dir, verdict, task);
        }
        match latch.take(Key { task, attempt: 1 }, verdict).unwrap() {
            Taken::Won => won.push_str(&format!("{task}\n")),
            Taken::Lost { attempt, verdict: other } => {
                assert_eq!(attempt, 1);
                assert_ne!(other, verdict, "lost to itself");
            }
        }
    }
    std::fs::write(dir.join(format!("won-{verdict:?}")), won).unwrap();
}

/// Waits for the other contender, so that both truly run against each other, however the machine
/// shares its time.
fn meet(dir: &Path, verdict: Verdict, task: u64) {
    std::fs::write(dir.join(format!("at-{task}-{verdict:?}")), "").unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    let both = [Verdict::Started, Verdict::Abandoned].map(|who| dir.join(format!("at-{task}-{who:?}")));
    while !both.iter().all(|path| path.exists()) {
        assert!(Instant::now() < limit, "the other contender never came");
        std::thread::yield_now();
    }
}

#[test]
fn exactly_one_of_two_processes_wins_each_latch() {
    let dir = tempfile::tempdir().unwrap();
    let start = |verdict: &str| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "latch_race::contender"])
            .env(DIR, dir.path())
            .env(VERDICT, verdict)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut both = [start("started"), start("abandoned")];
    for child in &mut both {
        assert!(child.wait().unwrap().success());
    }
    let won = |name: &str| -> Vec<u64> {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    let (started, abandoned) = (won("won-Started"), won("won-Abandoned"));
    let mut all = [started.as_slice(), &abandoned].concat();
    all.sort_unstable();
    assert_eq!(all, (0..TASKS).collect::<Vec<_>>());
    assert!(!started.is_empty() && !abandoned.is_empty(), "they did not race");
    let latch = Latch::open(dir.path()).unwrap();
    for (tasks, verdict) in [(started, Verdict::Started), (abandoned, Verdict::Abandoned)] {
        for task in tasks {
            assert_eq!(latch.peek(task).unwrap(), Some((1, verdict)));
        }
    }
}
