//! Commands that ask something of tasks: kill, suspend, resume, reschedule. The server notes the request; the watcher
//! carries it out soon after.

use crate::args::{Format, KillArgs};
use crate::client::Api;
use crate::commands::{for_each, resolve};
use crate::failure::Failure;
use crate::ids::IdList;
use crate::output::Printer;
use crate::text;
use reqwest::Method;
use serde_json::Value;

/// Something to ask of tasks.
#[derive(Debug, Clone, Copy)]
pub struct Action {
    /// Last part of the route; none for a kill.
    route: Option<&'static str>,
    /// `killing`.
    doing: &'static str,
    /// `kill requested`.
    done: &'static str,
    /// The secondary status of a task that can not do it.
    rejected: &'static str,
}

const KILL: Action =
    Action { route: None, doing: "killing", done: "kill requested", rejected: "kill rejected" };
/// Pauses tasks.
pub const SUSPEND: Action = Action {
    route: Some("suspend"),
    doing: "suspending",
    done: "suspend requested",
    rejected: "suspend rejected",
};
/// Lets paused tasks go on.
pub const RESUME: Action = Action {
    route: Some("resume"),
    doing: "resuming",
    done: "resume requested",
    rejected: "resume rejected",
};
/// Kills tasks and runs them again.
pub const RESCHEDULE: Action = Action {
    route: Some("reschedule"),
    doing: "rescheduling",
    done: "reschedule requested",
    rejected: "reschedule rejected",
};

/// The server's words, or ours when it has none.
fn said(answer: &Value, own: &str) -> String {
    answer["msg"].as_str().map_or_else(|| own.to_owned(), |msg| text::short(msg, 500))
}

pub async fn kill(args: &KillArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let Some(tag) = &args.tag else { return KILL.run(&args.ids, api, printer).await };
    let doing = format!("killing the tasks with tag {tag}");
    let ask = api.ask(Method::DELETE, &["user", api.user(), "task"], doing).query("tag", tag);
    let answer = api.json(&ask).await?;
    match printer.format {
        Format::Json => printer.json(&answer)?,
        _ if printer.quiet => {}
        _ => printer.line(&format!("tasks with tag {tag}: {}", said(&answer, KILL.done)))?,
    }
    Ok(0)
}

impl Action {
    /// Asks it of each task.
    ///
    /// # Errors
    /// At least one was refused; the others were asked all the same.
    pub async fn run(self, lists: &[IdList], api: &Api, printer: Printer) -> Result<u8, Failure> {
        let ids = resolve(api, lists).await?;
        let (answers, ended) = for_each(&ids, async |id| {
            let number = id.to_string();
            let method = if self.route.is_some() { Method::POST } else { Method::DELETE };
            let mut parts = vec!["task", &number];
            parts.extend(self.route);
            let doing = format!("{} task {id}", self.doing);
            let answer = api.json(&api.ask(method, &parts, doing.clone())).await?;
            if answer["status"]["secondary"] == self.rejected {
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
}
