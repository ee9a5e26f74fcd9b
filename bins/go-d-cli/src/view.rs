//! Tasks in one shape, whichever interface of the server they came from: that of `/api/2`. A server without it gives
//! documents of `/api/1.0`, which are turned into the same fields as far as they say.

use crate::args::Field;
use crate::output::Cell;
use crate::task::{Task, local_and_utc, scalar, span};
use clap::ValueEnum as _;
use god_core::units::{Bytes, Seconds};
use serde_json::{Value, json};
use std::cmp::Ordering;

/// A document of `/api/1.0` with the fields of `/api/2`.
pub fn typed(document: &Value) -> Value {
    let task = Task(document);
    let at = |path: &str| task.at(path).clone();
    let number = |path: &str| task.at(path).as_f64();
    let words = (task.text("/status/primary"), task.text("/status/secondary"));
    let over = task.is_over();
    let code = at("/status/exitcode");
    let outcome = match (words.1.as_str(), code.as_i64()) {
        _ if !over => Value::Null,
        ("killed", _) => "killed".into(),
        ("quota reached", _) => "quota".into(),
        ("rejected by scheduler", _) => "refused".into(),
        (_, Some(0)) => "success".into(),
        (_, Some(_)) => "failed".into(),
        (_, None) => "lost".into(),
    };
    let request = words.1.strip_suffix(" requested");
    let reason = task.text("/status/reason");
    let reason =
        if reason.is_empty() { Value::Null } else { json!({"code": null, "text": reason, "numbers": null}) };
    let cpu_seconds = number("/container/meta/Usage/cpu_us").map(|us| us / 1e6);
    let peak = at("/container/meta/Usage/max_rss");
    let attempts = number("/status/failure/count").map(|n| n as u64 + 1);
    let mut typed = json!({
        "id": at("/id"),
        "parent": at("/parent_task_id"),
        "index": at("/requirements/array/task_id"),
        "name": at("/meta/name"),
        "user": at("/user/id"),
        "project": at("/user/project"),
        "tags": at("/meta/tags"),
        "state": words.0,
        "paused": words.1 == "suspended",
        "request": request,
        "outcome": outcome,
        "exit_code": code,
        "reason": reason,
        "position": null,
        "submitted": at("/date"),
        "started": at("/status/date_running"),
        "ended": at("/status/date_over"),
        "node": at("/container/meta/Node/Name"),
        "executor": at("/requirements/executor"),
        "cpu": at("/requirements/cpu"),
        "ram": at("/requirements/ram"),
        "gpus": at("/requirements/gpus"),
        "image": at("/container/image"),
        "time_limit": at("/requirements/time_limit"),
        "cpu_seconds": cpu_seconds,
        "max_rss_bytes": peak,
        "disk_bytes": at("/container/meta/disk_size"),
        "attempts": attempts,
    });
    let efficiency = View(&typed).own_efficiency();
    typed["efficiency"] = json!({"cpu": efficiency.0, "memory": efficiency.1});
    typed
}

/// A task in the shape of `/api/2`, read with care: a field that is missing or of an odd type is empty.
#[derive(Debug, Clone, Copy)]
pub struct View<'a>(pub &'a Value);

