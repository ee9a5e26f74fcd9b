//! From a key or a password to a token.

use crate::app::App;
use crate::error::ApiError;
use crate::http::{Sent, json};
use axum::extract::State;
use axum::response::Response;
use god_core::UserId;
use god_core::auth::{AuthError, Identity};
use god_core::keys;
use god_core::user::User;
use serde_json::{Value, json};
use std::sync::Arc;

const WRONG: ApiError = ApiError::NotLoggedIn("login, key or password is wrong");

/// `POST /authenticate`
pub(super) async fn authenticate(State(app): State<App>, Sent(body): Sent) -> Result<Response, ApiError> {
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let login = text("user").or(text("login")).ok_or(WRONG)?;
    // A text that is no login is answered like an unknown one.
    let login = UserId::parse(login).map_err(|_| WRONG)?;
    let attempt = app.throttle.begin(&login).await?;
    let user = match (text("apikey"), text("password")) {
        (Some(key), _) => by_key(&app, &login, key).await?,
        (None, Some(password)) => by_password(&app, &login, password).await?,
        (None, None) => None,
    };
    let Some(user) = user.filter(|user| user.active) else {
        attempt.wrong().await;
        return Err(WRONG);
    };
    attempt.right();
    let token = app.tokens.issue(&user.id, user.key_version, app.now());
    let token = token.ok_or(ApiError::Failed("no token can be signed"))?;
    Ok(json(&json!({"token": token})))
}

async fn by_key(app: &App, login: &UserId, key: &str) -> Result<Option<Arc<User>>, ApiError> {
    let mut user = app.user(login).await?;
    let right = |user: &Option<Arc<User>>| {
        let records = user.as_ref().map_or(&[][..], |user| &user.keys);
        keys::verify(&app.key_secret, key, records)
    };
    if !right(&user) {
        // The record may be a second old, and the key just made.
        app.forget_user(login);
        user = app.user(login).await?;
        if !right(&user) {
            return Ok(None);
        }
    }
    Ok(user)
}

async fn by_password(app: &App, login: &UserId, password: &str) -> Result<Option<Arc<User>>, ApiError> {
    let identity = match app.auth.by_password(login, password).await {
        Ok(identity) => identity,
        Err(AuthError::Denied) => return Ok(None),
        Err(AuthError::Refused(text)) => return Err(ApiError::Forbidden(text)),
        Err(err @ AuthError::Unreachable(_)) => {
            tracing::error!(err = %god_engine::chain(&err), "a password can not be checked");
            return Err(ApiError::Failed("the directory of users does not answer; try again later"));
        }
    };
    app.forget_user(&identity.id);
    if app.user(&identity.id).await?.is_none() {
        // Known to the directory, new to us: the first login makes the record.
        let made = app.store.put_user(&first_record(app, &identity)).await?;
        if made {
            tracing::info!(user = %identity.id, "a user logged in for the first time");
        }
        app.forget_user(&identity.id);
    }
    Ok(app.user(&identity.id).await?)
}

fn first_record(app: &App, identity: &Identity) -> User {
    User {
        id: identity.id.clone(),
        kind: app.auth.name().to_owned(),
        password: None,
        uid: identity.uid,
        gid: identity.gid,
        sgids: identity.sgids.clone(),
        email: identity.email.clone(),
        home: identity.home.clone(),
        keys: Vec::new(),
        key_version: 0,
        ssh_public: String::new(),
        prio: 50,
        quotas: [0.0; 3],
        active: true,
        guest: false,
        rev: 0,
    }
}
