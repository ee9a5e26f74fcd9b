//! The table of routes, and what wraps all of them.

mod acts;
mod archive;
mod docs;
mod events;
mod files;
mod general;
mod keys;
mod log;
mod login;
mod monitor;
mod processes;
mod projects;
mod pushed;
mod replay;
mod submit;
mod tasks;
mod users;
mod v2;

pub(crate) use monitor::Monitors;
pub(crate) use pushed::Pushed;

use crate::app::App;
use crate::error::ApiError;
use crate::origin;
use crate::route::{Route, RouteInfo, Who};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::sync::atomic::Ordering;
use tower_http::catch_panic::CatchPanicLayer;

const DELETE: Method = Method::DELETE;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;

/// The interface as a service. Slashes in a row and at the end of a path mean nothing, as existing clients expect.
pub fn router(app: App) -> Router {
    let all = table().into_iter().fold(Router::new(), |router, route| route.add(router, &app));
    let all = all
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

/// What is known of every route there is.
#[must_use]
pub fn routes() -> Vec<RouteInfo> {
    table().into_iter().map(|route| route.info).collect()
}

/// All routes. A route that is not here does not exist.
fn table() -> Vec<Route> {
    use Who::{Admin, Anyone, Key, Owner, User};
    let mut all = vec![
        Route::get("/", Anyone, "The front page.", general::home),
        Route::get("/api/openapi.json", Anyone, "The description of this interface.", docs::document),
        Route::get("/api/docs", Anyone, "The description of this interface, as a page.", docs::page),
        Route::get("/api/docs/style.css", Anyone, "The style of that page.", docs::style),
        Route::get("/metrics", Anyone, "Figures for Prometheus.", general::metrics),
        Route::ask(
            "/api/1.0/authenticate",
            Anyone,
            "From a key or a password to a token.",
            login::authenticate,
        ),
        Route::ask(
            "/api/1.0/login",
            Anyone,
            "Begins a browser's session, by password, key, or what a proxy says.",
            login::login,
        ),
        Route::get("/api/1.0/session", User, "Who is logged in, and what changes need.", login::session),
        Route::get(
            "/api/1.0/user/{id}/key",
            Owner,
            "API keys of a user, without what is secret.",
            keys::list,
        ),
        Route::get("/api/1.0/config", Anyone, "What everybody may know of the site.", general::config),
        Route::get("/api/1.0/image", User, "Images that tasks have used.", general::images),
        Route::get("/api/1.0/count", User, "Numbers of pending, running and finished tasks.", general::count),
        Route::get(
            "/api/1.0/usage",
            Admin,
            "What each node has and how much of it is taken.",
            general::usage,
        ),
        Route::get("/api/1.0/maintenance", Admin, "Whether the site is closed.", general::maintenance),
        Route::stream(
            "/api/1.0/events",
            User,
            "Changes of the caller's tasks as they happen.",
            events::events,
        ),
        Route::get("/api/1.0/task/active", User, "Unfinished tasks of the caller.", tasks::active),
        Route::get("/api/1.0/task/active/all", Admin, "All unfinished tasks.", tasks::active_all),
        Route::ask("/api/1.0/task/over/{skip}/{limit}", User, "Finished tasks of the caller.", tasks::over),
        Route::ask("/api/1.0/task/over/all/{skip}/{limit}", Admin, "All finished tasks.", tasks::over_all),
        Route::get("/api/1.0/task/{id}", Owner, "A whole task.", tasks::one),
        Route::get("/api/1.0/task/{id}/status", Owner, "The status of a task.", tasks::status),
        Route::stream("/api/1.0/task/{id}/wait", Owner, "The status of a task once it is over.", tasks::wait),
        Route::stream("/api/1.0/task/{id}/log", Owner, "What a task writes.", log::log),
        Route::stream("/api/1.0/task/{id}/files", Owner, "The job directory of a task.", files::root),
        Route::stream(
            "/api/1.0/task/{id}/files/{*path}",
            Owner,
            "A file or directory of a task.",
            files::path,
        ),
        Route::get("/api/1.0/task/{id}/monitor", Owner, "What its container uses now.", monitor::monitor),
        Route::get("/api/1.0/status", Admin, "Processes of the system.", processes::status),
        Route::ask("/api/1.0/prometheus", Key, "Takes figures of other programs.", pushed::push),
        Route::get("/api/1.0/user", Admin, "All users.", users::all),
        Route::get("/api/1.0/project", Admin, "All projects.", projects::all),
        Route::get("/api/1.0/project/{id}", Admin, "A project.", projects::one),
        Route::get("/api/1.0/project/{id}/usage", User, "What a project used, by day.", projects::usage),
        Route::get("/api/1.0/user/{id}", Owner, "A user.", users::one),
        Route::get("/api/1.0/user/{id}/project", Owner, "Projects of a user.", users::projects),
        Route::get("/api/1.0/user/{id}/usage", Owner, "What a user used, by day.", users::usage),
    ];
    all.extend(changes());
    all.extend(typed());
    all
}

/// Those that change something. Some do so by GET too, as existing clients ask for it.
fn changes() -> Vec<Route> {
    use Who::{Admin, Owner, User};
    const SUSPEND: &str = "/api/1.0/task/{id}/suspend";
    const RESUME: &str = "/api/1.0/task/{id}/resume";
    const RESCHEDULE: &str = "/api/1.0/task/{id}/reschedule";
    const ARCHIVE: &str = "/api/1.0/task/{id}/archive";
    const REPLAY: &str = "/api/1.0/task/{id}/replay";
    const OLD: &str = "/api/1.0/archive/{days}";
    const ONE_PROJECT: &str = "/api/1.0/project/{id}";
    let change = [
        Route::change(
            POST,
            "/api/1.0/logout",
            User,
            "session.end",
            "Ends the browser's session.",
            login::logout,
        ),
        Route::change(
            POST,
            "/api/1.0/user/{id}/key",
            Owner,
            "user.key.add",
            "Makes an API key, which is shown once.",
            keys::add,
        ),
        Route::change(
            DELETE,
            "/api/1.0/user/{id}/key/{prefix}",
            Owner,
            "user.key.remove",
            "Ends an API key, and the tokens of the user.",
            keys::remove,
        ),
        Route::change(POST, "/api/1.0/task", User, "task.submit", "Submits a task.", submit::submit).large(),
        Route::change(
            PUT,
            "/api/1.0/task/{id}",
            Owner,
            "task.field",
            "Sets a dynamic field.",
            acts::set_field,
        ),
        Route::change(DELETE, "/api/1.0/task/{id}", Owner, "task.kill", "Ends a task.", acts::kill),
        Route::change(DELETE, ARCHIVE, Owner, "task.purge", "Removes a finished task.", archive::purge),
        Route::change(
            DELETE,
            OLD,
            User,
            "tasks.purge",
            "Removes the caller's old tasks.",
            archive::purge_old,
        ),
        Route::change(
            DELETE,
            "/api/1.0/user/{id}/task",
            Owner,
            "user.kill",
            "Ends all tasks of a user.",
            users::kill_tasks,
        ),
        Route::change(PUT, "/api/1.0/user/{id}", Owner, "user.change", "Changes a user.", users::change),
        Route::change(
            DELETE,
            "/api/1.0/user/{id}",
            Admin,
            "user.remove",
            "Removes a user with all tasks.",
            users::remove,
        ),
        Route::change(
            POST,
            "/api/1.0/project",
            Admin,
            "project.create",
            "Creates a project.",
            projects::create,
        ),
        Route::change(POST, ONE_PROJECT, Admin, "project.change", "Changes a project.", projects::change),
        Route::change(DELETE, ONE_PROJECT, Admin, "project.remove", "Removes a project.", projects::remove),
        Route::change(
            DELETE,
            "/api/1.0/project/{id}/quota",
            Admin,
            "project.reset",
            "Forgets what a project used.",
            projects::reset,
        ),
        Route::change(
            PUT,
            "/api/1.0/maintenance",
            Admin,
            "site.maintenance",
            "Closes or opens the site.",
            general::set_maintenance,
        ),
    ];
    let by_both = [
        Route::change_by_both(SUSPEND, Owner, "task.suspend", "Pauses a task.", acts::suspend),
        Route::change_by_both(RESUME, Owner, "task.resume", "Lets a paused task go on.", acts::resume),
        Route::change_by_both(
            RESCHEDULE,
            Owner,
            "task.reschedule",
            "Ends a run and queues it again.",
            acts::reschedule,
        ),
        Route::change_by_both(
            ARCHIVE,
            Owner,
            "task.archive",
            "Removes the files of a finished task.",
            archive::archive,
        ),
        Route::change_by_both(REPLAY, Owner, "task.replay", "Submits the same task again.", replay::replay),
        Route::change_by_both(
            OLD,
            User,
            "tasks.archive",
            "Removes the files of the caller's old tasks.",
            archive::archive_old,
        ),
    ];
    change.into_iter().chain(by_both.into_iter().flatten()).collect()
}

/// The typed interface.
fn typed() -> Vec<Route> {
    use Who::{Admin, Owner, User};
    vec![
        Route::get("/api/2/tasks", User, "A page of tasks.", v2::tasks::list),
        Route::get("/api/2/tasks/{id}", Owner, "A task with all that was asked for.", v2::tasks::one),
        Route::change(POST, "/api/2/tasks/kill", User, "tasks.kill", "Ends many tasks.", v2::bulk::kill),
        Route::change(
            POST,
            "/api/2/tasks/suspend",
            User,
            "tasks.suspend",
            "Pauses many tasks.",
            v2::bulk::suspend,
        ),
        Route::change(
            POST,
            "/api/2/tasks/resume",
            User,
            "tasks.resume",
            "Lets many paused tasks go on.",
            v2::bulk::resume,
        ),
        Route::change(
            POST,
            "/api/2/tasks/reschedule",
            User,
            "tasks.reschedule",
            "Ends many runs and queues their tasks again.",
            v2::bulk::reschedule,
        ),
        Route::change(
            POST,
            "/api/2/tasks/archive",
            User,
            "tasks.archive",
            "Removes the files of many finished tasks.",
            v2::bulk::archive,
        ),
        Route::change(
            POST,
            "/api/2/tasks/purge",
            User,
            "tasks.purge",
            "Removes many finished tasks.",
            v2::bulk::purge,
        ),
        Route::get("/api/2/usage", User, "What a user or project used.", v2::site::usage),
        Route::get("/api/2/nodes", User, "Nodes, and what is taken of them.", v2::site::nodes),
        Route::get("/api/2/audit", Admin, "Who changed what.", v2::site::audit),
        Route::stream(
            "/api/2/events",
            User,
            "Changes of the caller's tasks as they happen.",
            events::typed_events,
        ),
    ]
}

/// What every answer tells a browser, unless it says something else: run nothing of it, show it in no frame, keep no copy.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Makes the path plain, counts the answer and gives it its headers.
async fn outermost(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(uri) = plain(request.uri()) {
        *request.uri_mut() = uri;
    }
    let (mut parts, body) = request.into_parts();
    origin::take_remote_user(&app.config().doors, &mut parts.headers, &mut parts.extensions);
    let request = Request::from_parts(parts, body);
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
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
