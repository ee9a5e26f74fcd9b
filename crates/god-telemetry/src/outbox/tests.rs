use super::*;
use god_core::notice::{Live, Usage};
use god_core::store::{Change, NewTask, PendingLimits, Submitted};
use god_core::{Cores, OpId, Task, Timestamp, UserId};
use god_store::MemoryStore;
use god_testkit::build;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A channel that does what its script says, then delivers all.
#[derive(Debug, Default)]
struct Fake {
    usage: bool,
    batch: usize,
    script: Mutex<VecDeque<Delivery>>,
    /// Names of what was tried, with the second of the test.
    tried: Mutex<Vec<(u64, String)>>,
    hangs: AtomicBool,
    /// Takes three seconds.
    slow: AtomicBool,
    begun: Option<Instant>,
}

impl Fake {
    fn new(usage: bool, script: &[Delivery]) -> Arc<Fake> {
        Arc::new(Fake {
            usage,
            batch: 10,
            script: Mutex::new(script.iter().cloned().collect()),
            begun: Some(Instant::now()),
            ..Fake::default()
        })
    }

    fn tried(&self) -> Vec<(u64, String)> {
        self.tried.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        self.tried().into_iter().map(|(_, name)| name).collect()
    }
}

#[async_trait]
impl Channel for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn takes(&self, message: &Message) -> bool {
        matches!(message, Message::Usage(_)) == self.usage
    }
    fn batch(&self) -> usize {
        self.batch
    }
    fn patience(&self) -> Duration {
        Duration::from_secs(1000)
    }
    async fn deliver(&self, items: &[Item]) -> Vec<Delivery> {
        if self.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.slow.load(Ordering::Relaxed) {
            seconds(3).await;
        }
        let second = self.begun.map_or(0, |begun| begun.elapsed().as_secs());
        let mut tried = self.tried.lock().unwrap();
        tried.extend(items.iter().map(|item| (second, item.id.clone())));
        let mut script = self.script.lock().unwrap();
        items.iter().map(|_| script.pop_front().unwrap_or(Delivery::Done)).collect()
    }
}

/// A store with a task on which notices are hung.
struct Bed {
    store: Arc<MemoryStore>,
    task: Task,
    op: u64,
}

impl Bed {
    async fn new() -> Bed {
        let store = Arc::new(MemoryStore::new());
        let spec = Arc::new(build::spec(build::owner(1000, 1000), "true"));
        let new =
            NewTask { spec, submitted: Timestamp(1), idempotency: None, limits: PendingLimits::default() };
        let Some(Submitted::New(id)) = store.submit(vec![new]).await.unwrap().pop() else { panic!() };
        let task = store.get(&[id]).await.unwrap().pop().flatten().unwrap();
        Bed { store, task, op: 1 }
    }

    /// Stores notices; the names of points of usage begin with `u`.
    async fn tell(&mut self, names: &[&str]) {
        let mut next = self.task.clone();
        next.rev = next.rev.next();
        let mut change = Change::of(&self.task, next, OpId(self.op));
        self.op += 1;
        for name in names {
            let message = if name.starts_with('u') {
                Message::Usage(Usage {
                    user: UserId::new("bob"),
                    image: String::new(),
                    cpu: Cores(1),
                    ram: 1,
                    ran_ms: 1,
                    waited_ms: 1,
                    at: Timestamp(1),
                })
            } else {
                let user = UserId::new("bob");
                Message::Live(Live { user, id: self.task.id.0, status: "over".into(), name: "n".into() })
            };
            let body = serde_json::to_value(message).unwrap();
            change.notices.push(Notice { id: (*name).to_owned(), task: self.task.id, body });
        }
        let after = change.task.clone();
        assert_eq!(self.store.commit(vec![change], None).await.unwrap(), [god_core::store::Committed::Done]);
        self.task = after;
    }

    async fn waiting(&self) -> Vec<String> {
        self.store.notices(100).await.unwrap().into_iter().map(|notice| notice.id).collect()
    }
}

