//! Requests on tasks. They are stored; the daemons make them true.

use super::tasks::allowed_task;
use crate::access::Action;
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::{At, Sent, json};
use crate::subject::Subject;
use crate::why;
use axum::extract::State;
use axum::response::Response;
use god_core::admission;
use god_core::state::{Ask, WishStatus};
use god_core::store::{Change, Committed};
use god_core::{Task, wire};
use god_engine::ask::{Asked as Answer, ask};
use serde_json::{Value, json};

/// `DELETE /task/{id}`
pub(super) async fn kill(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    act(&app, &subject, &trail, &id, Ask::Kill).await
}

/// `GET` or `POST /task/{id}/suspend`
pub(super) async fn suspend(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    act(&app, &subject, &trail, &id, Ask::Suspend).await
}

/// `GET` or `POST /task/{id}/resume`
pub(super) async fn resume(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    act(&app, &subject, &trail, &id, Ask::Resume).await
}

/// `GET` or `POST /task/{id}/reschedule`
pub(super) async fn reschedule(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    act(&app, &subject, &trail, &id, Ask::Reschedule).await
}

pub(super) async fn act(
    app: &App,
    subject: &Subject,
    trail: &Trail,
    id: &str,
    what: Ask,
) -> Result<Response, ApiError> {
    let task = allowed_task(app, subject, Action::Change, id).await?;
    let before = recorded(&task);
    let (task, msg) = match ask(&*app.store, task.id, what, None, app.now(), || app.op()).await? {
        Answer::Stored(task) => {
            let msg = said(&task, what);
            (task, msg)
        }
        Answer::Nothing(task) if task.phase().is_over() && !what.is_of_over() => {
            (task, "Task is over, nothing to do")
        }
        Answer::Nothing(task) => (task, "Nothing to do"),
        Answer::Unknown => return Err(ApiError::no_task(id)),
    };
    trail.note(task.id.to_string(), Some(before), Some(recorded(&task)));
    let why = app.why_of(&task).await?;
    Ok(json(&json!({"msg": msg, "id": task.id, "status": why::status(&task, why.as_ref())})))
}

/// A dynamic field as it stands.
fn wire_field(task: &Task, name: &str) -> Value {
    match task.spec.fields.get(name) {
        Some(text) => json!(text),
        None => json!(task.spec.time_limit),
    }
}

/// What the audit trail keeps of a task that something was asked of.
fn recorded(task: &Task) -> Value {
    let (primary, secondary) = wire::status_words(task, None);
    json!({"owner": task.spec.owner.id, "primary": primary, "secondary": secondary})
}

fn said(task: &Task, what: Ask) -> &'static str {
    if task.wish.as_ref().is_some_and(|wish| wish.status == WishStatus::Rejected) {
        return "Not possible in the state the task is in";
    }
    match what {
        Ask::Kill => "Task will be killed",
        Ask::Suspend => "Task will be suspended",
        Ask::Resume => "Task will be resumed",
        Ask::Reschedule => "Task will be rescheduled",
        Ask::Archive => "Task will be archived",
        Ask::Purge => "Task will be removed",
    }
}

/// `PUT /task/{id}` with `{"name": …, "value": …}`
pub(super) async fn set_field(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    let text = |key: &str| match body.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let missing = |key: &str| ApiError::Bad(format!("{key}: is missing; accepted: a text"));
    let name = text("name").ok_or_else(|| missing("name"))?;
    let value = text("value").ok_or_else(|| missing("value"))?;
    loop {
        let task = allowed_task(&app, &subject, Action::Change, &id).await?;
        let next = admission::set_field(&task, &name, &value, subject.is_admin, &app.config().site)?;
        let change = Change::of(&task, next.clone(), app.op());
        // Stale: the task moved in between; the field is set on what it is now.
        if app.store.commit(vec![change], None).await?.first() == Some(&Committed::Done) {
            let document = |task: &Task| Some(json!({&name: wire_field(task, &name)}));
            trail.note(task.id.to_string(), document(&task), document(&next));
            return Ok(json(&json!({"msg": "Task updated", "id": next.id, "name": name, "value": value})));
        }
    }
}
