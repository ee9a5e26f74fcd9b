//! The jobs of the keeper: which wait, which run, how they ended; and everything that can be done
//! to them. Knows no sockets: the loop hands requests in and takes events out.

mod ends;
mod starts;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use god_runtime::keeper::{Event, Outcome, Seen};
use god_runtime::latch::{Latch, Taken, Verdict};
use god_runtime::launch::{ExitRecord, Key, Launch, Needs};

use super::journal::{Intent, Journal, Line, Past, Start};
use super::marks::{self, Marks};
use super::prepared::Prepared;
use super::slots::Slots;
use crate::deadlines::Deadlines;
use crate::{spawn, sys};

/// Everything about jobs.
#[derive(Debug)]
pub struct Jobs {
    latch: Latch,
    journal: Journal,
    slots: Option<Slots>,
    marks: Marks,
    stack: spawn::Stack,
    /// `/dev/null`, open for as long as `descriptors` may name it.
    _null: File,
    descriptors: spawn::Descriptors,
    /// Limit of open descriptors for jobs, as this process found it.
    open_files: Option<libc::rlimit>,
    min_uid: u32,
    boot: String,
    capacity: Needs,
    used: Used,
    entries: HashMap<Key, Entry>,
    by_pid: HashMap<i32, Key>,
    queue: VecDeque<Key>,
    living_marks: HashSet<u64>,
    alarms: BTreeSet<(u64, Key)>,
    events: Vec<Event>,
    /// Adopted processes not yet watched by the loop.
    to_watch: Vec<(Key, i32)>,
    n_running: usize,
    n_queued: usize,
    sweep_at: Option<u64>,
    retry_at: Option<u64>,
    is_closing: bool,
}

/// What running jobs take together.
#[derive(Debug, Default)]
struct Used {
    cores: u64,
    memory: u64,
}

#[derive(Debug)]
enum Entry {
    Queued(Waiting),
    Running(Box<Running>),
    Exited(ExitRecord),
    NeverRan,
}

#[derive(Debug)]
struct Waiting {
    prepared: Rc<Prepared>,
    launch: Launch,
}

#[derive(Debug)]
struct Running {
    intent: Intent,
    start: Start,
    /// Where `god.info` goes and whose it is.
    info: Option<(OwnedFd, u32, u32)>,
    /// Set for a job that an earlier keeper started.
    adopted: Option<OwnedFd>,
    paused: bool,
    timed_out: bool,
    killed: bool,
    deadlines: Deadlines,
    /// Its entry in the alarms.
    alarm: Option<u64>,
    /// The script ended; others of the job are still dying. Until when we wait for them.
    ended: Option<(ExitRecord, u64)>,
}

impl Jobs {
    /// Takes over what the journal left and is ready for requests.
    #[expect(clippy::too_many_arguments, reason = "called once; each is a separate resource")]
    pub fn new(
        latch: Latch,
        journal: (Journal, HashMap<Key, Past>),
        slots: Option<Slots>,
        stack: spawn::Stack,
        null: File,
        open_files: Option<libc::rlimit>,
        boot: String,
        (min_uid, capacity): (u32, Needs),
    ) -> Self {
        let (journal, past) = journal;
        let mut jobs = Self {
            latch,
            journal,
            slots,
            marks: Marks::new(),
            stack,
            descriptors: spawn::Descriptors::cheapest(null.as_raw_fd()),
            _null: null,
            open_files,
            min_uid,
            boot,
            capacity,
            used: Used::default(),
            entries: HashMap::new(),
            by_pid: HashMap::new(),
            queue: VecDeque::new(),
            living_marks: HashSet::new(),
            alarms: BTreeSet::new(),
            events: Vec::new(),
            to_watch: Vec::new(),
            n_running: 0,
            n_queued: 0,
            sweep_at: None,
            retry_at: None,
            is_closing: false,
        };
        jobs.take_over(past);
        jobs
    }

    /// Jobs that run, those included whose last processes are dying.
    pub fn n_running(&self) -> usize {
        self.n_running
    }

