//! A signal that a task gets some time before its time limit, so that it can save its work.

use crate::units::Seconds;
use std::str::FromStr;

/// Name of the field in `requirements` that asks for it.
pub const WARN_FIELD: &str = "warn_signal";

/// How long before the limit, when nothing is said.
const DEFAULT_BEFORE: Seconds = Seconds(60);

/// Signals that may be asked for, with their numbers on Linux.
const SIGNALS: [(&str, i32); 8] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", 15),
    ("CONT", 18),
    ("WINCH", 28),
];

/// Which signal, and how long before the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// Its number.
    pub signal: i32,
    /// Time before the limit; a longer one than the limit warns at the start.
    pub before: Seconds,
}

/// A text that asks for no signal we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no warning; accepted: NAME or NAME@SECONDS with NAME among HUP INT QUIT USR1 USR2 TERM CONT WINCH"
)]
pub struct BadWarning(String);

impl FromStr for Warning {
    type Err = BadWarning;

    /// `USR1@300`: the name with or without `SIG`, or the number; then perhaps the time, in the grammar of
    /// [`Seconds::parse`]. The form is that of sbatch's `--signal`.
    fn from_str(text: &str) -> Result<Warning, BadWarning> {
        let bad = || BadWarning(text.chars().take(40).collect());
        let (name, before) = match text.split_once('@') {
            Some((name, before)) => (name, Seconds::parse(before).map_err(|_| bad())?),
            None => (text, DEFAULT_BEFORE),
        };
        let upper = name.to_ascii_uppercase();
        let word = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = word.parse::<i32>().ok();
        let known = SIGNALS.iter().find(|(name, signal)| *name == word || Some(*signal) == number);
        known.map(|(_, signal)| Warning { signal: *signal, before }).ok_or_else(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_read() {
        let warning = |signal, before| Ok(Warning { signal, before: Seconds(before) });
        for (text, expected) in [
            ("USR1@300", warning(10, 300)),
            ("sigterm@5m", warning(15, 300)),
            ("12", warning(12, 60)),
            ("HUP", warning(1, 60)),
        ] {
            assert_eq!(text.parse::<Warning>(), expected, "{text}");
        }
        for text in ["", "KILL", "9", "USR1@", "USR1@0", "@60", "SIG", "USR1@60@60", "64"] {
            assert!(text.parse::<Warning>().is_err(), "{text}");
        }
    }
}
