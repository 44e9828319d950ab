//! What clients read about the server: health, version, discovery, schemas.

use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;

use super::super::status::ApiError;
use super::OK;
use super::answer::{self, Answer};
use super::route::Route;

/// `ok`: who is answered is in good health.
pub(super) fn health(method: &Method) -> Result<Answer, ApiError> {
    if method != Method::GET && method != Method::HEAD {
        return Err(ApiError::method_not_allowed_here());
    }
    Ok(answer::bytes(OK, HeaderValue::from_static("text/plain; charset=utf-8"), "ok"))
}

/// Everything else that does not change.
pub(super) fn answer(route: &Route, _headers: &HeaderMap) -> Result<Answer, ApiError> {
    match route {
        Route::Version => Ok(version()),
        _ => Err(ApiError::no_such_path()),
    }
}

/// Dispatchers run the kubectl of this minor.
fn version() -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    answer::json(
        OK,
        &json!({
            "major": "1",
            "minor": "32",
            "gitVersion": format!("v1.32.0+postern-{version}"),
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        }),
    )
}