    /// Jobs that wait.
    pub fn n_queued(&self) -> usize {
        self.n_queued
    }

    /// No job and no result not yet forgotten.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What all jobs together may take.
    pub fn capacity(&self) -> Needs {
        self.capacity
    }

    /// Sets what all jobs together may take.
    pub fn set_capacity(&mut self, capacity: Needs) {
        self.capacity = capacity;
    }

    /// Memory and cores are enforced.
    pub fn has_slots(&self) -> bool {
        self.slots.is_some()
    }

    /// The next point in time at which [`Self::on_time`] has something to do.
    pub fn next_alarm(&self) -> Option<u64> {
        let alarm = self.alarms.first().map(|(at, _)| *at);
        [alarm, self.sweep_at, self.retry_at].into_iter().flatten().min()
    }

    /// Adopted processes the loop should watch from now on: key and descriptor.
    pub fn take_to_watch(&mut self) -> Vec<(Key, i32)> {
        std::mem::take(&mut self.to_watch)
    }

    /// Ends a turn of the loop: notes what happened where a successor finds it, then gives out
    /// what subscribers should hear.
    pub fn end_turn(&mut self) -> Vec<Event> {
        if let Err(err) = self.journal.flush() {
            eprintln!("cannot write the journal, will try again: {err}");
            self.retry_at = Some(sys::boot_ms() + 1000);
        }
        if self.journal.wants_compaction() {
            let lines: Vec<Line> = self.entries.iter().flat_map(|(key, entry)| entry.lines(*key)).collect();
            if let Err(err) = self.journal.compact(&self.boot, lines.into_iter()) {
                eprintln!("cannot write the journal anew: {err}");
            }
        }
        std::mem::take(&mut self.events)
    }

    /// Looks at one job.
    pub fn observe(&self, key: Key) -> Seen {
        match self.entries.get(&key) {
            Some(entry) => entry.seen(),
            None => match self.latch.peek(key.task) {
                Ok(on_record) => {
                    let of_us = on_record.filter(|(attempt, _)| *attempt >= key.attempt);
                    Seen::Absent { latch: of_us.map(|(_, verdict)| verdict) }
                }
                Err(err) => {
                    eprintln!("{err}");
                    // Not known to be free, so it counts as used.
                    Seen::Absent { latch: Some(Verdict::Started) }
                }
            },
        }
    }

    /// Looks at every job.
    pub fn observe_all(&self) -> Vec<(Key, Seen)> {
        self.entries.iter().map(|(key, entry)| (*key, entry.seen())).collect()
    }

    /// Sends a signal to all processes of a job.
    pub fn signal(&mut self, key: Key, signal: i32) -> Outcome {
        match self.entries.get(&key) {
            Some(Entry::Running(running)) => {
                signal_all(self.slots.as_ref(), running, signal);
                Outcome::Done
            }
            Some(Entry::Queued(_)) => Outcome::Failed { reason: "it has not started".to_owned() },
            Some(Entry::Exited(_)) => Outcome::AlreadyEnded,
            Some(Entry::NeverRan) => Outcome::NeverRan,
            None => Outcome::Absent,
        }
    }

    /// Ends a job: TERM now, KILL after the grace. Repeating it can only shorten the grace.
    pub fn kill(&mut self, key: Key, grace_seconds: u64) -> Outcome {
        match self.entries.get_mut(&key) {
            Some(Entry::Running(running)) => {
                let first = !std::mem::replace(&mut running.killed, true);
                let now = sys::boot_ms();
                if grace_seconds == 0 {
                    signal_all(self.slots.as_ref(), running, libc::SIGKILL);
                    thaw(self.slots.as_ref(), running);
                    // Again and again, should a process appear meanwhile.
                    running.deadlines.kill_at(now + 100);
                } else {
                    if first {
                        signal_all(self.slots.as_ref(), running, libc::SIGTERM);
                        thaw(self.slots.as_ref(), running);
                    }
                    running.deadlines.kill_at(now.saturating_add(grace_seconds.saturating_mul(1000)));
                }
                set_alarm(&mut self.alarms, key, running);
                Outcome::Done
            }
            Some(Entry::Queued(_)) => self.take_out(key),
            Some(Entry::Exited(_)) => Outcome::AlreadyEnded,
            Some(Entry::NeverRan) => Outcome::NeverRan,
            None => Outcome::Absent,
        }
    }

