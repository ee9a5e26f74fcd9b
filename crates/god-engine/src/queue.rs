//! Where pending tasks stand in the queue: how many are ahead, in the policy's order. Pure.
//!
//! In a small queue every task is counted. In a large one only the first and the last task of each group are, and the ones
//! in between are taken to be evenly spread, so that the cost grows with the groups and not with the tasks.

use crate::pending::{GroupIx, Pending, Place, Rank, Ranked};
use god_core::ids::TaskId;

/// Up to so many tasks are counted one by one.
const SMALL: u64 = 512;

/// For each group its first and last task, and in a small queue all others, with the number of tasks ahead.
pub type Knots = Vec<(GroupIx, Vec<(u64, u64)>)>;

/// Counts.
#[must_use]
pub fn knots(pending: &Pending, ranked: &Ranked) -> Knots {
    let total: u64 = ranked.places().map(|place| pending.extent(place.ix).n).sum();
    if total <= SMALL { one_by_one(pending, ranked) } else { by_groups(pending, ranked) }
}

fn one_by_one(pending: &Pending, ranked: &Ranked) -> Knots {
    let mut all: Vec<((Rank, TaskId), usize)> = Vec::new();
    for (n, place) in ranked.places().enumerate() {
        for (id, submitted) in pending.members(place.ix) {
            all.push((ranked.key(place, id, submitted), n));
        }
    }
    all.sort_unstable();
    let mut knots: Knots = ranked.places().map(|place| (place.ix, Vec::new())).collect();
    for (((_, id), n), ahead) in all.into_iter().zip(0..) {
        knots[n].1.push((id.0, ahead));
    }
    for (_, of_group) in &mut knots {
        of_group.sort_unstable();
    }
    knots
}

/// The tasks of one group as a line from its first to its last task.
struct Line {
    first: (Rank, TaskId),
    last: (Rank, TaskId),
    /// Tasks of the group between the two.
    between: f64,
    /// Whether the two are one.
    single: bool,
}

impl Line {
    fn of(pending: &Pending, ranked: &Ranked, place: Place) -> Line {
        let extent = pending.extent(place.ix);
        let first = ranked.key(place, extent.first.0, extent.first.1);
        // A clock that was set back between two submits bends no line.
        let last = ranked.key(place, extent.last.0, extent.last.1).max(first);
        Line { first, last, between: extent.n.saturating_sub(2) as f64, single: extent.n < 2 }
    }

    /// How many tasks there are for each step of rank, or of id where all have the same rank.
    fn density(&self) -> Density {
        let ranks = self.last.0.0 - self.first.0.0;
        let ids = self.last.1.0.saturating_sub(self.first.1.0) as f64;
        if ranks > 0.0 {
            Density { by_rank: self.between / ranks, by_id: 0.0 }
        } else if ids > 0.0 {
            Density { by_rank: 0.0, by_id: self.between / ids }
        } else {
            Density::default()
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Density {
    by_rank: f64,
    by_id: f64,
}

/// Walks over the ends of all lines in order.
fn by_groups(pending: &Pending, ranked: &Ranked) -> Knots {
    let lines: Vec<Line> = ranked.places().map(|place| Line::of(pending, ranked, place)).collect();
    let mut ends: Vec<((Rank, TaskId), bool, usize)> = Vec::with_capacity(2 * lines.len());
    for (n, line) in lines.iter().enumerate() {
        ends.push((line.first, false, n));
        ends.push((line.last, true, n));
    }
    ends.sort_unstable();
    let mut knots: Knots = ranked.places().map(|place| (place.ix, Vec::new())).collect();
    let (mut ahead, mut sum) = (0.0, Density::default());
    let mut before = ends.first().map_or((Rank(0.0), TaskId(0)), |end| end.0);
    for (key, is_last, n) in ends {
        let step = key.0.0 - before.0.0;
        ahead += if step > 0.0 {
            sum.by_rank * step
        } else {
            sum.by_id * key.1.0.saturating_sub(before.1.0) as f64
        };
        before = key;
        let line = &lines[n];
        let density = line.density();
        let knot = (key.1.0, f64::max(ahead, 0.0).round() as u64);
        if is_last {
            sum.by_rank -= density.by_rank;
            sum.by_id -= density.by_id;
            ahead += 1.0;
            if !line.single {
                knots[n].1.push(knot);
            }
        } else {
            sum.by_rank += density.by_rank;
            sum.by_id += density.by_id;
            ahead += f64::from(u8::from(!line.single));
            knots[n].1.push(knot);
        }
    }
    knots
}

#[cfg(test)]
mod tests;
