//! A user's own data.

use super::tasks::pages;
use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::{Asked, At, json};
use crate::subject::Subject;
use axum::extract::State;
use axum::response::Response;
use god_core::state::Ask;
use god_core::store::{Scan, UsageOf};
use god_core::units::Day;
use god_core::user::{Project, User};
use god_core::{ProjectId, UserId};
use god_engine::ask::{Asked as Answer, ask};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The user of a path, if the subject may do this to it; unknown ones are told to admins only.
async fn allowed_user(app: &App, subject: &Subject, action: Action, id: &str) -> Result<Arc<User>, ApiError> {
    let unknown = || ApiError::NotFound("there is no such user".to_owned());
    let login = UserId::parse(id).map_err(|_| unknown())?;
    app.authorize(subject, action, Object::User(&login)).await?;
    app.user(&login).await?.ok_or_else(unknown)
}

/// `GET /user/{id}`
pub(super) async fn one(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let user = allowed_user(&app, &subject, Action::Read, &id).await?;
    Ok(json(&document(&app, &user)))
}

/// A user as clients read it. Keys are shown by their first characters only.
fn document(app: &App, user: &User) -> Value {
    let key = user.keys.first().map_or(String::new(), |key| format!("{}...", key.prefix));
    json!({
        "id": user.id,
        "uid": user.uid,
        "gid": user.gid,
        "sgids": user.sgids,
        "email": user.email,
        "homeDirectory": user.home,
        "admin": app.is_admin(&user.id),
        "credentials": {"apikey": key, "public": user.ssh_public, "private": ""},
        "usage": {
            "prio": user.prio,
            "quota_time": user.quotas[0],
            "quota_cpu": user.quotas[1],
            "quota_ram": user.quotas[2],
            "disk": 0,
            "guest_home": 0,
        },
        "type": user.kind,
        "active": user.active,
    })
}

/// `GET /user/{id}/project`
pub(super) async fn projects(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let user = allowed_user(&app, &subject, Action::Read, &id).await?;
    let mut list = vec![json!({"id": ProjectId::DEFAULT, "prio": 50})];
    let projects = app.projects().await?;
    list.extend(projects.iter().filter(|project| project.members.contains(&user.id)).map(project_document));
    Ok(json(&list))
}

fn project_document(project: &Project) -> Value {
    json!({
        "id": project.id,
        "description": project.description,
        "prio": project.prio,
        "members": project.members,
        "volumes": [],
        "quota_time": project.quotas[0],
        "quota_cpu": project.quotas[1],
        "quota_ram": project.quotas[2],
    })
}

/// `GET /user/{id}/usage`
pub(super) async fn usage(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let user = allowed_user(&app, &subject, Action::Read, &id).await?;
    let today = app.now().day();
    let days = i32::try_from(app.config().usage_days.max(1) - 1).unwrap_or(i32::MAX);
    let from = Day(today.0.saturating_sub(days));
    let sums = app.store.usage(&UsageOf::User(user.id.clone()), from).await?;
    let list: Vec<Value> = sums
        .iter()
        .map(|sum| {
            let seconds = sum.millis as f64 / 1000.0;
            json!({"date": sum.day.to_string(), "cpu": sum.cores, "ram": sum.ram, "time": seconds})
        })
        .collect();
    Ok(json(&list))
}

/// Which of the tasks.
#[derive(Debug, Deserialize)]
pub(super) struct TagQuery {
    tag: Option<String>,
}

/// `DELETE /user/{id}/task[?tag=]`
pub(super) async fn kill_tasks(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
    Asked(query): Asked<TagQuery>,
) -> Result<Response, ApiError> {
    let user = allowed_user(&app, &subject, Action::Change, &id).await?;
    let mut ids = Vec::new();
    pages(&app, &Scan::Active(Some(user.id.clone())), |task| {
        // Children end with their array's parent, which always is among the active ones.
        if task.parent.is_none() && query.tag.as_ref().is_none_or(|tag| task.spec.tags.contains(tag)) {
            ids.push(task.id);
        }
        Ok(())
    })
    .await?;
    let (mut asked, now) = (0u64, app.now());
    for id in ids {
        if let Answer::Stored(_) = ask(&*app.store, id, Ask::Kill, None, now, || app.op()).await? {
            asked += 1;
        }
    }
    trail.note(user.id.as_str(), None, Some(json!({"tag": query.tag, "asked": asked})));
    Ok(json(&json!({"msg": format!("{asked} tasks will be killed"), "nb": asked})))
}
