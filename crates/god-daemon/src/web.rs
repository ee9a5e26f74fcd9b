//! The web server as a part of a daemon: what the REST interface needs, from the configuration.

use crate::clock::now;
use crate::daemon::{Daemon, DaemonError};
use crate::notify;
use god_api::{ApiConfig, App, Cadvisor, Doors, ImageOffer, Parts, PushKey, Throttle, VolumeOffer};
use god_config::{Config, Secret, VolumeRequest, VolumeUser, resolve_volumes};
use god_core::UserId;
use god_core::auth::Auth;
use god_core::executor::Executor;
use god_core::spec::{Owner, Volume};
use god_core::status::StatusPlugin;
use god_core::store::{PendingLimits, Store};
use god_core::units::Seconds;
use god_core::user::ProjectVolume;
use god_core::wire::AskedVolume;
use god_engine::chain;
use god_engine::signal::Signal;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};

/// Life of an API token: clients keep theirs, and it ends with the key it was made from.
const TOKEN_LIFE: Seconds = Seconds(365 * 86_400);

/// What one generation of the interface is made from.
struct Kitchen {
    store: Arc<dyn Store>,
    auth: Mutex<Arc<dyn Auth>>,
    executors: Vec<Arc<dyn Executor>>,
    /// That of the start: a new one needs a restart.
    secret: Vec<u8>,
    previous_secret: Option<Vec<u8>>,
    throttle: Arc<Throttle>,
    registry: Option<Arc<dyn StatusPlugin>>,
}

impl Daemon {
    /// Listens, and starts to serve the REST interface. A reload of the configuration puts a new interface behind the
    /// same socket, while the old one finishes its requests.
    ///
    /// # Errors
    /// [`DaemonError::Listen`], or the authentication plugin can not be used.
    pub async fn start_web(&mut self) -> Result<SocketAddr, DaemonError> {
        let config = self.config.subscribe();
        let web = self.setup().config.web.clone();
        let listen = |source| DaemonError::Listen { place: format!("{}:{}", web.host, web.port), source };
        let listener = TcpListener::bind((web.host.as_str(), web.port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let listener = Arc::new(listener.into_std().map_err(listen)?);
        let kitchen = Arc::new(Kitchen {
            store: Arc::clone(self.store()),
            auth: Mutex::new(god_plugins::auth(&self.setup().config, Arc::clone(self.store()))?),
            executors: self.executors().to_vec(),
            registry: self.registry().cloned(),
            secret: bytes(&self.setup().config.auth.secret_passphrase),
            previous_secret: self.setup().config.auth.secret_passphrase_previous.as_ref().map(bytes),
            throttle: Arc::default(),
        });
        let stop = Arc::clone(&self.stop);
        self.start_loop("web", move || {
            serve(Arc::clone(&listener), Arc::clone(&kitchen), config.clone(), Arc::clone(&stop))
        });
        if let Some(span) = notify::watchdog() {
            let beat = Arc::new(Signal::default());
            self.add_beat("web", Arc::clone(&beat));
            let stop = Arc::clone(&self.stop);
            self.start_loop("web check", move || {
                check(address, span / 6, Arc::clone(&beat), Arc::clone(&stop))
            });
        }
        self.counts_as("web", None);
        info!(%address, "web server listens");
        Ok(address)
    }
}

impl Kitchen {
    /// The authentication by this configuration; by an earlier one when it can not be made of it, or is another plugin.
    fn auth(&self, config: &Config) -> Arc<dyn Auth> {
        let mut auth = self.auth.lock().unwrap_or_else(PoisonError::into_inner);
        if config.auth.policy == auth.name() {
            match god_plugins::auth(config, Arc::clone(&self.store)) {
                Ok(made) => *auth = made,
                Err(err) => error!(err = %chain(&err), "logins go on as before"),
            }
        }
        Arc::clone(&auth)
    }
}

/// Serves until the stop signal, with a new interface for each configuration.
async fn serve(
    listener: Arc<std::net::TcpListener>,
    kitchen: Arc<Kitchen>,
    mut config: watch::Receiver<Arc<Config>>,
    stop: Arc<Signal>,
) {
    let mut generations = JoinSet::new();
    while stop.rings() == 0 {
        let app = App::new(parts(&kitchen, &config.borrow_and_update()));
        let socket = match listener.try_clone().and_then(TcpListener::from_std) {
            Ok(socket) => socket,
            Err(err) => {
                error!(%err, "the listening socket can not be used");
                return;
            }
        };
        let replaced = Arc::new(Signal::default());
        let (heard, stopped) = (Arc::clone(&replaced), Arc::clone(&stop));
        generations.spawn(god_api::serve(socket, app, async move {
            tokio::select! {
                () = heard.past(0) => {}
                () = stopped.past(0) => {}
            }
        }));
        loop {
            tokio::select! {
                () = stop.past(0) => break,
                Ok(()) = config.changed() => break,
                Some(ended) = generations.join_next() => {
                    warn_of(ended);
                    // Else it was an earlier one that has finished its requests.
                    if generations.is_empty() {
                        break;
                    }
                }
            }
        }
        replaced.ring();
    }
    while let Some(ended) = generations.join_next().await {
        warn_of(ended);
    }
}

fn warn_of(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(err)) => warn!(%err, "the web server ended"),
        Err(err) => error!(%err, "the web server broke"),
    }
}

