//! Why a call of the management API failed, and what its caller is told.
//!
//! Messages are for callers: no credential, no address of a server, and nothing of what a server
//! behind this one said.

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::answer::{self, Answer};
use super::mesh::MeshError;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Parameters or a body that make no sense.
    #[error("{0}")]
    BadRequest(String),
    /// Nobody known is calling.
    #[error("a valid bearer token is needed")]
    Unauthorized,
    /// The caller is no administrator.
    #[error("the admin role is needed")]
    Forbidden,
    /// No such path, or no such object.
    #[error("{0}")]
    NotFound(String),
    /// The path has another method.
    #[error("the method here is {0}")]
    MethodNotAllowed(&'static str),
    /// The body did not come.
    #[error("the body took too long")]
    Timeout,
    /// The object changed meanwhile, or is changed elsewhere.
    #[error("{0}")]
    Conflict(String),
    /// The body is too large.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// The body is something else.
    #[error("the body must be application/json")]
    UnsupportedMediaType,
    /// Our own fault.
    #[error("{0}")]
    Internal(String),
    /// What holds the objects, or Prometheus, gives no answer.
    #[error("{0}")]
    Unavailable(String),
}

impl Failure {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer: `{statusCode, message, error}`, with the headers that belong to its status.
    pub fn answer(&self) -> Answer {
        let status = self.status();
        let body = json!({
            "statusCode": status.as_u16(),
            "message": self.to_string(),
            "error": status.canonical_reason().unwrap_or_default(),
        });
        let mut answer: Response<Body> = answer::json(status, &body);
        let headers = answer.headers_mut();
        match self {
            Self::Unauthorized => {
                let bearer = HeaderValue::from_static("Bearer realm=\"postern\"");
                headers.insert(header::WWW_AUTHENTICATE, bearer);
            }
            Self::MethodNotAllowed(method) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(method));
            }
            Self::BadRequest(_)
            | Self::Forbidden
            | Self::NotFound(_)
            | Self::Timeout
            | Self::Conflict(_)
            | Self::TooLarge(_)
            | Self::UnsupportedMediaType
            | Self::Internal(_)
            | Self::Unavailable(_) => {}
        }
        answer
    }
}

impl From<MeshError> for Failure {
    fn from(error: MeshError) -> Self {
        let message = error.to_string();
        match error {
            MeshError::Unreachable(_) => Self::Unavailable(message),
            MeshError::Conflict(_) | MeshError::ReadOnly(_) => Self::Conflict(message),
            MeshError::NotFound => Self::NotFound(message),
            MeshError::Refused(_) => Self::BadRequest(message),
        }
    }
}
