//! What the scheduler hears: everything at the start, then the sequence of changes.

use super::board::BoardTold;
use super::books::BooksRead;
use super::starts::Starting;
use super::{Inflight, Scheduler, State};
use crate::accounts::Accounts;
use crate::capacity::Capacity;
use crate::pace::Pace;
use crate::pending::Pending;
use crate::plan::Turns;
use god_core::group::Group;
use god_core::ids::TaskId;
use god_core::reason::{Code, Reason};
use god_core::spec::AfterPolicy;
use god_core::state::{Event, Outcome, Phase};
use god_core::store::{Change, ChangeNote, Changes, Committed, Lease, Scan, StoreError};
use god_core::task::Task;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tracing::info;

/// What a pin is called that says why a watcher does not let a task start.
const REFUSED: &str = "why/task/";
/// Documents read in one question.
const PAGE: usize = 512;

impl Scheduler<'_> {
    /// Reads all that is not over.
    pub(super) async fn load(&self, lease: Lease) -> Result<State, StoreError> {
        let store = &self.world.store;
        let names = self.world.executors.iter().map(|e| e.name().clone()).collect();
        let mut state = State {
            lease,
            // Taken before the scan: what changes meanwhile is heard again, which does no harm.
            seq: store.head().await?,
            pending: Pending::default(),
            capacity: Capacity::new(names, self.world.settings.ports.clone())
                .skipping_failed_nodes(self.world.settings.skip_failed_nodes),
            accounts: Accounts::new(self.world.settings.disk_quota, self.world.settings.usage_days),
            turns: Turns::default(),
            doomed: BTreeSet::new(),
            books: BooksRead::default(),
            told: BoardTold::default(),
            starting: BTreeMap::new(),
            to_start: BTreeMap::new(),
            nodes_at: None,
            reconciled_at: self.world.clock.mono(),
            pins: BTreeMap::new(),
            again: BTreeSet::new(),
            refused: store.pinned(REFUSED).await?.into_iter().map(|(key, _)| key).collect(),
            pace: Pace::default(),
            maintenance: self.in_maintenance().await?,
        };
        // Parents first, so that their children find them.
        for phases in [vec![Phase::Gathering], vec![Phase::Starting, Phase::Running], vec![Phase::Pending]] {
            let scan = Scan::Phases(phases);
            let mut after = None;
            loop {
                let page = store.scan(&scan, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.id);
                self.take_in(&mut state, page).await?;
            }
        }
        Ok(state)
    }

    pub(super) async fn in_maintenance(&self) -> Result<bool, StoreError> {
        let notes = self.world.store.pinned("maintenance").await?;
        Ok(notes.iter().any(|(key, value)| key == "maintenance" && value == "on"))
    }

    /// Reads what changed since the last turn, a bounded part of it.
    pub(super) async fn hear(&self, s: &mut State, inflight: &mut Inflight) -> Result<(), StoreError> {
        // A burst of submits is taken in before the next pass, but not without end.
        for _ in 0..8 {
            let answer = inflight.drive(self.world.store.changes(s.seq, 4 * PAGE)).await?;
            let notes = match answer {
                Changes::Notes(notes) => notes,
                Changes::TooOld(head) => {
                    info!(seq = head.0, "too far behind the changes, reading everything again");
                    *s = self.load(s.lease.clone()).await?;
                    return Ok(());
                }
            };
            let Some(last) = notes.last() else { return Ok(()) };
            let full = notes.len() >= 4 * PAGE;
            s.seq = last.seq;
            s.told.news();
            s.pace.moved(notes.len(), self.world.clock.mono());
            let (wanted, at_hand) = self.sort_out(s, &notes);
            for ids in wanted.chunks(PAGE) {
                let docs = inflight.drive(self.world.store.get(ids)).await?;
                self.take_in(s, docs.into_iter().flatten().collect()).await?;
            }
            self.take_in(s, at_hand).await?;
            if !full {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Handles the notes that say enough by themselves; answers the ids whose documents are needed, and the documents
    /// that are at hand.
    fn sort_out(&self, s: &mut State, notes: &[ChangeNote]) -> (Vec<TaskId>, Vec<Task>) {
        let mono = self.world.clock.mono();
        let mut wanted = BTreeSet::new();
        let mut at_hand: BTreeMap<TaskId, Task> = BTreeMap::new();
        for note in notes {
            at_hand.remove(&note.task);
            match note.phase {
                Phase::Pending => {
                    self.free(s, note.task, mono);
                    match self.world.store.at_hand(note.task, note.rev) {
                        Some(task) => {
                            wanted.remove(&note.task);
                            at_hand.insert(note.task, task);
                        }
                        None => drop(wanted.insert(note.task)),
                    }
                }
                Phase::Starting => {
                    if s.capacity.held(note.task).is_none() {
                        wanted.insert(note.task);
                    }
                }
                Phase::Running => {
                    s.starting.remove(&note.task);
                    if s.capacity.held(note.task).is_none() {
                        wanted.insert(note.task);
                    }
                }
                Phase::Gathering => {
                    // Children that are claimed from now on share what was changed of their parent.
                    let is_newer = s.pending.array(note.task).is_some_and(|a| a.parent.rev < note.rev);
                    if note.wished || is_newer {
                        wanted.insert(note.task);
                    }
                }
                Phase::Held => self.free(s, note.task, mono),
                // What comes after the end (measured, asked to be archived) changes nothing here.
                Phase::Over if !note.ends => {}
                Phase::Over => {
                    wanted.remove(&note.task);
                    self.free(s, note.task, mono);
                    if let Some(array) = note.parent.and_then(|p| s.pending.array_mut(p)) {
                        array.over += 1;
                    }
                    s.pending.drop_array(note.task);
                    wanted.extend(s.pending.released_by(note.task));
                }
                Phase::Archived => {}
            }
        }
        (wanted.into_iter().collect(), at_hand.into_values().collect())
    }

    /// A task holds no room any more.
    fn free(&self, s: &mut State, id: TaskId, mono: std::time::Duration) {
        s.starting.remove(&id);
        self.faults().remove(&id);
        if let Some(held) = s.capacity.give(id, mono, self.world.settings.short_run) {
            s.accounts.ended(held.who, held.charge);
            if let Some(parent) = held.parent {
                s.pending.child_live(parent, -1);
            }
        }
    }

    /// Puts documents where they belong.
    async fn take_in(&self, s: &mut State, docs: Vec<Task>) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let parents = self.parents_of(&docs).await?;
        let mut skipped = Vec::new();
        for task in docs {
            match task.phase() {
                Phase::Starting | Phase::Running => {
                    if s.capacity.held(task.id).is_none() {
                        s.occupy(&task, mono);
                        if let Some(parent) = task.parent {
                            s.pending.child_live(parent, 1);
                        }
                    }
                    if task.phase() == Phase::Starting && !s.starting.contains_key(&task.id) {
                        // Claimed by a scheduler before us, or by us before an answer was lost: start it (again). The
                        // same attempt never makes two runs.
                        s.starting.insert(task.id, Starting::due(mono));
                    }
                }
                Phase::Gathering => self.add(s, task).await?,
                // An array that waits for others and has children of its own to end first.
                Phase::Pending if task.kill_wanted() => self.add(s, task).await?,
                Phase::Pending => match self.readiness(&task, &parents) {
                    Ready::Now => match self.refusal(&task) {
                        None => {
                            self.forget_refusal(s, task.id);
                            self.add(s, task).await?;
                        }
                        Some(why) => {
                            let key = format!("{REFUSED}{}", task.id);
                            s.refused.insert(key.clone());
                            let reason = Reason::new(Code::Watcher, why);
                            s.pins.insert(key, serde_json::to_string(&reason).ok());
                            s.again.insert(task.id);
                        }
                    },
                    Ready::After(waits) => s.pending.wait(task.id, &waits),
                    Ready::Never(why) => skipped.push((task, why)),
                },
                Phase::Held | Phase::Over | Phase::Archived => self.forget_refusal(s, task.id),
            }
        }
        // Children before their parents, which can not end before them.
        skipped.sort_by_key(|(task, _)| task.parent.is_none());
        for (task, why) in skipped {
            self.skip(s, task, why).await?;
        }
        Ok(())
    }

    /// Adds a task that may start; for an array, with what the store knows of its children.
    async fn add(&self, s: &mut State, task: Task) -> Result<(), StoreError> {
        let made = if task.children.made > 0 && s.pending.array(task.id).is_none() {
            self.world.store.made(task.id).await?
        } else {
            Vec::new()
        };
        s.pending.add(task, made, &mut s.accounts);
        Ok(())
    }

    /// Documents of the tasks that the pending ones among `docs` wait for.
    async fn parents_of(&self, docs: &[Task]) -> Result<HashMap<TaskId, Option<Task>>, StoreError> {
        let ids: BTreeSet<TaskId> = docs
            .iter()
            .filter(|t| t.phase() == Phase::Pending)
            .flat_map(|t| t.spec.after.iter().copied())
            .collect();
        let ids: Vec<TaskId> = ids.into_iter().collect();
        let mut found = HashMap::new();
        for page in ids.chunks(PAGE) {
            let docs = self.world.store.get(page).await?;
            found.extend(page.iter().copied().zip(docs));
        }
        Ok(found)
    }

    fn readiness(&self, task: &Task, parents: &HashMap<TaskId, Option<Task>>) -> Ready {
        let mut waits = Vec::new();
        for id in &task.spec.after {
            // A parent that was purged counts as over.
            let Some(Some(parent)) = parents.get(id) else { continue };
            match parent.state.outcome() {
                None => waits.push(*id),
                Some(outcome) if task.spec.after_policy == AfterPolicy::Ok && !outcome.is_success() => {
                    return Ready::Never(format!("Task {id} did not succeed: {outcome}"));
                }
                Some(_) => {}
            }
        }
        if waits.is_empty() { Ready::Now } else { Ready::After(waits) }
    }

    /// Why a watcher does not let a task start, if one does not.
    fn refusal(&self, task: &Task) -> Option<String> {
        self.world.watchers.iter().find_map(|watcher| {
            match catch_unwind(AssertUnwindSafe(|| watcher.can_start(task))) {
                Ok(answer) => answer.err(),
                Err(_) => Some(format!("Watcher {} broke over this task", watcher.name())),
            }
        })
    }

    /// A task that a watcher had refused may start, or waits no more.
    fn forget_refusal(&self, s: &mut State, id: TaskId) {
        let key = format!("{REFUSED}{id}");
        if s.refused.remove(&key) {
            s.pins.insert(key, None);
        }
    }

    /// Ends a task whose parents did not succeed.
    async fn skip(&self, s: &mut State, task: Task, why: String) -> Result<(), StoreError> {
        let now = self.world.clock.now();
        let Ok(next) = task.after(&Event::EndedUnstarted(Outcome::Skipped(why)), now) else { return Ok(()) };
        let change = Change::of(&task, next, self.world.ops.next());
        if self.world.store.commit(vec![change], Some(&s.lease)).await? != [Committed::Done] {
            // Somebody else moved it, or a child of it is not over yet.
            s.again.insert(task.id);
        }
        Ok(())
    }

    /// Looks again at the tasks that could not be ended when it was tried.
    pub(super) async fn take_in_again(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let ids: Vec<TaskId> = std::mem::take(&mut s.again).into_iter().collect();
        for page in ids.chunks(PAGE) {
            let docs = inflight.drive(self.world.store.get(page)).await?;
            self.take_in(s, docs.into_iter().flatten().collect()).await?;
        }
        Ok(())
    }
}

impl State {
    /// Books the room and the quota of a live task.
    fn occupy(&mut self, task: &Task, mono: std::time::Duration) {
        let who = self.accounts.who(&Group::of(&task.spec));
        if let Some(charge) = self.capacity.take(task, who, mono) {
            self.accounts.hold(who, charge);
        }
    }
}

/// Whether a pending task may be tried.
enum Ready {
    Now,
    After(Vec<TaskId>),
    Never(String),
}
