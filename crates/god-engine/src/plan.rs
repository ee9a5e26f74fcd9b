//! What starts next and where. Pure: it books room and quota in memory and asks nothing of anybody.
//!
//! The order is the policy's. Two rules stand beside it, so that nothing waits for ever:
//!
//! - *Room is kept*: the best group that has waited a while and does not fit, though others do, gets a node kept for it
//!   ([`crate::capacity::Kept`]).
//! - *Overdue*: of [`TURNS`] starts on an executor one is for the task that waits longest, when it waited very long, whatever its
//!   rank; and room is kept for it first.

use crate::accounts::{Accounts, Charge, Verdict};
use crate::capacity::{Capacity, Held, NoRoom};
use crate::pending::{GroupIx, Order, Pending, Pick, Place, Rank, Ranked};
use crate::world::Settings;
use god_core::ids::{ExecutorName, NodeName, TaskId};
use god_core::policy::Policy;
use god_core::reason::{Code, Reason};
use god_core::units::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// Of so many starts on an executor, one is for the task that waits longest.
pub const TURNS: u32 = 16;

/// A task that found its place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The task.
    pub pick: Pick,
    /// Where it shall run.
    pub node: (ExecutorName, NodeName),
    /// Host ports for it.
    pub ports: Vec<u16>,
}

/// What a pass decided.
#[derive(Debug, Default)]
pub struct Plan {
    /// Tasks to claim, in order.
    pub placed: Vec<Placed>,
    /// Whether there may be more to claim at once.
    pub more: bool,
    /// Groups whose tasks can not start any more, because a quota is used up.
    pub doomed: BTreeSet<GroupIx>,
}

/// Starts on each executor since one was for who waits longest.
#[derive(Debug, Default)]
pub struct Turns(Vec<u32>);

impl Turns {
    fn of(&mut self, executor: usize) -> &mut u32 {
        if self.0.len() <= executor {
            self.0.resize(executor + 1, 0);
        }
        &mut self.0[executor]
    }
}

/// What a plan is made from, at one point in time.
#[derive(Debug)]
pub struct Planner<'a> {
    /// What waits.
    pub pending: &'a mut Pending,
    /// Room.
    pub capacity: &'a mut Capacity,
    /// Quotas and standings.
    pub accounts: &'a mut Accounts,
    /// Who is next out of order.
    pub turns: &'a mut Turns,
    /// Times and limits.
    pub settings: &'a Settings,
    /// The wall clock.
    pub now: Timestamp,
    /// The monotonic clock.
    pub mono: Duration,
}

