//! What a process is told: variables, configuration, and what the command line changes of it.

use crate::places;
use god_config::{Config, ConfigErrors, Environment, LogLevel, LogTarget, ProcessEnv};
use god_core::status::Process;
use god_telemetry::{Form, Level, Options};
use std::path::{Path, PathBuf};

/// Which program this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `go-d-scheduler`.
    Scheduler,
    /// `go-d-watcher`.
    Watcher,
    /// `go-d-archive`.
    Archiver,
    /// `go-d-web`.
    Web,
    /// `go-d up`: all of them.
    All,
}

impl Kind {
    /// First part of the names of its process and its files.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Scheduler => "scheduler",
            Kind::Watcher => "watcher",
            Kind::Archiver => "archiver",
            Kind::Web => "web",
            Kind::All => "go-d",
        }
    }

    /// Name of the program.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Kind::Scheduler => "go-d-scheduler",
            Kind::Watcher => "go-d-watcher",
            Kind::Archiver => "go-d-archive",
            Kind::Web => "go-d-web",
            Kind::All => "go-d",
        }
    }

    /// Its name among the loggers of the configuration.
    fn logger(self) -> &'static str {
        match self {
            Kind::Scheduler | Kind::All => "godocker-scheduler",
            Kind::Watcher => "godocker-watcher",
            Kind::Archiver => "godocker-archiver",
            Kind::Web => "godweb",
        }
    }
}

/// What the command line says instead of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// Default of the data directory; the file may name another.
    pub data_dir: Option<PathBuf>,
    /// Executors, in order.
    pub executors: Option<Vec<String>>,
    /// Host and port of the web server; port 0 is any free one.
    pub listen: Option<(String, u16)>,
}

/// Why a process does not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Faults in the configuration or the variables.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The configuration can be read, and must not be used.
    #[error("{} can not be used as it is:\n  {}", file.display(), faults.join("\n  "))]
    Refused {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        faults: Vec<String>,
    },
}

/// All that a process is told.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Which program.
    pub kind: Kind,
    /// The configuration in force.
    pub config: Config,
    /// What was noticed while reading it.
    pub warnings: Vec<String>,
    /// The file it came from.
    pub file: PathBuf,
    /// Variables that steer the process.
    pub process: ProcessEnv,
    environment: Environment,
    overrides: Overrides,
}

impl Setup {
    /// Reads the variables of this process and the configuration.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(kind: Kind, overrides: Overrides) -> Result<Setup, SetupError> {
        Setup::read_from(kind, overrides, Environment::from_os(std::env::vars_os()))
    }

    fn read_from(kind: Kind, overrides: Overrides, environment: Environment) -> Result<Setup, SetupError> {
        let process = ProcessEnv::read(&environment)?;
        let data_dir = data_dir(&overrides, &environment);
        let option = overrides.config.clone().or_else(|| {
            let in_data = overrides.data_dir.as_ref().map(|dir| dir.join(places::CONFIG_FILE));
            in_data.filter(|file| file.is_file())
        });
        let file = places::config_file(option.as_deref(), &process, &data_dir);
        let (config, warnings) = load(kind, &file, &environment, &overrides)?;
        Ok(Setup { kind, config, warnings, file, process, environment, overrides })
    }

    /// Reads the configuration again, with the same variables and options.
    ///
    /// # Errors
    /// Everything that is wrong, at once; what is in force stays in force.
    pub fn reread(&self) -> Result<(Config, Vec<String>), SetupError> {
        load(self.kind, &self.file, &self.environment, &self.overrides)
    }

    /// `<kind>-<host>[-<GOD_PROCID>]`.
    #[must_use]
    pub fn name(&self) -> String {
        self.process_of(self.kind.word()).name
    }

    /// This process as one of a kind of processes.
    #[must_use]
    pub fn process_of(&self, kind: &str) -> Process {
        let host = places::host_name(&self.process);
        let suffix = self.process.process_id.as_ref().map(|id| format!("-{id}")).unwrap_or_default();
        Process { kind: kind.to_owned(), name: format!("{kind}-{host}{suffix}"), host }
    }

    /// A file of this process in the data directory.
    #[must_use]
    pub fn own_file(&self, ending: &str) -> PathBuf {
        let suffix = self.process.process_id.as_ref().map(|id| format!("-{id}")).unwrap_or_default();
        self.config.base.data_dir.join(format!("{}{suffix}.{ending}", self.kind.word()))
    }

    /// The process file: what `GOD_PID` says, else one in the data directory.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.process.pid_file.clone().unwrap_or_else(|| self.own_file("pid"))
    }

    /// How the process logs.
    #[must_use]
    pub fn log_options(&self) -> Options {
        let form = match self.environment.get("GOD_LOGFORMAT") {
            Some("json") => Form::Json,
            _ => Form::Text,
        };
        let (stderr, files) = destinations(&self.config, self.kind.logger());
        Options { level: self.log_level(&self.config), form, stderr, files }
    }

    /// The level that a configuration asks for; `GOD_LOGLEVEL` wins.
    #[must_use]
    pub fn log_level(&self, config: &Config) -> Level {
        let levels = &config.log.levels;
        let configured = levels.get(self.kind.logger()).or_else(|| levels.get("root")).copied();
        match self.process.log_level.or(configured).unwrap_or(LogLevel::Info) {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warn,
            LogLevel::Error | LogLevel::Critical => Level::Error,
        }
    }
}

