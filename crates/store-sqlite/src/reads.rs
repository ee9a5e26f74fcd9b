//! Reading tasks: scans, lists, counts, the change sequence. No query of this file walks through the history.

use crate::bell;
use crate::fault::Fault;
use crate::row::{Reader, corrupt, int, uint};
use crate::tx::EVERYBODY;
use god_core::state::Phase;
use god_core::store::{ChangeNote, Changes, Counts, OverFilter, Scan, Seq};
use god_core::{Rev, Task, TaskId, UserId};
use std::ops::Range;

/// The statements, apart so that a test can look at their plans.
pub(crate) mod sql {
    pub(crate) const IN_PHASE: &str =
        "SELECT id FROM task WHERE phase = ?1 AND ended IS NULL AND id > ?2 ORDER BY id LIMIT ?3";
    pub(crate) const OVER_IN_PHASE: &str =
        "SELECT id FROM task WHERE phase = ?1 AND ended IS NOT NULL AND id > ?2 ORDER BY id LIMIT ?3";
    pub(crate) const ACTIVE_OF: &str =
        "SELECT id FROM task WHERE owner = ?1 AND ended IS NULL AND id > ?2 ORDER BY id LIMIT ?3";
    pub(crate) const CHILDREN: &str =
        "SELECT id FROM task WHERE id > ?1 AND id <= ?2 AND id > ?3 ORDER BY id LIMIT ?4";
    pub(crate) const ARRAY: &str = "SELECT kids FROM task WHERE id = ?1";
    pub(crate) const OVER: &str =
        "SELECT id FROM task WHERE ended IS NOT NULL ORDER BY ended DESC, id DESC LIMIT ?1 OFFSET ?2";
    pub(crate) const OVER_OF: &str = "SELECT id FROM task WHERE owner = ?3 AND ended IS NOT NULL
         ORDER BY ended DESC, id DESC LIMIT ?1 OFFSET ?2";
    pub(crate) const TO_REMOVE: &str =
        "SELECT id FROM task WHERE to_remove = 1 AND id > ?1 ORDER BY id LIMIT ?2";
    pub(crate) const COUNTS: &str = "SELECT phase, n FROM counter WHERE owner = ?1";
    pub(crate) const OLDEST: &str = "SELECT coalesce(min(seq), 0) FROM note";
    pub(crate) const NOTES: &str =
        "SELECT seq, task, parent, phase, wished, rev, ends FROM note WHERE seq > ?1 ORDER BY seq LIMIT ?2";
}

fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn ids(reader: &Reader<'_>, sql: &str, params: impl rusqlite::Params) -> Result<Vec<i64>, Fault> {
    let mut statement = reader.conn.prepare_cached(sql)?;
    let ids = statement.query_map(params, |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(ids)
}

pub(crate) fn scan(
    reader: &mut Reader<'_>,
    scan: &Scan,
    after: Option<TaskId>,
    limit: usize,
) -> Result<Vec<Task>, Fault> {
    let after = after.map_or(0, |id| int(id.0));
    let found = match scan {
        Scan::Active(Some(owner)) => ids(reader, sql::ACTIVE_OF, (owner.as_str(), after, limited(limit)))?,
        Scan::Active(None) => {
            let active: Vec<Phase> = Phase::ALL.into_iter().filter(|phase| !phase.is_over()).collect();
            in_phases(reader, &active, after, limit)?
        }
        Scan::Phases(phases) => in_phases(reader, phases, after, limit)?,
        Scan::ToRemove => ids(reader, sql::TO_REMOVE, (after, limited(limit)))?,
        Scan::ChildrenOf(parent) => {
            let last = last_child(reader, *parent)?;
            ids(reader, sql::CHILDREN, (int(parent.0), last, after, limited(limit)))?
        }
    };
    reader.tasks(&found)
}

/// Each phase has its own ascending list; together they are merged.
fn in_phases(reader: &Reader<'_>, phases: &[Phase], after: i64, limit: usize) -> Result<Vec<i64>, Fault> {
    let mut all = Vec::new();
    for phase in phases {
        let sql = if phase.is_over() { sql::OVER_IN_PHASE } else { sql::IN_PHASE };
        all.extend(ids(reader, sql, (phase.code(), after, limited(limit)))?);
    }
    all.sort_unstable();
    all.dedup();
    all.truncate(limit);
    Ok(all)
}

/// The last id that was set aside for an array's children; the parent's own when there are none.
pub(crate) fn last_child(reader: &Reader<'_>, parent: TaskId) -> Result<i64, Fault> {
    let kids = ids(reader, sql::ARRAY, [int(parent.0)])?;
    Ok(int(parent.0).saturating_add(kids.first().copied().unwrap_or(0)))
}

pub(crate) fn over(reader: &mut Reader<'_>, filter: &OverFilter) -> Result<Vec<Task>, Fault> {
    let (limit, skip) = (filter.limit.map_or(-1, limited), limited(filter.skip));
    let found = match &filter.owner {
        Some(owner) => ids(reader, sql::OVER_OF, (limit, skip, owner.as_str()))?,
        None => ids(reader, sql::OVER, (limit, skip))?,
    };
    reader.tasks(&found)
}

pub(crate) fn counts(reader: &Reader<'_>, owner: Option<&UserId>) -> Result<Counts, Fault> {
    let mut counts = Counts::default();
    let mut statement = reader.conn.prepare_cached(sql::COUNTS)?;
    let mut rows = statement.query([owner.map_or(EVERYBODY, UserId::as_str)])?;
    while let Some(row) = rows.next()? {
        let (phase, n): (u8, i64) = (row.get(0)?, row.get(1)?);
        if let Some(slot) = counts.0.get_mut(usize::from(phase)) {
            *slot = uint(n);
        }
    }
    Ok(counts)
}

pub(crate) fn made(reader: &Reader<'_>, parent: TaskId) -> Result<Vec<Range<u64>>, Fault> {
    let last = last_child(reader, parent)?;
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for id in ids(reader, sql::CHILDREN, (int(parent.0), last, 0, -1))? {
        let ordinal = uint(id) - parent.0 - 1;
        match ranges.last_mut() {
            Some(range) if range.end == ordinal => range.end += 1,
            _ => ranges.push(ordinal..ordinal + 1),
        }
    }
    Ok(ranges)
}

pub(crate) fn changes(reader: &Reader<'_>, since: Seq, limit: usize) -> Result<Changes, Fault> {
    let head = bell::head(reader.conn)?;
    let oldest: i64 = reader.conn.prepare_cached(sql::OLDEST)?.query_row([], |row| row.get(0))?;
    if since > head || since.0 + 1 < uint(oldest) {
        return Ok(Changes::TooOld(head));
    }
    let mut statement = reader.conn.prepare_cached(sql::NOTES)?;
    let mut rows = statement.query((int(since.0), limited(limit)))?;
    let mut notes = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = Seq(uint(row.get(0)?));
        let phase: u8 = row.get(3)?;
        notes.push(ChangeNote {
            seq,
            task: TaskId(uint(row.get(1)?)),
            parent: row.get::<_, Option<i64>>(2)?.map(|id| TaskId(uint(id))),
            phase: Phase::from_code(phase)
                .ok_or_else(|| corrupt(&format!("note {}", seq.0), format!("no phase {phase}")))?,
            ends: row.get(6)?,
            wished: row.get(4)?,
            rev: Rev(uint(row.get(5)?)),
        });
    }
    Ok(Changes::Notes(notes))
}

#[cfg(test)]
mod tests {
    use super::sql;
    use crate::find::sql as find;
    use crate::{row, schema, tasks, tx};
    use rusqlite::Connection;

    fn plan(conn: &Connection, sql: &str) -> String {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("good SQL");
        let rows = statement.raw_query().mapped(|row| row.get::<_, String>(3));
        rows.collect::<Result<Vec<_>, _>>().expect("a plan").join("; ")
    }

