//! Lists of tasks as users type them: `3,5-9`, `12_3` or `12[3]` for the child of array 12 whose value is 3, `12_1-4` or
//! `12[1-4,7]` for several.
//!
//! Ordinary ids are read here; which id a child has only the server knows, so children stay names until asked for.

use god_core::ids::TaskId;
use std::fmt;
use std::str::FromStr;

/// Most tasks that one list may name: a slip of the finger must not become a million requests.
const MOST: u64 = 100_000;

/// One part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Tasks from the first to the last, both included.
    Tasks(u64, u64),
    /// Children of an array by their values, both included.
    Children {
        /// The array.
        parent: TaskId,
        /// First value.
        first: i64,
        /// Last value.
        last: i64,
    },
}

/// A list of tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdList(pub Vec<Part>);

/// A text that is no list of tasks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIds {
    /// It does not follow the grammar.
    #[error(
        "{0:?} is no task: accepted are 7, 3,5-9, and 7_2, 7_2-4 or 7[2-4,6] for children of array 7 by value"
    )]
    Grammar(String),
    /// A range runs backwards.
    #[error("{0:?} runs backwards: the first must not be above the last")]
    Backwards(String),
    /// A range is too long.
    #[error("{0:?} names more than {MOST} tasks")]
    TooMany(String),
}

impl FromStr for IdList {
    type Err = BadIds;

    fn from_str(text: &str) -> Result<IdList, BadIds> {
        let mut parts = Vec::new();
        for part in outside_brackets(text) {
            match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
                // `7[2-4,6]` is short for `7_2-4,7_6`.
                Some((parent, values)) => {
                    for values in values.split(',') {
                        parts.push(format!("{}_{}", parent.trim(), values.trim()).parse().map_err(
                            |err| match err {
                                BadIds::Grammar(_) => BadIds::Grammar(short(part)),
                                other => other,
                            },
                        )?);
                    }
                }
                None => parts.push(part.parse()?),
            }
        }
        Ok(IdList(parts))
    }
}

/// The parts between commas that stand in no brackets.
fn outside_brackets(text: &str) -> Vec<&str> {
    let mut open = false;
    let split = text.split(move |c: char| {
        open = (open || c == '[') && c != ']';
        c == ',' && !open
    });
    split.map(str::trim).collect()
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

impl FromStr for Part {
    type Err = BadIds;

    fn from_str(text: &str) -> Result<Part, BadIds> {
        let shown = || short(text);
        let grammar = || BadIds::Grammar(shown());
        let task = |text: &str| text.parse::<TaskId>().map_err(|_| grammar());
        let (part, length) = match text.split_once('_') {
            Some((parent, values)) => {
                let (first, last) = range(values).ok_or_else(grammar)?;
                let length = i128::from(last) - i128::from(first);
                (Part::Children { parent: task(parent)?, first, last }, length)
            }
            None => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let (first, last) = (task(first.trim())?.0, task(last.trim())?.0);
                (Part::Tasks(first, last), i128::from(last) - i128::from(first))
            }
        };
        match length {
            ..0 => Err(BadIds::Backwards(shown())),
            n if n >= i128::from(MOST) => Err(BadIds::TooMany(shown())),
            _ => Ok(part),
        }
    }
}

/// `N` or `N-M`, where both may be negative: `-3--1`.
fn range(text: &str) -> Option<(i64, i64)> {
    if let Ok(value) = text.parse() {
        return Some((value, value));
    }
    // A minus in front belongs to the number; the next one separates.
    let cut = text.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at)?;
    Some((text[..cut].parse().ok()?, text[cut + 1..].parse().ok()?))
}

impl fmt::Display for IdList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Tasks(first, last) if first == last => write!(f, "{first}"),
            Part::Tasks(first, last) => write!(f, "{first}-{last}"),
            Part::Children { parent, first, last } if first == last => write!(f, "{parent}_{first}"),
            Part::Children { parent, first, last } => write!(f, "{parent}_{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        let list: IdList = text.parse().expect(text);
        list.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_ranges_and_children() {
        assert_eq!(parts("7"), ["7"]);
        assert_eq!(parts("3,5-9"), ["3", "5-9"]);
        assert_eq!(parts(" 3 , 5 - 9 "), ["3", "5-9"]);
        assert_eq!(parts("5-5"), ["5"]);
        assert_eq!(parts("12_3,12_1-4"), ["12_3", "12_1-4"]);
        assert_eq!(parts("12[1-5]"), ["12_1-5"]);
        assert_eq!(parts("3, 12[1,3, 5-7] ,9-10"), ["3", "12_1", "12_3", "12_5-7", "9-10"]);
        assert_eq!(parts("12[-3--1]"), ["12_-3--1"]);
        assert_eq!(
            "12_-3--1".parse::<IdList>().expect("negative values").0,
            [Part::Children { parent: TaskId(12), first: -3, last: -1 }]
        );
        assert_eq!(
            "12_-3-2".parse::<IdList>().expect("negative values").0,
            [Part::Children { parent: TaskId(12), first: -3, last: 2 }]
        );
    }

    #[test]
    fn what_is_refused_says_why() {
        for (bad, want) in [
            ("", "is no task"),
            ("a", "is no task"),
            ("0", "is no task"),
            ("-3", "is no task"),
            ("+3", "is no task"),
            ("3,", "is no task"),
            ("3-", "is no task"),
            ("3-5-7", "is no task"),
            ("3_", "is no task"),
            ("_3", "is no task"),
            ("3_a", "is no task"),
            ("3_1-", "is no task"),
            ("é_1", "is no task"),
            ("1_é-2", "is no task"),
            ("1[", "is no task"),
            ("1[]", "is no task"),
            ("[2]", "is no task"),
            ("1[2", "is no task"),
            ("1]2[", "is no task"),
            ("1[2][3]", "is no task"),
            ("1[2_3]", "is no task"),
            ("1[2,]", "is no task"),
            ("9-5", "backwards"),
            ("7_4-1", "backwards"),
            ("1-100001", "more than"),
            ("7_1-9223372036854775807", "more than"),
        ] {
            let got = bad.parse::<IdList>().expect_err(bad).to_string();
            assert!(got.contains(want), "{bad}: {got}");
        }
        assert_eq!(parts("1-100000"), ["1-100000"]);
    }
}
