//! From a request to a running process: checks, the queue, the latch, and what an earlier keeper
//! left running.

use std::collections::HashMap;
use std::rc::Rc;

use god_runtime::keeper::{Event, Seen, StartResult};
use god_runtime::latch::{Taken, Verdict};
use god_runtime::launch::{ExitRecord, Key, Launch, Template};

use super::super::journal::{Intent, Line, Past, Start};
use super::super::marks;
use super::super::prepared::{Place, Prepared};
use super::super::slots::DEFAULT_PIDS;
use super::{Entry, Jobs, Running, Waiting, set_alarm};
use crate::deadlines::Deadlines;
use crate::{spawn, sys};

/// Jobs started in one go, so that ends and requests are seen in between.
const BATCH: usize = 32;
/// Goes in one turn of the loop.
const BATCHES: usize = 4;

/// A job that is about to start.
struct Ready {
    intent: Intent,
    waiting: Waiting,
}

impl Jobs {
    /// Accepts launches and starts those for which there is room.
    pub fn start(&mut self, templates: Vec<Template>, launches: Vec<Launch>) -> Vec<(Key, StartResult)> {
        let prepared: Vec<Result<Rc<Prepared>, String>> = templates
            .into_iter()
            .map(|template| Prepared::new(template, self.min_uid).map(Rc::new))
            .collect();
        let mut results: Vec<(Key, Option<StartResult>)> =
            launches.into_iter().map(|launch| (launch.key, self.accept(&prepared, launch))).collect();
        self.start_waiting();
        let finish = |key: Key, early: Option<StartResult>| {
            early.unwrap_or_else(|| match self.entries.get(&key).map(Entry::seen) {
                Some(Seen::Queued) => StartResult::Queued,
                Some(Seen::Running { pid, started_ms, adopted: false, .. }) => {
                    StartResult::Started { pid, at_ms: started_ms }
                }
                Some(seen) => StartResult::Known(seen),
                None => StartResult::Known(self.observe(key)),
            })
        };
        results.drain(..).map(|(key, early)| (key, finish(key, early))).collect()
    }

    /// Puts a launch into the queue. `Some` when its fate is known already.
    fn accept(&mut self, prepared: &[Result<Rc<Prepared>, String>], launch: Launch) -> Option<StartResult> {
        let key = launch.key;
        let refuse = |reason: String| Some(StartResult::Refused { reason });
        if let Some(entry) = self.entries.get(&key) {
            return Some(StartResult::Known(entry.seen()));
        }
        if self.is_closing {
            return Some(StartResult::NotNow { reason: "this host is going down".to_owned() });
        }
        let prepared = match prepared.get(launch.template as usize) {
            Some(Ok(prepared)) => Rc::clone(prepared),
            Some(Err(reason)) => return refuse(reason.clone()),
            None => return refuse(format!("there is no template {}", launch.template)),
        };
        if let Err(err) = launch.check() {
            return refuse(err.to_string());
        }
        let needs = prepared.template.needs;
        if needs.cores > self.capacity.cores || needs.memory > self.capacity.memory {
            return refuse(format!(
                "it needs {} cores and {} bytes of memory; this host offers {} and {}",
                needs.cores, needs.memory, self.capacity.cores, self.capacity.memory
            ));
        }
        match self.latch.peek(key.task) {
            Ok(Some((attempt, verdict))) if attempt >= key.attempt => {
                return Some(StartResult::Taken { verdict, attempt });
            }
            Ok(_) => {}
            Err(err) => return Some(StartResult::NotNow { reason: err.to_string() }),
        }
        self.entries.insert(key, Entry::Queued(Waiting { prepared, launch }));
        self.queue.push_back(key);
        self.n_queued += 1;
        None
    }

    /// Starts what waits, in order, as long as there is room. Returns true when it stopped only to
    /// let the loop look at other things.
    pub fn start_waiting(&mut self) -> bool {
        if self.is_closing || self.retry_at.is_some() {
            return false;
        }
        for _ in 0..BATCHES {
            let batch = self.next_batch();
            if batch.is_empty() {
                return false;
            }
            // The intent first: whoever succeeds us must know what may be running.
            batch.iter().for_each(|ready| self.journal.note(&Line::Intent(ready.intent.clone())));
            if let Err(err) = self.journal.flush() {
                eprintln!("cannot write the journal, starts wait: {err}");
                self.retry_at = Some(sys::boot_ms() + 1000);
                self.put_back(batch);
                return false;
            }
            batch.into_iter().for_each(|ready| self.start_one(ready));
        }
        true
    }

