//! `show`: one task, with all that a person may want to know.

use crate::args::Format;
use crate::client::Api;
use crate::commands::resolve_one;
use crate::failure::Failure;
use crate::ids::IdList;
use crate::output::{Cell, Printer};
use crate::task::Task;
use god_core::units::Bytes;
use serde_json::Value;

pub async fn run(id: &IdList, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let id = resolve_one(api, id).await?.to_string();
    let document = api.json(&api.get(&["task", &id], format!("reading task {id}"))).await?;
    match printer.format {
        Format::Json => printer.json(&document)?,
        _ if printer.quiet => printer.line(&id)?,
        _ => {
            printer.pairs(&pairs(Task(&document), crate::view::now()))?;
        }
    }
    Ok(0)
}

/// Names and values; what is empty is left out.
pub fn pairs(task: Task<'_>, now: f64) -> Vec<(&'static str, Cell)> {
    let same = |path: &str| Cell::same(task.text(path));
    let needs = "/requirements";
    let all = vec![
        ("id", same("/id")),
        ("array", same("/parent_task_id")),
        ("value", same("/requirements/array/task_id")),
        ("name", same("/meta/name")),
        ("description", same("/meta/description")),
        ("tags", Cell::same(task.list("/meta/tags"))),
        ("user", same("/user/id")),
        ("project", same("/user/project")),
        ("state", Cell::same(task.state())),
        ("reason", same("/status/reason")),
        ("exit code", same("/status/exitcode")),
        ("submitted", task.time("/date")),
        ("started", task.time("/status/date_running")),
        ("over", task.time("/status/date_over")),
        ("duration", task.duration(now)),
        ("node", same("/container/meta/Node/Name")),
        ("executor", same(&format!("{needs}/executor"))),
        ("image", same("/container/image")),
        ("cores", same(&format!("{needs}/cpu"))),
        ("memory (GB)", same(&format!("{needs}/ram"))),
        ("gpus", Cell::same(above_zero(task.at(&format!("{needs}/gpus"))))),
        ("time limit", same(&format!("{needs}/time_limit"))),
        ("values", same(&format!("{needs}/array/values"))),
        ("children", Cell::same(above_zero(task.at(&format!("{needs}/array/nb_tasks"))))),
        ("children over", Cell::same(children_over(task))),
        ("labels", Cell::same(task.list(&format!("{needs}/label")))),
        ("after", Cell::same(task.list(&format!("{needs}/tasks")))),
        ("volumes", Cell::same(volumes(task))),
        ("ports", Cell::same(task.list("/container/ports"))),
        ("root", Cell::same(if task.at("/container/root") == true { "yes" } else { "" })),
        ("cpu time", cpu_time(task)),
        ("peak memory", peak(task)),
        ("failures", Cell::same(above_zero(task.at("/status/failure/count")))),
    ];
    all.into_iter().filter(|(_, cell)| !cell.plain.is_empty()).collect()
}

fn above_zero(value: &Value) -> String {
    value.as_u64().filter(|n| *n > 0).map(|n| n.to_string()).unwrap_or_default()
}

fn children_over(task: Task<'_>) -> String {
    if above_zero(task.at("/requirements/array/nb_tasks")).is_empty() {
        return String::new();
    }
    let over = task.text("/requirements/array/nb_tasks_over");
    match above_zero(task.at("/requirements/array/nb_tasks_failed")).as_str() {
        "" => over,
        failed => format!("{over} ({failed} failed)"),
    }
}

fn volumes(task: Task<'_>) -> String {
    let entries = task.at("/container/volumes").as_array().map(Vec::as_slice).unwrap_or_default();
    let volume = |entry: &Value| {
        let entry = Task(entry);
        format!("{}:{} at {}", entry.text("/name"), entry.text("/acl"), entry.text("/mount"))
    };
    entries.iter().map(volume).collect::<Vec<_>>().join(", ")
}

fn cpu_time(task: Task<'_>) -> Cell {
    match task.at("/container/meta/Usage/cpu_us").as_u64() {
        Some(us) => {
            let seconds = us as f64 / 1e6;
            Cell::each(format!("{seconds:.2} s"), format!("{seconds:.6}"))
        }
        None => Cell::default(),
    }
}

fn peak(task: Task<'_>) -> Cell {
    match task.at("/container/meta/Usage/max_rss").as_u64() {
        Some(bytes) => Cell::each(Bytes(bytes).to_string(), bytes.to_string()),
        None => Cell::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_empty_is_left_out() {
        let document = json!({
            "id": 60, "parent_task_id": null, "date": 1466000000.0, "user": {"id": "bob", "project": "default"},
            "meta": {"name": "align", "description": "", "tags": ["t1", "t2"]},
            "requirements": {"cpu": 1, "ram": 2, "gpus": 0, "label": [], "tasks": [3, "4"],
                "array": {"values": "4", "nb_tasks": 4, "nb_tasks_over": 2, "nb_tasks_failed": 1}},
            "container": {"root": false, "volumes": [{"name": "home", "acl": "rw", "mount": "/mnt/home"}],
                "meta": {"Usage": {"cpu_us": 1500000, "max_rss": 1048576}}},
            "status": {"primary": "over", "secondary": "", "reason": "", "exitcode": 0, "duration": 5.5}
        });
        let got: Vec<(&str, String)> =
            pairs(Task(&document), 0.0).into_iter().map(|(name, cell)| (name, cell.plain)).collect();
        let got: Vec<(&str, &str)> = got.iter().map(|(name, text)| (*name, text.as_str())).collect();
        assert_eq!(
            got,
            [
                ("id", "60"),
                ("name", "align"),
                ("tags", "t1,t2"),
                ("user", "bob"),
                ("project", "default"),
                ("state", "over"),
                ("exit code", "0"),
                ("submitted", "2016-06-15T14:13:20Z"),
                ("duration", "5"),
                ("cores", "1"),
                ("memory (GB)", "2"),
                ("values", "4"),
                ("children", "4"),
                ("children over", "2 (1 failed)"),
                ("after", "3,4"),
                ("volumes", "home:rw at /mnt/home"),
                ("cpu time", "1.500000"),
                ("peak memory", "1048576"),
            ]
        );
    }
}
