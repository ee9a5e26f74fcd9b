//! What all requests share.

use crate::audit::Audit;
use crate::config::ApiConfig;
use crate::error::ApiError;
use crate::fresh::Fresh;
use crate::guard::Turns;
use crate::hub::Hub;
use crate::identity::Directory;
use crate::routes::{Monitors, Pushed};
use crate::session::Sessions;
use crate::throttle::Throttle;
use crate::token::Tokens;
use crate::why::{Boards, Why};
use bytes::Bytes;
use god_core::auth::Auth;
use god_core::ids::OpId;
use god_core::keys::{Purpose, Secret};
use god_core::resources::Node;
use god_core::spec::{Owner, Volume};
use god_core::status::StatusPlugin;
use god_core::store::{Store, StoreError};
use god_core::units::Day;
use god_core::usage::Ledger;
use god_core::user::{Project, ProjectVolume, User};
use god_core::wire::{self, AskedVolume, WireContext};
use god_core::{Task, Timestamp, UserId};
use god_runtime::jobdir::JobDirs;
use serde_json::{Value, json};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Resolves the volumes that a user asks for, by the site's rules; the last are those that the project of the task offers.
pub type ResolveVolumes = dyn Fn(&Owner, &[AskedVolume], &[ProjectVolume]) -> Vec<Volume> + Send + Sync;

