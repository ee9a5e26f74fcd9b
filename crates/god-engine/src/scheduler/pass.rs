//! A pass: picks the best tasks that fit, claims them in one durable write, and queues them for their executors.

use super::starts::Starting;
use super::{Inflight, PassNote, Scheduler, State};
use crate::flaw::{self, Flaw};
use crate::pending::Pick;
use crate::plan::{Placed, Plan, Planner};
use god_core::executor::PortPair;
use god_core::ids::TaskId;
use god_core::state::{Attempt, Event, Phase};
use god_core::store::{Change, Committed, StoreError};
use god_core::task::Task;
use std::collections::{BTreeSet, HashMap};
use tracing::debug;

impl Scheduler<'_> {
    /// Claims what fits, at most one batch; `true` when there may be more to do at once.
    pub(super) async fn pass(&self, s: &mut State, inflight: &mut Inflight) -> Result<bool, StoreError> {
        let began = self.world.clock.mono();
        let Plan { placed, more, doomed } = self.planner(s).plan(self.world.policy.as_ref());
        s.doomed.extend(doomed);
        if !placed.is_empty() {
            let claims = self.claims(s, &placed, inflight).await?;
            let claimed = placed.len();
            self.commit_claims(s, placed, claims, inflight).await?;
            if let Some(watch) = &self.watch.0 {
                let took = self.world.clock.mono().saturating_sub(began);
                watch(PassNote { claimed, took });
            }
        }
        Ok(self.end_doomed(s, inflight).await? || more)
    }

    /// Who decides what starts, with what is known now.
    pub(super) fn planner<'s>(&'s self, s: &'s mut State) -> Planner<'s> {
        Planner {
            pending: &mut s.pending,
            capacity: &mut s.capacity,
            accounts: &mut s.accounts,
            turns: &mut s.turns,
            settings: &self.world.settings,
            now: self.world.clock.now(),
            mono: self.world.clock.mono(),
        }
    }

    /// The claims of the placed tasks, in the same order; `None` for one that can not be claimed any more.
    async fn claims(
        &self,
        s: &State,
        placed: &[Placed],
        inflight: &mut Inflight,
    ) -> Result<Vec<Option<Change>>, StoreError> {
        let singles: Vec<TaskId> = placed
            .iter()
            .filter_map(|p| match p.pick {
                Pick::Single(id) => Some(id),
                Pick::Child { .. } => None,
            })
            .collect();
        let docs: HashMap<TaskId, Task> = if singles.is_empty() {
            HashMap::new()
        } else {
            let found = inflight.drive(self.world.store.get(&singles)).await?;
            found.into_iter().flatten().map(|t| (t.id, t)).collect()
        };
        let now = self.world.clock.now();
        let claim = |placed: &Placed| {
            let task = match placed.pick {
                Pick::Single(id) => docs.get(&id).cloned(),
                Pick::Child { parent, ordinal } => {
                    s.pending.array(parent).and_then(|a| a.parent.child(ordinal))
                }
            }?;
            let mut container = task.spec.ports.clone();
            if task.spec.interactive {
                container.push(22);
            }
            let ports =
                placed.ports.iter().zip(container).map(|(&host, container)| PortPair { host, container });
            let attempt = Attempt {
                number: task.attempts + 1,
                executor: placed.node.0.clone(),
                node: placed.node.1.clone(),
                ports: ports.collect(),
                epoch: s.lease.epoch,
                claimed: now,
            };
            match task.after(&Event::Claimed(attempt), now) {
                Ok(next) => Some(Change::of(&task, next, self.world.ops.next())),
                Err(err) => {
                    debug!(task = %task.id, err = %err, "no claim");
                    None
                }
            }
        };
        Ok(placed.iter().map(claim).collect())
    }

    /// Makes the claims durable, then queues the tasks for their executors.
    async fn commit_claims(
        &self,
        s: &mut State,
        placed: Vec<Placed>,
        claims: Vec<Option<Change>>,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let mut changes = self.unfold(s, &placed);
        let n_parents = changes.len();
        let mut tasks = Vec::new();
        for (placed, claim) in placed.iter().zip(claims) {
            match claim {
                Some(change) => {
                    tasks.push(change.task.clone());
                    changes.push(change);
                }
                None => self.unbook(s, placed.pick.id()),
            }
        }
        if flaw::on(Flaw::LaunchBeforeClaim) {
            for task in tasks.clone() {
                self.queue_start(s, task, mono);
            }
            self.launch(s, inflight);
            inflight.drive(self.world.clock.sleep(std::time::Duration::from_millis(1))).await;
        }
        let fence = (!flaw::on(Flaw::LeaseNeverChecked)).then_some(&s.lease);
        let answers = inflight.drive(self.world.store.commit(changes.clone(), fence)).await?;
        for (change, answer) in changes.iter().zip(&answers).take(n_parents) {
            if let (Some(array), Committed::Done) = (s.pending.array_mut(change.task.id), answer) {
                array.parent = change.task.clone();
            }
        }
        for (task, answer) in tasks.into_iter().zip(answers.into_iter().skip(n_parents)) {
            match answer {
                Committed::Done => {
                    if !flaw::on(Flaw::LaunchBeforeClaim) {
                        self.queue_start(s, task, mono);
                    }
                }
                // Killed, or claimed under another epoch: the sequence of changes tells.
                Committed::Stale => self.unbook(s, task.id),
            }
        }
        Ok(())
    }

    /// Changes of the parents whose first child is claimed here.
    fn unfold(&self, s: &State, placed: &[Placed]) -> Vec<Change> {
        let now = self.world.clock.now();
        let parents: BTreeSet<TaskId> = placed
            .iter()
            .filter_map(|p| match p.pick {
                Pick::Child { parent, .. } => Some(parent),
                Pick::Single(_) => None,
            })
            .collect();
        parents
            .into_iter()
            .filter_map(|id| s.pending.array(id))
            .filter(|array| array.parent.phase() == Phase::Pending)
            .filter_map(|array| {
                let next = array.parent.after(&Event::Unfolded, now).ok()?;
                Some(Change::of(&array.parent, next, self.world.ops.next()))
            })
            .collect()
    }

    fn unbook(&self, s: &mut State, id: TaskId) {
        if let Some(held) = s.capacity.give(id, self.world.clock.mono(), std::time::Duration::ZERO) {
            s.accounts.unhold(held.who, held.charge);
            if let Some(parent) = held.parent {
                s.pending.child_live(parent, -1);
            }
        }
    }

    fn queue_start(&self, s: &mut State, task: Task, mono: std::time::Duration) {
        s.starting.insert(task.id, Starting::called(mono));
        let name = task.state.attempt().map(|a| &a.executor);
        if let Some(executor) = self.world.executors.iter().position(|e| Some(e.name()) == name) {
            s.to_start.entry(executor).or_default().push_back(task);
        }
    }
}
