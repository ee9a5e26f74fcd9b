//! The command line that all daemons share, and what its words do.

use crate::daemon::{Daemon, DaemonError, Work};
use crate::pidfile::{self, PidFile, PidFileError, Stopped};
use crate::setup::{Kind, Overrides, Setup, SetupError};
use crate::{detach, status};
use clap::{Parser, Subcommand};
use god_core::store::{Seq, StoreError};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long `stop` waits: longer than a daemon may take.
const STOP: Duration = Duration::from_secs(15);
/// How long `once` may take.
const ONCE: Duration = Duration::from_secs(60);

/// The command line.
#[derive(Debug, Parser)]
#[command(version, subcommand_required = true, arg_required_else_help = false, max_term_width = 100)]
struct Cli {
    /// Configuration file [default: GOD_CONFIG, then go-d.ini here, then the one in the data directory]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Work in the foreground until SIGTERM or SIGINT
    Run {
        /// Leave the session; what happens is told on standard output
        #[arg(long, hide = true)]
        detached: bool,
    },
    /// Work in the background; returns once it is ready
    Start,
    /// End the one in the background and wait for it
    Stop,
    /// Stop, then start
    Restart,
    /// Make one pass and end
    Once,
    /// Show who leads and which watchers there are; exit status 0 if tasks are looked after
    Status,
    /// Make the data directory and the database; may be repeated
    Init,
    /// Ask all daemons to read their configuration again
    ConfigReload,
}

/// Why a word was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The configuration.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The process file.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The daemon itself.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The log.
    #[error(transparent)]
    Log(#[from] god_telemetry::Error),
    /// The store.
    #[error("the store did not do what was asked")]
    Store(#[from] StoreError),
    /// The system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Said to the user as it stands.
    #[error("{0}")]
    Said(String),
}

/// Runs a daemon's program: reads the command line, does what its word says, and tells the result.
#[must_use]
pub fn main(kind: Kind) -> ExitCode {
    let cli = Cli::parse();
    let detached = matches!(cli.word, Word::Run { detached: true });
    let told = carry_out(kind, cli);
    tell(kind.program(), detached, told)
}

/// Tells the user, and whoever waits for a start in the background, why a word was not carried out.
#[must_use]
pub fn tell<E>(program: &str, detached: bool, result: Result<ExitCode, E>) -> ExitCode
where
    E: AsRef<dyn std::error::Error + 'static>,
{
    match result {
        Ok(code) => code,
        Err(err) => {
            let text = god_engine::chain(err.as_ref());
            if detached {
                detach::failed(&text);
            }
            eprintln!("{program}: {text}");
            ExitCode::FAILURE
        }
    }
}

impl AsRef<dyn std::error::Error + 'static> for FrontError {
    fn as_ref(&self) -> &(dyn std::error::Error + 'static) {
        self
    }
}

fn carry_out(kind: Kind, cli: Cli) -> Result<ExitCode, FrontError> {
    let setup = Setup::read(kind, Overrides { config: cli.config.clone(), ..Overrides::default() })?;
    let mut again: Vec<OsString> = vec!["run".into(), "--detached".into()];
    if let Some(config) = cli.config {
        again.extend(["--config".into(), config.into()]);
    }
    match cli.word {
        Word::Run { detached } => serve(setup, detached, async |daemon: &mut Daemon| match kind {
            Kind::Scheduler => {
                daemon.start_scheduler();
                Ok(())
            }
            Kind::Watcher => {
                daemon.start_watcher();
                Ok(daemon.start_sender()?)
            }
            Kind::Archiver => {
                daemon.start_archiver();
                Ok(())
            }
            Kind::Web | Kind::All => start_web(daemon).await,
        })
        .map(|()| ExitCode::SUCCESS),
        Word::Start => start(&setup, &again),
        Word::Stop => stop(&setup),
        Word::Restart => match stop(&setup)? {
            ExitCode::SUCCESS => start(&setup, &again),
            failed => Ok(failed),
        },
        Word::Once => once(setup),
        Word::Status => status(&setup),
        Word::Init => init(&setup),
        Word::ConfigReload => reload(&setup),
    }
}

#[cfg(feature = "web")]
async fn start_web(daemon: &mut Daemon) -> Result<(), FrontError> {
    daemon.start_web().await?;
    Ok(())
}

#[cfg(not(feature = "web"))]
async fn start_web(_: &mut Daemon) -> Result<(), FrontError> {
    Err(FrontError::Said("the web server is not built into this program".to_owned()))
}

