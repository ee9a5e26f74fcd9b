//! The engine's own speed: create, start, wait and remove over its API, four at a time, without a network.

use crate::http::{request, unix};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The image of the measured containers, made by `cargo xtask up docker`.
pub const IMAGE: &str = "godtest/busybox:1";

/// Containers per second.
pub async fn cycles(socket: &str, total: usize) -> Result<f64> {
    let left = Arc::new(AtomicUsize::new(total));
    let began = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (socket, left) = (socket.to_owned(), Arc::clone(&left));
        workers.spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                cycle(&socket).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

async fn cycle(socket: &str) -> Result<()> {
    let mut engine = unix(socket).await?;
    let body = json!({
        "Image": IMAGE, "Cmd": ["/bin/true"], "NetworkDisabled": true,
        "HostConfig": { "NetworkMode": "none", "LogConfig": { "Type": "none" } },
    });
    let (status, answer) =
        engine.call(&request("POST", "/v1.41/containers/create", None, &body.to_string())).await?;
    if status != 201 {
        bail!("create: {status} {}", String::from_utf8_lossy(&answer));
    }
    let id = serde_json::from_slice::<Value>(&answer)?["Id"].as_str().context("no id")?.to_owned();
    for (method, path) in [
        ("POST", format!("/v1.41/containers/{id}/start")),
        ("POST", format!("/v1.41/containers/{id}/wait")),
        ("DELETE", format!("/v1.41/containers/{id}")),
    ] {
        let (status, answer) = engine.call(&request(method, &path, None, "")).await?;
        if status >= 300 {
            bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer));
        }
    }
    Ok(())
}
