//! A list as users write it: one task on each line, as `submit` would take it, or one request body in JSON.

use crate::args::{Directives, JobArgs};
use crate::commands::submit;
use crate::directives;
use crate::failure::Failure;
use clap::Parser;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Most faults that are told at once.
const FAULTS: usize = 20;

/// A list that was read and understood.
#[derive(Debug)]
pub struct List {
    /// Its name: that of its file, without what follows the last dot.
    pub name: String,
    /// Its tasks, in their order.
    pub entries: Vec<Entry>,
}

/// One task of a list.
#[derive(Debug)]
pub struct Entry {
    /// Its line, from 1 on.
    pub line: usize,
    /// By what it is known again: the text of its line, and how many lines with the same text came before.
    pub key: String,
    /// Name of the task.
    pub name: String,
    /// What to submit.
    pub what: What,
}

/// What to submit.
#[derive(Debug)]
pub enum What {
    /// Options and a script.
    Job(Box<JobArgs>, String),
    /// A request body.
    Body(Box<Value>),
}

/// A line, as a command line without a program.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true, args_override_self = true)]
struct Line {
    script: Option<PathBuf>,
    #[arg(long, allow_hyphen_values = true, conflicts_with = "script")]
    cmd: Option<String>,
    #[arg(long, value_enum, default_value_t = Directives::God)]
    read: Directives,
    #[command(flatten)]
    job: JobArgs,
}

impl List {
    /// Reads a list and every script it names.
    ///
    /// # Errors
    /// [`Failure::File`]; [`Failure::Usage`] with all lines that cannot be read.
    pub fn read(path: &Path) -> Result<List, Failure> {
        let failed = |source| Failure::File { doing: "cannot read", path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = crate::text::line(&name);
        if name.is_empty() {
            return Err(Failure::Usage(format!("{} has no name that could be a tag", path.display())));
        }
        let dir = path.parent().unwrap_or(Path::new(""));
        List::parse(name, &text, dir, &path.display().to_string())
    }

    fn parse(name: String, text: &str, dir: &Path, what: &str) -> Result<List, Failure> {
        let mut common = JobArgs::default();
        let mut entries = Vec::new();
        let mut same: HashMap<&str, usize> = HashMap::new();
        let mut faults = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), at + 1);
            let options = line.strip_prefix("#GOD").filter(|rest| rest.starts_with([' ', '\t']));
            let read = match options {
                Some(options) => common_options(options).map(|job| {
                    common = job.or(std::mem::take(&mut common));
                    None
                }),
                None if line.is_empty() || line.starts_with('#') => Ok(None),
                None if line.starts_with('{') => body(line).map(Some),
                None => job(line, dir, &common).map(Some),
            };
            match read {
                Ok(None) => {}
                Ok(Some((name, what))) => {
                    let before = same.entry(line).or_insert(0);
                    *before += 1;
                    let key = format!("{before} {line}");
                    entries.push(Entry { line: number, key, name, what });
                }
                Err(why) => {
                    faults.push(format!("{what}, line {number}: {}", crate::text::short(&why, 600)));
                }
            }
        }
        if !faults.is_empty() {
            let more = faults.len().saturating_sub(FAULTS);
            faults.truncate(FAULTS);
            if more > 0 {
                faults.push(format!("and {more} more"));
            }
            return Err(Failure::Usage(faults.join("\n")));
        }
        if entries.is_empty() {
            return Err(Failure::Usage(format!("{what} holds no task")));
        }
        Ok(List { name, entries })
    }

    /// The tag of its tasks.
    pub fn tag(&self) -> String {
        format!("batch:{}", self.name)
    }
}

fn common_options(text: &str) -> Result<JobArgs, String> {
    directives::options(directives::words(text)?)
}

