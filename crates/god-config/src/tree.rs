//! The configuration as a tree of plain values that remember where they were written.
//!
//! Scalars keep their text: what `1.40`, `yes` or `None` means is decided by the key that holds it, not here.

use crate::fault::Place;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// The kinds of value that YAML has.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Scalar { text: String, quoted: bool },
    List(Vec<Node>),
    Map(Map),
}

/// Keys and values in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map(Vec<(String, Node)>);

impl Node {
    /// A text as the environment gives it.
    pub(crate) fn text(place: &Place, text: &str) -> Node {
        Node { place: place.clone(), kind: Kind::Scalar { text: text.to_owned(), quoted: true } }
    }

    pub(crate) fn list(place: &Place, items: Vec<Node>) -> Node {
        Node { place: place.clone(), kind: Kind::List(items) }
    }

    pub(crate) fn empty_map(place: &Place) -> Node {
        Node { place: place.clone(), kind: Kind::Map(Map::default()) }
    }

    /// Null, or the text `None` that old files use for it.
    pub(crate) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Null => true,
            Kind::Scalar { text, .. } => text == "None",
            Kind::List(_) | Kind::Map(_) => false,
        }
    }

    /// What kind of value this is, in words that never contain the value.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "null",
            Kind::Scalar { .. } if self.is_null() => "null",
            Kind::Scalar { .. } => "a text or number",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map of keys",
        }
    }

    /// The same value in JSON, plain words and numbers typed as YAML types them.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Scalar { text, quoted: true } => Value::String(text.clone()),
            Kind::Scalar { text, quoted: false } => {
                if text == "None" {
                    Value::Null
                } else if let Some(flag) = word_to_bool(text) {
                    Value::Bool(flag)
                } else if let Some(number) = text_to_i64(text) {
                    number.into()
                } else {
                    Value::String(text.clone())
                }
            }
            Kind::List(items) => items.iter().map(Node::to_json).collect(),
            Kind::Map(map) => {
                Value::Object(map.iter().map(|(key, node)| (key.clone(), node.to_json())).collect())
            }
        }
    }
}

impl Map {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets a key; the value it had before is replaced.
    pub(crate) fn set(&mut self, key: &str, node: Node) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = node,
            None => self.0.push((key.to_owned(), node)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Node> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(at).1)
    }

    /// The map under `key`, made when it is absent or null. `None` when something else stands there.
    pub(crate) fn section_mut(&mut self, key: &str, place: &Place) -> Option<&mut Map> {
        if self.get(key).is_none_or(Node::is_null) {
            self.set(key, Node::empty_map(place));
        }
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, Node { kind: Kind::Map(map), .. })) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Node)> {
        self.0.iter().map(|(key, node)| (key, node))
    }
}

/// The boolean words of YAML 1.1 as PyYAML knows them: not `y`, not `n`.
pub(crate) fn word_to_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// A decimal integer, `_` allowed between digits. A leading zero is refused: old readers take it as octal.
pub(crate) fn text_to_i64(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let plain = digits.replace('_', "");
    let starts_well = digits.starts_with(|c: char| c.is_ascii_digit());
    if !starts_well
        || !plain.bytes().all(|b| b.is_ascii_digit())
        || (plain.len() > 1 && plain.starts_with('0'))
    {
        return None;
    }
    format!("{sign}{plain}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_yaml() {
        for (text, number) in
            [("0", Some(0)), ("1_000", Some(1000)), ("-5", Some(-5)), ("+7", Some(7)), ("010", None)]
        {
            assert_eq!(text_to_i64(text), number, "{text}");
        }
        for text in ["", "-", "_1", "1.0", "0x10", "1e3", "99999999999999999999", "--1", "+-1"] {
            assert_eq!(text_to_i64(text), None, "{text}");
        }
    }

    #[test]
    fn boolean_words() {
        assert_eq!(word_to_bool("Yes"), Some(true));
        assert_eq!(word_to_bool("off"), Some(false));
        assert_eq!(word_to_bool("y"), None);
        assert_eq!(word_to_bool("1"), None);
    }

    #[test]
    fn sections_are_made_when_absent_or_null() {
        let place = Place::new("f");
        let mut map = Map::default();
        map.set("a", Node::text(&place, "None"));
        map.set("b", Node::text(&place, "text"));
        assert!(map.section_mut("a", &place).is_some());
        assert!(map.section_mut("new", &place).is_some());
        assert!(map.section_mut("b", &place).is_none());
    }
}
