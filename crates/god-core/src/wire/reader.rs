//! Reads fields of a JSON document with the tolerance that clients need, and collects every fault.

use super::fault::{Fault, shown};
use serde_json::{Map, Value};

/// Which characters a text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chars {
    /// No control characters at all.
    Line,
    /// Line ends and tabs too.
    Lines,
    /// Any.
    Any,
}

/// One object inside the document, absent when it was left out or null.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    path: &'static str,
    map: Option<&'a Map<String, Value>>,
}

impl<'a> Section<'a> {
    /// The field's value; `None` when it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map?.get(key).filter(|value| !value.is_null())
    }

    /// The field's path in the document.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// All fields that are not null.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.map.into_iter().flatten().filter(|(_, value)| !value.is_null())
    }
}

/// Collects the faults of one document.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) faults: Vec<Fault>,
    /// Stored documents were checked when they came in: their sizes and characters are not judged again.
    pub(super) strict: bool,
}

impl Reader {
    pub(super) fn new(strict: bool) -> Reader {
        Reader { faults: Vec::new(), strict }
    }

    pub(super) fn fault(
        &mut self,
        path: impl Into<String>,
        wrong: impl Into<String>,
        accepted: impl Into<String>,
    ) {
        // A hostile body can hold thousands of faults; nobody reads more than these.
        if self.faults.len() < 50 {
            self.faults.push(Fault::new(path, wrong, accepted));
        }
    }

    /// The whole document as a section.
    pub(super) fn root<'a>(&mut self, value: &'a Value) -> Section<'a> {
        let map = value.as_object();
        if map.is_none() {
            self.fault("", format!("the document is {}", shown(value)), "a JSON object");
        }
        Section { path: "", map }
    }

    /// An object inside `of`; `path` is its whole path.
    pub(super) fn section<'a>(&mut self, of: &Section<'a>, key: &str, path: &'static str) -> Section<'a> {
        let value = of.get(key);
        let map = value.and_then(Value::as_object);
        if let (Some(value), None) = (value, map) {
            self.fault(path, format!("is {}", shown(value)), "an object, or nothing");
        }
        Section { path, map }
    }

    /// A text of at most `max` characters.
    pub(super) fn text(&mut self, of: &Section<'_>, key: &str, max: usize, chars: Chars) -> Option<String> {
        let value = of.get(key)?;
        match value.as_str() {
            Some(text) => self.checked(text, || of.path_of(key), max, chars),
            None => {
                self.fault(of.path_of(key), format!("is {}", shown(value)), "a text, or nothing");
                None
            }
        }
    }

    /// The text itself when its size and characters are fine.
    pub(super) fn checked(
        &mut self,
        text: &str,
        path: impl Fn() -> String,
        max: usize,
        chars: Chars,
    ) -> Option<String> {
        if self.strict {
            // Bytes bound characters from above, so that the common case counts nothing.
            if text.len() > max && text.chars().count() > max {
                self.fault(path(), "is too long", format!("at most {max} characters"));
                return None;
            }
            let bad = |c: char| match chars {
                Chars::Any => false,
                Chars::Lines => c.is_control() && !matches!(c, '\n' | '\r' | '\t'),
                Chars::Line => c.is_control(),
            };
            if chars != Chars::Any && text.contains(bad) {
                self.fault(path(), "holds control characters", "printable text");
                return None;
            }
        }
        Some(text.to_owned())
    }

    /// A whole number in `min..=max`; a float without a fraction counts as one.
    pub(super) fn whole(&mut self, of: &Section<'_>, key: &str, min: i64, max: i64) -> Option<i64> {
        let value = of.get(key)?;
        let n = whole(value).filter(|n| (min..=max).contains(n));
        if n.is_none() {
            let accepted = format!("a whole number from {min} to {max}");
            self.fault(of.path_of(key), format!("is {}", shown(value)), accepted);
        }
        n
    }

    /// A finite number.
    pub(super) fn number(&mut self, of: &Section<'_>, key: &str) -> Option<f64> {
        let value = of.get(key)?;
        let n = value.as_f64().filter(|n| n.is_finite());
        if n.is_none() {
            self.fault(of.path_of(key), format!("is {}", shown(value)), "a number");
        }
        n
    }

    /// Yes or no; absent is no.
    pub(super) fn yes(&mut self, of: &Section<'_>, key: &str) -> bool {
        match of.get(key) {
            None => false,
            Some(Value::Bool(yes)) => *yes,
            Some(value) => {
                self.fault(of.path_of(key), format!("is {}", shown(value)), "true or false");
                false
            }
        }
    }

    /// The entries of a list that are not null, each with its place.
    pub(super) fn list<'a>(&mut self, of: &Section<'a>, key: &str, max: usize) -> Vec<(usize, &'a Value)> {
        let Some(value) = of.get(key) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            self.fault(of.path_of(key), format!("is {}", shown(value)), "a list, or nothing");
            return Vec::new();
        };
        if self.strict && list.len() > max {
            let accepted = format!("at most {max} entries");
            self.fault(of.path_of(key), format!("has {} entries", list.len()), accepted);
            return Vec::new();
        }
        list.iter().enumerate().filter(|(_, entry)| !entry.is_null()).collect()
    }

    /// A list of texts, empty ones left out.
    pub(super) fn texts(&mut self, of: &Section<'_>, key: &str, n: usize, max: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for (i, entry) in self.list(of, key, n) {
            let path = || format!("{}[{i}]", of.path_of(key));
            match entry.as_str() {
                Some("") => {}
                Some(text) => texts.extend(self.checked(text, path, max, Chars::Line)),
                None => self.fault(path(), format!("is {}", shown(entry)), "a text"),
            }
        }
        texts
    }
}

/// A JSON number without a fraction.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value.as_i64() {
        Some(n) => Some(n),
        None => {
            let n = value.as_f64()?;
            // Beyond 2^53 a float does not name one whole number.
            (n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0).then_some(n as i64)
        }
    }
}
