//! What a new keeper must know when the old one was killed: which jobs it meant to start, which
//! it started, how they ended, and which results are stored elsewhere by now.
//!
//! One JSON value a line, appended once for each turn of the loop, never synced: the processes it
//! speaks of do not survive what a sync protects against.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use god_runtime::launch::{ExitRecord, Key, Needs, Timing};
use serde::{Deserialize, Serialize};

/// Forgotten entries after which the file is written anew.
const COMPACT_AFTER: usize = 8192;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// A keeper began, in this boot of the machine.
    Boot(String),
    /// A job is about to be started.
    Intent(Intent),
    /// It was started.
    Started(Start),
    /// It ended.
    Exited(Key, ExitRecord),
    /// It was taken out before it started.
    NeverRan(Key),
    /// Its result is stored elsewhere.
    Forgot(Vec<Key>),
}

/// What is needed to find a job again and to treat it rightly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Which attempt.
    pub key: Key,
    /// Mark of its processes.
    pub mark: u64,
    /// Number of its control group.
    pub slot: Option<u32>,
    /// What it takes.
    pub needs: Needs,
    /// How long it may take.
    pub timing: Timing,
}

/// The process of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Which attempt.
    pub key: Key,
    /// Process id.
    pub pid: i32,
    /// First and last tick of the clock at which it can have been made.
    pub ticks: (u64, u64),
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

/// A job as the journal leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// It may run. Without a start it is open whether it was started.
    Open {
        /// What it is.
        intent: Intent,
        /// Its process, if it was noted.
        start: Option<Start>,
        /// The machine has started anew since.
        other_boot: bool,
    },
    /// It ended.
    Exited(ExitRecord),
    /// It never ran.
    NeverRan,
}

/// The open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
    n_forgotten: usize,
}

impl Journal {
    /// Reads what an earlier keeper left, then starts a fresh file with what still matters of it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(path: &Path, boot: &str) -> io::Result<(Self, HashMap<Key, Past>)> {
        let past = match std::fs::read(path) {
            Ok(text) => replay(&text, boot),
            Err(err) if err.kind() == io::ErrorKind::NotFound => HashMap::new(),
            Err(err) => return Err(err),
        };
        let file = write_anew(path, past_lines(&past, boot))?;
        Ok((Self { path: path.to_owned(), file, pending: Vec::new(), n_forgotten: 0 }, past))
    }

    /// Notes a line; [`Self::flush`] writes it.
    pub fn note(&mut self, line: &Line) {
        if let Line::Forgot(keys) = line {
            self.n_forgotten += keys.len();
        }
        push_line(&mut self.pending, line);
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// Those of the file system; everything not written is kept for the next call.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// So much was forgotten that the file should be written anew.
    pub fn wants_compaction(&self) -> bool {
        self.n_forgotten >= COMPACT_AFTER
    }

    /// Replaces the file by these lines.
    ///
    /// # Errors
    /// Those of the file system; the old file then goes on.
    pub fn compact(&mut self, boot: &str, lines: impl Iterator<Item = Line>) -> io::Result<()> {
        // Not tried again at once when it fails.
        self.n_forgotten = 0;
        self.file = write_anew(&self.path, [Line::Boot(boot.to_owned())].into_iter().chain(lines))?;
        self.pending.clear();
        Ok(())
    }
}

fn push_line(buffer: &mut Vec<u8>, line: &Line) {
    serde_json::to_writer(&mut *buffer, line).expect("plain data always becomes JSON in memory");
    buffer.push(b'\n');
}

fn write_anew(path: &Path, lines: impl Iterator<Item = Line>) -> io::Result<File> {
    let draft = path.with_extension("new");
    let mut text = Vec::new();
    lines.for_each(|line| push_line(&mut text, &line));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&text)?;
    drop(file);
    let file = OpenOptions::new().append(true).open(&draft)?;
    std::fs::rename(&draft, path)?;
    Ok(file)
}

fn past_lines(past: &HashMap<Key, Past>, boot: &str) -> impl Iterator<Item = Line> {
    let of_job = |(key, past): (&Key, &Past)| match past {
        // What another boot left open is settled by the caller, and noted then.
        Past::Open { intent, start, .. } => {
            [Some(Line::Intent(intent.clone())), start.map(Line::Started)].into_iter().flatten().collect()
        }
        Past::Exited(record) => vec![Line::Exited(*key, record.clone())],
        Past::NeverRan => vec![Line::NeverRan(*key)],
    };
    [Line::Boot(boot.to_owned())].into_iter().chain(past.iter().flat_map(of_job))
}

