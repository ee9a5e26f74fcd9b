//! What finished tasks fill on the disk: measured once after their end, beside the loop; a size that can not be told is
//! no reason for anything to stop.

use super::{Archiver, Done, State};
use crate::inflight::{Inflight, guarded};
use god_core::BoxError;
use god_core::ids::TaskId;
use god_core::query::TaskQuery;
use god_core::spec::Output;
use god_core::state::{Event, Phase, TaskState};
use god_core::store::{Change, Changes, Seq, Store, StoreError};
use god_core::task::Task;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Where the position up to which all ends were measured is kept.
const POSITION: &str = "archiver/measured";
/// How often that is written at most; what comes after it is looked at again after a restart.
const KEEP: Duration = Duration::from_secs(10);
/// Changes read in one question.
const NOTES: usize = 1024;
/// Tasks whose documents are read in one question.
const PAGE: usize = 256;
/// Tasks measured one after the other in one go.
const CHUNK: usize = 32;
/// Chunks measured at the same time.
const WALKERS: usize = 2;
/// So many tasks wait at most; what comes after them is read later.
const MOST_WAITING: usize = 4096;

/// What was found out about some tasks.
pub(super) type Sizes = Vec<(TaskId, Result<u64, BoxError>)>;

/// How far the measuring has come.
#[derive(Debug)]
pub(super) struct Measuring {
    /// All ends up to here are measured, or wait.
    seq: Seq,
    kept: (Seq, Duration),
    /// The look at every finished task, the newest first, that makes up for changes that were missed.
    walk: Option<Option<TaskId>>,
    waiting: VecDeque<Task>,
    chunks: usize,
    more: bool,
}

impl Measuring {
    /// Goes on where the last one stopped; the first one looks at everything.
    pub(super) async fn load(store: &dyn Store) -> Result<Measuring, StoreError> {
        let pins = store.pinned(POSITION).await?;
        let kept = pins.iter().find(|(key, _)| key == POSITION).and_then(|(_, text)| text.parse().ok());
        let (seq, walk) = match kept {
            Some(n) => (Seq(n), None),
            None => (store.head().await?, Some(None)),
        };
        let waiting = VecDeque::new();
        Ok(Measuring { seq, kept: (seq, Duration::ZERO), walk, waiting, chunks: 0, more: true })
    }

    /// Tasks that wait or are being measured, or may be found to.
    pub(super) fn under_way(&self) -> usize {
        self.waiting.len() + self.chunks + usize::from(self.has_more())
    }

    /// Whether there is more to look at without a change.
    pub(super) fn has_more(&self) -> bool {
        (self.more || self.walk.is_some()) && self.waiting.len() < MOST_WAITING
    }

    fn add(&mut self, tasks: impl Iterator<Item = Task>) {
        self.waiting.extend(tasks.filter(wants_size));
    }
}

/// Whether a task has a directory of its own whose size is not known.
fn wants_size(task: &Task) -> bool {
    let ran = matches!(&task.state, TaskState::Over { last: Some(_), .. });
    ran && task.disk.is_none() && task.spec.output == Output::Files
}

impl Archiver<'_> {
    /// Writes the sizes that are known, finds tasks that ended, and begins to measure.
    pub(super) async fn measure(
        &self,
        s: &State,
        m: &mut Measuring,
        measured: Vec<Sizes>,
        inflight: &mut Inflight<Done>,
    ) -> Result<(), StoreError> {
        m.chunks = m.chunks.saturating_sub(measured.len());
        self.write_sizes(s, measured.into_iter().flatten().collect(), inflight).await?;
        self.hear_ends(m, inflight).await?;
        self.walk_on(m, inflight).await?;
        while m.chunks < WALKERS && !m.waiting.is_empty() {
            let chunk: Vec<Task> = m.waiting.drain(..CHUNK.min(m.waiting.len())).collect();
            let files = Arc::clone(&self.files);
            m.chunks += 1;
            inflight.begin(async move {
                let mut sizes = Vec::with_capacity(chunk.len());
                for task in &chunk {
                    let size = guarded(files.size(task)).await;
                    sizes.push((task.id, size.unwrap_or_else(|panic| Err(panic.into()))));
                }
                Done::Measured(sizes)
            });
        }
        self.keep_position(m, inflight).await
    }

    async fn write_sizes(
        &self,
        s: &State,
        sizes: Sizes,
        inflight: &mut Inflight<Done>,
    ) -> Result<(), StoreError> {
        let ids: Vec<TaskId> = sizes.iter().map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let found = inflight.drive(self.world.store.get(&ids)).await?;
        let now = self.world.clock.now();
        let mut changes = Vec::new();
        for ((id, size), task) in sizes.into_iter().zip(found) {
            match (size, task) {
                (Ok(bytes), Some(task)) => {
                    // Archived or purged meanwhile: nothing fills the disk any more.
                    if let Ok(after) = task.after(&Event::Measured(bytes), now) {
                        changes.push(Change::of(&task, after, self.world.ops.next()));
                    }
                }
                (Ok(_), None) => {}
                (Err(err), _) => {
                    warn!(task = %id, err = %crate::chain(&*err), "job directory was not measured");
                }
            }
        }
        if !changes.is_empty() {
            // Who was faster archived the task, or asked for it: either way its files are about to go.
            inflight.drive(self.world.store.commit(changes, Some(&s.lease))).await?;
        }
        Ok(())
    }

    /// Reads who ended since the last look.
    async fn hear_ends(&self, m: &mut Measuring, inflight: &mut Inflight<Done>) -> Result<(), StoreError> {
        m.more = true;
        while m.waiting.len() < MOST_WAITING {
            let notes = match inflight.drive(self.world.store.changes(m.seq, NOTES)).await? {
                Changes::Notes(notes) => notes,
                Changes::TooOld(head) => {
                    (m.seq, m.walk) = (head, Some(None));
                    return Ok(());
                }
            };
            let ended: Vec<TaskId> = notes.iter().filter(|note| note.ends).map(|note| note.task).collect();
            for ids in ended.chunks(PAGE) {
                let tasks = inflight.drive(self.world.store.get(ids)).await?;
                m.add(tasks.into_iter().flatten());
            }
            match notes.last() {
                Some(last) => m.seq = last.seq,
                None => {
                    m.more = false;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Looks at the next page of all finished tasks, when that has to be.
    async fn walk_on(&self, m: &mut Measuring, inflight: &mut Inflight<Done>) -> Result<(), StoreError> {
        let Some(before) = m.walk.filter(|_| m.waiting.len() < MOST_WAITING) else { return Ok(()) };
        let phases = vec![Phase::Over];
        let query = TaskQuery { phases, before, limit: PAGE, ..TaskQuery::default() };
        let page = inflight.drive(self.world.store.find(&query)).await?;
        m.add(page.tasks.into_iter());
        m.walk = page.next.map(Some);
        Ok(())
    }

    /// Remembers how far it has come, once nothing waits.
    async fn keep_position(
        &self,
        m: &mut Measuring,
        inflight: &mut Inflight<Done>,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let done = m.waiting.is_empty() && m.chunks == 0 && !m.has_more();
        let (kept, at) = m.kept;
        if !done || kept == m.seq || (mono < at + KEEP && at > Duration::ZERO) {
            return Ok(());
        }
        let note = vec![(POSITION.to_owned(), Some(m.seq.0.to_string()))];
        inflight.drive(self.world.store.pin(note)).await?;
        m.kept = (m.seq, mono);
        Ok(())
    }
}
