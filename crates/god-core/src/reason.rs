//! Why a pending task waits: a code for programs, one plain sentence for people, and the numbers in it.

use serde::{Deserialize, Serialize};
use serde_json::Number;
use std::collections::BTreeMap;
use std::fmt;

/// Why a task waits, without numbers. The words are stable: programs may rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Others are ahead of it.
    Priority,
    /// All nodes that could take it are busy.
    Resources,
    /// Room is being kept for it on a node.
    RoomKept,
    /// It is larger than every node.
    TooLarge,
    /// No node has its labels.
    Labels,
    /// All host ports are given out.
    Ports,
    /// Its executor is not configured.
    ExecutorUnknown,
    /// Its executor does not answer.
    ExecutorDown,
    /// The last try to start it failed; it is tried again soon.
    Backoff,
    /// What the user used and what the user's tasks now hold leaves no room under the user's quota of run time.
    QuotaUserTime,
    /// The same for cores.
    QuotaUserCpu,
    /// The same for memory.
    QuotaUserRam,
    /// The same for the project's run time.
    QuotaProjectTime,
    /// The same for the project's cores.
    QuotaProjectCpu,
    /// The same for the project's memory.
    QuotaProjectRam,
    /// The user's job directories are larger than allowed.
    QuotaDisk,
    /// As many children of its array run as may at once.
    ArrayLimit,
    /// Tasks that it waits for are not over.
    Dependency,
    /// A node or engine lost its last run; it is to run again.
    NodeFailed,
    /// A watcher plugin does not let it start.
    Watcher,
    /// The site starts nothing for now.
    Maintenance,
    /// It was given to its executor and has not been seen running yet.
    Starting,
    /// Handling it failed again and again; a person must look.
    Held,
    /// A word of a newer release.
    #[serde(other)]
    Other,
}

impl Code {
    /// Whether somebody tried to start the task and found that it can not start now: clients know a word for that.
    #[must_use]
    pub fn is_rejection(self) -> bool {
        matches!(
            self,
            Code::Resources
                | Code::RoomKept
                | Code::TooLarge
                | Code::Labels
                | Code::Ports
                | Code::ExecutorUnknown
                | Code::ExecutorDown
                | Code::Backoff
        )
    }
}

impl fmt::Display for Code {
    /// The stable word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why a task waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For programs.
    pub code: Code,
    /// One sentence for people.
    pub text: String,
    /// The numbers of the sentence by name, with the unit in the name where it is not a count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, Number>,
}

impl Reason {
    /// A reason without numbers.
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> Reason {
        Reason { code, text: text.into(), numbers: BTreeMap::new() }
    }

    /// With one more number.
    #[must_use]
    pub fn with(mut self, name: &str, number: impl Into<Number>) -> Reason {
        self.numbers.insert(name.to_owned(), number.into());
        self
    }

    /// With one more number that may have a fraction; one that is not finite is left out.
    #[must_use]
    pub fn with_amount(mut self, name: &str, amount: f64) -> Reason {
        let whole = amount.fract() == 0.0 && amount.abs() < 1e15;
        let number = if whole { Some((amount as i64).into()) } else { Number::from_f64(amount) };
        self.numbers.extend(number.map(|number| (name.to_owned(), number)));
        self
    }
}

impl fmt::Display for Reason {
    /// The sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_stable_and_unknown_ones_are_no_error() {
        assert_eq!(Code::QuotaUserCpu.to_string(), "quota_user_cpu");
        let reason = Reason::new(Code::Resources, "Not now").with("cores", 4u32).with_amount("hours", 1.5);
        let text = serde_json::to_string(&reason).expect("plain data");
        assert_eq!(text, r#"{"code":"resources","text":"Not now","numbers":{"cores":4,"hours":1.5}}"#);
        assert_eq!(serde_json::from_str::<Reason>(&text).expect("as written"), reason);
        let newer = r#"{"code":"eclipse","text":"Dark"}"#;
        assert_eq!(serde_json::from_str::<Reason>(newer).expect("readable").code, Code::Other);
        assert_eq!(Reason::new(Code::Held, "x").with_amount("n", f64::NAN).numbers.len(), 0);
    }
}
