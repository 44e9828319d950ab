//! Answers in JSON.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// What is sent back.
pub type Answer = Response<Body>;

/// A body of JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => bytes(status, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            bytes(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new())
        }
    }
}

/// A body that is JSON already. What is shown is of the moment, for its caller alone, and never a page.
pub fn bytes(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    answer
}
