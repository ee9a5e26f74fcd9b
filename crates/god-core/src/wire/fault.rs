//! One fault of an input: where, what, and what would be accepted.

use serde_json::Value;
use std::fmt;

/// One fault of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field in the document, such as `requirements.tasks[2]`; empty for the whole.
    pub path: String,
    /// What is wrong with it.
    pub wrong: String,
    /// What would be accepted.
    pub accepted: String,
}

impl Fault {
    /// A fault at a path.
    pub fn new(path: impl Into<String>, wrong: impl Into<String>, accepted: impl Into<String>) -> Fault {
        Fault { path: path.into(), wrong: wrong.into(), accepted: accepted.into() }
    }
}

impl fmt::Display for Fault {
    /// `path: what is wrong; accepted: what would be`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.wrong)?;
        if !self.accepted.is_empty() {
            write!(f, "; accepted: {}", self.accepted)?;
        }
        Ok(())
    }
}

/// A value as a message may show it: short, on one line, without control characters.
#[must_use]
pub fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        other => other.to_string(),
    }
}
