//! From a key or a password to a token or a session.

use crate::app::App;
use crate::error::ApiError;
use crate::http::{Sent, json};
use crate::identity::Known;
use crate::origin::{self, RemoteUser};
use crate::session::{Session, SessionId};
use crate::subject::{Credential, Subject};
use crate::throttle::{Alarm, Try};
use axum::Extension;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use god_core::auth::AuthError;
use god_core::user::User;
use god_core::{UserId, keys};
use serde_json::{Value, json};
use std::sync::Arc;

const WRONG: ApiError = ApiError::NotLoggedIn("login, key or password is wrong");
const SHUT: ApiError = ApiError::NotLoggedIn("too many wrong tries; try again later");

/// `POST /authenticate`: a token for programs.
pub(super) async fn authenticate(
    State(app): State<App>,
    remote: Option<Extension<RemoteUser>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, known) = let_in(&app, remote, request).await?;
    let from = origin::from(&app.config().doors, &parts.extensions, &parts.headers);
    let user = &known.user;
    let token = app.tokens.issue(&user.id, user.key_version, app.now());
    let token = token.ok_or(ApiError::Failed("no token can be signed"))?;
    let how = known.how;
    if app.is_news(&user.id, &from, how) {
        let after = Some(json!({"by": how}));
        app.audit.act(app.now(), &user.id, &from, "token.begin", user.id.as_str(), (None, after)).await;
    }
    let mut answer = json!({"token": token});
    if let Some(key) = known.first_key {
        answer["apikey"] = Value::String(key);
    }
    Ok(json(&answer))
}

/// `POST /login`: a session for a browser. It has a new name whatever the browser sent, and an earlier one ends.
pub(super) async fn login(
    State(app): State<App>,
    remote: Option<Extension<RemoteUser>>,
    request: Request,
) -> Result<Response, ApiError> {
    origin::check_page(&app, request.headers())?;
    let (parts, known) = let_in(&app, remote, request).await?;
    let answer = begin(&app, &parts, &known).await?;
    Ok(answer)
}

