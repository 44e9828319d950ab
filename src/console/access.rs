//! Who is shown the data of the console.
//!
//! The page itself holds none, so it is for everybody who reaches the port.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem;
use crate::management::access::Callers;

/// Who may look.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever reaches the port: it is on loopback, and names of others are turned away there.
    Everybody,
    /// Who may ask the management API.
    Callers(Callers),
    /// Nobody, for this reason.
    Nowhere(&'static str),
}

/// What is said where the admin port is on the network and nobody is configured who may look.
const NO_RULES: &str = "the console is not here: the admin port can be reached from the network, and \
                        nobody said whose tokens are taken; bind --admin to loopback, or set up \
                        --management with rules for tokens";

impl Access {
    /// As the admin port is reached, and callers are known.
    pub fn of(is_local: bool, callers: Option<Callers>) -> Self {
        match (callers, is_local) {
            (Some(callers), _) => Self::Callers(callers),
            (None, true) => Self::Everybody,
            (None, false) => Self::Nowhere(NO_RULES),
        }
    }
}

/// Lets requests pass that may be answered.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    if is_from_elsewhere(request.headers()) {
        let text = "pages of others get no answer here";
        return problem(StatusCode::FORBIDDEN, text);
    }
    match &*access {
        Access::Everybody => next.run(request).await,
        Access::Nowhere(reason) => problem(StatusCode::NOT_FOUND, reason),
        Access::Callers(callers) => match callers.caller(request.headers()).await {
            Some(_) => next.run(request).await,
            None if request.headers().contains_key(header::AUTHORIZATION) => {
                unauthorized("the token is not good here")
            }
            None => unauthorized("a bearer token is needed"),
        },
    }
}

/// Browsers say where a request comes from; other programs say nothing.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

fn unauthorized(text: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, text);
    let challenge = HeaderValue::from_static("Bearer realm=\"postern\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}
