//! Commands that ask something of tasks: kill, suspend, resume, reschedule, replay, update, archive, purge. The server
//! notes the request; the daemons carry it out soon after.

use crate::args::{ArchiveArgs, FilterArgs, Format, KillArgs, PurgeArgs, StateWord, UpdateArgs};
use crate::client::{Api, garbled};
use crate::commands::{for_each, list, resolve};
use crate::failure::Failure;
use crate::ids::IdList;
use crate::output::Printer;
use crate::prompt;
use crate::text;
use crate::view::View;
use clap::ValueEnum as _;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashSet;

/// Something to ask of tasks.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Last part of the route, if it has one.
    route: Option<&'static str>,
    /// Ask to remove instead of to do.
    delete: bool,
    /// `killing`.
    doing: &'static str,
    /// `kill requested`.
    done: &'static str,
    /// The secondary status of a task that can not do it.
    rejected: &'static str,
}

/// Ends tasks.
pub const KILL: Action =
    Action { route: None, delete: true, doing: "killing", done: "kill requested", rejected: "kill rejected" };
/// Pauses tasks.
pub const SUSPEND: Action = Action {
    route: Some("suspend"),
    delete: false,
    doing: "suspending",
    done: "suspend requested",
    rejected: "suspend rejected",
};
/// Lets paused tasks go on.
pub const RESUME: Action = Action {
    route: Some("resume"),
    delete: false,
    doing: "resuming",
    done: "resume requested",
    rejected: "resume rejected",
};
/// Kills tasks and runs them again.
pub const RESCHEDULE: Action = Action {
    route: Some("reschedule"),
    delete: false,
    doing: "rescheduling",
    done: "reschedule requested",
    rejected: "reschedule rejected",
};

/// Hands the files of tasks that are over to the archive.
pub const ARCHIVE: Action = Action {
    route: Some("archive"),
    delete: false,
    doing: "archiving",
    done: "archive requested",
    rejected: "",
};
/// Removes tasks that are over, with their files.
pub const PURGE: Action =
    Action { route: Some("archive"), delete: true, doing: "purging", done: "purge requested", rejected: "" };

/// The server's words, or ours when it has none.
fn said(answer: &Value, own: &str) -> String {
    answer["msg"].as_str().map_or_else(|| own.to_owned(), |msg| text::short(msg, 500))
}

pub async fn kill(args: &KillArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    if !args.ids.is_empty() {
        return KILL.run(&args.ids, api, printer).await;
    }
    let plain =
        args.state.is_empty() && args.name.is_none() && args.project.is_none() && args.older.is_none();
    if args.mine || plain {
        return kill_all(args.tag.as_deref(), api, printer).await;
    }
    let filter = FilterArgs {
        state: args.state.iter().filter_map(|word| StateWord::from_str(word, true).ok()).collect(),
        tag: args.tag.clone(),
        name: args.name.clone(),
        project: args.project.clone(),
        user: Some(api.user().to_owned()),
        older: args.older,
        // The end of an array is the end of its children.
        no_children: true,
        ..FilterArgs::default()
    };
    let tasks = list::fetch(&filter, None, 0, api, |_| true).await?;
    let mut ids: Vec<u64> = tasks.iter().map(|task| View(task).id()).collect();
    ids.sort_unstable();
    if ids.is_empty() && !printer.quiet && !printer.is_json() {
        printer.line("there is no such task")?;
    }
    KILL.run_on(&ids, api, printer).await
}

/// Kills all active tasks of the user, or those with a tag.
///
/// # Errors
/// Whatever the request meets.
pub async fn kill_all(tag: Option<&str>, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let (what, doing) = match tag {
        Some(tag) => (format!("tasks with tag {tag}"), format!("killing the tasks with tag {tag}")),
        None => ("your tasks".to_owned(), "killing your tasks".to_owned()),
    };
    let mut ask = api.ask(Method::DELETE, &["user", api.user(), "task"], doing);
    if let Some(tag) = tag {
        ask = ask.query("tag", tag);
    }
    tell(&what, &api.json(&ask).await?, KILL.done, printer)
}

/// Prints an answer about several tasks.
fn tell(what: &str, answer: &Value, own: &str, printer: Printer) -> Result<u8, Failure> {
    match printer.format {
        Format::Json => printer.json(answer)?,
        _ if printer.quiet => {}
        _ => printer.line(&format!("{}: {}", text::line(what), said(answer, own)))?,
    }
    Ok(0)
}

pub async fn update(args: &UpdateArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let ids = resolve(api, std::slice::from_ref(&args.ids)).await?;
    let (answers, ended) = for_each(&ids, async |id| {
        let doing = format!("changing {} of task {id}", args.field);
        let body = json!({"name": args.field, "value": args.value});
        let answer = api.json(&api.ask(Method::PUT, &["task", &id.to_string()], doing).body(body)).await?;
        if printer.format != Format::Json && !printer.quiet {
            printer.line(&format!("task {id}: {}", said(&answer, "changed")))?;
        }
        Ok(answer)
    })
    .await;
    if printer.format == Format::Json {
        printer.json(&Value::Array(answers))?;
    }
    ended.map(|()| 0)
}

