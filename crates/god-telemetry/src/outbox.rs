//! Sends what was stored to be told: reads notices, delivers each, acknowledges it.
//!
//! At least once: a notice is acknowledged after its delivery, so a crash in between sends it again, under the same name.
//! Whoever holds the lease sends; the work of the suite never waits for it. A notice that can not be delivered is tried
//! again with growing pauses and given up at an age that its channel says.

pub mod flow;
pub mod influx;
pub mod live;
pub mod mail;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use god_core::notice::Message;
use god_core::store::{Notice, Seq, Store, StoreError};
use god_core::{BoxError, TaskId};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// Notices read in one question, beyond those that wait for another try.
const PAGE: usize = 512;
/// Notices that may wait for another try before no new ones are read: a bound of memory, not of what is kept.
const MOST_HELD: usize = 20_000;
/// The least time between two looks, so that a busy site is not asked for each single change.
const PACE: Duration = Duration::from_millis(50);
/// The longest time between two looks.
const SLOWEST: Duration = Duration::from_secs(30);
/// How long a delivery may go on after the end was asked for.
const LAST_WORK: Duration = Duration::from_secs(6);
/// How often a standby looks whether it may send.
const STANDBY: Duration = Duration::from_millis(500);
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// A notice on its way out.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its name, the same for every try.
    pub id: String,
    /// The task it tells of.
    pub task: TaskId,
    /// What to say.
    pub message: Message,
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// It is delivered, or nobody wants it.
    Done,
    /// It never will be, for this reason; the operator is told.
    Never(String),
    /// This one can not be delivered now.
    Later(String),
    /// Nothing can be delivered now: the other side does not answer, or refuses us.
    Down(String),
}

/// A way out.
#[async_trait]
pub trait Channel: fmt::Debug + Send + Sync {
    /// Its name, for the log.
    fn name(&self) -> &'static str;
    /// Whether this message goes this way.
    fn takes(&self, message: &Message) -> bool;
    /// Most notices in one call.
    fn batch(&self) -> usize;
    /// How long a notice is tried before it is given up.
    fn patience(&self) -> Duration;
    /// Delivers notices in their order; an answer for each, within a bounded time.
    async fn deliver(&self, items: &[Item]) -> Vec<Delivery>;
}

/// Whether this process may send now.
pub type MaySend = Arc<dyn Fn() -> bool + Send + Sync>;

/// The sender of notices.
#[derive(Debug, Clone)]
pub struct Outbox {
    source: Arc<dyn Source>,
    channels: Vec<Arc<dyn Channel>>,
}

/// The part of a store that the sender uses.
#[async_trait]
trait Source: fmt::Debug + Send + Sync {
    async fn head(&self) -> Result<Seq, StoreError>;
    async fn rung(&self, seq: Seq);
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError>;
    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError>;
}

#[derive(Debug)]
struct OfStore(Arc<dyn Store>);

#[async_trait]
impl Source for OfStore {
    async fn head(&self) -> Result<Seq, StoreError> {
        self.0.head().await
    }
    async fn rung(&self, seq: Seq) {
        self.0.rung(seq).await;
    }
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        self.0.notices(limit).await
    }
    async fn notices_sent(&self, ids: &[String]) -> Result<(), StoreError> {
        self.0.notices_sent(ids).await
    }
}

/// A notice that was read and is not acknowledged.
#[derive(Debug)]
struct Held {
    item: Item,
    channel: usize,
    seen: Instant,
    tries: u32,
    due: Instant,
    busy: bool,
}

/// What the sender knows of one channel.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Whether a delivery is under way.
    busy: bool,
    /// Failures of the whole channel in a row.
    failures: u32,
    /// Nothing is tried before.
    due: Instant,
}

/// What comes back from a delivery.
struct Back {
    channel: usize,
    answers: Vec<(u64, Delivery)>,
}

/// All that a sender knows while it may send.
struct State {
    seq: Seq,
    held: BTreeMap<u64, Held>,
    known: HashSet<String>,
    next: u64,
    ways: Vec<Way>,
    calls: FuturesUnordered<BoxFuture<'static, Back>>,
    /// Deliveries that came back and were not looked at yet.
    back: Vec<Back>,
    /// Names of those that are done with, until the store has heard it.
    done: Vec<String>,
}

