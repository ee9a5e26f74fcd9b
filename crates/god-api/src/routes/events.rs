//! Changes of the caller's own tasks as they happen. Others' tasks are never among them.

use crate::app::App;
use crate::error::ApiError;
use crate::hub::{Documents, Heard};
use crate::subject::{self, Credential, Subject};
use crate::typed;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use god_core::store::Seq;
use god_core::{Task, UserId, wire};
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// The token is checked again this often, while the stream lives.
const CHECK: Duration = Duration::from_secs(30);

/// `GET /events`: server-sent events. `task` carries the status of one task; `reset` says that some may have been missed
/// and lists should be read again. The first event is `hello`, or `reset` for a client that comes back too late.
pub(super) async fn events(
    State(app): State<App>,
    subject: Subject,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    listen(app, subject, headers, text).await
}

/// `GET /api/2/events`: the same, with typed tasks.
pub(super) async fn typed_events(
    State(app): State<App>,
    subject: Subject,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let text = |task: &Task| json!(typed::Task::of(task, None)).to_string();
    listen(app, subject, headers, text).await
}

async fn listen(
    app: App,
    subject: Subject,
    headers: HeaderMap,
    text: fn(&Task) -> String,
) -> Result<Response, ApiError> {
    let documents = app.hub.documents();
    let changes = app.hub.listen().await?;
    let head = app.store.head().await?;
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let first = if seen.is_none_or(|seen| seen == head.0) { "hello" } else { "reset" };
    let listener = Listener {
        credential: subject.credential.clone(),
        user: subject.login().clone(),
        first: Some((first, head)),
        checked: Instant::now(),
        _documents: documents,
        changes,
        text,
        app,
    };
    let events = futures::stream::unfold(listener, Listener::next);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

struct Listener {
    app: App,
    user: UserId,
    credential: Credential,
    changes: broadcast::Receiver<Heard>,
    text: fn(&Task) -> String,
    first: Option<(&'static str, Seq)>,
    checked: Instant,
    _documents: Documents,
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Listener)> {
        if let Some((name, seq)) = self.first.take() {
            let event = Event::default().event(name).id(seq.0.to_string()).data("{}");
            return Some((Ok(event), self));
        }
        loop {
            if self.checked.elapsed() >= CHECK {
                // Logged out, removed, or other keys since: the stream ends.
                subject::of(&self.app, &self.credential).await.ok()?;
                self.checked = Instant::now();
            }
            let heard = tokio::select! {
                heard = self.changes.recv() => heard,
                () = tokio::time::sleep(CHECK) => continue,
                () = self.app.closing.cancelled() => return None,
            };
            match heard {
                Ok(Heard { note, task: Some(task) }) if task.spec.owner.id == self.user => {
                    let event = Event::default().event("task").id(note.seq.0.to_string());
                    return Some((Ok(event.data((self.text)(&task))), self));
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => {
                    return Some((Ok(Event::default().event("reset").data("{}")), self));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn text(task: &Task) -> String {
    json!({
        "id": task.id,
        "parent_task_id": task.parent,
        "name": task.spec.name,
        "status": wire::status(task, None),
    })
    .to_string()
}
