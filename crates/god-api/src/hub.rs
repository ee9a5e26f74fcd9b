//! One reader of the store's changes for everybody in this process who waits for some.

use god_core::state::Phase;
use god_core::store::{ChangeNote, Changes, Scan, Seq, Store, StoreError};
use god_core::{Task, TaskId};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, broadcast};

/// Changes held for a slow listener before it misses some.
const HELD: usize = 4096;

/// One change, with the document as it was soon after, when somebody listens for documents.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) note: ChangeNote,
    pub(crate) task: Option<Arc<Task>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Hub {
    store: Arc<dyn Store>,
    /// The sender while the reader runs.
    running: Arc<Mutex<Option<broadcast::Sender<Heard>>>>,
    wants_documents: Arc<AtomicUsize>,
}

/// While it lives, heard changes carry their documents.
#[derive(Debug)]
pub(crate) struct Documents(Arc<AtomicUsize>);

impl Drop for Documents {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hub {
    pub(crate) fn new(store: Arc<dyn Store>) -> Hub {
        Hub { store, running: Arc::default(), wants_documents: Arc::default() }
    }

    /// Asks for documents with the changes.
    pub(crate) fn documents(&self) -> Documents {
        self.wants_documents.fetch_add(1, Ordering::Relaxed);
        Documents(Arc::clone(&self.wants_documents))
    }

    /// Listens to every change after this returned. A listener that is too slow misses some and is told so.
    pub(crate) async fn listen(&self) -> Result<broadcast::Receiver<Heard>, StoreError> {
        let mut running = self.running.lock().await;
        if let Some(sender) = &*running {
            return Ok(sender.subscribe());
        }
        let head = self.store.head().await?;
        let (sender, receiver) = broadcast::channel(HELD);
        *running = Some(sender.clone());
        tokio::spawn(self.clone().read(sender, head));
        Ok(receiver)
    }

    /// Reads until nobody listens.
    async fn read(self, sender: broadcast::Sender<Heard>, mut seq: Seq) {
        loop {
            if sender.receiver_count() == 0 {
                let mut running = self.running.lock().await;
                // Somebody may have come while we waited for the lock.
                if sender.receiver_count() == 0 {
                    *running = None;
                    return;
                }
            }
            match self.store.changes(seq, 500).await {
                Ok(Changes::Notes(notes)) => match notes.last() {
                    Some(last) => {
                        seq = last.seq;
                        self.tell(&sender, notes).await;
                    }
                    // The bell may come late when nobody listens any more: look again from time to time.
                    None => drop(tokio::time::timeout(Duration::from_secs(5), self.store.rung(seq)).await),
                },
                Ok(Changes::TooOld(now)) => {
                    seq = now;
                    self.tell_all(&sender, now).await;
                }
                Err(err) => {
                    tracing::warn!(err = %god_engine::chain(&err), "changes can not be read; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn tell(&self, sender: &broadcast::Sender<Heard>, notes: Vec<ChangeNote>) {
        let mut tasks = Vec::new();
        if self.wants_documents.load(Ordering::Relaxed) > 0 {
            let ids: Vec<TaskId> = notes.iter().map(|note| note.task).collect();
            match self.store.get(&ids).await {
                Ok(found) => tasks = found,
                Err(err) => tracing::warn!(err = %god_engine::chain(&err), "changed tasks can not be read"),
            }
        }
        tasks.resize(notes.len(), None);
        for (note, task) in notes.into_iter().zip(tasks) {
            // Nobody listening is no fault: the reader ends at its next turn.
            drop(sender.send(Heard { note, task: task.map(Arc::new) }));
        }
    }

    /// After a gap: every active task as if it had just changed; ends that were missed are found by those who wait.
    async fn tell_all(&self, sender: &broadcast::Sender<Heard>, seq: Seq) {
        let mut after = None;
        loop {
            let page = match self.store.scan(&Scan::Active(None), after, 500).await {
                Ok(page) => page,
                Err(err) => {
                    tracing::warn!(err = %god_engine::chain(&err), "active tasks can not be read");
                    return;
                }
            };
            let Some(last) = page.last() else { return };
            after = Some(last.id);
            for task in page {
                let note = ChangeNote {
                    seq,
                    task: task.id,
                    parent: task.parent,
                    phase: task.phase(),
                    ends: false,
                    wished: task.wish.as_ref().is_some_and(god_core::state::Wish::is_open),
                    rev: task.rev,
                };
                drop(sender.send(Heard { note, task: Some(Arc::new(task)) }));
            }
        }
    }
}

/// Waits until a task is over or `rx` says that changes were missed; in both cases the caller reads the task again.
pub(crate) async fn ended(rx: &mut broadcast::Receiver<Heard>, id: TaskId) {
    loop {
        match rx.recv().await {
            Ok(heard) if heard.note.task == id && Phase::is_over(heard.note.phase) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return,
            // The reader is gone: the caller's own slow look goes on.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
