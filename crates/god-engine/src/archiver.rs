//! The archiver: removes the files, and where it was asked for the records, of tasks that are over; and measures what
//! finished tasks fill on the disk.
//!
//! What is to be done stands in the documents, so any number may die at any point: files go first, the document follows,
//! and whoever comes next finds what is left and does it again. One archiver works at a time, under a lease.

mod measure;
mod remove;

use crate::inflight::{Inflight, guarded};
use crate::lease::Tenure;
use crate::signal::Signal;
use crate::world::World;
use futures::future::select;
use god_core::BoxError;
use god_core::files::JobFiles;
use god_core::ids::TaskId;
use god_core::store::{Lease, Scan, Seq, StoreError};
use god_core::task::Task;
use measure::{Measuring, Sizes};
use remove::Kit;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tracing::{info, warn};

/// Tasks whose files are removed at the same time.
const REMOVERS: usize = 16;
/// Requests read in one question.
const PAGE: usize = 256;
/// How long changes gather before they are looked at: nobody waits for an archiver.
const GATHER: Duration = Duration::from_millis(100);
/// The first pause after a failure; it doubles with each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// An archiver process.
#[derive(Debug)]
pub struct Archiver<'a> {
    world: &'a World,
    files: Arc<dyn JobFiles>,
    measures: bool,
    tenure: &'a Tenure,
    stop: &'a Signal,
    beat: &'a Signal,
    under_way: &'a AtomicUsize,
}

/// What it knows.
#[derive(Debug)]
struct State {
    lease: Lease,
    seq: Seq,
    /// Requests that were read, and where the next ones are.
    queue: VecDeque<Task>,
    after: Option<TaskId>,
    busy: BTreeSet<TaskId>,
    /// When a task is tried again that could not be removed, and the pause that this makes.
    failed: BTreeMap<TaskId, (Duration, Duration)>,
    measuring: Option<Measuring>,
}

/// What comes back from work beside the loop.
#[derive(Debug)]
enum Done {
    Removed { task: TaskId, result: Result<(), BoxError> },
    Measured(Sizes),
}

impl<'a> Archiver<'a> {
    /// An archiver that acts while `tenure` holds, until `stop` is rung. It measures what tasks fill if `measures`.
    /// `beat` is rung once a turn; `under_way` is the number of tasks it works on.
    #[must_use]
    pub fn new(
        world: &'a World,
        files: Arc<dyn JobFiles>,
        measures: bool,
        (tenure, stop): (&'a Tenure, &'a Signal),
        beat: &'a Signal,
        under_way: &'a AtomicUsize,
    ) -> Self {
        Archiver { world, files, measures, tenure, stop, beat, under_way }
    }

    /// Works until stopped. What is under way then is left; it is done again by whoever comes next.
    pub async fn run(&self) {
        let mut inflight = Inflight::default();
        let mut state: Option<State> = None;
        while self.stop.rings() == 0 {
            self.beat.ring();
            let lease = self.tenure.current(self.world.clock.mono());
            let known = state.as_ref().map(|s| &s.lease);
            if lease.is_none() || (known.is_some() && known != lease.as_ref()) {
                state = None;
                // Their writes would be refused.
                inflight = Inflight::default();
                self.under_way.store(0, Ordering::Relaxed);
            }
            let Some(lease) = lease else {
                let pause = pin!(self.world.clock.sleep(self.world.settings.standby_poll));
                select(pause, pin!(self.stop.past(0))).await;
                continue;
            };
            if let Err(err) = self.turn(&mut state, lease.clone(), &mut inflight).await {
                warn!(err = %crate::chain(&err), "archiver turn failed, reading everything again");
                if matches!(err, StoreError::Fenced(_)) {
                    self.tenure.lost(&lease);
                }
                state = None;
                inflight = Inflight::default();
                self.under_way.store(0, Ordering::Relaxed);
                self.world.clock.sleep(self.world.settings.standby_poll).await;
            }
        }
    }

