//! Projects: their records and usage. Everybody is in `default`, which has no record.

use super::users::usage_of;
use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::{At, JsonList, Sent, json};
use crate::subject::Subject;
use axum::extract::State;
use axum::response::Response;
use god_core::ProjectId;
use god_core::spec::Owner;
use god_core::store::UsageOf;
use god_core::user::{Project, ProjectVolume};
use god_core::wire::{self, AskedVolume, Fault, ProjectChange};
use serde_json::json;

/// A write that meets another one is tried again this often.
const TRIES: u32 = 20;

fn unknown() -> ApiError {
    ApiError::NotFound("there is no such project".to_owned())
}

/// The project of a path as the store has it now.
async fn stored(app: &App, id: &str) -> Result<Project, ApiError> {
    let id = ProjectId::parse(id).map_err(|_| unknown())?;
    app.store.projects().await?.into_iter().find(|project| project.id == id).ok_or_else(unknown)
}

/// `GET /project`
pub(super) async fn all(State(app): State<App>) -> Result<Response, ApiError> {
    let mut list = JsonList::new();
    for project in app.store.projects().await? {
        list.push(&wire::project_document(&project))?;
    }
    Ok(list.into_response())
}

/// `GET /project/{id}`
pub(super) async fn one(State(app): State<App>, At(id): At<String>) -> Result<Response, ApiError> {
    Ok(json(&wire::project_document(&stored(&app, &id).await?)))
}

/// `POST /project`
pub(super) async fn create(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    let asked = ProjectChange::read(&body).map_err(ApiError::Faults)?;
    let bad = |wrong: String| {
        let accepted = "a new name: letters, digits and _ . @ -, up to 64";
        ApiError::Faults(vec![Fault::new("id", wrong, accepted)])
    };
    if asked.id == ProjectId::DEFAULT {
        return Err(bad("\"default\" is everybody's project already".to_owned()));
    }
    let id = ProjectId::parse(&asked.id).map_err(|_| bad(format!("is {:?}", asked.id)))?;
    check_volumes(&app, &subject, asked.volumes.as_deref().unwrap_or_default(), &[])?;
    let project = asked.made(id);
    if !app.store.put_project(&project).await? {
        return Err(bad(format!("there is a project {} already", project.id)));
    }
    app.forget_projects();
    let document = wire::project_document(&project);
    trail.note(project.id.as_str(), None, Some(document.clone()));
    Ok(json(&document))
}

/// `POST /project/{id}` with the document that was read, changed. Its id stays.
pub(super) async fn change(
    State(app): State<App>,
    subject: Subject,
    trail: Trail,
    At(id): At<String>,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    let asked = ProjectChange::read(&body).map_err(ApiError::Faults)?;
    for _ in 0..TRIES {
        let before = stored(&app, &id).await?;
        check_volumes(&app, &subject, asked.volumes.as_deref().unwrap_or_default(), &before.volumes)?;
        let mut project = before.clone();
        asked.clone().apply(&mut project);
        if app.store.put_project(&project).await? {
            app.forget_projects();
            let document = wire::project_document(&project);
            trail.note(project.id.as_str(), Some(wire::project_document(&before)), Some(document.clone()));
            return Ok(json(&document));
        }
    }
    Err(ApiError::Failed("the project changes too often; try again later"))
}

/// New volumes must be ones that tasks can have: the rules for tasks decide, with the sender as the owner.
fn check_volumes(
    app: &App,
    subject: &Subject,
    volumes: &[ProjectVolume],
    known: &[ProjectVolume],
) -> Result<(), ApiError> {
    let user = &subject.user;
    let owner = Owner {
        id: user.id.clone(),
        uid: user.uid,
        gid: user.gid,
        sgids: Vec::new(),
        email: None,
        home: None,
        project: ProjectId::new(ProjectId::DEFAULT),
        guest: None,
    };
    let refused = |volume: &&ProjectVolume| {
        let asked = [AskedVolume { name: volume.name.clone(), writable: true }];
        (app.volumes)(&owner, &asked, std::slice::from_ref(*volume)).is_empty()
    };
    let faults: Vec<Fault> = volumes
        .iter()
        .filter(|volume| !known.contains(volume))
        .filter(refused)
        .map(|volume| {
            let wrong =
                format!("{} at {} is refused by the site's rules for volumes", volume.name, volume.path);
            Fault::new(
                "volumes",
                wrong,
                "a directory that holds no part of the system, mounted where nothing else is",
            )
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(ApiError::Faults(faults)) }
}

/// `DELETE /project/{id}`
pub(super) async fn remove(
    State(app): State<App>,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let project = stored(&app, &id).await?;
    app.store.remove_project(&project.id).await?;
    app.forget_projects();
    trail.note(project.id.as_str(), Some(wire::project_document(&project)), None);
    Ok(json(&json!({"msg": "Project removed", "id": project.id})))
}

/// `DELETE /project/{id}/quota`: what was used so far counts no longer.
pub(super) async fn reset(
    State(app): State<App>,
    trail: Trail,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let id = if id == ProjectId::DEFAULT { ProjectId::new(id) } else { stored(&app, &id).await?.id };
    let of = UsageOf::Project(id.clone());
    let used = app.store.usage(&of, app.window()).await?;
    app.store.reset_usage(&of).await?;
    trail.note(id.as_str(), Some(json!(used)), Some(json!([])));
    Ok(json(&json!({"msg": "Quota reset", "id": id})))
}

/// `GET /project/{id}/usage`
pub(super) async fn usage(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let id = ProjectId::parse(&id).map_err(|_| unknown())?;
    authorize_usage(&app, &subject, &id).await?;
    usage_of(&app, &UsageOf::Project(id)).await
}

/// Lets those pass who may see what a project used.
pub(super) async fn authorize_usage(app: &App, subject: &Subject, id: &ProjectId) -> Result<(), ApiError> {
    if id.as_str() == ProjectId::DEFAULT {
        return app.authorize(subject, Action::Read, Object::Common).await;
    }
    let projects = app.projects().await?;
    match projects.iter().find(|project| project.id == *id) {
        Some(project) => app.authorize(subject, Action::Read, Object::Project(project)).await,
        // Only admins are told that there is none.
        None => {
            app.authorize(subject, Action::Read, Object::Site).await?;
            Err(unknown())
        }
    }
}
