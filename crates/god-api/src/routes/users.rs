//! Users: their records, projects, usage, and their tasks as a whole.

use super::tasks::pages;
use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::Trail;
use crate::bulk::ask_all;
use crate::error::ApiError;
use crate::http::{Asked, At, JsonList, Sent, json};
use crate::subject::Subject;
use axum::extract::State;
use axum::response::Response;
use god_core::state::Ask;
use god_core::store::{Scan, UsageOf};
use god_core::usage::Ledger;
use god_core::user::User;
use god_core::wire::{self, UserChange, UserFacts};
use god_core::{ProjectId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// A write that meets another one is tried again this often.
const TRIES: u32 = 20;

fn unknown() -> ApiError {
    ApiError::NotFound("there is no such user".to_owned())
}

/// The user of a path, if the subject may do this to it; unknown ones are told to admins only.
async fn allowed_user(app: &App, subject: &Subject, action: Action, id: &str) -> Result<Arc<User>, ApiError> {
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
    Ok(json(&document(&app, &user).await?))
}

async fn document(app: &App, user: &User) -> Result<Value, ApiError> {
    let ledger = app.ledger().await?;
    let is_leaving = !user.active && app.leaving().await?.contains(&user.id);
    Ok(wire::user_document(user, facts(app, user, &ledger, is_leaving)))
}

fn facts(app: &App, user: &User, ledger: &Ledger, is_leaving: bool) -> UserFacts {
    let disk = ledger.users.get(&user.id).map_or(0, |used| used.disk);
    UserFacts { is_admin: app.is_admin(&user.id), disk, is_leaving }
}

/// `GET /user`
pub(super) async fn all(State(app): State<App>) -> Result<Response, ApiError> {
    let (ledger, leaving) = (app.ledger().await?, app.leaving().await?);
    let mut list = JsonList::new();
    for user in app.store.users().await? {
        list.push(&wire::user_document(&user, facts(&app, &user, &ledger, leaving.contains(&user.id))))?;
    }
    Ok(list.into_response())
}

/// `PUT /user/{id}` with the document that was read: what the sender may change of it is taken, the rest ignored.
pub(super) async fn change(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    let login = allowed_user(&app, &subject, Action::Change, &id).await?.id.clone();
    let change = UserChange::read(&body).map_err(ApiError::Faults)?;
    if change.active == Some(true) && app.leaving().await?.contains(&login) {
        return Err(ApiError::Bad("this user is being removed".to_owned()));
    }
    for _ in 0..TRIES {
        let before = app.store.user(&login).await?.ok_or_else(unknown)?;
        let mut user = before.clone();
        if subject.is_admin {
            change.by_admin(&mut user);
        }
        if login == *subject.login() {
            change.by_owner(&mut user);
        }
        if user == before || app.store.put_user(&user).await? {
            app.forget_user(&login);
            if user == before {
                trail.unchanged();
            } else {
                trail.note(login.as_str(), Some(recorded(&before)), Some(recorded(&user)));
            }
            return Ok(json(&document(&app, &user).await?));
        }
    }
    Err(ApiError::Failed("the user changes too often; try again later"))
}

/// What the audit trail keeps of a user.
fn recorded(user: &User) -> Value {
    json!({
        "prio": user.prio,
        "quotas": user.quotas,
        "active": user.active,
        "ssh_public": user.ssh_public,
    })
}

/// `DELETE /user/{id}`: the login ends at once; the record goes when all tasks are ended and purged.
pub(super) async fn remove(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let user = allowed_user(&app, &subject, Action::Change, &id).await?;
    if user.id == *subject.login() {
        return Err(ApiError::Bad("nobody can remove the own user".to_owned()));
    }
    let before = document(&app, &user).await?;
    let gone = app.remove_user(&user.id).await?;
    trail.note(user.id.as_str(), Some(before), None);
    let msg = if gone { "User removed" } else { "User will be removed when all tasks are" };
    Ok(json(&json!({"msg": msg, "id": user.id})))
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
    list.extend(
        projects.iter().filter(|project| project.members.contains(&user.id)).map(wire::project_document),
    );
    Ok(json(&list))
}

/// `GET /user/{id}/usage`
pub(super) async fn usage(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let user = allowed_user(&app, &subject, Action::Read, &id).await?;
    usage_of(&app, &UsageOf::User(user.id.clone())).await
}

/// Sums of each day in the window.
pub(super) async fn usage_of(app: &App, of: &UsageOf) -> Result<Response, ApiError> {
    let sums = app.store.usage(of, app.window()).await?;
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
    let asked = ask_all(&app, &ids, Ask::Kill, None).await?.asked.len();
    trail.note(user.id.as_str(), None, Some(json!({"tag": query.tag, "asked": asked})));
    Ok(json(&json!({"msg": format!("{asked} tasks will be killed"), "nb": asked})))
}