fn parts(kitchen: &Kitchen, config: &Arc<Config>) -> Parts {
    let volumes = Arc::clone(config);
    Parts {
        store: Arc::clone(&kitchen.store),
        auth: kitchen.auth(config),
        config: api_config(config, &kitchen.executors),
        secret: kitchen.secret.clone(),
        previous_secret: kitchen.previous_secret.clone(),
        throttle: Arc::clone(&kitchen.throttle),
        clock: Arc::new(now),
        volumes: Arc::new(move |owner, asked, offered| volumes_of(&volumes, owner, asked, offered)),
        status: kitchen.registry.clone(),
    }
}

/// What the interface must know of the configuration.
fn api_config(config: &Config, executors: &[Arc<dyn Executor>]) -> ApiConfig {
    ApiConfig {
        site: god_plugins::site(config, executors),
        doors: doors(config),
        admins: config.web.admin.iter().map(UserId::new).collect(),
        images: config
            .images
            .proposed
            .iter()
            .map(|image| ImageOffer {
                name: image.name.clone(),
                url: image.url.clone(),
                interactive: image.interactive,
                default: image.is_default,
            })
            .collect(),
        volumes: config
            .volumes
            .volumes
            .iter()
            .map(|volume| VolumeOffer {
                name: volume.name.clone(),
                acl: volume.access.as_str().to_owned(),
                path: volume.path.clone(),
                mount: volume.mount.clone(),
            })
            .collect(),
        limits: PendingLimits {
            per_user: config.scheduling.rate_limit,
            all: config.scheduling.rate_limit_all,
        },
        share_project_tasks: config.sharing.project_tasks,
        usage_days: config.base.usage_window_days,
        shared_dir: config.base.shared_dir.clone(),
        max_file_download: config.web.max_file_download_bytes,
        token_life: TOKEN_LIFE,
        open_metrics: config.web.prometheus,
        prometheus_key: config.monitoring.prometheus_key.as_ref().map(|key| PushKey::new(key.reveal())),
        cadvisor: Some(Cadvisor {
            port: config.monitoring.cadvisor.port,
            url_part: config.monitoring.cadvisor.url_part.clone(),
            samples: config.monitoring.cadvisor.samples_seconds,
        }),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn doors(config: &Config) -> Doors {
    let auth = &config.auth;
    let secret = auth.proxies.remote_user_secret.as_ref();
    Doors {
        session_life: Seconds(auth.session_timeout_seconds),
        public_url: config.web.public_url.as_ref().map(|url| url.reveal().to_owned()),
        proxies: auth.proxies.peers.clone(),
        remote_user_secret: secret.map(|secret| secret.reveal().to_owned().into()),
    }
}

fn bytes(secret: &Secret) -> Vec<u8> {
    secret.reveal().as_bytes().to_vec()
}

/// The volumes that a task gets of those it asks for.
fn volumes_of(
    config: &Config,
    owner: &Owner,
    asked: &[AskedVolume],
    offered: &[ProjectVolume],
) -> Vec<Volume> {
    let offered: Vec<god_config::Volume> = offered
        .iter()
        .map(|volume| god_config::Volume {
            name: volume.name.clone(),
            access: god_config::Access::parse(Some(&volume.acl)),
            path: Some(volume.path.clone()),
            mount: Some(volume.mount.clone()),
        })
        .collect();
    let requests: Vec<VolumeRequest> = asked
        .iter()
        .map(|volume| VolumeRequest {
            name: volume.name.clone(),
            acl: Some(if volume.writable { "rw" } else { "ro" }.to_owned()),
        })
        .collect();
    let user = VolumeUser { login: owner.id.as_str(), home: owner.home.as_deref().map(Path::new) };
    // Whether the script runs as root is looked at by admission, which then takes the right to write away.
    let resolved = resolve_volumes(&requests, &user, &offered, &config.volumes, false, &|path| path.exists());
    for dropped in &resolved.dropped {
        warn!(user = %owner.id, volume = dropped.name, reason = %dropped.reason, "volume left out");
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    resolved
        .volumes
        .into_iter()
        .map(|volume| Volume {
            name: volume.name,
            path: text(&volume.path),
            mount: text(&volume.mount),
            writable: volume.access == god_config::Access::ReadWrite,
        })
        .collect()
}

/// Rings the beat whenever the server answers itself, until the stop signal.
async fn check(address: SocketAddr, period: Duration, beat: Arc<Signal>, stop: Arc<Signal>) {
    while stop.rings() == 0 {
        match timeout(period, answers(address)).await {
            Ok(Ok(())) => beat.ring(),
            Ok(Err(err)) => warn!(%err, "the web server does not answer itself"),
            Err(_) => warn!("the web server does not answer itself in time"),
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = stop.past(0) => {}
        }
    }
}

async fn answers(mut address: SocketAddr) -> io::Result<()> {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    if &head == b"HTTP/1." { Ok(()) } else { Err(io::Error::other("the answer is no HTTP")) }
}
