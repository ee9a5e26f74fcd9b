//! What the engine tells by itself. After a lost connection the stream goes on where it stopped, as far as the engine
//! remembers; what is missed is found by observation.

use crate::engine::lock;
use crate::inner::{Inner, now};
use crate::wire;
use async_trait::async_trait;
use bollard::errors::Error as ClientError;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptions;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use god_core::executor::{EventStream, RunEvent, Seen};
use god_core::ids::RunRef;
use god_core::units::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Time between two tries to connect.
const RETRY: Duration = Duration::from_secs(1);
/// Ends that are looked at, at the same time; more wait in the connection.
const LOOKS: usize = 8;

/// One listener. All that it holds survives a wait that is dropped.
pub(crate) struct Listener {
    inner: Arc<Inner>,
    /// Nanoseconds since 1970 of the last event, by the engine's clock.
    since: i64,
    stream: Option<BoxStream<'static, Result<EventMessage, ClientError>>>,
    /// Ends whose circumstances are being asked for.
    looks: FuturesUnordered<BoxFuture<'static, RunEvent>>,
    ready: Vec<RunEvent>,
}

impl Listener {
    pub(crate) fn new(inner: Arc<Inner>) -> Listener {
        Listener {
            inner,
            since: now().0.saturating_mul(1_000_000),
            stream: None,
            looks: FuturesUnordered::new(),
            ready: Vec::new(),
        }
    }

    /// Listens, from the last event on.
    async fn connect(&mut self) {
        match self.inner.engine.client().await {
            Ok(client) => {
                let label = format!("{}={}", wire::LABEL_CLUSTER, self.inner.options.cluster);
                let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
                let filters: HashMap<String, Vec<String>> = HashMap::from([
                    ("type".to_owned(), words(&["container"])),
                    ("event".to_owned(), words(&["start", "die"])),
                    ("label".to_owned(), vec![label]),
                ]);
                let (seconds, nanos) =
                    (self.since.div_euclid(1_000_000_000), self.since.rem_euclid(1_000_000_000));
                let options = EventsOptions {
                    since: Some(format!("{seconds}.{nanos:09}")),
                    until: None,
                    filters: Some(filters),
                };
                self.stream = Some(client.events(Some(options)).boxed());
            }
            Err(err) => {
                tracing::debug!(executor = %self.inner.name, err = %err.chain(), "events are not heard");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn take(&mut self, message: EventMessage) {
        if let Some(nanos) = message.time_nano {
            self.since = self.since.max(nanos);
        }
        let Some(actor) = message.actor else { return };
        let (Some(id), Some(attributes)) = (actor.id, actor.attributes) else { return };
        let Some(key) = wire::key_of(&attributes, &self.inner.options.cluster) else { return };
        match message.action.as_deref() {
            Some("start") => {
                let since = message.time_nano.map_or_else(now, |nanos| Timestamp(nanos / 1_000_000));
                lock(&self.inner.known).entry(key).or_default().started(&id, since);
                let seen = Seen::Running { run: Some(RunRef::new(id)), since };
                self.ready.push(RunEvent { key, seen });
            }
            Some("die") => {
                let inner = Arc::clone(&self.inner);
                self.looks.push(async move { RunEvent { key, seen: inner.ended(key, id).await } }.boxed());
            }
            _ => {}
        }
    }

    fn found(&mut self, event: RunEvent) {
        // A container that was removed while we looked has nothing to tell.
        if matches!(event.seen, Seen::Exited(_)) {
            self.ready.push(event);
        }
    }
}

#[async_trait]
impl EventStream for Listener {
    async fn next(&mut self) -> Option<Vec<RunEvent>> {
        loop {
            while let Some(Some(event)) = self.looks.next().now_or_never() {
                self.found(event);
            }
            if !self.ready.is_empty() {
                return Some(std::mem::take(&mut self.ready));
            }
            let Some(stream) = &mut self.stream else {
                self.connect().await;
                continue;
            };
            tokio::select! {
                Some(event) = self.looks.next(), if !self.looks.is_empty() => self.found(event),
                message = stream.next(), if self.looks.len() < LOOKS => match message {
                    Some(Ok(message)) => self.take(message),
                    lost => {
                        tracing::debug!(executor = %self.inner.name, lost = ?lost, "events are not heard");
                        self.stream = None;
                        self.inner.engine.forget_client();
                        tokio::time::sleep(RETRY).await;
                    }
                },
            }
        }
    }
}
