//! Who sends a request.

use crate::app::App;
use crate::error::ApiError;
use crate::origin;
use crate::session::SessionId;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use god_core::UserId;
use god_core::user::User;
use std::fmt;
use std::sync::Arc;

/// The header in which a page of ours proves to be one.
const PROOF: &str = "x-csrf-token";

/// What somebody showed to be let in.
#[derive(Clone)]
pub(crate) enum Credential {
    /// A token, which a program sends on purpose.
    Token(Arc<str>),
    /// The cookie of a browser, which sends it whoever made the page.
    Session(SessionId),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Token(_) => "Token(***)",
            Credential::Session(_) => "Session(***)",
        })
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The record, at most a second old.
    pub(crate) user: Arc<User>,
    /// Whether the login is one of the admins'.
    pub(crate) is_admin: bool,
    /// What was shown.
    pub(crate) credential: Credential,
}

impl Subject {
    /// The login.
    pub(crate) fn login(&self) -> &UserId {
        &self.user.id
    }

    /// Refuses a change that a browser was made to ask for by a page of somebody else.
    pub(crate) fn check_intent(&self, app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
        let Credential::Session(id) = &self.credential else { return Ok(()) };
        origin::check_page(app, headers)?;
        let shown = headers.get(PROOF).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if id.is_proof(shown) {
            return Ok(());
        }
        let text = "a browser must send the session's csrf text in the header X-CSRF-Token with each change";
        Err(ApiError::Forbidden(text.to_owned()))
    }
}

impl FromRequestParts<App> for Subject {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // The guard of the route may have found out already.
        if let Some(subject) = parts.extensions.get::<Subject>() {
            return Ok(subject.clone());
        }
        if !parts.headers.contains_key(header::AUTHORIZATION)
            && let Some(id) = SessionId::of(&parts.headers, origin::is_https(&app.config().doors, parts))
        {
            return of(app, &Credential::Session(id)).await;
        }
        of(app, &Credential::Token(bearer(&parts.headers)?.into())).await
    }
}

/// The one behind what was shown: still known, active, and with the keys it was made with.
pub(crate) async fn of(app: &App, credential: &Credential) -> Result<Subject, ApiError> {
    const REFUSED: ApiError = ApiError::NotLoggedIn("the token is not valid (any more); log in again");
    const OVER: ApiError = ApiError::NotLoggedIn("the session is over; log in again");
    let (login, key_version, refused) = match credential {
        Credential::Token(token) => {
            let verified = app.tokens.verify(token, app.now()).ok_or(REFUSED)?;
            (verified.user, verified.key_version, REFUSED)
        }
        Credential::Session(id) => {
            let session = app.session(id).await?.ok_or(OVER)?;
            (session.user, session.kv, OVER)
        }
    };
    let mut found = app.user(&login).await?;
    if found.as_ref().is_some_and(|user| user.key_version < key_version) {
        // Begun at another web server a moment ago, with keys newer than the record remembered here.
        app.forget_user(&login);
        found = app.user(&login).await?;
    }
    let Some(user) = found else { return Err(refused) };
    if !user.active || user.key_version != key_version || !app.is_in_directory(&user) {
        return Err(refused);
    }
    let is_admin = app.is_admin(&user.id);
    Ok(Subject { user, is_admin, credential: credential.clone() })
}

/// The token of the header `Authorization: Bearer <token>`; one client writes the word in small letters.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    const MISSING: ApiError = ApiError::NotLoggedIn("log in first: no token was sent");
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).ok_or(MISSING)?;
    let (scheme, token) = text.trim().split_once(' ').ok_or(MISSING)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(MISSING) }
}