fn always() -> MaySend {
    Arc::new(|| true)
}

/// Runs the sender beside a script of the test.
async fn beside(outbox: &Outbox, may_send: MaySend, script: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = script => {}
        () = outbox.run(may_send, std::future::pending()) => unreachable!("it never ends"),
    }
}

fn seconds(n: u64) -> tokio::time::Sleep {
    tokio::time::sleep(Duration::from_secs(n))
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_delivered_in_order_and_acknowledged() {
    let mut bed = Bed::new().await;
    let (live, usage) = (Fake::new(false, &[]), Fake::new(true, &[]));
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone(), usage.clone()]);
    bed.tell(&["a", "u1", "b"]).await;
    beside(&outbox, always(), async {
        seconds(1).await;
        assert_eq!((live.names(), usage.names()), (vec!["a".into(), "b".into()], vec!["u1".into()]));
        // The bell wakes it at once, not the slow timer.
        bed.tell(&["c", "u2"]).await;
        seconds(1).await;
        assert_eq!(live.tried().last(), Some(&(1, "c".to_owned())));
        assert_eq!(bed.waiting().await, [""; 0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn more_than_a_page_and_what_nobody_takes() {
    let mut bed = Bed::new().await;
    let live = Fake::new(false, &[]);
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone()]);
    let names: Vec<String> =
        (0..1200).map(|n| format!("{}{n}", if n % 3 == 0 { "u" } else { "l" })).collect();
    bed.tell(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    beside(&outbox, always(), async {
        god_testkit::until(Duration::from_secs(60), "all are sent", async || {
            bed.waiting().await.is_empty().then_some(())
        })
        .await;
        let expected: Vec<String> = names.iter().filter(|name| name.starts_with('l')).cloned().collect();
        assert_eq!(live.names(), expected);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_down_is_asked_less_and_less_and_holds_nobody_up() {
    let mut bed = Bed::new().await;
    let down = || Delivery::Down("closed".into());
    let live = Fake::new(false, &[down(), down(), down(), down()]);
    let usage = Fake::new(true, &[]);
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone(), usage.clone()]);
    bed.tell(&["a", "b", "u1"]).await;
    beside(&outbox, always(), async {
        seconds(2).await;
        bed.tell(&["u2", "c"]).await;
        seconds(1).await;
        assert_eq!(usage.names(), ["u1", "u2"]);
        seconds(60).await;
    })
    .await;
    // Two at first, then one after 1 s, 2 s more, 4 s more: then it is back, and all go in their order.
    let expected = [(0, "a"), (0, "b"), (1, "a"), (3, "a"), (7, "a"), (7, "b"), (7, "c")];
    let expected: Vec<(u64, String)> = expected.iter().map(|(at, name)| (*at, (*name).to_owned())).collect();
    assert_eq!(live.tried(), expected);
    assert_eq!(bed.waiting().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_can_not_go_now_lets_the_others_pass_and_is_given_up_in_the_end() {
    let mut bed = Bed::new().await;
    let script: Vec<Delivery> =
        [Delivery::Later("greylisted".into()), Delivery::Never("no such user".into())]
            .into_iter()
            .chain([Delivery::Done, Delivery::Later("again".into())])
            .chain(std::iter::repeat_n(Delivery::Later("again".into()), 100))
            .collect();
    let live = Fake::new(false, &script);
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone()]);
    bed.tell(&["a", "b", "c"]).await;
    beside(&outbox, always(), async {
        seconds(500).await;
        assert_eq!(bed.waiting().await, ["a"], "b and c are done with");
        let tries = live.tried().len();
        assert!((8..14).contains(&tries), "pauses grow: {:?}", live.tried());
        seconds(1000).await;
        assert_eq!(bed.waiting().await, [""; 0], "its time is over");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn only_the_holder_of_the_lease_sends() {
    let mut bed = Bed::new().await;
    let live = Fake::new(false, &[]);
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone()]);
    bed.tell(&["a"]).await;
    let may = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&may);
    beside(&outbox, Arc::new(move || asked.load(Ordering::Relaxed)), async {
        seconds(10).await;
        assert_eq!(live.names(), [""; 0]);
        may.store(true, Ordering::Relaxed);
        seconds(1).await;
        assert_eq!(live.names(), ["a"]);
        may.store(false, Ordering::Relaxed);
        seconds(31).await;
        bed.tell(&["b"]).await;
        seconds(40).await;
        assert_eq!(live.names(), ["a"]);
    })
    .await;
}

/// A store that does not take the first acknowledgements.
#[derive(Debug)]
struct Deaf {
    store: Arc<MemoryStore>,
    left: AtomicUsize,
}

#[async_trait]
impl Source for Deaf {
    async fn head(&self) -> Result<Seq, StoreError> {
        self.store.head().await
    }
    async fn rung(&self, seq: Seq) {
        self.store.rung(seq).await;
    }
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.store.notices(limit).await
    }
    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError> {
        let more = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match more {
            Ok(_) => Err(StoreError::Full("on purpose".into())),
            Err(_) => self.store.notices_sent(ids).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_that_fails_is_repeated_and_the_notice_is_not() {
    let mut bed = Bed::new().await;
    let live = Fake::new(false, &[]);
    let deaf = Arc::new(Deaf { store: bed.store.clone(), left: AtomicUsize::new(3) });
    let outbox = Outbox { source: deaf, channels: vec![live.clone()] };
    bed.tell(&["a"]).await;
    beside(&outbox, always(), async {
        seconds(2).await;
        assert_eq!(bed.waiting().await, ["a"]);
        seconds(10).await;
        assert_eq!(bed.waiting().await, [""; 0]);
    })
    .await;
    assert_eq!(live.names(), ["a"]);
    // A process that dies in between does not know: the next one sends it again, under the same name.
    bed.tell(&["b"]).await;
    let deaf = Arc::new(Deaf { store: bed.store.clone(), left: AtomicUsize::new(usize::MAX) });
    let outbox = Outbox { source: deaf, channels: vec![live.clone()] };
    beside(&outbox, always(), async { seconds(5).await }).await;
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone()]);
    beside(&outbox, always(), async { seconds(5).await }).await;
    assert_eq!(live.names(), ["a", "b", "b"]);
    assert_eq!(bed.waiting().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_orderly_end_waits_for_what_is_on_its_way_but_not_for_ever() {
    let mut bed = Bed::new().await;
    let live = Fake::new(false, &[]);
    live.slow.store(true, Ordering::Relaxed);
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone()]);
    bed.tell(&["a"]).await;
    let begun = Instant::now();
    outbox.run(always(), seconds(1)).await;
    assert_eq!((bed.waiting().await, begun.elapsed().as_secs()), (vec![], 3), "it was sent and acknowledged");
    live.hangs.store(true, Ordering::Relaxed);
    bed.tell(&["b"]).await;
    let begun = Instant::now();
    outbox.run(always(), seconds(1)).await;
    assert_eq!((bed.waiting().await, begun.elapsed().as_secs()), (vec!["b".to_owned()], 7));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_hangs_holds_up_its_own_channel_only() {
    let mut bed = Bed::new().await;
    let (live, usage) = (Fake::new(false, &[]), Fake::new(true, &[]));
    live.hangs.store(true, Ordering::Relaxed);
    let outbox = Outbox::new(bed.store.clone(), vec![live.clone(), usage.clone()]);
    bed.tell(&["a", "u1"]).await;
    beside(&outbox, always(), async {
        for n in 2..6 {
            seconds(1).await;
            bed.tell(&["b", &format!("u{n}")]).await;
        }
        seconds(1).await;
        assert_eq!(usage.names(), ["u1", "u2", "u3", "u4", "u5"]);
    })
    .await;
}