impl Outbox {
    /// A sender over these channels. Notices that no channel takes are acknowledged unsent.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, channels: Vec<Arc<dyn Channel>>) -> Outbox {
        Outbox { source: Arc::new(OfStore(store)), channels }
    }

    /// Sends whenever `may_send` says so, until `stop`; then what is on its way may still arrive, for a bounded time. Safe
    /// to drop at any point, at the price that something is sent twice.
    pub async fn run(&self, may_send: MaySend, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut state: Option<State> = None;
        loop {
            if !may_send() {
                // Whoever sends now reads for itself.
                state = None;
                tokio::select! {
                    () = tokio::time::sleep(STANDBY) => continue,
                    () = &mut stop => return,
                }
            }
            let s = state.get_or_insert_with(|| State::new(self.channels.len()));
            let looked = Instant::now();
            let turned = self.turn(s).await;
            let pause = async {
                match turned {
                    Ok(()) => s.wait(&*self.source, looked).await,
                    Err(err) => {
                        warn!(err = %chain(&err), "notices can not be read or acknowledged; trying again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            };
            tokio::select! {
                () = pause => {}
                () = &mut stop => break,
            }
        }
        if let Some(mut s) = state
            && tokio::time::timeout(LAST_WORK, self.finish(&mut s)).await.is_err()
        {
            warn!("deliveries did not end in time; these notices are sent again later");
        }
    }

    /// Waits for what is on its way, and acknowledges it.
    async fn finish(&self, s: &mut State) {
        while let Some(back) = s.calls.next().await {
            s.back.push(back);
        }
        for back in std::mem::take(&mut s.back) {
            self.settle(s, back);
        }
        if let Err(err) = self.acknowledge(s).await {
            warn!(err = %chain(&err), "notices that were sent were not acknowledged; they are sent again later");
        }
    }

    /// Removes all notices without sending them: for a site that tells nobody any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn discard(&self) -> Result<(), StoreError> {
        loop {
            let found = self.source.notices(PAGE).await?;
            if found.is_empty() {
                return Ok(());
            }
            let names: Vec<String> = found.into_iter().map(|notice| notice.id).collect();
            self.source.notices_sent(&names).await?;
        }
    }

    /// Reads what is new, and begins the deliveries that are due.
    async fn turn(&self, s: &mut State) -> Result<(), StoreError> {
        for back in std::mem::take(&mut s.back) {
            self.settle(s, back);
        }
        self.give_up(s);
        self.acknowledge(s).await?;
        // Before the reading: what comes meanwhile rings again.
        s.seq = self.source.head().await?;
        while s.held.len() < MOST_HELD {
            let asked = s.known.len() + PAGE;
            let found = self.source.notices(asked).await?;
            let whole = found.len() == asked;
            self.take(s, found);
            self.acknowledge(s).await?;
            if !whole {
                break;
            }
        }
        let now = Instant::now();
        for channel in 0..self.channels.len() {
            self.deliver(s, channel, now);
        }
        Ok(())
    }

    /// Takes in notices that were not known.
    fn take(&self, s: &mut State, found: Vec<Notice>) {
        let now = Instant::now();
        for notice in found {
            if !s.known.insert(notice.id.clone()) {
                continue;
            }
            let message = match serde_json::from_value::<Message>(notice.body) {
                Ok(message) => message,
                Err(err) => {
                    warn!(notice = notice.id, %err, "a notice can not be read and is left out");
                    s.done.push(notice.id);
                    continue;
                }
            };
            let Some(channel) = self.channels.iter().position(|channel| channel.takes(&message)) else {
                s.done.push(notice.id);
                continue;
            };
            let item = Item { id: notice.id, task: notice.task, message };
            s.held.insert(s.next, Held { item, channel, seen: now, tries: 0, due: now, busy: false });
            s.next += 1;
        }
    }

    /// Is done with what was tried for too long.
    fn give_up(&self, s: &mut State) {
        let old: Vec<u64> = s
            .held
            .iter()
            .filter(|(_, h)| !h.busy && h.tries > 0 && h.seen.elapsed() > self.channels[h.channel].patience())
            .map(|(n, _)| *n)
            .collect();
        for n in old {
            if let Some(held) = s.held.remove(&n) {
                warn!(notice = held.item.id, tries = held.tries, "a notice was given up");
                s.done.push(held.item.id);
            }
        }
    }

    /// Begins the next delivery of a channel, if one is due.
    fn deliver(&self, s: &mut State, channel: usize, now: Instant) {
        let way = s.ways[channel];
        if way.busy || way.due > now {
            return;
        }
        let plugin = Arc::clone(&self.channels[channel]);
        // After a failure one is tried first: it tells whether the other side is back.
        let most = if way.failures > 0 { 1 } else { plugin.batch().max(1) };
        let mut numbers = Vec::new();
        let mut items = Vec::new();
        for (n, held) in &mut s.held {
            if held.channel != channel || held.busy || held.due > now {
                continue;
            }
            held.busy = true;
            numbers.push(*n);
            items.push(held.item.clone());
            if numbers.len() >= most {
                break;
            }
        }
        if numbers.is_empty() {
            return;
        }
        s.ways[channel].busy = true;
        s.calls.push(Box::pin(async move {
            let mut answers = plugin.deliver(&items).await;
            answers.resize(numbers.len(), Delivery::Later("no answer of the channel".to_owned()));
            Back { channel, answers: numbers.into_iter().zip(answers).collect() }
        }));
    }

    /// Takes in what became of a delivery.
    fn settle(&self, s: &mut State, back: Back) {
        let name = self.channels[back.channel].name();
        let now = Instant::now();
        let mut down = None;
        for (n, answer) in back.answers {
            let Some(held) = s.held.get_mut(&n) else { continue };
            let notice = held.item.id.as_str();
            held.busy = false;
            held.tries += 1;
            match answer {
                Delivery::Done => debug!(notice, channel = name, "a notice was delivered"),
                Delivery::Never(why) => warn!(notice, channel = name, why, "a notice can not be delivered"),
                Delivery::Later(why) => {
                    held.due = now + pause(held.tries);
                    warn!(notice, channel = name, why, "a notice will be tried again");
                    continue;
                }
                Delivery::Down(why) => {
                    down = Some(why);
                    continue;
                }
            }
            if let Some(held) = s.held.remove(&n) {
                s.done.push(held.item.id);
            }
        }
        let way = &mut s.ways[back.channel];
        way.busy = false;
        way.due = now;
        match down {
            Some(why) => {
                way.failures += 1;
                let pause = pause(way.failures);
                way.due = now + pause;
                warn!(channel = name, why, pause_seconds = pause.as_secs(), "nothing can be delivered now");
            }
            None => {
                if way.failures > 0 {
                    info!(channel = name, "notices are delivered again");
                }
                way.failures = 0;
            }
        }
    }

    /// Tells the store what is done with. Until it has heard, these stay known and are not sent again.
    async fn acknowledge(&self, s: &mut State) -> Result<(), StoreError> {
        if s.done.is_empty() {
            return Ok(());
        }
        self.source.notices_sent(&s.done).await?;
        for name in s.done.drain(..) {
            s.known.remove(&name);
        }
        Ok(())
    }
}

impl State {
    fn new(channels: usize) -> State {
        State {
            seq: Seq(0),
            held: BTreeMap::new(),
            known: HashSet::new(),
            next: 0,
            ways: vec![Way { busy: false, failures: 0, due: Instant::now() }; channels],
            calls: FuturesUnordered::new(),
            back: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Until something changed in the store, a delivery came back, or the next try is due.
    async fn wait(&mut self, source: &dyn Source, looked: Instant) {
        let now = Instant::now();
        let idle = |held: &&Held| !held.busy && !self.ways[held.channel].busy;
        let next =
            self.held.values().filter(idle).map(|held| held.due.max(self.ways[held.channel].due)).min();
        let until = next.unwrap_or(now + SLOWEST).clamp(looked + PACE, now + SLOWEST);
        let paced = async {
            source.rung(self.seq).await;
            tokio::time::sleep_until(looked + PACE).await;
        };
        tokio::select! {
            () = paced => {}
            () = tokio::time::sleep_until(until) => {}
            Some(back) = self.calls.next(), if !self.calls.is_empty() => self.back.push(back),
        }
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let (first, longest) = PAUSES;
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest)
}

/// An error with all its causes in one line.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Why a channel can not be set up: a setting that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {what}")]
pub struct BadChannel {
    /// The key of the configuration.
    pub key: &'static str,
    /// What is wrong with it.
    pub what: String,
    /// What was said about it.
    #[source]
    pub source: Option<BoxError>,
}

#[cfg(test)]
mod tests;
