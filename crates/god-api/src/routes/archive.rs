//! Removing the files of finished tasks, and their records. Only asked for here: the archiver does it.

use super::acts::act;
use super::tasks::{allowed_task, found_pages};
use crate::access::Action;
use crate::app::App;
use crate::audit::Trail;
use crate::bulk::ask_all;
use crate::error::ApiError;
use crate::http::{Asked, At, json};
use crate::subject::Subject;
use axum::extract::State;
use axum::response::Response;
use god_core::query::{Span, TaskQuery};
use god_core::state::{Ask, Phase};
use god_core::{TaskId, Timestamp};
use serde::Deserialize;
use serde_json::json;

/// `GET` or `POST /task/{id}/archive`
pub(super) async fn archive(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    remove(&app, &subject, &trail, &id, Ask::Archive).await
}

/// `DELETE /task/{id}/archive`
pub(super) async fn purge(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    remove(&app, &subject, &trail, &id, Ask::Purge).await
}

async fn remove(
    app: &App,
    subject: &Subject,
    trail: &Trail,
    id: &str,
    what: Ask,
) -> Result<Response, ApiError> {
    let task = allowed_task(app, subject, Action::Change, id).await?;
    if !task.phase().is_over() {
        return Err(ApiError::Bad(format!("task {} is not over: it can be killed, not archived", task.id)));
    }
    act(app, subject, trail, id, what).await
}

/// Which of the old tasks.
#[derive(Debug, Deserialize)]
pub(super) struct OldQuery {
    tag: Option<String>,
}

/// `GET` or `POST /archive/{days}[?tag=]`
pub(super) async fn archive_old(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(days): At<String>,
    Asked(query): Asked<OldQuery>,
) -> Result<Response, ApiError> {
    remove_old(&app, &subject, &trail, &days, query, Ask::Archive).await
}

/// `DELETE /archive/{days}[?tag=]`
pub(super) async fn purge_old(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(days): At<String>,
    Asked(query): Asked<OldQuery>,
) -> Result<Response, ApiError> {
    remove_old(&app, &subject, &trail, &days, query, Ask::Purge).await
}

/// The caller's own tasks that ended more than so many days ago.
async fn remove_old(
    app: &App,
    subject: &Subject,
    trail: &Trail,
    days: &str,
    query: OldQuery,
    what: Ask,
) -> Result<Response, ApiError> {
    let number = || ApiError::NotFound(format!("{days:?} is no number of days"));
    let span = i64::from(days.parse::<u32>().map_err(|_| number())?).saturating_mul(86_400_000);
    let before = Timestamp(app.now().0.saturating_sub(span));
    let query = TaskQuery {
        owner: Some(subject.login().clone()),
        phases: vec![Phase::Over, Phase::Archived],
        tag: query.tag.clone(),
        ended: Span { from: None, until: (span > 0).then_some(before) },
        no_children: true,
        ..TaskQuery::default()
    };
    let tag = query.tag.clone();
    let mut ids: Vec<TaskId> = Vec::new();
    found_pages(app, query, |task| ids.push(task.id)).await?;
    let asked = ask_all(app, &ids, what, None).await?.asked.len();
    trail.note(subject.login().as_str(), None, Some(json!({"days": days, "tag": tag, "asked": asked})));
    let will = if what == Ask::Archive { "archived" } else { "purged" };
    Ok(json(&json!({"msg": format!("{asked} tasks will be {will}"), "nb": asked})))
}
