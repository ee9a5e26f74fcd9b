//! Identifiers as types. An id never takes part in arithmetic outside [`TaskId::child`], and a login never reaches
//! a shell, a path or a query without having passed [`UserId::parse`].

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Number of a task: 1, 2, 3…, unique for ever. The children of an array follow their parent directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub u64);

impl TaskId {
    /// Id of the child with this ordinal (0 is the first) of an array whose parent has this id.
    #[must_use]
    pub fn child(self, ordinal: u64) -> TaskId {
        TaskId(self.0.saturating_add(1).saturating_add(ordinal))
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        match text.parse::<u64>() {
            Ok(n) if n > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(TaskId(n)),
            _ => Err(BadId { what: "task id", text: shown(text), accepted: "a decimal number from 1" }),
        }
    }
}

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: accepted is {accepted}")]
pub struct BadId {
    what: &'static str,
    text: String,
    accepted: &'static str,
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that our own code made; texts from outside go through `parse` where there is one.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// Login of a user.
    UserId
}
text_id! {
    /// Name of a project; `default` is everybody's.
    ProjectId
}
text_id! {
    /// Name of a configured executor, such as `local` or `docker`.
    ExecutorName
}
text_id! {
    /// Name of a node on which an executor runs tasks.
    NodeName
}
text_id! {
    /// Whatever an executor needs, beside the attempt's key, to find a run again (a container id, say).
    RunRef
}
text_id! {
    /// Name of one process of ours that may hold a lease: kind, host and process, unique while it lives.
    Holder
}

const LOGIN: &str =
    "letters, digits and _ . @ -, beginning with a letter, digit or _, up to 64 characters, without `..`";

impl UserId {
    /// Reads a login from outside.
    ///
    /// # Errors
    /// [`BadId`] when a character could mean something to a path, a shell or a query.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadId { what: "login", text: shown(text), accepted: LOGIN })
        }
    }
}

impl ProjectId {
    /// The project that everybody belongs to and that has no document and no quota.
    pub const DEFAULT: &'static str = "default";

    /// Reads a project name from outside; the same characters as a login.
    ///
    /// # Errors
    /// [`BadId`] for any other character.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadId { what: "project name", text: shown(text), accepted: LOGIN })
        }
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first
        && text.len() <= 64
        && !text.contains("..")
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'@' | b'-'))
}

/// Version of a task's document; every committed transition adds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Rev(pub u64);

impl Rev {
    /// The version that follows.
    #[must_use]
    pub fn next(self) -> Rev {
        Rev(self.0 + 1)
    }
}

/// Mark of one write, so that a writer who got an error can tell whether the write was applied after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct OpId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_that_could_mean_something_elsewhere_are_refused() {
        for good in ["bob", "b.o-b_1", "guest@example.org", "_x", "1a", &"a".repeat(64)] {
            assert!(UserId::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "-bob", ".bob", "a..b", "a/b", "a b", "a;b", "ü", "a\n", "$x", "a'b", "@x", &"a".repeat(65)]
        {
            assert!(UserId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn task_ids_are_plain_decimals() {
        assert_eq!("17".parse(), Ok(TaskId(17)));
        for bad in ["", "0", "-1", "+1", "1.0", " 1", "1e3", "99999999999999999999", "x"] {
            assert!(bad.parse::<TaskId>().is_err(), "{bad}");
        }
        assert_eq!(TaskId(5).child(0), TaskId(6));
    }
}
