//! The connection to one engine: made when needed, never waited for at start, and every call bounded in time.

use crate::options::{Options, Tls};
use crate::wire::{self, Inspected};
use bollard::errors::Error as ClientError;
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptions;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use god_core::executor::{AttemptKey, ExecError};
use god_core::ids::ExecutorName;
use god_core::units::Bytes;
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The oldest API with everything we use (mounts, CPU limits): Docker 1.13.
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 25 };
/// How long what the engine says of itself is taken for true.
const FACTS_LAST: Duration = Duration::from_secs(2);

/// Why a call to the engine has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call never reached the engine.
    #[error("cannot connect to the engine")]
    NoEngine(#[source] ClientError),
    /// It is not known whether the call took effect.
    #[error("the engine did not answer")]
    NoAnswer(#[source] Option<ClientError>),
    /// The engine answered with an error.
    #[error("the engine answered {status}: {message}")]
    Said {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// The answer makes no sense, or the engine cannot be used.
    #[error("{0}")]
    Garbled(String),
}

impl CallError {
    /// The HTTP status of an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            CallError::Said { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Message and causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(err) = cause {
            let next = err.to_string();
            if !text.contains(&next) {
                text.push_str(": ");
                text.push_str(&next);
            }
            cause = err.source();
        }
        text
    }
}

impl From<ClientError> for CallError {
    fn from(err: ClientError) -> CallError {
        match err {
            ClientError::DockerResponseServerError { status_code, message } => {
                CallError::Said { status: status_code, message }
            }
            ClientError::DockerStreamError { error } => CallError::Said { status: 500, message: error },
            ClientError::JsonDataError { .. }
            | ClientError::JsonSerdeError { .. }
            | ClientError::StrParseError { .. }
            | ClientError::APIVersionParseError {} => CallError::Garbled(err.to_string()),
            ClientError::HyperLegacyError { err } if err.is_connect() => {
                CallError::NoEngine(ClientError::HyperLegacyError { err })
            }
            ClientError::SocketNotFoundError(_) => CallError::NoEngine(err),
            err => CallError::NoAnswer(Some(err)),
        }
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its identity.
    pub id: String,
    /// Its host's name.
    pub host: String,
    /// Cores of its host.
    pub cores: u32,
    /// Memory of its host.
    pub memory: Bytes,
}

/// One engine.
#[derive(Debug)]
pub struct Engine {
    name: ExecutorName,
    url: String,
    tls: Option<Tls>,
    cluster: String,
    limit: Duration,
    /// Remembers the identity of the engine that our runs are on, across restarts of the daemons.
    identity: PathBuf,
    client: Mutex<Option<Docker>>,
    facts: Mutex<Option<(Instant, Facts)>>,
    /// Held by the one who asks for facts, so that a batch of launches asks once.
    asking: tokio::sync::Mutex<()>,
}

impl Engine {
    pub fn new(name: ExecutorName, options: &Options) -> Engine {
        Engine {
            identity: options.shared_dir.join("control").join(format!("engine-{name}")),
            name,
            url: options.url.clone(),
            tls: options.tls.clone(),
            cluster: options.cluster.clone(),
            limit: options.call_limit,
            client: Mutex::default(),
            facts: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// A client that speaks the engine's version of the API.
    pub async fn client(&self) -> Result<Docker, CallError> {
        if let Some(client) = lock(&self.client).clone() {
            return Ok(client);
        }
        let seconds = self.limit.as_secs().max(1);
        let client = if let Some(tls) = &self.tls {
            crate::tls::connect(&self.url, seconds, tls)?
        } else if let Some(path) = self.url.strip_prefix("unix://") {
            Docker::connect_with_unix(path, seconds, API_DEFAULT_VERSION)?
        } else {
            Docker::connect_with_http(&self.url, seconds, API_DEFAULT_VERSION)?
        };
        let client = self.within(client.negotiate_version()).await?;
        let spoken = client.client_version();
        if spoken < OLDEST {
            let what = format!(
                "the engine speaks version {spoken} of the API: {OLDEST} or newer is needed (Docker 1.13)"
            );
            return Err(CallError::Garbled(what));
        }
        *lock(&self.client) = Some(client.clone());
        Ok(client)
    }

    /// Makes one call. After a connection that failed the version is negotiated anew.
    pub async fn call<T, F, Fut>(&self, make: F) -> Result<T, CallError>
    where
        F: FnOnce(Docker) -> Fut,
        Fut: Future<Output = Result<T, ClientError>>,
    {
        let client = self.client().await?;
        let result = self.within(make(client)).await;
        if matches!(result, Err(CallError::NoEngine(_) | CallError::NoAnswer(_))) {
            self.forget_client();
        }
        result
    }

    /// The next call connects anew.
    pub fn forget_client(&self) {
        *lock(&self.client) = None;
    }

    async fn within<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Result<T, CallError> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(CallError::NoAnswer(None)),
        }
    }

