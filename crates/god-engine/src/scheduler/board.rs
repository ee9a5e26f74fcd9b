//! Tells other processes why tasks wait and where they stand, now and then and in few texts.

use super::{Scheduler, State};
use crate::{plan, queue};
use god_core::board::{Board, Line};
use god_core::group::Group;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The board is not written more often than this.
const PACE: Duration = Duration::from_secs(1);
/// For so many groups it is written once a second; for twice as many every two seconds.
const GROUPS_A_SECOND: usize = 200;
/// While tasks wait and nothing happens, it is looked at this often.
const QUIET: Duration = Duration::from_secs(5);

/// What was last told.
#[derive(Debug, Default)]
pub(super) struct BoardTold {
    /// When; `None` when this scheduler has told nothing yet.
    at: Option<Duration>,
    /// How long until the next time.
    pace: Duration,
    /// The texts, without their time.
    texts: BTreeMap<String, Board>,
    /// Whether something happened since.
    news: bool,
}

impl BoardTold {
    /// Something happened that may have moved tasks in the queue.
    pub(super) fn news(&mut self) {
        self.news = true;
    }

    /// When it is to be told again.
    pub(super) fn due(&self, waiting: bool) -> Option<Duration> {
        let Some(at) = self.at else { return Some(Duration::ZERO) };
        if !waiting && self.texts.is_empty() {
            return None;
        }
        Some(at + if self.news { self.pace } else { self.pace.max(QUIET) })
    }
}

impl State {
    /// Forgets groups that have nothing left, and what was noted of them.
    fn tidy(&mut self, mono: Duration) {
        for executor in 0..self.capacity.n_executors() {
            let kept = self.capacity.kept(executor);
            if kept.is_some_and(|kept| self.pending.oldest(kept.group).is_none()) {
                self.capacity.release(executor);
            }
        }
        self.doomed.retain(|ix| self.pending.oldest(*ix).is_some());
        self.pending.tidy(mono);
    }
}

impl Scheduler<'_> {
    /// Writes the board when that is due.
    pub(super) fn tell(&self, s: &mut State) {
        let mono = self.world.clock.mono();
        if s.told.due(s.pending.is_waiting()).is_none_or(|due| mono < due) {
            return;
        }
        let texts = self.boards(s, mono);
        s.told.pace =
            PACE.max(PACE * u32::try_from(s.pending.groups().count() / GROUPS_A_SECOND).unwrap_or(1));
        // A new leader does not know what an earlier one has left.
        let first = s.told.at.is_none();
        for pin in Board::pins() {
            let (new, old) = (texts.get(&pin), s.told.texts.get(&pin));
            if new != old || first {
                let dated = new.map(|board| Board { at: self.world.clock.now(), ..board.clone() });
                s.pins.insert(pin, dated.and_then(|board| serde_json::to_string(&board).ok()));
            }
        }
        s.told = BoardTold { at: Some(mono), pace: s.told.pace, texts, news: false };
        s.tidy(mono);
    }

    fn boards(&self, s: &State, mono: Duration) -> BTreeMap<String, Board> {
        let policy = self.world.policy.as_ref();
        let ranked = s.pending.ranked(policy, &s.accounts, self.world.clock.now(), None);
        let mut boards: BTreeMap<String, Board> = BTreeMap::new();
        let mut known: HashMap<(String, String), usize> = HashMap::new();
        for (ix, knots) in queue::knots(&s.pending, &ranked) {
            let key = Group::key(s.pending.group(ix));
            let pin = Board::pin_of(&key);
            let board = boards.entry(pin.clone()).or_default();
            let why = plan::why(&s.pending, &s.capacity, ix, mono).map(|reason| {
                *known.entry((pin, reason.text.clone())).or_insert_with(|| {
                    board.reasons.push(reason);
                    board.reasons.len() - 1
                })
            });
            board.groups.insert(key, Line { why, knots });
        }
        boards
    }
}
