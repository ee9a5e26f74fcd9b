//! A user's API keys: seen by their first characters, made and ended by the user.

use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::{At, Sent, json};
use crate::subject::{Credential, Subject};
use axum::extract::State;
use axum::response::Response;
use god_core::UserId;
use god_core::user::User;
use serde_json::{Value, json};

/// Keys of one user.
const MOST: usize = 50;

/// `GET /user/{id}/key`
pub(super) async fn list(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let user = user(&app, &subject, Action::Read, &id).await?;
    let keys: Vec<Value> = user
        .keys
        .iter()
        .map(|key| json!({"prefix": key.prefix, "created": key.created.0.div_euclid(1000)}))
        .collect();
    Ok(json(&keys))
}

/// `POST /user/{id}/key` with `{"replace": true}` to end all others. Only the user sees the key; nobody makes one for
/// somebody else.
pub(super) async fn add(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    if id != subject.login().as_str() {
        return Err(ApiError::Forbidden("API keys are made by their users".to_owned()));
    }
    let replace = body.get("replace").and_then(Value::as_bool).unwrap_or(false);
    let (text, record) = app.new_key()?;
    let prefix = record.prefix.clone();
    let changed = change(&app, subject.login(), |user| {
        if replace {
            user.keys.clear();
            user.key_version = user.key_version.wrapping_add(1);
        }
        if user.keys.len() >= MOST {
            return Err(ApiError::Bad(format!("you have {MOST} API keys; end one first, or replace all")));
        }
        user.keys.push(record.clone());
        Ok(())
    })
    .await?;
    follow(&app, &subject, &changed).await?;
    trail.note(format!("{id}/{prefix}"), None, Some(json!({"replace": replace})));
    Ok(json(&json!({"apikey": text, "prefix": prefix})))
}

/// `DELETE /user/{id}/key/{prefix}`. Tokens do not say which key they were made with, so all of the user's end.
pub(super) async fn remove(
    State(app): State<App>,
    subject: Subject,
    At((id, prefix)): At<(String, String)>,
    trail: Trail,
) -> Result<Response, ApiError> {
    let owner = user(&app, &subject, Action::Change, &id).await?;
    let changed = change(&app, &owner.id, |user| {
        let before = user.keys.len();
        user.keys.retain(|key| key.prefix != prefix);
        if user.keys.len() == before {
            return Err(ApiError::NotFound("there is no such key".to_owned()));
        }
        user.key_version = user.key_version.wrapping_add(1);
        Ok(())
    })
    .await?;
    follow(&app, &subject, &changed).await?;
    trail.note(format!("{id}/{prefix}"), Some(json!({})), None);
    Ok(json(&json!({"msg": "the key has ended"})))
}

/// The user of a path, as it is stored now.
async fn user(app: &App, subject: &Subject, action: Action, id: &str) -> Result<User, ApiError> {
    let unknown = || ApiError::NotFound("there is no such user".to_owned());
    let login = UserId::parse(id).map_err(|_| unknown())?;
    app.authorize(subject, action, Object::User(&login)).await?;
    app.store.user(&login).await?.ok_or_else(unknown)
}

/// Writes a change over the version it was made from, again when somebody was faster.
async fn change(
    app: &App,
    login: &UserId,
    change: impl Fn(&mut User) -> Result<(), ApiError>,
) -> Result<User, ApiError> {
    loop {
        let found = app.store.user(login).await?;
        let mut user = found.ok_or_else(|| ApiError::NotFound("there is no such user".to_owned()))?;
        change(&mut user)?;
        if app.store.put_user(&user).await? {
            app.forget_user(login);
            return Ok(user);
        }
    }
}

/// The session that asked for the change goes on, while all others of the user end.
async fn follow(app: &App, subject: &Subject, changed: &User) -> Result<(), ApiError> {
    let Credential::Session(id) = &subject.credential else { return Ok(()) };
    if subject.login() != &changed.id {
        return Ok(());
    }
    if let Some(mut session) = app.session(id).await? {
        session.kv = changed.key_version;
        app.keep_session(id, Some(&session)).await?;
    }
    Ok(())
}