impl View<'_> {
    /// A text or number, as text.
    pub fn text(self, name: &str) -> String {
        scalar(&self.0[name])
    }

    /// A number.
    pub fn number(self, name: &str) -> Option<f64> {
        self.0[name].as_f64().filter(|n| n.is_finite())
    }

    /// Its id; 0 when it has none.
    pub fn id(self) -> u64 {
        self.0["id"].as_u64().unwrap_or(0)
    }

    /// Whether it is over for good.
    pub fn is_over(self) -> bool {
        matches!(self.0["state"].as_str(), Some("over" | "archived"))
    }

    /// The words of its reason, which may be a text alone.
    pub fn reason(self) -> String {
        match &self.0["reason"] {
            Value::Object(reason) => reason.get("text").map(scalar).unwrap_or_default(),
            other => scalar(other),
        }
    }

    /// What was asked of it and is not done yet, or that it is paused.
    pub fn request(self) -> String {
        match self.text("request") {
            request if !request.is_empty() => request,
            _ if self.0["paused"] == true => "paused".to_owned(),
            _ => String::new(),
        }
    }

    /// Its tags.
    pub fn tags(self) -> Vec<String> {
        let tags = self.0["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        tags.iter().map(scalar).collect()
    }

    /// Seconds it ran, or has been running at `now`.
    pub fn duration(self, now: f64) -> Option<f64> {
        let started = self.number("started")?;
        let end = self.number("ended").or((!self.is_over()).then_some(now))?;
        Some((end - started).max(0.0))
    }

    /// Shares of cores and memory used, as far as the fields tell: 1 is all of what was asked for.
    fn own_efficiency(self) -> (Option<f64>, Option<f64>) {
        let share = |used: Option<f64>, had: Option<f64>| Some(used? / had.filter(|had| *had > 0.0)?);
        let ran = self.number("ended").and_then(|ended| Some(ended - self.number("started")?));
        let cores = self.number("cpu").and_then(|cores| Some(cores * ran?));
        let memory = self.0["ram"].as_u64().and_then(|ram| u32::try_from(ram).ok());
        let memory = memory.map(|ram| Bytes::from_ram(ram).0 as f64);
        (share(self.number("cpu_seconds"), cores), share(self.number("max_rss_bytes"), memory))
    }

    /// Share of the cores (`cpu`) or of the memory (`memory`) it used; 1 is all of it.
    pub fn efficiency(self, of: &str) -> Option<f64> {
        self.0["efficiency"][of].as_f64().filter(|n| n.is_finite())
    }

    /// A column.
    pub fn cell(self, field: Field, now: f64) -> Cell {
        let same = |name: &str| Cell::same(self.text(name));
        match field {
            Field::Id => same("id"),
            Field::User => same("user"),
            Field::Project => same("project"),
            Field::Name => same("name"),
            Field::State => same("state"),
            Field::Outcome => same("outcome"),
            Field::Code => same("exit_code"),
            Field::Cpu => same("cpu"),
            Field::Ram => same("ram"),
            Field::Gpus => same("gpus"),
            Field::Tags => Cell::same(self.tags().join(",")),
            Field::Image => same("image"),
            Field::Executor => same("executor"),
            Field::Node => same("node"),
            Field::Parent => same("parent"),
            Field::Index => same("index"),
            Field::Position => same("position"),
            Field::Submitted => local_and_utc(&self.0["submitted"]),
            Field::Started => local_and_utc(&self.0["started"]),
            Field::Ended => local_and_utc(&self.0["ended"]),
            Field::Duration => self.duration(now).map(seconds).unwrap_or_default(),
            Field::TimeLimit => match self.0["time_limit"].as_u64() {
                Some(limit) => seconds(limit as f64),
                None => same("time_limit"),
            },
            Field::Attempts => same("attempts"),
            Field::Request => Cell::same(self.request()),
            Field::Reason => Cell::same(self.reason()),
            Field::CpuTime => self.number("cpu_seconds").map(fine).unwrap_or_default(),
            Field::PeakMemory => self.bytes("max_rss_bytes"),
            Field::Disk => self.bytes("disk_bytes"),
            Field::CpuEfficiency => self.efficiency("cpu").map(percent).unwrap_or_default(),
            Field::MemoryEfficiency => self.efficiency("memory").map(percent).unwrap_or_default(),
        }
    }

    fn bytes(self, name: &str) -> Cell {
        let bytes = self.0[name].as_u64();
        bytes.map(|n| Cell::each(Bytes(n).to_string(), n.to_string())).unwrap_or_default()
    }

    /// Which of two comes first by this column; numbers by size, empty ones last.
    pub fn compare(self, other: View<'_>, field: Field, now: f64) -> Ordering {
        let (own, others) = (self.cell(field, now).plain, other.cell(field, now).plain);
        let empty = |text: &str| text.is_empty() || text == "-";
        let numbers = own.parse::<f64>().ok().zip(others.parse::<f64>().ok());
        empty(&own).cmp(&empty(&others)).then_with(|| match numbers {
            Some((own, others)) => own.total_cmp(&others),
            None => own.cmp(&others),
        })
    }
}

