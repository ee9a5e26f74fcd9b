//! The description of the interface, for programs and for people. Made once; nothing in it is secret.

use crate::app::App;
use crate::http::json_bytes;
use crate::openapi;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use std::sync::OnceLock;

/// `GET /api/openapi.json`
pub(super) async fn document(State(app): State<App>) -> Response {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let make = || openapi::document(&super::routes(), &app.config().version).to_string().into();
    json_bytes(DOCUMENT.get_or_init(make).clone())
}

/// `GET /api/docs`
pub(super) async fn page(State(app): State<App>) -> Response {
    static PAGE: OnceLock<Bytes> = OnceLock::new();
    let make = || openapi::page(&super::routes(), &app.config().version).into();
    let mut response = Response::new(Body::from(PAGE.get_or_init(make).clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let policy =
        "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// `GET /api/docs/style.css`
pub(super) async fn style() -> Response {
    let mut response = Response::new(Body::from(openapi::STYLE));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    response
}
