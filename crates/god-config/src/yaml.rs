//! YAML text -> [`Node`] tree, the texts of scalars kept as they were written.
//!
//! The parser is asked for values without a type, so one bad value never hides the next. It builds no object of
//! any other kind: a Python tag in an old file is only a label here. Snippets of the file never enter a message.

use std::collections::HashMap;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, Spanned};

use crate::fault::{Place, Report};
use crate::tree::{Kind, Map, Node};

/// Largest file that is read, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// Reads the text of a file. `None` when it is not a YAML map; the report then holds the reason.
///
/// An empty document is an empty map.
pub(crate) fn parse(bytes: &[u8], place: &Place, report: &mut Report) -> Option<Map> {
    if bytes.len() > MAX_BYTES {
        report.faults.push(place.fault(
            "",
            format!("the file has {} bytes", bytes.len()),
            format!("accepted: up to {MAX_BYTES} bytes"),
        ));
        return None;
    }
    let source = String::from_utf8_lossy(bytes);
    if let Err(error) = std::str::from_utf8(bytes) {
        let line = bytes.iter().take(error.valid_up_to()).filter(|&&byte| byte == b'\n').count() as u64 + 1;
        report.warnings.push(place.at_line(line).fault(
            "",
            "the file is not valid UTF-8; the bad bytes are read as U+FFFD",
            "accepted: UTF-8",
        ));
    }
    let raw: Raw = match serde_saphyr::from_str_with_options(&source, options()) {
        Ok(raw) => raw,
        Err(error) => {
            let what = match error.without_snippet() {
                serde_saphyr::Error::MultipleDocuments { .. } => {
                    "the file holds several YAML documents; the configuration is one document".to_owned()
                }
                other => format!("this is not readable as YAML: {other}"),
            };
            let line = error.location().map_or(0, |location| location.line());
            report.faults.push(place.at_line(line).fault("", what, ""));
            return None;
        }
    };
    let node = Builder { source: &source, place, report }.node(raw, "");
    match node.kind {
        Kind::Map(map) => Some(map),
        Kind::Null => Some(Map::default()),
        Kind::Scalar { .. } | Kind::List(_) => {
            report.faults.push(node.place.fault(
                "",
                format!("the file holds {} at its top level", node.kind_name()),
                "accepted: a map of keys, such as `shared_dir: /srv/god`",
            ));
            None
        }
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_total_scalar_bytes: 4 * MAX_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 20_000 },
    }
}

/// A value as the parser hands it over: its kind, and where its text stands in the source.
struct Raw {
    line: u64,
    span: Option<(u64, u64)>,
    kind: RawKind,
}

