//! `list` and `search`: tasks in columns.

use crate::args::{ACTIVE, ENDED, Field, FilterArgs, ListArgs, SearchArgs, Sort};
use crate::client::{Api, garbled};
use crate::failure::Failure;
use crate::output::{Cell, Column, Printer};
use crate::view::{View, heading, now, typed};
use god_core::units::Seconds;
use reqwest::Method;
use serde_json::Value;

/// Most tasks of one question; more come page by page.
const PAGE: u64 = 1000;

/// The columns unless others are asked for, and whether tables show them without being asked; plain output has them all,
/// in this order.
const COLUMNS: [(Field, Shown); 13] = [
    (Field::Id, Shown::Always),
    (Field::User, Shown::OfOthers),
    (Field::Project, Shown::OfOthers),
    (Field::Name, Shown::Always),
    (Field::State, Shown::Always),
    (Field::Outcome, Shown::Always),
    (Field::Code, Shown::Always),
    (Field::Cpu, Shown::Always),
    (Field::Ram, Shown::Always),
    (Field::Submitted, Shown::Always),
    (Field::Duration, Shown::Always),
    (Field::Node, Shown::Always),
    (Field::Reason, Shown::Always),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    /// When tasks of other people may be among them.
    OfOthers,
}

pub async fn run(args: &ListArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let tasks = fetch(&args.filter, args.sort, args.limit, api, |_| true).await?;
    print(args, &tasks, printer)
}

pub async fn search(args: &SearchArgs, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let pattern = pattern(&args.pattern)?;
    let mut list =
        ListArgs { filter: args.list.filter.clone(), columns: args.list.columns.clone(), ..args.list };
    if list.filter.state.is_empty() && !list.filter.over {
        list.filter.state.push(crate::args::StateWord::Any);
    }
    let found = |task: &Value| matches(&pattern, task);
    let tasks = fetch(&list.filter, list.sort, list.limit, api, found).await?;
    print(&list, &tasks, printer)
}

/// A regular expression as typed.
///
/// # Errors
/// [`Failure::Usage`] with what is wrong about it.
pub fn pattern(text: &str) -> Result<regex_lite::Regex, Failure> {
    regex_lite::Regex::new(text).map_err(|err| {
        Failure::Usage(format!("{:?} is no regular expression: {err}", crate::text::short(text, 200)))
    })
}

/// Whether something by which people know a task matches.
pub fn matches(pattern: &regex_lite::Regex, task: &Value) -> bool {
    let task = View(task);
    let texts = ["name", "description", "image", "id"].into_iter().map(|name| task.text(name));
    texts.chain(task.tags()).any(|text| pattern.is_match(&text))
}

fn print(args: &ListArgs, tasks: &[Value], printer: Printer) -> Result<u8, Failure> {
    if printer.is_json() {
        printer.json(&Value::Array(tasks.to_vec()))?;
        return Ok(0);
    }
    if printer.quiet {
        for task in tasks {
            printer.line(&View(task).id().to_string())?;
        }
        return Ok(0);
    }
    let others = args.filter.all || args.filter.project.is_some() || args.filter.user.is_some();
    let columns: Vec<(Field, bool)> = if args.columns.is_empty() {
        COLUMNS.iter().map(|(field, shown)| (*field, others || *shown == Shown::Always)).collect()
    } else {
        args.columns.iter().map(|field| (*field, true)).collect()
    };
    let now = now();
    let row = |task: &Value| -> Vec<Cell> {
        columns.iter().map(|(field, _)| View(task).cell(*field, now)).collect()
    };
    let headings: Vec<Column> =
        columns.iter().map(|(field, shown)| Column(heading(*field).into(), *shown)).collect();
    printer.rows(&headings, &tasks.iter().map(row).collect::<Vec<_>>())?;
    Ok(0)
}

