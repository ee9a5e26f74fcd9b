//! Bodies in and out, in the exact form that existing clients compare.

use crate::app::App;
use crate::error::ApiError;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// One client compares this text byte for byte.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");
/// Bytes of a body beside the script in it.
const BODY_MAX: usize = 1 << 20;
/// Objects and lists inside each other.
const DEPTH_MAX: usize = 32;
/// A body must have come in whole by then.
const BODY_TIME: Duration = Duration::from_secs(60);

/// An answer in JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(bytes.into()),
        Err(err) => {
            tracing::error!(%err, "an answer could not be written");
            let mut response =
                json_bytes(Bytes::from_static(b"{\"error\":\"the answer can not be written\"}"));
            *response.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

/// An answer that is JSON already.
pub(crate) fn json_bytes(bytes: Bytes) -> Response {
    json_stream(Body::from(bytes))
}

/// An answer that is JSON already, as it comes.
pub(crate) fn json_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A list, each element written as it comes.
#[derive(Debug)]
pub(crate) struct JsonList(Vec<u8>);

impl JsonList {
    pub(crate) fn new() -> JsonList {
        JsonList(vec![b'['])
    }

    pub(crate) fn push(&mut self, value: &Value) -> Result<(), ApiError> {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        serde_json::to_writer(&mut self.0, value)
            .map_err(|_| ApiError::Failed("the answer can not be written"))
    }

    pub(crate) fn into_response(mut self) -> Response {
        self.0.push(b']');
        json_bytes(self.0.into())
    }
}

/// Marks a request whose body may hold a script.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LargeBody;

/// The JSON body of a request, whatever its content type says; an empty one is an empty object.
#[derive(Debug)]
pub(crate) struct Sent(pub(crate) Value);

impl FromRequest<App> for Sent {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        // A script may double in size by escapes; longer escapes of whole scripts do not happen.
        let script =
            if request.extensions().get::<LargeBody>().is_some() { app.config().site.script_max } else { 0 };
        let limit = BODY_MAX + 2 * script;
        let too_large = || ApiError::Bad(format!("the body is larger than {limit} bytes"));
        if content_length(request.headers()).is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let reading = tokio::time::timeout(BODY_TIME, to_bytes(request.into_body(), limit));
        let bytes = match reading.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => return Err(too_large()),
            Err(_) => return Err(ApiError::Bad("the body did not come in time".to_owned())),
        };
        parse(&bytes).map(Sent)
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if depth(bytes) > DEPTH_MAX {
        return Err(ApiError::Bad(format!("the body nests deeper than {DEPTH_MAX} levels")));
    }
    serde_json::from_slice(bytes).map_err(|err| ApiError::Bad(format!("the body is no JSON: {err}")))
}

/// Deepest nesting of brackets outside of texts, without parsing.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0usize, 0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Parts of the path; what does not decode names nothing.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(path)| At(path))
            .map_err(|_| ApiError::NotFound("there is nothing of this name".to_owned()))
    }
}

/// The query of the address.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, app).await;
        query.map(|Query(query)| Asked(query)).map_err(|err| ApiError::Bad(err.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn depth_is_that_of_the_brackets() {
        for (text, expected) in [
            ("1", 0),
            ("[]", 1),
            ("[[],[[]]]", 3),
            (r#"{"a":"[[[["}"#, 1),
            (r#"{"a":"\"[[","b":[1]}"#, 2),
            (r#"["\\",[1]]"#, 2),
            ("]]][", 1),
        ] {
            assert_eq!(depth(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn bodies() {
        assert_eq!(parse(b" \r\n").expect("empty is an object"), serde_json::json!({}));
        assert!(parse(&[b'['; 33]).is_err());
        let nested = format!("{}{}", "[".repeat(32), "]".repeat(32));
        assert!(parse(nested.as_bytes()).is_ok());
        assert!(parse(b"{\"a\":1} x").is_err());
        assert!(parse(&[0xff, 0xfe]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _answered = parse(&bytes);
        }
    }
}
