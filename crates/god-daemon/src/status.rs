//! Who looks after the tasks of a site, as the leases in the store tell.

use god_core::status::{ProcessStatus, StatusPlugin};
use god_core::store::{LeaseRecord, Store, StoreError};
use god_core::units::Timestamp;
use god_engine::lease::{ARCHIVER, SCHEDULER, WATCHERS};
use god_engine::processes;
use std::fmt::Write;

/// What `status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// A line for each process.
    pub text: String,
    /// Whether a scheduler leads and a watcher watches.
    pub is_well: bool,
}

/// The state of a site. A process that died on another host may be shown for a while as if it lived.
///
/// # Errors
/// [`StoreError`].
pub async fn of(store: &dyn Store) -> Result<Status, StoreError> {
    let mut text = String::new();
    let mut line = |role: &str, record: &LeaseRecord| {
        let holder = record.holder.as_ref().map_or("nobody", |holder| holder.as_str());
        let gone = record.holder.is_some() && store.is_gone(record);
        let state = if gone { ", which is gone" } else { "" };
        writeln!(text, "{role}: {holder} (epoch {}){state}", record.epoch)
            .expect("writing to a String cannot fail");
        record.holder.is_some() && !gone
    };
    let leader = store.leases(SCHEDULER).await?;
    let leads =
        leader.iter().filter(|record| record.name == SCHEDULER).any(|record| line("scheduler", record));
    let watchers = store.leases(WATCHERS).await?;
    let n_watchers = watchers.iter().filter(|record| line("watcher", record)).count();
    let archivers = store.leases(ARCHIVER).await?;
    for record in archivers.iter().filter(|record| record.name == ARCHIVER) {
        line("archiver", record);
    }
    if !leads {
        text.push_str("no scheduler leads: nothing is started\n");
    }
    if n_watchers == 0 {
        text.push_str("no watcher lives: nobody sees tasks end\n");
    }
    Ok(Status { text, is_well: leads && n_watchers > 0 })
}

/// All processes of a site, as `go-d-status` shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// A line for each process, and one with their numbers.
    pub text: String,
    /// What an operator should know besides.
    pub warnings: Vec<String>,
    /// Whether all known processes are well, and there are a scheduler and a watcher.
    pub is_well: bool,
}

/// All processes of a site, by its store and its registry.
///
/// # Errors
/// [`StoreError`].
pub async fn overview(
    store: &dyn Store,
    registry: Option<&dyn StatusPlugin>,
    now: Timestamp,
) -> Result<Overview, StoreError> {
    let known = processes::known(store, registry, now).await?;
    let mut text = String::new();
    let mut warnings = Vec::new();
    let mut is_well = true;
    for process in &known.processes {
        let ProcessStatus { kind, name, alive, seen } = process;
        let state = if *alive { "alive" } else { "not well" };
        let seen = seen.map(|seen| format!(", last seen {}", ago(now, seen))).unwrap_or_default();
        writeln!(text, "{kind} {name}: {state}{seen}").expect("writing to a String cannot fail");
        is_well &= *alive;
    }
    let live = |kind: &str| known.processes.iter().filter(|p| p.alive && p.kind == kind).count();
    let (schedulers, watchers, webs) = (live("scheduler"), live("watcher"), live("web"));
    writeln!(text, "alive: {schedulers} scheduler, {watchers} watcher, {webs} web")
        .expect("writing to a String cannot fail");
    if schedulers == 0 {
        warnings.push("no scheduler is alive: nothing is started".to_owned());
    }
    if watchers == 0 {
        warnings.push("no watcher is alive: nobody sees tasks end".to_owned());
    }
    if webs == 0 {
        warnings.push("warning: no web server is alive".to_owned());
    }
    if let Err(err) = &known.registry {
        warnings.push(format!("the registry does not answer: {}", god_engine::chain(&**err)));
    }
    is_well &= schedulers > 0 && watchers > 0 && known.registry.is_ok();
    Ok(Overview { text, warnings, is_well })
}

fn ago(now: Timestamp, seen: i64) -> String {
    let seconds = now.0.div_euclid(1000).saturating_sub(seen).max(0);
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7199 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::status::Process;

    #[tokio::test]
    async fn an_overview_is_well_when_all_are_and_the_work_is_done() {
        let store = MemoryStore::new();
        let now = Timestamp(1_000_000);
        let sign = |kind: &'static str, at: i64| {
            let process = Process { kind: kind.into(), name: format!("{kind}-h"), host: "h".into() };
            let store = &store;
            async move {
                let holder = Holder::new("p");
                processes::sign(store, &[process], &holder, Timestamp(at)).await.unwrap();
            }
        };
        let none = overview(&store, None, now).await.unwrap();
        assert_eq!((none.is_well, none.text.as_str()), (false, "alive: 0 scheduler, 0 watcher, 0 web\n"));
        assert_eq!(none.warnings.len(), 3);
        sign("scheduler", 999_000).await;
        sign("watcher", 960_000).await;
        let well = overview(&store, None, now).await.unwrap();
        assert!(well.is_well, "a web server is not needed: {well:?}");
        assert_eq!(well.warnings, ["warning: no web server is alive"]);
        sign("web", 0).await;
        let sick = overview(&store, None, now).await.unwrap();
        assert!(!sick.is_well);
        let expected = "scheduler scheduler-h: alive, last seen 1 s ago\n\
                        watcher watcher-h: alive, last seen 40 s ago\n\
                        web web-h: not well, last seen 16 min ago\n\
                        alive: 1 scheduler, 1 watcher, 0 web\n";
        assert_eq!(sick.text, expected);
    }
    use god_core::Holder;
    use god_store::MemoryStore;

    #[tokio::test]
    async fn well_is_a_leader_and_a_watcher() {
        let store = MemoryStore::new();
        assert!(!of(&store).await.unwrap().is_well);
        let take = |name: &'static str| {
            let store = &store;
            async move { store.take_lease(name, &Holder::new("p"), None).await.unwrap().unwrap() }
        };
        let lead = take("scheduler").await;
        let status = of(&store).await.unwrap();
        assert!(!status.is_well);
        assert_eq!(status.text, "scheduler: p (epoch 1)\nno watcher lives: nobody sees tasks end\n");
        take("watcher/p").await;
        assert!(of(&store).await.unwrap().is_well);
        store.release_lease(&lead).await.unwrap();
        let status = of(&store).await.unwrap();
        assert!(!status.is_well && status.text.contains("scheduler: nobody"), "{}", status.text);
    }
}