/// Says who looks after the tasks; fails when nobody does.
///
/// # Errors
/// The store can not be asked.
pub fn status(setup: &Setup) -> Result<ExitCode, FrontError> {
    let said = block_on(async {
        let store = god_plugins::store(&setup.config).await.map_err(DaemonError::from)?;
        status::of(&*store).await.map_err(FrontError::from)
    })?;
    print!("{}", said.text);
    Ok(if said.is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Says which processes of the site are alive; fails when one is not well, or the work is not looked after.
///
/// # Errors
/// The store can not be asked, or the registry is not usable as it is configured.
pub fn overview(setup: &Setup) -> Result<ExitCode, FrontError> {
    let said = block_on(async {
        let registry = god_plugins::status(&setup.config).map_err(DaemonError::from)?;
        let store = god_plugins::store(&setup.config).await.map_err(DaemonError::from)?;
        status::overview(&*store, registry.as_deref(), crate::clock::now()).await.map_err(FrontError::from)
    })?;
    print!("{}", said.text);
    for warning in &said.warnings {
        eprintln!("{warning}");
    }
    Ok(if said.is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks every daemon of the site to read its configuration again. The file was read to get here, so it is good.
///
/// # Errors
/// The store can not be written.
pub fn reload(setup: &Setup) -> Result<ExitCode, FrontError> {
    block_on(async {
        let store = god_plugins::store(&setup.config).await.map_err(DaemonError::from)?;
        crate::daemon::ask_to_reload(&*store).await.map_err(FrontError::from)
    })?;
    println!("asked all daemons to read their configuration again; their logs tell what became of it");
    Ok(ExitCode::SUCCESS)
}

/// Makes what a site needs before its first start: data directory and database. Safe to repeat.
///
/// # Errors
/// [`FrontError`].
pub fn init(setup: &Setup) -> Result<ExitCode, FrontError> {
    make_data_dir(&setup.config.base.data_dir)?;
    block_on(async {
        god_plugins::store(&setup.config).await.map_err(DaemonError::from)?;
        Ok::<_, FrontError>(())
    })?;
    println!("{} is ready", setup.config.base.data_dir.display());
    Ok(ExitCode::SUCCESS)
}

/// Makes the data directory. Its files are their owner's alone; root's directory itself can be passed through, because
/// the directories of jobs may lie in it.
///
/// # Errors
/// The system refused.
pub fn make_data_dir(dir: &Path) -> Result<(), FrontError> {
    use std::os::unix::fs::DirBuilderExt;
    let io = |source| FrontError::Io { what: "make the directory", path: dir.to_owned(), source };
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(io)?;
    }
    let mode = if crate::places::is_root() { 0o711 } else { 0o700 };
    std::fs::DirBuilder::new().mode(mode).create(dir).map_err(io)
}

/// The whole life of a daemon in this process. `begin` starts its loops; when it returns, the daemon is ready.
///
/// # Errors
/// The daemon did not start; or what `begin` says.
pub fn serve<E>(
    setup: Setup,
    detached: bool,
    begin: impl AsyncFnOnce(&mut Daemon) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<FrontError> + From<DaemonError>,
{
    if detached {
        detach::leave_session()?;
    }
    let logs = god_telemetry::start(&setup.log_options()).map_err(FrontError::from)?;
    make_data_dir(&setup.config.base.data_dir)?;
    let _held = PidFile::take(&setup.pid_file()).map_err(FrontError::from)?;
    block_on(async {
        let mut daemon = Daemon::open(setup).await?;
        begin(&mut daemon).await?;
        daemon.ready(&logs);
        if detached {
            detach::ready();
        }
        daemon.until_asked_to_end().await;
        daemon.close().await;
        Ok(())
    })
}

/// Starts this program again in the background, with these arguments, and waits until it is ready.
///
/// # Errors
/// It runs already, or did not get ready.
pub fn start(setup: &Setup, arguments: &[OsString]) -> Result<ExitCode, FrontError> {
    make_data_dir(&setup.config.base.data_dir)?;
    if let Some(pid) = pidfile::running(&setup.pid_file())? {
        return Err(FrontError::Said(format!("it runs already (process {pid})")));
    }
    let log = setup.own_file("log");
    let pid = detach::start(arguments, &log)?;
    println!("{} started (process {pid}); log: {}", setup.name(), log.display());
    Ok(ExitCode::SUCCESS)
}

/// Ends the daemon that runs in the background or anywhere else on this host, and waits for it.
///
/// # Errors
/// [`PidFileError`].
pub fn stop(setup: &Setup) -> Result<ExitCode, FrontError> {
    let name = setup.name();
    match pidfile::stop(&setup.pid_file(), STOP)? {
        Stopped::NotRunning => println!("{name} was not running"),
        Stopped::Ended(pid) => println!("{name} has ended (process {pid})"),
        Stopped::StillRuns(pid) => {
            eprintln!("{name} was asked to end and still runs after {} s (process {pid})", STOP.as_secs());
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Works until nothing changes any more.
fn once(setup: Setup) -> Result<ExitCode, FrontError> {
    if setup.kind == Kind::Web {
        return Err(FrontError::Said("a web server makes no passes: use `run`".to_owned()));
    }
    let logs = god_telemetry::start(&setup.log_options())?;
    make_data_dir(&setup.config.base.data_dir)?;
    block_on(async {
        let mut daemon = Daemon::open(setup).await?;
        let work = match daemon.setup().kind {
            Kind::Watcher => daemon.start_watcher(),
            Kind::Archiver => daemon.start_archiver(),
            _ => daemon.start_scheduler(),
        };
        daemon.ready(&logs);
        let quiet = timeout(ONCE, until_quiet(&daemon, &work)).await;
        daemon.close().await;
        match quiet {
            Ok(Ok(())) => Ok(ExitCode::SUCCESS),
            Ok(Err(err)) => Err(err.into()),
            Err(_) => Err(FrontError::Said(format!(
                "no end of work, or another one leads, for {} s",
                ONCE.as_secs()
            ))),
        }
    })
}

/// Until the lease is held, two whole turns have changed nothing in the store, and nothing is under way.
async fn until_quiet(daemon: &Daemon, work: &Work) -> Result<(), StoreError> {
    let clock = &daemon.world.clock;
    while work.tenure.current(clock.mono()).is_none() {
        work.beat.past(work.beat.rings()).await;
    }
    let mut before: Option<Seq> = None;
    loop {
        let begun = work.beat.rings();
        work.beat.past(begun + 1).await;
        let now = daemon.store().head().await?;
        if before == Some(now) && work.under_way.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        before = Some(now);
    }
}

/// Runs a future to its end on a run time of its own.
///
/// # Errors
/// What the future says; or no run time could be made.
pub fn block_on<T, E: From<DaemonError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("go-d")
        .enable_all()
        .build()
        .map_err(|source| DaemonError::System { what: "start threads", source })?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}