/// Begins a session for somebody who was let in, and answers with its cookie.
pub(super) async fn begin(app: &App, parts: &Parts, known: &LetIn) -> Result<Response, ApiError> {
    let (id, session) = begin_quietly(app, parts, known).await?;
    let mut answer = shown(app, &known.user, Some((&id, &session)));
    if let Some(key) = &known.first_key {
        answer["apikey"] = Value::String(key.clone());
    }
    let mut response = json(&answer);
    let is_https = origin::is_https(&app.config().doors, parts);
    let cookie = id.cookie(is_https, app.config().doors.session_life.0)?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Begins a session, with its record in the audit trail; the caller gives the cookie to the browser.
pub(super) async fn begin_quietly(
    app: &App,
    parts: &Parts,
    known: &LetIn,
) -> Result<(SessionId, Session), ApiError> {
    let doors = &app.config().doors;
    if let Some(old) = SessionId::of(&parts.headers, origin::is_https(doors, parts)) {
        app.keep_session(&old, None).await?;
    }
    let begun = app.begin_session(&known.user).await?;
    let from = origin::from(doors, &parts.extensions, &parts.headers);
    let after = Some(json!({"by": known.how}));
    let login = &known.user.id;
    app.audit.act(app.now(), login, &from, "session.begin", login.as_str(), (None, after)).await;
    Ok(begun)
}

/// `GET /session`: who is logged in, and for a browser what it must send with changes.
pub(super) async fn session(State(app): State<App>, subject: Subject) -> Result<Response, ApiError> {
    let session = match &subject.credential {
        Credential::Session(id) => app.session(id).await?.map(|session| (id, session)),
        Credential::Token(_) => None,
    };
    Ok(json(&shown(&app, &subject.user, session.as_ref().map(|(id, session)| (*id, session)))))
}

fn shown(app: &App, user: &User, session: Option<(&SessionId, &Session)>) -> Value {
    json!({
        "user": user.id,
        "admin": app.is_admin(&user.id),
        "guest": user.guest,
        "csrf": session.map(|(id, _)| id.proof()),
        "ends": session.map(|(_, session)| session.ends),
    })
}

/// `POST /logout`
pub(super) async fn logout(
    State(app): State<App>,
    parts: Parts,
    subject: Subject,
) -> Result<Response, ApiError> {
    let Credential::Session(id) = &subject.credential else {
        let text = "a token ends with the API keys it was made with, not by itself";
        return Err(ApiError::Bad(text.to_owned()));
    };
    app.keep_session(id, None).await?;
    let mut response = json(&json!({"msg": "logged out"}));
    let cookie: HeaderValue = SessionId::no_cookie(origin::is_https(&app.config().doors, &parts))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Somebody who was let in, and by what.
#[derive(Debug)]
pub(super) struct LetIn {
    pub(super) user: Arc<User>,
    pub(super) first_key: Option<String>,
    pub(super) how: &'static str,
}

/// Looks at what a request shows: key, password, or what a proxy says of it.
async fn let_in(
    app: &App,
    remote: Option<Extension<RemoteUser>>,
    request: Request,
) -> Result<(Parts, LetIn), ApiError> {
    let (parts, body) = request.into_parts();
    let head = Request::from_parts(parts.clone(), body);
    let Sent(body) = Sent::from_request(head, app).await?;
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (Some(Extension(RemoteUser(login))), None) = (remote, text("user").or(text("login"))) {
        let known = by_proxy(app, &parts, &login).await?;
        return Ok((parts, known));
    }
    let login = text("user").or(text("login")).ok_or(WRONG)?;
    // A text that is no login is answered like an unknown one.
    let login = UserId::parse(login).map_err(|_| WRONG)?;
    let address = origin::address(&app.config().doors, &parts.extensions, &parts.headers);
    let attempt = app.throttle.begin(&login, address).await;
    let found = match (text("apikey"), text("password")) {
        (Some(key), _) => by_key(app, &attempt, &login, key).await?,
        (None, Some(_)) if attempt.is_shut() => return Err(SHUT),
        (None, Some(password)) => by_password(app, &parts, &login, password).await?,
        (None, None) => None,
    };
    match found.filter(|found| found.user.active) {
        Some(found) => {
            attempt.right();
            Ok((parts, found))
        }
        None => {
            if let Some(alarm) = attempt.wrong().await {
                raise(app, &parts, &login, alarm).await;
            }
            Err(WRONG)
        }
    }
}

/// Tells people who look after the site that somebody guesses.
async fn raise(app: &App, parts: &Parts, login: &UserId, alarm: Alarm) {
    let from = origin::from(&app.config().doors, &parts.extensions, &parts.headers);
    tracing::warn!(user = %login, %from, wrong = alarm.wrong, "many wrong logins: further ones are held up");
    let after = Some(json!({"wrong": alarm.wrong}));
    app.audit.act(app.now(), login, &from, "login.shut", login.as_str(), (None, after)).await;
}

async fn by_key(app: &App, attempt: &Try<'_>, login: &UserId, key: &str) -> Result<Option<LetIn>, ApiError> {
    // Keys of ours are too long to guess, but not to try: while the door is shut only those that begin like one count.
    let is_looked_at = |user: &User| !attempt.is_shut() || keys::is_known_prefix(key, &user.keys);
    let let_in = |user| LetIn { user, first_key: None, how: "key" };
    let mut tried = false;
    for is_second_look in [false, true] {
        if is_second_look {
            // The record may be a second old, and the key just made.
            app.forget_user(login);
        }
        let user = app.user(login).await?;
        let records = user.as_ref().filter(|user| is_looked_at(user)).map_or(&[][..], |user| &user.keys);
        tried |= user.as_ref().is_some_and(|user| is_looked_at(user));
        // The same work is done for nobody, so that the time does not tell who exists.
        if keys::verify(&app.key_secret, key, records) {
            return Ok(user.map(let_in));
        }
        if let Some(old) = &app.previous_key_secret
            && let Some(records) = keys::rehashed(old, &app.key_secret, key, records)
            && let Some(user) = &user
        {
            return Ok(Some(let_in(keep_key(app, user, records).await?)));
        }
    }
    if attempt.is_shut() && !tried { Err(SHUT) } else { Ok(None) }
}

/// Keeps a key that was hashed with the secret before, hashed with the one of now.
async fn keep_key(
    app: &App,
    user: &Arc<User>,
    keys: Vec<god_core::user::KeyRecord>,
) -> Result<Arc<User>, ApiError> {
    let next = User { keys, ..User::clone(user) };
    if app.store.put_user(&next).await? {
        tracing::info!(user = %user.id, "an API key is kept under the new secret_passphrase");
        app.forget_user(&user.id);
    }
    // Somebody was faster: the key stays under the old secret until it is used again.
    Ok(Arc::clone(user))
}

async fn by_password(
    app: &App,
    parts: &Parts,
    login: &UserId,
    password: &str,
) -> Result<Option<LetIn>, ApiError> {
    let identity = match app.auth.by_password(login, password).await {
        Ok(identity) => identity,
        Err(AuthError::Denied) => return Ok(None),
        Err(AuthError::Refused(text)) => return Err(ApiError::Forbidden(text)),
        Err(err @ AuthError::Unreachable(_)) => return Err(unreachable(&err)),
    };
    let from = origin::from(&app.config().doors, &parts.extensions, &parts.headers);
    let Known { user, first_key } = app.known(&identity, &from).await?;
    Ok(Some(LetIn { user, first_key, how: "password" }))
}

/// Somebody whom a proxy of ours knows.
async fn by_proxy(app: &App, parts: &Parts, login: &UserId) -> Result<LetIn, ApiError> {
    let identity = match app.auth.lookup(login).await {
        Ok(Some(identity)) => identity,
        Ok(None) | Err(AuthError::Denied) => {
            tracing::warn!(user = %login, "the proxy names a user whom the directory does not know");
            return Err(ApiError::Forbidden("you are not known in the directory of users".to_owned()));
        }
        Err(AuthError::Refused(text)) => return Err(ApiError::Forbidden(text)),
        Err(err @ AuthError::Unreachable(_)) => return Err(unreachable(&err)),
    };
    let from = origin::from(&app.config().doors, &parts.extensions, &parts.headers);
    let Known { user, first_key } = app.known(&identity, &from).await?;
    if user.active { Ok(LetIn { user, first_key, how: "proxy" }) } else { Err(WRONG) }
}

fn unreachable(err: &AuthError) -> ApiError {
    tracing::error!(err = %god_engine::chain(err), "a password can not be checked");
    ApiError::Failed("the directory of users does not answer; try again later")
}