fn seconds(span_: f64) -> Cell {
    let whole = Seconds(span_.max(0.0) as u64);
    Cell::each(span(whole), whole.0.to_string())
}

fn fine(span: f64) -> Cell {
    Cell::each(format!("{span:.2} s"), format!("{span:.6}"))
}

/// A share as people and as scripts read it: `93 %`, `0.934`.
pub fn percent(share: f64) -> Cell {
    Cell::each(format!("{:.0} %", share * 100.0), format!("{share:.3}"))
}

/// The heading of a column in a table.
pub fn heading(field: Field) -> String {
    let value = field.to_possible_value().expect("every column can be named");
    value.get_name().to_uppercase().replace('-', " ")
}

/// Now, in seconds since 1970.
pub fn now() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_documents_say_the_same() {
        let document = json!({"id": 60, "parent_task_id": 50, "date": 5.0, "user": {"id": "bob", "project": "sea"},
            "meta": {"name": "align", "tags": ["a"]},
            "requirements": {"cpu": 2, "ram": 1, "gpus": 0, "array": {"task_id": 3}},
            "container": {"image": "debian:12", "meta": {"Node": {"Name": "n1"},
                "Usage": {"cpu_us": 15_000_000, "max_rss": 1 << 29}}},
            "status": {"primary": "over", "secondary": "killed", "exitcode": 137, "reason": "Max duration reached",
                "date_running": 10.0, "date_over": 20.0}});
        let typed = typed(&document);
        let view = View(&typed);
        let text = |field| view.cell(field, 0.0).plain;
        assert_eq!(text(Field::Parent), "50");
        assert_eq!(text(Field::Index), "3");
        assert_eq!(text(Field::Outcome), "killed");
        assert_eq!(text(Field::Duration), "10");
        assert_eq!(text(Field::CpuEfficiency), "0.750");
        assert_eq!(text(Field::MemoryEfficiency), "0.500");
        assert_eq!(view.reason(), "Max duration reached");
        assert!(view.is_over());
    }

    #[test]
    fn what_is_not_known_is_empty() {
        let empty = typed(&json!({}));
        for field in Field::value_variants() {
            assert_eq!(View(&empty).cell(*field, 0.0), Cell::default(), "{field:?}");
        }
        let odd = json!({"started": "soon", "tags": 5, "efficiency": [], "reason": "plain words"});
        assert_eq!(View(&odd).cell(Field::Duration, 0.0), Cell::default());
        assert_eq!(View(&odd).reason(), "plain words");
        let running = json!({"state": "running", "started": 100.0, "ended": null});
        assert_eq!(View(&running).cell(Field::Duration, 165.0), Cell::each("1m05s", "65"));
        let never_ran = json!({"state": "over", "started": 100.0});
        assert_eq!(View(&never_ran).cell(Field::Duration, 165.0), Cell::default());
    }

    #[test]
    fn order_is_by_number_and_puts_empty_ones_last() {
        let tasks = [json!({"id": 10, "node": "b"}), json!({"id": 9}), json!({"id": 100, "node": "a"})];
        let ids = |field| {
            let mut sorted: Vec<&Value> = tasks.iter().collect();
            sorted.sort_by(|a, b| View(a).compare(View(b), field, 0.0));
            sorted.iter().map(|task| View(task).id()).collect::<Vec<_>>()
        };
        assert_eq!(ids(Field::Id), [9, 10, 100]);
        assert_eq!(ids(Field::Node), [100, 10, 9]);
    }
}
