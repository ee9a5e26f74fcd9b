use super::*;
use async_trait::async_trait;
use futures::FutureExt;
use god_store::MemoryStore;

const NOW: Timestamp = Timestamp(10_000_000);

fn process(kind: &str, name: &str) -> Process {
    Process { kind: kind.into(), name: name.into(), host: "h".into() }
}

fn status(kind: &str, name: &str, alive: bool, seen: Option<i64>) -> ProcessStatus {
    ProcessStatus { name: name.into(), kind: kind.into(), alive, seen }
}

/// The store in memory never waits.
fn at_once<T>(answer: impl Future<Output = Result<T, StoreError>>) -> T {
    answer.now_or_never().expect("at once").expect("no fault")
}

fn signed(store: &MemoryStore, processes: &[Process], at: Timestamp) {
    at_once(sign(store, processes, &Holder::new("p"), at));
}

/// A registry that says what it is told to.
#[derive(Debug)]
struct Registry(Option<Vec<ProcessStatus>>);

#[async_trait]
impl StatusPlugin for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }
    async fn keep_alive(&self, _: &Process) -> Result<(), BoxError> {
        Ok(())
    }
    async fn leave(&self, _: &Process) -> Result<(), BoxError> {
        Ok(())
    }
    async fn processes(&self) -> Result<Vec<ProcessStatus>, BoxError> {
        self.0.clone().ok_or_else(|| "closed".into())
    }
}

#[test]
fn signs_grow_old_and_are_withdrawn() {
    let store = MemoryStore::new();
    let later = |seconds: i64| Timestamp(NOW.0 + seconds * 1000);
    signed(&store, &[process("web", "web-h"), process("watcher", "watcher-h")], NOW);
    signed(&store, &[process("scheduler", "scheduler-h")], later(60));
    let seen = NOW.0 / 1000;
    let known = at_once(known(&store, None, later(100)));
    let expected = [
        status("scheduler", "scheduler-h", true, Some(seen + 60)),
        status("watcher", "watcher-h", false, Some(seen)),
        status("web", "web-h", false, Some(seen)),
    ];
    assert_eq!(known.processes, expected);
    at_once(withdraw(&store, &[process("web", "web-h")]));
    assert_eq!(at_once(super::known(&store, None, later(100))).processes, expected[..2]);
    // The next sign of anybody forgets who was silent for an hour.
    signed(&store, &[process("scheduler", "scheduler-h")], later(3601));
    assert_eq!(at_once(store.pinned(SIGNS)).len(), 1);
    // A clock that was set back makes nobody old.
    assert!(at_once(super::known(&store, None, NOW)).processes[0].alive);
}

#[test]
fn the_registry_counts_and_the_store_fills_in() {
    let store = MemoryStore::new();
    signed(&store, &[process("web", "web-h"), process("watcher", "watcher-h")], NOW);
    let registry = Registry(Some(vec![
        status("watcher", "watcher-h", false, None),
        status("ftp", "ftp-x", true, None),
        status("odd", "odd-x", true, None),
    ]));
    let known = at_once(super::known(&store, Some(&registry), NOW));
    let seen = Some(NOW.0 / 1000);
    let expected = [
        status("watcher", "watcher-h", false, None),
        status("web", "web-h", true, seen),
        status("ftp", "ftp-x", true, None),
        status("odd", "odd-x", true, None),
    ];
    assert_eq!(known.processes, expected);
    assert!(known.registry.is_ok());
    let known = at_once(super::known(&store, Some(&Registry(None)), NOW));
    assert_eq!(known.processes.len(), 2);
    assert!(known.registry.is_err());
}