    /// Takes a waiting job out for good.
    fn take_out(&mut self, key: Key) -> Outcome {
        match self.latch.take(key, Verdict::Abandoned) {
            Ok(Taken::Won | Taken::Lost { verdict: Verdict::Abandoned, .. }) => {
                self.settle_never_ran(key);
                Outcome::NeverRan
            }
            Ok(Taken::Lost { .. }) => {
                Outcome::Failed { reason: "its latch says that it started elsewhere".to_owned() }
            }
            Err(err) => Outcome::Failed { reason: err.to_string() },
        }
    }

    fn settle_never_ran(&mut self, key: Key) {
        self.journal.note(&Line::NeverRan(key));
        self.events.push(Event::NeverRan { key });
        if let Some(Entry::Queued(_)) = self.entries.insert(key, Entry::NeverRan) {
            self.n_queued -= 1;
        }
    }

    /// Stops all processes of a job, or lets them go on.
    pub fn pause(&mut self, key: Key, paused: bool) -> Outcome {
        match self.entries.get_mut(&key) {
            Some(Entry::Running(running)) => {
                // Also when it seems to be so already: of an adopted job we do not know.
                let done = match (&self.slots, running.intent.slot) {
                    (Some(slots), Some(slot)) => slots.freeze(slot, paused),
                    _ => {
                        let signal = if paused { libc::SIGSTOP } else { libc::SIGCONT };
                        signal_all(self.slots.as_ref(), running, signal);
                        Ok(())
                    }
                };
                match done {
                    Ok(()) => {
                        running.paused = paused;
                        Outcome::Done
                    }
                    Err(err) => Outcome::Failed { reason: format!("cannot change the freezer: {err}") },
                }
            }
            Some(Entry::Queued(_)) => Outcome::Failed { reason: "it has not started".to_owned() },
            Some(Entry::Exited(_)) => Outcome::AlreadyEnded,
            Some(Entry::NeverRan) => Outcome::NeverRan,
            None => Outcome::Absent,
        }
    }

    /// Changes how long a job may run, counted from its start.
    pub fn limit(&mut self, key: Key, seconds: Option<u64>) -> Outcome {
        match self.entries.get_mut(&key) {
            Some(Entry::Running(running)) => {
                running.intent.timing.time_limit_seconds = seconds;
                // One that was told to end for its limit keeps that end.
                if !running.timed_out {
                    running.deadlines.set_limit(seconds);
                    set_alarm(&mut self.alarms, key, running);
                }
                Outcome::Done
            }
            Some(Entry::Queued(_)) => Outcome::Failed { reason: "it has not started".to_owned() },
            Some(Entry::Exited(_)) => Outcome::AlreadyEnded,
            Some(Entry::NeverRan) => Outcome::NeverRan,
            None => Outcome::Absent,
        }
    }

    /// Drops the results of these jobs.
    pub fn forget(&mut self, keys: &[Key]) -> Vec<(Key, Outcome)> {
        let mut dropped = Vec::new();
        let mut forget_one = |key: Key| match self.entries.get(&key) {
            Some(Entry::Exited(_) | Entry::NeverRan) => {
                self.entries.remove(&key);
                dropped.push(key);
                Outcome::Done
            }
            Some(Entry::Queued(_) | Entry::Running(_)) => {
                Outcome::Failed { reason: "it has not ended".to_owned() }
            }
            None => Outcome::Absent,
        };
        let outcomes = keys.iter().map(|key| (*key, forget_one(*key))).collect();
        if !dropped.is_empty() {
            self.journal.note(&Line::Forgot(dropped));
        }
        outcomes
    }

