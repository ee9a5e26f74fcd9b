//! The words of etcd: what its answers mean.

use crate::Dialect;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use god_core::status::ProcessStatus;
use serde::Deserialize;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// From the first `/` on.
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The interface of a server by its answer to `/version`.
pub(crate) fn dialect(text: &str) -> Option<Dialect> {
    #[derive(Deserialize)]
    struct Version {
        etcdserver: String,
    }
    let version: Version = serde_json::from_str(text).ok()?;
    let mut parts = version.etcdserver.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next()??, parts.next()??) {
        (0..=2, _) => Some(Dialect::V2),
        (3, 0..=2) => Some(Dialect::V3("v3alpha")),
        (3, 3) => Some(Dialect::V3("v3beta")),
        _ => Some(Dialect::V3("v3")),
    }
}

/// What an entry says of a process; `None` for one that is no process's.
pub(crate) fn process(folder: &str, entry: &Entry, now: i64, silent_after: i64) -> Option<ProcessStatus> {
    let (kind, name) = entry.key.strip_prefix(folder)?.split_once('/')?;
    // Old daemons wrote fractions.
    let seconds = entry.value.trim().split('.').next()?;
    let seen = seconds.parse::<i64>().ok()?;
    Some(ProcessStatus {
        name: name.to_owned(),
        kind: kind.to_owned(),
        alive: now.saturating_sub(seen) < silent_after,
        seen: Some(seen),
    })
}

/// The entries below a folder in an answer of the old interface.
pub(crate) fn v2_entries(text: &str) -> Option<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Answer {
        node: Node,
    }
    #[derive(Deserialize)]
    struct Node {
        #[serde(default)]
        key: String,
        value: Option<String>,
        #[serde(default)]
        nodes: Vec<Node>,
    }
    let answer: Answer = serde_json::from_str(text).ok()?;
    let mut found = Vec::new();
    let mut waiting = vec![answer.node];
    while let Some(node) = waiting.pop() {
        if let Some(value) = node.value {
            found.push(Entry { key: node.key, value });
        }
        waiting.extend(node.nodes);
    }
    Some(found)
}

/// The entries in an answer of version 3.
pub(crate) fn v3_entries(text: &str) -> Option<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        kvs: Vec<Pair>,
    }
    #[derive(Deserialize)]
    struct Pair {
        key: String,
        #[serde(default)]
        value: String,
    }
    let answer: Answer = serde_json::from_str(text).ok()?;
    let text = |code: &str| String::from_utf8(STANDARD.decode(code).ok()?).ok();
    // A key of somebody else may be no text.
    Some(
        answer
            .kvs
            .iter()
            .filter_map(|pair| Some(Entry { key: text(&pair.key)?, value: text(&pair.value)? }))
            .collect(),
    )
}

/// The lease in an answer to a grant.
pub(crate) fn v3_lease(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "ID")]
        id: String,
    }
    serde_json::from_str::<Answer>(text).ok().map(|answer| answer.id)
}

/// Whether a lease lives on after it was renewed: the answer has what is left of its time.
pub(crate) fn v3_lives_on(text: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Answer {
        result: Renewed,
    }
    #[derive(Deserialize)]
    struct Renewed {
        #[serde(rename = "TTL")]
        ttl: Option<String>,
    }
    let answer: Answer = serde_json::from_str(text.lines().next()?).ok()?;
    Some(answer.result.ttl.is_some_and(|ttl| ttl != "0"))
}

/// The key after all keys that begin with this text.
pub(crate) fn end_of_range(begin: &str) -> Vec<u8> {
    let mut end = begin.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Every key there is.
    vec![0]
}

/// Bytes as the gateway wants them.
pub(crate) fn coded(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_what_is_spoken() {
        let check = |version: &str, expected| {
            let text = format!("{{\"etcdserver\":\"{version}\",\"etcdcluster\":\"x\"}}");
            assert_eq!(dialect(&text), expected, "{version}");
        };
        check("2.3.8", Some(Dialect::V2));
        check("3.2.26", Some(Dialect::V3("v3alpha")));
        check("3.3.25", Some(Dialect::V3("v3beta")));
        check("3.4.23", Some(Dialect::V3("v3")));
        check("3.10.0-rc.1", Some(Dialect::V3("v3")));
        check("4.0.0", Some(Dialect::V3("v3")));
        check("x", None);
        assert_eq!(dialect("<html>"), None);
    }

    #[test]
    fn a_key_is_a_process() {
        let folder = "/godocker/process/";
        let of = |key: &str, value: &str| {
            process(folder, &Entry { key: key.to_owned(), value: value.to_owned() }, 1000, 300)
        };
        let expected = |alive, seen| {
            let (name, kind) = ("scheduler-h".to_owned(), "scheduler".to_owned());
            Some(ProcessStatus { name, kind, alive, seen: Some(seen) })
        };
        assert_eq!(of("/godocker/process/scheduler/scheduler-h", "701"), expected(true, 701));
        assert_eq!(of("/godocker/process/scheduler/scheduler-h", "700"), expected(false, 700));
        assert_eq!(of("/godocker/process/scheduler/scheduler-h", "990.12"), expected(true, 990));
        for (key, value) in [("/godocker/process/x", "1"), ("/other/process/a/b", "1"), (folder, "1")] {
            assert_eq!(of(key, value), None, "{key}");
        }
        assert_eq!(of("/godocker/process/a/b", "soon"), None);
    }

    #[test]
    fn answers_of_both_interfaces() {
        let v2 = r#"{"action":"get","node":{"key":"/g/process","dir":true,"nodes":[
            {"key":"/g/process/web","dir":true,"nodes":[
                {"key":"/g/process/web/web-h","value":"5","expiration":"x","ttl":3599}]},
            {"key":"/g/process/empty","dir":true}]}}"#;
        let entry = Entry { key: "/g/process/web/web-h".into(), value: "5".into() };
        assert_eq!(v2_entries(v2), Some(vec![entry.clone()]));
        let v3 = r#"{"header":{"revision":"4"},"kvs":[
            {"key":"L2cvcHJvY2Vzcy93ZWIvd2ViLWg=","value":"NQ==","lease":"1"},{"key":"/w==","value":"NQ=="}],"count":"2"}"#;
        assert_eq!(v3_entries(v3), Some(vec![entry]));
        assert_eq!(v3_entries(r#"{"header":{"revision":"4"}}"#), Some(Vec::new()));
        assert_eq!((v2_entries("x"), v3_entries("x")), (None, None));
        assert_eq!(v3_lease(r#"{"header":{},"ID":"7587","TTL":"3600"}"#).as_deref(), Some("7587"));
        assert_eq!(v3_lives_on("{\"result\":{\"ID\":\"7\",\"TTL\":\"3600\"}}\n"), Some(true));
        assert_eq!(v3_lives_on("{\"result\":{\"ID\":\"7\"}}\n"), Some(false));
        assert_eq!(v3_lives_on("{\"error\":{}}"), None);
    }

    #[test]
    fn a_range_ends_after_its_last_key() {
        assert_eq!(end_of_range("/a/"), b"/a0");
        assert_eq!(end_of_range("a\u{7f}"), b"a\x80");
        assert_eq!(end_of_range(""), [0]);
    }
}