    /// What the engine says of itself, asked at most every two seconds.
    pub async fn facts(&self) -> Result<Facts, CallError> {
        let recent = || lock(&self.facts).clone().filter(|(at, _)| at.elapsed() < FACTS_LAST);
        if let Some((_, facts)) = recent() {
            return Ok(facts);
        }
        let _asking = self.asking.lock().await;
        match recent() {
            Some((_, facts)) => Ok(facts),
            None => self.fresh_facts().await,
        }
    }

    /// What the engine says of itself now.
    ///
    /// An engine with another identity than the one our runs are on is an error: that these runs are not on it says
    /// nothing about them.
    pub async fn fresh_facts(&self) -> Result<Facts, CallError> {
        let info = self.call(|docker| async move { docker.info().await }).await?;
        let garbled = |what: &str| CallError::Garbled(format!("it does not tell its {what}"));
        let id = info.id.filter(|id| !id.is_empty()).ok_or_else(|| garbled("identity"))?;
        let host = info.name.filter(|name| !name.is_empty()).ok_or_else(|| garbled("host name"))?;
        let cores = info.ncpu.and_then(|n| u32::try_from(n).ok()).ok_or_else(|| garbled("cores"))?;
        let memory = info.mem_total.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| garbled("memory"))?;
        let facts = Facts { id, host, cores, memory: Bytes(memory) };
        self.check_identity(&facts.id).await?;
        *lock(&self.facts) = Some((Instant::now(), facts.clone()));
        Ok(facts)
    }

    async fn check_identity(&self, id: &str) -> Result<(), CallError> {
        let (path, id) = (self.identity.clone(), id.to_owned());
        let known =
            tokio::task::spawn_blocking(move || known_identity(&path, &id).map(|known| (known == id, known)));
        match known.await {
            Ok(Ok((true, _))) => Ok(()),
            Ok(Ok((false, known))) => Err(CallError::Garbled(format!(
                "another engine answers at {}: our runs are on {known}. If that one is gone for good, remove {}",
                self.url,
                self.identity.display(),
            ))),
            Ok(Err(err)) => Err(CallError::Garbled(format!("cannot use {}: {err}", self.identity.display()))),
            Err(err) => Err(CallError::Garbled(err.to_string())),
        }
    }

    /// All containers of this cluster.
    pub async fn containers(&self) -> Result<Vec<ContainerSummary>, CallError> {
        let label = format!("{}={}", wire::LABEL_CLUSTER, self.cluster);
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        self.call(|docker| async move { docker.list_containers(Some(options)).await }).await
    }

    /// One container by id or name; `None` when there is none.
    pub async fn inspect(&self, container: &str) -> Result<Option<Inspected>, CallError> {
        let id = container.to_owned();
        match self.call(|docker| async move { docker.inspect_container(&id, None).await }).await {
            Ok(answer) => wire::inspected(answer, &self.cluster)
                .map(Some)
                .ok_or_else(|| CallError::Garbled(format!("its inspection of {container} lacks the state"))),
            Err(err) if err.status() == Some(404) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// The container of an attempt, by its name; `None` when there is none or when it is not ours.
    pub async fn find(&self, key: AttemptKey) -> Result<Option<Inspected>, CallError> {
        let name = wire::container_name(&self.cluster, key);
        Ok(self.inspect(&name).await?.filter(|found| found.key == Some(key)))
    }

    /// The error as callers of the executor see it.
    pub fn exec_error(&self, err: CallError) -> ExecError {
        let executor = self.name.clone();
        match err {
            CallError::Garbled(what) => ExecError::Garbled { executor, what },
            CallError::Said { .. } => ExecError::Garbled { executor, what: err.to_string() },
            err => ExecError::Unreachable { executor, source: err.into() },
        }
    }
}

/// The identity that is remembered; this one when none is.
fn known_identity(path: &std::path::Path, id: &str) -> std::io::Result<String> {
    use std::io::{ErrorKind, Write};
    let read = || std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    match read() {
        Err(err) if err.kind() == ErrorKind::NotFound => {}
        known => return known,
    }
    if let Some(dir) = path.parent() {
        crate::files::make_control_root(dir)?;
    }
    // Written aside and linked, so that of two processes one wins and nobody reads half a line.
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = std::fs::File::create(&draft)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(err) if err.kind() != ErrorKind::AlreadyExists => Err(err),
        _ => read(),
    }
}

/// A poisoned lock is taken as it is: what it guards is replaced as a whole.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_identity_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control/engine-docker");
        assert_eq!(known_identity(&path, "A").unwrap(), "A");
        assert_eq!(known_identity(&path, "B").unwrap(), "A");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
