//! From a filter to a query of the store, within what the caller may see.

use crate::access::{Action, Object};
use crate::app::App;
use crate::error::ApiError;
use crate::subject::Subject;
use crate::typed::{Filter, Outcome, State};
use god_core::query::{NameFilter, Span, TaskQuery};
use god_core::units::Seconds;
use god_core::wire::Fault;
use god_core::{ProjectId, Task, TaskId, Timestamp, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Ids in one filter.
const IDS: usize = 1000;

/// Which tasks, as the store is asked.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The query, without a cursor.
    pub(super) query: TaskQuery,
    /// Only these.
    pub(super) ids: Option<Vec<TaskId>>,
}

/// Collects what is wrong with a filter.
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, path: &str, wrong: String, accepted: &str) {
        self.0.push(Fault::new(path, wrong, accepted));
    }

    /// Words with commas.
    fn words<T>(
        &mut self,
        path: &str,
        text: Option<&str>,
        of: impl Fn(&str) -> Option<T>,
        known: &str,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for word in text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match of(word) {
                Some(one) => found.push(one),
                None => self.add(path, format!("is {:?}", short(word)), known),
            }
        }
        found
    }

    /// The moment so long ago.
    fn ago(&mut self, path: &str, text: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        let span = Seconds::parse(text?).map_err(|bad| self.add(path, bad.to_string(), "")).ok()?;
        let millis = i64::try_from(span.0).unwrap_or(i64::MAX).saturating_mul(1000);
        Some(Timestamp(now.0.saturating_sub(millis)))
    }
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The query behind a filter: whose tasks it shows is decided here.
pub(super) async fn wanted(app: &App, subject: &Subject, filter: &Filter) -> Result<Wanted, ApiError> {
    let mut faults = Faults(Vec::new());
    let (query, ids) = read(filter, app.now(), &mut faults);
    if !faults.0.is_empty() {
        return Err(ApiError::Faults(faults.0));
    }
    let owner = owner(app, subject, filter).await?;
    Ok(Wanted { query: TaskQuery { owner, ..query }, ids })
}

/// The owner to whom the list is bound; `None` shows everybody's.
async fn owner(app: &App, subject: &Subject, filter: &Filter) -> Result<Option<UserId>, ApiError> {
    let named = match filled(&filter.user) {
        None => None,
        Some(login) => Some(UserId::parse(login).map_err(|bad| ApiError::Bad(format!("user: {bad}")))?),
    };
    if named.as_ref() == Some(subject.login()) || subject.is_admin {
        return Ok(named);
    }
    let shares = match filled(&filter.project) {
        Some(project) => app.shares(subject, &ProjectId::new(project)).await?,
        None => false,
    };
    match named {
        // Everybody's in a project that is shared, else the own.
        None => Ok((!shares).then(|| subject.login().clone())),
        Some(other) if shares => Ok(Some(other)),
        Some(other) => {
            app.authorize(subject, Action::Read, Object::User(&other)).await?;
            Ok(Some(other))
        }
    }
}

fn read(filter: &Filter, now: Timestamp, faults: &mut Faults) -> (TaskQuery, Option<Vec<TaskId>>) {
    let states = faults.words("state", filter.state.as_deref(), State::of_word, State::WORDS);
    let outcomes = faults.words("outcome", filter.outcome.as_deref(), Outcome::of_word, Outcome::WORDS);
    let mut span = |newer: (&str, &Option<String>), older: (&str, &Option<String>)| Span {
        from: faults.ago(newer.0, filled(newer.1), now),
        until: faults.ago(older.0, filled(older.1), now),
    };
    let submitted = span(("newer", &filter.newer), ("older", &filter.older));
    let ended = span(("ended_newer", &filter.ended_newer), ("ended_older", &filter.ended_older));
    let parent = filled(&filter.parent).and_then(|text| match text.parse::<TaskId>() {
        Ok(id) => Some(id),
        Err(bad) => {
            faults.add("parent", bad.to_string(), "");
            None
        }
    });
    let no_children = match filled(&filter.children) {
        None | Some("true") => false,
        Some("false") => true,
        Some(other) => {
            faults.add("children", format!("is {:?}", short(other)), "true or false");
            false
        }
    };
    let ids = filled(&filter.ids).map(|text| ids(text, faults));
    let query = TaskQuery {
        owner: None,
        project: filled(&filter.project).map(ProjectId::new),
        phases: states.into_iter().flat_map(State::phases).collect(),
        outcomes,
        tag: filled(&filter.tag).map(str::to_owned),
        name: filled(&filter.name).map(|part| NameFilter::Part(part.to_owned())),
        submitted,
        ended,
        parent,
        no_children,
        before: None,
        limit: 0,
    };
    (query, ids)
}