    #[test]
    fn no_query_walks_through_the_history() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("god.db");
        crate::place::make_file(&path).expect("a file");
        let mut conn = schema::connect(&path, false).expect("connects");
        schema::prepare(&mut conn, &path).expect("makes tables");
        for (sql, want) in [
            (sql::IN_PHASE, "SEARCH task USING INDEX task_phase (phase=? AND rowid>?)"),
            (sql::ACTIVE_OF, "SEARCH task USING INDEX task_active (owner=? AND rowid>?)"),
            (sql::CHILDREN, "SEARCH task USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (sql::ARRAY, "SEARCH task USING INTEGER PRIMARY KEY (rowid=?)"),
            (sql::OVER, "SEARCH task USING INDEX task_over (ended>?)"),
            (sql::OVER_OF, "SEARCH task USING INDEX task_over_owner (owner=? AND ended>?)"),
            (find::ALL, "SEARCH t USING INTEGER PRIMARY KEY (rowid<?)"),
            (find::CHILDREN, "SEARCH t USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (
                find::TAGGED,
                "SEARCH g USING PRIMARY KEY (tag=? AND task<?); SEARCH t USING INTEGER PRIMARY KEY (rowid=?)",
            ),
            (find::OVER_OF, "SEARCH t USING INDEX task_over_of (owner=? AND rowid<?)"),
            (find::PROJECT, "SEARCH t USING INDEX task_project (project=? AND rowid<?)"),
            (find::NAMED, "SEARCH t USING INDEX task_name (name=? AND rowid<?)"),
            (find::OUTCOME, "SEARCH t USING INDEX task_outcome (outcome=? AND rowid<?)"),
            (find::OUTCOME_OF, "SEARCH t USING INDEX task_outcome_of (owner=? AND outcome=? AND rowid<?)"),
            (find::ACTIVE_OF, "SEARCH t USING INDEX task_active (owner=? AND rowid<?)"),
            (find::IN_PHASE, "SEARCH t USING INDEX task_phase (phase=? AND rowid<?)"),
            (find::FEW_NAMED.1, "SEARCH task USING INDEX task_name (name>? AND name<?)"),
            (find::FEW_ENDED.1, "SEARCH task USING INDEX task_over (ended>? AND ended<?)"),
            (
                find::FEW_ENDED_OF.1,
                "SEARCH task USING INDEX task_over_owner (owner=? AND ended>? AND ended<?)",
            ),
            (find::NEXT_NAME, "SEARCH task USING INDEX task_name (name>? AND name<?)"),
            (find::SUBMITTED, "SEARCH task USING INTEGER PRIMARY KEY (rowid>?)"),
            (find::LAST, "SEARCH task"),
            (sql::TO_REMOVE, "SEARCH task USING INDEX task_to_remove (id>?)"),
            (crate::books::USED_SINCE, "SEARCH used USING PRIMARY KEY (day>?)"),
            (crate::books::USED_BY, "SEARCH used USING INDEX used_who (kind=? AND who=? AND day>?)"),
            (sql::COUNTS, "SEARCH counter USING PRIMARY KEY (owner=?)"),
            (sql::OLDEST, "SEARCH note"),
            (sql::NOTES, "SEARCH note USING INTEGER PRIMARY KEY (rowid>?)"),
            (crate::bell::HEAD, "SEARCH note"),
            (row::TASK, "SEARCH task USING INTEGER PRIMARY KEY (rowid=?)"),
            (row::ARRAY_BEFORE, "SEARCH task USING INDEX task_array (id<?)"),
            (tx::STORED, "SEARCH task USING INTEGER PRIMARY KEY (rowid=?)"),
            (tasks::KNOWN, "SEARCH task USING INDEX task_key (owner=? AND submit_key=?)"),
        ] {
            // Whether an index answers alone makes no difference here: the rows are read next.
            let plan = plan(&conn, sql).replace("COVERING ", "");
            assert_eq!(plan, want, "{sql}");
        }
    }
}
