//! Processes of jobs that are alive, found by their environment: nobody is asked.

use std::fs;
use std::path::Path;

/// A process of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alive {
    /// Process id.
    pub pid: u32,
    /// The task it belongs to.
    pub task: u64,
}

/// The living processes of jobs whose directory lies below `shared`. Those that end meanwhile, and those of other users
/// when we are not root, are left out.
#[must_use]
pub fn alive(shared: &Path) -> Vec<Alive> {
    let mut found: Vec<Alive> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let task = task_of(&fs::read(entry.path().join("environ")).ok()?, shared)?;
            Some(Alive { pid, task })
        })
        .collect();
    found.sort_unstable();
    found
}

/// The task that an environment names, if its directory is one of ours.
fn task_of(environ: &[u8], shared: &Path) -> Option<u64> {
    let value = |name: &str| {
        let mut words = environ.split(|byte| *byte == 0);
        words.find_map(|word| std::str::from_utf8(word.strip_prefix(name.as_bytes())?).ok())
    };
    let is_ours = Path::new(value("GODOCKER_PWD=")?).starts_with(shared);
    value("GODOCKER_JID=")?.parse().ok().filter(|_| is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_job_of_ours_is_found_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = Command::new("sleep")
            .arg("60")
            .env("GODOCKER_JID", "41")
            .env("GODOCKER_PWD", dir.path().join("x"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let expected = Alive { pid: job.id(), task: 41 };
        let found = (alive(dir.path()), alive(Path::new("/no/such/place")));
        job.kill().unwrap();
        job.wait().unwrap();
        assert_eq!(found, (vec![expected], vec![]));
        assert_eq!(alive(dir.path()), []);
    }

    #[test]
    fn environments() {
        let task = |text: &str| task_of(text.as_bytes(), Path::new("/s"));
        assert_eq!(task("A=1\0GODOCKER_JID=5\0GODOCKER_PWD=/s/pairs/x\0"), Some(5));
        assert_eq!(task("GODOCKER_JID=5\0GODOCKER_PWD=/sister\0"), None);
        assert_eq!(task("GODOCKER_PWD=/s\0"), None);
        assert_eq!(task("XGODOCKER_JID=5\0GODOCKER_PWD=/s\0"), None);
    }
}