/// The default of the data directory, absolute.
fn data_dir(overrides: &Overrides, environment: &Environment) -> PathBuf {
    let default = || places::default_data_dir(environment, places::is_root());
    let dir = overrides.data_dir.clone().unwrap_or_else(default);
    std::path::absolute(&dir).unwrap_or(dir)
}

fn load(
    kind: Kind,
    file: &Path,
    environment: &Environment,
    overrides: &Overrides,
) -> Result<(Config, Vec<String>), SetupError> {
    let data_dir = data_dir(overrides, environment);
    let loaded = Config::load(file, None, environment, god_plugins::known(), &data_dir)?;
    let mut config = loaded.config;
    if let Some(executors) = &overrides.executors {
        config.executors.names.clone_from(executors);
    }
    if let Some((host, port)) = &overrides.listen {
        config.web.host.clone_from(host);
        config.web.port = *port;
    }
    let mut faults: Vec<String> = config.refusals().iter().map(ToString::to_string).collect();
    faults.extend(god_plugins::not_built_in(&config));
    if !faults.is_empty() {
        return Err(SetupError::Refused { file: file.to_owned(), faults });
    }
    let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    warnings.extend(god_plugins::without_effect(&config));
    if kind != Kind::All {
        warnings.extend(god_plugins::needs_one_process(&config).into_iter().map(|name| {
            format!("executors: the runs of `{name}` are known in one process only: use `go-d up`")
        }));
    }
    Ok((config, warnings))
}

