//! What this process wrote last: entries of the change sequence and documents, so that its own loops hear of them without
//! asking the database. Bounded; what is missing is read.

use crate::halves::Halves;
use crate::specs;
use god_core::store::{ChangeNote, Seq};
use god_core::{Rev, Task, TaskId};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Entries of the change sequence.
const NOTES: usize = 8192;

/// The newest writes of this process.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Entries kept at most.
    kept: usize,
    /// Without gaps: the sequence counts the changes of all processes.
    notes: Mutex<VecDeque<ChangeNote>>,
    tasks: Mutex<Halves<Task>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A cache has no state that could be half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recent {
    /// Nothing yet; never more entries than the database keeps.
    pub(crate) fn new(notes_kept: u64) -> Recent {
        let kept = usize::try_from(notes_kept).map_or(NOTES, |kept| kept.clamp(1, NOTES));
        Recent { kept, notes: Mutex::default(), tasks: Mutex::default() }
    }

    /// Takes what one transaction wrote, in order, now that it is durable.
    pub(crate) fn add(&self, notes: Vec<ChangeNote>, tasks: Vec<Task>) {
        if !tasks.is_empty() {
            let mut halves = lock(&self.tasks);
            for task in tasks {
                halves.put(task.id, specs::weight(&task.spec), task);
            }
        }
        let Some(first) = notes.first() else { return };
        let mut known = lock(&self.notes);
        if known.back().is_some_and(|last| last.seq.0 + 1 != first.seq.0) {
            // Another process wrote in between.
            known.clear();
        }
        known.extend(notes);
        let excess = known.len().saturating_sub(self.kept);
        known.drain(..excess);
    }

    /// Entries after a position, at least one; `None` when the database must be asked.
    pub(crate) fn after(&self, since: Seq, limit: usize) -> Option<Vec<ChangeNote>> {
        let known = lock(&self.notes);
        let at = usize::try_from((since.0 + 1).checked_sub(known.front()?.seq.0)?).ok()?;
        let found: Vec<ChangeNote> = known.range(at.min(known.len())..).take(limit).copied().collect();
        (!found.is_empty()).then_some(found)
    }

    /// A document in exactly this version.
    pub(crate) fn task(&self, id: TaskId, rev: Rev) -> Option<Task> {
        let mut halves = lock(&self.tasks);
        halves.get(id).filter(|task| task.rev == rev).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::state::Phase;

    fn notes(seqs: std::ops::RangeInclusive<u64>) -> Vec<ChangeNote> {
        let note = |n| ChangeNote {
            seq: Seq(n),
            task: TaskId(n),
            parent: None,
            phase: Phase::Pending,
            ends: false,
            wished: false,
            rev: Rev(0),
        };
        seqs.map(note).collect()
    }

    fn after(recent: &Recent, since: u64, limit: usize) -> Option<Vec<u64>> {
        Some(recent.after(Seq(since), limit)?.iter().map(|note| note.seq.0).collect())
    }

    #[test]
    fn only_what_has_no_gap_is_answered() {
        let recent = Recent::new(u64::MAX);
        assert_eq!(after(&recent, 0, 10), None);
        recent.add(notes(5..=7), Vec::new());
        recent.add(notes(8..=8), Vec::new());
        assert_eq!(after(&recent, 3, 10), None, "4 is not known here");
        assert_eq!(after(&recent, 4, 10), Some(vec![5, 6, 7, 8]));
        assert_eq!(after(&recent, 6, 1), Some(vec![7]));
        assert_eq!(after(&recent, 8, 10), None, "only the database knows whether there is more");
        assert_eq!(after(&recent, 99, 10), None);
        recent.add(notes(10..=11), Vec::new());
        assert_eq!(after(&recent, 7, 10), None, "another process wrote 9");
        assert_eq!(after(&recent, 9, 10), Some(vec![10, 11]));
        recent.add(notes(12..=12 + NOTES as u64), Vec::new());
        assert_eq!(after(&recent, 11, 1), None, "forgotten");
        assert_eq!(after(&recent, 12, 1), Some(vec![13]));
    }
}
