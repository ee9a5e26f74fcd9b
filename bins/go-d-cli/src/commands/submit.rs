//! `submit` and `run`: make the body of a task from options and a script, send it once whatever the network does, and
//! wait for its end when asked to.

use crate::args::{Format, JobArgs, RunArgs, SubmitArgs};
use crate::client::{Api, Ask, garbled};
use crate::commands::{attach, people, resolve, wait};
use crate::directives;
use crate::failure::{Failure, complain, warn};
use crate::nearest::propose;
use crate::output::{Printer, json_text};
use crate::private::random_hex;
use crate::text;
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

/// How often a submit whose answer was lost is sent again. The server knows it by its key and makes one task.
const REPEATS: u32 = 3;
/// Pause before that.
const PAUSE: Duration = Duration::from_millis(500);

pub async fn run(args: &SubmitArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let script = script(args)?;
    let source = args.script.as_deref().map_or_else(|| "--cmd".to_owned(), |path| path.display().to_string());
    let found = directives::read(&source, &script, args.read)?;
    for option in &found.ignored {
        warn(&format!("{option} has no counterpart here and is left out"));
    }
    let job = args.job.clone().or(found.job);
    check(args, &job)?;
    let name = name(args.script.as_deref(), args.cmd.is_some(), &job, &script);
    if args.dry_run {
        let body = body_of(&job, &name, &script, api).await?;
        printer.json(&body)?;
        return Ok(0);
    }
    let (id, answer) = submit(&job, &name, &script, api).await?;
    let said = said(&answer, id, printer);
    if !args.follow {
        printer.line(&said)?;
        return if args.wait { wait::for_code(api, id).await } else { Ok(0) };
    }
    complain(&said);
    attach::until_over(api, id, args.raw).await
}

/// What clap cannot see, because it may stand in the script.
fn check(args: &SubmitArgs, job: &JobArgs) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    if args.follow && (job.output_none || job.array.is_some()) {
        return usage(
            "--follow shows the output of one task that has some: it does not go with --output-none or --array",
        );
    }
    if args.script.is_none() && args.cmd.is_none() && !job.interactive {
        return usage("there is nothing to run: name a script, or give --cmd TEXT");
    }
    Ok(())
}

/// `run`: one command, with its arguments as they were typed here.
pub async fn one_command(args: &RunArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let words = shlex::try_join(args.command.iter().map(String::as_str))
        .map_err(|_| Failure::Usage("an argument holds a zero byte, which no command can take".to_owned()))?;
    let script = format!("#!/bin/sh\nexec {words}\n");
    if args.job.output_none || args.job.array.is_some() || args.job.interactive {
        let text = "run shows the output of one task: it does not go with --output-none, --array or --interactive. \
                    Use submit";
        return Err(Failure::Usage(text.to_owned()));
    }
    let word = args.command.first().map(String::as_str).unwrap_or_default();
    let name =
        args.job.name.clone().unwrap_or_else(|| plain_name(word.rsplit('/').next().unwrap_or_default()));
    let (id, answer) = submit(&args.job, &name, &script, api).await?;
    if !printer.quiet {
        complain(&said(&answer, id, printer));
    }
    attach::until_over(api, id, args.raw).await
}

/// Submits a task; gives its id and the server's answer.
///
/// # Errors
/// Whatever the request meets; [`Failure::Lost`] when it is not known whether there is a task now.
pub async fn submit(job: &JobArgs, name: &str, script: &str, api: &Api) -> Result<(u64, Value), Failure> {
    submit_new(body_of(job, name, script, api).await?, api).await
}

/// Sends a body as a new task.
///
/// # Errors
/// As [`submit`].
pub async fn submit_new(body: Value, api: &Api) -> Result<(u64, Value), Failure> {
    let key = random_hex().map_err(|err| Failure::Usage(format!("cannot name the request: {err}")))?;
    submit_once(body, key, api).await
}

/// Sends a body under a key; the same key never makes a second task.
///
/// # Errors
/// As [`submit`].
pub async fn submit_once(body: Value, key: String, api: &Api) -> Result<(u64, Value), Failure> {
    let ask = api.ask(Method::POST, &["task"], "submitting the task").body(body);
    let ask = ask.header("idempotency-key", key);
    let answer = send(api, &ask).await?;
    let id = answer["id"].as_u64().ok_or_else(|| garbled(&ask, "no id in it"))?;
    Ok((id, answer))
}

/// The body for a job, with what only the server knows looked up.
///
/// # Errors
/// A task to wait for that does not exist; whatever a request meets.
pub async fn body_of(job: &JobArgs, name: &str, script: &str, api: &Api) -> Result<Value, Failure> {
    let after = resolve(api, if job.after_ok.is_empty() { &job.after } else { &job.after_ok }).await?;
    let config = match (&job.image, &job.volume[..]) {
        (Some(_), []) => Value::Null,
        _ => api.json(&api.get(&["config"], "reading the configuration of the server")).await?,
    };
    let image = job.image.clone().or_else(|| default_image(&config, job.interactive));
    unknown_volumes(job, &config, api).await?;
    Ok(body(job, name, script, &after, image.as_deref()))
}

