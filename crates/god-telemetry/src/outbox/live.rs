//! Live events on a channel of Redis, in the form its old listeners know.

use super::{BadChannel, Channel, Delivery, Item, chain};
use async_trait::async_trait;
use god_core::notice::Message;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use std::time::Duration;

/// How long one question to Redis may take.
const ANSWER: Duration = Duration::from_secs(5);
/// An event that is told later than this is of no use to anybody who listens.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Where events are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Address, as `redis://host:port/db`.
    pub url: String,
    /// What the name of the channel begins with: `<prefix>:jobs:pubsub`.
    pub prefix: String,
}

/// Publishes live events.
#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    channel: String,
}

/// The driver's connection says nothing of itself.
struct Connection(ConnectionManager);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Publisher {
    /// Connects with the first event, and again whenever the connection was lost. Needs a run time of tokio.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(options: &Options) -> Result<Publisher, BadChannel> {
        let bad = |source: redis::RedisError| BadChannel {
            key: "redis_host",
            what: "Redis can not be used".to_owned(),
            source: Some(source.into()),
        };
        let client = redis::Client::open(options.url.as_str()).map_err(bad)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(bad)?;
        Ok(Publisher {
            connection: Connection(connection),
            channel: format!("{}:jobs:pubsub", options.prefix),
        })
    }
}

#[async_trait]
impl Channel for Publisher {
    fn name(&self) -> &'static str {
        "live events"
    }

    fn takes(&self, message: &Message) -> bool {
        matches!(message, Message::Live(_))
    }

    fn batch(&self) -> usize {
        500
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn deliver(&self, items: &[Item]) -> Vec<Delivery> {
        let mut pipe = redis::pipe();
        for item in items {
            if let Message::Live(live) = &item.message {
                // A derived serialisation of texts and numbers cannot fail.
                let text = serde_json::to_string(live).unwrap_or_default();
                pipe.publish(&self.channel, text).ignore();
            }
        }
        let mut connection = self.connection.0.clone();
        let answer = match pipe.query_async::<()>(&mut connection).await {
            Ok(()) => Delivery::Done,
            Err(err) => Delivery::Down(chain(&err)),
        };
        vec![answer; items.len()]
    }
}
