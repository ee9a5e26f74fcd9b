//! Holding and observing leases.
//!
//! A holder renews in a loop of its own, counts the time-to-live from before it sent the renewal, and stops acting at two
//! thirds of it. An observer never compares clocks with anybody: it deposes a holder only when its beat stood still
//! for the whole time-to-live on the observer's own monotonic clock, or when the store proves the holder dead.

use crate::flaw::{self, Flaw};
use crate::world::World;
use god_core::store::{Lease, LeaseRecord, StoreError};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tracing::{info, warn};

/// Name of the scheduler's lease.
pub const SCHEDULER: &str = "scheduler";
/// Name of the archiver's lease.
pub const ARCHIVER: &str = "archiver";
/// Prefix of the leases of watchers; each watcher has its own.
pub const WATCHERS: &str = "watcher/";

/// A lease as its holder knows it, shared between the loop that renews it and the loop that works under it.
#[derive(Debug, Default)]
pub struct Tenure {
    state: Mutex<Option<Held>>,
}

#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    until: Duration,
}

impl Tenure {
    /// The lease, if it may still be acted under at this monotonic time.
    #[must_use]
    pub fn current(&self, mono: Duration) -> Option<Lease> {
        let held = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.as_ref().filter(|h| mono < h.until || flaw::on(Flaw::LeaseNeverChecked)).map(|h| h.lease.clone())
    }

    /// Says that the lease is lost: a write under it was refused.
    pub fn lost(&self, lease: &Lease) {
        let mut held = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if held.as_ref().is_some_and(|h| h.lease == *lease) {
            *held = None;
        }
    }

    fn set(&self, lease: Option<Lease>, until: Duration) {
        let mut held = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *held = lease.map(|lease| Held { lease, until });
    }
}

/// Beats as one observer saw them.
#[derive(Debug, Default)]
pub struct Beats {
    seen: BTreeMap<String, (u64, u64, Duration)>,
}

impl Beats {
    /// Notes the records read at a monotonic time; forgets those that are not among them any more.
    pub fn note(&mut self, records: &[LeaseRecord], mono: Duration) {
        self.seen.retain(|name, _| records.iter().any(|r| &r.name == name));
        for record in records {
            let mark = (record.epoch, record.beat);
            match self.seen.get(&record.name) {
                Some((epoch, beat, _)) if (*epoch, *beat) == mark => {}
                _ => {
                    self.seen.insert(record.name.clone(), (mark.0, mark.1, mono));
                }
            }
        }
    }

    /// Whether the record's beat stood still for `ttl`.
    #[must_use]
    pub fn is_still(&self, record: &LeaseRecord, ttl: Duration, mono: Duration) -> bool {
        self.seen.get(&record.name).is_some_and(|(epoch, beat, since)| {
            (*epoch, *beat) == (record.epoch, record.beat) && mono.saturating_sub(*since) >= ttl
        })
    }
}

/// Takes the lease `name` whenever it is free and renews it, for ever. Run it beside the work loop, never inside.
pub async fn hold(world: &World, name: &str, tenure: &Tenure) {
    let mut beats = Beats::default();
    loop {
        let pause = match tenure.held() {
            Some(lease) => match renew(world, &lease, tenure).await {
                Renewed::Yes => world.settings.lease_ttl / 3,
                Renewed::Maybe => world.settings.standby_poll,
                Renewed::Lost => Duration::ZERO,
            },
            None => match acquire(world, name, &mut beats, tenure).await {
                Ok(true) => world.settings.lease_ttl / 3,
                Ok(false) => world.settings.standby_poll,
                Err(err) => {
                    warn!(lease = name, err = %crate::chain(&err), "lease could not be looked at");
                    world.settings.standby_poll
                }
            },
        };
        if !pause.is_zero() {
            world.clock.sleep(pause).await;
        }
    }
}

/// Gives the lease back at once, so that the next holder need not wait.
pub async fn give_back(world: &World, tenure: &Tenure) {
    let Some(lease) = tenure.held() else { return };
    tenure.set(None, Duration::ZERO);
    if let Err(err) = world.store.release_lease(&lease).await {
        warn!(lease = lease.name, err = %crate::chain(&err), "lease was not given back");
    }
}

impl Tenure {
    fn held(&self) -> Option<Lease> {
        let held = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.as_ref().map(|h| h.lease.clone())
    }
}

enum Renewed {
    Yes,
    Maybe,
    Lost,
}

async fn renew(world: &World, lease: &Lease, tenure: &Tenure) -> Renewed {
    let sent = world.clock.mono();
    match world.store.renew_lease(lease).await {
        Ok(true) => {
            // The work loop may have found out meanwhile that the lease is lost.
            if tenure.held().as_ref() == Some(lease) {
                tenure.set(Some(lease.clone()), sent + world.settings.lease_ttl * 2 / 3);
            }
            Renewed::Yes
        }
        Ok(false) if flaw::on(Flaw::LeaseNeverChecked) => Renewed::Maybe,
        Ok(false) => {
            warn!(lease = lease.name, epoch = lease.epoch, "lease was lost");
            tenure.lost(lease);
            Renewed::Lost
        }
        Err(err) => {
            warn!(lease = lease.name, err = %crate::chain(&err), "lease was not renewed, trying again");
            Renewed::Maybe
        }
    }
}

async fn acquire(world: &World, name: &str, beats: &mut Beats, tenure: &Tenure) -> Result<bool, StoreError> {
    let sent = world.clock.mono();
    let records = world.store.leases(name).await?;
    beats.note(&records, sent);
    let found = records.iter().find(|r| r.name == name);
    let free = match found {
        None => true,
        Some(record) => {
            record.holder.is_none()
                // A take whose answer was lost: nobody else carries this process's name.
                || record.holder.as_ref() == Some(&world.holder)
                || world.store.is_gone(record)
                || beats.is_still(record, world.settings.lease_ttl, sent)
        }
    };
    if !free {
        return Ok(false);
    }
    let sent = world.clock.mono();
    match world.store.take_lease(name, &world.holder, found).await? {
        Some(lease) => {
            info!(lease = name, epoch = lease.epoch, holder = %world.holder, "lease taken");
            tenure.set(Some(lease), sent + world.settings.lease_ttl * 2 / 3);
            Ok(true)
        }
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests;
