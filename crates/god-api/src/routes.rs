//! The table of routes, and what wraps all of them.

mod acts;
mod events;
mod files;
mod general;
mod log;
mod login;
mod submit;
mod tasks;
mod users;

use crate::app::App;
use crate::error::ApiError;
use crate::subject::Subject;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use std::sync::atomic::Ordering;
use tower_http::catch_panic::CatchPanicLayer;

/// The interface as a service. Slashes in a row and at the end of a path mean nothing, as existing clients expect.
pub fn router(app: App) -> Router {
    let api = Router::new()
        .route("/authenticate", post(login::authenticate))
        .route("/config", get(general::config))
        .route("/image", get(general::images))
        .route("/count", get(general::count))
        .route("/usage", get(general::usage))
        .route("/maintenance", get(general::maintenance).put(general::set_maintenance))
        .route("/events", get(events::events))
        .route("/task", post(submit::submit))
        .route("/task/active", get(tasks::active))
        .route("/task/active/all", get(tasks::active_all))
        .route("/task/over/{skip}/{limit}", post(tasks::over))
        .route("/task/over/all/{skip}/{limit}", post(tasks::over_all))
        .route("/task/{id}", get(tasks::one).put(acts::set_field).delete(acts::kill))
        .route("/task/{id}/status", get(tasks::status))
        .route("/task/{id}/wait", get(tasks::wait))
        .route("/task/{id}/suspend", get(acts::suspend).post(acts::suspend))
        .route("/task/{id}/resume", get(acts::resume).post(acts::resume))
        .route("/task/{id}/reschedule", get(acts::reschedule).post(acts::reschedule))
        .route("/task/{id}/log", get(log::log))
        .route("/task/{id}/files", get(files::root))
        .route("/task/{id}/files/{*path}", get(files::path))
        .route("/user/{id}", get(users::one).put(not_built).delete(not_built))
        .route("/user/{id}/project", get(users::projects))
        .route("/user/{id}/usage", get(users::usage))
        .route("/user/{id}/task", delete(users::kill_tasks))
        .route("/user", get(not_built))
        .route("/project", any(not_built))
        .route("/project/{id}", any(not_built))
        .route("/project/{id}/usage", any(not_built))
        .route("/project/{id}/quota", any(not_built))
        .route("/task/{id}/archive", any(not_built))
        .route("/task/{id}/monitor", any(not_built))
        .route("/task/{id}/replay", any(not_built))
        .route("/archive/{days}", any(not_built))
        .route("/status", any(not_built))
        .route("/prometheus", any(not_built));
    let all = Router::new()
        .nest("/api/1.0", api)
        .route("/", get(general::home))
        .route("/metrics", get(general::metrics))
        .fallback(|| async { ApiError::NotFound("there is nothing at this address".to_owned()) })
        .method_not_allowed_fallback(|| async {
            ApiError::Bad("this address does not take this method".to_owned())
        })
        .with_state(app.clone());
    // The path is made plain before the table is searched, so the table is the fallback of an empty one.
    Router::new().fallback_service(all).layer(from_fn_with_state(app, outermost)).layer(
        CatchPanicLayer::custom(|_panic| {
            ApiError::Failed("this request hit a fault of the server; it is in the log").into_response()
        }),
    )
}

/// Makes the path plain and counts the answer.
async fn outermost(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(uri) = plain(request.uri()) {
        *request.uri_mut() = uri;
    }
    let response = next.run(request).await;
    let class = usize::from(response.status().as_u16() / 100).clamp(1, 5) - 1;
    app.answers[class].fetch_add(1, Ordering::Relaxed);
    response
}

/// The address with slashes in a row made one and without those at the end; `None` when it is so already.
fn plain(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") && (path.len() == 1 || !path.ends_with('/')) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let path = format!("/{}", parts.join("/"));
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(text.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

/// Known to clients, but not there yet.
async fn not_built(_subject: Subject) -> ApiError {
    ApiError::Bad("this is not built in yet".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        for (path, expected) in [
            ("/", None),
            ("/a/b", None),
            ("//api/1.0/task", Some("/api/1.0/task")),
            ("/a///b//c/", Some("/a/b/c")),
            ("/a/?q=//x/", Some("/a?q=//x/")),
            ("///", Some("/")),
            ("/a%2F%2Fb", None),
        ] {
            let uri: Uri = format!("http://host{path}").parse().expect("an address");
            let got =
                plain(&uri).map(|uri| uri.path_and_query().map(ToString::to_string).unwrap_or_default());
            assert_eq!(got.as_deref(), expected, "{path}");
        }
    }
}
