//! Typed access to the tree, one section at a time, collecting faults instead of stopping at the first.
//!
//! Each accessor returns `None` when the key is absent, null where null means "not set", or wrong (the fault is
//! then in the report), so callers keep their default. The keys that were asked for are the schema: what else a
//! section holds is reported by [`Section::finish`].

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Place, Report};
use crate::names::{self, Known};
use crate::secret::{Endpoint, Secret};
use crate::tree::{Kind, Map, Node, text_to_i64, word_to_bool};
use crate::units;
use crate::yaml::join;

/// What all sections share.
pub(crate) struct Context<'a> {
    pub(crate) known: Known<'a>,
    pub(crate) dir_exists: &'a dyn Fn(&Path) -> bool,
    report: RefCell<Report>,
    /// Every key path that was asked for, list positions written as `[]`.
    asked: RefCell<Vec<String>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(known: Known<'a>, dir_exists: &'a dyn Fn(&Path) -> bool, report: Report) -> Self {
        Context { known, dir_exists, report: RefCell::new(report), asked: RefCell::default() }
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.report.borrow_mut().faults.push(fault);
    }

    pub(crate) fn warn(&self, warning: Fault) {
        self.report.borrow_mut().warnings.push(warning);
    }

    /// The report and the sorted schema.
    pub(crate) fn into_parts(self) -> (Report, Vec<String>) {
        let mut asked = self.asked.into_inner();
        asked.sort();
        asked.dedup();
        (self.report.into_inner(), asked)
    }
}