fn job(line: &str, dir: &Path, common: &JobArgs) -> Result<(String, What), String> {
    let words = directives::words(line)?;
    let line = Line::try_parse_from(words).map_err(|err| directives::brief(&err))?;
    let script = match (&line.script, &line.cmd) {
        (Some(path), _) if path.as_os_str() == "-" => {
            return Err("a list cannot read a script from standard input".to_owned());
        }
        (Some(path), _) => submit::read_script(&dir.join(path)).map_err(|failure| failure.to_string())?,
        (None, Some(cmd)) => submit::script_of(cmd).map_err(|failure| failure.to_string())?,
        (None, None) if line.job.interactive => String::new(),
        (None, None) => return Err("there is nothing to run: name a script, or give --cmd TEXT".to_owned()),
    };
    let own = line.script.as_ref().map_or_else(|| "--cmd".to_owned(), |path| path.display().to_string());
    let found = directives::read(&own, &script, line.read).map_err(|failure| failure.to_string())?;
    let job = line.job.or(found.job).or(common.clone());
    let name = submit::name(line.script.as_deref(), line.cmd.is_some(), &job, &script);
    Ok((name, What::Job(Box::new(job), script)))
}

/// A request body; what the server sets itself is taken out.
fn body(line: &str) -> Result<(String, What), String> {
    let mut body: Value = serde_json::from_str(line).map_err(|err| format!("no JSON: {err}"))?;
    let name = crate::task::scalar(&body["meta"]["name"]);
    if name.is_empty() {
        return Err("meta.name is missing".to_owned());
    }
    let project = body["user"]["project"].clone();
    if let Some(map) = body.as_object_mut() {
        for own in ["id", "date", "status", "parent_task_id", "_id", "user"] {
            map.remove(own);
        }
    }
    if project.is_string() {
        body["user"] = json!({"project": project});
    }
    Ok((crate::text::line(&name), What::Body(Box::new(body))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<List, String> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a.sh"), "#!/bin/sh\n#GOD --ram 7 --tag own\ntrue\n")
            .expect("written");
        List::parse("night".into(), text, dir.path(), "night.list").map_err(|failure| failure.to_string())
    }

    #[test]
    fn lines_are_tasks() {
        let list = parse(
            "# the night's work\n#GOD --cpu 2 --ram 3\n\na.sh --cpu 4\n--cmd 'sort big.txt' --name sort\n\
             {\"id\": 5, \"meta\": {\"name\": \"raw\"}, \"user\": {\"id\": \"x\", \"project\": \"sea\"}}\na.sh --cpu 4\n",
        )
        .expect("good lines");
        assert_eq!(list.tag(), "batch:night");
        let names: Vec<(usize, &str)> = list.entries.iter().map(|e| (e.line, e.name.as_str())).collect();
        assert_eq!(names, [(4, "a.sh"), (5, "sort"), (6, "raw"), (7, "a.sh")]);
        assert_eq!(list.entries[0].key, "1 a.sh --cpu 4");
        assert_eq!(list.entries[3].key, "2 a.sh --cpu 4");
        let What::Job(job, _) = &list.entries[0].what else { panic!("a job") };
        assert_eq!((job.cpu, job.ram), (Some(4), Some(7)), "line, then script, then list");
        let What::Job(job, script) = &list.entries[1].what else { panic!("a job") };
        assert_eq!((job.cpu, job.ram), (Some(2), Some(3)));
        assert_eq!(script, "#!/bin/sh\nsort big.txt\n");
        let What::Body(body) = &list.entries[2].what else { panic!("a body") };
        assert_eq!(**body, json!({"meta": {"name": "raw"}, "user": {"project": "sea"}}));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = parse("missing.sh\n--cmd true\n--cmd x --cpus 3\n{\"meta\": {}}\n--name x\n-\n")
            .expect_err("faults");
        for want in [
            "line 1: cannot read",
            "line 3: unexpected argument '--cpus'",
            "line 4: meta.name",
            "line 5: there",
            "line 6",
        ] {
            assert!(text.contains(want), "{want} is not in {text}");
        }
        assert!(!text.contains("line 2"), "{text}");
        assert!(parse("# nothing\n").expect_err("empty").contains("holds no task"));
    }
}