/// Ids and ranges, with commas.
fn ids(text: &str, faults: &mut Faults) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range =
            first.trim().parse::<TaskId>().and_then(|first| Ok((first, last.trim().parse::<TaskId>()?)));
        match range {
            Ok((first, last)) if first <= last && last.0 - first.0 < IDS as u64 => {
                ids.extend((first.0..=last.0).map(TaskId));
            }
            _ => faults.add("ids", format!("is {:?}", short(part)), "7 or 7-12, up to 1000 in all"),
        }
        if ids.len() > IDS {
            faults.add("ids", "are too many".to_owned(), "up to 1000");
            return Vec::new();
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// Those of the ids that exist, that the filter lets through and that the caller may see, the highest first.
pub(super) async fn by_ids(
    app: &App,
    subject: &Subject,
    query: &TaskQuery,
    ids: &[TaskId],
) -> Result<Vec<Task>, ApiError> {
    let mut tasks = Vec::new();
    for task in app.store.get(ids).await?.into_iter().flatten().rev() {
        if query.matches(&task)
            && app.is_allowed(subject, Action::Read, Object::Task(&task.spec.owner)).await?
        {
            tasks.push(task);
        }
    }
    Ok(tasks)
}

/// Reads a body or query whose fields are known: an unknown one is a fault, so that no filter is wider than it looks.
pub(super) fn strictly<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(fields)).map_err(|err| ApiError::Bad(err.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn faults(filter: Filter) -> Vec<String> {
        let mut faults = Faults(Vec::new());
        read(&filter, NOW, &mut faults);
        faults.0.iter().map(|fault| fault.path.clone()).collect()
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn what_makes_no_filter() {
        let none = Filter::default;
        for (filter, path) in [
            (Filter { state: text("pending,done"), ..none() }, "state"),
            (Filter { outcome: text("ok"), ..none() }, "outcome"),
            (Filter { newer: text("1w"), ..none() }, "newer"),
            (Filter { ended_older: text("-1"), ..none() }, "ended_older"),
            (Filter { parent: text("x"), ..none() }, "parent"),
            (Filter { children: text("no"), ..none() }, "children"),
            (Filter { ids: text("7-1"), ..none() }, "ids"),
            (Filter { ids: text("1-1001"), ..none() }, "ids"),
            (Filter { ids: text("1-600,2000-2600"), ..none() }, "ids"),
            (Filter { ids: text("1-18446744073709551615"), ..none() }, "ids"),
            (Filter { ids: text("a"), ..none() }, "ids"),
        ] {
            assert_eq!(faults(filter.clone()), [path], "{filter:?}");
        }
        assert!(faults(none()).is_empty());
        assert!(strictly::<Filter>(Map::from_iter([("stat".to_owned(), "x".into())])).is_err());
    }

    #[test]
    fn spans_states_and_ids() {
        let filter = Filter {
            state: text("running, over,"),
            newer: text("1d"),
            older: text("1h"),
            ids: text("9,7-8,7"),
            ..Filter::default()
        };
        let mut faults = Faults(Vec::new());
        let (query, ids) = read(&filter, NOW, &mut faults);
        assert!(faults.0.is_empty());
        use god_core::state::Phase::{Gathering, Over, Running};
        assert_eq!(query.phases, [Running, Gathering, Over]);
        let span =
            Span { from: Some(Timestamp(NOW.0 - 86_400_000)), until: Some(Timestamp(NOW.0 - 3_600_000)) };
        assert_eq!(query.submitted, span);
        assert_eq!(ids, Some(vec![TaskId(7), TaskId(8), TaskId(9)]));
    }
}
