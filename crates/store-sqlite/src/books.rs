//! Users, projects, sums of usage, images, notices and pinned texts.

use crate::fault::Fault;
use crate::row::{Reader, corrupt, decode, int, uint};
use crate::tx::{Tx, UsedBy};
use god_core::store::{AuditRecord, Notice, UsageOf};
use god_core::units::Day;
use god_core::usage::{Ledger, UsageSum, Used};
use god_core::{ProjectId, TaskId, UserId};
use rusqlite::OptionalExtension;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// A table of named documents with a version.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    User,
    Project,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::User => "user",
            Table::Project => "project",
        }
    }
}

/// Writes a document over the version it was read in; `body` already carries the next one.
pub(crate) fn put(tx: &Tx<'_>, table: Table, id: &str, rev: u64, body: &[u8]) -> Result<bool, Fault> {
    let name = table.name();
    let written = if rev == 0 {
        tx.conn
            .prepare_cached(&format!("INSERT OR IGNORE INTO {name} VALUES (?1, 1, ?2)"))?
            .execute((id, body))?
    } else {
        tx.conn
            .prepare_cached(&format!(
                "UPDATE {name} SET rev = rev + 1, body = ?3 WHERE id = ?1 AND rev = ?2"
            ))?
            .execute((id, int(rev), body))?
    };
    Ok(written > 0)
}

pub(crate) fn remove(tx: &Tx<'_>, table: Table, id: &str) -> Result<(), Fault> {
    tx.conn.prepare_cached(&format!("DELETE FROM {} WHERE id = ?1", table.name()))?.execute([id])?;
    Ok(())
}