/// A line cut off by the death of a keeper is skipped, and so is what no version wrote.
fn replay(text: &[u8], boot: &str) -> HashMap<Key, Past> {
    let mut past = HashMap::new();
    let mut other_boot = true;
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
        match line {
            Line::Boot(of_line) => other_boot = of_line != boot,
            Line::Intent(intent) => {
                past.insert(intent.key, Past::Open { intent, start: None, other_boot });
            }
            Line::Started(started) => {
                if let Some(Past::Open { start, .. }) = past.get_mut(&started.key) {
                    *start = Some(started);
                }
            }
            Line::Exited(key, record) => drop(past.insert(key, Past::Exited(record))),
            Line::NeverRan(key) => drop(past.insert(key, Past::NeverRan)),
            Line::Forgot(keys) => keys.iter().for_each(|key| drop(past.remove(key))),
        }
    }
    past
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(task: u64) -> Key {
        Key { task, attempt: 1 }
    }

    fn intent(task: u64) -> Intent {
        Intent {
            key: key(task),
            mark: task + 100,
            slot: None,
            needs: Needs::default(),
            timing: Timing::default(),
        }
    }

    fn start(task: u64) -> Start {
        Start { key: key(task), pid: 4, ticks: (5, 6), at_ms: 7 }
    }

    fn lines() -> Vec<Line> {
        vec![
            Line::Intent(intent(1)),
            Line::Intent(intent(2)),
            Line::Started(start(1)),
            Line::Intent(intent(3)),
            Line::Exited(key(3), ExitRecord { code: Some(3), ..ExitRecord::default() }),
            Line::NeverRan(key(4)),
            Line::Intent(intent(5)),
            Line::Exited(key(5), ExitRecord::default()),
            Line::Forgot(vec![key(5)]),
        ]
    }

    fn expected(other_boot: bool) -> HashMap<Key, Past> {
        [
            (key(1), Past::Open { intent: intent(1), start: Some(start(1)), other_boot }),
            (key(2), Past::Open { intent: intent(2), start: None, other_boot }),
            (key(3), Past::Exited(ExitRecord { code: Some(3), ..ExitRecord::default() })),
            (key(4), Past::NeverRan),
        ]
        .into()
    }

    #[test]
    fn a_successor_reads_what_was_noted() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("journal");
        let (mut journal, past) = Journal::open(&path, "boot 1").unwrap();
        assert!(past.is_empty());
        lines().iter().for_each(|line| journal.note(line));
        journal.flush().unwrap();
        let (_, past) = Journal::open(&path, "boot 1").unwrap();
        assert_eq!(past, expected(false));
        let (_, past) = Journal::open(&path, "boot 1").unwrap();
        assert_eq!(past, expected(false), "rewriting the file lost something");
        let (_, past) = Journal::open(&path, "boot 2").unwrap();
        assert_eq!(past, expected(true));
    }

    #[test]
    fn a_line_cut_anywhere_costs_only_itself() {
        let mut text = Vec::new();
        push_line(&mut text, &Line::Boot("b".to_owned()));
        push_line(&mut text, &Line::Intent(intent(1)));
        let whole = text.len();
        push_line(&mut text, &Line::Started(start(1)));
        for cut in whole..text.len() - 1 {
            let past = replay(&text[..cut], "b");
            assert_eq!(
                past[&key(1)],
                Past::Open { intent: intent(1), start: None, other_boot: false },
                "{cut}"
            );
        }
        assert!(replay(b"\xff\xfe\n{}\n[]\n\n{\"Exited\":3}", "b").is_empty());
    }

    #[test]
    fn compaction_keeps_what_it_is_given() {
        let keep = tempfile::tempdir().unwrap();
        let path = keep.path().join("journal");
        let (mut journal, _) = Journal::open(&path, "b").unwrap();
        assert!(!journal.wants_compaction());
        journal.note(&Line::Forgot((0..COMPACT_AFTER as u64).map(key).collect()));
        assert!(journal.wants_compaction());
        journal.compact("b", [Line::NeverRan(key(9))].into_iter()).unwrap();
        assert!(!journal.wants_compaction());
        journal.note(&Line::NeverRan(key(10)));
        journal.flush().unwrap();
        let (_, past) = Journal::open(&path, "b").unwrap();
        assert_eq!(past.len(), 2);
        assert!(std::fs::metadata(&path).unwrap().len() < 1000);
    }
}
