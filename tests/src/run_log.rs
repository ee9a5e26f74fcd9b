//! What the jobs of a run wrote down about themselves, each line in one write to a file opened for appending:
//!
//! ```text
//! start <task> <attempt or -> <pid> <ns>
//! end <task> <attempt or -> <pid> <ns> <exit code or ->
//! ```

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLine {
    /// The task; of an array the child.
    pub task: u64,
    /// The attempt, where the job knows it.
    pub attempt: Option<u32>,
    /// Process id of the script.
    pub pid: u32,
    /// Nanoseconds since 1970.
    pub ns: u64,
    /// What happened.
    pub what: What,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// First act of the script.
    Start,
    /// Its last one.
    End {
        /// The exit code it is about to end with, where it knows one.
        code: Option<i32>,
    },
}

/// Reads a log.
///
/// # Errors
/// The first line that can not be read, with its number.
pub fn parse(text: &str) -> Result<Vec<RunLine>, String> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let (what, task, attempt, pid, ns) = match words[..] {
            ["start", task, attempt, pid, ns] => (What::Start, task, attempt, pid, ns),
            ["end", task, attempt, pid, ns, code] => {
                (What::End { code: optional(code)? }, task, attempt, pid, ns)
            }
            _ => return None,
        };
        Some(RunLine {
            task: task.parse().ok()?,
            attempt: optional(attempt)?,
            pid: pid.parse().ok()?,
            ns: ns.parse().ok()?,
            what,
        })
    };
    text.lines()
        .enumerate()
        .map(|(n, line)| read(line).ok_or_else(|| format!("line {}: {line:?} is no start and no end", n + 1)))
        .collect()
}

/// A number, or `-` for none; `None` for anything else.
fn optional<T: std::str::FromStr>(word: &str) -> Option<Option<T>> {
    if word == "-" { Some(None) } else { word.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whole_or_not_at_all() {
        let lines = parse("start 7 - 12 100\nend 7 2 12 200 3\nend 7 - 12 200 -\n").unwrap();
        let line = RunLine { task: 7, attempt: None, pid: 12, ns: 100, what: What::Start };
        assert_eq!(lines[0], line);
        let end = What::End { code: Some(3) };
        assert_eq!(lines[1], RunLine { attempt: Some(2), ns: 200, what: end, ..line });
        assert_eq!(lines[2].what, What::End { code: None });
        for bad in ["", "start 7 - 12", "start x - 12 1", "end 7 - 12 200", "end 7 y 12 1 0", "stop 1 - 1 1"]
        {
            assert!(parse(&format!("{bad}\n")).is_err(), "{bad:?}");
        }
    }
}
