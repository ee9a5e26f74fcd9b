use super::*;
use god_core::ids::{ExecutorName, NodeName, OpId};
use god_core::state::{Ask, Attempt, Event};
use god_core::store::PendingLimits;
use god_core::units::Timestamp;
use god_store::MemoryStore;
use god_store::contract::Wanted;
use god_testkit::build;

/// Nothing of the store below gets lost on the way.
mod contract {
    use super::*;

    async fn make(wanted: Wanted) -> Arc<dyn Store> {
        let store = match wanted.notes_kept {
            Some(notes) => MemoryStore::keeping(usize::try_from(notes).unwrap()),
            None => MemoryStore::new(),
        };
        // The one check that counts notices ends no run.
        Noting::over(Arc::new(store), Rules { usage: true, ..Rules::default() })
    }

    god_store::contract_tests!(make);
}

async fn submitted(store: &dyn Store) -> Task {
    let mut spec = build::spec(build::owner(1000, 1000), "true");
    spec.notify_email = true;
    let new = NewTask {
        spec: Arc::new(spec),
        submitted: Timestamp(1),
        idempotency: None,
        limits: PendingLimits::default(),
    };
    let Some(Submitted::New(id)) = store.submit(vec![new]).await.unwrap().pop() else { panic!() };
    store.get(&[id]).await.unwrap().pop().flatten().unwrap()
}

async fn names(store: &dyn Store) -> Vec<String> {
    store.notices(100).await.unwrap().into_iter().map(|notice| notice.id).collect()
}

#[tokio::test]
async fn what_moves_is_told_by_whoever_moves_it() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = Noting::over(Arc::clone(&memory), Rules { mail: true, live: true, usage: true, flow: true });
    let task = submitted(&*store).await;
    let attempt = Attempt {
        number: 1,
        executor: ExecutorName::new("local"),
        node: NodeName::new("n"),
        ports: Vec::new(),
        epoch: 1,
        claimed: Timestamp(2),
    };
    let claimed = task.after(&Event::Claimed(attempt), Timestamp(2)).unwrap();
    let running = claimed.after(&Event::Started { run: None, since: Timestamp(3) }, Timestamp(3)).unwrap();
    for (before, after) in [(&task, &claimed), (&claimed, &running)] {
        let change = Change::of(before, after.clone(), OpId(after.rev.0));
        // The second is stale: what is not written is not told.
        assert_eq!(store.commit(vec![change.clone()], None).await.unwrap(), [Committed::Done]);
        assert_eq!(store.commit(vec![change], None).await.unwrap(), [Committed::Stale]);
    }
    assert_eq!(names(&*memory).await, ["1.1.start"]);
    // An end that a request brings about is told as well.
    let waiting = submitted(&*store).await;
    let killed = waiting.asked(Ask::Kill, None, Timestamp(4)).unwrap();
    store.commit(vec![Change::of(&waiting, killed, OpId(9))], None).await.unwrap();
    assert_eq!(names(&*memory).await, ["1.1.start", "2.0.end", "2.0.live"]);
}

#[tokio::test]
async fn a_site_that_wants_nothing_has_its_plain_store() {
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = Noting::over(Arc::clone(&memory), Rules::default());
    assert!(Arc::ptr_eq(&memory, &store));
}