enum RawKind {
    Null,
    /// A word or number that the parser gave a type; its text is in the source.
    Typed,
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        let spanned = Spanned::<RawKind>::deserialize(deserializer)?;
        let span = spanned.defined.span();
        Ok(Raw {
            line: spanned.defined.line(),
            span: span.byte_offset().zip(span.byte_len()),
            kind: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for RawKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawKind, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawKind;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }

    fn visit_none<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawKind, D::Error> {
        RawKind::deserialize(deserializer)
    }

    fn visit_bool<E>(self, _: bool) -> Result<RawKind, E> {
        Ok(RawKind::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<RawKind, E> {
        Ok(RawKind::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<RawKind, E> {
        Ok(RawKind::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<RawKind, E> {
        Ok(RawKind::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<RawKind, E> {
        Ok(RawKind::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<RawKind, E> {
        Ok(RawKind::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<RawKind, E> {
        Ok(RawKind::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<RawKind, E> {
        Ok(RawKind::Text(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawKind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawKind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawKind, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawKind::Map(map))
    }
}

/// Gives scalars their text back and reports keys that stand twice.
struct Builder<'a> {
    source: &'a str,
    place: &'a Place,
    report: &'a mut Report,
}

impl Builder<'_> {
    fn node(&mut self, raw: Raw, path: &str) -> Node {
        let place = self.place.at_line(raw.line);
        let written = self.written(&raw);
        let kind = match raw.kind {
            RawKind::Null => Kind::Null,
            RawKind::Typed => Kind::Scalar { text: written.to_owned(), quoted: false },
            RawKind::Text(text) => {
                let quoted = text != written;
                Kind::Scalar { text, quoted }
            }
            RawKind::List(items) => Kind::List(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(at, item)| self.node(item, &format!("{path}[{at}]")))
                    .collect(),
            ),
            RawKind::Map(entries) => Kind::Map(self.map(entries, path)),
        };
        Node { place, kind }
    }

    fn map(&mut self, entries: Vec<(Raw, Raw)>, path: &str) -> Map {
        let mut map = Map::default();
        let mut lines: HashMap<String, u64> = HashMap::new();
        for (key, value) in entries {
            let place = self.place.at_line(key.line);
            let name = match &key.kind {
                RawKind::Text(text) => text.clone(),
                RawKind::Null | RawKind::Typed => self.written(&key).to_owned(),
                RawKind::List(_) | RawKind::Map(_) => {
                    self.report.faults.push(place.fault(
                        path,
                        "a list or a map is used as a key",
                        "accepted: a word",
                    ));
                    continue;
                }
            };
            let key_path = join(path, &name);
            if let Some(first) = lines.insert(name.clone(), key.line) {
                self.report.faults.push(place.fault(
                    &key_path,
                    format!(
                        "the key stands here and on line {first}; the old system silently took the last one"
                    ),
                    "accepted: each key once",
                ));
            }
            let node = self.node(value, &key_path);
            map.set(&name, node);
        }
        map
    }

    /// The text of a scalar as it stands in the file, quotes included.
    fn written(&self, raw: &Raw) -> &str {
        let range = raw.span.and_then(|(start, len)| {
            let start = usize::try_from(start).ok()?;
            let len = usize::try_from(len).ok()?;
            self.source.get(start..start.checked_add(len)?)
        });
        range.unwrap_or_default()
    }
}

/// `a` and `b` -> `a.b`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<Map>, Report) {
        let mut report = Report::default();
        let map = parse(text.as_bytes(), &Place::new("f"), &mut report);
        (map, report)
    }

    fn faults(text: &str) -> Vec<String> {
        parsed(text).1.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn scalars_keep_their_text() {
        let (map, report) = parsed(
            "a: 1.40\nb: yes\nc: 'yes'\nd: 0777\ne: .inf\nf: 99999999999999999999999\ny: é\nn: None\n",
        );
        assert!(report.faults.is_empty(), "{report:?}");
        let map = map.expect("a map");
        for (key, text, is_quoted) in [
            ("a", "1.40", false),
            ("b", "yes", false),
            ("c", "yes", true),
            ("d", "0777", false),
            ("e", ".inf", false),
            ("f", "99999999999999999999999", false),
            ("y", "é", false),
            ("n", "None", false),
        ] {
            match map.get(key).map(|node| &node.kind) {
                Some(Kind::Scalar { text: found, quoted }) => {
                    assert_eq!((found.as_str(), *quoted), (text, is_quoted), "{key}");
                }
                other => panic!("{key}: {other:?}"),
            }
        }
        assert_eq!(map.get("d").and_then(|node| node.place.line), Some(4));
    }

    #[test]
    fn every_duplicate_is_reported_with_both_lines() {
        assert_eq!(
            faults("a: 1\nb: {x: 1, x: 2}\na: 2\n"),
            [
                "f, b.x: the key stands here and on line 2; the old system silently took the last one; accepted: each key once (line 2)",
                "f, a: the key stands here and on line 1; the old system silently took the last one; accepted: each key once (line 3)",
            ]
        );
    }

    #[test]
    fn merge_keys_and_anchors_are_applied() {
        let (map, report) = parsed("base: &b {x: 1, z: 3}\nd:\n  <<: *b\n  x: 2\n");
        assert!(report.faults.is_empty(), "{report:?}");
        let d = map.expect("a map").get("d").expect("d").to_json();
        assert_eq!(d, serde_json::json!({"x": 2, "z": 3}));
    }

    #[test]
    fn files_that_are_no_map_are_told_so() {
        assert!(faults("- 1\n")[0].contains("a list at its top level"));
        assert!(faults("a: 1\n---\nb: 2\n")[0].contains("several YAML documents"));
        assert!(faults("a: [1\n")[0].starts_with("f: this is not readable as YAML"));
        assert!(faults("? [a]\n: 1\n")[0].contains("used as a key"));
        assert!(faults("").is_empty());
        assert!(faults("# only a comment \u{FFFD}\n").is_empty());
    }

    #[test]
    fn a_broken_file_does_not_show_its_secrets() {
        for text in ["secret_passphrase \"hunter2\"\nx: 1\n", "secret_passphrase: \"hunter2\n", "p: *hunter2"]
        {
            let shown = faults(text).join("\n");
            assert!(!shown.is_empty());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let below = level - 1;
            let items = vec![format!("*a{below}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(faults(&text)[0].starts_with("f: this is not readable as YAML"));
    }

    #[test]
    fn one_long_text_cannot_be_repeated_without_end() {
        let long = "x".repeat(100_000);
        let repeated = vec!["*a"; 900].join(", ");
        let found = faults(&format!("a: &a {long}\nb: [{repeated}]\n"));
        assert!(found[0].starts_with("f: this is not readable as YAML"), "{}", &found[0]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_read_with_a_warning() {
        let mut report = Report::default();
        let map = parse(b"a: 1\n# caf\xe9\nb: 2\n", &Place::new("f"), &mut report).expect("a map");
        assert!(map.has("b") && report.faults.is_empty());
        assert_eq!(report.warnings[0].line, Some(2));
    }
}
