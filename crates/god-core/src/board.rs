//! What the scheduler says of the queue to other processes: for each group of pending tasks why it waits, and how many
//! tasks are ahead. Groups share pinned texts, so that their number is bounded however many groups there are.

use crate::group::Group;
use crate::ids::TaskId;
use crate::reason::Reason;
use crate::units::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the names of all pinned texts of the board begin with.
pub const PREFIX: &str = "why/";

/// The groups whose keys begin with the same digit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// When this was so.
    pub at: Timestamp,
    /// Reasons that groups name by their index.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// By [`Group::key`].
    #[serde(default)]
    pub groups: BTreeMap<String, Line>,
}

/// One group of pending tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Index of the reason why it waits; `None` when it waits for its turn.
    #[serde(default, rename = "w", skip_serializing_if = "Option::is_none")]
    pub why: Option<usize>,
    /// Tasks in it, ascending, each with the number of tasks ahead of it. In between, the number grows evenly.
    #[serde(default, rename = "q")]
    pub knots: Vec<(u64, u64)>,
}

impl Board {
    /// Names of all pinned texts of the board.
    pub fn pins() -> impl Iterator<Item = String> {
        (0..16).map(|n| format!("{PREFIX}{n:x}"))
    }

    /// Name of the pinned text that speaks of this group.
    #[must_use]
    pub fn pin_of(key: &str) -> String {
        format!("{PREFIX}{}", key.get(..1).unwrap_or_default())
    }

    /// Why the group waits, if not just for its turn.
    #[must_use]
    pub fn reason(&self, key: &str) -> Option<&Reason> {
        self.reasons.get(self.groups.get(key)?.why?)
    }

    /// How many tasks are ahead of a task of this group; `None` when the group is not known. For a task that came after
    /// the newest one known, it is at least as many as here.
    #[must_use]
    pub fn ahead(&self, key: &str, id: TaskId) -> Option<u64> {
        self.groups.get(key)?.ahead(id)
    }
}

impl Line {
    /// How many tasks are ahead of this one of the group; `None` when nothing is known.
    #[must_use]
    pub fn ahead(&self, id: TaskId) -> Option<u64> {
        let after = self.knots.partition_point(|(known, _)| *known <= id.0);
        let (first, second) = match (after.checked_sub(1).map(|n| self.knots[n]), self.knots.get(after)) {
            (Some(before), Some(next)) => (before, *next),
            (Some((known, ahead)), None) => return Some(ahead + u64::from(id.0 > known)),
            // It was there before and is put back.
            (None, next) => return next.map(|(_, ahead)| *ahead),
        };
        let (width, part) = (u128::from(second.0 - first.0), u128::from(id.0 - first.0));
        let grown = u128::from(second.1.saturating_sub(first.1)) * part / width.max(1);
        Some(first.1 + u64::try_from(grown).unwrap_or(u64::MAX))
    }
}

impl Group {
    /// Name of the pinned text that speaks of this group.
    #[must_use]
    pub fn pin(&self) -> String {
        Board::pin_of(&self.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Code;

    #[test]
    fn between_two_tasks_the_number_grows_evenly() {
        let line = Line { why: None, knots: vec![(10, 4), (20, 4), (30, 24)] };
        for (id, ahead) in [(3, 4), (10, 4), (15, 4), (20, 4), (25, 14), (29, 22), (30, 24), (99, 25)] {
            assert_eq!(line.ahead(TaskId(id)), Some(ahead), "{id}");
        }
        assert_eq!(Line::default().ahead(TaskId(1)), None);
        let huge = Line { why: None, knots: vec![(1, 0), (u64::MAX, u64::MAX)] };
        assert_eq!(huge.ahead(TaskId(u64::MAX - 1)), Some(u64::MAX - 2));
    }

    #[test]
    fn a_board_is_read_as_it_was_written() {
        let mut board = Board { at: Timestamp(5), ..Board::default() };
        board.reasons.push(Reason::new(Code::Resources, "Busy"));
        board.groups.insert("0a".into(), Line { why: Some(0), knots: vec![(1, 0)] });
        board.groups.insert("0b".into(), Line { why: None, knots: vec![(2, 1)] });
        let text = serde_json::to_string(&board).expect("plain data");
        assert_eq!(serde_json::from_str::<Board>(&text).expect("as written"), board);
        assert_eq!(board.reason("0a").map(|reason| reason.code), Some(Code::Resources));
        assert_eq!((board.reason("0b"), board.reason("0c")), (None, None));
        assert_eq!((board.ahead("0b", TaskId(2)), board.ahead("0c", TaskId(2))), (Some(1), None));
        assert!(Board::pins().any(|pin| pin == Board::pin_of("0a1b")));
        assert_eq!(Board::pins().count(), 16);
    }
}
