//! Tables, and how a connection is set up.
//!
//! Numbers that SQLite can not hold (64 bits without sign) are stored as the signed number of the same bits where only
//! equality counts (`op`); everywhere else they are far below the limit.

use crate::fault::is_busy;
use crate::open::OpenError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::{Duration, Instant};

/// Marks the file as ours (`PRAGMA application_id`): "GODq".
const APPLICATION: i32 = 0x474F_4471;

/// Step n takes a file of version n to n + 1 (`PRAGMA user_version`). Steps are never edited, only added.
const STEPS: [&str; 3] =
    [include_str!("schema/1.sql"), include_str!("schema/2.sql"), include_str!("schema/3.sql")];

/// How long a write waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(10);

/// Opens one more connection to a database that exists.
pub(crate) fn connect(path: &Path, reads_only: bool) -> rusqlite::Result<Connection> {
    // Readers need a writable handle too: they mark their place in the shared index of the log.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_handler(Some(wait_for_lock))?;
    conn.set_prepared_statement_cache_capacity(64);
    // Otherwise each new value of a bound LIMIT makes SQLite plan its statement anew.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // In KiB when negative.
    conn.pragma_update(None, "cache_size", if reads_only { -16_384 } else { -65_536 })?;
    // Pages; beyond this a commit moves the log into the database.
    conn.pragma_update(None, "wal_autocheckpoint", 4_000)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    if reads_only {
        conn.pragma_update(None, "query_only", true)?;
    }
    Ok(conn)
}

/// Waits between two tries for a lock. SQLite's own waits grow to 100 ms, so that who waits long never gets its turn;
/// ours stay shorter than the pause that a busy writer makes between two transactions.
fn wait_for_lock(tries: i32) -> bool {
    const SHORT: Duration = Duration::from_micros(50);
    const LONG: Duration = Duration::from_millis(2);
    const SHORT_TRIES: u32 = 1000;
    let tries = u32::try_from(tries).unwrap_or(0);
    let (pause, waited) = match tries.checked_sub(SHORT_TRIES) {
        None => (SHORT, SHORT * tries),
        Some(long_tries) => (LONG, SHORT * SHORT_TRIES + LONG * long_tries),
    };
    std::thread::sleep(pause);
    // Pauses take longer than asked, and so does all of this.
    waited < BUSY
}

/// Makes sure that the file is ours and has today's tables. Safe to do in several processes at once.
pub(crate) fn prepare(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |err| OpenError::Sqlite { path: path.to_owned(), source: err };
    check_version(conn, path)?;
    let started = Instant::now();
    // SQLite does not always wait for locks when the mode changes.
    while let Err(err) = conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        Ok(mode)
    }) {
        if !is_busy(&err) || started.elapsed() > BUSY {
            return Err(sqlite(err));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let steps = STEPS.len();
    if check_version(conn, path)? == steps {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(sqlite)?;
    // Another process may have been faster.
    let version = check_version(&tx, path)?;
    for step in &STEPS[version..] {
        tx.execute_batch(step).map_err(sqlite)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION).map_err(sqlite)?;
    tx.pragma_update(None, "user_version", i64::try_from(steps).unwrap_or(i64::MAX)).map_err(sqlite)?;
    tx.commit().map_err(sqlite)
}

/// The file's version, if this program knows it.
fn check_version(conn: &Connection, path: &Path) -> Result<usize, OpenError> {
    let sqlite = |err| OpenError::Sqlite { path: path.to_owned(), source: err };
    // One statement, so that all three are of the same moment.
    let (version, application, tables) = conn
        .query_row(
            "SELECT v.user_version, a.application_id, (SELECT count(*) FROM sqlite_schema)
             FROM pragma_user_version v, pragma_application_id a",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i32>(1)?, row.get::<_, i64>(2)?)),
        )
        .map_err(sqlite)?;
    let foreign = if tables == 0 { version != 0 } else { application != APPLICATION };
    if foreign {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    match usize::try_from(version) {
        Ok(version) if version <= STEPS.len() => Ok(version),
        _ => Err(OpenError::Newer { path: path.to_owned(), found: version, known: STEPS.len() }),
    }
}
