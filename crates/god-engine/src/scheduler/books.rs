//! What is used and who may use how much, read now and then; and the end of tasks whose quota is used up.

use super::{Inflight, Scheduler, State};
use crate::accounts::Verdict;
use crate::pending::{GroupIx, Pick};
use god_core::ids::TaskId;
use god_core::state::{Event, Outcome, Phase};
use god_core::store::{Change, StoreError};
use god_core::task::Task;
use god_core::units::Day;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tracing::info;

/// The books are not read more often than this, unless there is somebody new.
const PACE: Duration = Duration::from_secs(1);
/// What administrators change of users and projects counts within this.
const PEOPLE: Duration = Duration::from_secs(5);
/// Reading takes at most one part in so many of the time.
const SHARE: u32 = 20;

/// When the books were read.
#[derive(Debug, Default)]
pub(super) struct BooksRead {
    /// When the last reading began.
    at: Option<Duration>,
    /// When users and projects were last among it.
    people_at: Option<Duration>,
    /// How long the last reading took.
    took: Duration,
}

impl BooksRead {
    /// When they are to be read again.
    fn due(&self, s: &State) -> Option<Duration> {
        let Some(at) = self.at else { return Some(Duration::ZERO) };
        let soonest = at + PACE.max(self.took * SHARE);
        if s.accounts.has_strangers() {
            Some(Duration::ZERO)
        } else if s.accounts.is_dirty() {
            Some(soonest)
        } else {
            s.pending.is_waiting().then(|| soonest.max(at + PEOPLE))
        }
    }
}

impl Scheduler<'_> {
    /// When the books are to be read again.
    pub(super) fn books_due(s: &State) -> Option<Duration> {
        s.books.due(s)
    }

    /// Reads the books when that is due.
    pub(super) async fn refresh_books(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        if s.books.due(s).is_some_and(|due| mono >= due) {
            let people = s.accounts.has_strangers() || s.books.people_at.is_none_or(|at| mono >= at + PEOPLE);
            self.read_books(s, people, inflight).await?;
            let doomed = self.planner(s).sweep().doomed;
            s.doomed.extend(doomed);
        }
        Ok(())
    }

    async fn read_books(
        &self,
        s: &mut State,
        people: bool,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let store = &self.world.store;
        let days = i32::try_from(self.world.settings.usage_days).unwrap_or(i32::MAX);
        let from = Day(self.world.clock.now().day().0.saturating_sub(days.saturating_sub(1)));
        // Whatever ended up to here is in what is read from here on.
        let settling = s.accounts.settling();
        let read = async {
            let people = match people {
                true => Some((store.users().await?, store.projects().await?)),
                false => None,
            };
            Ok((people, store.usage_since(from).await?))
        };
        let (people, ledger) = match inflight.drive(read).await {
            Ok(read) => read,
            Err(err) => {
                s.accounts.keep(settling);
                return Err(err);
            }
        };
        let people_read = people.as_ref().map(|(users, projects)| (&users[..], &projects[..]));
        s.accounts.settle(settling, &ledger, people_read);
        s.books.at = Some(mono);
        if people.is_some() {
            s.books.people_at = Some(mono);
        }
        s.books.took = self.world.clock.mono().saturating_sub(mono);
        Ok(())
    }

    /// Ends tasks of the groups whose quota is used up, at most one batch. That is never decided on what was read a while
    /// ago. `true` when there are more.
    pub(super) async fn end_doomed(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
    ) -> Result<bool, StoreError> {
        if s.doomed.is_empty() {
            return Ok(false);
        }
        self.read_books(s, true, inflight).await?;
        let now = self.world.clock.now();
        let mut batch = Doomed::default();
        for ix in std::mem::take(&mut s.doomed) {
            if s.pending.oldest(ix).is_none() {
                continue;
            }
            let shape = &s.pending.group(ix).shape;
            let verdict = s.accounts.judge(s.pending.who(ix), shape.cores, shape.ram, now);
            if let Verdict::Never(why) = verdict {
                let most = self.world.settings.claim_batch;
                take_out(s, ix, &Outcome::Quota(why.text), most, &mut batch);
                if s.pending.oldest(ix).is_some() {
                    s.doomed.insert(ix);
                }
            }
        }
        self.commit_doomed(s, batch, inflight).await?;
        Ok(!s.doomed.is_empty())
    }

    async fn commit_doomed(
        &self,
        s: &mut State,
        batch: Doomed,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let now = self.world.clock.now();
        let mut changes: Vec<Change> = Vec::new();
        let mut end = |task: &Task, outcome: &Outcome| {
            if let Ok(next) = task.after(&Event::EndedUnstarted(outcome.clone()), now) {
                info!(task = %task.id, user = %task.spec.owner.id, why = %outcome, "task ended, a quota is used up");
                changes.push(Change::of(task, next, self.world.ops.next()));
            }
        };
        let ids: Vec<TaskId> = batch.stored.keys().copied().collect();
        if !ids.is_empty() {
            let docs = inflight.drive(self.world.store.get(&ids)).await?;
            docs.into_iter().flatten().for_each(|task| end(&task, &batch.stored[&task.id]));
        }
        for (child, outcome) in &batch.children {
            end(child, outcome);
        }
        if !changes.is_empty() {
            // One that is stale was moved by somebody else: the sequence of changes tells.
            inflight.drive(self.world.store.commit(changes, Some(&s.lease))).await?;
        }
        Ok(())
    }
}

/// Tasks to end.
#[derive(Default)]
struct Doomed {
    /// With a document.
    stored: HashMap<TaskId, Outcome>,
    /// Children of arrays that have none.
    children: Vec<(Task, Outcome)>,
}

/// Takes tasks out of a group. An array of which nothing was ever made ends as a whole.
fn take_out(s: &mut State, ix: GroupIx, outcome: &Outcome, most: usize, batch: &mut Doomed) {
    let mut whole = BTreeSet::new();
    while batch.stored.len() + batch.children.len() < most {
        let Some((pick, _)) = s.pending.head(ix) else { return };
        if let Pick::Child { parent, ordinal } = pick
            && let Some(array) = s.pending.array(parent)
        {
            let untouched = array.parent.phase() == Phase::Pending && array.parent.children.made == 0;
            if untouched && array.waiting.is_empty() && whole.insert(parent) {
                batch.stored.insert(parent, outcome.clone());
                s.pending.stop_array(parent);
                continue;
            }
            batch.children.extend(array.parent.child(ordinal).map(|child| (child, outcome.clone())));
        }
        let Some((pick, _)) = s.pending.pop(ix) else { return };
        if let Pick::Single(id) = pick {
            batch.stored.insert(id, outcome.clone());
        }
    }
}
