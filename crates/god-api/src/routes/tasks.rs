//! Reading tasks.

use crate::access::{Action, Object};
use crate::app::App;
use crate::error::ApiError;
use crate::http::{Asked, At, JsonList, json};
use crate::hub;
use crate::subject::Subject;
use crate::why;
use axum::extract::State;
use axum::response::Response;
use god_core::store::{OverFilter, Scan};
use god_core::{ProjectId, Task, TaskId, UserId};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Tasks read at once.
const PAGE: usize = 500;
/// The longest that a client may wait in one request.
const WAIT_MAX: u64 = 300;
/// A missed bell is made good within this.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Filter of a list.
#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    project: Option<String>,
}

/// Reads an id out of a path: anything else names no task.
pub(super) fn task_id(text: &str) -> Result<TaskId, ApiError> {
    text.parse().map_err(|_| ApiError::no_task(format!("{:?}", text.chars().take(40).collect::<String>())))
}

/// The task of a path, if the subject may do this to it.
pub(super) async fn allowed_task(
    app: &App,
    subject: &Subject,
    action: Action,
    id: &str,
) -> Result<Task, ApiError> {
    let task = app.task(task_id(id)?).await?;
    app.authorize(subject, action, Object::Task(&task.spec.owner)).await?;
    Ok(task)
}

/// Visits all tasks of a scan, a page at a time, letting other requests in between.
pub(super) async fn pages(
    app: &App,
    scan: &Scan,
    mut visit: impl FnMut(Task) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut after = None;
    while let Some(page) = next_page(app, scan, &mut after).await? {
        page.into_iter().try_for_each(&mut visit)?;
    }
    Ok(())
}

/// The tasks after the last of the page before; `None` when there are no more.
async fn next_page(
    app: &App,
    scan: &Scan,
    after: &mut Option<TaskId>,
) -> Result<Option<Vec<Task>>, ApiError> {
    if after.is_some() {
        tokio::task::yield_now().await;
    }
    let page = app.store.scan(scan, *after, PAGE).await?;
    let Some(last) = page.last() else { return Ok(None) };
    *after = Some(last.id);
    Ok(Some(page))
}

/// Visits finished tasks, newest first, a page at a time.
pub(super) async fn over_pages(
    app: &App,
    owner: Option<&UserId>,
    mut visit: impl FnMut(Task) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut skip = 0;
    loop {
        let filter = OverFilter { owner: owner.cloned(), skip, limit: Some(PAGE) };
        let page = app.store.over(&filter).await?;
        let n = page.len();
        page.into_iter().try_for_each(&mut visit)?;
        if n < PAGE {
            return Ok(());
        }
        skip += n;
        tokio::task::yield_now().await;
    }
}

/// `GET /task/active[?project=]`
pub(super) async fn active(
    State(app): State<App>,
    subject: Subject,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let (owner, project) = scope(&app, &subject, query).await?;
    list_active(&app, owner, project).await
}

/// `GET /task/active/all`
pub(super) async fn active_all(State(app): State<App>) -> Result<Response, ApiError> {
    list_active(&app, None, None).await
}

async fn list_active(
    app: &App,
    owner: Option<UserId>,
    project: Option<ProjectId>,
) -> Result<Response, ApiError> {
    let mut list = JsonList::new();
    let (scan, mut after) = (Scan::Active(owner), None);
    while let Some(mut page) = next_page(app, &scan, &mut after).await? {
        page.retain(|task| project.as_ref().is_none_or(|project| task.spec.owner.project == *project));
        let whys = app.whys_of(&page).await?;
        for task in &page {
            list.push(&app.document(task, whys.of(task)))?;
        }
    }
    Ok(list.into_response())
}

/// Whose tasks a list shows, and of which project: those of all members only where members share.
async fn scope(
    app: &App,
    subject: &Subject,
    query: ListQuery,
) -> Result<(Option<UserId>, Option<ProjectId>), ApiError> {
    let own = Some(subject.login().clone());
    let Some(project) = query.project.filter(|name| !name.is_empty()).map(ProjectId::new) else {
        return Ok((own, None));
    };
    let shared = app.shares(subject, &project).await?;
    Ok((if shared { None } else { own }, Some(project)))
}

/// `POST /task/over/{skip}/{limit}[?project=]`
pub(super) async fn over(
    State(app): State<App>,
    subject: Subject,
    At((skip, limit)): At<(String, String)>,
    Asked(query): Asked<ListQuery>,
) -> Result<Response, ApiError> {
    let (owner, project) = scope(&app, &subject, query).await?;
    list_over(&app, owner, project, &skip, &limit).await
}

/// `POST /task/over/all/{skip}/{limit}`
pub(super) async fn over_all(
    State(app): State<App>,
    At((skip, limit)): At<(String, String)>,
) -> Result<Response, ApiError> {
    list_over(&app, None, None, &skip, &limit).await
}

/// Newest first; a limit of 0 is none.
async fn list_over(
    app: &App,
    owner: Option<UserId>,
    project: Option<ProjectId>,
    skip: &str,
    limit: &str,
) -> Result<Response, ApiError> {
    let number = |text: &str| {
        text.parse::<usize>().map_err(|_| ApiError::NotFound(format!("{text:?} is no number of tasks")))
    };
    let (skip, limit) = (number(skip)?, number(limit)?);
    let limit = (limit > 0).then_some(limit);
    let mut list = JsonList::new();
    match project {
        None => {
            for task in app.store.over(&OverFilter { owner, skip, limit }).await? {
                list.push(&app.document(&task, None))?;
            }
        }
        Some(project) => {
            // The store does not know projects: its answer is filtered, then counted.
            let all = app.store.over(&OverFilter { owner, skip: 0, limit: None }).await?;
            let of_project = all.into_iter().filter(|task| task.spec.owner.project == project);
            for task in of_project.skip(skip).take(limit.unwrap_or(usize::MAX)) {
                list.push(&app.document(&task, None))?;
            }
        }
    }
    Ok(list.into_response())
}

/// `GET /task/{id}`
pub(super) async fn one(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    let why = app.why_of(&task).await?;
    Ok(json(&app.document(&task, why.as_ref())))
}

/// `GET /task/{id}/status`
pub(super) async fn status(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    status_answer(&app, &task).await
}

async fn status_answer(app: &App, task: &Task) -> Result<Response, ApiError> {
    let why = app.why_of(task).await?;
    Ok(json(&json!({"id": task.id, "status": why::status(task, why.as_ref())})))
}

/// How long to wait.
#[derive(Debug, Deserialize)]
pub(super) struct WaitQuery {
    timeout: Option<u64>,
}

/// `GET /task/{id}/wait[?timeout=]`: the status as soon as the task is over, or when the time is up.
pub(super) async fn wait(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
    Asked(query): Asked<WaitQuery>,
) -> Result<Response, ApiError> {
    let end = tokio::time::Instant::now() + Duration::from_secs(query.timeout.unwrap_or(60).min(WAIT_MAX));
    // Listening begins before the first look, so that no end falls in between.
    let mut changes = app.hub.listen().await?;
    loop {
        let task = allowed_task(&app, &subject, Action::Read, &id).await?;
        let left = end.saturating_duration_since(tokio::time::Instant::now());
        if task.phase().is_over() || left.is_zero() || app.closing.is_cancelled() {
            return status_answer(&app, &task).await;
        }
        tokio::select! {
            () = hub::ended(&mut changes, task.id) => {}
            () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
            () = app.closing.cancelled() => {}
        }
    }
}
