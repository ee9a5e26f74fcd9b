//! The errors of the interface. Clients know five codes, and show the text of two of them (400 and 500).

use crate::http;
use crate::typed::{self, Error};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use god_core::admission::Refusal;
use god_core::store::StoreError;
use god_core::wire::Fault;

/// Why a request was not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The request must be changed.
    Bad(String),
    /// The body must be changed, at these places.
    Faults(Vec<Fault>),
    /// Nobody is logged in.
    NotLoggedIn(&'static str),
    /// The one who is logged in may not do this.
    Forbidden(String),
    /// There is no such thing.
    NotFound(String),
    /// A range beyond the file's size.
    Range(u64),
    /// Too much is asked for at once.
    Busy(&'static str),
    /// We failed; the cause is in the log.
    Failed(&'static str),
}

impl ApiError {
    pub(crate) fn no_task(id: impl std::fmt::Display) -> ApiError {
        ApiError::NotFound(format!("there is no task {id}"))
    }
}

impl From<StoreError> for ApiError {
    fn from(err: StoreError) -> ApiError {
        tracing::error!(err = %god_engine::chain(&err), "a request failed in the store");
        ApiError::Failed(match err {
            StoreError::Full(_) => "the server's disk is full or read-only: nothing was stored",
            StoreError::Corrupt { .. } => "the store holds something that can not be read",
            StoreError::Unreachable { .. } | StoreError::Fenced(_) => {
                "the store does not answer; try again later"
            }
        })
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::Forbidden(text) => ApiError::Forbidden(text),
            Refusal::Invalid(faults) => ApiError::Faults(faults),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = |text: &str| Error { error: text.to_owned(), faults: Vec::new() };
        let (status, body) = match self {
            ApiError::Bad(text) => (StatusCode::BAD_REQUEST, body(&text)),
            ApiError::Faults(faults) => (StatusCode::BAD_REQUEST, faults_body(faults)),
            ApiError::NotLoggedIn(text) => (StatusCode::UNAUTHORIZED, body(text)),
            ApiError::Forbidden(text) => (StatusCode::FORBIDDEN, body(&text)),
            ApiError::NotFound(text) => (StatusCode::NOT_FOUND, body(&text)),
            ApiError::Range(size) => {
                let mut response = http::json(&body("the range lies beyond the file's end"));
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                if let Ok(value) = format!("bytes */{size}").parse() {
                    response.headers_mut().insert(axum::http::header::CONTENT_RANGE, value);
                }
                return response;
            }
            ApiError::Busy(text) => (StatusCode::BAD_REQUEST, body(text)),
            ApiError::Failed(text) => (StatusCode::INTERNAL_SERVER_ERROR, body(text)),
        };
        let mut response = http::json(&body);
        *response.status_mut() = status;
        response
    }
}

/// All faults as one text, for clients that print it, and one by one.
fn faults_body(faults: Vec<Fault>) -> Error {
    let text = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
    let faults = faults
        .into_iter()
        .map(|Fault { path, wrong, accepted }| typed::Fault { path, wrong, accepted })
        .collect();
    Error { error: text, faults }
}
