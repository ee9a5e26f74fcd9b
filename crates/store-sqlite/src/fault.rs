//! What goes wrong inside an operation, and how a store's error says it.

use god_core::store::StoreError;
use rusqlite::{ErrorCode, ffi};
use std::path::Path;

/// Why an operation did not come to its end.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite said no; the transaction is rolled back.
    Sqlite(rusqlite::Error),
    /// What is stored makes no sense; the transaction is rolled back.
    Corrupt {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The answer is an error, but nothing was written and the transaction goes on.
    Answer(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Fault {
        Fault::Sqlite(err)
    }
}

impl Fault {
    /// The store's error.
    pub(crate) fn into_error(self, doing: &'static str, path: &Path) -> StoreError {
        match self {
            Fault::Sqlite(err) => store_error(&err, doing, path),
            Fault::Corrupt { place, what } => {
                StoreError::Corrupt { place: format!("{}, {place}", path.display()), what }
            }
            Fault::Answer(err) => err,
        }
    }
}

/// The store's error for what SQLite said.
pub(crate) fn store_error(err: &rusqlite::Error, doing: &'static str, path: &Path) -> StoreError {
    let text = || format!("{}: {}", path.display(), said(err));
    let corrupt = || StoreError::Corrupt { place: path.display().to_string(), what: said(err) };
    match err {
        rusqlite::Error::SqliteFailure(failure, _) => match (failure.code, failure.extended_code) {
            // A failed sync of the log leaves open whether the transaction will be there after a crash.
            (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => unreachable_store(doing, text()),
            (_, ffi::SQLITE_IOERR_CORRUPTFS) => corrupt(),
            (ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure, _) => {
                StoreError::Full(text())
            }
            (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => corrupt(),
            _ => unreachable_store(doing, text()),
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => corrupt(),
        _ => unreachable_store(doing, text()),
    }
}

/// The error for a store that gives no answer.
pub(crate) fn unreachable_store(doing: &'static str, why: String) -> StoreError {
    StoreError::Unreachable { doing, source: why.into() }
}

/// SQLite's words with its extended code, which tells a full disk from a broken one.
fn said(err: &rusqlite::Error) -> String {
    match err.sqlite_error() {
        Some(failure) => format!("{err} (code {})", failure.extended_code),
        None => err.to_string(),
    }
}

/// Whether a write lock of another process did not go away in time.
pub(crate) fn is_busy(err: &rusqlite::Error) -> bool {
    matches!(err.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_what_the_caller_can_do() {
        let kind = |code: i32| {
            let err = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            match store_error(&err, "testing", Path::new("/x/god.db")) {
                StoreError::Full(text) => {
                    assert!(text.contains("/x/god.db"), "{text}");
                    "full"
                }
                StoreError::Corrupt { .. } => "corrupt",
                StoreError::Unreachable { .. } => "unreachable",
                StoreError::Fenced(_) => "fenced",
            }
        };
        for (code, want) in [
            (ffi::SQLITE_FULL, "full"),
            (ffi::SQLITE_READONLY, "full"),
            (ffi::SQLITE_READONLY_DBMOVED, "full"),
            (ffi::SQLITE_IOERR, "full"),
            (ffi::SQLITE_IOERR_WRITE, "full"),
            (ffi::SQLITE_IOERR_FSYNC, "unreachable"),
            (ffi::SQLITE_BUSY, "unreachable"),
            (ffi::SQLITE_CANTOPEN, "unreachable"),
            (ffi::SQLITE_CORRUPT, "corrupt"),
            (ffi::SQLITE_CORRUPT_INDEX, "corrupt"),
            (ffi::SQLITE_NOTADB, "corrupt"),
        ] {
            assert_eq!(kind(code), want, "code {code}");
        }
        let err = rusqlite::Error::IntegralValueOutOfRange(0, 1);
        assert!(matches!(store_error(&err, "testing", Path::new("x")), StoreError::Corrupt { .. }));
    }
}
