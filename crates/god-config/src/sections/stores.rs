//! Where state is kept: the store of tasks, Redis, and InfluxDB for history.

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};

/// Where state is kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stores {
    /// Which store holds the tasks.
    pub kind: StoreKind,
    /// MongoDB.
    pub mongo: Mongo,
    /// Redis.
    pub redis: Redis,
    /// InfluxDB; `None`: no history is sent.
    pub influxdb: Option<InfluxDb>,
}

/// The stores that can hold the tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// One file in the data directory; all daemons on one host.
    #[default]
    Sqlite,
    /// MongoDB with Redis; daemons on any host.
    Mongo,
    /// Lost at the end of the process: for tests and demonstrations.
    Memory,
}

/// MongoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mongo {
    /// Address, possibly with credentials.
    pub url: Endpoint,
    /// Name of the database.
    pub db: String,
}

/// Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redis {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Number of the database.
    pub db: u32,
    /// What all keys start with.
    pub prefix: String,
    /// Whether the configuration names a host, so that there is one even if the store needs none.
    pub is_named: bool,
}

/// InfluxDB.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InfluxDb {
    /// Host name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// Name of the database.
    pub db: String,
}

impl Default for Stores {
    fn default() -> Stores {
        Stores {
            kind: StoreKind::Sqlite,
            mongo: Mongo { url: Endpoint::new("mongodb://localhost:27017/"), db: "god".to_owned() },
            redis: Redis {
                host: "localhost".to_owned(),
                port: 6379,
                db: 0,
                prefix: "god".to_owned(),
                is_named: false,
            },
            influxdb: None,
        }
    }
}

impl Stores {
    pub(crate) fn read(root: &mut Section<'_>) -> Stores {
        let Stores { mongo, redis, .. } = Stores::default();
        Stores {
            kind: kind(root),
            mongo: Mongo {
                url: root.endpoint("mongo_url", &["mongodb", "mongodb+srv"]).unwrap_or(mongo.url),
                db: root.text("mongo_db").unwrap_or(mongo.db),
            },
            redis: Redis {
                is_named: root.text("redis_host").is_some(),
                host: root.text("redis_host").unwrap_or(redis.host),
                port: root.port("redis_port").unwrap_or(redis.port),
                db: root.count32("redis_db", 0).unwrap_or(redis.db),
                prefix: root.text("redis_prefix").unwrap_or(redis.prefix),
            },
            influxdb: influxdb(root),
        }
    }
}

fn kind(root: &mut Section<'_>) -> StoreKind {
    match root.text("store").as_deref() {
        Some("sqlite") => StoreKind::Sqlite,
        Some("mongo") => StoreKind::Mongo,
        Some("memory") => StoreKind::Memory,
        Some(other) => {
            root.fault("store", format!("no store named `{other}`"), "accepted: sqlite, mongo, memory");
            StoreKind::Sqlite
        }
        None if root.node("mongo_url").is_some() => StoreKind::Mongo,
        None => StoreKind::Sqlite,
    }
}

fn influxdb(root: &mut Section<'_>) -> Option<InfluxDb> {
    let host = root.text("influxdb_host");
    let port = root.port("influxdb_port").unwrap_or(8086);
    let user = root.text("influxdb_user").unwrap_or_else(|| "root".to_owned());
    let password = root.secret("influxdb_password").unwrap_or_else(|| Secret::new("root"));
    let db = root.text("influxdb_db").unwrap_or_else(|| "god".to_owned());
    host.map(|host| InfluxDb { host, port, user, password, db })
}
