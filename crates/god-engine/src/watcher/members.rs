//! Which watchers are alive, and which of them acts for a task.

use super::{Inflight, State, Watcher};
use crate::lease::{Beats, WATCHERS};
use crate::world::mix;
use god_core::ids::TaskId;
use god_core::store::{LeaseRecord, StoreError};
use std::time::Duration;
use tracing::info;

/// The live watchers as this one sees them.
#[derive(Debug, Default)]
pub(super) struct Members {
    names: Vec<(String, u64)>,
    beats: Beats,
    pub(super) read_at: Duration,
}

impl Members {
    /// Whether the watcher with this lease acts for a task: rendezvous hashing (Thaler and Ravishankar 1998), the member
    /// with the highest weight for the task has it, and a member that goes or comes moves only its own share.
    pub(super) fn is_mine(&self, me: &str, task: TaskId) -> bool {
        let weight = |hash: u64| mix(hash ^ mix(task.0));
        let mine = weight(hash_of(me));
        self.names.iter().all(|(name, hash)| name == me || (weight(*hash), name.as_str()) < (mine, me))
    }
}

fn hash_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

impl Watcher<'_> {
    /// Reads who is alive when it is time; removes members that are gone. When the set changed, everything is compared
    /// again, since this watcher may act for other tasks now.
    pub(super) async fn refresh_members(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mono = self.world.clock.mono();
        let ttl = self.world.settings.lease_ttl;
        if mono < s.members.read_at + ttl / 3 && !s.members.names.is_empty() {
            return Ok(());
        }
        let records = inflight.drive(self.world.store.leases(WATCHERS)).await?;
        s.members.read_at = mono;
        s.members.beats.note(&records, mono);
        let gone = |r: &LeaseRecord| {
            r.name != s.lease.name
                && (r.holder.is_none()
                    || s.members.beats.is_still(r, ttl, mono)
                    || self.world.store.is_gone(r))
        };
        let (dead, alive): (Vec<_>, Vec<_>) = records.into_iter().partition(|r| gone(r));
        for record in dead {
            info!(lease = record.name, "watcher is gone");
            // Its writes are refused from here on, whatever it still believes.
            inflight.drive(self.world.store.drop_lease(&record)).await?;
        }
        let names: Vec<_> = alive.into_iter().map(|r| (r.name.clone(), hash_of(&r.name))).collect();
        if names != s.members.names {
            s.members.names = names;
            s.reconciled_at = None;
        }
        Ok(())
    }

    pub(super) fn is_mine(&self, s: &State, task: TaskId) -> bool {
        s.members.is_mine(&s.lease.name, task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(names: &[&str]) -> Members {
        Members { names: names.iter().map(|n| ((*n).to_owned(), hash_of(n))).collect(), ..Members::default() }
    }

    #[test]
    fn every_task_has_one_watcher_and_a_newcomer_takes_only_its_share() {
        let three = members(&["watcher/a", "watcher/b", "watcher/c"]);
        let two = members(&["watcher/a", "watcher/b"]);
        let mut shares = [0; 3];
        for id in (1..3000).map(TaskId) {
            let owners: Vec<usize> = ["watcher/a", "watcher/b", "watcher/c"]
                .iter()
                .enumerate()
                .filter(|(_, n)| three.is_mine(n, id))
                .map(|(i, _)| i)
                .collect();
            assert_eq!(owners.len(), 1, "{id}");
            shares[owners[0]] += 1;
            if owners[0] < 2 {
                let name = ["watcher/a", "watcher/b"][owners[0]];
                assert!(two.is_mine(name, id), "{id} moved though its watcher stayed");
            }
        }
        assert!(shares.iter().all(|n| (800..1200).contains(n)), "{shares:?}");
    }
}