pub(crate) fn all<T: DeserializeOwned>(reader: &Reader<'_>, table: Table) -> Result<Vec<T>, Fault> {
    let name = table.name();
    let mut statement = reader.conn.prepare_cached(&format!("SELECT id, body FROM {name} ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, body): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        found.push(decode(&body, &format!("{name} {id}"))?);
    }
    Ok(found)
}

pub(crate) fn user(reader: &Reader<'_>, id: &UserId) -> Result<Option<god_core::user::User>, Fault> {
    let body: Option<Vec<u8>> = reader
        .conn
        .prepare_cached("SELECT body FROM user WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    body.map(|body| decode(&body, &format!("user {id}"))).transpose()
}

fn used_by(of: &UsageOf) -> (UsedBy, &str) {
    match of {
        UsageOf::User(user) => (UsedBy::User, user.as_str()),
        UsageOf::Project(project) => (UsedBy::Project, project.as_str()),
    }
}

pub(crate) const USED_BY: &str =
    "SELECT day, cores, ram, millis FROM used WHERE kind = ?1 AND who = ?2 AND day >= ?3 ORDER BY day";
pub(crate) const USED_SINCE: &str = "SELECT day, kind, who, cores, ram, millis FROM used WHERE day >= ?1";

pub(crate) fn usage(reader: &Reader<'_>, of: &UsageOf, from: Day) -> Result<Vec<UsageSum>, Fault> {
    let (by, who) = used_by(of);
    let mut statement = reader.conn.prepare_cached(USED_BY)?;
    let sums = statement
        .query_map((by as u8, who, from.0), |row| {
            Ok(UsageSum {
                day: Day(row.get(0)?),
                cores: uint(row.get(1)?),
                ram: uint(row.get(2)?),
                millis: uint(row.get(3)?),
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(sums)
}

/// Sums by user and by project, in one walk through the days of the window.
pub(crate) fn usage_since(reader: &Reader<'_>, from: Day) -> Result<Ledger, Fault> {
    let mut sums: HashMap<(u8, String), Used> = HashMap::new();
    let mut statement = reader.conn.prepare_cached(USED_SINCE)?;
    let mut rows = statement.query([from.0])?;
    while let Some(row) = rows.next()? {
        let sum = UsageSum {
            day: Day(row.get(0)?),
            cores: uint(row.get(3)?),
            ram: uint(row.get(4)?),
            millis: uint(row.get(5)?),
        };
        sums.entry((row.get(1)?, row.get(2)?)).or_default().add(&sum);
    }
    let mut ledger = Ledger::default();
    for ((kind, who), used) in sums {
        if kind == UsedBy::User as u8 {
            ledger.users.insert(UserId::new(who), used);
        } else {
            ledger.projects.insert(ProjectId::new(who), used);
        }
    }
    let mut statement = reader.conn.prepare_cached("SELECT owner, bytes FROM disk WHERE bytes > 0")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let owner = UserId::new(row.get::<_, String>(0)?);
        ledger.users.entry(owner).or_default().disk = uint(row.get(1)?);
    }
    Ok(ledger)
}

pub(crate) fn reset_usage(tx: &mut Tx<'_>, of: &UsageOf) -> Result<(), Fault> {
    let (by, who) = used_by(of);
    tx.forget_used(by, who);
    tx.conn.prepare_cached("DELETE FROM used WHERE kind = ?1 AND who = ?2")?.execute((by as u8, who))?;
    Ok(())
}

pub(crate) fn audit(tx: &Tx<'_>, bodies: &[Vec<u8>]) -> Result<(), Fault> {
    let mut statement = tx.conn.prepare_cached("INSERT INTO audit (body) VALUES (?1)")?;
    for body in bodies {
        statement.execute([body])?;
    }
    Ok(())
}

pub(crate) fn audited(
    reader: &Reader<'_>,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, AuditRecord)>, Fault> {
    let mut statement =
        reader.conn.prepare_cached("SELECT n, body FROM audit WHERE n > ?1 ORDER BY n LIMIT ?2")?;
    let mut rows = statement.query((after.map_or(0, int), i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let n = uint(row.get(0)?);
        let body = row.get_ref(1)?.as_blob().map_err(|err| corrupt(&format!("audit record {n}"), err))?;
        found.push((n, decode(body, &format!("audit record {n}"))?));
    }
    Ok(found)
}

pub(crate) fn images(reader: &Reader<'_>) -> Result<Vec<String>, Fault> {
    let mut statement = reader.conn.prepare_cached("SELECT name FROM image ORDER BY name")?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(names)
}

pub(crate) fn notices(reader: &Reader<'_>, limit: usize) -> Result<Vec<Notice>, Fault> {
    let mut statement =
        reader.conn.prepare_cached("SELECT id, task, body FROM notice ORDER BY n LIMIT ?1")?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let body = row.get_ref(2)?.as_str().map_err(|err| corrupt(&format!("notice {id}"), err))?;
        let body = decode(body.as_bytes(), &format!("notice {id}"))?;
        found.push(Notice { id, task: TaskId(uint(row.get(1)?)), body });
    }
    Ok(found)
}

pub(crate) fn notices_sent(tx: &Tx<'_>, ids: &[String]) -> Result<(), Fault> {
    let mut statement = tx.conn.prepare_cached("DELETE FROM notice WHERE id = ?1")?;
    for id in ids {
        statement.execute([id])?;
    }
    Ok(())
}

pub(crate) fn pin(tx: &Tx<'_>, notes: &[(String, Option<String>)]) -> Result<(), Fault> {
    for (name, body) in notes {
        match body {
            Some(body) => {
                tx.conn.prepare_cached("INSERT OR REPLACE INTO pin VALUES (?1, ?2)")?.execute((name, body))?
            }
            None => tx.conn.prepare_cached("DELETE FROM pin WHERE name = ?1")?.execute([name])?,
        };
    }
    Ok(())
}

pub(crate) fn pinned(reader: &Reader<'_>, prefix: &str) -> Result<Vec<(String, String)>, Fault> {
    let mut statement = reader.conn.prepare_cached(
        "SELECT name, body FROM pin
         WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name",
    )?;
    let found =
        statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(found)
}
