//! Submits. On the fast way a submit reads nothing from the store: the user, the projects and the nodes are at most a
//! second old, and the store gathers concurrent submits in one commit.

use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::{Sent, json_bytes};
use crate::subject::Subject;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use god_core::admission::{self, Requester, Surroundings};
use god_core::store::{NewTask, Submitted};
use god_core::wire::Submission;
use god_core::{TaskId, UserId};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// `POST /task`
pub(super) async fn submit(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    headers: HeaderMap,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    let idempotency = idempotency(&headers)?;
    let asked = Submission::read(&body).map_err(ApiError::Faults)?;
    drop(body);
    store(&app, &subject, &trail, asked, idempotency).await
}

/// Admits what is asked for and stores it.
pub(super) async fn store(
    app: &App,
    subject: &Subject,
    trail: &Trail,
    asked: Submission,
    idempotency: Option<String>,
) -> Result<Response, ApiError> {
    let on_behalf = match &asked.user {
        Some(login) if subject.is_admin && login != subject.login().as_str() => match UserId::parse(login) {
            Ok(login) => app.user(&login).await?,
            Err(_) => None,
        },
        _ => None,
    };
    let parents =
        if asked.after.is_empty() { BTreeSet::new() } else { visible(app, subject, &asked.after).await? };
    let (projects, nodes) = (app.projects().await?, app.nodes().await?);
    let site = &app.config().site;
    let closed;
    let site = if app.in_maintenance().await? {
        closed = admission::Site { maintenance: true, ..site.clone() };
        &closed
    } else {
        site
    };
    let spec = {
        let who = Requester {
            user: &subject.user,
            on_behalf: on_behalf.as_deref(),
            projects: &projects,
            is_admin: subject.is_admin,
        };
        let around = Surroundings { site, nodes: &nodes, parents: &parents, volumes: &*app.volumes };
        admission::admit(asked, &who, &around)?
    };
    let on_behalf = (spec.owner.id != *subject.login()).then(|| spec.owner.id.clone());
    let new =
        NewTask { spec: Arc::new(spec), submitted: app.now(), idempotency, limits: app.config().limits };
    match app.store.submit(vec![new]).await?.pop() {
        Some(Submitted::New(id)) => {
            match on_behalf {
                None => trail.submitted(id),
                Some(owner) => trail.note(id.to_string(), None, Some(json!({"owner": owner}))),
            }
            Ok(added(id))
        }
        Some(Submitted::Known(id)) => {
            trail.unchanged();
            Ok(added(id))
        }
        Some(Submitted::OverLimit(text)) => Err(ApiError::Bad(text)),
        None => Err(ApiError::Failed("the store gave no answer")),
    }
}

/// Scripts of users search for this very text.
fn added(id: TaskId) -> Response {
    json_bytes(format!("{{\"msg\": \"Task added\", \"id\": {id}}}").into())
}

fn idempotency(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().map(str::trim).filter(|key| (1..=255).contains(&key.len()));
    let bad = || ApiError::Bad("Idempotency-Key: accepted are 1 to 255 visible ASCII characters".to_owned());
    key.map(|key| Some(key.to_owned())).ok_or_else(bad)
}

/// Those of the tasks that exist and that the sender may see.
async fn visible(app: &App, subject: &Subject, ids: &[TaskId]) -> Result<BTreeSet<TaskId>, ApiError> {
    let mut visible = BTreeSet::new();
    for task in app.store.get(ids).await?.into_iter().flatten() {
        if app.is_allowed(subject, Action::Read, Object::Task(&task.spec.owner)).await? {
            visible.insert(task.id);
        }
    }
    Ok(visible)
}
