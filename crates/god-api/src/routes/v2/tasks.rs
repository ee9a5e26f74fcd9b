//! Typed tasks: lists and single ones.

use super::filter::{by_ids, strictly, wanted};
use crate::access::Action;
use crate::app::App;
use crate::error::ApiError;
use crate::http::{Asked, At, json};
use crate::routes::tasks::allowed_task;
use crate::subject::Subject;
use crate::typed::{Filter, Task, TaskDetails, TaskList};
use axum::extract::State;
use axum::response::Response;
use god_core::TaskId;
use god_core::query::{MAX_PAGE, TaskQuery};
use serde_json::{Map, Value};

/// Tasks on a page, when nothing is said.
const PAGE: usize = 100;

/// `GET /api/2/tasks`
pub(crate) async fn list(
    State(app): State<App>,
    subject: Subject,
    Asked(mut query): Asked<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let mut take = |name: &str| match query.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let (after, limit, sort) = (take("after"), take("limit"), take("sort"));
    let filter: Filter = strictly(query)?;
    let bad = |what: &str, text: &str, accepted: &str| {
        ApiError::Bad(format!("{what}: is {text:?}; accepted: {accepted}"))
    };
    let limit = match limit.as_deref().map(|text| (text, text.parse::<usize>())) {
        None => PAGE,
        Some((_, Ok(n))) if n > 0 => n.min(MAX_PAGE),
        Some((text, _)) => return Err(bad("limit", text, "a number from 1")),
    };
    let before = match after.as_deref().map(|text| (text, text.parse::<TaskId>())) {
        None => None,
        Some((_, Ok(id))) => Some(id),
        Some((text, Err(_))) => return Err(bad("after", text, "`next` of the page before")),
    };
    if let Some(sort) = sort.filter(|sort| sort != "-id") {
        return Err(bad("sort", &sort, "-id, the newest first"));
    }
    let wanted = wanted(&app, &subject, &filter).await?;
    let (tasks, next) = match &wanted.ids {
        Some(ids) => (by_ids(&app, &subject, &wanted.query, ids).await?, None),
        None => {
            let page = app.store.find(&TaskQuery { before, limit, ..wanted.query }).await?;
            (page.tasks, page.next)
        }
    };
    let whys = app.whys_of(&tasks).await?;
    let tasks = tasks.iter().map(|task| Task::of(task, whys.of(task))).collect();
    Ok(json(&TaskList { tasks, next: next.map(|id| id.to_string()) }))
}

/// `GET /api/2/tasks/{id}`
pub(crate) async fn one(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    let why = app.why_of(&task).await?;
    let directory = app.job_dir(&task).to_string_lossy().into_owned();
    Ok(json(&TaskDetails::of(&task, why.as_ref(), directory)))
}