/// What is printed about the new task. The words of the default are those that scripts look for.
fn said(answer: &Value, id: u64, printer: Printer) -> String {
    match printer.format {
        Format::Json => json_text(answer),
        _ if printer.quiet => id.to_string(),
        _ => format!("Task added. Job id is {id}"),
    }
}

/// Sends it, and sends it again when the connection broke before the answer had come.
async fn send(api: &Api, ask: &Ask) -> Result<Value, Failure> {
    let mut repeats = 0;
    loop {
        match api.json(ask).await {
            Err(Failure::Lost(text)) if repeats < REPEATS => {
                warn(&format!("{text}; asking again"));
                repeats += 1;
            }
            // It went away after it may have got the task, and is not back yet.
            Err(Failure::Unreachable(_)) if repeats > 0 && repeats < REPEATS => repeats += 1,
            Err(Failure::Lost(text) | Failure::Unreachable(text)) if repeats > 0 => {
                return Err(Failure::Lost(format!(
                    "{text}. Whether the task was added is not known: look with go-d-cli list"
                )));
            }
            answer => return answer,
        }
        tokio::time::sleep(PAUSE * repeats).await;
    }
}

fn script(args: &SubmitArgs) -> Result<String, Failure> {
    match (&args.script, &args.cmd) {
        (Some(path), _) => read_script(path),
        (None, Some(cmd)) => script_of(cmd),
        (None, None) => Ok(String::new()),
    }
}

/// A shell text as a script.
///
/// # Errors
/// [`Failure::Usage`] when it is empty.
pub fn script_of(cmd: &str) -> Result<String, Failure> {
    let text = if cmd.starts_with("#!") { cmd.to_owned() } else { format!("#!/bin/sh\n{cmd}\n") };
    if cmd.trim().is_empty() { Err(empty("the text after --cmd")) } else { Ok(text) }
}

/// The script in a file; `-` is standard input.
///
/// # Errors
/// [`Failure::File`], or [`Failure::Usage`] when it is no text or empty.
pub fn read_script(path: &Path) -> Result<String, Failure> {
    let from_stdin = path.as_os_str() == "-";
    let what = if from_stdin { Path::new("standard input") } else { path };
    let read = if from_stdin {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(path)
    };
    let bytes =
        read.map_err(|source| Failure::File { doing: "cannot read", path: what.to_owned(), source })?;
    text_of(&what.display().to_string(), bytes)
}

fn text_of(what: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    let text = String::from_utf8(bytes).map_err(|err| {
        let at = err.utf8_error().valid_up_to();
        let line = err.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::Usage(format!(
            "{what} is no UTF-8 text (line {line}, byte {at}). A script is text; submit a script that runs the \
             program, or convert it: iconv -t UTF-8"
        ))
    })?;
    if text.trim().is_empty() { Err(empty(what)) } else { Ok(text) }
}

fn empty(what: &str) -> Failure {
    Failure::Usage(format!("{what} is empty: there is nothing to run"))
}

/// The name of the task: as given, else that of the script's file, else the command's first word.
pub fn name(path: Option<&Path>, has_cmd: bool, job: &JobArgs, script: &str) -> String {
    if let Some(name) = &job.name {
        return name.clone();
    }
    let word = match (path, has_cmd) {
        (Some(path), _) if path.as_os_str() == "-" => "stdin".to_owned(),
        (Some(path), _) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        (None, true) => {
            let lines = script.lines().filter(|line| !line.starts_with('#'));
            let word = lines.flat_map(str::split_whitespace).next().unwrap_or_default();
            word.rsplit('/').next().unwrap_or_default().to_owned()
        }
        (None, false) => "interactive".to_owned(),
    };
    plain_name(&word)
}

fn plain_name(word: &str) -> String {
    let word = text::line(word);
    if word.is_empty() { "task".to_owned() } else { word.chars().take(80).collect() }
}

/// Warns of volumes that nobody offers: a server leaves them out without a word.
async fn unknown_volumes(job: &JobArgs, config: &Value, api: &Api) -> Result<(), Failure> {
    let names = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|volume| crate::task::scalar(&volume["name"])).collect()
    };
    // A server that does not say what it offers knows best.
    if !config["volumes"].is_array() {
        return Ok(());
    }
    let mut known = names(&config["volumes"]);
    if job.volume.iter().all(|volume| known.contains(&volume.name)) {
        return Ok(());
    }
    for project in people::projects_of(api, api.user()).await? {
        known.extend(names(&project["volumes"]));
    }
    for volume in job.volume.iter().filter(|volume| !known.contains(&volume.name)) {
        let name = text::short(&volume.name, 100);
        let proposal = propose(&name, known.iter().map(String::as_str));
        warn(&format!("warning: no volume {name:?} is offered, so it will be left out{proposal}"));
    }
    Ok(())
}