    /// Takes jobs out of the queue and accounts for them.
    fn next_batch(&mut self) -> Vec<Ready> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(&key) = self.queue.front() else { break };
            let Some(Entry::Queued(waiting)) = self.entries.get(&key) else {
                // Taken out meanwhile.
                self.queue.pop_front();
                continue;
            };
            let template = &waiting.prepared.template;
            let needs = template.needs;
            let cores = self.used.cores + u64::from(needs.cores);
            let memory = self.used.memory.saturating_add(needs.memory);
            if cores > u64::from(self.capacity.cores) || memory > self.capacity.memory {
                break;
            }
            let timing = template.timing;
            let pids = template.pids.unwrap_or(DEFAULT_PIDS);
            let slot = match self.slots.as_mut().map(|slots| slots.take(needs, pids)).transpose() {
                Ok(slot) => slot,
                Err(reason) => {
                    eprintln!("{reason}");
                    self.retry_at = Some(sys::boot_ms() + 1000);
                    break;
                }
            };
            self.queue.pop_front();
            let Some(Entry::Queued(waiting)) = self.entries.remove(&key) else { continue };
            self.n_queued -= 1;
            self.used.cores = cores;
            self.used.memory = memory;
            batch.push(Ready {
                intent: Intent { key, mark: self.marks.next(), slot, needs, timing },
                waiting,
            });
        }
        batch
    }

    fn put_back(&mut self, batch: Vec<Ready>) {
        for ready in batch.into_iter().rev() {
            self.give_back(&ready.intent);
            self.queue.push_front(ready.intent.key);
            self.entries.insert(ready.intent.key, Entry::Queued(ready.waiting));
            self.n_queued += 1;
        }
    }

    /// Gives back cores, memory and slot.
    pub(super) fn give_back(&mut self, intent: &Intent) {
        self.used.cores -= u64::from(intent.needs.cores);
        self.used.memory -= intent.needs.memory;
        if let (Some(slots), Some(slot)) = (&mut self.slots, intent.slot) {
            slots.release(slot);
        }
    }

    fn start_one(&mut self, Ready { intent, waiting }: Ready) {
        let key = intent.key;
        match self.latch.take(key, Verdict::Started) {
            Ok(Taken::Won) => {}
            Ok(Taken::Lost { verdict: Verdict::Abandoned, .. }) => {
                self.give_back(&intent);
                self.settle_never_ran(key);
                return;
            }
            Ok(Taken::Lost { verdict: Verdict::Started, .. }) => {
                let reason = "the latch says that it started elsewhere; nothing was run here";
                return self.settle_failed(intent, None, reason.to_owned());
            }
            Err(err) => return self.settle_failed(intent, None, err.to_string()),
        }
        let place = match waiting.prepared.place(&waiting.launch) {
            Ok(place) => place,
            Err(reason) => return self.settle_failed(intent, None, reason),
        };
        if let Err(reason) = waiting.prepared.write_uris(&place) {
            return self.settle_failed(intent, None, reason);
        }
        let mut limits = vec![marks::as_limit(intent.mark)];
        limits.extend(self.open_files.map(|old| {
            let old = libc::rlimit64 { rlim_cur: old.rlim_cur, rlim_max: old.rlim_max };
            (libc::RLIMIT_NOFILE as libc::c_int, old)
        }));
        let joins = match (&self.slots, intent.slot) {
            (Some(slots), Some(slot)) => slots.joins(slot),
            _ => &[],
        };
        let at_ms = sys::wall_ms();
        let before = marks::ticks_now();
        let spawned = waiting.prepared.spawn(
            &waiting.launch,
            &place,
            self.descriptors,
            joins,
            &limits,
            &mut self.stack,
        );
        let pid = match spawned {
            Ok(pid) => pid,
            Err(spawn::SpawnError { code, reason }) => return self.settle_failed(intent, code, reason),
        };
        let start = Start { key, pid, ticks: (before, marks::ticks_now()), at_ms };
        let template = &waiting.prepared.template;
        let info = match place {
            Place::Held(dir) if template.info => Some((dir, template.identity.uid, template.identity.gid)),
            _ => None,
        };
        self.journal.note(&Line::Started(start));
        self.events.push(Event::Started { key, pid, at_ms });
        self.by_pid.insert(pid, key);
        self.note_running(Running {
            deadlines: Deadlines::new(&intent.timing, sys::boot_ms()),
            intent,
            start,
            info,
            adopted: None,
            paused: false,
            timed_out: false,
            killed: false,
            alarm: None,
            ended: None,
        });
    }

    fn note_running(&mut self, mut running: Running) {
        let key = running.intent.key;
        set_alarm(&mut self.alarms, key, &mut running);
        self.living_marks.insert(running.intent.mark);
        self.n_running += 1;
        self.entries.insert(key, Entry::Running(Box::new(running)));
    }

    /// The latch is taken, yet the script was not entered.
    fn settle_failed(&mut self, intent: Intent, code: Option<i32>, reason: String) {
        let now = sys::wall_ms();
        let record = ExitRecord {
            code,
            failure: Some(reason),
            started_ms: now,
            ended_ms: now,
            ..ExitRecord::default()
        };
        self.give_back(&intent);
        self.settle_exited(intent.key, record);
    }

    pub(super) fn settle_exited(&mut self, key: Key, record: ExitRecord) {
        self.journal.note(&Line::Exited(key, record.clone()));
        self.events.push(Event::Exited { key, record: record.clone() });
        self.entries.insert(key, Entry::Exited(record));
    }

    /// Finds the jobs an earlier keeper started: those that live are adopted, the others are lost.
    pub(super) fn take_over(&mut self, past: HashMap<Key, Past>) {
        let everybody = if past.is_empty() { Vec::new() } else { marks::everybody() };
        let mut lost = Vec::new();
        for (key, past) in past {
            let (intent, start, other_boot) = match past {
                Past::Exited(record) => {
                    self.entries.insert(key, Entry::Exited(record));
                    continue;
                }
                Past::NeverRan => {
                    self.entries.insert(key, Entry::NeverRan);
                    continue;
                }
                Past::Open { intent, start, other_boot } => (intent, start, other_boot),
            };
            let found = if other_boot { None } else { find(&intent, start, &everybody) };
            match found {
                Some((start, held)) => self.adopt(intent, start, held),
                None => lost.push((intent, start, other_boot)),
            }
        }
        let living: Vec<u32> = self
            .entries
            .values()
            .filter_map(|entry| match entry {
                Entry::Running(running) => running.intent.slot,
                _ => None,
            })
            .collect();
        if let Some(slots) = &mut self.slots {
            slots.take_over(&living);
        }
        for (intent, start, other_boot) in lost {
            // Its script is gone; what it left behind goes too.
            if !other_boot {
                for (pid, mark) in everybody.iter().filter(|(_, mark)| *mark == intent.mark) {
                    marks::signal_one(*pid, *mark, libc::SIGKILL);
                }
            }
            self.settle_lost(&intent, start);
        }
    }

    fn adopt(&mut self, intent: Intent, start: Start, held: std::os::fd::OwnedFd) {
        use std::os::fd::AsRawFd;
        self.used.cores += u64::from(intent.needs.cores);
        self.used.memory = self.used.memory.saturating_add(intent.needs.memory);
        self.to_watch.push((intent.key, held.as_raw_fd()));
        let ran_ms = sys::wall_ms().saturating_sub(start.at_ms);
        self.note_running(Running {
            deadlines: Deadlines::new(&intent.timing, sys::boot_ms().saturating_sub(ran_ms)),
            intent,
            start,
            info: None,
            adopted: Some(held),
            paused: false,
            timed_out: false,
            killed: false,
            alarm: None,
            ended: None,
        });
    }

    /// An earlier keeper meant to start it, and nothing of it is found.
    fn settle_lost(&mut self, intent: &Intent, start: Option<Start>) {
        let key = intent.key;
        let started = match (start, self.latch.peek(key.task)) {
            (Some(_), _) | (None, Err(_)) => true,
            (None, Ok(on_record)) => on_record == Some((key.attempt, Verdict::Started)),
        };
        if !started {
            // The old keeper died before the latch: it never ran, and may be started again.
            return;
        }
        let now = sys::wall_ms();
        let started_ms = start.map_or(now, |start| start.at_ms);
        let record =
            ExitRecord { lost: true, started_ms, ended_ms: now.max(started_ms), ..ExitRecord::default() };
        self.settle_exited(key, record);
    }
}

/// The living process of a job: by its number and time, or by its mark when the number was not
/// noted any more.
fn find(
    intent: &Intent,
    start: Option<Start>,
    everybody: &[(i32, u64)],
) -> Option<(Start, std::os::fd::OwnedFd)> {
    if let Some(start) = start {
        return Some((start, marks::hold(start.pid, start.ticks)?));
    }
    let (pid, _) = everybody.iter().filter(|(_, mark)| *mark == intent.mark).min_by_key(|(pid, _)| *pid)?;
    let ticks = marks::start_ticks(*pid)?;
    let held = marks::hold(*pid, (ticks, ticks))?;
    Some((Start { key: intent.key, pid: *pid, ticks: (ticks, ticks), at_ms: sys::wall_ms() }, held))
}