/// Where the lines of a logger go. Without handlers, and with handlers that are not used, to the standard error stream.
fn destinations(config: &Config, logger: &str) -> (bool, Vec<PathBuf>) {
    let document = config.log.document.as_ref();
    let of = |owner: Option<&serde_json::Value>| -> Vec<String> {
        let names = owner.and_then(|owner| owner.get("handlers")).and_then(|names| names.as_array());
        names.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let own = of(document.and_then(|d| d.get("loggers")).and_then(|l| l.get(logger)));
    let root = of(document.and_then(|d| d.get("root")));
    let names = if own.is_empty() { root } else { own };
    let targets: Vec<&LogTarget> = names
        .iter()
        .filter_map(|name| config.log.handlers.get(name))
        .map(|handler| &handler.target)
        .collect();
    let files: Vec<PathBuf> = targets
        .iter()
        .filter_map(|target| match target {
            LogTarget::File(path) => Some(path.clone()),
            LogTarget::Stream => None,
        })
        .collect();
    (files.is_empty() || files.len() < targets.len(), files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const LEAST: &str = "executors: [fake]\nsecret_passphrase: kG7qLz0PweR4vX2m\n";

    /// The setup from a file with these lines, in a data directory of its own.
    fn setup(lines: &str, variables: &[(&str, &str)], overrides: Overrides) -> Result<Setup, SetupError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("go-d.ini");
        std::fs::write(&file, format!("shared_dir: {}\n{LEAST}{lines}", dir.path().display())).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let overrides = Overrides { data_dir: Some(dir.path().to_owned()), ..overrides };
        Setup::read_from(Kind::Watcher, overrides, variables.iter().copied().collect())
    }

    #[test]
    fn names_and_files_of_a_process() {
        let plain = setup("", &[("HOSTNAME", "n1")], Overrides::default()).unwrap();
        let dir = plain.config.base.data_dir.clone();
        assert_eq!((plain.name(), plain.pid_file()), ("watcher-n1".to_owned(), dir.join("watcher.pid")));
        let variables = [("HOSTNAME", "n1"), ("GOD_PROCID", "2")];
        let second = setup("", &variables, Overrides::default()).unwrap();
        assert_eq!(second.name(), "watcher-n1-2");
        assert_eq!(second.pid_file().file_name().unwrap(), "watcher-2.pid");
        let named = setup("", &[("GOD_PID", "/run/x.pid")], Overrides::default()).unwrap();
        assert_eq!(named.pid_file(), Path::new("/run/x.pid"));
    }

    #[test]
    fn options_win_over_the_file() {
        let overrides = Overrides { listen: Some(("::1".to_owned(), 0)), ..Overrides::default() };
        let config = setup("web: {listen: '127.0.0.1:80'}\n", &[], overrides).unwrap().config;
        assert_eq!((config.web.host.as_str(), config.web.port), ("::1", 0));
        assert!(setup("", &[], Overrides::default()).unwrap().warnings[0].contains("go-d up"));
    }

    #[test]
    fn what_is_not_built_in_is_a_fault_and_never_left_out() {
        let error = |lines: &str| setup(lines, &[], Overrides::default()).unwrap_err().to_string();
        assert!(error("scheduler_policy: Backfill\n").contains("no scheduling policy named `Backfill`"));
        assert!(error("auth_policy: fake\n").contains("`fake` is not built into this program"));
        let text = error("store: mongo\nguest_allow: true\nport_allocate: false\n");
        assert!(["store:", "guest_allow:", "port_allocate:"].iter().all(|key| text.contains(key)), "{text}");
        for executor in ["swarm", "mesos", "kubernetes", "sge"] {
            let text = error(&format!("executor: {executor}\n"));
            assert!(text.contains(&format!("`{executor}` is not built into this program")), "{text}");
        }
        assert!(error("shared_secret_passphrase: short\n").contains("characters only"));
    }

    #[test]
    fn the_log_follows_the_configuration_and_the_variable_wins() {
        let log = "log_config:\n  version: 1\n  root: {level: ERROR, handlers: [console]}\n  handlers:\n    \
                   console: {class: logging.StreamHandler}\n    \
                   own: {class: logging.FileHandler, filename: /var/log/w.log}\n  loggers:\n    \
                   godocker-watcher: {level: DEBUG, handlers: [own]}\n    godweb: {handlers: [console, own]}\n";
        let setup_ = setup(log, &[], Overrides::default()).unwrap();
        let options = setup_.log_options();
        assert_eq!((options.level, options.form, options.stderr), (Level::Debug, Form::Text, false));
        assert_eq!(options.files, [PathBuf::from("/var/log/w.log")]);
        let web = Setup { kind: Kind::Web, ..setup_.clone() }.log_options();
        assert_eq!((web.level, web.stderr, web.files.len()), (Level::Error, true, 1));
        let sched = Setup { kind: Kind::Scheduler, ..setup_ }.log_options();
        assert_eq!((sched.level, sched.stderr, sched.files.len()), (Level::Error, true, 0));
        let variables = [("GOD_LOGLEVEL", "warning"), ("GOD_LOGFORMAT", "json")];
        let options = setup(log, &variables, Overrides::default()).unwrap().log_options();
        assert_eq!((options.level, options.form), (Level::Warn, Form::Json));
    }

    #[test]
    fn a_file_is_read_again_with_the_same_options() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.ini");
        let write = |more: &str| {
            std::fs::write(&file, format!("shared_dir: {}\n{LEAST}{more}", dir.path().display())).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        };
        write("");
        let listen = Some(("h".to_owned(), 7));
        let overrides = Overrides { config: Some(file.clone()), listen, ..Overrides::default() };
        let setup = Setup::read_from(Kind::Web, overrides, Environment::default()).unwrap();
        write("rate_limit: 3\n");
        let (again, _) = setup.reread().unwrap();
        assert_eq!((again.scheduling.rate_limit, again.web.port), (Some(3), 7));
        write("rate_limit: many\n");
        assert!(setup.reread().is_err());
    }
}
