//! Opening a store: checks of the place, then the file, then the threads.

use crate::bell::{Bell, Listener};
use crate::recent::Recent;
use crate::specs::Specs;
use crate::worker::{Readers, Writer};
use crate::{Shared, SqliteStore, place, schema};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What may be chosen when a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// About how many entries of the change sequence are kept. Whoever was away for longer has to look at all active
    /// tasks once.
    pub notes_kept: u64,
    /// Number of threads that read, at least 1.
    pub readers: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { notes_kept: 200_000, readers: 2 }
    }
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path names no file.
    #[error("{path:?} is no file name for a database; accepted is a path such as /var/lib/god/god.db")]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The directory is not there, or can not be read and written.
    #[error("can not keep a database in {dir:?}: it must be a directory that this user can read and write")]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory is on a file system that other hosts may write to as well.
    #[error(
        "{dir:?} is on {kind}: SQLite needs a disk of this host; choose a local directory, \
         or a server database when several hosts shall work together"
    )]
    Network {
        /// The directory.
        dir: PathBuf,
        /// The file system.
        kind: String,
    },
    /// The file is something else.
    #[error("{path:?} is no database of GO-Docker; choose another path")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer program has changed the tables.
    #[error("{path:?} has version {found}, this program knows versions up to {known}: use the newer program")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version that is known here.
        known: usize,
    },
    /// It was to be filled, but is in use.
    #[error("{path:?} has tasks already; only a fresh database can be filled")]
    NotEmpty {
        /// The file.
        path: PathBuf,
    },
    /// SQLite said no.
    #[error("can not open the database {path:?}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// A file or thread beside the database could not be made.
    #[error("can not {doing} {path:?}")]
    Beside {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SqliteStore {
    /// Opens the database, makes it if there is none, and brings its tables to today's version. Blocks for as long as
    /// that takes. Beside the file stand SQLite's own (`-wal`, `-shm`), the bell (`.bell`) and one lock file for each
    /// lease that is held.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left running then.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Arc<SqliteStore>, OpenError> {
        let path = place::check(path.as_ref())?;
        let beside = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Beside { doing, path, source }
        };
        let sqlite = |err| OpenError::Sqlite { path: path.clone(), source: err };
        place::make_file(&path).map_err(beside("make the file", &path))?;
        let mut conn = schema::connect(&path, false).map_err(sqlite)?;
        schema::prepare(&mut conn, &path)?;

        let bell_path = Bell::path(&path);
        let shared = Arc::new(Shared {
            notes_kept: options.notes_kept,
            bell: Bell::open(&bell_path).map_err(beside("open the bell", &bell_path))?,
            specs: Specs::default(),
            recent: Recent::new(options.notes_kept),
            locks: Mutex::default(),
            path: path.clone(),
        });
        let ears = schema::connect(&path, true).map_err(sqlite)?;
        let listener =
            Listener::start(&shared, ears, &bell_path).map_err(beside("listen to the bell", &bell_path))?;
        let writer = Writer::start(&shared, conn).map_err(beside("start the writing thread for", &path))?;
        let mut connections = Vec::new();
        for _ in 0..options.readers.max(1) {
            connections.push(schema::connect(&path, true).map_err(sqlite)?);
        }
        let readers =
            Readers::start(&shared, connections).map_err(beside("start a reading thread for", &path))?;
        Ok(Arc::new(SqliteStore { writer, readers, _listener: listener, shared }))
    }
}
