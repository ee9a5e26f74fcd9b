//! What has become of the tasks of a list: one line of JSON for each thing that happened, added at the end of a file. A
//! line that a crash cut short is left out.
//!
//! A submission is written before it is sent, with the key under which the server makes one task of it, so that nothing
//! is submitted twice however the client ends.

use crate::failure::Failure;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    task: String,
    #[serde(flatten)]
    happened: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// It is about to be submitted under this key.
    Sending(String),
    /// The server took it under this id.
    Added(u64),
    /// It is over, with this exit code if it has one.
    Over(Option<i64>),
}

/// How far a task has got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stage {
    /// Nothing was done yet.
    #[default]
    Waiting,
    /// It may have been submitted under this key; nobody knows.
    Sending(String),
    /// The server has it.
    Active(u64),
    /// It is over.
    Over(u64, Option<i64>),
}

impl Stage {
    /// One word for people and scripts.
    pub fn word(&self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::Sending(_) => "sending",
            Stage::Active(_) => "active",
            Stage::Over(_, Some(0)) => "done",
            Stage::Over(..) => "failed",
        }
    }

    /// Its id, once it has one.
    pub fn id(&self) -> Option<u64> {
        match self {
            Stage::Active(id) | Stage::Over(id, _) => Some(*id),
            Stage::Waiting | Stage::Sending(_) => None,
        }
    }

    /// Its exit code, if it has one.
    pub fn code(&self) -> Option<i64> {
        match self {
            Stage::Over(_, code) => *code,
            _ => None,
        }
    }

    fn then(self, happened: &Happened) -> Stage {
        match (self, happened) {
            (_, Happened::Sending(key)) => Stage::Sending(key.clone()),
            (_, Happened::Added(id)) => Stage::Active(*id),
            (Stage::Active(id) | Stage::Over(id, _), Happened::Over(code)) => Stage::Over(id, *code),
            (other, Happened::Over(_)) => other,
        }
    }
}

/// The file, and what it says.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    /// `None` for one that is only read.
    file: Option<File>,
    stages: HashMap<String, Stage>,
}

impl Log {
    /// Reads what is there; nothing when there is no file.
    ///
    /// # Errors
    /// [`Failure::File`], or [`Failure::Usage`] when it is something else.
    pub fn read(path: &Path) -> Result<Log, Failure> {
        let mut log = Log { path: path.to_owned(), file: None, stages: HashMap::new() };
        match std::fs::read(path) {
            Ok(bytes) => log.take(&bytes).map(|_| log),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(log),
            Err(err) => Err(log.failed("cannot read", err)),
        }
    }

    /// Opens it for one player alone, and reads what is there unless it is to begin anew.
    ///
    /// # Errors
    /// As [`Log::read`]; [`Failure::Usage`] when the list is played already.
    pub fn open(path: &Path, anew: bool) -> Result<Log, Failure> {
        let mut log = Log { path: path.to_owned(), file: None, stages: HashMap::new() };
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = opened.map_err(|err| log.failed("cannot write", err))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Failure::Usage(format!("{} is in use: this list is played already", path.display()))
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|err| log.failed("cannot read", err))?;
        let whole = if anew { 0 } else { log.take(&bytes)? };
        // What is written next stands on a line of its own, whatever a crash has left.
        let cut = file.set_len(whole as u64).and_then(|()| file.seek(io::SeekFrom::End(0)));
        cut.map_err(|err| log.failed("cannot write", err))?;
        log.file = Some(file);
        Ok(log)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Failure {
        Failure::File { doing, path: self.path.clone(), source }
    }

    /// Takes over whole lines; gives their length.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for (at, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let line: Line = serde_json::from_slice(line).map_err(|err| {
                Failure::Usage(format!(
                    "{}, line {}: no record of a list ({err}). Name another file with --state, or begin anew with \
                     --restart",
                    self.path.display(),
                    at + 1
                ))
            })?;
            let stage = self.stages.entry(line.task).or_default();
            *stage = std::mem::take(stage).then(&line.happened);
        }
        Ok(whole)
    }

    /// How far this task has got.
    pub fn stage(&self, task: &str) -> Stage {
        self.stages.get(task).cloned().unwrap_or_default()
    }

    /// Writes down what happened; it survives the end of this program.
    ///
    /// # Errors
    /// [`Failure::File`].
    pub fn add(&mut self, task: &str, happened: Happened) -> Result<(), Failure> {
        let line = Line { task: task.to_owned(), happened };
        let mut text = serde_json::to_string(&line).expect("texts and numbers are JSON");
        text.push('\n');
        if let Some(mut file) = self.file.as_ref() {
            let written = file.write_all(text.as_bytes());
            // The key must be there after a power cut; what comes after it the server knows as well.
            let kept = match line.happened {
                Happened::Sending(_) => written.and_then(|()| file.sync_data()),
                _ => written,
            };
            kept.map_err(|err| self.failed("cannot write", err))?;
        }
        let stage = self.stages.entry(line.task).or_default();
        *stage = std::mem::take(stage).then(&line.happened);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.state");
        assert_eq!(Log::read(&path).expect("nothing there").stage("1 a"), Stage::Waiting);
        let mut log = Log::open(&path, false).expect("opened");
        log.add("1 a", Happened::Sending("k1".into())).expect("written");
        log.add("1 a", Happened::Added(7)).expect("written");
        log.add("1 b", Happened::Sending("k2".into())).expect("written");
        log.add("1 a", Happened::Over(Some(3))).expect("written");
        let busy = Log::open(&path, false).expect_err("locked").to_string();
        assert!(busy.contains("played already"), "{busy}");
        drop(log);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("there").permissions());
        assert_eq!(mode & 0o777, 0o600);

        // A line that was cut short is as if it had not been.
        let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"{\"task\":\"1 b\",\"added\":8").expect("written");
        drop(file);
        let mut log = Log::open(&path, false).expect("opened");
        assert_eq!(log.stage("1 a"), Stage::Over(7, Some(3)));
        assert_eq!(log.stage("1 b"), Stage::Sending("k2".into()));
        log.add("1 b", Happened::Added(9)).expect("written");
        log.add("1 c", Happened::Added(10)).expect("written");
        log.add("1 c", Happened::Over(None)).expect("written");
        drop(log);
        assert_eq!(Log::read(&path).expect("read").stage("1 c"), Stage::Over(10, None));
        assert_eq!(Log::read(&path).expect("read").stage("1 b"), Stage::Active(9));
        let words = [Stage::Waiting, Stage::Active(1), Stage::Over(1, Some(0)), Stage::Over(1, None)]
            .map(|s| s.word());
        assert_eq!(words, ["waiting", "active", "done", "failed"]);

        drop(Log::open(&path, true).expect("opened"));
        assert_eq!(Log::read(&path).expect("read").stage("1 a"), Stage::Waiting);
    }

    #[test]
    fn another_file_is_not_taken_for_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.state");
        std::fs::write(&path, "precious\n").expect("written");
        let text = Log::open(&path, false).expect_err("no record").to_string();
        assert!(text.contains("line 1: no record of a list") && text.contains("--state"), "{text}");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "precious\n");
    }
}
