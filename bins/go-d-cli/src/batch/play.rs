//! Plays a list: keeps a number of its tasks going until all are over. When the server goes away for a while, so be it.

use crate::args::{FilterArgs, StateWord};
use crate::batch::list::{Entry, List, What};
use crate::batch::log::{Happened, Log, Stage};
use crate::client::Api;
use crate::commands::{Gone, list, submit};
use crate::failure::{Failure, warn};
use crate::output::Printer;
use crate::private::random_hex;
use crate::task::{End, Task};
use crate::view::View;
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the server may hold the question whether the oldest task is over, in seconds.
const HOLD: u64 = 2;
/// How often all of them are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How to play a list.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most tasks that wait or run at once.
    pub parallel: usize,
    /// Where to keep what has been done.
    pub state: PathBuf,
    /// Forget what has been done.
    pub restart: bool,
    /// Submit those again that failed.
    pub retry_failed: bool,
    /// Submit no more after one that failed.
    pub stop_on_failure: bool,
}

struct Player<'a> {
    api: &'a Api,
    list: &'a List,
    printer: Printer,
    log: Log,
    /// Places in the list of those to be submitted.
    left: VecDeque<usize>,
    /// Ids and places of those that are with the server, the oldest first.
    active: VecDeque<(u64, usize)>,
    gone: Gone,
    failed: usize,
}

/// Plays a list to its end. Gives 0 when every task ended with 0.
///
/// # Errors
/// [`Failure::Some`] when some did not; whatever a request or the file of the state meets.
pub async fn play(list: &List, options: &Options, api: &Api, printer: Printer) -> Result<u8, Failure> {
    let mut log = Log::open(&options.state, options.restart)?;
    let mut left = VecDeque::new();
    let mut active = VecDeque::new();
    let mut failed = 0;
    for (place, entry) in list.entries.iter().enumerate() {
        match log.stage(&entry.key) {
            Stage::Waiting | Stage::Sending(_) => left.push_back(place),
            Stage::Active(id) => active.push_back((id, place)),
            Stage::Over(_, Some(0)) => {}
            Stage::Over(..) if options.retry_failed => {
                // A key of its own, or the server would answer with the task that failed.
                log.add(&entry.key, Happened::Sending(new_key()?))?;
                left.push_back(place);
            }
            Stage::Over(..) => failed += 1,
        }
    }
    let done = list.entries.len() - left.len() - active.len();
    let player = Player { api, list, printer, log, left, active, gone: Gone::default(), failed };
    if done > 0 || !player.active.is_empty() {
        let text =
            format!("{done} of {} tasks are done, {} are active", list.entries.len(), player.active.len());
        player.say(&text)?;
    }
    let hint = format!(
        "the tasks that were submitted go on. Go on with the list: go-d-cli batch play; end its tasks: go-d-cli kill \
         --tag {}",
        list.tag()
    );
    tokio::select! {
        done = player.run(options) => done,
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::Interrupted(hint)),
    }
}

fn new_key() -> Result<String, Failure> {
    random_hex().map_err(|err| Failure::Usage(format!("cannot name the request: {err}")))
}

