//! Fills an empty database with many tasks at once, for imports and for measurements: in one go, without the safety of
//! a transaction for each group, and with the indexes made at the end.

use crate::open::OpenError;
use crate::row::{body_of, encode, int};
use crate::specs::fields_hash;
use crate::tasks::ended;
use crate::tx::EVERYBODY;
use crate::{place, schema};
use god_core::Task;
use god_core::state::Phase;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;

/// Fills a database that has no task yet with these, by ascending id, each parent with its true counters before its
/// children. Usage and notices are not made. A process that dies meanwhile leaves a file that is good for nothing.
///
/// # Errors
/// [`OpenError`]; [`OpenError::NotEmpty`] when there are tasks already.
pub fn fill(path: impl AsRef<Path>, tasks: impl Iterator<Item = Task>) -> Result<u64, OpenError> {
    let path = place::check(path.as_ref())?;
    let sqlite = |err| OpenError::Sqlite { path: path.clone(), source: err };
    place::make_file(&path).map_err(|source| OpenError::Beside {
        doing: "make the file",
        path: path.clone(),
        source,
    })?;
    let mut conn = schema::connect(&path, false).map_err(sqlite)?;
    schema::prepare(&mut conn, &path)?;
    let next: i64 =
        conn.query_row("SELECT n FROM meta WHERE name = 'next_id'", [], |row| row.get(0)).map_err(sqlite)?;
    if next != 1 {
        return Err(OpenError::NotEmpty { path });
    }
    fill_all(&conn, tasks).map_err(sqlite)
}

fn fill_all(conn: &Connection, tasks: impl Iterator<Item = Task>) -> rusqlite::Result<u64> {
    for (name, value) in [("journal_mode", "OFF"), ("synchronous", "OFF"), ("cache_size", "-262144")] {
        conn.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|err| match err {
            // Some of them answer nothing.
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            err => Err(err),
        })?;
    }
    let indexes: Vec<(String, String)> = conn
        .prepare(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'task' AND sql IS NOT NULL",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    conn.execute_batch("BEGIN")?;
    for (name, _) in &indexes {
        conn.execute_batch(&format!("DROP INDEX {name}"))?;
    }
    let n = insert_all(conn, tasks)?;
    for (_, sql) in &indexes {
        conn.execute_batch(sql)?;
    }
    conn.execute_batch("COMMIT; PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL")?;
    // The first thing that is written safely, so that all of it is on the disk.
    conn.execute_batch("UPDATE meta SET n = n; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(n)
}

fn insert_all(conn: &Connection, tasks: impl Iterator<Item = Task>) -> rusqlite::Result<u64> {
    let mut task_row = conn.prepare(
        "INSERT INTO task (id, parent, owner, phase, rev, op, submitted, ended, killing, kids, made, over, failed,
             fields, body, to_remove, disk, project, name, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
    )?;
    let mut spec_row = conn.prepare("INSERT INTO spec VALUES (?1, ?2)")?;
    let mut tag_row = conn.prepare("INSERT OR IGNORE INTO tag VALUES (?1, ?2)")?;
    let (mut n, mut next_id) = (0, 1);
    let mut counts: BTreeMap<(String, u8), i64> = BTreeMap::new();
    let mut disk: BTreeMap<String, i64> = BTreeMap::new();
    for task in tasks {
        let (id, owner, spec) = (int(task.id.0), task.spec.owner.id.as_str(), &*task.spec);
        let kids = task.array().map_or(0, |array| int(array.count()));
        let end = ended(&task);
        task_row.execute(rusqlite::params![
            id,
            task.parent.map(|id| int(id.0)),
            owner,
            task.phase().code(),
            int(task.rev.0),
            task.op.0.cast_signed(),
            task.submitted.0,
            end.map(|(at, _)| at),
            task.kill_wanted(),
            kids,
            int(task.children.made),
            int(task.children.over),
            int(task.children.failed),
            task.parent.is_none().then(|| fields_hash(spec)),
            body_of(&task),
            task.to_remove().is_some(),
            task.disk.map(int),
            spec.owner.project.as_str(),
            spec.name,
            end.map(|(_, outcome)| outcome),
        ])?;
        if task.parent.is_none() {
            spec_row.execute((id, encode(spec)))?;
        }
        for tag in &spec.tags {
            tag_row.execute((tag, id))?;
        }
        for who in [owner, EVERYBODY] {
            *counts.entry((who.to_owned(), task.phase().code())).or_default() += 1;
            if end.is_none() && kids > 0 {
                let virtual_kids = kids - int(task.children.made);
                *counts.entry((who.to_owned(), Phase::Pending.code())).or_default() += virtual_kids;
            }
        }
        *disk.entry(owner.to_owned()).or_default() += int(task.disk_held());
        next_id = next_id.max(id + kids + 1);
        n += 1;
    }
    for ((owner, phase), n) in counts {
        conn.execute("INSERT INTO counter VALUES (?1, ?2, ?3)", (owner, phase, n))?;
    }
    for (owner, bytes) in disk.into_iter().filter(|(_, bytes)| *bytes > 0) {
        conn.execute("INSERT INTO disk VALUES (?1, ?2)", (owner, bytes))?;
    }
    conn.execute("UPDATE meta SET n = ?1 WHERE name = 'next_id'", [next_id])?;
    Ok(n)
}
