//! Log lines of the daemons: from which level on, in which form, and where they go.
//!
//! Only our own crates log at the chosen level; libraries are held to warnings, since their finer lines show what
//! passes over the wire, tokens included. Nothing here reads the environment or the configuration, and nothing knows
//! what a line is about.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// What the names of our own crates begin with.
const OURS: &[&str] =
    &["god_", "go_d", "executor_", "store_", "policy_", "auth_", "watcher_", "status_", "network_"];

/// From which level on lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Only what a person must look at.
    Error,
    /// And what will be tried again.
    Warn,
    /// And what happened.
    #[default]
    Info,
    /// Everything.
    Debug,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> LevelFilter {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
        }
    }
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Time, level, name and message, for people.
    #[default]
    Text,
    /// One JSON object, for programs.
    Json,
}

/// How a process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// From which level on.
    pub level: Level,
    /// In which form.
    pub form: Form,
    /// Whether lines go to the standard error stream.
    pub stderr: bool,
    /// Files that lines are appended to; made with mode 0640 when they do not exist.
    pub files: Vec<PathBuf>,
}

impl Default for Options {
    /// Text on the standard error stream, from `Info` on.
    fn default() -> Options {
        Options { level: Level::Info, form: Form::Text, stderr: true, files: Vec::new() }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A log file can not be written.
    #[error("cannot open the log file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This process logs already.
    #[error("logging was set up twice in this process")]
    Twice,
}

/// Changes how a running process logs.
#[derive(Debug, Clone)]
pub struct Handle {
    filter: reload::Handle<Targets, Registry>,
}

impl Handle {
    /// Writes lines from this level on from now on.
    pub fn set_level(&self, level: Level) {
        if self.filter.reload(targets(level)).is_err() {
            // Only when the subscriber is gone, at the end of the process: nobody logs any more.
            tracing::debug!("log level not changed");
        }
    }
}

/// Sets up the log of this process, panics included. Once in a process.
///
/// # Errors
/// A file that can not be opened, or a second call.
pub fn start(options: &Options) -> Result<Handle, Error> {
    let (subscriber, handle) = build(options)?;
    subscriber.try_init().map_err(|_| Error::Twice)?;
    log_panics();
    Ok(handle)
}

fn build(options: &Options) -> Result<(impl tracing::Subscriber + Send + Sync, Handle), Error> {
    let (filter, handle) = reload::Layer::new(targets(options.level));
    let mut writers: Vec<Box<dyn Layer<_> + Send + Sync>> = Vec::new();
    if options.stderr {
        writers.push(layer(options.form, io::stderr().is_terminal(), io::stderr));
    }
    for path in &options.files {
        writers.push(layer(options.form, false, LogFile(Arc::new(open(path)?))));
    }
    Ok((tracing_subscriber::registry().with(filter).with(writers), Handle { filter: handle }))
}

fn targets(level: Level) -> Targets {
    let level = LevelFilter::from(level);
    let ours = OURS.iter().map(|name| (*name, level));
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(ours)
}

fn layer<S, W>(form: Form, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(colours);
    match form {
        Form::Text => layer.boxed(),
        Form::Json => layer.json().flatten_event(true).boxed(),
    }
}

fn open(path: &Path) -> Result<File, Error> {
    use std::os::unix::fs::OpenOptionsExt;
    let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    opened.map_err(|source| Error::File { path: path.to_owned(), source })
}

/// A file for lines. Each line is one write in append mode, so that processes can share the file.
#[derive(Debug, Clone)]
struct LogFile(Arc<File>);

impl<'w> MakeWriter<'w> for LogFile {
    type Writer = &'w File;

    fn make_writer(&'w self) -> Self::Writer {
        &self.0
    }
}

/// Panics become log lines like everything else.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("a panic without a text");
        tracing::error!(place, what, "panicked");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::subscriber::with_default;

    fn logged(form: Form, level: Level, act: impl FnOnce(&Handle)) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("god.log");
        let options = Options { level, form, stderr: false, files: vec![path.clone()] };
        let (subscriber, handle) = build(&options).unwrap();
        with_default(subscriber, || act(&handle));
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn lines_below_the_level_and_the_chatter_of_libraries_are_left_out() {
        let text = logged(Form::Text, Level::Debug, |_| {
            tracing::debug!(target: "god_engine::scheduler", "ours");
            tracing::info!(target: "go_d_web", "a program's");
            tracing::debug!(target: "h2::codec", "a library's: Authorization: Bearer s3cret");
            tracing::info!(target: "hyper", "chatter");
            tracing::warn!(target: "hyper", "a library's warning");
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("DEBUG") && lines[0].contains("god_engine::scheduler: ours"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn the_level_changes_while_the_process_runs() {
        let text = logged(Form::Text, Level::Error, |handle| {
            tracing::warn!(target: "god_x", "one");
            handle.set_level(Level::Info);
            tracing::info!(target: "god_x", "two");
            tracing::debug!(target: "god_x", "three");
            handle.set_level(Level::Error);
            tracing::warn!(target: "hyper", "four");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("two"), "{text}");
    }

    #[test]
    fn a_json_line_is_one_object_whatever_a_value_holds() {
        let text = logged(Form::Json, Level::Info, |_| {
            tracing::info!(target: "god_x", task = 7, err = "a\nb\u{1b}[31m\"", "task started");
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!((&line["message"], &line["task"]), (&"task started".into(), &7.into()));
        assert_eq!(line["err"], "a\nb\u{1b}[31m\"");
    }

    #[test]
    fn a_file_that_can_not_be_opened_is_named() {
        let options = Options { files: vec![PathBuf::from("/nowhere/god.log")], ..Options::default() };
        let error = build(&options).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "cannot open the log file /nowhere/god.log");
    }
}
