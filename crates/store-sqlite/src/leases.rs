//! Lease records. All epochs of a database come from one counter, so no record needs to be kept for its epoch's sake.

use crate::fault::Fault;
use crate::lock::{self, LeaseLock};
use crate::row::{Reader, int, uint};
use crate::tx::Tx;
use god_core::Holder;
use god_core::store::{Lease, LeaseRecord};
use rusqlite::{Connection, OptionalExtension, Row};

fn record(row: &Row<'_>) -> rusqlite::Result<LeaseRecord> {
    Ok(LeaseRecord {
        name: row.get(0)?,
        holder: row.get::<_, Option<String>>(1)?.map(Holder::new),
        epoch: uint(row.get(2)?),
        beat: uint(row.get(3)?),
    })
}

fn find(conn: &Connection, name: &str) -> Result<Option<LeaseRecord>, Fault> {
    Ok(conn
        .prepare_cached("SELECT name, holder, epoch, beat FROM lease WHERE name = ?1")?
        .query_row([name], record)
        .optional()?)
}

/// Whether a lease is held in this instant.
pub(crate) fn is_held(tx: &Tx<'_>, lease: &Lease) -> Result<bool, Fault> {
    let found = find(tx.conn, &lease.name)?;
    Ok(found
        .is_some_and(|record| record.holder.as_ref() == Some(&lease.holder) && record.epoch == lease.epoch))
}

pub(crate) fn list(reader: &Reader<'_>, prefix: &str) -> Result<Vec<LeaseRecord>, Fault> {
    let mut statement = reader.conn.prepare_cached(
        "SELECT name, holder, epoch, beat FROM lease
         WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name",
    )?;
    let records = statement.query_map([prefix], record)?.collect::<Result<_, _>>()?;
    Ok(records)
}

/// Takes a lease as it was found. The lock is there before anybody can read the new record.
pub(crate) fn take(
    tx: &Tx<'_>,
    name: &str,
    holder: &Holder,
    found: Option<&LeaseRecord>,
) -> Result<Option<(Lease, Option<LeaseLock>)>, Fault> {
    let stored = find(tx.conn, name)?;
    if stored.as_ref() != found {
        return Ok(None);
    }
    let epoch = tx.meta("epoch")? + 1;
    tx.set_meta("epoch", epoch)?;
    let beat = stored.map_or(0, |record| record.beat + 1);
    tx.conn.prepare_cached("INSERT OR REPLACE INTO lease VALUES (?1, ?2, ?3, ?4)")?.execute((
        name,
        holder.as_str(),
        epoch,
        int(beat),
    ))?;
    let lease = Lease { name: name.to_owned(), holder: holder.clone(), epoch: uint(epoch) };
    let lock = match LeaseLock::take(&tx.shared.path, name, lease.epoch) {
        Ok(lock) => Some(lock),
        Err(err) => {
            tracing::warn!(%err, lease = name, "no lock file; after a crash others wait for the time-to-live");
            None
        }
    };
    Ok(Some((lease, lock)))
}

/// Adds a beat, if the lease is held.
pub(crate) fn renew(tx: &Tx<'_>, lease: &Lease) -> Result<bool, Fault> {
    let held = tx
        .conn
        .prepare_cached("UPDATE lease SET beat = beat + 1 WHERE name = ?1 AND holder = ?2 AND epoch = ?3")?
        .execute((&lease.name, lease.holder.as_str(), int(lease.epoch)))?;
    Ok(held > 0)
}

/// Gives a lease back, if it is held.
pub(crate) fn release(tx: &Tx<'_>, lease: &Lease) -> Result<(), Fault> {
    tx.conn
        .prepare_cached("UPDATE lease SET holder = NULL WHERE name = ?1 AND holder = ?2 AND epoch = ?3")?
        .execute((&lease.name, lease.holder.as_str(), int(lease.epoch)))?;
    Ok(())
}

/// Removes a record, if it still is as it was found.
pub(crate) fn remove(tx: &Tx<'_>, found: &LeaseRecord) -> Result<bool, Fault> {
    if find(tx.conn, &found.name)?.as_ref() != Some(found) {
        return Ok(false);
    }
    tx.conn.prepare_cached("DELETE FROM lease WHERE name = ?1")?.execute([&found.name])?;
    Ok(true)
}

/// Whether the holder of a record is provably dead: it had a lock that only its death, or its own will, frees.
pub(crate) fn is_gone(shared: &crate::Shared, record: &LeaseRecord) -> bool {
    record.holder.is_some() && lock::is_free(&shared.path, &record.name, record.epoch)
}
