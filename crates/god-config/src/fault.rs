//! What is wrong with a configuration, where, and what would be accepted.
//!
//! Faults are collected, never thrown one by one: an operator repairs a file in one sitting. Messages never
//! contain the value of a secret key.

use std::fmt;
use std::rc::Rc;

/// One thing that is wrong, or worth a warning, at one place of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The file as the operator named it, or the name of the environment variable.
    pub origin: String,
    /// Line in the file, counted from 1; `None` for environment variables and for keys that are not there.
    pub line: Option<u64>,
    /// Path of the key, such as `executors[1]` or `docker.url`; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be accepted, as a complete phrase; empty when `what` says it already.
    pub accepted: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if !self.key.is_empty() {
            write!(f, ", {}", self.key)?;
        }
        write!(f, ": {}", self.what)?;
        if !self.accepted.is_empty() {
            write!(f, "; {}", self.accepted)?;
        }
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

/// Everything that keeps a configuration from being used, and the warnings met on the way.
///
/// Displayed with one fault per line, the warnings after the faults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigErrors {
    /// The faults; never empty.
    pub faults: Vec<Fault>,
    /// What else was noticed. A misspelt key is often the reason of a missing one.
    pub warnings: Vec<Fault>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.faults.len() == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {} {plural}", self.faults.len())?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Where a value was written.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) origin: Rc<str>,
    pub(crate) line: Option<u64>,
}

impl Place {
    pub(crate) fn new(origin: &str) -> Place {
        Place { origin: origin.into(), line: None }
    }

    pub(crate) fn at_line(&self, line: u64) -> Place {
        Place { origin: Rc::clone(&self.origin), line: (line > 0).then_some(line) }
    }

    /// A fault at this place.
    pub(crate) fn fault(&self, key: &str, what: impl Into<String>, accepted: impl Into<String>) -> Fault {
        Fault {
            origin: self.origin.to_string(),
            line: self.line,
            key: key.to_owned(),
            what: what.into(),
            accepted: accepted.into(),
        }
    }
}

/// Faults and warnings while they are collected.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Fault>,
    pub(crate) warnings: Vec<Fault>,
}

impl Report {
    /// `value` when nothing is wrong, else all that was found.
    pub(crate) fn finish<T>(mut self, value: T) -> Result<(T, Vec<Fault>), ConfigErrors> {
        self.sort();
        if self.faults.is_empty() { Ok((value, self.warnings)) } else { Err(self.into_errors()) }
    }

    /// All that was found, when there is nothing to hand out.
    pub(crate) fn into_errors(mut self) -> ConfigErrors {
        self.sort();
        ConfigErrors { faults: self.faults, warnings: self.warnings }
    }

    /// In the order of the file; what has no line comes last.
    fn sort(&mut self) {
        self.faults.sort_by_key(|fault| fault.line.unwrap_or(u64::MAX));
        self.warnings.sort_by_key(|warning| warning.line.unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_reads_as_one_sentence() {
        let place = Place::new("config/go-d.ini");
        let fault =
            place.fault("executors[1]", "no executor named `swram`", "known here: docker, fake, local");
        assert_eq!(
            fault.to_string(),
            "config/go-d.ini, executors[1]: no executor named `swram`; known here: docker, fake, local"
        );
        assert_eq!(
            place.at_line(7).fault("", "not a map", "").to_string(),
            "config/go-d.ini: not a map (line 7)"
        );
    }

    #[test]
    fn all_faults_are_displayed_before_the_warnings() {
        let place = Place::new("f");
        let report = Report {
            faults: vec![place.fault("a", "bad", ""), place.fault("b", "worse", "")],
            warnings: vec![place.fault("c", "odd", "")],
        };
        let errors = report.finish(()).expect_err("two faults");
        assert_eq!(
            errors.to_string(),
            "the configuration has 2 faults\n  f, a: bad\n  f, b: worse\n  warning: f, c: odd"
        );
    }
}
