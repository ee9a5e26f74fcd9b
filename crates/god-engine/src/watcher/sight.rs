//! What executors show, and what it means for the documents.

use super::*;
use crate::inflight::guarded;
use god_core::executor::Executor;
use god_core::store::{Changes, Scan};

/// Documents read in one question.
const PAGE: usize = 512;

impl Watcher<'_> {
    /// Reads the live tasks.
    pub(super) async fn load(&self, lease: Lease) -> Result<State, StoreError> {
        let mut state = State {
            lease,
            seq: self.world.store.head().await?,
            members: Members::default(),
            live: BTreeMap::new(),
            held: BTreeMap::new(),
            finished: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            strangers: BTreeMap::new(),
            reconciled_at: None,
            judge: false,
            pace: Pace::default(),
        };
        let scan = Scan::Phases(vec![Phase::Starting, Phase::Running]);
        let mut after = None;
        loop {
            let page = self.world.store.scan(&scan, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            page.into_iter().for_each(|task| watch(&mut state, task));
        }
        Ok(state)
    }

    /// Reads what changed: tasks that came to life, requests, ends written by others.
    pub(super) async fn hear(&self, s: &mut State, inflight: &mut Inflight) -> Result<(), StoreError> {
        loop {
            let notes = match inflight.drive(self.world.store.changes(s.seq, 4 * PAGE)).await? {
                Changes::Notes(notes) => notes,
                Changes::TooOld(_) => {
                    let members = std::mem::take(&mut s.members);
                    *s = inflight.drive(self.load(s.lease.clone())).await?;
                    s.members = members;
                    return Ok(());
                }
            };
            let Some(last) = notes.last() else { return Ok(()) };
            s.seq = last.seq;
            let mut wanted = BTreeSet::new();
            for note in &notes {
                if note.phase.is_live() {
                    let known = s.live.get(&note.task).is_some_and(|w| w.task.rev >= note.rev);
                    if known {
                        continue;
                    }
                    match self.world.store.at_hand(note.task, note.rev) {
                        Some(task) => {
                            wanted.remove(&note.task);
                            watch(s, task);
                        }
                        None => drop(wanted.insert(note.task)),
                    }
                } else {
                    if note.phase == Phase::Gathering {
                        // The children share their parent's fields.
                        let children = s.live.values().filter(|w| w.task.parent == Some(note.task));
                        wanted.extend(children.map(|w| w.task.id));
                    }
                    wanted.remove(&note.task);
                    s.live.remove(&note.task);
                    s.held.remove(&note.task);
                }
            }
            let ids: Vec<TaskId> = wanted.into_iter().collect();
            for page in ids.chunks(PAGE) {
                let docs = inflight.drive(self.world.store.get(page)).await?;
                docs.into_iter().flatten().for_each(|task| watch(s, task));
            }
            if notes.len() < 4 * PAGE {
                return Ok(());
            }
        }
    }

    /// Handles everything that came back since the last turn.
    pub(super) async fn see(&self, s: &mut State, inflight: &mut Inflight) -> Result<(), StoreError> {
        let now = self.world.clock.mono();
        let mut seen: Vec<(usize, Duration, RunEvent)> = Vec::new();
        let mut answers = Vec::new();
        let mut settled = Vec::new();
        let mut listed = Vec::new();
        for done in std::mem::take(&mut inflight.done) {
            match done {
                Done::Events { executor, stream, events: Some(events) } => {
                    seen.extend(events.into_iter().map(|e| (executor, now, e)));
                    listen(inflight, executor, stream);
                }
                Done::Events { executor, .. } => {
                    warn!(executor = %self.world.executors[executor].name(), "executor tells nothing any more");
                }
                Done::Observed { executor, asked, seen: observed, failed } => {
                    if let Some(why) = failed {
                        warn!(executor = %self.world.executors[executor].name(), why, "runs could not be observed");
                    }
                    seen.extend(observed.into_iter().map(|e| (executor, asked, e)));
                }
                Done::Listed { executor, seen: runs, failed } => {
                    if let Some(why) = failed {
                        warn!(executor = %self.world.executors[executor].name(), why, "runs could not be listed");
                    }
                    listed.push((executor, runs));
                }
                Done::Acted { results } => answers.extend(results),
                Done::Limited { results } => self.take_limits(s, results),
                Done::Settled { results } => settled.extend(results),
                Done::Forgot { executor, items, error } => {
                    if let Some(why) = error {
                        // What stays is found again by the next listing.
                        let name = self.world.executors[executor].name();
                        warn!(executor = %name, runs = items.len(), why, "leftovers were not removed");
                    }
                }
            }
        }
        self.take_sights(s, seen, inflight).await?;
        self.take_answers(s, answers, inflight).await?;
        self.take_settled(s, settled, inflight).await?;
        for (executor, runs) in listed {
            self.judge_strangers(s, executor, runs, inflight).await?;
        }
        Ok(())
    }

    /// Turns sights into events of tasks and writes them.
    async fn take_sights(
        &self,
        s: &mut State,
        seen: Vec<(usize, Duration, RunEvent)>,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        // An event may be faster than the note of its claim.
        let missing: BTreeSet<TaskId> = seen
            .iter()
            .filter(|(_, _, e)| !s.live.contains_key(&e.key.task) && !matches!(e.seen, Seen::Absent))
            .map(|(_, _, e)| e.key.task)
            .collect();
        let missing: Vec<TaskId> = missing.into_iter().collect();
        for page in missing.chunks(PAGE) {
            let docs = inflight.drive(self.world.store.get(page)).await?;
            docs.into_iter().flatten().for_each(|task| watch(s, task));
        }
        let mono = self.world.clock.mono();
        for (executor, asked, RunEvent { key, seen }) in seen {
            if !self.is_mine(s, key.task) {
                continue;
            }
            let Some(watched) = s.live.get_mut(&key.task) else { continue };
            let Some(attempt) = watched.task.state.attempt().filter(|a| a.number == key.attempt) else {
                continue;
            };
            let node = attempt.node.clone();
            let starting = matches!(watched.task.state, TaskState::Starting { .. });
            let (_, events) = s.held.entry(key.task).or_insert((mono, Vec::new()));
            match seen {
                Seen::Running { .. } | Seen::Paused { .. } => {
                    let paused = matches!(seen, Seen::Paused { .. });
                    let (Seen::Running { run, since } | Seen::Paused { run, since }) = seen else { continue };
                    watched.absent_since = None;
                    watched.look_at = None;
                    let told = matches!(watched.task.state, TaskState::Running { paused: true, .. });
                    watched.astray = !starting && told != paused;
                    if starting && events.is_empty() {
                        events.push(Event::Started { run, since });
                    }
                }
                Seen::Exited(exit) => {
                    if !matches!(events.last(), Some(Event::Ended(_))) {
                        if let (true, true, Some(since)) = (starting, events.is_empty(), exit.started) {
                            events.push(Event::Started { run: None, since });
                        }
                        events.push(Event::Ended(exit));
                    }
                }
                Seen::Absent => {
                    let settings = &self.world.settings;
                    let since = *watched.absent_since.get_or_insert(mono);
                    let claimed_only = starting && !watched.ran;
                    let grace = if claimed_only { settings.starting_grace } else { settings.absent_grace };
                    watched.look_at = Some((since + grace).max(mono + settings.retry));
                    // Two questions with the grace between them, not two answers.
                    if asked.saturating_sub(since) >= grace {
                        if !claimed_only {
                            events.push(Event::Ended(lost(self.world.clock.now(), &node)));
                        } else if let Some(run) = watched.task.run() {
                            // The scheduler had its time to start it (again): the latch says whether it ever will.
                            s.doubtful.entry(executor).or_default().push(run);
                        }
                    }
                }
                Seen::Unknown(why) if flaw::on(Flaw::UnknownMeansOver) => {
                    events.push(Event::Ended(god_core::Exit {
                        cause: god_core::executor::Cause::Code(0),
                        ..lost(self.world.clock.now(), &god_core::NodeName::new(why))
                    }));
                }
                Seen::Unknown(_) if flaw::on(Flaw::ForgetRunningOnError) => {
                    s.live.remove(&key.task);
                }
                Seen::Created | Seen::Unknown(_) => {
                    watched.absent_since = None;
                    watched.look_at = None;
                }
            }
            if s.held.get(&key.task).is_some_and(|(_, events)| events.is_empty()) {
                s.held.remove(&key.task);
            }
        }
        Ok(())
    }

    /// Writes what was seen. While many short tasks run, a start alone waits a moment for its end.
    pub(super) async fn write_held(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
        all: bool,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let settings = &self.world.settings;
        let busy = s.pace.is_busy(mono);
        let due = |since: &Duration, events: &[Event]| {
            all || !busy
                || matches!(events.last(), Some(Event::Ended(_)))
                || mono.saturating_sub(*since) >= settings.start_hold
        };
        let ids: Vec<TaskId> = s.held.iter().filter(|(_, (at, ev))| due(at, ev)).map(|(id, _)| *id).collect();
        for page in ids.chunks(settings.claim_batch) {
            let mut batch = BTreeMap::new();
            let mut tasks = Vec::new();
            for id in page {
                let (Some((_, events)), Some(watched)) = (s.held.remove(id), s.live.get(id)) else {
                    continue;
                };
                tasks.push(watched.task.clone());
                batch.insert(*id, (watched.task.state.attempt().map(|a| a.number), events));
            }
            self.write(s, tasks, batch, inflight).await?;
        }
        Ok(())
    }

    /// Commits events of tasks, and takes the documents over as they are afterwards.
    pub(super) async fn write(
        &self,
        s: &mut State,
        tasks: Vec<Task>,
        events: BTreeMap<TaskId, (Option<u32>, Vec<Event>)>,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        if tasks.is_empty() {
            return Ok(());
        }
        if flaw::on(Flaw::CleanBeforeRecord) {
            for task in &tasks {
                if let Some((Some(attempt), events)) = events.get(&task.id)
                    && matches!(events.last(), Some(Event::Ended(_)))
                {
                    self.note_finished(s, task, *attempt);
                }
            }
            self.forget_finished(s, inflight);
            inflight.drive(self.world.clock.sleep(Duration::from_millis(5))).await;
        }
        let (now, mono) = (self.world.clock.now(), self.world.clock.mono());
        let decide = |task: &Task| {
            let (attempt, events) = events.get(&task.id)?;
            let number = task.state.attempt().map(|a| a.number);
            if number.is_none() || number != *attempt {
                return None;
            }
            // The scheduler may have written the start already.
            let skip = usize::from(
                task.phase() == Phase::Running && matches!(events.first(), Some(Event::Started { .. })),
            );
            let rest = &events[skip..];
            if rest.is_empty() {
                return None;
            }
            match moves::change(task, rest, now, self.world) {
                Ok(change) => Some(change),
                Err(err) => {
                    warn!(task = %task.id, err = %err, "what was seen does not fit the document");
                    None
                }
            }
        };
        let lease = s.lease.clone();
        let moved = inflight.drive(moves::commit_decided(self.world, Some(&lease), tasks, decide)).await?;
        for (id, moved) in moved {
            let attempt = events.get(&id).and_then(|(attempt, _)| *attempt);
            match moved.task {
                Some(task) if task.phase().is_live() => watch(s, task),
                Some(task) => {
                    if moved.by_us {
                        info!(task = %id, phase = ?task.phase(), "task ended");
                        // It was submitted, claimed and started as well.
                        s.pace.moved(4, mono);
                    }
                    if let Some(attempt) = attempt {
                        self.note_finished(s, &task, attempt);
                    }
                    s.live.remove(&id);
                }
                None => {
                    s.live.remove(&id);
                }
            }
        }
        Ok(())
    }

    /// Remembers to remove what is left of an attempt whose end is durable.
    pub(super) fn note_finished(&self, s: &mut State, task: &Task, attempt: u32) {
        let name = match s.live.get(&task.id).and_then(|w| w.task.state.attempt()) {
            Some(a) if a.number == attempt => a.executor.clone(),
            _ => return,
        };
        if let Some(executor) = self.world.executors.iter().position(|e| *e.name() == name) {
            s.finished.entry(executor).or_default().push(finished(task, attempt));
        }
    }

    /// Compares all of this watcher's documents with the world, on a slow timer.
    pub(super) fn reconcile(&self, s: &mut State, inflight: &Inflight) {
        let mono = self.world.clock.mono();
        let settings = &self.world.settings;
        // An absent run is looked at again as soon as its grace is over.
        let due = |w: &Watched| w.look_at.is_some_and(|at| mono >= at);
        let absent = s.live.values().any(due);
        let full = s.reconciled_at.is_none_or(|at| mono >= at + settings.reconcile);
        if !full && !absent {
            return;
        }
        if full {
            s.reconciled_at = Some(mono);
            s.judge = true;
        }
        let mut by_executor: BTreeMap<usize, Vec<god_core::executor::Run>> = BTreeMap::new();
        let ids: Vec<TaskId> = s.live.iter().filter(|(_, w)| full || due(w)).map(|(id, _)| *id).collect();
        for id in ids {
            let mine = self.is_mine(s, id);
            let Some(watched) = s.live.get_mut(&id) else { continue };
            if watched.look_at.is_some() {
                watched.look_at = Some(mono + settings.retry);
            }
            if !mine {
                continue;
            }
            let (Some(run), Some(attempt)) = (watched.task.run(), watched.task.state.attempt()) else {
                continue;
            };
            if let Some(ix) = self.world.executors.iter().position(|e| *e.name() == attempt.executor) {
                by_executor.entry(ix).or_default().push(run);
            }
        }
        for (ix, runs) in by_executor {
            let plugin = std::sync::Arc::clone(&self.world.executors[ix]);
            inflight.begin(async move {
                let (seen, failed) = observe(&*plugin, &runs).await;
                let seen = runs.iter().zip(seen).map(|(r, seen)| RunEvent { key: r.key, seen }).collect();
                Done::Observed { executor: ix, asked: mono, seen, failed }
            });
        }
        // A listing is for the orphans only.
        for (ix, plugin) in self.world.executors.iter().enumerate() {
            if !full || flaw::on(Flaw::NoOrphanSearch) {
                continue;
            }
            let plugin = std::sync::Arc::clone(plugin);
            inflight.begin(async move {
                let (seen, failed) = match guarded(plugin.list()).await {
                    Ok(Ok(list)) => (list, None),
                    Ok(Err(err)) => (Vec::new(), Some(crate::chain(&err))),
                    Err(why) => (Vec::new(), Some(why)),
                };
                let seen = seen.into_iter().map(|l| RunEvent { key: l.key, seen: l.seen }).collect();
                Done::Listed { executor: ix, seen, failed }
            });
        }
    }
}