/// What the interface is made of.
pub struct Parts {
    /// The state of the suite.
    pub store: Arc<dyn Store>,
    /// Checks passwords.
    pub auth: Arc<dyn Auth>,
    /// The configuration.
    pub config: ApiConfig,
    /// The server's secret, from which keys for each purpose are derived.
    pub secret: Vec<u8>,
    /// The one before it, whose tokens and keys are still good.
    pub previous_secret: Option<Vec<u8>>,
    /// Wrong logins so far. One for the process, whatever the configuration becomes.
    pub throttle: Arc<Throttle>,
    /// The time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Resolves volumes.
    pub volumes: Arc<ResolveVolumes>,
    /// The registry of processes, when there is one.
    pub status: Option<Arc<dyn StatusPlugin>>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("store", &self.store).field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// The interface's shared state; cheap to clone.
#[derive(Debug, Clone)]
pub struct App(Arc<Inner>);

/// What the clones of an [`App`] share.
pub struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) auth: Arc<dyn Auth>,
    pub(crate) config: ApiConfig,
    pub(crate) tokens: Tokens,
    pub(crate) key_secret: Secret,
    /// The one before it.
    pub(crate) previous_key_secret: Option<Secret>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) sessions: Sessions,
    pub(crate) directory: Directory,
    pub(crate) volumes: Arc<ResolveVolumes>,
    pub(crate) status: Option<Arc<dyn StatusPlugin>>,
    pub(crate) monitors: Monitors,
    pub(crate) pushed: Pushed,
    pub(crate) dirs: JobDirs,
    pub(crate) hub: Hub,
    pub(crate) audit: Audit,
    pub(crate) turns: Turns,
    /// Rung when somebody is to be removed.
    pub(crate) removals: Notify,
    /// The answer of `/config`, which never changes while the process lives.
    pub(crate) public_config: Bytes,
    /// Ends streams when the server stops.
    pub(crate) closing: CancellationToken,
    /// Answers by hundreds of their status: 1xx to 5xx.
    pub(crate) answers: [AtomicU64; 5],
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    next_op: AtomicU64,
    users: Fresh<UserId, Option<Arc<User>>>,
    projects: Fresh<(), Arc<Vec<Project>>>,
    nodes: Fresh<(), Arc<Vec<Node>>>,
    maintenance: Fresh<(), bool>,
    pub(crate) boards: Fresh<(), Arc<Boards>>,
    ledger: Fresh<Day, Arc<Ledger>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("store", &self.store).field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> App {
        let Parts { store, auth, config, secret, previous_secret, throttle, clock, volumes, status } = parts;
        let previous = |purpose| previous_secret.as_ref().map(|secret| Secret::derive(secret, purpose));
        let token_secret = Secret::derive(&secret, Purpose::ApiTokens);
        App(Arc::new(Inner {
            tokens: Tokens::new(&token_secret, previous(Purpose::ApiTokens).as_ref(), config.token_life),
            key_secret: Secret::derive(&secret, Purpose::ApiKeys),
            previous_key_secret: previous(Purpose::ApiKeys),
            throttle,
            sessions: Sessions::default(),
            directory: Directory::default(),
            hub: Hub::new(Arc::clone(&store)),
            audit: Audit::new(Arc::clone(&store)),
            turns: Turns::default(),
            removals: Notify::new(),
            monitors: Monitors::new(),
            pushed: Pushed::default(),
            dirs: JobDirs::new(&config.shared_dir),
            public_config: public_config(&config).to_string().into(),
            closing: CancellationToken::new(),
            answers: Default::default(),
            next_op: AtomicU64::new(RandomState::new().hash_one(0)),
            users: Fresh::default(),
            projects: Fresh::default(),
            nodes: Fresh::default(),
            maintenance: Fresh::default(),
            boards: Fresh::default(),
            ledger: Fresh::default(),
            store,
            auth,
            config,
            volumes,
            status,
            clock,
        }))
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ApiConfig {
        &self.0.config
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A mark that no other write carries.
    pub(crate) fn op(&self) -> OpId {
        OpId(self.next_op.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn is_admin(&self, login: &UserId) -> bool {
        self.config.admins.contains(login)
    }

    /// A user's record, at most a second old.
    pub(crate) async fn user(&self, login: &UserId) -> Result<Option<Arc<User>>, StoreError> {
        self.users.get(login, || async { Ok(self.store.user(login).await?.map(Arc::new)) }).await
    }

    pub(crate) fn forget_user(&self, login: &UserId) {
        self.users.forget(login);
    }

    /// All projects, at most a second old.
    pub(crate) async fn projects(&self) -> Result<Arc<Vec<Project>>, StoreError> {
        self.projects.get(&(), || async { Ok(Arc::new(self.store.projects().await?)) }).await
    }

    pub(crate) fn forget_projects(&self) {
        self.projects.forget(&());
    }

    /// The first day of the usage window.
    pub(crate) fn window(&self) -> Day {
        let days = i32::try_from(self.config.usage_days.max(1) - 1).unwrap_or(i32::MAX);
        Day(self.now().day().0.saturating_sub(days))
    }

    /// What everybody used within the window, as of at most a second ago.
    pub(crate) async fn ledger(&self) -> Result<Arc<Ledger>, StoreError> {
        let from = self.window();
        self.ledger.get(&from, || async { Ok(Arc::new(self.store.usage_since(from).await?)) }).await
    }

    /// The nodes that executors publish, at most a second old.
    pub(crate) async fn nodes(&self) -> Result<Arc<Vec<Node>>, StoreError> {
        let load = || async {
            let mut nodes = Vec::new();
            for (key, text) in self.store.pinned("nodes/").await? {
                match serde_json::from_str::<Vec<Node>>(&text) {
                    Ok(some) => nodes.extend(some),
                    Err(err) => tracing::warn!(%key, %err, "published nodes can not be read"),
                }
            }
            Ok(Arc::new(nodes))
        };
        self.nodes.get(&(), load).await
    }

    /// Whether the site is closed, as of at most a second ago.
    pub(crate) async fn in_maintenance(&self) -> Result<bool, StoreError> {
        let load = || async {
            let pins = self.store.pinned("maintenance").await?;
            Ok(pins.iter().any(|(key, value)| key == "maintenance" && value == "on"))
        };
        self.maintenance.get(&(), load).await
    }

    pub(crate) async fn set_maintenance(&self, on: bool) -> Result<(), StoreError> {
        let value = on.then(|| "on".to_owned());
        self.store.pin(vec![("maintenance".to_owned(), value)]).await?;
        self.maintenance.forget(&());
        Ok(())
    }

    /// The document of a task.
    pub(crate) fn document(&self, task: &Task, why: Option<&Why>) -> Value {
        let job_dir = |task: &Task| self.job_dir(task).to_string_lossy().into_owned();
        let context = WireContext { job_dir: &job_dir, why: why.map(|why| &why.reason) };
        let mut document = wire::document(task, &context);
        if let Some(why) = why {
            document["status"]["why"] = why.json();
        }
        document
    }

    /// Where a task's files are.
    pub(crate) fn job_dir(&self, task: &Task) -> PathBuf {
        match (task.parent, task.array_index()) {
            (Some(parent), Some(index)) => self.dirs.child_dir(parent.0, index),
            _ => self.dirs.task_dir(task.id.0),
        }
    }

    /// The task of this id.
    pub(crate) async fn task(&self, id: god_core::TaskId) -> Result<Task, ApiError> {
        self.store.get(&[id]).await?.pop().flatten().ok_or_else(|| ApiError::no_task(id))
    }
}

/// The answer of `/config`: what everybody may know of the site. Nothing secret is anywhere near it.
fn public_config(config: &ApiConfig) -> Value {
    let site = &config.site;
    let mut features: Vec<&str> =
        site.executors.iter().flat_map(|executor| executor.features.iter().map(String::as_str)).collect();
    features.sort_unstable();
    features.dedup();
    let constraints: Vec<Value> =
        site.constraints.iter().map(|c| json!({"name": c.name, "value": c.values})).collect();
    let executors: Vec<&str> = site.executors.iter().map(|executor| executor.name.as_str()).collect();
    let fields: Vec<Value> = site
        .dynamic_fields
        .iter()
        .map(|field| json!({"name": field.name, "admin_only": field.admin_only}))
        .collect();
    json!({
        "images": config.images,
        "constraints": constraints,
        "volumes": config.volumes,
        "executor_features": features,
        "executors": executors,
        "defaults": {"cpu": site.default_cpu, "ram": site.default_ram},
        "allow_root": site.allow_root,
        "allow_user_images": site.allow_user_images,
        "dynamic_fields": fields,
        "network": site.networks,
        "live": {"status": false, "url": null},
        "share_project_tasks": config.share_project_tasks,
        "array_max": site.array_max,
        "script_max": site.script_max,
        "version": config.version,
    })
}
