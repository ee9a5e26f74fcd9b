//! Which processes of ours are there.

use crate::app::App;
use crate::error::ApiError;
use crate::http::json;
use axum::extract::State;
use axum::response::Response;
use god_core::status::ProcessStatus;
use serde_json::{Value, json};

/// `GET /status`: what the status plugin knows, and who holds a lease of the store.
pub(super) async fn status(State(app): State<App>) -> Result<Response, ApiError> {
    let mut processes = leases(&app).await?;
    if let Some(plugin) = &app.status {
        match plugin.processes().await {
            Ok(known) => {
                processes.retain(|process| {
                    !known.iter().any(|k| k.name == process.name && k.kind == process.kind)
                });
                processes.extend(known);
            }
            Err(err) => {
                tracing::warn!(err = %god_engine::chain(&*err), "the registry of processes does not answer");
                return Err(ApiError::Failed("the registry of processes does not answer"));
            }
        }
    }
    processes.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    let list: Vec<Value> = processes
        .iter()
        .map(|p| json!({"name": p.name, "type": p.kind, "status": p.alive, "timestamp": p.seen}))
        .collect();
    Ok(json(&list))
}

async fn leases(app: &App) -> Result<Vec<ProcessStatus>, ApiError> {
    let records = app.store.leases("").await?;
    Ok(records
        .iter()
        .filter_map(|record| {
            let kind = record.name.split('/').next().unwrap_or(&record.name);
            let holder = record.holder.as_ref()?;
            Some(ProcessStatus {
                name: holder.to_string(),
                kind: kind.to_owned(),
                alive: !app.store.is_gone(record),
                seen: None,
            })
        })
        .collect())
}
