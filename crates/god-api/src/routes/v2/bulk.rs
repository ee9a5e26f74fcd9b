//! The same request on many tasks: named one by one, or by a filter.

use super::filter::{by_ids, strictly, wanted};
use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::{Trail, ranges};
use crate::bulk::ask_all;
use crate::error::ApiError;
use crate::http::{Sent, json};
use crate::routes::tasks::found_pages;
use crate::subject::Subject;
use crate::typed::{BulkAnswer, BulkRequest, Filter};
use axum::extract::State;
use axum::response::Response;
use god_core::TaskId;
use god_core::state::Ask;
use serde_json::{Value, json as value};

/// Ids in one request.
const IDS: usize = 10_000;
/// Ids in one answer.
const SHOWN: usize = 10_000;
/// Characters of a reason.
const REASON: usize = 500;

/// `POST /api/2/tasks/kill`
pub(crate) async fn kill(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    ask(&app, &subject, &trail, body, Ask::Kill).await
}

/// `POST /api/2/tasks/suspend`
pub(crate) async fn suspend(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    ask(&app, &subject, &trail, body, Ask::Suspend).await
}

/// `POST /api/2/tasks/resume`
pub(crate) async fn resume(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    ask(&app, &subject, &trail, body, Ask::Resume).await
}

/// `POST /api/2/tasks/reschedule`
pub(crate) async fn reschedule(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    ask(&app, &subject, &trail, body, Ask::Reschedule).await
}

/// `POST /api/2/tasks/archive`
pub(crate) async fn archive(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    ask(&app, &subject, &trail, body, Ask::Archive).await
}

/// `POST /api/2/tasks/purge`
pub(crate) async fn purge(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    ask(&app, &subject, &trail, body, Ask::Purge).await
}

async fn ask(
    app: &App,
    subject: &Subject,
    trail: &Trail,
    body: Value,
    what: Ask,
) -> Result<Response, ApiError> {
    let Value::Object(fields) = body else {
        return Err(ApiError::Bad(
            "the body: is no object; accepted: {\"ids\": […]} or {\"filter\": {…}}".to_owned(),
        ));
    };
    let asked: BulkRequest = strictly(fields)?;
    let bad_reason = |text: &String| text.chars().count() > REASON || text.contains(char::is_control);
    if asked.reason.as_ref().is_some_and(bad_reason) {
        return Err(ApiError::Bad(format!("reason: accepted are up to {REASON} characters on one line")));
    }
    let ids = match (&asked.ids, &asked.filter) {
        (Some(ids), None) => named(app, subject, ids).await?,
        (None, Some(filter)) => filtered(app, subject, filter, what).await?,
        _ => return Err(ApiError::Bad("accepted are either ids or a filter".to_owned())),
    };
    let bulk = ask_all(app, &ids, what, asked.reason.as_deref()).await?;
    let n = bulk.asked.len();
    let first: Vec<u64> = bulk.asked.iter().take(SHOWN).map(|id| id.0).collect();
    let mut after = match asked.filter {
        Some(filter) => value!({"filter": recorded(&filter)}),
        None => value!({"ids": ids.len()}),
    };
    after["asked"] = n.into();
    let object = if n == 0 { "none".to_owned() } else { ranges(&bulk.asked[..n.min(100)]) };
    trail.note(object, None, Some(after));
    Ok(json(&BulkAnswer { asked: n as u64, idle: bulk.idle, ids: first }))
}

/// The ids, if each exists and may be changed; nothing is done otherwise.
async fn named(app: &App, subject: &Subject, ids: &[u64]) -> Result<Vec<TaskId>, ApiError> {
    if ids.len() > IDS {
        return Err(ApiError::Bad(format!("ids: are {}; accepted: up to {IDS}", ids.len())));
    }
    let ids: Vec<TaskId> = ids.iter().copied().map(TaskId).collect();
    for (id, task) in ids.iter().zip(app.store.get(&ids).await?) {
        let task = task.ok_or_else(|| ApiError::no_task(id))?;
        app.authorize(subject, Action::Change, Object::Task(&task.spec.owner)).await?;
    }
    Ok(ids)
}

/// What a filter means now, of what the caller may change.
async fn filtered(app: &App, subject: &Subject, filter: &Filter, what: Ask) -> Result<Vec<TaskId>, ApiError> {
    if *filter == Filter::default() {
        let text = "filter: is empty; accepted: at least one field, such as state";
        return Err(ApiError::Bad(text.to_owned()));
    }
    let wanted = wanted(app, subject, filter).await?;
    let mut found = Vec::new();
    if let Some(ids) = &wanted.ids {
        found.extend(by_ids(app, subject, &wanted.query, ids).await?.iter().map(|task| task.id));
        return Ok(found);
    }
    // What is not for tasks in their phase is left out from the start.
    let mut query = wanted.query;
    if query.phases.is_empty() {
        use god_core::state::Phase;
        query.phases = Phase::ALL.into_iter().filter(|phase| phase.is_over() == what.is_of_over()).collect();
    }
    found_pages(app, query, |task| found.push(task.id)).await?;
    // The lowest ids first: the parent of an array before its children.
    found.reverse();
    Ok(found)
}

/// What the audit trail keeps of a filter.
fn recorded(filter: &Filter) -> Value {
    let Value::Object(mut fields) = value!(filter) else { return Value::Null };
    fields.retain(|_, text| !text.is_null());
    Value::Object(fields)
}