/// Address of the image that the server offers as its default; a site without images has none and needs none.
fn default_image(config: &Value, interactive: bool) -> Option<String> {
    let images = config["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    let default = |image: &&Value| {
        image["default"] == true && (!interactive || image["interactive"] == true) && image["url"].is_string()
    };
    images.iter().find(default).and_then(|image| image["url"].as_str()).map(str::to_owned)
}

/// The body of the request. What was not asked for is not in it, so that the server's defaults hold.
fn body(args: &JobArgs, name: &str, script: &str, after: &[u64], image: Option<&str>) -> Value {
    let mut needs = Map::new();
    let mut need = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            needs.insert(name.to_owned(), value);
        }
    };
    need("cpu", args.cpu.map(Value::from));
    need("ram", args.ram.map(Value::from));
    need("gpus", args.gpus.map(Value::from));
    need("array", args.array.as_ref().map(|array| json!({"values": array.to_string()})));
    need("label", (!args.label.is_empty()).then(|| json!(args.label)));
    need("tasks", (!after.is_empty()).then(|| json!(after)));
    need("after_policy", (!args.after_ok.is_empty()).then(|| "ok".into()));
    need("executor", args.executor.as_deref().map(Value::from));
    need("time_limit", args.time_limit.as_deref().map(Value::from));
    need(god_core::warning::WARN_FIELD, args.signal.as_deref().map(Value::from));
    need("failure_policy", args.retry.map(Value::from));
    need("ports", (!args.port.is_empty()).then(|| json!(args.port)));
    need("network", args.network.as_deref().map(Value::from));
    need("output", args.output_none.then(|| "none".into()));
    need("tmpstorage", args.tmpstorage.as_ref().map(|size| json!({"size": size})));
    let volumes = args.volume.iter().map(|volume| {
        let acl = if volume.writable { "rw" } else { "ro" };
        json!({"name": volume.name, "acl": acl})
    });
    let mut container = json!({"volumes": volumes.collect::<Vec<_>>(), "root": args.root});
    if let Some(image) = image {
        container["image"] = image.into();
    }
    let mut body = json!({
        "meta": {"name": name, "description": args.description.as_deref().unwrap_or_default(), "tags": args.tag},
        "requirements": needs,
        "container": container,
        "command": {"interactive": args.interactive, "cmd": script},
        "notify": {"email": args.notify},
    });
    if let Some(project) = &args.project {
        body["user"] = json!({"project": project});
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    fn args(line: &[&str]) -> SubmitArgs {
        let words = ["go-d-cli", "submit"].iter().chain(line);
        match Cli::try_parse_from(words).expect("a good command line").command {
            Command::Submit(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn names() {
        let named = |line: &[&str]| {
            let args = args(line);
            let script = args.cmd.as_ref().map(|_| script(&args).expect("not empty")).unwrap_or_default();
            name(args.script.as_deref(), args.cmd.is_some(), &args.job, &script)
        };
        assert_eq!(named(&["dir/align.sh"]), "align.sh");
        assert_eq!(named(&["dir/align.sh", "--name", "x"]), "x");
        assert_eq!(named(&["-"]), "stdin");
        assert_eq!(named(&["--cmd", "  /usr/bin/blast -q x | sort"]), "blast");
        assert_eq!(named(&["--cmd", "#!/bin/bash\n# why\nrun it"]), "run");
        assert_eq!(named(&["--cmd", "#only a comment"]), "task");
        assert_eq!(named(&["--interactive"]), "interactive");
        assert_eq!(named(&["e\x1b[31mvil\x07.sh"]), "evil.sh");
    }

    #[test]
    fn a_body_holds_what_was_asked_and_nothing_else() {
        let args = args(&["--cmd", "echo hi"]);
        let got = body(&args.job, "echo", &script(&args).expect("not empty"), &[], None);
        let want = json!({
            "meta": {"name": "echo", "description": "", "tags": []},
            "requirements": {},
            "container": {"volumes": [], "root": false},
            "command": {"interactive": false, "cmd": "#!/bin/sh\necho hi\n"},
            "notify": {"email": false},
        });
        assert_eq!(got, want);
    }

    #[test]
    fn a_program_is_no_script() {
        let text = text_of("a.out", b"#!/bin/sh\necho \xff".to_vec()).expect_err("not text").to_string();
        assert!(text.contains("a.out is no UTF-8 text (line 2, byte 15)"), "{text}");
        text_of("x", b" \n".to_vec()).expect_err("empty");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            &["a.sh", "--cmd", "x"][..],
            &[],
            &["a.sh", "--after", "1", "--after-ok", "2"],
            &["a.sh", "--follow", "--output-none"],
            &["a.sh", "--follow", "--array", "3"],
            &["a.sh", "--array", "3:1"],
            &["a.sh", "--time-limit", "tomorrow"],
            &["a.sh", "--cpu", "0"],
            &["a.sh", "--volume", "home:x"],
        ] {
            let words = ["go-d-cli", "submit"].iter().chain(line);
            Cli::try_parse_from(words).expect_err(&line.join(" "));
        }
    }
}
