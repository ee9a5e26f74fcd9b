//! Lists of tasks: read whole and checked first, then submitted a few at a time, with a file beside the list that says
//! how far it has got.

mod list;
mod log;
mod play;

pub use list::List;
pub use play::{Options, play};

use crate::args::{BatchArgs, BatchCommand};
use crate::client::Api;
use crate::credentials::Surroundings;
use crate::failure::Failure;
use crate::output::{Cell, Column, Printer};
use log::{Log, Stage};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

pub async fn run(command: &BatchCommand, around: &Surroundings, printer: Printer) -> Result<u8, Failure> {
    match command {
        BatchCommand::Play(args) => {
            let list = List::read(&args.list)?;
            let api = Api::new(around.credentials()?)?;
            play(&list, &options(args), &api, printer).await
        }
        BatchCommand::Status { list } => status(&List::read(list)?, &state_file(list), printer),
        BatchCommand::Check { list } => {
            let list = List::read(list)?;
            let names: Vec<Value> = list.entries.iter().map(|entry| json!(entry.name)).collect();
            if printer.is_json() {
                printer.json(&Value::Array(names))?;
            } else if !printer.quiet {
                printer.line(&format!("{} tasks, each can be read", list.entries.len()))?;
            }
            Ok(0)
        }
    }
}

fn options(args: &BatchArgs) -> Options {
    Options {
        parallel: args.parallel as usize,
        state: args.state.clone().unwrap_or_else(|| state_file(&args.list)),
        restart: args.restart,
        retry_failed: args.retry_failed,
        stop_on_failure: args.stop_on_failure,
    }
}

/// Where the progress of a list is kept.
pub fn state_file(list: &Path) -> PathBuf {
    let mut name = list.file_name().unwrap_or_default().to_owned();
    name.push(".state");
    list.with_file_name(name)
}

fn status(list: &List, file: &Path, printer: Printer) -> Result<u8, Failure> {
    let log = Log::read(file)?;
    let rows: Vec<(usize, &str, Stage)> =
        list.entries.iter().map(|entry| (entry.line, entry.name.as_str(), log.stage(&entry.key))).collect();
    if printer.is_json() {
        let rows = rows.iter().map(|(line, name, stage)| {
            json!({"line": line, "name": name, "state": stage.word(), "id": stage.id(), "exit_code": stage.code()})
        });
        printer.json(&rows.collect())?;
        return Ok(0);
    }
    let text = |value: Option<String>| Cell::same(value.unwrap_or_default());
    let row = |(line, name, stage): &(usize, &str, Stage)| {
        vec![
            Cell::same(line.to_string()),
            Cell::same(*name),
            Cell::same(stage.word()),
            text(stage.id().map(|id| id.to_string())),
            text(stage.code().map(|code| code.to_string())),
        ]
    };
    let columns = ["LINE", "NAME", "STATE", "ID", "CODE"].map(Column::shown);
    printer.rows(&columns, &rows.iter().map(row).collect::<Vec<_>>())?;
    Ok(0)
}
