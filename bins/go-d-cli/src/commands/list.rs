//! `list`: tasks in columns.

use crate::args::{Format, ListArgs};
use crate::client::{Api, Ask, garbled};
use crate::failure::Failure;
use crate::output::{Cell, Column, Printer};
use crate::task::Task;
use reqwest::Method;

pub async fn run(args: &ListArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let ask = ask(args, api);
    let answer = api.json(&ask).await?;
    let tasks = answer.as_array().ok_or_else(|| garbled(&ask, "no list"))?;
    if printer.format == Format::Json {
        printer.json(&answer)?;
        return Ok(0);
    }
    if printer.quiet {
        for task in tasks {
            printer.line(&Task(task).id().to_string())?;
        }
        return Ok(0);
    }
    let whose = args.all || args.project.is_some();
    let now = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
    let rows: Vec<Vec<Cell>> = tasks.iter().map(|task| row(Task(task), now)).collect();
    printer.rows(&columns(whose), &rows)?;
    Ok(0)
}

fn ask(args: &ListArgs, api: &Api) -> Ask {
    let (skip, limit) = (args.skip.to_string(), args.limit.to_string());
    let ask = match (args.over, args.all) {
        (false, false) => api.get(&["task", "active"], "listing active tasks"),
        (false, true) => api.get(&["task", "active", "all"], "listing active tasks of everybody"),
        (true, false) => {
            api.ask(Method::POST, &["task", "over", &skip, &limit], "listing tasks that are over")
        }
        (true, true) => {
            let parts = ["task", "over", "all", &skip, &limit];
            api.ask(Method::POST, &parts, "listing tasks of everybody that are over")
        }
    };
    match &args.project {
        Some(project) => ask.query("project", project),
        None => ask,
    }
}

/// The columns; plain output has them all, in this order, for ever.
fn columns(whose: bool) -> [Column; 13] {
    [
        Column("ID", true),
        Column("USER", whose),
        Column("PROJECT", whose),
        Column("NAME", true),
        Column("STATE", true),
        Column("DETAIL", true),
        Column("CODE", true),
        Column("CPU", true),
        Column("RAM", true),
        Column("SUBMITTED", true),
        Column("DURATION", true),
        Column("NODE", true),
        Column("REASON", true),
    ]
}

fn row(task: Task<'_>, now: f64) -> Vec<Cell> {
    let same = |path: &str| Cell::same(task.text(path));
    vec![
        same("/id"),
        same("/user/id"),
        same("/user/project"),
        same("/meta/name"),
        same("/status/primary"),
        same("/status/secondary"),
        same("/status/exitcode"),
        same("/requirements/cpu"),
        same("/requirements/ram"),
        task.time("/date"),
        task.duration(now),
        same("/container/meta/Node/Name"),
        same("/status/reason"),
    ]
}
