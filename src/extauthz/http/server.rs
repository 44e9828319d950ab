//! Connections of proxies that ask over HTTP, and how long and large they may be.
//!
//! What is asked is `read`'s job, accepting connections `app`'s.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::reply::Reply;
use super::super::{AuthorizationService, Checked, deadline};
use super::respond::{self, Answered};
use super::{HttpSettings, read};

/// How long a trusted proxy may take for the head of a request, and how long its connection may be
/// idle: longer than nginx, Traefik and Caddy keep one, since who closes first loses no request.
const HEAD: Duration = Duration::from_secs(180);

/// The same for others, who get one answer.
const HEAD_OF_OTHERS: Duration = Duration::from_secs(5);

/// Requests on one connection at a time.
const MOST_STREAMS: u32 = 128;

/// As many as a head of the largest size could usefully have; Envoy takes 100 unless told otherwise.
const MOST_HEADERS: usize = 1_024;

/// Answers proxies that ask over HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpServer {
    service: Arc<AuthorizationService>,
    settings: Arc<HttpSettings>,
}

impl HttpServer {
    /// A server that asks `service`.
    pub fn new(service: AuthorizationService, settings: HttpSettings) -> Self {
        Self { service: Arc::new(service), settings: Arc::new(settings) }
    }

    /// Answers one request of a peer, who has no address behind a unix socket. Bodies are not looked
    /// at. Never fails: what cannot be read is denied.
    pub async fn answer(&self, head: &Parts, peer: Option<IpAddr>) -> Checked<Answered> {
        let within = |most: Duration| deadline::left_of(expected_within(&head.headers), most);
        let view = || read::view(head, peer, &self.settings);
        let write = |reply: &Reply<'_>| respond::response(reply, &self.settings);
        self.service.answer_view_within(view, write, within).await
    }

    /// Answers the requests of one connection, HTTP/1.1 or HTTP/2, until its end, or until the shutdown
    /// that `watcher` knows of.
    pub async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<IpAddr>,
        watcher: Watcher,
    ) {
        let is_trusted = self.settings.trusts(peer);
        let most_bytes = self.settings.max_head_size;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(if is_trusted { HEAD } else { HEAD_OF_OTHERS })
            .keep_alive(is_trusted)
            .max_headers(MOST_HEADERS)
            .auto_date_header(false)
            .max_buf_size(most_bytes);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(u32::try_from(most_bytes).unwrap_or(u32::MAX))
            .auto_date_header(false)
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20));
        let service = service_fn(|request: Request<Incoming>| {
            let server = self.clone();
            async move {
                // Its body is dropped unread.
                let (head, _) = request.into_parts();
                Ok::<_, Infallible>(server.answer(&head, peer).await.response)
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection of an HTTP proxy ended");
        }
    }
}

/// How long Envoy waits, as it says itself; others do not.
fn expected_within(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("x-envoy-expected-rq-timeout-ms")?.to_str().ok()?;
    text.parse().ok().map(Duration::from_millis)
}
