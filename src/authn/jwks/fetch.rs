//! One fetch of one key set: discovery, HTTP, TLS, redirects, limits.
//!
//! When to fetch, and what becomes of the keys, is `source`'s job.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{AbortHandle, spawn_blocking},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore, crypto,
        pki_types::{CertificateDer, ServerName},
    },
};

use super::{
    dial::{DialGuard, Resolver, dial},
    error::FetchError,
    target::Target,
};
use crate::key_set::KeySet;
use crate::plan::KeySourceId;

/// The largest key set or discovery document that is read.
pub const BODY_LIMIT: usize = 1 << 20;

const MAX_REDIRECTS: usize = 5;
const HEADER_LIMIT: usize = 64 << 10;

/// Fetches key sets. Cheap to clone.
#[derive(Clone)]
pub(super) struct Fetcher {
    /// `None` where nothing is trusted.
    tls: Option<TlsConnector>,
    guard: Arc<DialGuard>,
    resolver: Resolver,
}

/// A key set as fetched.
pub(super) struct Fetched {
    pub(super) keys: KeySet,
    /// SHA-256 of the text, to see whether anything changed.
    pub(super) digest: Digest,
}

pub(super) type Digest = [u8; digest::SHA256_OUTPUT_LEN];

impl Fetcher {
    /// Trusts the system's roots and these.
    pub(super) fn new(
        guard: DialGuard,
        also_trusted: &[CertificateDer<'static>],
        resolver: Resolver,
    ) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        // Stores hold certificates that rustls cannot read; they only narrow what is trusted.
        let (_, unreadable) = roots.add_parsable_certificates(system.certs);
        for certificate in also_trusted {
            roots.add(certificate.clone())?;
        }
        if roots.is_empty() {
            tracing::warn!(
                unreadable,
                errors = ?system.errors,
                "no trusted root certificates; keys cannot be fetched over https"
            );
        }
        let trusting = !roots.is_empty();
        let mut config =
            ClientConfig::builder_with_provider(crypto::aws_lc_rs::default_provider().into())
                .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
                .with_root_certificates(roots)
                .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = trusting.then(|| TlsConnector::from(Arc::new(config)));
        Ok(Self { tls, guard: Arc::new(guard), resolver })
    }

    /// Asks the source for its keys. Each document has the whole of `within`, as under Istio.
    pub(super) async fn fetch(
        &self,
        id: &KeySourceId,
        within: Duration,
    ) -> Result<Fetched, FetchError> {
        let target = match &id.uri {
            Some(uri) => Target::parse(uri)?,
            None => self
                .discover(&id.issuer, within)
                .await
                .map_err(|error| FetchError::Discovery(Box::new(error)))?,
        };
        let body = self.get(&target, within).await?;
        let url = target.to_string();
        // Thousands of keys take tens of milliseconds to parse.
        let parsed = spawn_blocking(move || parse_keys(&body, url)).await;
        parsed.unwrap_or(Err(FetchError::Stopped))
    }

    /// OpenID Connect Discovery 1.0 section 4.
    async fn discover(&self, issuer: &str, within: Duration) -> Result<Target, FetchError> {
        if issuer.is_empty() {
            return Err(FetchError::NoIssuer);
        }
        let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
        let document = Target::parse(&format!("{issuer}/.well-known/openid-configuration"))?;
        let body = self.get(&document, within).await?;
        let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
        match parsed.get("jwks_uri").and_then(Value::as_str) {
            Some(uri) => Target::parse(uri),
            None => Err(FetchError::NotADiscoveryDocument { url: document.to_string() }),
        }
    }

    async fn get(&self, target: &Target, within: Duration) -> Result<Bytes, FetchError> {
        timeout(within, self.follow(target.clone(), within))
            .await
            .unwrap_or(Err(FetchError::Timeout(within)))
    }

    async fn follow(&self, mut target: Target, within: Duration) -> Result<Bytes, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            match self.ask(&target, within).await? {
                Answer::Body(body) => return Ok(body),
                Answer::Redirect(next) if target.secure && !next.secure => {
                    return Err(FetchError::Downgrade { url: target.to_string() });
                }
                Answer::Redirect(next) => target = next,
            }
        }
        Err(FetchError::TooManyRedirects(MAX_REDIRECTS))
    }

    async fn ask(&self, target: &Target, within: Duration) -> Result<Answer, FetchError> {
        let stream = dial(&self.resolver, &self.guard, &target.host, target.port, within).await?;
        if !target.secure {
            return exchange(stream, target).await;
        }
        let connector = self.tls.as_ref().ok_or(FetchError::NoRoots)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| FetchError::Url)?;
        match connector.connect(name, stream).await {
            Ok(stream) => exchange(stream, target).await,
            Err(error) => Err(FetchError::Tls { host: target.host.clone(), error }),
        }
    }
}

enum Answer {
    Body(Bytes),
    Redirect(Target),
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    target: &Target,
) -> Result<Answer, FetchError> {
    let failed = |error| FetchError::Http { url: target.to_string(), error };
    let mut request = Request::get(target.path_and_query())
        .header(header::HOST, target.authority())
        .header(header::ACCEPT, "application/jwk-set+json, application/json, */*;q=0.1")
        .header(header::USER_AGENT, concat!("postern/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    if let Some(authorization) = &target.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| FetchError::Url)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // Errors of the connection reach the request and the body as well.
    let task = tokio::spawn(async move { connection.await.unwrap_or_default() });
    let _ends_with_this_call = AbortOnDrop(task.abort_handle());
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return redirect(&response, target).map(Answer::Redirect);
    }
    if !status.is_success() {
        return Err(FetchError::Status { url: target.to_string(), status: status.as_u16() });
    }
    read(response.into_body(), target).await.map(Answer::Body)
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn redirect(response: &Response<Incoming>, target: &Target) -> Result<Target, FetchError> {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    location
        .and_then(|location| target.join(location).ok())
        .ok_or_else(|| FetchError::Redirect { url: target.to_string() })
}

async fn read(mut body: Incoming, target: &Target) -> Result<Bytes, FetchError> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| FetchError::Http { url: target.to_string(), error })?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > BODY_LIMIT {
                return Err(FetchError::TooLarge { url: target.to_string(), limit: BODY_LIMIT });
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.into())
}

fn parse_keys(body: &[u8], url: String) -> Result<Fetched, FetchError> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(FetchError::NotText { url });
    };
    let keys = KeySet::parse(text).map_err(|error| FetchError::NotAKeySet { url, error })?;
    let mut sha256 = Digest::default();
    sha256.copy_from_slice(digest::digest(&digest::SHA256, body).as_ref());
    Ok(Fetched { keys, digest: sha256 })
}
