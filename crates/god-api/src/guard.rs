//! What stands before every handler: who asks, how much at once, for how long, and the record of what was changed.

use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::LargeBody;
use crate::origin;
use crate::route::{Kind, RouteInfo, Who};
use crate::subject::Subject;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use god_core::UserId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests of one user that are worked on at once; further ones wait for their turn.
pub(crate) const AT_ONCE: usize = 64;
/// Streams of one user at once.
const STREAMS: usize = 256;
/// A request that gets no turn by then is refused.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer must be ready by then.
const READ_TIME: Duration = Duration::from_secs(60);
/// Users remembered.
const REMEMBERED: usize = 10_000;

/// Stands before the handler of a route.
pub(crate) async fn guard(
    State((app, info)): State<(App, Arc<RouteInfo>)>,
    request: Request,
    next: Next,
) -> Response {
    let is_typed = info.path.starts_with("/api/2/");
    match pass(app, info, request, next).await {
        Ok(response) => response,
        Err(err @ ApiError::Busy(_)) if is_typed => {
            // Only clients of the old interface know no other code than 400 for this.
            let mut response = err.into_response();
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Err(err) => err.into_response(),
    }
}

async fn pass(app: App, info: Arc<RouteInfo>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let mut turn = None;
    let mut who = String::new();
    if !matches!(info.who, Who::Anyone | Who::Key) {
        let subject = Subject::from_request_parts(&mut parts, &app).await?;
        if info.who == Who::Admin {
            app.authorize(&subject, Action::Change, Object::Site).await?;
        }
        if matches!(info.kind, Kind::Changes(_)) {
            subject.check_intent(&app, &parts.headers)?;
        }
        who = subject.login().to_string();
        turn = Some(app.turns.begin(subject.login(), info.kind == Kind::Streams).await?);
        parts.extensions.insert(subject);
    }
    if info.has_large_body {
        parts.extensions.insert(LargeBody);
    }
    let Kind::Changes(action) = info.kind else {
        let request = Request::from_parts(parts, body);
        if info.kind == Kind::Streams {
            return Ok(holding(next.run(request).await, turn));
        }
        let answer = tokio::time::timeout(READ_TIME, next.run(request)).await;
        let late = |_| ApiError::Busy("the answer took too long; ask for less, or try again later");
        return answer.map(|response| holding(response, turn)).map_err(late);
    };
    let from = origin::from(&app.config().doors, &parts.extensions, &parts.headers);
    let trail = Trail::default();
    parts.extensions.insert(trail.clone());
    let path = parts.uri.path().to_owned();
    let request = Request::from_parts(parts, body);
    // On its own, so that a client which hangs up can not cut a change off from its record.
    let work = tokio::spawn(async move {
        let response = next.run(request).await;
        if response.status().is_success() {
            app.audit.write(app.now(), who, from, action, &path, trail).await;
        }
        drop(turn);
        response
    });
    match work.await {
        Ok(response) => Ok(response),
        Err(err) => match err.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ApiError::Failed("the server stops")),
        },
    }
}

/// The answer, which holds the turn until its body has ended. One that is ready as a whole needs none any more.
fn holding(response: Response, turn: Option<OwnedSemaphorePermit>) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let turn = Arc::new(turn);
    let body = body.into_data_stream().map(move |chunk| {
        let _held = &turn;
        chunk
    });
    Response::from_parts(parts, Body::from_stream(body))
}

/// Who is being worked for, and how much at once.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    users: Mutex<HashMap<UserId, Lanes>>,
}

/// One user's places: for requests, and for streams.
#[derive(Debug, Clone)]
struct Lanes([Arc<Semaphore>; 2]);

impl Turns {
    /// A turn, which ends when it is dropped.
    async fn begin(&self, login: &UserId, is_stream: bool) -> Result<OwnedSemaphorePermit, ApiError> {
        const BUSY: ApiError =
            ApiError::Busy("you have too many requests under way at once; try again later");
        let lane = {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            if users.len() >= REMEMBERED {
                users.retain(|_, lanes| lanes.0.iter().any(|lane| Arc::strong_count(lane) > 1));
            }
            let lanes = match users.get(login) {
                Some(lanes) => lanes,
                None => users.entry(login.clone()).or_insert_with(|| {
                    Lanes([Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(STREAMS))])
                }),
            };
            Arc::clone(&lanes.0[usize::from(is_stream)])
        };
        if let Ok(turn) = Arc::clone(&lane).try_acquire_owned() {
            return Ok(turn);
        }
        match tokio::time::timeout(PATIENCE, lane.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(BUSY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_user_has_so_many_turns_and_others_have_theirs() {
        let turns = Turns::default();
        let (bob, eve) = (UserId::new("bob"), UserId::new("eve"));
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(turns.begin(&bob, false).await.expect("a turn"));
        }
        assert!(matches!(turns.begin(&bob, false).await, Err(ApiError::Busy(_))));
        drop(turns.begin(&bob, true).await.expect("streams have places of their own"));
        drop(turns.begin(&eve, false).await.expect("others are not held up"));
        let (next, ()) = tokio::join!(turns.begin(&bob, false), async { drop(held.pop()) });
        drop(next.expect("a turn that ended is the next one's"));
    }
}
