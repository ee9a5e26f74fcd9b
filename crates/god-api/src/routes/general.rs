//! What is said of the site as a whole.

use super::tasks::pages;
use crate::access::{Action, Object};
use crate::app::App;
use crate::audit::Trail;
use crate::error::ApiError;
use crate::http::{Sent, json, json_bytes};
use crate::subject::Subject;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use god_core::ids::{ExecutorName, NodeName};
use god_core::resources::Amount;
use god_core::state::Phase;
use god_core::store::{Counts, Scan};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

/// `GET /`: probed often, and seen by people who try the address in a browser.
pub(super) async fn home(State(app): State<App>) -> Response {
    // The version is ours, not a user's text.
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>GO-Docker</title>\
         <h1>GO-Docker {}</h1><p>This is the server of a batch system. Its interface is at \
         <code>/api/1.0</code>; use the programs <code>go-d-cli</code> or <code>godjob</code>.</p></html>\n",
        app.config().version
    );
    let mut response = Response::new(Body::from(page));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `GET /config`: without login, and from memory.
pub(super) async fn config(State(app): State<App>) -> Response {
    json_bytes(app.public_config.clone())
}

/// `GET /image`
pub(super) async fn images(State(app): State<App>, _subject: Subject) -> Result<Response, ApiError> {
    Ok(json(&app.store.images().await?))
}

/// `GET /count`
pub(super) async fn count(State(app): State<App>, _subject: Subject) -> Result<Response, ApiError> {
    let counts = app.store.counts(None).await?;
    let pending = of(&counts, &[Phase::Pending, Phase::Starting, Phase::Held]);
    let running = of(&counts, &[Phase::Running, Phase::Gathering]);
    let over = of(&counts, &[Phase::Over, Phase::Archived]);
    Ok(json(&json!({"pending": pending, "running": running, "over": over})))
}

fn of(counts: &Counts, phases: &[Phase]) -> u64 {
    phases.iter().map(|phase| counts.0[usize::from(phase.code())]).sum()
}

/// What is taken of each node, and by how many tasks.
pub(super) async fn used_by_node(
    app: &App,
) -> Result<HashMap<(ExecutorName, NodeName), (Amount, u64)>, ApiError> {
    let mut used: HashMap<_, (Amount, u64)> = HashMap::new();
    let scan = Scan::Phases(vec![Phase::Starting, Phase::Running]);
    pages(app, &scan, |task| {
        if let Some(attempt) = task.state.attempt() {
            let (sum, tasks) = used.entry((attempt.executor.clone(), attempt.node.clone())).or_default();
            *sum = sum.plus(task.spec.amount());
            *tasks += 1;
        }
        Ok(())
    })
    .await?;
    Ok(used)
}

/// `GET /usage`: what each node has and how much of it is taken.
pub(super) async fn usage(State(app): State<App>) -> Result<Response, ApiError> {
    let used = used_by_node(&app).await?;
    let nodes = app.nodes().await?;
    let list: Vec<Value> = nodes
        .iter()
        .map(|node| {
            let (used, _) =
                used.get(&(node.executor.clone(), node.name.clone())).copied().unwrap_or_default();
            let mut entry = json!({
                "name": node.name,
                "executor": node.executor,
                "cpu": [used.cores, node.total.cores],
                "mem": [used.memory, node.total.memory],
            });
            if node.total.gpus > 0 {
                entry["gpus"] = json!([used.gpus, node.total.gpus]);
            }
            entry
        })
        .collect();
    Ok(json(&list))
}

/// `GET /maintenance`
pub(super) async fn maintenance(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(json(&json!({"value": word(app.in_maintenance().await?)})))
}

/// `PUT /maintenance` with `{"value": "on"}` or `"off"`
pub(super) async fn set_maintenance(
    State(app): State<App>,
    trail: Trail,
    Sent(body): Sent,
) -> Result<Response, ApiError> {
    let on = match body.get("value").or_else(|| body.get("status")).and_then(Value::as_str) {
        Some("on") => true,
        Some("off") => false,
        _ => return Err(ApiError::Bad("value: accepted are \"on\" and \"off\"".to_owned())),
    };
    let before = app.in_maintenance().await?;
    app.set_maintenance(on).await?;
    trail.note("maintenance", Some(json!(word(before))), Some(json!(word(on))));
    Ok(json(&json!({"value": word(on)})))
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): State<App>, mut parts: Parts) -> Result<Response, ApiError> {
    if !app.config().open_metrics {
        let subject = Subject::from_request_parts(&mut parts, &app).await?;
        app.authorize(&subject, Action::Read, Object::Site).await?;
    }
    let counts = app.store.counts(None).await?;
    let nodes = app.nodes().await?;
    let mut text = String::from("# HELP god_tasks Tasks by state.\n# TYPE god_tasks gauge\n");
    for phase in Phase::ALL {
        let name = format!("{phase:?}").to_ascii_lowercase();
        line(&mut text, &format!("god_tasks{{state=\"{name}\"}}"), of(&counts, &[phase]));
    }
    let total = nodes.iter().fold(Amount::default(), |sum, node| sum.plus(node.total));
    for (name, help, value) in [
        ("god_nodes", "Nodes that executors publish.", nodes.len() as u64),
        ("god_nodes_cores", "Cores of all nodes.", u64::from(total.cores.0)),
        ("god_nodes_memory_bytes", "Memory of all nodes.", total.memory.0),
        ("god_maintenance", "Whether the site is in maintenance.", u64::from(app.in_maintenance().await?)),
    ] {
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        line(&mut text, name, value);
    }
    text.push_str(
        "# HELP god_api_answers_total Answers by class of status.\n# TYPE god_api_answers_total counter\n",
    );
    for (class, answers) in app.answers.iter().enumerate() {
        let name = format!("god_api_answers_total{{status=\"{}xx\"}}", class + 1);
        line(&mut text, &name, answers.load(Ordering::Relaxed));
    }
    app.pushed.write(&mut text);
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn line(text: &mut String, name: &str, value: u64) {
    writeln!(text, "{name} {value}").expect("writing to a String cannot fail");
}
