//! Figures that programs of ours push, with a key, and that `/metrics` shows.

use crate::app::App;
use crate::error::ApiError;
use crate::http::{Sent, json};
use axum::extract::State;
use axum::response::Response;
use god_core::wire::Fault;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Different figures kept.
const KEPT: usize = 1000;
/// Figures in one push.
const AT_ONCE: usize = 100;
/// The ones whose pushes add up.
const COUNTERS: [&str; 1] = ["god_watcher_job_error"];

/// Figures by name and host.
#[derive(Debug, Default)]
pub(crate) struct Pushed(Mutex<BTreeMap<(String, String), f64>>);

impl Pushed {
    fn take(&self, name: &str, host: &str, value: f64) {
        let mut figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), host.to_owned());
        if figures.len() >= KEPT && !figures.contains_key(&key) {
            return;
        }
        let figure = figures.entry(key).or_default();
        *figure = if COUNTERS.contains(&name) { *figure + value } else { value };
    }

    /// Writes them as `/metrics` shows them.
    pub(crate) fn write(&self, text: &mut String) {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = "";
        for ((name, host), value) in &*figures {
            if name != last {
                let kind = if COUNTERS.contains(&name.as_str()) { "counter" } else { "gauge" };
                writeln!(text, "# HELP {name} Pushed by a daemon.\n# TYPE {name} {kind}")
                    .expect("writing to a String cannot fail");
                last = name;
            }
            let label = if host.is_empty() { String::new() } else { format!("{{host=\"{host}\"}}") };
            writeln!(text, "{name}{label} {value}").expect("writing to a String cannot fail");
        }
    }
}

/// `POST /prometheus` with `{"key": …, "stat": [{"name": …, "value": …, "host": …}]}`
pub(super) async fn push(State(app): State<App>, Sent(body): Sent) -> Result<Response, ApiError> {
    let key = body.get("key").and_then(Value::as_str).unwrap_or_default();
    let is_right = app.config().prometheus_key.as_ref().is_some_and(|right| right.is(key));
    if !is_right {
        return Err(ApiError::Forbidden("key: is not the one of this server".to_owned()));
    }
    let list = body.get("stat").and_then(Value::as_array);
    let list = list.filter(|list| list.len() <= AT_ONCE).ok_or_else(|| {
        ApiError::Faults(vec![Fault::new(
            "stat",
            "is missing or too long",
            format!("a list, up to {AT_ONCE}"),
        )])
    })?;
    let mut figures = Vec::new();
    for (i, stat) in list.iter().enumerate() {
        let text = |key: &str| stat.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, host, value) = (text("name"), text("host"), stat.get("value").and_then(Value::as_f64));
        let is_name = name.starts_with("god_")
            && name.len() <= 100
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let is_host = host.len() <= 255
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'));
        match value.filter(|value| value.is_finite() && is_name && is_host) {
            Some(value) => figures.push((name, host, value)),
            None => {
                let accepted = "a name god_..., a finite number, perhaps a host";
                return Err(ApiError::Faults(vec![Fault::new(
                    format!("stat[{i}]"),
                    "is no figure",
                    accepted,
                )]));
            }
        }
    }
    for (name, host, value) in figures {
        app.pushed.take(name, host, value);
    }
    Ok(json(&json!({"msg": "Taken"})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_add_up_and_durations_do_not() {
        let pushed = Pushed::default();
        for _ in 0..2 {
            pushed.take("god_watcher_job_error", "n1", 1.0);
            pushed.take("god_scheduler_run_duration", "", 0.5);
        }
        let mut text = String::new();
        pushed.write(&mut text);
        assert!(text.contains("god_watcher_job_error{host=\"n1\"} 2\n"), "{text}");
        assert!(text.contains("god_scheduler_run_duration 0.5\n"), "{text}");
    }
}
