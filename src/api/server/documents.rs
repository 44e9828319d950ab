//! What clients read about the server: health, version, discovery, schemas.

use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;

use super::super::status::ApiError;
use super::super::{discovery, openapi};
use super::answer::{self, Answer};
use super::route::Route;
use super::{OK, body};

/// `ok`: who is answered is in good health.
pub(super) fn health(method: &Method) -> Result<Answer, ApiError> {
    if method != Method::GET && method != Method::HEAD {
        return Err(ApiError::method_not_allowed_here());
    }
    Ok(answer::bytes(OK, HeaderValue::from_static("text/plain; charset=utf-8"), "ok"))
}

/// Everything else that does not change.
pub(super) fn answer(route: &Route, headers: &HeaderMap) -> Result<Answer, ApiError> {
    let accept = body::text(headers, header::ACCEPT);
    Ok(match route {
        Route::Version => version(),
        Route::Api => discovered(&discovery::api(accept)?),
        Route::Apis => discovered(&discovery::apis(accept)?),
        Route::Group(group) => discovered(&discovery::api_group_document(group)?),
        Route::GroupVersion(group, version) => {
            discovered(&discovery::api_resources(group, version)?)
        }
        Route::OpenApiV2 => {
            answer::bytes(OK, HeaderValue::from_static(openapi::V2_CONTENT_TYPE), "")
        }
        Route::OpenApiV3 => answer::json(OK, &openapi::root()),
        Route::OpenApiV3Group(path) => {
            let document = openapi::document(path).ok_or_else(ApiError::no_such_path)?;
            answer::bytes(OK, answer::JSON, document.json.clone())
        }
        Route::Health | Route::Review(..) | Route::Resource(_) | Route::Unknown => {
            return Err(ApiError::no_such_path());
        }
    })
}

fn discovered(document: &discovery::Document) -> Answer {
    let mut answer = answer::json(OK, &document.body);
    let media_type = HeaderValue::from_static(document.content_type);
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    // What is kept must not be given to who asked for another form.
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    answer
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
