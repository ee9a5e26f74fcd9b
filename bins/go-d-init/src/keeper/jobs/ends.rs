//! From a running process to a result: deadlines, the end of the script, and of whatever it left
//! behind.

use god_runtime::launch::{ExitRecord, Key};
use god_runtime::plain::write_plain_file;

use super::super::marks;
use super::super::prepared::as_user;
use super::{Entry, Jobs, Running, set_alarm, signal_all, thaw};
use crate::deadlines::Action;
use crate::sys::Ended;
use crate::{descendants, sys};

/// How often dying processes are looked at.
pub(super) const DRAIN_STEP_MS: u64 = 5;
/// How long a result waits for the last processes of its job.
const DRAIN_LIMIT_MS: u64 = 5000;
/// Distance between two searches for orphans.
const SWEEP_STEP_MS: u64 = 5;

impl Jobs {
    /// Collects every child that ended.
    pub fn reap(&mut self) {
        if self.slots.is_some() {
            while let Some(ended) = sys::reap(-1) {
                self.child_ended(&ended);
            }
            return;
        }
        // While the script is not collected yet, its number still means its own process group.
        while let Some(pid) = sys::ended_child() {
            if self.by_pid.contains_key(&pid) {
                sys::kill(-pid, libc::SIGKILL);
            }
            match sys::reap(pid) {
                Some(ended) => self.child_ended(&ended),
                None => break,
            }
        }
    }

    fn child_ended(&mut self, ended: &Ended) {
        // An orphan of a job, otherwise.
        let Some(key) = self.by_pid.remove(&ended.pid) else { return };
        self.script_ended(key, |running| ExitRecord {
            code: Some(ended.code),
            signal: ended.signal,
            utime_us: ended.utime_us,
            stime_us: ended.stime_us,
            maxrss_kib: ended.maxrss_kib,
            ..base_record(running)
        });
    }

    /// The script of an adopted job ended; nobody knows how.
    pub fn adopted_ended(&mut self, key: Key) {
        self.script_ended(key, |running| ExitRecord { lost: true, ..base_record(running) });
    }

    fn script_ended(&mut self, key: Key, record: impl FnOnce(&Running) -> ExitRecord) {
        let Some(Entry::Running(running)) = self.entries.get_mut(&key) else { return };
        if running.ended.is_some() {
            return;
        }
        let now = sys::boot_ms();
        running.ended = Some((record(running), now.saturating_add(DRAIN_LIMIT_MS)));
        if self.drain(key, now) {
            self.conclude(key);
        }
    }

    /// Kills what the script left behind. True when nothing is left (or it is given up).
    fn drain(&mut self, key: Key, now: u64) -> bool {
        let Some(Entry::Running(running)) = self.entries.get_mut(&key) else { return false };
        let Some((_, until)) = running.ended.as_ref().map(|(record, until)| (record, *until)) else {
            return false;
        };
        let left = match (&self.slots, running.intent.slot) {
            (Some(slots), Some(slot)) => {
                let left = slots.is_populated(slot);
                if left {
                    slots.signal(slot, libc::SIGKILL);
                    thaw(Some(slots), running);
                }
                left
            }
            _ if running.adopted.is_some() => marks::signal(running.intent.mark, libc::SIGKILL) > 0,
            // Orphans of our own children become our children: the sweep ends them.
            _ => false,
        };
        if left && now < until {
            set_alarm(&mut self.alarms, key, running);
            return false;
        }
        if left {
            eprintln!("processes of job {key} do not die; its result is given out without them");
            if let (Some(slots), Some(slot)) = (&mut self.slots, running.intent.slot) {
                // Nobody else may get this slot.
                slots.retire(slot);
            }
        }
        true
    }

    /// Makes the result of a job whose processes are gone.
    fn conclude(&mut self, key: Key) {
        let Some(Entry::Running(mut running)) = self.entries.remove(&key) else { return };
        let Some((mut record, _)) = running.ended.take() else { return };
        if let Some(at) = running.alarm {
            self.alarms.remove(&(at, key));
        }
        self.n_running -= 1;
        self.living_marks.remove(&running.intent.mark);
        if let (Some(slots), Some(slot)) = (&mut self.slots, running.intent.slot) {
            record.oom = slots.had_oom(slot);
        } else {
            self.sweep_at.get_or_insert(0);
        }
        self.give_back(&running.intent);
        if let Some((dir, uid, gid)) = &running.info {
            let text = record.info_text();
            if let Err(err) = as_user(*uid, *gid, || write_plain_file(dir, "god.info", text.as_bytes())) {
                eprintln!("cannot write god.info of job {key}: {err}");
            }
        }
        self.settle_exited(key, record);
    }

    /// Does what the time has come for.
    pub fn on_time(&mut self) {
        let now = sys::boot_ms();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        while let Some(&(at, key)) = self.alarms.first() {
            if at > now {
                break;
            }
            self.alarms.pop_first();
            if let Some(Entry::Running(running)) = self.entries.get_mut(&key) {
                running.alarm = None;
                if running.ended.is_none() {
                    self.act(key, now);
                } else if self.drain(key, now) {
                    self.conclude(key);
                }
            }
        }
    }

    fn act(&mut self, key: Key, now: u64) {
        let Some(Entry::Running(running)) = self.entries.get_mut(&key) else { return };
        let slots = self.slots.as_ref();
        for action in running.deadlines.due(now) {
            match action {
                Action::Warn(signal) => {
                    signal_all(slots, running, signal);
                }
                Action::TimeOut => {
                    running.timed_out = true;
                    signal_all(slots, running, libc::SIGTERM);
                    thaw(slots, running);
                }
                Action::Kill => {
                    signal_all(slots, running, libc::SIGKILL);
                    thaw(slots, running);
                }
            }
        }
        set_alarm(&mut self.alarms, key, running);
    }

    /// Without control groups: ends the orphans of jobs that are over. They are our children by
    /// now; those of running jobs carry the mark of one.
    pub fn sweep(&mut self) {
        let now = sys::boot_ms();
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        self.sweep_at = None;
        let own_pid = std::process::id() as i32;
        for pid in descendants::children_of(own_pid) {
            if self.by_pid.contains_key(&pid) {
                continue;
            }
            let Some(mark) = marks::of(pid) else { continue };
            if !self.living_marks.contains(&mark) && marks::signal_one(pid, mark, libc::SIGKILL) {
                // Its own children come to us next.
                self.sweep_at = Some(now + SWEEP_STEP_MS);
            }
        }
    }
}

fn base_record(running: &Running) -> ExitRecord {
    ExitRecord {
        timed_out: running.timed_out,
        killed: running.killed,
        started_ms: running.start.at_ms,
        ended_ms: sys::wall_ms().max(running.start.at_ms),
        ..ExitRecord::default()
    }
}
