//! Job arrays: the grammar `N`, `first:last`, `first:last:step`, each with an optional `%limit`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The values of an array: first, first + step, … up to and including last.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArraySpec {
    /// First value.
    pub first: i64,
    /// Upper bound of the values; a value only when the step reaches it exactly.
    pub last: i64,
    /// Distance between values, at least 1.
    pub step: i64,
    /// How many children may run at the same time; `None` is no limit.
    pub limit: Option<u32>,
}

/// Why a text is no array.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadArray {
    /// It does not follow the grammar.
    #[error(
        "{0:?} is no array: accepted are N, first:last and first:last:step in integers, then perhaps %limit"
    )]
    Grammar(String),
    /// The step is zero or negative.
    #[error("array {0:?}: the step must be at least 1")]
    Step(String),
    /// The range runs backwards, or has no element.
    #[error("array {0:?} is empty: last must not be below first, and N must be at least 1")]
    Empty(String),
    /// The `%limit` is zero.
    #[error("array {0:?}: the limit after % must be at least 1")]
    Limit(String),
}

impl ArraySpec {
    /// Number of children, at least 1.
    #[must_use]
    pub fn count(&self) -> u64 {
        // `parse` made sure of last >= first and step >= 1; i128 holds any difference of two i64.
        let n = (i128::from(self.last) - i128::from(self.first)) / i128::from(self.step) + 1;
        u64::try_from(n).unwrap_or(u64::MAX)
    }

    /// Value of the child with this ordinal (0 is the first), `None` past the end.
    #[must_use]
    pub fn value(&self, ordinal: u64) -> Option<i64> {
        if ordinal >= self.count() {
            return None;
        }
        i64::try_from(i128::from(self.first) + i128::from(ordinal) * i128::from(self.step)).ok()
    }

    /// The text without `%limit`, as the wire format carries it.
    #[must_use]
    pub fn values_text(&self) -> String {
        match (self.first, self.step) {
            (1, 1) => self.last.to_string(),
            (first, 1) => format!("{first}:{}", self.last),
            (first, step) => format!("{first}:{}:{step}", self.last),
        }
    }
}

impl fmt::Display for ArraySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.values_text())?;
        match self.limit {
            Some(limit) => write!(f, "%{limit}"),
            None => Ok(()),
        }
    }
}

impl FromStr for ArraySpec {
    type Err = BadArray;

    fn from_str(text: &str) -> Result<Self, BadArray> {
        let shown = || text.chars().take(60).collect::<String>();
        let grammar = || BadArray::Grammar(shown());
        let (range, limit) = match text.trim().split_once('%') {
            None => (text.trim(), None),
            Some((range, limit)) => {
                let limit = limit.trim().parse::<u32>().map_err(|_| grammar())?;
                if limit == 0 {
                    return Err(BadArray::Limit(shown()));
                }
                (range.trim(), Some(limit))
            }
        };
        let numbers = range
            .split(':')
            .map(|part| part.trim().parse::<i64>().map_err(|_| grammar()))
            .collect::<Result<Vec<_>, _>>()?;
        let (first, last, step) = match numbers[..] {
            [n] => (1, n, 1),
            [first, last] => (first, last, 1),
            [first, last, step] => (first, last, step),
            _ => return Err(grammar()),
        };
        if step < 1 {
            return Err(BadArray::Step(shown()));
        }
        if last < first {
            return Err(BadArray::Empty(shown()));
        }
        Ok(ArraySpec { first, last, step, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(text: &str) -> Vec<i64> {
        let spec: ArraySpec = text.parse().expect("a good array");
        (0..spec.count()).map(|i| spec.value(i).expect("below count")).collect()
    }

    #[test]
    fn the_step_never_overshoots() {
        assert_eq!(values("3"), [1, 2, 3]);
        assert_eq!(values("2:4"), [2, 3, 4]);
        assert_eq!(values("1:4:2"), [1, 3]);
        assert_eq!(values("-3:3:3%2"), [-3, 0, 3]);
        assert_eq!("1:3:1".parse::<ArraySpec>().expect("good").value(3), None);
    }

    #[test]
    fn what_is_refused_says_why() {
        for (bad, want) in [
            ("", "grammar"),
            ("a", "grammar"),
            ("1:2:3:4", "grammar"),
            ("1:5:0", "step"),
            ("1:5:-1", "step"),
            ("5:1", "empty"),
            ("0", "empty"),
            ("-2", "empty"),
            ("5%0", "limit"),
            ("5%x", "grammar"),
            ("99999999999999999999", "grammar"),
        ] {
            let got = match bad.parse::<ArraySpec>().expect_err(bad) {
                BadArray::Grammar(_) => "grammar",
                BadArray::Step(_) => "step",
                BadArray::Empty(_) => "empty",
                BadArray::Limit(_) => "limit",
            };
            assert_eq!(got, want, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(first in -1000i64..1000, span in 0i64..1000, step in 1i64..50, limit in proptest::option::of(1u32..9)) {
            let spec = ArraySpec { first, last: first + span, step, limit };
            prop_assert_eq!(spec.to_string().parse::<ArraySpec>(), Ok(spec.clone()));
            let last = spec.value(spec.count() - 1).expect("has a last");
            prop_assert!(last <= spec.last && last + step > spec.last);
        }

        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _answered = text.parse::<ArraySpec>();
        }
    }
}
