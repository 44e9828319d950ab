//! Who is shown the data of the console.
//!
//! The page itself holds none, so it is for everybody who reaches the port.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::problem;

/// Who may look.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever reaches the port: it is on loopback, and names of others are turned away there.
    Everybody,
    /// Whoever has a token.
    Callers(Callers),
    /// Nobody, for this reason.
    Nowhere(&'static str),
}

/// What is said where the admin port is on the network and nobody is configured who may look.
const NO_RULES: &str = "the console is not here: the admin port can be reached from the network, \
                            and no token rules say who may look; bind --admin to loopback, or set \
                            managementJwtRules";

/// Who a token is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Somebody who may look.
    Known,
    /// Nobody.
    Unknown,
}

/// Knows callers by their tokens.
#[derive(Clone)]
pub struct Callers(Arc<Function>);

type Function = dyn Fn(String) -> Answer + Send + Sync;
type Answer = Pin<Box<dyn Future<Output = Caller> + Send>>;

impl Callers {
    /// By this function of a token.
    pub fn new<F: Future<Output = Caller> + Send + 'static>(
        of_token: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |token| Box::pin(of_token(token))))
    }
}

impl fmt::Debug for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callers")
    }
}

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
        Access::Callers(Callers(of_token)) => {
            let Some(token) = bearer(request.headers()) else {
                return unauthorized("a bearer token is needed");
            };
            match of_token(token).await {
                Caller::Known => next.run(request).await,
                Caller::Unknown => unauthorized("the token is not good here"),
            }
        }
    }
}

/// Browsers say where a request comes from; other programs say nothing.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// The one token that a request has.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn unauthorized(text: &str) -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, text);
    let challenge = HeaderValue::from_static("Bearer realm=\"postern\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    response
}
