//! Documents as rows, and rows as documents.

use crate::Shared;
use crate::fault::Fault;
use god_core::state::{TaskState, Wish};
use god_core::task::{Children, Failures};
use god_core::{OpId, Rev, Task, TaskId, TaskSpec, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// The part of a document that no query looks into.
#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(rename = "s")]
    state: Cow<'a, TaskState>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    wish: Option<Cow<'a, Wish>>,
    #[serde(rename = "a", default)]
    attempts: u32,
    #[serde(rename = "f", default, skip_serializing_if = "is_empty")]
    failures: Cow<'a, Failures>,
}

fn is_empty(failures: &Failures) -> bool {
    failures.count == 0 && failures.nodes.is_empty() && failures.reason.is_none()
}

/// A document's body, as it is stored.
pub(crate) fn body_of(task: &Task) -> Vec<u8> {
    encode(&Body {
        state: Cow::Borrowed(&task.state),
        wish: task.wish.as_ref().map(Cow::Borrowed),
        attempts: task.attempts,
        failures: Cow::Borrowed(&task.failures),
    })
}

/// Anything of ours as it is stored.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value)
        .expect("our types have text keys only and no serializer of their own that fails")
}

/// What was stored with [`encode`].
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8], place: &str) -> Result<T, Fault> {
    serde_json::from_slice(bytes).map_err(|err| corrupt(place, err))
}

/// A fault of what is stored.
pub(crate) fn corrupt(place: &str, what: impl std::fmt::Display) -> Fault {
    Fault::Corrupt { place: place.to_owned(), what: what.to_string() }
}

/// A number of ours as SQLite stores it. Numbers above its range do not occur.
pub(crate) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A number that SQLite gave back.
pub(crate) fn uint(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// Reads documents within one snapshot.
pub(crate) struct Reader<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) shared: &'c Shared,
    /// Specifications of arrays that were met in this snapshot.
    arrays: HashMap<TaskId, Arc<TaskSpec>>,
}

pub(crate) const TASK: &str =
    "SELECT parent, rev, op, submitted, made, over, failed, fields, body, disk FROM task WHERE id = ?1";

/// The only array that an id without a document may belong to.
pub(crate) const ARRAY_BEFORE: &str =
    "SELECT id, kids FROM task WHERE kids > 0 AND id < ?1 ORDER BY id DESC LIMIT 1";

impl<'c> Reader<'c> {
    pub(crate) fn new(conn: &'c Connection, shared: &'c Shared) -> Reader<'c> {
        Reader { conn, shared, arrays: HashMap::new() }
    }

    /// The document with this id.
    pub(crate) fn task(&mut self, id: TaskId) -> Result<Option<Task>, Fault> {
        let mut statement = self.conn.prepare_cached(TASK)?;
        let mut rows = statement.query([int(id.0)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let parent = row.get::<_, Option<i64>>(0)?.map(|id| TaskId(uint(id)));
        let place = || format!("task {id}");
        let body = row.get_ref(8)?.as_blob().map_err(|err| corrupt(&place(), err))?;
        let body: Body<'_> = serde_json::from_slice(body).map_err(|err| corrupt(&place(), err))?;
        let spec = match (parent, row.get::<_, Option<i64>>(7)?) {
            (Some(parent), _) => self.array_spec(parent)?,
            (None, Some(hash)) => self.spec(id, hash)?,
            (None, None) => return Err(corrupt(&place(), "no hash of its fields")),
        };
        Ok(Some(Task {
            id,
            parent,
            ordinal: parent.map(|parent| id.0.wrapping_sub(parent.0).wrapping_sub(1)),
            spec,
            submitted: Timestamp(row.get(3)?),
            state: body.state.into_owned(),
            wish: body.wish.map(Cow::into_owned),
            attempts: body.attempts,
            failures: body.failures.into_owned(),
            children: Children {
                made: uint(row.get(4)?),
                over: uint(row.get(5)?),
                failed: uint(row.get(6)?),
            },
            disk: row.get::<_, Option<i64>>(9)?.map(uint),
            rev: Rev(uint(row.get(1)?)),
            op: OpId(row.get::<_, i64>(2)?.cast_unsigned()),
        }))
    }

    /// The document with this id, or the child that its parent stands for.
    pub(crate) fn task_or_child(&mut self, id: TaskId) -> Result<Option<Task>, Fault> {
        // No id of ours is above SQLite's range.
        if i64::try_from(id.0).is_err() {
            return Ok(None);
        }
        if let Some(task) = self.task(id)? {
            return Ok(Some(task));
        }
        let array = self
            .conn
            .prepare_cached(ARRAY_BEFORE)?
            .query_row([int(id.0)], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?;
        let Some((parent, kids)) = array else { return Ok(None) };
        let parent = TaskId(uint(parent));
        let ordinal = id.0 - parent.0 - 1;
        if ordinal >= uint(kids) {
            return Ok(None);
        }
        Ok(self.task(parent)?.and_then(|parent| parent.child(ordinal)))
    }

    /// Documents of these ids; one that is missing is a fault of the indexes.
    pub(crate) fn tasks(&mut self, ids: &[i64]) -> Result<Vec<Task>, Fault> {
        ids.iter()
            .map(|id| {
                let id = TaskId(uint(*id));
                self.task(id)?.ok_or_else(|| corrupt(&format!("task {id}"), "indexed, but not there"))
            })
            .collect()
    }

    fn array_spec(&mut self, parent: TaskId) -> Result<Arc<TaskSpec>, Fault> {
        if let Some(spec) = self.arrays.get(&parent) {
            return Ok(Arc::clone(spec));
        }
        let hash = self
            .conn
            .prepare_cached("SELECT fields FROM task WHERE id = ?1")?
            .query_row([int(parent.0)], |row| row.get::<_, Option<i64>>(0))
            .optional()?
            .flatten()
            .ok_or_else(|| corrupt(&format!("task {parent}"), "children, but no parent"))?;
        let spec = self.spec(parent, hash)?;
        self.arrays.insert(parent, Arc::clone(&spec));
        Ok(spec)
    }

    fn spec(&self, id: TaskId, hash: i64) -> Result<Arc<TaskSpec>, Fault> {
        if let Some(spec) = self.shared.specs.get(id, hash) {
            return Ok(spec);
        }
        let place = || format!("specification of task {id}");
        let mut statement = self.conn.prepare_cached("SELECT body FROM spec WHERE id = ?1")?;
        let mut rows = statement.query([int(id.0)])?;
        let row = rows.next()?.ok_or_else(|| corrupt(&place(), "not there"))?;
        let body = row.get_ref(0)?.as_blob().map_err(|err| corrupt(&place(), err))?;
        let spec: Arc<TaskSpec> = Arc::new(decode(body, &place())?);
        self.shared.specs.put(id, hash, Arc::clone(&spec));
        Ok(spec)
    }
}
