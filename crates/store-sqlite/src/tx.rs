//! One transaction of the writer. What many operations of a group would write again and again (counters, sums,
//! counters of arrays) is kept here and written once, before the commit.

use crate::Shared;
use crate::fault::Fault;
use crate::row::{corrupt, int, uint};
use god_core::state::Phase;
use god_core::store::{ChangeNote, Seq};
use god_core::task::Children;
use god_core::usage::{UsageRecord, UsageSum};
use god_core::{Rev, Task, TaskId};
use god_store::rules::{self, Effect, Head};
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;

/// Notes beyond the wanted number that may wait before some are removed.
const NOTES_SLACK: u64 = 256;

/// A transaction.
pub(crate) struct Tx<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) shared: &'c Shared,
    next_id: Option<TaskId>,
    first_seq: u64,
    last_seq: Option<u64>,
    notes: Vec<ChangeNote>,
    tasks: Vec<Task>,
    counts: HashMap<String, [i64; Phase::ALL.len()]>,
    pending: HashMap<String, u64>,
    disk: HashMap<String, i64>,
    used: HashMap<(UsedBy, String, i32), UsageSum>,
    arrays: HashMap<TaskId, Array>,
}

/// Whose sum a row of `used` is; the numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum UsedBy {
    User = 0,
    Project = 1,
}

/// What the rules and the writes need of a stored document.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) head: Head,
    pub(crate) owner: String,
    pub(crate) fields: Option<i64>,
}

struct Array {
    stored: Stored,
    counted: bool,
}

pub(crate) const STORED: &str = "SELECT parent, rev, phase, killing, kids, made, over, failed, owner, fields, disk FROM task WHERE id = ?1";

/// In `counter`, all owners together.
pub(crate) const EVERYBODY: &str = "";