/// Submits copies; says their ids.
pub async fn replay(lists: &[IdList], api: &Api, printer: Printer) -> Result<u8, Failure> {
    let ids = resolve(api, lists).await?;
    let (answers, ended) = for_each(&ids, async |id| {
        let ask = api.get(&["task", &id.to_string(), "replay"], format!("copying task {id}"));
        let answer = api.json(&ask).await?;
        let copy = answer["id"].as_u64().ok_or_else(|| garbled(&ask, "no id in it"))?;
        match printer.format {
            Format::Json => {}
            _ if printer.quiet => printer.line(&copy.to_string())?,
            _ => printer.line(&format!("Task added. Job id is {copy}"))?,
        }
        Ok(answer)
    })
    .await;
    if printer.format == Format::Json {
        printer.json(&Value::Array(answers))?;
    }
    ended.map(|()| 0)
}

pub async fn archive(args: &ArchiveArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    match args.older {
        Some(days) => archive_older(days, None, false, api, printer).await,
        None => ARCHIVE.run(&args.ids, api, printer).await,
    }
}

pub async fn purge(args: &PurgeArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let what = match (args.older, &args.tag) {
        (Some(days), Some(tag)) => {
            format!("all your tasks with tag {tag} that have been over for {days} days")
        }
        (Some(days), None) => format!("all your tasks that have been over for {days} days"),
        (None, _) => {
            let lists: Vec<String> = args.ids.iter().map(ToString::to_string).collect();
            format!("task {}", lists.join(","))
        }
    };
    prompt::sure(&format!("Remove {what}, with all files?"), args.yes)?;
    match args.older {
        Some(days) => archive_older(days, args.tag.as_deref(), true, api, printer).await,
        None => PURGE.run(&args.ids, api, printer).await,
    }
}

/// Archives, or purges, the user's tasks that have been over for a time.
///
/// # Errors
/// Whatever the request meets.
pub async fn archive_older(
    days: u32,
    tag: Option<&str>,
    purge: bool,
    api: &Api,
    printer: Printer,
) -> Result<u8, Failure> {
    let (method, doing, own) = match purge {
        true => (Method::DELETE, "purging old tasks", PURGE.done),
        false => (Method::GET, "archiving old tasks", ARCHIVE.done),
    };
    let mut ask = api.ask(method, &["archive", &days.to_string()], doing);
    if let Some(tag) = tag {
        ask = ask.query("tag", tag);
    }
    tell(&format!("tasks over for more than {days} days"), &api.json(&ask).await?, own, printer)
}

impl Action {
    /// Asks it of each task.
    ///
    /// # Errors
    /// At least one was refused; the others were asked all the same.
    pub async fn run(self, lists: &[IdList], api: &Api, printer: Printer) -> Result<u8, Failure> {
        self.run_on(&resolve(api, lists).await?, api, printer).await
    }

    /// Asks it of each task.
    ///
    /// # Errors
    /// As [`Action::run`].
    pub async fn run_on(self, ids: &[u64], api: &Api, printer: Printer) -> Result<u8, Failure> {
        if let Some(code) = self.at_once(ids, api, printer).await? {
            return Ok(code);
        }
        let (answers, ended) = for_each(ids, async |id| {
            let number = id.to_string();
            let method = match (self.delete, self.route) {
                (true, _) => Method::DELETE,
                // Older servers take these as GET only.
                (false, Some("archive")) => Method::GET,
                (false, _) => Method::POST,
            };
            let mut parts = vec!["task", &number];
            parts.extend(self.route);
            let doing = format!("{} task {id}", self.doing);
            let answer = api.json(&api.ask(method, &parts, doing.clone())).await?;
            if !self.rejected.is_empty() && answer["status"]["secondary"] == self.rejected {
                return Err(Failure::Server { doing, text: said(&answer, self.rejected) });
            }
            match printer.format {
                Format::Json => {}
                _ if printer.quiet => {}
                _ => printer.line(&format!("task {id}: {}", said(&answer, self.done)))?,
            }
            Ok(answer)
        })
        .await;
        if printer.format == Format::Json {
            printer.json(&Value::Array(answers))?;
        }
        ended.map(|()| 0)
    }

    /// Kills many tasks with one question each thousand. `None` when they are to be asked for one by one: they are few,
    /// or one of them is not there or not ours, or the server is an older one.
    async fn at_once(self, ids: &[u64], api: &Api, printer: Printer) -> Result<Option<u8>, Failure> {
        if self.done != KILL.done || ids.len() < 3 || printer.is_json() {
            return Ok(None);
        }
        for some in ids.chunks(1000) {
            let doing = format!("killing {} tasks", some.len());
            let ask = api.ask_typed(Method::POST, &["tasks", "kill"], doing).body(json!({"ids": some}));
            let answer = match api.json(&ask).await {
                Ok(answer) => answer,
                Err(Failure::Missing { .. } | Failure::Refused { .. }) => return Ok(None),
                Err(failure) => return Err(failure),
            };
            let asked: HashSet<u64> =
                answer["ids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            for id in some.iter().filter(|_| !printer.quiet) {
                let said = if asked.contains(id) { "Task will be killed" } else { "Nothing to do" };
                printer.line(&format!("task {id}: {said}"))?;
            }
        }
        Ok(Some(0))
    }
}
