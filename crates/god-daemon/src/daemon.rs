//! A daemon at work: store, executors, the loops that were chosen, and an orderly end.

use crate::alive::{Part, Signs};
use crate::clock::{RealClock, now};
use crate::setup::Setup;
use crate::{notify, reload, supervise, told};
use god_config::Config;
use god_core::Holder;
use god_core::executor::Executor;
use god_core::status::StatusPlugin;
use god_core::store::Store;
use god_core::units::{Bytes, Seconds};
use god_engine::archiver::Archiver;
use god_engine::lease::{self, ARCHIVER, SCHEDULER, Tenure, WATCHERS};
use god_engine::scheduler::Scheduler;
use god_engine::signal::Signal;
use god_engine::watcher::Watcher;
use god_engine::world::Ops;
use god_engine::{Settings, World};
use god_plugins::PluginError;
use god_telemetry::Noting;
use god_telemetry::outbox::BadChannel;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

/// How long the work in hand may take once the end was asked for.
const LAST_WORK: Duration = Duration::from_secs(8);
/// How long leases may take to give back after that.
const LAST_WRITE: Duration = Duration::from_millis(1500);
/// Life of a lease. The old default of `master_timeout`, ten minutes, made up for leases that were never renewed; ours
/// are renewed beside the work, so a longer one would only delay the next leader.
const LEASE_TTL: Duration = Duration::from_secs(6);

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A store, an executor or another plugin can not be used.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A way to tell the world outside can not be used as it is configured.
    #[error(transparent)]
    Channel(#[from] BadChannel),
    /// The web server can not listen.
    #[error("cannot listen on {place}")]
    Listen {
        /// Host and port.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The system refused something that every process gets.
    #[error("cannot {what}")]
    System {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// A daemon.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) setup: Arc<Setup>,
    pub(crate) world: Arc<World>,
    /// The configuration in force; changed by a reload.
    pub(crate) config: watch::Sender<Arc<Config>>,
    pub(crate) stop: Arc<Signal>,
    loops: Vec<(&'static str, JoinHandle<()>)>,
    leases: Vec<(JoinHandle<()>, Arc<Tenure>)>,
    beats: Vec<(&'static str, Arc<Signal>)>,
    helpers: Vec<JoinHandle<()>>,
    registry: Option<Arc<dyn StatusPlugin>>,
    /// What this process counts as.
    parts: Vec<Part>,
    term: Listener,
    int: Listener,
}

impl Daemon {
    /// Opens the store and makes the plugins. From here on SIGTERM and SIGINT are waited for.
    ///
    /// # Errors
    /// [`DaemonError`]; nothing runs then.
    pub async fn open(setup: Setup) -> Result<Daemon, DaemonError> {
        let listen =
            |kind| signal(kind).map_err(|source| DaemonError::System { what: "hear signals", source });
        let (term, int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let config = &setup.config;
        let store = Noting::over(god_plugins::store(config).await?, told::rules(config));
        let executors = god_plugins::executors(config).await?;
        let registry = god_plugins::status(config)?;
        let world = World {
            store,
            executors,
            watchers: god_plugins::watchers(config)?,
            policy: god_plugins::policy(config)?,
            clock: Arc::new(RealClock::default()),
            ops: Arc::new(Ops::new(random()?)),
            settings: settings(config),
            // Two processes never share a holder's name, not even one after the other: an old lease is not ours.
            holder: Holder::new(format!(
                "{}:{}.{:04x}",
                setup.name(),
                std::process::id(),
                random()? & 0xffff
            )),
        };
        let (config, _) = watch::channel(Arc::new(setup.config.clone()));
        Ok(Daemon {
            setup: Arc::new(setup),
            world: Arc::new(world),
            config,
            stop: Arc::new(Signal::default()),
            loops: Vec::new(),
            leases: Vec::new(),
            beats: Vec::new(),
            helpers: Vec::new(),
            registry,
            parts: Vec::new(),
            term,
            int,
        })
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.world.store
    }

    /// The executors.
    #[must_use]
    pub fn executors(&self) -> &[Arc<dyn Executor>] {
        &self.world.executors
    }

    /// The registry of processes, if there is one.
    #[must_use]
    pub fn registry(&self) -> Option<&Arc<dyn StatusPlugin>> {
        self.registry.as_ref()
    }

    /// Says that this process does the work of a kind (`scheduler`, `watcher`, `archiver`, `web` or `ftp`) and gives signs
    /// of life as one. With a beat, only while its loop turns.
    pub fn counts_as(&mut self, kind: &str, beat: Option<Arc<Signal>>) {
        self.parts.push(Part { process: self.setup.process_of(kind), beat });
    }

    fn signs(&self) -> Signs {
        Signs {
            store: Arc::clone(&self.world.store),
            registry: self.registry.clone(),
            holder: self.world.holder.clone(),
            clock: Arc::clone(&self.world.clock),
        }
    }

    /// The configuration the daemon was started with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Starts to schedule; it acts whenever it holds the lease.
    pub fn start_scheduler(&mut self) -> Work {
        let (tenure, beat) = self.start_lease("scheduler", SCHEDULER.to_owned());
        self.counts_as("scheduler", Some(Arc::clone(&beat)));
        let work = Work::new(&tenure, &beat);
        let (world, stop) = (Arc::clone(&self.world), Arc::clone(&self.stop));
        self.start_loop("scheduler", move || {
            let (world, tenure, stop, beat) =
                (Arc::clone(&world), Arc::clone(&tenure), Arc::clone(&stop), Arc::clone(&beat));
            async move { Scheduler::new(&world, &tenure, &stop, &beat).run().await }
        });
        work
    }

    /// Starts to watch; it acts for its share of the tasks.
    pub fn start_watcher(&mut self) -> Work {
        let name = format!("{WATCHERS}{}", self.world.holder);
        let (tenure, beat) = self.start_lease("watcher", name);
        self.counts_as("watcher", Some(Arc::clone(&beat)));
        let work = Work::new(&tenure, &beat);
        let (world, stop) = (Arc::clone(&self.world), Arc::clone(&self.stop));
        self.start_loop("watcher", move || {
            let (world, tenure, stop, beat) =
                (Arc::clone(&world), Arc::clone(&tenure), Arc::clone(&stop), Arc::clone(&beat));
            async move { Watcher::new(&world, &tenure, &stop, &beat).run().await }
        });
        work
    }

    /// Starts to remove the files of finished tasks for which that was asked, and to measure them where there is a disk
    /// quota; it acts whenever it holds the lease.
    pub fn start_archiver(&mut self) -> Work {
        let (tenure, beat) = self.start_lease("archiver", ARCHIVER.to_owned());
        self.counts_as("archiver", Some(Arc::clone(&beat)));
        let work = Work::new(&tenure, &beat);
        let (world, stop, under_way) =
            (Arc::clone(&self.world), Arc::clone(&self.stop), Arc::clone(&work.under_way));
        let files = god_plugins::files(&self.setup.config);
        let measures = self.setup.config.scheduling.disk_quota_bytes.is_some();
        self.start_loop("archiver", move || {
            let (world, tenure, stop, beat) =
                (Arc::clone(&world), Arc::clone(&tenure), Arc::clone(&stop), Arc::clone(&beat));
            let (files, under_way) = (Arc::clone(&files), Arc::clone(&under_way));
            async move {
                let held = (&*tenure, &*stop);
                Archiver::new(&world, files, measures, held, &beat, &under_way).run().await;
            }
        });
        work
    }

    fn start_lease(&mut self, loop_name: &'static str, name: String) -> (Arc<Tenure>, Arc<Signal>) {
        let beat = Arc::new(Signal::default());
        self.beats.push((loop_name, Arc::clone(&beat)));
        (self.hold_lease(name), beat)
    }

    /// Holds a lease whenever it is free, until the daemon has ended its loops.
    pub(crate) fn hold_lease(&mut self, name: String) -> Arc<Tenure> {
        let tenure = Arc::new(Tenure::default());
        let (world, held, stop) = (Arc::clone(&self.world), Arc::clone(&tenure), Arc::new(Signal::default()));
        // Held until the loops have ended, so it does not hear the stop signal: it is aborted.
        let holding = supervise::keep_alive("lease", stop, move || {
            let (world, held, name) = (Arc::clone(&world), Arc::clone(&held), name.clone());
            async move { lease::hold(&world, &name, &held).await }
        });
        self.leases.push((tokio::spawn(holding), Arc::clone(&tenure)));
        tenure
    }

    /// Lets something go on beside the loops; it is dropped at any point when the daemon ends.
    pub(crate) fn help(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.helpers.push(tokio::spawn(work));
    }

    /// Starts a loop that works until the stop signal and is started again when it panics.
    pub(crate) fn start_loop<F>(&mut self, name: &'static str, work: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = Arc::clone(&self.stop);
        let kept = async move { supervise::keep_alive(name, stop, work).await };
        self.loops.push((name, tokio::spawn(kept)));
    }

    /// Adds a sign of life that systemd's watchdog depends on.
    #[cfg(feature = "web")]
    pub(crate) fn add_beat(&mut self, name: &'static str, beat: Arc<Signal>) {
        self.beats.push((name, beat));
    }

    /// All that was chosen runs: tells systemd, feeds its watchdog, and begins to hear requests to reload.
    pub fn ready(&mut self, logs: &god_telemetry::Handle) {
        for warning in &self.setup.warnings {
            warn!(warning, "configuration");
        }
        let setup = Arc::clone(&self.setup);
        let listening =
            reload::listen(setup, Arc::clone(&self.world.store), self.config.clone(), logs.clone());
        self.helpers.push(tokio::spawn(listening));
        self.help(self.signs().keep(self.parts.clone()));
        if let Some(span) = notify::watchdog() {
            self.helpers.push(tokio::spawn(notify::feed_watchdog(span, self.beats.clone())));
        }
        info!(name = self.setup.name(), config = %self.setup.file.display(), "daemon is ready");
        notify::ready();
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn until_asked_to_end(&mut self) {
        tokio::select! {
            _ = self.term.recv() => info!("SIGTERM received, ending"),
            _ = self.int.recv() => info!("SIGINT received, ending"),
        }
    }

    /// Ends: finishes the work in hand and gives the leases back, within ten seconds. What is not finished then is found
    /// and finished by whoever comes next. A second signal cuts this short.
    pub async fn close(mut self) {
        notify::stopping();
        for helper in &self.helpers {
            helper.abort();
        }
        self.stop.ring();
        let until = Instant::now() + LAST_WORK;
        let finished = async {
            for (name, work) in &mut self.loops {
                match timeout_at(until, &mut *work).await {
                    Ok(Ok(())) => {}
                    Ok(Err(err)) => warn!(name, %err, "a loop did not end well"),
                    Err(_) => {
                        warn!(name, "a loop did not finish in time, leaving it");
                        work.abort();
                    }
                }
            }
        };
        tokio::select! {
            () = finished => {}
            _ = self.term.recv() => warn!("second signal, leaving at once"),
            _ = self.int.recv() => warn!("second signal, leaving at once"),
        }
        for (holding, _) in &self.leases {
            holding.abort();
        }
        let given_back = async {
            let signs = self.signs();
            let leases = async {
                for (_, tenure) in &self.leases {
                    lease::give_back(&self.world, tenure).await;
                }
            };
            tokio::join!(leases, signs.withdraw(&self.parts));
        };
        if timeout(LAST_WRITE, given_back).await.is_err() {
            warn!("leases were not given back in time; others take them when they have run out");
        }
        info!(name = self.setup.name(), "daemon has ended");
    }
}

/// What can be seen of a loop from outside.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its lease.
    pub tenure: Arc<Tenure>,
    /// Rung once a turn.
    pub beat: Arc<Signal>,
    /// Work that goes on beside its turns, as far as it counts any.
    pub under_way: Arc<AtomicUsize>,
}

impl Work {
    fn new(tenure: &Arc<Tenure>, beat: &Arc<Signal>) -> Work {
        Work { tenure: Arc::clone(tenure), beat: Arc::clone(beat), under_way: Arc::default() }
    }
}

/// Times and limits of the engine.
fn settings(config: &Config) -> Settings {
    let base = &config.base;
    let ports = &config.network.ports;
    Settings {
        lease_ttl: LEASE_TTL.min(Duration::from_secs(base.master_timeout_seconds)),
        reconcile: Duration::from_secs(base.reconcile_seconds),
        kill_grace: Seconds(base.grace_seconds),
        usage_days: base.usage_window_days,
        disk_quota: config.scheduling.disk_quota_bytes.map(Bytes),
        skip_failed_nodes: config.scheduling.skip_failed_nodes,
        ports: ports.start..ports.start.saturating_add(ports.range),
        ..Settings::default()
    }
}

/// A random number from the system.
fn random() -> Result<u64, DaemonError> {
    getrandom::u64().map_err(|err| DaemonError::System {
        what: "get random numbers",
        source: io::Error::other(err.to_string()),
    })
}

/// Asks every daemon of the site to read its configuration again.
///
/// # Errors
/// [`god_core::store::StoreError`]; some daemons may have heard it all the same.
pub async fn ask_to_reload(store: &dyn Store) -> Result<(), god_core::store::StoreError> {
    store.pin(vec![(reload::ASKED.to_owned(), Some(now().0.to_string()))]).await
}