/// What an executor sees of runs, and why it could not say. A run over which it breaks is asked for alone, so that the
/// others are seen.
async fn observe(plugin: &dyn Executor, runs: &[Run]) -> (Vec<Seen>, Option<String>) {
    match guarded(plugin.observe(runs)).await {
        Ok(Ok(seen)) => (seen, None),
        Ok(Err(err)) => {
            let why = crate::chain(&err);
            (vec![Seen::Unknown(why.clone()); runs.len()], Some(why))
        }
        Err(why) if runs.len() == 1 => (vec![Seen::Unknown(why.clone())], Some(why)),
        Err(why) => {
            let mut all = Vec::with_capacity(runs.len());
            for run in runs {
                match guarded(plugin.observe(std::slice::from_ref(run))).await {
                    Ok(Ok(mut seen)) if seen.len() == 1 => all.append(&mut seen),
                    Ok(Ok(_)) => all.push(Seen::Unknown("no answer".to_owned())),
                    Ok(Err(err)) => all.push(Seen::Unknown(crate::chain(&err))),
                    Err(why) => all.push(Seen::Unknown(why)),
                }
            }
            (all, Some(why))
        }
    }
}

/// Takes a live document over, unless a newer one is known.
pub(super) fn watch(s: &mut State, task: Task) {
    if !task.phase().is_live() {
        s.live.remove(&task.id);
        return;
    }
    match s.live.get_mut(&task.id) {
        Some(watched) => {
            if task.rev >= watched.task.rev {
                let same =
                    watched.task.state.attempt().map(|a| a.number) == task.state.attempt().map(|a| a.number);
                let wish = watched.task.wish.as_ref().map(|w| w.seq) == task.wish.as_ref().map(|w| w.seq);
                // Absent before its start says nothing of it once it runs.
                if !same || watched.task.phase() != task.phase() {
                    watched.absent_since = None;
                    watched.look_at = None;
                    watched.ran = false;
                    watched.ran_for = None;
                }
                if !same || !wish {
                    watched.acted_at = None;
                }
                if !same {
                    // Work on the attempt before says nothing of this one.
                    watched.busy = false;
                    watched.astray = false;
                }
                if same && watched.task.spec.limit() != task.spec.limit() {
                    watched.relimit_at = Some(Duration::ZERO);
                }
                watched.task = task;
            }
        }
        None => {
            s.live.insert(task.id, Watched::new(task));
        }
    }
}

fn lost(now: god_core::Timestamp, node: &god_core::NodeName) -> god_core::Exit {
    god_core::Exit {
        cause: god_core::executor::Cause::Lost(format!("the run is not on node {node} any more")),
        by_request: false,
        started: None,
        ended: now,
        cpu_us: 0,
        max_rss: god_core::Bytes(0),
    }
}
