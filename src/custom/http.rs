//! Providers that speak HTTP: the request itself, without its body or with some of it, and a status.
//!
//! What an answer means is read as Envoy's client reads it; what comes of it is `consult`'s job.

use std::error::Error;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::answer::{Allowance, Answer, Denial, HeaderMutation, Trouble};
use super::question::is_of_a_connection;
use super::settings::{HeaderPattern, HttpCheck};
use crate::outbound::{Linker, OutboundError};

/// The largest body of an answer that is read.
const ANSWER_LIMIT: usize = 1 << 20;

/// Names of request headers to take out, in the answer of a provider that allows.
const HEADERS_TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";

/// Connections that are kept for the next request.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    client: Client<Linker, Full<Bytes>>,
    /// Where they live, whoever asks.
    runtime: Handle,
}

impl HttpClient {
    /// Must be called on the runtime that is to keep the connections.
    pub(super) fn new(linker: Linker) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .set_host(false)
            .build(linker);
        Self { client, runtime: Handle::current() }
    }

    /// The whole answer.
    pub(super) async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Trouble> {
        let client = self.client.clone();
        let asking = self.runtime.spawn(async move {
            let response = client.request(request.map(Full::new)).await.map_err(|error| {
                let trouble = trouble(&error);
                tracing::debug!(error = describe(&error), trouble = trouble.as_str(), "no answer");
                trouble
            })?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LIMIT).collect().await;
            let body = body.map_err(|_| Trouble::Transport)?.to_bytes();
            Ok(Response::from_parts(parts, body))
        });
        let _ends_with_this_call = AbortOnDrop(asking.abort_handle());
        asking.await.unwrap_or(Err(Trouble::Transport))
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn trouble(error: &hyper_util::client::legacy::Error) -> Trouble {
    let mut source = error.source();
    while let Some(inner) = source {
        match inner.downcast_ref::<OutboundError>() {
            Some(OutboundError::Timeout(_)) => return Trouble::Timeout,
            Some(_) => return Trouble::Unreachable,
            None => source = inner.source(),
        }
    }
    Trouble::Transport
}

/// The innermost cause, which names hosts and no more.
fn describe(error: &hyper_util::client::legacy::Error) -> String {
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// What a response means: 200 lets through, 5xx is trouble, and everything else is a denial.
pub(super) fn read(response: &Response<Bytes>, settings: &HttpCheck) -> Result<Answer, Trouble> {
    let (status, headers) = (response.status(), response.headers());
    if status.is_server_error() {
        return Err(Trouble::Server);
    }
    if status != StatusCode::OK {
        let patterns = &settings.headers_to_downstream_on_deny;
        let headers = lines(headers).filter(|(name, _)| goes_down(name, patterns));
        return Ok(Answer::Denied(Box::new(Denial {
            status: status.as_u16(),
            headers: replacing(headers),
            body: String::from_utf8_lossy(response.body()).into_owned(),
            ..Denial::default()
        })));
    }
    let goes_up = |name: &str| any(&settings.headers_to_upstream_on_allow, name);
    let comes_down = |name: &str| any(&settings.headers_to_downstream_on_allow, name);
    Ok(Answer::Allowed(Box::new(Allowance {
        headers: lines(headers)
            .filter(|(name, _)| goes_up(name))
            .map(|(name, value)| HeaderMutation::set(name, value))
            .collect(),
        headers_to_remove: headers
            .get_all(HEADERS_TO_REMOVE)
            .iter()
            .flat_map(|value| text(value.as_bytes()).split(',').map(trimmed).collect::<Vec<_>>())
            .filter(|name| !name.is_empty())
            .collect(),
        response_headers: lines(headers)
            .filter(|(name, _)| comes_down(name))
            .map(|(name, value)| HeaderMutation::add(name, value))
            .collect(),
        ..Allowance::default()
    })))
}

/// Whether a header of a denial reaches the client: all where no names are given, otherwise those,
/// and what no denial can do without.
fn goes_down(name: &str, patterns: &[HeaderPattern]) -> bool {
    patterns.is_empty() || matches!(name, "www-authenticate" | "location") || any(patterns, name)
}

fn any(patterns: &[HeaderPattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(name))
}

/// The lines that are the answer's, not its connection's.
fn lines(headers: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let lines = headers.iter().map(|(name, value)| (name.as_str(), value));
    lines
        .filter(|(name, _)| !is_of_a_connection(name) && *name != HEADERS_TO_REMOVE)
        .map(|(name, value)| (name, text(value.as_bytes())))
}

/// The first of a name replaces what Envoy would say itself, and the others are added to it.
fn replacing<'h>(lines: impl Iterator<Item = (&'h str, String)>) -> Vec<HeaderMutation> {
    let mut mutations: Vec<HeaderMutation> = Vec::new();
    for (name, value) in lines {
        let is_first = mutations.iter().all(|mutation| mutation.name != name);
        let mutation = if is_first { HeaderMutation::set } else { HeaderMutation::add };
        mutations.push(mutation(name.to_owned(), value));
    }
    mutations
}

fn trimmed(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
