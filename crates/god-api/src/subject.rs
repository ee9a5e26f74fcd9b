//! Who sends a request.

use crate::app::App;
use crate::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use god_core::UserId;
use god_core::user::User;
use std::sync::Arc;

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The record, at most a second old.
    pub(crate) user: Arc<User>,
    /// Whether the login is one of the admins'.
    pub(crate) is_admin: bool,
}

impl Subject {
    /// The login.
    pub(crate) fn login(&self) -> &UserId {
        &self.user.id
    }
}

impl FromRequestParts<App> for Subject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // The guard of the route may have found out already.
        match parts.extensions.get::<Subject>() {
            Some(subject) => Ok(subject.clone()),
            None => of_token(app, bearer(&parts.headers)?).await,
        }
    }
}

/// The one behind a token, who must still be known, active, and have the keys the token was made with.
pub(crate) async fn of_token(app: &App, token: &str) -> Result<Subject, ApiError> {
    const REFUSED: ApiError = ApiError::NotLoggedIn("the token is not valid (any more); log in again");
    let verified = app.tokens.verify(token, app.now()).ok_or(REFUSED)?;
    let user = app.user(&verified.user).await?.ok_or(REFUSED)?;
    if !user.active || user.key_version != verified.key_version {
        return Err(REFUSED);
    }
    let is_admin = app.is_admin(&user.id);
    Ok(Subject { user, is_admin })
}

/// The token of the header `Authorization: Bearer <token>`; one client writes the word in small letters.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    const MISSING: ApiError = ApiError::NotLoggedIn("log in first: no token was sent");
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(MISSING)?;
    let (scheme, token) = text.trim().split_once(' ').ok_or(MISSING)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(MISSING) }
}
