//! The files of the page, as they are in the binary.
//!
//! What they show is `super`'s business.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::problem;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal: $file:literal, $kind:ident;)*) => {
        &[$(($name, $kind, include_str!(concat!("assets/", $file)))),*]
    };
}

/// By name: the type and the text.
const FILES: &[(&str, &str, &str)] = files! {
    "": "index.html", HTML;
    "console.css": "console.css", CSS;
    "icon.svg": "icon.svg", SVG;
    "main.js": "main.js", JS;
    "client.js": "client.js", JS;
    "dom.js": "dom.js", JS;
    "charts.js": "charts.js", JS;
    "overview.js": "overview.js", JS;
    "policies.js": "policies.js", JS;
    "explain.js": "explain.js", JS;
    "decisions.js": "decisions.js", JS;
    "topology.js": "topology.js", JS;
};

/// One tag for all files: they belong together.
static TAG: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let all: String = FILES.iter().map(|(_, _, text)| *text).collect();
    let hash = digest(&SHA256, all.as_bytes());
    let hex: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).ok()
});

pub(super) async fn by_name(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&name, &headers)
}

/// A file, or that the browser has it already.
pub(super) fn serve(name: &str, headers: &HeaderMap) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(known, _, _)| *known == name) else {
        return problem(StatusCode::NOT_FOUND, "the console has no such file");
    };
    let is_known = TAG.is_some() && headers.get(header::IF_NONE_MATCH) == TAG.as_ref();
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, *kind)], *text).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Some(tag) = TAG.clone() {
        headers.insert(header::ETAG, tag);
    }
    response
}
