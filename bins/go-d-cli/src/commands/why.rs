//! `why` and `eff`: what keeps a task, how it ended, and how much of what it asked for it has used.

use crate::args::Field;
use crate::client::Api;
use crate::commands::{for_each, resolve};
use crate::failure::Failure;
use crate::ids::IdList;
use crate::output::{Cell, Column, Printer};
use crate::task::scalar;
use crate::view::{View, heading, now, percent, typed};
use serde_json::Value;

/// One task in the shape of `/api/2`, also of a server that does not have it.
pub async fn one(api: &Api, id: u64, doing: &str) -> Result<Value, Failure> {
    let number = id.to_string();
    let doing = format!("{doing} task {id}");
    if let Some(task) = api.json_if_there(&api.get_typed(&["tasks", &number], doing.clone())).await? {
        return Ok(task);
    }
    // No such task, or no such interface: the older one tells which.
    Ok(typed(&api.json(&api.get(&["task", &number], doing)).await?))
}

pub async fn why(lists: &[IdList], api: &Api, printer: Printer) -> Result<u8, Failure> {
    let ids = resolve(api, lists).await?;
    let mut first = true;
    let (tasks, ended) = for_each(&ids, async |id| {
        let task = one(api, id, "asking about").await?;
        if !printer.is_json() && !printer.quiet {
            if !std::mem::take(&mut first) && printer.is_table() {
                printer.line("")?;
            }
            printer.pairs(&reasons(View(&task), now()))?;
        }
        Ok(task)
    })
    .await;
    if printer.is_json() {
        printer.json(&Value::Array(tasks))?;
    }
    ended.map(|()| 0)
}

/// Names and values; what is empty is left out.
fn reasons(task: View<'_>, now: f64) -> Vec<(&'static str, Cell)> {
    let mut all = vec![
        ("task", task.cell(Field::Id, now)),
        ("name", task.cell(Field::Name, now)),
        ("state", task.cell(Field::State, now)),
        ("request", task.cell(Field::Request, now)),
        ("outcome", task.cell(Field::Outcome, now)),
        ("exit code", task.cell(Field::Code, now)),
        ("reason", Cell::same(task.reason())),
        ("kind", Cell::same(scalar(&task.0["reason"]["code"]))),
        ("numbers", Cell::same(numbers(&task.0["reason"]["numbers"]))),
        ("position", task.cell(Field::Position, now)),
        ("waits since", waiting(task, now)),
        ("node", task.cell(Field::Node, now)),
        ("attempts", task.cell(Field::Attempts, now)),
        ("meaning", Cell::same(meaning(task))),
    ];
    all.retain(|(_, cell)| !cell.plain.is_empty());
    all
}

fn waiting(task: View<'_>, now: f64) -> Cell {
    match task.text("state").as_str() {
        "pending" | "held" => task.cell(Field::Submitted, now),
        _ => Cell::default(),
    }
}

/// Numbers of a reason, whatever their shape.
fn numbers(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            map.iter().map(|(name, value)| format!("{name} {}", short(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(list) => list.iter().map(short).collect::<Vec<_>>().join(", "),
        other => short(other),
    }
}

/// A fraction with no more digits than people read.
fn short(value: &Value) -> String {
    match value.as_f64().filter(|number| number.fract() != 0.0) {
        Some(number) => format!("{number:.2}"),
        None => scalar(value),
    }
}

/// What the state means for whoever asks.
fn meaning(task: View<'_>) -> &'static str {
    let code = task.0["exit_code"].as_i64();
    match (task.text("state").as_str(), code) {
        ("pending", _) if task.reason().is_empty() => "it has not been looked at yet",
        ("pending", _) => "it starts when that has changed",
        ("starting", _) => "it has a place and is about to run",
        ("running", _) => "it runs",
        ("held", _) => "it was set aside; an administrator has to look at it",
        ("over" | "archived", Some(0)) => "it ended well",
        ("over" | "archived", Some(127)) => "its last command was not found",
        ("over" | "archived", Some(126)) => "its last command cannot be executed",
        ("over" | "archived", Some(137)) => "it was killed, perhaps because it used more memory than it had",
        ("over" | "archived", Some(143)) => "it was asked to end",
        ("over" | "archived", Some(_)) => "its own program ended that way; its error output may say more",
        ("over" | "archived", None) => "it has no exit code",
        _ => "",
    }
}

/// Columns of `eff`.
const EFF: [Field; 11] = [
    Field::Id,
    Field::Name,
    Field::State,
    Field::Code,
    Field::Duration,
    Field::Cpu,
    Field::CpuTime,
    Field::CpuEfficiency,
    Field::Ram,
    Field::PeakMemory,
    Field::MemoryEfficiency,
];

pub async fn eff(lists: &[IdList], api: &Api, printer: Printer) -> Result<u8, Failure> {
    let ids = resolve(api, lists).await?;
    let (tasks, ended) = for_each(&ids, async |id| one(api, id, "asking about").await).await;
    if printer.is_json() {
        printer.json(&Value::Array(tasks))?;
        return ended.map(|()| 0);
    }
    if printer.quiet {
        return ended.map(|()| 0);
    }
    let now = now();
    let row = |task: &Value| EFF.iter().map(|field| View(task).cell(*field, now)).collect();
    let columns: Vec<Column> = EFF.iter().map(|field| Column(heading(*field).into(), true)).collect();
    printer.rows(&columns, &tasks.iter().map(row).collect::<Vec<_>>())?;
    if printer.is_table() && tasks.len() > 1 {
        printer.line(&together(&tasks))?;
    }
    ended.map(|()| 0)
}

/// The middle of several tasks in one line.
fn together(tasks: &[Value]) -> String {
    let mean = |of: &str| {
        let shares: Vec<f64> = tasks.iter().filter_map(|task| View(task).efficiency(of)).collect();
        let mean = shares.iter().sum::<f64>() / shares.len() as f64;
        if shares.is_empty() { "not known".to_owned() } else { percent(mean).shown }
    };
    format!("\nOn average: cores {}, memory {}", mean("cpu"), mean("memory"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_waiting_task_says_what_for() {
        let task = json!({"id": 7, "name": "a", "state": "pending", "submitted": 0.0, "position": 3,
            "reason": {"code": "no_room", "text": "no node has 64 cores", "numbers": {"asked": 64, "free_gb": 21.540_588, "largest": 32}}});
        let got = reasons(View(&task), 10.0);
        let text: Vec<String> = got.iter().map(|(name, cell)| format!("{name}={}", cell.plain)).collect();
        assert_eq!(
            text,
            [
                "task=7",
                "name=a",
                "state=pending",
                "reason=no node has 64 cores",
                "kind=no_room",
                "numbers=asked 64, free_gb 21.54, largest 32",
                "position=3",
                "waits since=1970-01-01T00:00:00Z",
                "meaning=it starts when that has changed",
            ]
        );
    }

    #[test]
    fn averages_leave_out_what_is_not_known() {
        let tasks = [
            json!({"efficiency": {"cpu": 0.5, "memory": null}}),
            json!({"efficiency": {"cpu": 1.0}}),
            json!({}),
        ];
        assert_eq!(together(&tasks), "\nOn average: cores 75 %, memory not known");
    }
}
