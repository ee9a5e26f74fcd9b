//! `godjob`.

use crate::args::{JobArgs, Volume};
use crate::client::{Api, garbled};
use crate::commands::{act, list, resolve_one, submit, wait};
use crate::failure::Failure;
use crate::ids::IdList;
use crate::nearest::propose;
use crate::old::args::{CreateArgs, GodJobCommand, OldListArgs};
use crate::output::{Cell, Column, Printer};
use crate::private::Temporary;
use crate::task::{Task, scalar};
use crate::view::{now, typed};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;

pub async fn run(command: &GodJobCommand, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let one = std::slice::from_ref;
    match command {
        GodJobCommand::Create(args) => create(args, api, printer).await,
        GodJobCommand::List(args) => list_tasks(args, api, printer).await,
        GodJobCommand::Show { id, xml } => show(id, *xml, api, printer).await,
        GodJobCommand::Search { pattern } => search(pattern, api, printer).await,
        GodJobCommand::Kill { id } => act::KILL.run(one(id), api, printer).await,
        GodJobCommand::Killall { tag } => act::kill_all(tag.as_deref(), api, printer).await,
        GodJobCommand::Suspend { id } => act::SUSPEND.run(one(id), api, printer).await,
        GodJobCommand::Resume { id } => act::RESUME.run(one(id), api, printer).await,
        GodJobCommand::Update { id, name, value } => {
            let id = resolve_one(api, id).await?.to_string();
            let ask = api.ask(Method::PUT, &["task", &id], format!("changing {name} of task {id}"));
            printer.json(&api.json(&ask.body(json!({"name": name, "value": value}))).await?)?;
            Ok(0)
        }
        GodJobCommand::Archive { id: Some(id), purge, .. } => {
            let action = if *purge { act::PURGE } else { act::ARCHIVE };
            action.run(one(id), api, printer).await
        }
        GodJobCommand::Archive { id: None, days, tag, purge } => {
            act::archive_older(days.unwrap_or(0), tag.as_deref(), *purge, api, printer).await
        }
    }
}

async fn create(args: &CreateArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let script = match (&args.script, &args.cmd) {
        (Some(path), _) => submit::read_script(path)?,
        (None, Some(cmd)) => submit::script_of(cmd)?,
        (None, None) if args.interactive => String::new(),
        (None, None) => {
            let text = "there is nothing to run: name a script with --script, or give --cmd or --interactive";
            return Err(Failure::Usage(text.to_owned()));
        }
    };
    let ask = api.get(&["config"], "reading the configuration of the server");
    let config = api.json(&ask).await?;
    if let Some(image) = args.image.as_ref().filter(|_| !args.external_image) {
        known_image(image, &config, api).await?;
    }
    let parents = args.parent.iter().map(|id| id.trim()).filter(|id| !id.is_empty());
    let after = parents
        .map(|id| id.parse::<IdList>().map_err(|err| Failure::Usage(format!("--parent: {err}"))))
        .collect::<Result<Vec<IdList>, Failure>>()?;
    let job = JobArgs {
        description: Some(args.description.clone()),
        tag: args.tags.iter().filter(|tag| !tag.is_empty()).cloned().collect(),
        project: args.project.clone(),
        image: args.image.clone(),
        cpu: args.cpu,
        ram: args.ram,
        gpus: args.gpus,
        array: args.array.clone(),
        after,
        label: args.label.clone(),
        volume: args.volume.iter().map(|name| volume(name, &config)).collect(),
        executor: args.placement.clone(),
        retry: args.retry,
        port: args.port.clone(),
        tmpstorage: args.tmp_storage.clone(),
        interactive: args.interactive,
        root: args.root,
        ..JobArgs::default()
    };
    let mut body = submit::body_of(&job, &args.name, &script, api).await?;
    if let Some(login) = &args.login {
        body["user"]["id"] = login.as_str().into();
    }
    let (id, _) = submit::submit_new(body, api).await?;
    printer.line(&format!("Task added. Job id is {id}"))?;
    if args.wait { wait::for_code(api, id).await } else { Ok(0) }
}

/// A volume with the rights that the site gives; the server makes them stricter where it must.
fn volume(name: &str, config: &Value) -> Volume {
    let offered = config["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let acl = offered.iter().find(|volume| volume["name"] == name).and_then(|volume| volume["acl"].as_str());
    Volume { name: name.to_owned(), writable: acl.is_none_or(|acl| acl == "rw") }
}

/// The check that saves people from a slip in the name of an image.
async fn known_image(image: &str, config: &Value, api: &Api) -> Result<(), Failure> {
    let offered = config["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut known: Vec<String> = offered.iter().map(|image| scalar(&image["url"])).collect();
    if known.iter().any(|known| known == image) {
        return Ok(());
    }
    let used = api.json(&api.get(&["image"], "listing images that were used")).await?;
    known.extend(crate::commands::site::urls(&used));
    if known.iter().any(|known| known == image) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "image {image:?} is neither offered nor was it used before{}. See godimage list, or take it with \
         --external_image",
        propose(image, known.iter().map(String::as_str))
    )))
}

async fn list_tasks(args: &OldListArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
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
    let ask = match &args.project {
        Some(project) => ask.query("project", project),
        None => ask,
    };
    let answer = api.json(&ask).await?;
    let tasks = answer.as_array().ok_or_else(|| garbled(&ask, "no list"))?;
    print(tasks, printer)
}

