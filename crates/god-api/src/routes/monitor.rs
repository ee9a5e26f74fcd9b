//! What a running container uses, asked of the cAdvisor on its node.
//!
//! The address is never a client's: the node must be one that an executor publishes, port and path are the site's, the
//! container's id is the executor's own. Redirects are not followed, and the answer has a limit.

use super::tasks::allowed_task;
use crate::access::Action;
use crate::app::App;
use crate::error::ApiError;
use crate::http::{At, json_bytes};
use crate::subject::Subject;
use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use god_core::state::TaskState;
use std::time::Duration;

/// Whole time of one question.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const ANSWER_MAX: usize = 8 << 20;

/// The client for all questions.
#[derive(Debug)]
pub(crate) struct Monitors(Option<reqwest::Client>);

impl Monitors {
    /// Makes the client; without one, every question fails.
    pub(crate) fn new() -> Monitors {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .timeout(PATIENCE)
            .no_proxy()
            .build();
        match client {
            Ok(client) => Monitors(Some(client)),
            Err(err) => {
                tracing::warn!(%err, "containers can not be watched: no HTTP client");
                Monitors(None)
            }
        }
    }

    async fn get(&self, url: &str) -> Result<Bytes, Failure> {
        let client = self.0.as_ref().ok_or(Failure::Unreachable)?;
        let mut response = client.get(url).send().await.map_err(|err| {
            tracing::info!(err = %god_engine::chain(&err), %url, "a node's monitor does not answer");
            Failure::Unreachable
        })?;
        if !response.status().is_success() {
            return Err(Failure::Unknown);
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Failure::Unreachable)? {
            if bytes.len() + chunk.len() > ANSWER_MAX {
                return Err(Failure::Garbled);
            }
            bytes.extend_from_slice(&chunk);
        }
        // Whatever answers there: only JSON is passed on.
        match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
            Ok(_) => Ok(bytes.freeze()),
            Err(_) => Err(Failure::Garbled),
        }
    }
}

enum Failure {
    Unreachable,
    Unknown,
    Garbled,
}

/// `GET /task/{id}/monitor`
pub(super) async fn monitor(
    State(app): State<App>,
    subject: Subject,
    At(id): At<String>,
) -> Result<Response, ApiError> {
    let task = allowed_task(&app, &subject, Action::Read, &id).await?;
    let Some(cadvisor) = &app.config().cadvisor else {
        return Err(ApiError::Bad("containers can not be watched here".to_owned()));
    };
    let TaskState::Running { attempt, run: Some(run), .. } = &task.state else {
        return Err(ApiError::Bad(format!("task {} runs in no container now", task.id)));
    };
    let nodes = app.nodes().await?;
    let node = nodes.iter().find(|node| node.name == attempt.node && node.executor == attempt.executor);
    let (Some(node), true) = (node, is_id(run.as_str())) else {
        return Err(ApiError::Bad(format!("the node of task {} has no monitor", task.id)));
    };
    let Some(host) = host(node.name.as_str()) else {
        return Err(ApiError::Bad(format!("the node of task {} has no monitor", task.id)));
    };
    let samples = cadvisor.samples;
    let url =
        format!("http://{host}:{}/api/v1.2{}/{}?num_stats={samples}", cadvisor.port, cadvisor.url_part, run);
    match app.monitors.get(&url).await {
        Ok(bytes) => Ok(json_bytes(bytes)),
        Err(Failure::Unknown) => {
            Err(ApiError::NotFound("the node's monitor does not know the container".to_owned()))
        }
        Err(Failure::Unreachable) => Err(ApiError::Bad("the node's monitor does not answer".to_owned())),
        Err(Failure::Garbled) => Err(ApiError::Bad("the node's monitor gave no usable answer".to_owned())),
    }
}

/// A container's id: nothing that means something in an address.
fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// A host as it may stand in an address.
fn host(name: &str) -> Option<String> {
    if let Ok(address) = name.parse::<std::net::Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    let is_plain = (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && name.as_bytes()[0].is_ascii_alphanumeric();
    is_plain.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f7_no_name_leads_elsewhere() {
        for (name, expected) in [
            ("n1", Some("n1")),
            ("n1.example.org", Some("n1.example.org")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("::1", Some("[::1]")),
        ] {
            assert_eq!(host(name).as_deref(), expected, "{name}");
        }
        for bad in
            ["", "a/b", "a@b", "a:80", "user:pw@evil", "a?b", "a#b", "a b", "-a", ".", "a\n", "a%2fb", "ü"]
        {
            assert_eq!(host(bad), None, "{bad}");
        }
        assert!(is_id("0123abc_-"));
        for bad in ["", "..", "a/b", "a?b", "a#b", "a%2e", "a b"] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
