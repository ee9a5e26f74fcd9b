//! The threads: one that writes, some that read. Queues are bounded, so that callers wait instead of memory growing.

use crate::Shared;
use crate::fault::{Fault, is_busy, store_error, unreachable_store};
use crate::row::Reader;
use crate::tx::Tx;
use god_core::store::StoreError;
use rusqlite::Connection;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Operations that wait for the writer.
const WRITES_QUEUED: usize = 1024;
/// Operations and rows in one transaction. More operations cost no more syncs; more rows keep others waiting.
const GROUP_OPS: usize = 512;
const GROUP_ROWS: usize = 4096;
/// Queries that wait for a reader.
const READS_QUEUED: usize = 256;

/// One operation of the writer.
trait Op: Send {
    /// About how many rows it writes.
    fn weight(&self) -> usize;
    /// Does it inside a transaction that others share.
    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault>;
    /// Sends the result of the last run; everything is durable.
    fn succeed(self: Box<Self>);
    /// Sends an error; nothing was written, or nobody knows.
    fn fail(self: Box<Self>, error: StoreError);
    /// What the operation does, for errors.
    fn doing(&self) -> &'static str;
}

struct Write<T, F> {
    doing: &'static str,
    weight: usize,
    run: F,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&mut Tx<'_>) -> Result<T, Fault> + Send> Op for Write<T, F> {
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        self.result = Some(match (self.run)(tx) {
            Ok(value) => Ok(value),
            Err(Fault::Answer(error)) => Err(error),
            Err(fault) => return Err(fault),
        });
        Ok(())
    }

    fn succeed(self: Box<Self>) {
        if let Some(result) = self.result {
            // The caller may have stopped waiting; what it asked for is done all the same.
            drop(self.answer.send(result));
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        drop(self.answer.send(Err(error)));
    }

    fn doing(&self) -> &'static str {
        self.doing
    }
}

/// The writing thread; it ends when this is dropped, after what was queued.
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Op>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(shared: &Arc<Shared>, conn: Connection) -> io::Result<Writer> {
        let (queue, ops) = mpsc::channel(WRITES_QUEUED);
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name("god-store-write".into())
            .spawn(move || write_loop(&shared, &conn, ops))?;
        Ok(Writer { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs an operation in the next transaction and waits until that is durable.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        weight: usize,
        run: impl FnMut(&mut Tx<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let op = Box::new(Write { doing, weight, run, result: None, answer });
        let ended = || unreachable_store(doing, "the writing thread has ended".into());
        self.queue.as_ref().ok_or_else(ended)?.send(op).await.map_err(|_| ended())?;
        waiting.await.map_err(|_| ended())?
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writing thread had panicked");
        }
    }
}

fn write_loop(shared: &Shared, conn: &Connection, mut ops: mpsc::Receiver<Box<dyn Op>>) {
    while let Some(first) = ops.blocking_recv() {
        let mut weight = first.weight();
        let mut group = vec![first];
        while group.len() < GROUP_OPS && weight < GROUP_ROWS {
            let Ok(op) = ops.try_recv() else { break };
            weight += op.weight();
            group.push(op);
        }
        run_group(shared, conn, group);
    }
}

/// Runs operations in one transaction. When one of them fails, each gets a transaction of its own, so that only the
/// one that fails gets the error.
fn run_group(shared: &Shared, conn: &Connection, mut group: Vec<Box<dyn Op>>) {
    let fault = match transaction(shared, conn, &mut group) {
        Ok(()) => {
            for op in group {
                op.succeed();
            }
            return;
        }
        Err(fault) => fault,
    };
    match fault {
        // Waiting as long again for each of them would only make it worse.
        Fault::Sqlite(err) if is_busy(&err) => {
            for op in group {
                let error = store_error(&err, op.doing(), &shared.path);
                op.fail(error);
            }
        }
        _ if group.len() > 1 => {
            for op in group {
                run_group(shared, conn, vec![op]);
            }
        }
        fault => {
            if let Some(op) = group.pop() {
                let error = fault.into_error(op.doing(), &shared.path);
                op.fail(error);
            }
        }
    }
}

fn transaction(shared: &Shared, conn: &Connection, group: &mut [Box<dyn Op>]) -> Result<(), Fault> {
    roll_back(conn)?;
    let done = conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map_err(Fault::from).and_then(|_| {
        let mut tx = Tx::new(conn, shared);
        for op in group {
            op.run(&mut tx)?;
        }
        let head = tx.flush()?;
        conn.prepare_cached("COMMIT")?.execute([])?;
        let (notes, tasks) = tx.written();
        shared.recent.add(notes, tasks);
        Ok(head)
    });
    match done {
        Ok(head) => {
            if let Some(head) = head {
                shared.bell.publish(head);
                shared.bell.ring();
            }
            Ok(())
        }
        Err(fault) => {
            if let Err(err) = roll_back(conn) {
                // The next transaction tries again before it begins.
                tracing::warn!(%err, "transaction not rolled back");
            }
            Err(fault)
        }
    }
}

/// Ends the transaction, if there is one: after some errors SQLite does it by itself.
fn roll_back(conn: &Connection) -> rusqlite::Result<()> {
    if !conn.is_autocommit() {
        conn.prepare_cached("ROLLBACK")?.execute([])?;
    }
    Ok(())
}

type Query = Box<dyn FnOnce(&mut Reader<'_>) + Send>;

/// The reading threads; they end when this is dropped.
pub(crate) struct Readers {
    queue: Option<mpsc::Sender<Query>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(shared: &Arc<Shared>, connections: Vec<Connection>) -> io::Result<Readers> {
        let (queue, queries) = mpsc::channel(READS_QUEUED);
        let queries = Arc::new(Mutex::new(queries));
        let mut readers = Readers { queue: Some(queue), threads: Vec::new() };
        for conn in connections {
            let (shared, queries) = (Arc::clone(shared), Arc::clone(&queries));
            let thread = std::thread::Builder::new()
                .name("god-store-read".into())
                .spawn(move || read_loop(&shared, &conn, &queries))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Runs a query on one snapshot.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        run: impl FnOnce(&mut Reader<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let query: Query = Box::new(move |reader| {
            let result = snapshot(reader, run).map_err(|fault| fault.into_error(doing, &reader.shared.path));
            // The caller may have stopped waiting.
            drop(answer.send(result));
        });
        let ended = || unreachable_store(doing, "the reading threads have ended".into());
        self.queue.as_ref().ok_or_else(ended)?.send(query).await.map_err(|_| ended())?;
        waiting.await.map_err(|_| ended())?
    }
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread had panicked");
            }
        }
    }
}

fn read_loop(shared: &Shared, conn: &Connection, queries: &Mutex<mpsc::Receiver<Query>>) {
    loop {
        // The thread that holds the lock waits for the next query, the others for the lock.
        let query = queries.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(query) = query else { return };
        query(&mut Reader::new(conn, shared));
    }
}

fn snapshot<T>(
    reader: &mut Reader<'_>,
    run: impl FnOnce(&mut Reader<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let conn = reader.conn;
    roll_back(conn)?;
    conn.prepare_cached("BEGIN")?.execute([])?;
    let result = run(reader);
    // Nothing was written: the end only gives the snapshot back.
    roll_back(conn)?;
    result
}
