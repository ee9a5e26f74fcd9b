//! `submit`: makes the body of a task from options and a script, sends it once whatever the network does, and waits for
//! its end when asked to.

use crate::args::{Format, SubmitArgs};
use crate::client::{Api, Ask, garbled};
use crate::commands::{Gone, resolve, wait};
use crate::failure::{Failure, complain};
use crate::follow::{self, Sink, Stream};
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
    let after = resolve(api, if args.after_ok.is_empty() { &args.after } else { &args.after_ok }).await?;
    let image = match &args.image {
        Some(image) => Some(image.clone()),
        None => default_image(api, args.interactive).await?,
    };
    let body = body(args, &name(args, &script), &script, &after, image.as_deref());
    let key = random_hex().map_err(|err| Failure::Usage(format!("cannot name the request: {err}")))?;
    let ask = api.ask(Method::POST, &["task"], "submitting the task").body(body);
    let ask = ask.header("idempotency-key", key);
    let answer = send(api, &ask).await?;
    let id = answer["id"].as_u64().ok_or_else(|| garbled(&ask, "no id in it"))?;
    let said = said(&answer, id, printer);
    if !args.follow {
        printer.line(&said)?;
        return if args.wait { wait::for_code(api, id).await } else { Ok(0) };
    }
    complain(&said);
    let show =
        |stream| follow::until_over(api, id, stream, Sink::new(stream, args.raw), Gone::after_an_answer());
    let both = async { tokio::try_join!(show(Stream::Out), show(Stream::Err)) };
    wait::or_interrupt(id, both).await?;
    wait::for_code(api, id).await
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
                complain(&format!("go-d-cli: {text}; asking again"));
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
    let Some(path) = &args.script else {
        let Some(cmd) = &args.cmd else { return Ok(String::new()) };
        let text = if cmd.starts_with("#!") { cmd.clone() } else { format!("#!/bin/sh\n{cmd}\n") };
        return if cmd.trim().is_empty() { Err(empty("the text after --cmd")) } else { Ok(text) };
    };
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
fn name(args: &SubmitArgs, script: &str) -> String {
    if let Some(name) = &args.name {
        return name.clone();
    }
    let word = match (&args.script, &args.cmd) {
        (Some(path), _) if path.as_os_str() == "-" => "stdin".to_owned(),
        (Some(path), _) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        (None, Some(_)) => {
            let lines = script.lines().filter(|line| !line.starts_with('#'));
            let word = lines.flat_map(str::split_whitespace).next().unwrap_or_default();
            word.rsplit('/').next().unwrap_or_default().to_owned()
        }
        (None, None) => "interactive".to_owned(),
    };
    let word = text::line(&word);
    if word.is_empty() { "task".to_owned() } else { word.chars().take(80).collect() }
}

/// Address of the image that the server offers as its default; a site without images has none and needs none.
async fn default_image(api: &Api, interactive: bool) -> Result<Option<String>, Failure> {
    let config = api.json(&api.get(&["config"], "reading the configuration of the server")).await?;
    let images = config["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    let default = |wanted: bool| {
        images.iter().find(|image| {
            image["default"] == true && (!wanted || image["interactive"] == true) && image["url"].is_string()
        })
    };
    let image = if interactive { default(true) } else { default(false) };
    Ok(image.and_then(|image| image["url"].as_str()).map(str::to_owned))
}

/// The body of the request. What was not asked for is not in it, so that the server's defaults hold.
fn body(args: &SubmitArgs, name: &str, script: &str, after: &[u64], image: Option<&str>) -> Value {
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
            name(&args, &script)
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
        let got = body(&args, "echo", &script(&args).expect("not empty"), &[], None);
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