impl<'c> Tx<'c> {
    pub(crate) fn new(conn: &'c Connection, shared: &'c Shared) -> Tx<'c> {
        Tx {
            conn,
            shared,
            next_id: None,
            first_seq: 0,
            last_seq: None,
            notes: Vec::new(),
            tasks: Vec::new(),
            counts: HashMap::new(),
            pending: HashMap::new(),
            disk: HashMap::new(),
            used: HashMap::new(),
            arrays: HashMap::new(),
        }
    }

    /// The id that is given next.
    pub(crate) fn next_id(&mut self) -> Result<TaskId, Fault> {
        if let Some(id) = self.next_id {
            return Ok(id);
        }
        let id = TaskId(uint(self.meta("next_id")?));
        self.next_id = Some(id);
        Ok(id)
    }

    /// Takes all ids below this one.
    pub(crate) fn set_next_id(&mut self, id: TaskId) {
        self.next_id = Some(id);
    }

    /// A number that never goes back.
    pub(crate) fn meta(&self, name: &str) -> Result<i64, Fault> {
        Ok(self
            .conn
            .prepare_cached("SELECT n FROM meta WHERE name = ?1")?
            .query_row([name], |row| row.get(0))?)
    }

    pub(crate) fn set_meta(&self, name: &str, n: i64) -> Result<(), Fault> {
        self.conn.prepare_cached("UPDATE meta SET n = ?2 WHERE name = ?1")?.execute((name, n))?;
        Ok(())
    }

    /// The document with this id, with what this transaction added to it so far.
    pub(crate) fn stored(&mut self, id: TaskId) -> Result<Option<Stored>, Fault> {
        if let Some(array) = self.arrays.get(&id) {
            return Ok(Some(array.stored.clone()));
        }
        // No id of ours is above SQLite's range.
        let Ok(number) = i64::try_from(id.0) else { return Ok(None) };
        let found = self
            .conn
            .prepare_cached(STORED)?
            .query_row([number], |row| {
                let phase: u8 = row.get(2)?;
                let disk = row.get::<_, Option<i64>>(10)?.map_or(0, uint);
                let head = Head {
                    id,
                    parent: row.get::<_, Option<i64>>(0)?.map(|id| TaskId(uint(id))),
                    rev: Rev(uint(row.get(1)?)),
                    phase: Phase::from_code(phase)
                        .ok_or(rusqlite::Error::IntegralValueOutOfRange(2, i64::from(phase)))?,
                    killing: row.get(3)?,
                    kids: uint(row.get(4)?),
                    children: Children {
                        made: uint(row.get(5)?),
                        over: uint(row.get(6)?),
                        failed: uint(row.get(7)?),
                    },
                    disk: if phase == Phase::Over.code() { disk } else { 0 },
                };
                Ok(Stored { head, owner: row.get(8)?, fields: row.get(9)? })
            })
            .optional()?;
        if let Some(stored) = found.as_ref().filter(|stored| stored.head.kids > 0) {
            self.arrays.insert(id, Array { stored: stored.clone(), counted: false });
        }
        Ok(found)
    }

    /// Adds to an array's counters.
    pub(crate) fn count_children(&mut self, parent: TaskId, effect: &Effect) -> Result<(), Fault> {
        if effect.parent == Children::default() {
            return Ok(());
        }
        let array = self
            .arrays
            .get_mut(&parent)
            .ok_or_else(|| corrupt(&format!("task {parent}"), "children, but no array"))?;
        rules::add_children(&mut array.stored.head.children, &effect.parent);
        array.counted = true;
        Ok(())
    }

    /// Takes note of a document that was written, so that later operations of the group see it.
    pub(crate) fn rewritten(&mut self, id: TaskId, change: impl FnOnce(&mut Stored)) {
        if let Some(array) = self.arrays.get_mut(&id) {
            change(&mut array.stored);
        }
    }

    /// Forgets a document that was removed.
    pub(crate) fn removed(&mut self, id: TaskId) {
        self.arrays.remove(&id);
    }

    /// Adds to the owner's numbers of tasks and to everybody's.
    pub(crate) fn count(&mut self, owner: &str, moved: &[i64; Phase::ALL.len()]) {
        for who in [owner, EVERYBODY] {
            let counts = match self.counts.get_mut(who) {
                Some(counts) => counts,
                None => self.counts.entry(who.to_owned()).or_default(),
            };
            for (n, delta) in counts.iter_mut().zip(moved) {
                *n += delta;
            }
        }
    }

    /// Adds to the bytes that count for a user.
    pub(crate) fn fill(&mut self, owner: &str, moved: i64) {
        match self.disk.get_mut(owner) {
            Some(bytes) => *bytes += moved,
            None if moved != 0 => drop(self.disk.insert(owner.to_owned(), moved)),
            None => {}
        }
    }

    /// Number of an owner's pending tasks at this point of the transaction.
    pub(crate) fn pending(&mut self, owner: &str) -> Result<u64, Fault> {
        let before = match self.pending.get(owner) {
            Some(n) => *n,
            None => {
                let n: Option<i64> = self
                    .conn
                    .prepare_cached("SELECT n FROM counter WHERE owner = ?1 AND phase = ?2")?
                    .query_row((owner, Phase::Pending.code()), |row| row.get(0))
                    .optional()?;
                let n = uint(n.unwrap_or(0));
                self.pending.insert(owner.to_owned(), n);
                n
            }
        };
        let moved = self.counts.get(owner).map_or(0, |counts| counts[usize::from(Phase::Pending.code())]);
        Ok(before.saturating_add_signed(moved))
    }

    /// Books an attempt, if it was not booked before.
    pub(crate) fn book(&mut self, record: &UsageRecord) -> Result<(), Fault> {
        let new = self
            .conn
            .prepare_cached("INSERT OR IGNORE INTO ledger VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute((
                int(record.key.task.0),
                record.key.attempt,
                record.owner.as_str(),
                record.project.as_str(),
                record.day.0,
                record.cores.0,
                record.ram,
                int(record.millis),
            ))?;
        if new > 0 {
            for (by, who) in
                [(UsedBy::User, record.owner.as_str()), (UsedBy::Project, record.project.as_str())]
            {
                let sum = self.used.entry((by, who.to_owned(), record.day.0)).or_default();
                sum.cores += u64::from(record.cores.0);
                sum.ram += u64::from(record.ram);
                sum.millis += record.millis;
            }
        }
        Ok(())
    }

    /// Drops what this transaction would add to somebody's sums.
    pub(crate) fn forget_used(&mut self, by: UsedBy, who: &str) {
        self.used.retain(|(b, w, _), _| *b != by || w != who);
    }

    /// Adds an entry to the change sequence; `note` makes it from its position.
    pub(crate) fn note(&mut self, note: impl FnOnce(Seq) -> ChangeNote) -> Result<(), Fault> {
        let last = match self.last_seq {
            Some(last) => last,
            None => {
                let head = crate::bell::head(self.conn)?.0;
                self.first_seq = head + 1;
                head
            }
        };
        let note = note(Seq(last + 1));
        self.conn.prepare_cached("INSERT INTO note VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute((
            int(note.seq.0),
            int(note.task.0),
            note.parent.map(|id| int(id.0)),
            note.phase.code(),
            note.wished,
            int(note.rev.0),
            note.ends,
        ))?;
        self.last_seq = Some(last + 1);
        self.notes.push(note);
        Ok(())
    }

    /// Keeps a document that is written here for those who hear of it soon. Not kept is one whose counters change without
    /// a new version, one that nobody follows any more, and a child's: its specification is its parent's as that stands now,
    /// and whoever wrote the child may have read an older one.
    pub(crate) fn keep(&mut self, id: TaskId, task: &Task) {
        if task.array().is_none() && task.parent.is_none() && !task.phase().is_over() {
            self.tasks.push(Task { id, ..task.clone() });
        }
    }

    /// What this transaction wrote, to be remembered once it is durable.
    pub(crate) fn written(&mut self) -> (Vec<ChangeNote>, Vec<Task>) {
        (std::mem::take(&mut self.notes), std::mem::take(&mut self.tasks))
    }

    /// Writes what was gathered. Returns the new head when something changed.
    pub(crate) fn flush(&mut self) -> Result<Option<Seq>, Fault> {
        for (id, array) in self.arrays.drain().filter(|(_, array)| array.counted) {
            let Children { made, over, failed } = array.stored.head.children;
            self.conn
                .prepare_cached("UPDATE task SET made = ?2, over = ?3, failed = ?4 WHERE id = ?1")?
                .execute((int(id.0), int(made), int(over), int(failed)))?;
        }
        for (owner, moved) in self.counts.drain() {
            for (phase, delta) in Phase::ALL.into_iter().zip(moved).filter(|(_, delta)| *delta != 0) {
                self.conn
                    .prepare_cached(
                        "INSERT INTO counter VALUES (?1, ?2, ?3)
                         ON CONFLICT DO UPDATE SET n = n + excluded.n",
                    )?
                    .execute((&owner, phase.code(), delta))?;
            }
        }
        for ((by, who, day), sum) in self.used.drain() {
            self.conn
                .prepare_cached(
                    "INSERT INTO used VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT DO UPDATE SET cores = cores + excluded.cores, ram = ram + excluded.ram,
                         millis = millis + excluded.millis",
                )?
                .execute((day, by as u8, &who, int(sum.cores), int(sum.ram), int(sum.millis)))?;
        }
        for (owner, moved) in self.disk.drain().filter(|(_, moved)| *moved != 0) {
            self.conn
                .prepare_cached(
                    "INSERT INTO disk VALUES (?1, max(0, ?2))
                     ON CONFLICT DO UPDATE SET bytes = max(0, bytes + ?2)",
                )?
                .execute((&owner, moved))?;
        }
        if let Some(id) = self.next_id {
            self.set_meta("next_id", int(id.0))?;
        }
        let Some(head) = self.last_seq else { return Ok(None) };
        self.trim(head)?;
        Ok(Some(Seq(head)))
    }

    /// Removes the oldest notes: more than are added, so that it comes to an end, but never very many at once.
    fn trim(&self, head: u64) -> Result<(), Fault> {
        let oldest: i64 =
            self.conn.prepare_cached("SELECT min(seq) FROM note")?.query_row([], |row| row.get(0))?;
        let (oldest, kept) = (uint(oldest), self.shared.notes_kept.max(1));
        if head - oldest < kept.saturating_add(NOTES_SLACK) {
            return Ok(());
        }
        let added = head + 1 - self.first_seq;
        let until = (head + 1 - kept).min(oldest + 2 * (added + NOTES_SLACK));
        self.conn.prepare_cached("DELETE FROM note WHERE seq < ?1")?.execute([int(until)])?;
        Ok(())
    }
}