impl Planner<'_> {
    /// Chooses tasks and books their room, at most one batch. No document is needed: all tasks of a group are alike here.
    pub fn plan(&mut self, policy: &dyn Policy) -> Plan {
        self.capacity.tune(self.mono);
        let mut plan = Plan::default();
        for executor in 0..self.capacity.n_executors() {
            self.serve_kept(executor, &mut plan);
            self.serve_overdue(executor, &mut plan);
        }
        let mut room = self.look_for_room();
        if !room.contains(&true) {
            return plan;
        }
        let ranked = self.pending.ranked(policy, self.accounts, self.now, Some(self.mono));
        let late = self.late(&room, &ranked);
        let mut order = Order::new(&ranked, self.pending, |place| {
            room[self.pending.shape_ix(place.ix)] || late.contains(&Some(place))
        });
        while let Some(place) = order.pop() {
            if plan.placed.len() >= self.settings.claim_batch {
                plan.more = true;
                break;
            }
            let shape = self.pending.shape_ix(place.ix);
            let is_late = late.contains(&Some(place));
            if !(room[shape] || is_late) || !self.may_start(place.ix, &mut plan) {
                continue;
            }
            match self.capacity.find(&self.pending.group(place.ix).shape, None, self.mono) {
                Ok(node) => {
                    self.start(place.ix, node, &mut plan);
                    order.push(place, self.pending);
                }
                Err(no_room) => {
                    // Nothing of this shape fits now: all groups of it are done with for this pass.
                    room[shape] = false;
                    if is_late && matches!(no_room, NoRoom::Busy { .. }) {
                        self.keep(place.ix, false);
                    }
                    self.pending.set_no_room(shape, Some(no_room));
                }
            }
        }
        plan
    }

    /// Looks at the quotas of all groups, also of those for which there is no room.
    pub fn sweep(&mut self) -> Plan {
        let mut plan = Plan::default();
        if self.accounts.is_limited() {
            let groups: Vec<GroupIx> = self.pending.groups().collect();
            for ix in groups {
                self.may_start(ix, &mut plan);
            }
        }
        plan
    }

    /// For each shape that waits, whether there is room for one.
    fn look_for_room(&mut self) -> Vec<bool> {
        let shapes = self.pending.shapes();
        let found: Vec<_> =
            shapes.map(|(ix, shape)| (ix, self.capacity.find(shape, None, self.mono).err())).collect();
        let mut room = vec![false; found.iter().map(|(ix, _)| ix + 1).max().unwrap_or(0)];
        for (ix, no_room) in found {
            room[ix] = no_room.is_none();
            self.pending.set_no_room(ix, no_room);
        }
        room
    }

    /// Whether quotas let a task of this group start; if not, the group knows why.
    fn may_start(&mut self, ix: GroupIx, plan: &mut Plan) -> bool {
        if !self.accounts.is_limited() {
            return true;
        }
        let shape = &self.pending.group(ix).shape;
        let why = match self.accounts.judge(self.pending.who(ix), shape.cores, shape.ram, self.now) {
            Verdict::Free => {
                self.pending.set_why(ix, None);
                return true;
            }
            Verdict::Wait(why) => why,
            Verdict::Never(why) => {
                plan.doomed.insert(ix);
                why
            }
        };
        self.pending.set_why(ix, Some(why));
        false
    }

    /// Takes the head of a group out and books its room.
    fn start(&mut self, ix: GroupIx, node: (ExecutorName, NodeName), plan: &mut Plan) {
        let Some((pick, parent)) = self.pending.pop(ix) else { return };
        if self.capacity.held(pick.id()).is_some() {
            // A child that got a document while it waited is known twice, and was placed already.
            return;
        }
        let shape = &self.pending.group(ix).shape;
        let ports = self.capacity.free_ports(shape.ports);
        let charge = Charge { cores: shape.cores, ram: shape.ram, claimed: self.now };
        let who = self.pending.who(ix);
        let held = Held {
            node: node.clone(),
            amount: shape.amount(),
            ports: ports.clone(),
            since: self.mono,
            parent,
            ends: shape.time_limit.map(|limit| self.mono.saturating_add(Duration::from_secs(limit.0))),
            who,
            charge,
        };
        if let Some(executor) = self.capacity.executor_of(shape) {
            *self.turns.of(executor) += 1;
        }
        self.capacity.book(pick.id(), held);
        self.accounts.hold(who, charge);
        if let Some(parent) = parent {
            self.pending.child_live(parent, 1);
        }
        self.pending.set_why(ix, None);
        plan.placed.push(Placed { pick, node, ports });
    }

    /// Starts the task for which room is kept, as soon as there is some. What can not come true is not kept any longer.
    fn serve_kept(&mut self, executor: usize, plan: &mut Plan) {
        let Some(ix) = self.capacity.kept(executor).map(|kept| kept.group) else { return };
        let shape = &self.pending.group(ix).shape;
        let stands = self.pending.oldest(ix).is_some()
            && !self.pending.is_blocked(ix, self.mono)
            && self.capacity.executor_of(shape) == Some(executor)
            && self.capacity.is_kept_well(executor, shape);
        if !stands || !self.may_start(ix, plan) {
            self.capacity.release(executor);
            return;
        }
        let shape = &self.pending.group(ix).shape;
        if let Ok(node) = self.capacity.find(shape, Some(ix), self.mono) {
            self.capacity.release(executor);
            self.start(ix, node, plan);
        }
    }

    /// When it is its turn, starts the task that waits longest on an executor, or keeps room for it.
    fn serve_overdue(&mut self, executor: usize, plan: &mut Plan) {
        if *self.turns.of(executor) < TURNS {
            return;
        }
        *self.turns.of(executor) = 0;
        let mut overdue: Vec<(TaskId, GroupIx)> = self
            .pending
            .groups()
            .filter(|ix| self.waited(*ix) >= self.settings.overdue_after)
            .filter(|ix| !self.pending.is_blocked(*ix, self.mono))
            .filter(|ix| self.capacity.executor_of(&self.pending.group(*ix).shape) == Some(executor))
            .filter_map(|ix| Some((self.pending.oldest(ix)?.0, ix)))
            .collect();
        overdue.sort_unstable();
        for (_, ix) in overdue {
            if !self.may_start(ix, plan) {
                continue;
            }
            match self.capacity.find(&self.pending.group(ix).shape, None, self.mono) {
                Ok(node) => {
                    self.start(ix, node, plan);
                    *self.turns.of(executor) = 0;
                    return;
                }
                Err(NoRoom::Busy { .. } | NoRoom::Kept { .. }) => {
                    if self.capacity.kept(executor).is_none_or(|kept| !kept.overdue) {
                        self.keep(ix, true);
                    }
                    return;
                }
                // It waits for something else than room.
                Err(_) => {}
            }
        }
    }

    /// For each executor that keeps no room, the best group that has waited a while and does not fit.
    fn late(&self, room: &[bool], ranked: &Ranked) -> Vec<Option<Place>> {
        let mut late: Vec<Option<((Rank, TaskId), Place)>> = vec![None; self.capacity.n_executors()];
        for place in ranked.places() {
            let shape = self.pending.shape_ix(place.ix);
            let busy = matches!(self.pending.no_room(shape), Some(NoRoom::Busy { .. }));
            // What waits for something else has a reason of its own.
            if room[shape] || !busy || own_why(self.pending, place.ix, self.mono).is_some() {
                continue;
            }
            let Some((head, submitted)) = self.pending.oldest(place.ix) else { continue };
            if self.waited(place.ix) < self.settings.keep_after {
                continue;
            }
            let executor = self.capacity.executor_of(&self.pending.group(place.ix).shape);
            let Some(executor) = executor.filter(|e| self.capacity.kept(*e).is_none()) else { continue };
            let key = ranked.key(place, head, submitted);
            if late[executor].is_none_or(|(best, _)| key < best) {
                late[executor] = Some((key, place));
            }
        }
        late.into_iter().map(|found| found.map(|(_, place)| place)).collect()
    }

    fn keep(&mut self, ix: GroupIx, overdue: bool) {
        let shape = self.pending.group(ix).shape.clone();
        if let Some(executor) = self.capacity.executor_of(&shape) {
            self.capacity.keep(executor, ix, &shape, overdue);
        }
    }

    /// How long the head of a group has waited.
    fn waited(&self, ix: GroupIx) -> Duration {
        let submitted = self.pending.oldest(ix).map_or(self.now, |(_, submitted)| submitted);
        Duration::from_millis(self.now.millis_since(submitted))
    }
}

/// Why a group waits; `None` when it waits for its turn.
#[must_use]
pub fn why(pending: &Pending, capacity: &Capacity, ix: GroupIx, mono: Duration) -> Option<Reason> {
    let group = pending.group(ix);
    if let Some(why) = own_why(pending, ix, mono) {
        return Some(why.clone());
    }
    let kept = capacity.executor_of(&group.shape).and_then(|executor| capacity.kept(executor));
    if let Some(kept) = kept.filter(|kept| kept.group == ix) {
        let text = format!("Room is being kept for it on node {}: it needs {}", kept.node.1, group.shape);
        let reason = Reason::new(Code::RoomKept, text);
        return Some(reason.with("cores", group.shape.cores).with("ram_gb", group.shape.ram));
    }
    pending.no_room(pending.shape_ix(ix)).map(|no_room| no_room.reason(&group.shape))
}

/// Why a group waits, beyond what its shape says. A start that failed is no reason any more once it may be tried again.
fn own_why(pending: &Pending, ix: GroupIx, mono: Duration) -> Option<&Reason> {
    pending.why(ix).filter(|why| why.code != Code::Backoff || pending.is_blocked(ix, mono))
}

#[cfg(test)]
mod tests;
