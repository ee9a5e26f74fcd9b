//! What the clients of a run wrote down: each request before it was sent, and what became of it. Whoever injects faults
//! writes into the same log.

use serde::{Deserialize, Serialize};

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A new task. Its name is the idempotency key, so that the document shows whose it is.
    Submit,
    /// The end of a task.
    Kill,
}

/// One line of the log, as JSON. Times are nanoseconds since 1970 by the wall clock that the jobs see, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientLine {
    /// Before the first byte of a request is sent. Repeated for each try.
    Invoke {
        /// When.
        ns: u64,
        /// What.
        op: Op,
        /// The idempotency key; the same for all tries of one request.
        key: String,
    },
    /// The server said yes.
    Ok {
        /// When the answer was there.
        ns: u64,
        /// What.
        op: Op,
        /// The idempotency key.
        key: String,
        /// The task.
        task: u64,
    },
    /// The server said no, which means that nothing was done.
    Fail {
        /// When the answer was there.
        ns: u64,
        /// What.
        op: Op,
        /// The idempotency key.
        key: String,
        /// The HTTP status.
        status: u16,
    },
    /// No answer, or one that does not tell whether it was done.
    Unknown {
        /// When the client gave up.
        ns: u64,
        /// What.
        op: Op,
        /// The idempotency key.
        key: String,
        /// The HTTP status, when there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// A fault was injected.
    Fault {
        /// When.
        ns: u64,
        /// Which kind, such as `kill9`.
        kind: String,
        /// What it hit, such as `watcher`.
        target: String,
    },
}

impl ClientLine {
    /// When it was written.
    #[must_use]
    pub fn ns(&self) -> u64 {
        match self {
            ClientLine::Invoke { ns, .. }
            | ClientLine::Ok { ns, .. }
            | ClientLine::Fail { ns, .. }
            | ClientLine::Unknown { ns, .. }
            | ClientLine::Fault { ns, .. } => *ns,
        }
    }
}

/// Reads a log.
///
/// # Errors
/// The first line that can not be read, with its number.
pub fn parse(text: &str) -> Result<Vec<ClientLine>, String> {
    text.lines()
        .enumerate()
        .map(|(n, line)| serde_json::from_str(line).map_err(|err| format!("line {}: {err}", n + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let lines = vec![
            ClientLine::Invoke { ns: 1, op: Op::Submit, key: "k".to_owned() },
            ClientLine::Unknown { ns: 2, op: Op::Submit, key: "k".to_owned(), status: None },
            ClientLine::Ok { ns: 3, op: Op::Submit, key: "k".to_owned(), task: 7 },
            ClientLine::Fail { ns: 4, op: Op::Kill, key: "k".to_owned(), status: 404 },
            ClientLine::Fault { ns: 5, kind: "kill9".to_owned(), target: "web".to_owned() },
        ];
        let text: String =
            lines.iter().map(|line| format!("{}\n", serde_json::to_string(line).unwrap())).collect();
        assert_eq!(parse(&text).unwrap(), lines);
        assert!(parse(&format!("{text}torn")).unwrap_err().starts_with("line 6:"));
    }
}
