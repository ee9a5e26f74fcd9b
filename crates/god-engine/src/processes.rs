//! Which processes of ours are alive, as the store knows it and, where there is one, a registry outside.
//!
//! The store is always asked, so this works without a registry, and goes on to work while a registry does not answer.

use god_core::BoxError;
use god_core::ids::Holder;
use god_core::status::{KINDS, Process, ProcessStatus, SIGNS, Sign, StatusPlugin};
use god_core::store::{Store, StoreError};
use god_core::units::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a process gives a sign of life.
pub const SIGN_EVERY: Duration = Duration::from_secs(20);
/// One that was silent for longer is not well.
pub const SILENT_AFTER: Duration = Duration::from_secs(90);
/// One that was silent for longer will not come back under its name, and is forgotten.
pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// What is known of all processes.
#[derive(Debug)]
pub struct Known {
    /// Each process once, in the order of [`KINDS`], then by name.
    pub processes: Vec<ProcessStatus>,
    /// Why the registry was not asked with success, if there is one.
    pub registry: Result<(), BoxError>,
}

/// Leaves a sign of life for each of these in the store, and forgets processes that are long gone.
///
/// # Errors
/// [`StoreError`].
pub async fn sign(
    store: &dyn Store,
    processes: &[Process],
    holder: &Holder,
    now: Timestamp,
) -> Result<(), StoreError> {
    let forgotten = store.pinned(SIGNS).await?.into_iter().filter_map(|(key, text)| {
        let is_old = match Sign::read(&key, &text) {
            Some((_, sign)) => is_older(&sign, FORGOTTEN_AFTER, now),
            None => true,
        };
        is_old.then_some((key, None))
    });
    let mut notes: Vec<(String, Option<String>)> = forgotten.collect();
    notes.extend(processes.iter().map(|process| {
        let sign = Sign { at: now, host: process.host.clone(), holder: holder.clone() };
        // A derived serialisation of texts and numbers cannot fail.
        (Sign::key(process), Some(serde_json::to_string(&sign).unwrap_or_default()))
    }));
    store.pin(notes).await
}

/// Takes the signs of processes that have ended as they should back.
///
/// # Errors
/// [`StoreError`].
pub async fn withdraw(store: &dyn Store, processes: &[Process]) -> Result<(), StoreError> {
    store.pin(processes.iter().map(|process| (Sign::key(process), None)).collect()).await
}

/// All processes that the store or the registry knows. What the registry says of a process counts.
///
/// # Errors
/// [`StoreError`].
pub async fn known(
    store: &dyn Store,
    registry: Option<&dyn StatusPlugin>,
    now: Timestamp,
) -> Result<Known, StoreError> {
    let mut processes = stored(store, now).await?;
    let mut answer = Ok(());
    if let Some(registry) = registry {
        match registry.processes().await {
            Ok(found) => {
                let names: BTreeSet<(&str, &str)> =
                    found.iter().map(|p| (p.kind.as_str(), p.name.as_str())).collect();
                processes.retain(|p| !names.contains(&(p.kind.as_str(), p.name.as_str())));
                processes.extend(found);
            }
            Err(err) => answer = Err(err),
        }
    }
    let place = |kind: &str| KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len());
    processes.sort_by(|a, b| (place(&a.kind), &a.kind, &a.name).cmp(&(place(&b.kind), &b.kind, &b.name)));
    Ok(Known { processes, registry: answer })
}

async fn stored(store: &dyn Store, now: Timestamp) -> Result<Vec<ProcessStatus>, StoreError> {
    // A process that is provably dead holds no work, however fresh its last sign is.
    let leases = store.leases("").await?;
    let gone: BTreeSet<&Holder> = leases
        .iter()
        .filter(|lease| store.is_gone(lease))
        .filter_map(|lease| lease.holder.as_ref())
        .collect();
    let signs = store.pinned(SIGNS).await?;
    let signs = signs.iter().filter_map(|(key, text)| Sign::read(key, text));
    Ok(signs
        .filter(|(_, sign)| !is_older(sign, FORGOTTEN_AFTER, now))
        .map(|(process, sign)| ProcessStatus {
            name: process.name,
            kind: process.kind,
            alive: !gone.contains(&sign.holder) && !is_older(&sign, SILENT_AFTER, now),
            seen: Some(sign.at.0.div_euclid(1000)),
        })
        .collect())
}

/// Whether a sign was given longer ago than that, by the clocks of both hosts.
fn is_older(sign: &Sign, span: Duration, now: Timestamp) -> bool {
    u128::from(now.millis_since(sign.at)) > span.as_millis()
}

#[cfg(test)]
mod tests;