/// One map of the configuration while it is read.
pub(crate) struct Section<'a> {
    pub(crate) cx: &'a Context<'a>,
    map: Option<&'a Map>,
    place: Place,
    path: String,
    schema_path: String,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(cx: &'a Context<'a>, map: &'a Map, place: Place) -> Section<'a> {
        Section {
            cx,
            map: Some(map),
            place,
            path: String::new(),
            schema_path: String::new(),
            asked: Vec::new(),
        }
    }

    /// Whether the key stands there, null or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.map.is_some_and(|map| map.has(key))
    }

    /// Path of a key of this section.
    pub(crate) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Where the key stands; the place of the section when it does not.
    pub(crate) fn place(&self, key: &str) -> Place {
        self.map.and_then(|map| map.get(key)).map_or_else(|| self.place.clone(), |node| node.place.clone())
    }

    /// Reports a fault of a key.
    pub(crate) fn fault(&self, key: &str, what: impl Into<String>, accepted: impl Into<String>) {
        self.cx.fault(self.place(key).fault(&self.path(key), what, accepted));
    }

    /// Reports a warning about a key.
    pub(crate) fn warn(&self, key: &str, what: impl Into<String>, accepted: impl Into<String>) {
        self.cx.warn(self.place(key).fault(&self.path(key), what, accepted));
    }

    /// Reports that a key must be there.
    pub(crate) fn missing(&self, key: &str, accepted: &str) {
        let place = Place { line: None, ..self.place(key) };
        self.cx.fault(place.fault(&self.path(key), "this key must be set", accepted));
    }

    /// The node of a key, unless absent or null.
    pub(crate) fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
            self.cx.asked.borrow_mut().push(join(&self.schema_path, key));
        }
        self.map.and_then(|map| map.get(key)).filter(|node| !node.is_null())
    }

    /// The text of a scalar; a fault for a list or a map.
    fn scalar(&mut self, key: &'static str, accepted: &str) -> Option<&'a str> {
        let node = self.node(key)?;
        match &node.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Null | Kind::List(_) | Kind::Map(_) => {
                self.fault(key, format!("{} stands here", node.kind_name()), accepted);
                None
            }
        }
    }

    /// A text; empty means "not set".
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        let text = self.scalar(key, "accepted: a text")?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let text = self.scalar(key, "accepted: a text")?;
        (!text.is_empty()).then(|| Secret::new(text))
    }

    /// A text of `min..=max` letters, digits and `-_.`, the first one a letter or digit.
    pub(crate) fn word(&mut self, key: &'static str, longest: usize) -> Option<String> {
        let text = self.text(key)?;
        if is_word(&text) && text.len() <= longest {
            return Some(text);
        }
        self.fault(
            key,
            format!("`{text}` is not a plain name"),
            format!(
                "accepted: up to {longest} letters, digits and `-`, `_`, `.`, starting with a letter or digit"
            ),
        );
        None
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        const ACCEPTED: &str = "accepted: true or false (also yes, no, on, off)";
        let text = self.scalar(key, ACCEPTED)?;
        let flag = word_to_bool(text);
        if flag.is_none() {
            self.fault(key, format!("`{text}` is neither true nor false"), ACCEPTED);
        }
        flag
    }

    /// A whole number in `min..=max`.
    pub(crate) fn whole(&mut self, key: &'static str, min: i64, max: i64) -> Option<i64> {
        let accepted = match max {
            i64::MAX => format!("accepted: a whole number from {min}"),
            _ => format!("accepted: a whole number from {min} to {max}"),
        };
        let text = self.scalar(key, &accepted)?;
        match text_to_i64(text) {
            Some(number) if (min..=max).contains(&number) => Some(number),
            Some(_) => {
                self.fault(key, format!("{text} is out of range"), accepted);
                None
            }
            None => {
                self.fault(key, format!("`{text}` is not a whole number"), accepted);
                None
            }
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&mut self, key: &'static str, min: u32) -> Option<u64> {
        self.whole(key, i64::from(min), i64::MAX).map(i64::unsigned_abs)
    }

    /// A whole number that fits in 32 bits.
    pub(crate) fn count32(&mut self, key: &'static str, min: u32) -> Option<u32> {
        self.whole(key, i64::from(min), i64::from(u32::MAX)).and_then(|number| u32::try_from(number).ok())
    }

    pub(crate) fn port(&mut self, key: &'static str) -> Option<u16> {
        self.whole(key, 1, 65_535).and_then(|number| u16::try_from(number).ok())
    }

    /// A finite number, whole or not.
    pub(crate) fn number(&mut self, key: &'static str) -> Option<f64> {
        const ACCEPTED: &str = "accepted: a number, such as 0.2";
        let text = self.scalar(key, ACCEPTED)?;
        let number = text.replace('_', "").parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            self.fault(key, format!("`{text}` is not a number"), ACCEPTED);
        }
        number
    }

    /// A number that is not negative.
    pub(crate) fn weight(&mut self, key: &'static str) -> Option<f64> {
        let number = self.number(key)?;
        if number < 0.0 {
            self.fault(key, format!("{number} is negative"), "accepted: 0 or a positive number, such as 0.2");
            return None;
        }
        Some(number)
    }

    /// Bytes. Null is 0.
    pub(crate) fn size(&mut self, key: &'static str) -> Option<u64> {
        self.unit(key, "accepted: bytes or a size such as 10M", units::parse_size)
    }

    /// Seconds.
    pub(crate) fn lifespan(&mut self, key: &'static str) -> Option<u64> {
        self.unit(key, "accepted: a time such as 7d", units::parse_lifespan)
    }

    fn unit(
        &mut self,
        key: &'static str,
        accepted: &str,
        parse: fn(&str) -> Result<u64, units::UnitError>,
    ) -> Option<u64> {
        let text = self.scalar(key, accepted)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(key, error.to_string(), "");
                None
            }
        }
    }

    /// A path; it must be absolute.
    pub(crate) fn path_value(&mut self, key: &'static str) -> Option<PathBuf> {
        let text = self.text(key)?;
        if text.starts_with('/') && !text.contains('\0') {
            return Some(PathBuf::from(text));
        }
        self.fault(key, format!("`{text}` is not an absolute path"), "accepted: a path that starts with `/`");
        None
    }

    /// An address of a service. The value is not repeated in faults: it may hold a password.
    pub(crate) fn endpoint(&mut self, key: &'static str, schemes: &[&str]) -> Option<Endpoint> {
        let endpoint = Endpoint::new(self.text(key)?);
        let good_scheme = schemes.is_empty() || endpoint.scheme().is_some_and(|own| schemes.contains(&own));
        if good_scheme && (endpoint.socket_path().is_some() || !endpoint.host().is_empty()) {
            return Some(endpoint);
        }
        let accepted = match schemes {
            [] => "accepted: host:port or a URL".to_owned(),
            _ => format!("accepted: a URL that starts with {}://", schemes.join(":// or ")),
        };
        self.fault(key, "this is not an address that can be used", accepted);
        None
    }

    /// A plugin's name with a default; the default must be built in, too.
    pub(crate) fn plugin_or(
        &mut self,
        key: &'static str,
        kind: &str,
        known: &[&str],
        default: String,
    ) -> String {
        if self.node(key).is_none()
            && let Some((what, accepted)) = names::wrong_name(kind, &default, known)
        {
            self.fault(key, format!("not set, and of its default: {what}"), accepted);
        }
        self.plugin(key, kind, known).unwrap_or(default)
    }

    /// A plugin's name, checked against the names that are built in.
    pub(crate) fn plugin(&mut self, key: &'static str, kind: &str, known: &[&str]) -> Option<String> {
        let name = self.text(key)?;
        match names::wrong_name(kind, &name, known) {
            None => Some(name),
            Some((what, accepted)) => {
                self.fault(key, what, accepted);
                None
            }
        }
    }

    /// A list of plugin names, each checked, none twice. `None` when the key is absent or null.
    pub(crate) fn plugins(&mut self, key: &'static str, kind: &str, known: &[&str]) -> Option<Vec<String>> {
        let nodes = self.texts(key)?;
        let mut good: Vec<String> = Vec::new();
        for (path, place, name) in nodes {
            if let Some((what, accepted)) = names::wrong_name(kind, &name, known) {
                self.cx.fault(place.fault(&path, what, accepted));
            } else if good.contains(&name) {
                self.cx.warn(place.fault(&path, format!("`{name}` is listed twice"), ""));
            } else {
                good.push(name);
            }
        }
        Some(good)
    }

    /// The texts of a list, with path and place. One text stands for a list of one, or of several with commas.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Vec<(String, Place, String)>> {
        let node = self.node(key)?;
        let path = self.path(key);
        let mut texts = Vec::new();
        match &node.kind {
            Kind::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    let item_path = format!("{path}[{at}]");
                    match &item.kind {
                        Kind::Scalar { text, .. } if !text.is_empty() && !item.is_null() => {
                            texts.push((item_path, item.place.clone(), text.clone()));
                        }
                        _ => self.cx.fault(item.place.fault(
                            &item_path,
                            format!("{} stands here", item.kind_name()),
                            "accepted: a text",
                        )),
                    }
                }
            }
            Kind::Scalar { text, .. } => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                texts.extend(
                    parts
                        .enumerate()
                        .map(|(at, part)| (format!("{path}[{at}]"), node.place.clone(), part.to_owned())),
                );
            }
            Kind::Null | Kind::Map(_) => {
                self.fault(key, format!("{} stands here", node.kind_name()), "accepted: a list of texts");
                return None;
            }
        }
        Some(texts)
    }

    /// A map under `key`; an absent or null one reads as an empty map.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'a> {
        let node = self.node(key);
        let map = match node.map(|node| &node.kind) {
            None | Some(Kind::Null) => None,
            Some(Kind::Map(map)) => Some(map),
            Some(Kind::Scalar { .. } | Kind::List(_)) => {
                let kind = node.map_or("null", Node::kind_name);
                self.fault(key, format!("{kind} stands here"), "accepted: a map of keys");
                None
            }
        };
        Section {
            cx: self.cx,
            map,
            place: self.place(key),
            path: self.path(key),
            schema_path: join(&self.schema_path, key),
            asked: Vec::new(),
        }
    }

    /// The maps of a list; `None` when the key is absent or null.
    pub(crate) fn sections(&mut self, key: &'static str) -> Option<Vec<Section<'a>>> {
        const ACCEPTED: &str = "accepted: a list of maps";
        let node = self.node(key)?;
        let Kind::List(items) = &node.kind else {
            self.fault(key, format!("{} stands here", node.kind_name()), ACCEPTED);
            return None;
        };
        let mut sections = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let path = format!("{}[{at}]", self.path(key));
            match &item.kind {
                Kind::Map(map) => sections.push(Section {
                    cx: self.cx,
                    map: Some(map),
                    place: item.place.clone(),
                    path,
                    schema_path: format!("{}[]", join(&self.schema_path, key)),
                    asked: Vec::new(),
                }),
                _ => self.cx.fault(item.place.fault(
                    &path,
                    format!("{} stands here", item.kind_name()),
                    "accepted: a map of keys",
                )),
            }
        }
        Some(sections)
    }

    /// A key that is accepted and has no effect: says why when it is set.
    pub(crate) fn ignored(&mut self, key: &'static str, why: &str) {
        if self.node(key).is_some() {
            self.warn(key, format!("this key has no effect: {why}"), "");
        }
    }

    /// Warns about the keys that nobody asked for.
    pub(crate) fn finish(self) {
        let Some(map) = self.map else { return };
        for (key, node) in map.iter().filter(|(key, _)| !self.asked.contains(&key.as_str())) {
            let accepted = match names::nearest(key, &self.asked) {
                Some(near) => format!("did you mean `{near}`?"),
                None => String::new(),
            };
            self.cx.warn(node.place.fault(&self.path(key), "unknown key, ignored", accepted));
        }
    }
}

/// Letters, digits and `-_.` in ASCII, the first one a letter or digit.
pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}