    /// Makes sure that an attempt which has not started never will.
    pub fn abandon(&mut self, key: Key) -> Outcome {
        match self.entries.get(&key) {
            Some(Entry::Running(_) | Entry::Exited(_)) => Outcome::AlreadyRan,
            Some(Entry::Queued(_)) => self.take_out(key),
            Some(Entry::NeverRan) => Outcome::NeverRan,
            None => match self.latch.take(key, Verdict::Abandoned) {
                Ok(Taken::Won) => Outcome::NeverRan,
                Ok(Taken::Lost { attempt, verdict: Verdict::Abandoned }) if attempt == key.attempt => {
                    Outcome::NeverRan
                }
                Ok(Taken::Lost { .. }) => Outcome::AlreadyRan,
                Err(err) => Outcome::Failed { reason: err.to_string() },
            },
        }
    }

    /// The machine goes down: every job is told to end with its own grace, nothing starts any more.
    pub fn close(&mut self) {
        self.is_closing = true;
        let running: Vec<(Key, u64)> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| match entry {
                Entry::Running(running) => Some((*key, running.intent.timing.grace_seconds)),
                _ => None,
            })
            .collect();
        for (key, grace) in running {
            self.kill(key, grace);
        }
    }

    /// Removes the control groups, for an end without jobs.
    pub fn remove_slots(&mut self) {
        if let Some(slots) = &mut self.slots {
            slots.remove_all();
        }
    }
}

impl Entry {
    fn seen(&self) -> Seen {
        match self {
            Self::Queued(_) => Seen::Queued,
            Self::Running(running) => Seen::Running {
                pid: running.start.pid,
                started_ms: running.start.at_ms,
                adopted: running.adopted.is_some(),
                paused: running.paused,
            },
            Self::Exited(record) => Seen::Exited(record.clone()),
            Self::NeverRan => Seen::NeverRan,
        }
    }

    fn lines(&self, key: Key) -> Vec<Line> {
        match self {
            Self::Queued(_) => vec![],
            Self::Running(running) => {
                vec![Line::Intent(running.intent.clone()), Line::Started(running.start)]
            }
            Self::Exited(record) => vec![Line::Exited(key, record.clone())],
            Self::NeverRan => vec![Line::NeverRan(key)],
        }
    }
}

/// Sends a signal to every process of a job, wherever it hides. Returns how many there were.
fn signal_all(slots: Option<&Slots>, running: &Running, signal: i32) -> usize {
    match (slots, running.intent.slot) {
        (Some(slots), Some(slot)) => slots.signal(slot, signal),
        _ => marks::signal(running.intent.mark, signal),
    }
}

/// Lets a job go on so that it can receive what it was sent.
fn thaw(slots: Option<&Slots>, running: &mut Running) {
    let thawed = match (slots, running.intent.slot) {
        (Some(slots), Some(slot)) if running.paused => {
            slots.freeze(slot, false).map_err(|err| err.to_string())
        }
        (Some(_), Some(_)) => Ok(()),
        _ => {
            // Also for a job that stopped itself.
            marks::signal(running.intent.mark, libc::SIGCONT);
            Ok(())
        }
    };
    match thawed {
        Ok(()) => running.paused = false,
        Err(err) => eprintln!("cannot let job {} go on: {err}", running.intent.key),
    }
}

/// Brings the alarm of a job in line with its deadlines.
fn set_alarm(alarms: &mut BTreeSet<(u64, Key)>, key: Key, running: &mut Running) {
    let dying = running.ended.as_ref().map(|_| sys::boot_ms() + ends::DRAIN_STEP_MS);
    let next = dying.or_else(|| running.deadlines.next());
    if next == running.alarm {
        return;
    }
    if let Some(at) = running.alarm.take() {
        alarms.remove(&(at, key));
    }
    if let Some(at) = next {
        alarms.insert((at, key));
    }
    running.alarm = next;
}
