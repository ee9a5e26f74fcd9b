//! What the keeper tells by itself.

use crate::client::{Client, chain};
use crate::wire;
use async_trait::async_trait;
use god_core::executor::{EventStream, RunEvent, Seen};
use god_core::units::Timestamp;
use god_runtime::keeper::Event;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Time between two tries to reach a keeper.
const RETRY: Duration = Duration::from_secs(1);

/// One listener. Keeps a connection to the keeper as long as it lives, so that a keeper that died is succeeded at
/// once, whether or not anybody asks.
pub(crate) struct Listener {
    frames: mpsc::Receiver<Arc<Vec<Event>>>,
    connection: tokio::task::JoinHandle<()>,
}

impl Listener {
    pub(crate) fn new(client: Client) -> Listener {
        let frames = client.listen();
        let connection = tokio::spawn(async move {
            loop {
                if let Err(err) = client.stay_connected().await {
                    tracing::warn!(err = %chain(&err), "the keeper of this host cannot be reached");
                    tokio::time::sleep(RETRY).await;
                }
            }
        });
        Listener { frames, connection }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[async_trait]
impl EventStream for Listener {
    async fn next(&mut self) -> Option<Vec<RunEvent>> {
        let mut events: Vec<RunEvent> = self.frames.recv().await?.iter().map(translate).collect();
        // What came meanwhile goes along.
        while let Ok(more) = self.frames.try_recv() {
            events.extend(more.iter().map(translate));
        }
        Some(events)
    }
}

fn translate(event: &Event) -> RunEvent {
    match event {
        Event::Started { key, at_ms, .. } => {
            let seen = Seen::Running { run: None, since: wire::timestamp(*at_ms) };
            RunEvent { key: wire::attempt(*key), seen }
        }
        Event::Exited { key, record } => {
            RunEvent { key: wire::attempt(*key), seen: Seen::Exited(wire::exit(record.clone())) }
        }
        Event::NeverRan { key } => {
            RunEvent { key: wire::attempt(*key), seen: Seen::Exited(wire::never_ran(now())) }
        }
    }
}

/// Now, by the wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