    async fn turn(
        &self,
        state: &mut Option<State>,
        lease: Lease,
        inflight: &mut Inflight<Done>,
    ) -> Result<(), StoreError> {
        if state.is_none() {
            let measuring =
                if self.measures { Some(Measuring::load(&*self.world.store).await?) } else { None };
            let seq = self.world.store.head().await?;
            *state = Some(State {
                lease,
                seq,
                queue: VecDeque::new(),
                after: None,
                busy: BTreeSet::new(),
                failed: BTreeMap::new(),
                measuring,
            });
        }
        let Some(s) = state.as_mut() else { return Ok(()) };
        // Before the questions: what comes after them rings.
        s.seq = inflight.drive(self.world.store.head()).await?;
        let mut measured = Vec::new();
        for done in std::mem::take(&mut inflight.done) {
            match done {
                Done::Removed { task, result } => self.removed(s, task, result)?,
                Done::Measured(sizes) => measured.push(sizes),
            }
        }
        self.remove(s, inflight).await?;
        if let Some(mut measuring) = s.measuring.take() {
            self.measure(s, &mut measuring, measured, inflight).await?;
            s.measuring = Some(measuring);
        }
        let measuring = s.measuring.as_ref().map_or(0, Measuring::under_way);
        self.under_way.store(s.busy.len() + s.queue.len() + measuring, Ordering::Relaxed);
        if inflight.done.is_empty() {
            self.wait(s, inflight).await;
        }
        Ok(())
    }

    /// Begins to remove what is asked for, as far as there is room.
    async fn remove(&self, s: &mut State, inflight: &mut Inflight<Done>) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        while s.busy.len() < REMOVERS {
            let Some(task) = s.queue.pop_front() else {
                let page = inflight.drive(self.world.store.scan(&Scan::ToRemove, s.after, PAGE)).await?;
                s.after = page.last().map(|task| task.id);
                if page.is_empty() {
                    // Gone by another hand.
                    s.failed.retain(|_, (until, _)| mono < *until + LONGEST_PAUSE);
                    return Ok(());
                }
                s.queue = page.into();
                continue;
            };
            let waits = s.failed.get(&task.id).is_some_and(|(until, _)| mono < *until);
            if waits || !s.busy.insert(task.id) {
                continue;
            }
            let kit = Kit::of(self.world, &self.files, &s.lease);
            inflight.begin(async move {
                let id = task.id;
                let result = guarded(kit.remove(task)).await;
                Done::Removed { task: id, result: result.unwrap_or_else(|panic| Err(panic.into())) }
            });
        }
        Ok(())
    }

    /// Takes note of how a removal went.
    fn removed(&self, s: &mut State, task: TaskId, result: Result<(), BoxError>) -> Result<(), StoreError> {
        s.busy.remove(&task);
        match result {
            Ok(()) => {
                s.failed.remove(&task);
                info!(%task, "files removed");
            }
            Err(err) => {
                let err = match err.downcast::<StoreError>() {
                    Ok(err) if matches!(*err, StoreError::Fenced(_)) => return Err(*err),
                    Ok(err) => err as BoxError,
                    Err(err) => err,
                };
                let before = s.failed.get(&task).map(|(_, pause)| *pause * 2);
                let pause = before.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
                s.failed.insert(task, (self.world.clock.mono() + pause, pause));
                warn!(%task, err = %crate::chain(&*err), pause_seconds = pause.as_secs(), "files were not removed");
            }
        }
        Ok(())
    }

    async fn wait(&self, s: &State, inflight: &mut Inflight<Done>) {
        let mono = self.world.clock.mono();
        let mut until = mono + self.world.settings.lease_ttl / 3;
        // What is due already waits for room.
        for (at, _) in s.failed.values().filter(|(at, _)| *at > mono) {
            until = until.min(*at);
        }
        if s.measuring.as_ref().is_some_and(Measuring::has_more) {
            until = mono;
        }
        let span = until.saturating_sub(mono).max(Duration::from_millis(1));
        let rung = pin!(async {
            self.world.store.rung(s.seq).await;
            self.world.clock.sleep(GATHER).await;
        });
        let timer = pin!(self.world.clock.sleep(span));
        let stop = pin!(self.stop.past(0));
        inflight.next_or(select(select(rung, timer), stop)).await;
    }
}

#[cfg(test)]
mod tests;
