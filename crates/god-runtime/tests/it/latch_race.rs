//! Two processes try to take the same latches; each latch has exactly one winner.

use std::process::{Command, Stdio};

use god_runtime::latch::{Latch, Taken, Verdict};
use god_runtime::launch::Key;

const TASKS: u64 = 10_000;
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
    let dir = std::path::PathBuf::from(dir);
    let latch = Latch::open(&dir).unwrap();
    // Both wait here until both are ready, so that they truly run against each other.
    std::fs::write(dir.join(format!("ready-{verdict:?}")), "").unwrap();
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !(dir.join("ready-Started").exists() && dir.join("ready-Abandoned").exists()) {
        assert!(std::time::Instant::now() < limit, "the other contender never came");
        std::thread::yield_now();
    }
    let mut won = String::new();
    for task in 0..TASKS {
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
