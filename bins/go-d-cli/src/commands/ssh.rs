//! `ssh`: how to log in to an interactive task that runs.

use crate::args::SshArgs;
use crate::client::Api;
use crate::commands::resolve_one;
use crate::failure::Failure;
use crate::output::{Cell, Printer};
use crate::task::Task;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where an interactive task listens.
#[derive(Debug, PartialEq, Eq)]
pub struct Door {
    /// The login.
    pub user: String,
    /// The node.
    pub host: String,
    /// The port on it.
    pub port: u16,
}

impl Door {
    /// Reads it from a task.
    ///
    /// # Errors
    /// [`Failure::Usage`] with what is missing.
    pub fn of(document: &Value) -> Result<Door, Failure> {
        let task = Task(document);
        let id = task.id();
        let no = |why: &str| Err(Failure::Usage(format!("task {id} cannot be logged in to: {why}")));
        if task.at("/command/interactive") != true {
            return no("it is not interactive. Submit one with --interactive");
        }
        let state = task.text("/status/primary");
        if state != "running" {
            return no(&format!("it does not run, it is {}", crate::text::short(&state, 40)));
        }
        // Names go to another program: only what a host and a login consist of, and no option.
        let plain = |text: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '@');
            !text.is_empty() && !text.starts_with('-') && text.chars().all(allowed)
        };
        let host = task.text("/container/meta/Node/Name");
        if !plain(&host) {
            return no("the server does not say on which node it runs");
        }
        let user = if task.at("/container/root") == true { "root".to_owned() } else { task.text("/user/id") };
        if !plain(&user) || user.contains('@') {
            return no("the server does not say as whom");
        }
        let first = task.at("/container/ports").get(0).map(crate::task::scalar).unwrap_or_default();
        match first.parse() {
            Ok(port) if port > 0 => Ok(Door { user, host, port }),
            _ => no("it has no port yet. Try again in a moment"),
        }
    }

    /// The command's words.
    pub fn words(&self) -> [String; 4] {
        ["ssh".to_owned(), "-p".to_owned(), self.port.to_string(), format!("{}@{}", self.user, self.host)]
    }
}

pub async fn run(args: &SshArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let id = resolve_one(api, &args.id).await?;
    let document = api.json(&api.get(&["task", &id.to_string()], format!("asking about task {id}"))).await?;
    let door = Door::of(&document)?;
    let [program, rest @ ..] = door.words();
    if args.run {
        let source = Command::new(&program).args(&rest).exec();
        return Err(Failure::File { doing: "cannot start", path: program.into(), source });
    }
    if printer.is_json() {
        printer.json(&json!({"user": door.user, "host": door.host, "port": door.port}))?;
    } else if printer.is_table() {
        printer.line(&door.words().join(" "))?;
    } else {
        let port = door.port.to_string();
        let pairs = [("user", door.user.as_str()), ("host", &door.host), ("port", &port)];
        printer.pairs(&pairs.map(|(name, value)| (name, Cell::same(value))))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(host: &str, user: &str, ports: Value) -> Value {
        json!({"id": 7, "user": {"id": user}, "command": {"interactive": true}, "status": {"primary": "running"},
            "container": {"ports": ports, "meta": {"Node": {"Name": host}}}})
    }

    #[test]
    fn a_door_is_user_host_and_port() {
        let door = Door::of(&task("node-1", "ada", json!(["10022"]))).expect("all there");
        assert_eq!(door.words().join(" "), "ssh -p 10022 ada@node-1");
        let mut root = task("node-1", "ada", json!([10022]));
        root["container"]["root"] = true.into();
        assert_eq!(Door::of(&root).expect("all there").user, "root");
    }

    #[test]
    fn b5_a_name_never_becomes_an_option_or_a_command() {
        for (host, user) in [
            ("-oProxyCommand=x", "ada"),
            ("n;id", "ada"),
            ("n", "-l"),
            ("n", "a b"),
            ("", "a"),
            ("n\x1b", "a"),
        ] {
            Door::of(&task(host, user, json!(["22"]))).expect_err(host);
        }
        for ports in [json!([]), json!(["0"]), json!(["x"]), json!(null), json!(["70000"])] {
            Door::of(&task("n", "ada", ports)).expect_err("no port");
        }
    }
}