impl Player<'_> {
    async fn run(mut self, options: &Options) -> Result<u8, Failure> {
        let mut looked = Instant::now();
        loop {
            if options.stop_on_failure && self.failed > 0 && !self.left.is_empty() {
                warn(&format!("one task failed: {} others are not submitted", self.left.len()));
                self.left.clear();
            }
            while self.active.len() < options.parallel
                && let Some(place) = self.left.pop_front()
            {
                self.submit(place).await?;
            }
            let Some((oldest, place)) = self.active.front().copied() else { break };
            if self.is_over(oldest, place, HOLD).await? {
                continue;
            }
            if looked.elapsed() >= LOOK {
                self.look().await?;
                looked = Instant::now();
            }
        }
        self.end()
    }

    fn end(self) -> Result<u8, Failure> {
        let all = self.list.entries.len();
        if self.printer.is_json() {
            let row = |entry: &Entry| {
                let stage = self.log.stage(&entry.key);
                json!({"line": entry.line, "name": entry.name, "state": stage.word(), "id": stage.id(),
                    "exit_code": stage.code()})
            };
            self.printer.json(&self.list.entries.iter().map(row).collect())?;
        }
        if self.failed > 0 {
            return Err(Failure::Some { failed: self.failed, all, code: crate::failure::FAILED });
        }
        Ok(0)
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.printer.quiet || self.printer.is_json() { Ok(()) } else { self.printer.line(text) }
    }

    async fn submit(&mut self, place: usize) -> Result<(), Failure> {
        let entry = &self.list.entries[place];
        let tag = self.list.tag();
        let body = loop {
            let made = match &entry.what {
                What::Job(job, script) => {
                    let mut job = (**job).clone();
                    job.tag.push(tag.clone());
                    submit::body_of(&job, &entry.name, script, self.api).await
                }
                What::Body(body) => Ok(tagged((**body).clone(), &tag)),
            };
            match made {
                Ok(body) => break body,
                Err(failure) => self.gone.bear(failure).await?,
            }
        };
        let key = match self.log.stage(&entry.key) {
            Stage::Sending(key) => key,
            _ => {
                let key = new_key()?;
                self.log.add(&entry.key, Happened::Sending(key.clone()))?;
                key
            }
        };
        let id = loop {
            // The key makes it one task, however often it is sent.
            match submit::submit_once(body.clone(), key.clone(), self.api).await {
                Ok((id, _)) => break id,
                Err(Failure::Server { text, .. }) => {
                    let doing = format!("line {} ({})", entry.line, crate::text::line(&entry.name));
                    return Err(Failure::Server { doing, text });
                }
                Err(failure) => self.gone.bear(failure).await?,
            }
        };
        self.gone.is_back();
        self.log.add(&entry.key, Happened::Added(id))?;
        self.active.push_back((id, place));
        self.say(&format!("line {}: task {id} added ({})", entry.line, crate::text::line(&entry.name)))
    }

    /// Whether a task is over by now, after the server has held the question for that many seconds.
    async fn is_over(&mut self, id: u64, place: usize, hold: u64) -> Result<bool, Failure> {
        let number = id.to_string();
        let asked = Instant::now();
        let ask = self.api.get(&["task", &number, "wait"], format!("waiting for task {id}"));
        match self.api.json(&ask.query("timeout", &hold.to_string())).await {
            Ok(document) => {
                self.gone.is_back();
                if Task(&document).is_over() {
                    self.over(id, place, Task(&document).end())?;
                    return Ok(true);
                }
                // A server that does not hold questions is not asked without a pause.
                tokio::time::sleep(Duration::from_millis(250).saturating_sub(asked.elapsed())).await;
            }
            Err(Failure::Missing { .. }) => {
                self.over(id, place, End::NoCode("it is no longer there".to_owned()))?;
                return Ok(true);
            }
            Err(failure) => self.gone.bear(failure).await?,
        }
        Ok(false)
    }

    /// Looks at all of them with one question, and at those that are no longer active one by one.
    async fn look(&mut self) -> Result<(), Failure> {
        if self.active.len() < 2 {
            return Ok(());
        }
        let filter = FilterArgs {
            state: vec![StateWord::Active],
            tag: Some(self.list.tag()),
            ..FilterArgs::default()
        };
        let active: HashSet<u64> = match list::fetch(&filter, None, 0, self.api, |_| true).await {
            Ok(tasks) => tasks.iter().map(|task| View(task).id()).collect(),
            Err(failure) => return self.gone.bear(failure).await,
        };
        let ended: Vec<(u64, usize)> =
            self.active.iter().filter(|(id, _)| !active.contains(id)).copied().collect();
        for (id, place) in ended {
            self.is_over(id, place, 0).await?;
        }
        Ok(())
    }

    fn over(&mut self, id: u64, place: usize, end: End) -> Result<(), Failure> {
        let entry = &self.list.entries[place];
        let (code, text) = match end {
            End::Code(code) => (Some(code), format!("exit code {code}")),
            End::NoCode(reason) => (None, reason),
        };
        self.log.add(&entry.key, Happened::Over(code))?;
        self.active.retain(|(active, _)| *active != id);
        if code != Some(0) {
            self.failed += 1;
        }
        self.say(&format!("line {}: task {id} is over, {text}", entry.line))
    }
}

/// The body with one more tag.
fn tagged(mut body: Value, tag: &str) -> Value {
    let tags = body["meta"]["tags"].as_array().cloned().unwrap_or_default();
    let tags: Vec<Value> = tags.into_iter().filter(|other| other != tag).chain([tag.into()]).collect();
    body["meta"]["tags"] = Value::Array(tags);
    body
}
