//! Calls to a flow server: a task that asked for it is over.

use super::{BadChannel, Channel, Delivery, Item, chain};
use async_trait::async_trait;
use god_core::TaskId;
use god_core::notice::Message;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{StatusCode, Url};
use serde_json::json;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long one call may take.
const ANSWER: Duration = Duration::from_secs(10);
/// A flow that waits for the call stands still, so it is tried for long.
const PATIENCE: Duration = Duration::from_secs(7 * 86_400);
/// How long the token of a call is good.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// For whom the token is.
const AUDIENCE: &str = "urn:godocker/api";

/// Calls a flow server.
#[derive(Clone)]
pub struct FlowCaller {
    http: reqwest::Client,
    frontend: Url,
    key: EncodingKey,
}

impl fmt::Debug for FlowCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowCaller").finish_non_exhaustive()
    }
}

impl FlowCaller {
    /// A caller of the server at `frontend`, whose calls are signed with `secret`.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(frontend: &str, secret: &[u8]) -> Result<FlowCaller, BadChannel> {
        let bad = |what: String| BadChannel { key: "flow.frontend", what, source: None };
        let frontend = Url::parse(frontend.trim_end_matches('/')).map_err(|err| bad(err.to_string()))?;
        if frontend.cannot_be_a_base() {
            return Err(bad("is no address of a web server".to_owned()));
        }
        let http = reqwest::Client::builder()
            .timeout(ANSWER)
            .connect_timeout(ANSWER / 2)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|err| bad(chain(&err)))?;
        Ok(FlowCaller { http, frontend, key: EncodingKey::from_secret(secret) })
    }

    async fn call(&self, task: TaskId) -> Delivery {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = json!({"event": task.0, "exp": (now + TOKEN_LIFE).as_secs(), "aud": AUDIENCE});
        let token = match encode(&Header::new(Algorithm::HS256), &claims, &self.key) {
            Ok(token) => token,
            Err(err) => return Delivery::Never(chain(&err)),
        };
        let mut url = self.frontend.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            path.extend(["godflow", "api", "1.0", "event", &task.to_string(), "status", "over"]);
        }
        let status = match self.http.get(url).bearer_auth(token).send().await {
            Ok(answer) => answer.status(),
            Err(err) => return Delivery::Down(chain(&err.without_url())),
        };
        let why = || format!("the flow server answers {status}");
        match status {
            status if status.is_success() => Delivery::Done,
            // It knows no flow that waits for this task.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Delivery::Never(why()),
            _ => Delivery::Down(why()),
        }
    }
}

#[async_trait]
impl Channel for FlowCaller {
    fn name(&self) -> &'static str {
        "flow server"
    }

    fn takes(&self, message: &Message) -> bool {
        matches!(message, Message::Flow {})
    }

    fn batch(&self) -> usize {
        1
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn deliver(&self, items: &[Item]) -> Vec<Delivery> {
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            answers.push(self.call(item.task).await);
        }
        answers
    }
}
