//! The bell: waiters of this process are woken directly, other processes through one byte written to a small file that
//! each of them watches with inotify. While nothing is written it costs nothing.
//!
//! Should somebody delete the bell file, waiters of other processes are not woken until their next look of their own.

use crate::Shared;
use god_core::store::Seq;
use rusqlite::Connection;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::Notify;

/// The newest change that this process knows of, with those who wait for a newer one.
#[derive(Debug)]
pub(crate) struct Bell {
    head: AtomicU64,
    waiters: Notify,
    file: File,
}

impl Bell {
    /// Where the bell of a database is.
    pub(crate) fn path(database: &Path) -> PathBuf {
        let mut name = OsString::from(database);
        name.push(".bell");
        PathBuf::from(name)
    }

    pub(crate) fn open(path: &Path) -> io::Result<Bell> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // The byte that is rung needs a place on the disk, now rather than when the disk is full.
        file.write_at(b"!", 0)?;
        Ok(Bell { head: AtomicU64::new(0), waiters: Notify::new(), file })
    }

    /// Wakes the waiters of this process if the head is newer than what was known.
    pub(crate) fn publish(&self, head: Seq) {
        if self.head.fetch_max(head.0, Ordering::SeqCst) < head.0 {
            self.waiters.notify_waiters();
        }
    }

    /// Wakes the other processes.
    pub(crate) fn ring(&self) {
        if let Err(err) = self.file.write_at(b"!", 0) {
            tracing::warn!(%err, "bell not rung; other processes see the change at their next look");
        }
    }

    /// Returns once a change above `seq` is known.
    pub(crate) async fn wait(&self, seq: Seq) {
        loop {
            // Listen before looking, or a bell between the two is lost.
            let mut woken = pin!(self.waiters.notified());
            woken.as_mut().enable();
            if self.head.load(Ordering::SeqCst) > seq.0 {
                return;
            }
            woken.await;
        }
    }
}

/// The thread that hears other processes' bells; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Starts to listen, and publishes the head as it is after that.
    pub(crate) fn start(shared: &Arc<Shared>, conn: Connection, bell: &Path) -> io::Result<Listener> {
        let ears = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&ears, bell, WatchFlags::MODIFY)?;
        let stop = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?);
        let thread = std::thread::Builder::new().name("god-store-bell".into()).spawn({
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
            move || listen(&shared, &conn, &ears, &stop)
        })?;
        Ok(Listener { stop, thread: Some(thread) })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        match rustix::io::write(&*self.stop, &1u64.to_ne_bytes()) {
            Ok(_) => {
                if thread.join().is_err() {
                    tracing::error!("the bell's thread had panicked");
                }
            }
            Err(err) => tracing::error!(%err, "could not tell the bell's thread to end"),
        }
    }
}

fn listen(shared: &Shared, conn: &Connection, ears: &OwnedFd, stop: &OwnedFd) {
    let mut events = [0u8; 4096];
    loop {
        // Bells that ring from here on are heard in the next round.
        match head(conn) {
            Ok(head) => shared.bell.publish(head),
            Err(err) => tracing::warn!(%err, "position of the newest change not read"),
        }
        let mut fds = [PollFd::new(ears, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => {
                tracing::error!(%err, "the bell is deaf; changes of other processes are seen late");
                return;
            }
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        // What the events say does not matter; equal ones that wait are one already.
        while rustix::io::read(ears, &mut events).is_ok_and(|n| n > 0) {}
    }
}

pub(crate) const HEAD: &str = "SELECT coalesce(max(seq), 0) FROM note";

/// The position of the newest change.
pub(crate) fn head(conn: &Connection) -> rusqlite::Result<Seq> {
    let newest = conn.prepare_cached(HEAD)?.query_row([], |row| {
        let seq: i64 = row.get(0)?;
        Ok(seq)
    })?;
    Ok(Seq(newest.cast_unsigned()))
}