async fn search(pattern: &str, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let pattern = list::pattern(pattern)?;
    let active = api.get(&["task", "active"], "listing active tasks");
    let over = api.ask(Method::POST, &["task", "over", "0", "0"], "listing tasks that are over");
    let mut found = Vec::new();
    for ask in [active, over] {
        let answer = api.json(&ask).await?;
        let tasks = answer.as_array().ok_or_else(|| garbled(&ask, "no list"))?;
        found.extend(tasks.iter().filter(|task| list::matches(&pattern, &typed(task))).cloned());
    }
    print(&found, printer)
}

fn print(tasks: &[Value], printer: Printer) -> Result<u8, Failure> {
    let now = now();
    let row = |document: &Value| {
        let task = Task(document);
        let same = |path: &str| Cell::same(task.text(path));
        vec![
            same("/id"),
            same("/meta/name"),
            same("/user/id"),
            same("/user/project"),
            same("/container/image"),
            same("/requirements/cpu"),
            same("/requirements/ram"),
            same("/status/primary"),
            Cell::same(event(task)),
            task.time("/date"),
            task.duration(now),
        ]
    };
    let columns =
        ["id", "name", "user", "project", "image", "cpu", "ram", "status", "event", "submitted", "duration"]
            .map(Column::shown);
    printer.rows(&columns, &tasks.iter().map(row).collect::<Vec<_>>())?;
    Ok(0)
}

/// What is to be said of a task beside its state.
fn event(task: Task<'_>) -> String {
    let end = match task.at("/container/meta/State/ExitCode").as_i64() {
        Some(_) if !task.is_over() => "",
        Some(0) => "success",
        Some(137) => "warning",
        Some(_) => "error",
        None => "",
    };
    let words = [task.text("/status/secondary"), end.to_owned(), task.text("/container/status")];
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

async fn show(id: &IdList, xml: bool, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let id = resolve_one(api, id).await?.to_string();
    let document = api.json(&api.get(&["task", &id], format!("reading task {id}"))).await?;
    if xml {
        let path = Path::new("jobs_infos.xml");
        write(path, &to_xml(Task(&document)))?;
        printer.line(&format!("written: {}", path.display()))?;
        return Ok(0);
    }
    printer.pairs(&crate::commands::show::pairs(Task(&document), now()))?;
    Ok(0)
}

/// Puts a file in place whole, with the rights that files usually get.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::File { doing: "cannot write", path: path.to_owned(), source };
    let name = crate::private::random_hex().map_err(failed)?;
    let temporary = Temporary(Path::new(&format!(".jobs_infos.{name}")).to_owned());
    let mut file = temporary.create(0o666).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    std::fs::rename(&temporary.0, path).map_err(failed)
}

/// One element on each line, as scripts cut them out.
fn to_xml(task: Task<'_>) -> String {
    let fields = [
        ("id", task.text("/id")),
        ("name", task.text("/meta/name")),
        ("description", task.text("/meta/description")),
        ("tags", task.list("/meta/tags")),
        ("user", task.text("/user/id")),
        ("project", task.text("/user/project")),
        ("image", task.text("/container/image")),
        ("cpu", task.text("/requirements/cpu")),
        ("ram", task.text("/requirements/ram")),
        ("date", task.text("/date")),
        ("date_running", task.text("/status/date_running")),
        ("date_over", task.text("/status/date_over")),
        ("duration", task.text("/status/duration")),
        ("primary_status", task.text("/status/primary")),
        ("secondary_status", task.text("/status/secondary")),
        ("reason", task.text("/status/reason")),
        ("exitcode", task.text("/status/exitcode")),
        ("node", task.text("/container/meta/Node/Name")),
    ];
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<jobs_infos>\n<job_infos>\n");
    for (name, value) in fields {
        xml.push_str(&format!("<{name}>{}</{name}>\n", escaped(&value)));
    }
    xml.push_str("</job_infos>\n</jobs_infos>\n");
    xml
}

/// A text that is nothing but text, in one line.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in crate::text::line(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        let event = |status: Value, code: Value| {
            event(Task(
                &json!({"status": status, "container": {"meta": {"State": {"ExitCode": code}}, "status": ""}}),
            ))
        };
        assert_eq!(event(json!({"primary": "over", "secondary": ""}), json!(0)), "success");
        assert_eq!(event(json!({"primary": "over", "secondary": "killed"}), json!(137)), "killed warning");
        assert_eq!(event(json!({"primary": "over", "secondary": null}), json!(3)), "error");
        assert_eq!(event(json!({"primary": "running", "secondary": null}), json!(0)), "", "it has not ended");
        assert_eq!(
            event(json!({"primary": "running", "secondary": "kill requested"}), json!(null)),
            "kill requested"
        );
    }

    #[test]
    fn b5_xml_holds_text_and_nothing_else() {
        let document = json!({"id": 7, "meta": {"name": "a</name>\n<primary_status>over<\x1b[31m & b"},
            "status": {"primary": "running"}});
        let xml = to_xml(Task(&document));
        assert!(
            xml.contains("<name>a&lt;/name&gt; &lt;primary_status&gt;over&lt; &amp; b</name>\n"),
            "{xml}"
        );
        let cut: Vec<&str> = xml.lines().filter(|line| line.contains("primary_status>")).collect();
        assert_eq!(cut.last(), Some(&"<primary_status>running</primary_status>"), "{xml}");
        assert!(xml.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn a_volume_has_the_rights_that_the_site_gives() {
        let config = json!({"volumes": [{"name": "home", "acl": "rw"}, {"name": "data", "acl": "ro"}]});
        assert!(volume("home", &config).writable);
        assert!(!volume("data", &config).writable);
        assert!(volume("sea", &config).writable, "one of a project: the server knows");
    }
}
