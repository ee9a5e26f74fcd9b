//! Which processes of ours are there.

use crate::app::App;
use crate::error::ApiError;
use crate::http::json;
use axum::extract::State;
use axum::response::Response;
use god_engine::processes;
use serde_json::{Value, json};

/// `GET /status`: what the store and the status plugin know.
pub(super) async fn status(State(app): State<App>) -> Result<Response, ApiError> {
    let known = processes::known(&*app.store, app.status.as_deref(), app.now()).await?;
    if let Err(err) = known.registry {
        tracing::warn!(err = %god_engine::chain(&*err), "the registry of processes does not answer");
    }
    let processes = known.processes.iter();
    let list: Vec<Value> = processes
        .map(|p| json!({"name": p.name, "type": p.kind, "status": p.alive, "timestamp": p.seen}))
        .collect();
    Ok(json(&list))
}