/// The tasks meant, in order, at most `limit` (0: all). `also` is asked about each; it sees every field there is.
///
/// # Errors
/// Whatever a request meets.
pub async fn fetch(
    filter: &FilterArgs,
    sort: Option<Sort>,
    limit: u64,
    api: &Api,
    also: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>, Failure> {
    let now = now();
    let wanted = |task: &Value| wanted(filter, task) && also(task);
    let of_age = |task: &Value| of_age(filter, task, now);
    // An order of ours needs all of them; the server's own order is by id, the newest first.
    let enough = if sort.is_some() || limit == 0 { u64::MAX } else { limit };
    let mut tasks = match new_list(filter, enough, api, &wanted).await? {
        Some(tasks) => tasks,
        None => {
            old_list(filter, api).await?.into_iter().filter(|task| wanted(task) && of_age(task)).collect()
        }
    };
    match sort {
        Some(Sort { field, down }) => tasks.sort_by(|a, b| {
            let order = View(a).compare(View(b), field, now);
            if down { order.reverse() } else { order }
        }),
        None => tasks.sort_by_key(|task| std::cmp::Reverse(View(task).id())),
    }
    if limit > 0 {
        tasks.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    Ok(tasks)
}

/// What a server may not have left out already.
fn wanted(filter: &FilterArgs, task: &Value) -> bool {
    let view = View(task);
    let states = filter.states();
    let is = |name: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|w| view.text(name) == *w);
    let outcome = view.text("outcome");
    states.iter().any(|state| view.text("state") == *state)
        && is("project", &filter.project)
        && is("user", &filter.user)
        && filter.tag.as_ref().is_none_or(|tag| view.tags().contains(tag))
        && filter.name.as_ref().is_none_or(|part| view.text("name").contains(part.as_str()))
        && (filter.outcome.is_empty() || filter.outcome.iter().any(|word| word.word() == outcome))
        && !(filter.no_children && view.0["parent"].is_u64())
}

/// By our clock; the typed interface goes by the server's.
fn of_age(filter: &FilterArgs, task: &Value, now: f64) -> bool {
    let age = View(task).number("submitted").map(|at| now - at);
    filter.since.is_none_or(|span| age.is_none_or(|age| age <= span.0 as f64))
        && filter.older.is_none_or(|span| age.is_some_and(|age| age > span.0 as f64))
}

/// From the typed interface; `None` when the server has none.
async fn new_list(
    filter: &FilterArgs,
    enough: u64,
    api: &Api,
    wanted: &impl Fn(&Value) -> bool,
) -> Result<Option<Vec<Value>>, Failure> {
    let mut ask = api.get_typed(&["tasks"], "listing tasks").query("state", &filter.states().join(","));
    let own = (!filter.all && filter.project.is_none()).then(|| api.user().to_owned());
    let user = filter.user.clone().or(own);
    let outcomes: Vec<String> = filter.outcome.iter().map(|word| word.word()).collect();
    let seconds = |span: &Seconds| format!("{}s", span.0);
    let given = [
        ("user", user),
        ("project", filter.project.clone()),
        ("tag", filter.tag.clone()),
        ("name", filter.name.clone()),
        ("outcome", (!outcomes.is_empty()).then(|| outcomes.join(","))),
        ("newer", filter.since.as_ref().map(seconds)),
        ("older", filter.older.as_ref().map(seconds)),
        ("children", filter.no_children.then(|| "false".to_owned())),
    ];
    for (name, value) in &given {
        if let Some(value) = value {
            ask = ask.query(name, value);
        }
    }
    ask = ask.query("limit", &PAGE.min(enough).to_string()).query("sort", "-id");
    let mut tasks = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = match &cursor {
            Some(cursor) => ask.clone().query("after", cursor),
            None => ask.clone(),
        };
        let Some(answer) = api.json_if_there(&page).await? else {
            return if cursor.is_none() { Ok(None) } else { Err(garbled(&page, "the list broke off")) };
        };
        let found = answer["tasks"].as_array().ok_or_else(|| garbled(&page, "no list of tasks"))?;
        tasks.extend(found.iter().filter(|task| wanted(task)).cloned());
        let next = Some(crate::task::scalar(&answer["next"])).filter(|next| !next.is_empty());
        if next.is_none() || tasks.len() as u64 >= enough {
            return Ok(Some(tasks));
        }
        if next == cursor {
            return Err(garbled(&page, "the list does not go on"));
        }
        cursor = next;
    }
}

/// From the older lists, which know states by two words only.
async fn old_list(filter: &FilterArgs, api: &Api) -> Result<Vec<Value>, Failure> {
    let states = filter.states();
    let everybody = filter.all || filter.user.is_some();
    let mut asks = Vec::new();
    if states.iter().any(|state| ENDED.contains(state)) {
        let parts: &[&str] =
            if everybody { &["task", "over", "all", "0", "0"] } else { &["task", "over", "0", "0"] };
        asks.push(api.ask(Method::POST, parts, "listing tasks that are over"));
    }
    if states.iter().any(|state| ACTIVE.contains(state)) {
        let parts: &[&str] = if everybody { &["task", "active", "all"] } else { &["task", "active"] };
        asks.push(api.get(parts, "listing active tasks"));
    }
    let mut tasks = Vec::new();
    for ask in asks {
        let ask = match &filter.project {
            Some(project) if !everybody => ask.query("project", project),
            _ => ask,
        };
        let answer = api.json(&ask).await?;
        let list = answer.as_array().ok_or_else(|| garbled(&ask, "no list"))?;
        tasks.extend(list.iter().map(|document| {
            let mut task = typed(document);
            task["description"] = document["meta"]["description"].clone();
            task
        }));
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filters() {
        let task = json!({"id": 7, "state": "running", "project": "sea", "user": "ada", "tags": ["a", "b"],
            "name": "align-3", "submitted": 1000.0});
        let check = |filter: FilterArgs, want: bool| {
            assert_eq!(wanted(&filter, &task) && of_age(&filter, &task, 1100.0), want, "{filter:?}")
        };
        let text = |text: &str| Some(text.to_owned());
        check(FilterArgs::default(), true);
        check(FilterArgs { over: true, ..FilterArgs::default() }, false);
        check(FilterArgs { tag: text("b"), project: text("sea"), ..FilterArgs::default() }, true);
        check(FilterArgs { tag: text("c"), ..FilterArgs::default() }, false);
        check(FilterArgs { name: text("ign"), user: text("ada"), ..FilterArgs::default() }, true);
        check(FilterArgs { user: text("bob"), ..FilterArgs::default() }, false);
        check(FilterArgs { since: Some(Seconds(99)), ..FilterArgs::default() }, false);
        check(FilterArgs { since: Some(Seconds(100)), ..FilterArgs::default() }, true);
        check(FilterArgs { older: Some(Seconds(100)), ..FilterArgs::default() }, false);
        check(FilterArgs { older: Some(Seconds(99)), ..FilterArgs::default() }, true);
    }

    #[test]
    fn what_a_pattern_is_looked_for_in() {
        let task = json!({"id": 71, "name": "align", "description": "deep sea", "image": "debian:12", "tags": ["x"]});
        for (text, want) in
            [("^al", true), ("sea$", true), ("debian", true), ("^x$", true), ("^7", true), ("zzz", false)]
        {
            assert_eq!(matches(&pattern(text).expect("good"), &task), want, "{text}");
        }
        assert!(pattern("(").expect_err("not closed").to_string().contains("no regular expression"));
    }
}
