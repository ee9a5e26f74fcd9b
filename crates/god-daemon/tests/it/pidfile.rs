//! The process file with real processes.

use god_daemon::pidfile::{PidFile, PidFileError, Stopped, running, stop};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// A process of this test that is ended with it.
struct Stranger(Child);

impl Stranger {
    fn start() -> Stranger {
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts");
        Stranger(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().expect("our child").is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().expect("our child");
        self.0.wait().expect("our child");
    }
}

/// A shell that holds the lock on the file, writes its number there and does what `more` says.
fn daemon(path: &Path, more: &str) -> Stranger {
    let script = format!("exec 9<>\"$0\"; flock -w 5 9 || exit 9; echo $$ >&9; {more}");
    let child = Command::new("bash").arg("-c").arg(script).arg(path).spawn().expect("bash starts");
    let daemon = Stranger(child);
    let begun = Instant::now();
    while !matches!(running(path), Ok(Some(pid)) if pid.unsigned_abs() == daemon.pid()) {
        assert!(begun.elapsed() < PATIENCE, "the process did not take the file: {:?}", running(path));
        std::thread::sleep(Duration::from_millis(10));
    }
    daemon
}

#[test]
fn a_second_daemon_is_refused_and_the_first_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pid");
    let held = PidFile::take(&path).unwrap();
    assert_eq!(running(&path).unwrap(), i32::try_from(std::process::id()).ok());
    let error = PidFile::take(&path).unwrap_err();
    assert!(
        matches!(&error, PidFileError::Runs { pid, .. } if *pid == std::process::id().to_string()),
        "{error}"
    );
    drop(held);
    assert!(!path.exists(), "a daemon that ended leaves no file");
    assert_eq!(running(&path).unwrap(), None);
    PidFile::take(&path).unwrap();
}

#[test]
fn a_file_left_by_a_dead_daemon_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pid");
    let mut dead = daemon(&path, "exec sleep 600");
    dead.0.kill().unwrap();
    dead.0.wait().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), dead.pid().to_string());
    assert_eq!(stop(&path, PATIENCE).unwrap(), Stopped::NotRunning);
    let held = PidFile::take(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
    drop(held);
}

#[test]
fn a_number_that_belongs_to_somebody_else_now_is_not_signalled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pid");
    let mut stranger = Stranger::start();

    // The daemon is dead, and its number went to a stranger.
    fs::write(&path, format!("{}\n", stranger.pid())).unwrap();
    assert_eq!(stop(&path, PATIENCE).unwrap(), Stopped::NotRunning);
    assert!(stranger.lives());

    // Somebody holds the file, and the number in it is a stranger's.
    let held = PidFile::take(&path).unwrap();
    fs::write(&path, format!("{}\n", stranger.pid())).unwrap();
    let error = stop(&path, PATIENCE).unwrap_err();
    assert!(matches!(error, PidFileError::Stranger { .. }), "{error}");
    assert!(stranger.lives());

    // Numbers that would mean all processes, or none.
    for odd in ["-1", "0", "1", "", "x", "99999999999999"] {
        fs::write(&path, odd).unwrap();
        let error = stop(&path, PATIENCE).unwrap_err();
        assert!(matches!(error, PidFileError::Stranger { .. }), "{odd}: {error}");
    }
    drop(held);
}

#[test]
fn stop_asks_and_waits_and_says_when_it_was_in_vain() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pid");
    let mut polite = daemon(&path, "exec sleep 600");
    // Somebody must take note of the end, as init would for a real daemon.
    let pid = i32::try_from(polite.pid()).unwrap();
    assert_eq!(stop(&path, PATIENCE).unwrap(), Stopped::Ended(pid));
    assert_eq!(polite.0.wait().unwrap().signal(), Some(15));

    let mut deaf = daemon(&path, "trap '' TERM; exec sleep 600");
    let pid = i32::try_from(deaf.pid()).unwrap();
    let begun = Instant::now();
    assert_eq!(stop(&path, Duration::from_millis(300)).unwrap(), Stopped::StillRuns(pid));
    assert!(begun.elapsed() >= Duration::from_millis(300) && deaf.lives());
}

#[test]
fn there_is_never_more_than_one_holder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pid");
    let holders = AtomicU32::new(0);
    let taken = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..150 {
                    // Refused because somebody else holds it: that is what it is for.
                    let Ok(held) = PidFile::take(&path) else { continue };
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two holders");
                    taken.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    holders.fetch_sub(1, Ordering::SeqCst);
                    drop(held);
                }
            });
        }
    });
    assert!(taken.into_inner() > 100);
    assert!(!path.exists());
}
