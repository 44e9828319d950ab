//! Bodies of requests: all of them, soon enough, and not too large.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use super::super::status::ApiError;

/// The most bytes of a body.
pub(super) const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads it all.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    let too_large = || ApiError::request_entity_too_large(&format!("limit is {MAX_BODY}"));
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    match timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(ApiError::timeout("the body of the request took too long", 1)),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::bad_request("the body of the request cannot be read")),
    }
}

/// The `Content-Type`, without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::CONTENT_TYPE)
}

/// A header that is text.
pub(super) fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a body is what typed clients of Kubernetes send.
pub(super) fn is_protobuf(headers: &HeaderMap) -> bool {
    let media_type = media_type(headers).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/vnd.kubernetes.protobuf")
}
