//! Requests that Postern sends: one exchange over a connection of its own, to checked addresses,
//! with limits on time and size.
//!
//! What is asked and what an answer means is the business of those who ask. Redirects are answers
//! like others: who follows them asks anew, and is checked anew.

mod dial;
mod error;
mod link;
mod target;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::rustls::{
    self,
    pki_types::{CertificateDer, ServerName},
};

pub use dial::DialGuard;
pub(crate) use dial::Resolver;
pub use error::OutboundError;
pub use link::{Link, LinkTls, Linker, Place, Plain};
pub use target::Target;
pub use tls::{ClientSettings, Trust};

use dial::dial;
use tls::Connectors;

/// The largest body that is read.
pub const BODY_LIMIT: usize = 1 << 20;

const HEADER_LIMIT: usize = 64 << 10;

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    connectors: Arc<Connectors>,
    guard: Arc<DialGuard>,
    resolver: Resolver,
    bodies: Bodies,
}

/// Which bodies are read.
#[derive(Debug, Clone, Copy)]
struct Bodies {
    limit: usize,
    of_errors: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// On whose behalf, which decides who is trusted.
    pub issuer: &'a str,
    /// Its method.
    pub method: Method,
    /// Beside `host`, `user-agent`, and the URL's credentials where there is no `authorization`.
    pub headers: HeaderMap,
    /// Empty for none.
    pub body: Bytes,
}

impl Client {
    /// Trusts the system's authorities and `also_trusted`, but for the issuers of `settings` what
    /// those say. Fails where an authority or an identity is none.
    pub fn new(
        guard: DialGuard,
        also_trusted: &[CertificateDer<'static>],
        settings: Vec<ClientSettings>,
    ) -> Result<Self, rustls::Error> {
        Self::with_resolver(guard, also_trusted, settings, Resolver::System)
    }

    pub(crate) fn with_resolver(
        guard: DialGuard,
        also_trusted: &[CertificateDer<'static>],
        settings: Vec<ClientSettings>,
        resolver: Resolver,
    ) -> Result<Self, rustls::Error> {
        let connectors = Arc::new(Connectors::new(also_trusted, settings)?);
        let bodies = Bodies { limit: BODY_LIMIT, of_errors: false };
        Ok(Self { connectors, guard: Arc::new(guard), resolver, bodies })
    }

    /// Trusts this, whoever is asked.
    pub fn trusting(guard: DialGuard, trust: Trust) -> Result<Self, rustls::Error> {
        let connectors = Arc::new(Connectors::everywhere(trust)?);
        let bodies = Bodies { limit: BODY_LIMIT, of_errors: false };
        Ok(Self { connectors, guard: Arc::new(guard), resolver: Resolver::System, bodies })
    }

    /// The bodies of all answers are read, whatever their status, up to this many bytes.
    #[must_use]
    pub fn reading_all(mut self, limit: usize) -> Self {
        self.bodies = Bodies { limit, of_errors: true };
        self
    }

    #[cfg(test)]
    pub(crate) fn resolving(mut self, resolver: Resolver) -> Self {
        self.resolver = resolver;
        self
    }

    /// Sends a request and reads its answer; the body only of an answer that is 2xx, unless
    /// [`Client::reading_all`] says otherwise.
    pub async fn send(
        &self,
        target: &Target,
        outgoing: Outgoing<'_>,
        within: Duration,
    ) -> Result<Response<Bytes>, OutboundError> {
        timeout(within, self.connect_and_send(target, outgoing, within))
            .await
            .unwrap_or(Err(OutboundError::Timeout(within)))
    }

    async fn connect_and_send(
        &self,
        target: &Target,
        outgoing: Outgoing<'_>,
        within: Duration,
    ) -> Result<Response<Bytes>, OutboundError> {
        let stream = dial(&self.resolver, &self.guard, &target.host, target.port, within).await?;
        if !target.secure {
            return exchange(stream, target, outgoing, self.bodies).await;
        }
        let connector = self.connectors.of(outgoing.issuer).ok_or(OutboundError::NoRoots)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| OutboundError::Url)?;
        match connector.connect(name, stream).await {
            Ok(stream) => exchange(stream, target, outgoing, self.bodies).await,
            Err(error) => Err(OutboundError::Tls { host: target.host.clone(), error }),
        }
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    target: &Target,
    outgoing: Outgoing<'_>,
    bodies: Bodies,
) -> Result<Response<Bytes>, OutboundError> {
    let failed = |error| OutboundError::Http { url: target.to_string(), error };
    let Outgoing { issuer: _, method, headers: given, body } = outgoing;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = target.path_and_query().parse().map_err(|_| OutboundError::Url)?;
    let headers = request.headers_mut();
    *headers = given;
    let host = HeaderValue::try_from(target.authority()).map_err(|_| OutboundError::Url)?;
    headers.insert(header::HOST, host);
    let agent = HeaderValue::from_static(concat!("postern/", env!("CARGO_PKG_VERSION")));
    headers.insert(header::USER_AGENT, agent);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let (Some(authorization), None) = (&target.authorization, headers.get(header::AUTHORIZATION))
    {
        headers.insert(header::AUTHORIZATION, authorization.clone());
    }
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // Errors of the connection reach the request and the body as well.
    let task = tokio::spawn(async move { connection.await.unwrap_or_default() });
    let _ends_with_this_call = AbortOnDrop(task.abort_handle());
    let (parts, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
    let is_read = parts.status.is_success() || bodies.of_errors;
    let body = if is_read { read(body, target, bodies.limit).await? } else { Bytes::new() };
    Ok(Response::from_parts(parts, body))
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(mut body: Incoming, target: &Target, limit: usize) -> Result<Bytes, OutboundError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| OutboundError::Http { url: target.to_string(), error })?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(OutboundError::TooLarge { url: target.to_string(), limit });
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.into())
}
