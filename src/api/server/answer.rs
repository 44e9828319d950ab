//! Answers: JSON, errors, warnings.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use super::super::query::IncludeObject;
use super::super::status::{ApiError, ResourceType};
use super::super::strict::warning_header;
use super::super::table::{self, Form, TableOptions};

pub(super) type Answer = Response<Body>;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body of JSON.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_vec(body) {
        Ok(body) => bytes(status, JSON, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            bytes(StatusCode::INTERNAL_SERVER_ERROR, JSON, Vec::new())
        }
    }
}

/// Any body.
pub(super) fn bytes(status: StatusCode, media_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    answer
}

/// A Status.
pub(super) fn error(error: &ApiError) -> Answer {
    let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json(status, &error.to_json());
    if let Some(seconds) = error.retry_after_seconds() {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer realm=\"postern\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
    }
    answer
}

/// Adds a header for each warning, as many as clients take.
pub(super) fn warn(answer: &mut Answer, warnings: &[String]) {
    const MOST: usize = 64;
    for warning in warnings.iter().take(MOST) {
        // Text that is no ASCII may stand in a header as bytes.
        if let Ok(value) = HeaderValue::from_bytes(warning_header(warning).as_bytes()) {
            answer.headers_mut().append(header::WARNING, value);
        }
    }
}

/// What is shown is of the moment, and never a page.
pub(super) fn harden(answer: &mut Answer) {
    const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
}

/// How a caller wants objects shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) form: Form,
    pub(super) resource: ResourceType,
    pub(super) version: &'static str,
    pub(super) include_object: IncludeObject,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Shown {
    /// One object; in a watch, only the first has columns.
    pub(super) fn object(&self, object: Value, with_columns: bool) -> Value {
        match self.form {
            Form::Full => object,
            Form::Table(meta) => table::of_object(&object, with_columns, &self.table(meta)),
            Form::Metadata(meta) => table::metadata_only(&object, meta),
        }
    }

    /// A list in its full form.
    pub(super) fn list(&self, list: Value) -> Value {
        match self.form {
            Form::Full => list,
            Form::Table(meta) => table::of_list(&list, &self.table(meta)),
            Form::Metadata(meta) => table::metadata_only_list(&list, meta),
        }
    }

    fn table(&self, meta: table::MetaVersion) -> TableOptions<'static> {
        TableOptions {
            resource: self.resource,
            version: self.version,
            meta,
            include_object: self.include_object,
            now: self.now,
        }
    }
}
