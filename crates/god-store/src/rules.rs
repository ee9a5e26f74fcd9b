//! The rules that decide whether a change may be written, and what moves with it. Pure, so that every store that can
//! read before it writes uses the same ones.

use god_core::state::{Outcome, Phase};
use god_core::store::{Change, ChangeNote, Counts, Expect, NewTask, PendingLimits, Seq};
use god_core::task::{Children, Task};
use god_core::{Rev, TaskId};

/// What the rules need to know of a stored document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub id: TaskId,
    /// Its array's parent, for a child.
    pub parent: Option<TaskId>,
    /// Its version.
    pub rev: Rev,
    /// The phase it is in.
    pub phase: Phase,
    /// Whether somebody wants its end ([`Task::kill_wanted`]).
    pub killing: bool,
    /// Number of children for which ids were set aside, 0 when it is no array's parent.
    pub kids: u64,
    /// How far the array has come.
    pub children: Children,
    /// Bytes that count for its owner ([`Task::disk_held`]).
    pub disk: u64,
}

impl Head {
    /// The head of a document.
    #[must_use]
    pub fn of(task: &Task) -> Head {
        Head {
            id: task.id,
            parent: task.parent,
            rev: task.rev,
            phase: task.phase(),
            killing: task.kill_wanted(),
            kids: task.array().map_or(0, god_core::ArraySpec::count),
            children: task.children,
            disk: task.disk_held(),
        }
    }

    /// Children that count as pending though they have no document.
    #[must_use]
    pub fn virtual_children(&self) -> u64 {
        if self.phase.is_over() { 0 } else { self.kids.saturating_sub(self.children.made) }
    }
}

/// What a change that may be written moves beside its own document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// What to add to the owner's numbers of tasks, by [`Phase::code`].
    pub counts: [i64; Phase::ALL.len()],
    /// For a child: what to add to its parent's counters.
    pub parent: Children,
    /// What to add to the bytes that count for its owner.
    pub disk: i64,
    /// Whether the task ends with this change.
    pub ends: bool,
    /// Whether it ends with success, so that its image is known to work.
    pub proves_image: bool,
}

/// Decides about one change: what moves with it, or `None` when it is stale.
///
/// `stored` is the document with the change's id, `parent` that of its array (for [`Expect::Absent`] the one the
/// change names), both as they are in the instant of the write.
#[must_use]
pub fn judge(change: &Change, stored: Option<&Head>, parent: Option<&Head>) -> Option<Effect> {
    let task = &change.task;
    let to = task.phase();
    let mut counts = [0i64; Phase::ALL.len()];
    let mut moved = Children::default();
    let was_over = match (change.expect, stored) {
        (Expect::Rev(rev), Some(stored)) => {
            if stored.rev != rev || task.rev <= rev {
                return None;
            }
            if stored.phase.is_over() && !to.is_over() {
                return None;
            }
            counts[slot(stored.phase)] -= 1;
            if to.is_over() && !stored.phase.is_over() {
                if stored.children.made != stored.children.over {
                    return None;
                }
                counts[slot(Phase::Pending)] -= signed(stored.virtual_children());
            }
            stored.phase.is_over()
        }
        (Expect::Absent, None) => {
            let parent = parent?;
            let ordinal = task.ordinal?;
            let named = task.parent == Some(parent.id) && task.id == parent.id.child(ordinal);
            if !named || ordinal >= parent.kids || task.rev == Rev(0) {
                return None;
            }
            if parent.phase.is_over() || (parent.killing && !to.is_over()) {
                return None;
            }
            counts[slot(Phase::Pending)] -= 1;
            moved.made = 1;
            false
        }
        _ => return None,
    };
    counts[slot(to)] += 1;
    let ends = to.is_over() && !was_over;
    let success = task.state.outcome().is_some_and(Outcome::is_success);
    if ends {
        moved.over = 1;
        moved.failed = u64::from(!success);
    }
    Some(Effect {
        counts,
        parent: moved,
        disk: signed(task.disk_held()) - stored.map_or(0, |stored| signed(stored.disk)),
        ends,
        proves_image: ends && success && !task.spec.image.is_empty(),
    })
}

/// Number of pending tasks that a submit adds: one, and all children of an array.
#[must_use]
pub fn pending_of(new: &NewTask) -> u64 {
    1u64.saturating_add(new.spec.array.as_ref().map_or(0, god_core::ArraySpec::count))
}

/// Whether `more` pending tasks are too many; the text names the limit.
#[must_use]
pub fn over_limit(limits: PendingLimits, owner_has: u64, all_have: u64, more: u64) -> Option<String> {
    let check = |limit: Option<u64>, has: u64, whose: &str| {
        let limit = limit?;
        (has.saturating_add(more) > limit).then(|| {
            format!("limit of {limit} pending tasks {whose} reached: {has} pending, {more} more asked")
        })
    };
    check(limits.per_user, owner_has, "of one user").or_else(|| check(limits.all, all_have, "of all users"))
}

/// The first id after a new task and its children, if there are so many ids: they end with the largest signed number,
/// which is what databases hold.
#[must_use]
pub fn ids_after(first: TaskId, new: &NewTask) -> Option<TaskId> {
    let next = first.0.checked_add(pending_of(new))?;
    i64::try_from(next).is_ok().then_some(TaskId(next))
}

/// The entry of the change sequence for a document as it was just written; `ends` says whether that made it over.
#[must_use]
pub fn note_of(seq: Seq, task: &Task, ends: bool) -> ChangeNote {
    ChangeNote {
        seq,
        task: task.id,
        parent: task.parent,
        phase: task.phase(),
        ends,
        wished: task.wish.as_ref().is_some_and(god_core::state::Wish::is_open),
        rev: task.rev,
    }
}

/// Adds an effect's numbers to counts; never below zero.
pub fn add_counts(counts: &mut Counts, moved: &[i64; Phase::ALL.len()]) {
    for (n, delta) in counts.0.iter_mut().zip(moved) {
        *n = n.saturating_add_signed(*delta);
    }
}

/// Adds an effect's numbers to a parent's counters.
pub fn add_children(children: &mut Children, moved: &Children) {
    children.made += moved.made;
    children.over += moved.over;
    children.failed += moved.failed;
}

fn slot(phase: Phase) -> usize {
    usize::from(phase.code())
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_what_is_asked() {
        let limits = PendingLimits { per_user: Some(3), all: Some(10) };
        assert_eq!(over_limit(limits, 2, 2, 1), None);
        assert!(over_limit(limits, 2, 2, 2).is_some_and(|t| t.contains("limit of 3") && t.contains("user")));
        assert!(over_limit(limits, 0, 9, 2).is_some_and(|t| t.contains("limit of 10") && t.contains("all")));
        assert_eq!(over_limit(PendingLimits::default(), u64::MAX, u64::MAX, 5), None);
    }

    #[test]
    fn children_of_what_is_over_wait_no_more() {
        let mut head = Head {
            id: TaskId(1),
            parent: None,
            rev: Rev(0),
            phase: Phase::Pending,
            killing: false,
            kids: 5,
            children: Children { made: 2, over: 2, failed: 0 },
            disk: 0,
        };
        assert_eq!(head.virtual_children(), 3);
        head.phase = Phase::Over;
        assert_eq!(head.virtual_children(), 0);
    }
}
