//! The log settings: a Python `dictConfig` document, of which levels and the plain handlers are honoured.
//!
//! The document itself is kept as it stands; nothing in it is ever looked up or called.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use crate::fault::Place;
use crate::reader::Section;

/// What `log_config` says. `Debug` leaves the document out: handlers of other classes may hold passwords.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Log {
    /// The whole document; `None` when the key is absent or null.
    pub document: Option<Value>,
    /// Level by logger; the root logger is named `root`. Loggers without a level are absent.
    pub levels: BTreeMap<String, LogLevel>,
    /// The handlers that are honoured, by name.
    pub handlers: BTreeMap<String, LogHandler>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("levels", &self.levels)
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}

/// A handler that is honoured.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogHandler {
    /// Where it writes.
    pub target: LogTarget,
    /// What it lets through; `None`: everything.
    pub level: Option<LogLevel>,
}

/// Where a handler writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The standard error stream.
    Stream,
    /// A file. A relative path starts at the working directory.
    File(PathBuf),
}

/// Levels, in the words of Python's logging.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happened.
    Info,
    /// What will be tried again.
    Warning,
    /// What a person must look at.
    Error,
    /// What ends a daemon.
    Critical,
}

impl LogLevel {
    /// The level of a word in any case, or of one of Python's numbers. Python's `NOTSET` lets everything
    /// through, so it reads as `Debug`.
    pub fn parse(text: &str) -> Option<LogLevel> {
        match text.to_ascii_uppercase().as_str() {
            "NOTSET" | "DEBUG" | "0" | "10" => Some(LogLevel::Debug),
            "INFO" | "20" => Some(LogLevel::Info),
            "WARNING" | "WARN" | "30" => Some(LogLevel::Warning),
            "ERROR" | "40" => Some(LogLevel::Error),
            "CRITICAL" | "FATAL" | "50" => Some(LogLevel::Critical),
            _ => None,
        }
    }

    /// The word in capitals.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warning => "WARNING",
            LogLevel::Error => "ERROR",
            LogLevel::Critical => "CRITICAL",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(crate) const LEVELS_ACCEPTED: &str = "accepted: DEBUG, INFO, WARNING, ERROR, CRITICAL";

impl Log {
    pub(crate) fn read(root: &mut Section<'_>) -> Log {
        const KEY: &str = "log_config";
        let Some(node) = root.node(KEY) else { return Log::default() };
        let document = node.to_json();
        let Some(top) = document.as_object() else {
            root.fault(KEY, format!("{} stands here", node.kind_name()), "accepted: a map of keys, or null");
            return Log::default();
        };
        let place = Place { line: node.place.line, ..root.place(KEY) };
        let mut levels = BTreeMap::new();
        let mut level_of = |name: &str, value: &Value, path: String| {
            if let Some(level) = level(root, &place, value, &path) {
                levels.insert(name.to_owned(), level);
            }
        };
        if let Some(value) = top.get("root") {
            level_of("root", value, format!("{KEY}.root"));
        }
        for (name, value) in entries(top, "loggers") {
            // Old files name the root logger among the others, sometimes by its empty name.
            let own = if name.is_empty() { "root" } else { name };
            level_of(own, value, format!("{KEY}.loggers.{name}"));
        }
        let mut handlers = BTreeMap::new();
        for (name, value) in entries(top, "handlers") {
            let path = format!("{KEY}.handlers.{name}");
            let level = level(root, &place, value, &path);
            if let Some(target) = target(root, &place, value, &path) {
                handlers.insert(name.clone(), LogHandler { target, level });
            }
        }
        Log { levels, handlers, document: Some(document) }
    }
}

fn entries<'v>(
    top: &'v serde_json::Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (&'v String, &'v Value)> {
    top.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn level(root: &Section<'_>, place: &Place, owner: &Value, path: &str) -> Option<LogLevel> {
    let text = match owner.get("level")? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let level = LogLevel::parse(&text);
    if level.is_none() {
        root.cx.fault(place.fault(
            &format!("{path}.level"),
            format!("`{text}` is not a level"),
            LEVELS_ACCEPTED,
        ));
    }
    level
}

fn target(root: &Section<'_>, place: &Place, handler: &Value, path: &str) -> Option<LogTarget> {
    let class = handler.get("class").and_then(Value::as_str).unwrap_or_default();
    match class.rsplit('.').next().unwrap_or_default() {
        "StreamHandler" => Some(LogTarget::Stream),
        "FileHandler" | "RotatingFileHandler" | "TimedRotatingFileHandler" | "WatchedFileHandler" => {
            let file = handler.get("filename").and_then(Value::as_str).filter(|name| !name.is_empty());
            if file.is_none() {
                root.cx.fault(place.fault(
                    &format!("{path}.filename"),
                    "this key must be set",
                    "accepted: the path of a file",
                ));
            }
            file.map(|file| LogTarget::File(PathBuf::from(file)))
        }
        _ => {
            root.cx.warn(place.fault(
                &format!("{path}.class"),
                format!("handlers of the class `{class}` are accepted but not used"),
                "used: logging.StreamHandler, logging.FileHandler",
            ));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_of_any_case_or_numbers_of_python() {
        for (text, level) in [
            ("debug", LogLevel::Debug),
            ("INFO", LogLevel::Info),
            ("Warn", LogLevel::Warning),
            ("40", LogLevel::Error),
            ("FATAL", LogLevel::Critical),
        ] {
            assert_eq!(LogLevel::parse(text), Some(level), "{text}");
            assert_eq!(LogLevel::parse(level.as_str()), Some(level));
        }
        assert_eq!(LogLevel::parse("loud"), None);
        assert!(LogLevel::Debug < LogLevel::Error);
    }
}
