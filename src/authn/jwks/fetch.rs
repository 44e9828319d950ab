//! One fetch of one key set: discovery, HTTP, TLS, redirects, limits.
//!
//! When to fetch, and what becomes of the keys, is `source`'s job.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{AbortHandle, spawn_blocking},
    time::timeout,
};
use tokio_rustls::rustls::pki_types::ServerName;

use super::{
    client::Clients,
    dial::{DialGuard, Resolver, dial},
    error::FetchError,
    freshness::{self, Validators},
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
    pub(super) clients: Arc<Clients>,
    pub(super) guard: Arc<DialGuard>,
    pub(super) resolver: Resolver,
}

/// What a source gave.
pub(super) struct Fetched {
    pub(super) content: Content,
    /// How long it says that this holds.
    pub(super) lifetime: Option<Duration>,
    /// To ask next time whether it still does.
    pub(super) validators: Option<Validators>,
}

pub(super) enum Content {
    /// A key set, and the SHA-256 of its text, to see whether anything changed.
    Keys(KeySet, Digest),
    /// What it gave before, whose validators were sent, still holds.
    NotModified,
}

pub(super) type Digest = [u8; digest::SHA256_OUTPUT_LEN];

/// A complete answer.
struct Document {
    /// `None` says that what is had already still holds.
    body: Option<Bytes>,
    lifetime: Option<Duration>,
    validators: Option<Validators>,
}

impl Fetcher {
    /// Asks the source for its keys, or whether those of `validators` still hold. Each document has
    /// the whole of `within`, as under Istio.
    pub(super) async fn fetch(
        &self,
        id: &KeySourceId,
        within: Duration,
        validators: Option<&Validators>,
    ) -> Result<Fetched, FetchError> {
        let call = Call { fetcher: self, issuer: &id.issuer, within };
        let target = match &id.uri {
            Some(uri) => Target::parse(uri)?,
            None => {
                call.discover().await.map_err(|error| FetchError::Discovery(Box::new(error)))?
            }
        };
        let Document { body, lifetime, validators } = call.get(&target, validators).await?;
        let content = match body {
            None => Content::NotModified,
            Some(body) => {
                let url = target.to_string();
                // Thousands of keys take tens of milliseconds to parse.
                let parsed = spawn_blocking(move || parse_keys(&body, url)).await;
                parsed.unwrap_or(Err(FetchError::Stopped))?
            }
        };
        Ok(Fetched { content, lifetime, validators })
    }
}

/// The documents of one fetch.
struct Call<'f> {
    fetcher: &'f Fetcher,
    issuer: &'f str,
    within: Duration,
}

impl Call<'_> {
    /// OpenID Connect Discovery 1.0 section 4.
    async fn discover(&self) -> Result<Target, FetchError> {
        if self.issuer.is_empty() {
            return Err(FetchError::NoIssuer);
        }
        let issuer = self.issuer.strip_suffix('/').unwrap_or(self.issuer);
        let document = Target::parse(&format!("{issuer}/.well-known/openid-configuration"))?;
        let body = self.get(&document, None).await?.body.unwrap_or_default();
        let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
        match parsed.get("jwks_uri").and_then(Value::as_str) {
            Some(uri) => Target::parse(uri),
            None => Err(FetchError::NotADiscoveryDocument { url: document.to_string() }),
        }
    }

    async fn get(
        &self,
        target: &Target,
        validators: Option<&Validators>,
    ) -> Result<Document, FetchError> {
        timeout(self.within, self.follow(target.clone(), validators))
            .await
            .unwrap_or(Err(FetchError::Timeout(self.within)))
    }

    async fn follow(
        &self,
        mut target: Target,
        validators: Option<&Validators>,
    ) -> Result<Document, FetchError> {
        for _ in 0..=MAX_REDIRECTS {
            match self.ask(&target, validators).await? {
                Answer::Document(document) => return Ok(document),
                Answer::Redirect(next) if target.secure && !next.secure => {
                    return Err(FetchError::Downgrade { url: target.to_string() });
                }
                Answer::Redirect(next) => target = next,
            }
        }
        Err(FetchError::TooManyRedirects(MAX_REDIRECTS))
    }

    async fn ask(
        &self,
        target: &Target,
        validators: Option<&Validators>,
    ) -> Result<Answer, FetchError> {
        let Fetcher { clients, guard, resolver } = self.fetcher;
        let stream = dial(resolver, guard, &target.host, target.port, self.within).await?;
        if !target.secure {
            return exchange(stream, target, validators).await;
        }
        let connector = clients.of(self.issuer).ok_or(FetchError::NoRoots)?;
        let name = ServerName::try_from(target.host.clone()).map_err(|_| FetchError::Url)?;
        match connector.connect(name, stream).await {
            Ok(stream) => exchange(stream, target, validators).await,
            Err(error) => Err(FetchError::Tls { host: target.host.clone(), error }),
        }
    }
}

enum Answer {
    Document(Document),
    Redirect(Target),
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    target: &Target,
    validators: Option<&Validators>,
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
    if let Some(validators) = validators {
        request = validators.apply(target, request);
    }
    let conditional = request.headers_ref().is_some_and(|headers| {
        headers.contains_key(header::IF_NONE_MATCH)
            || headers.contains_key(header::IF_MODIFIED_SINCE)
    });
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
    let lifetime = freshness::lifetime(response.headers());
    let new_validators = Validators::of(target, response.headers());
    if conditional && status == StatusCode::NOT_MODIFIED {
        // RFC 9110 section 15.4.5: it need not repeat what has not changed.
        let validators = new_validators.or_else(|| validators.cloned());
        return Ok(Answer::Document(Document { body: None, lifetime, validators }));
    }
    if !status.is_success() {
        return Err(FetchError::Status { url: target.to_string(), status: status.as_u16() });
    }
    let body = Some(read(response.into_body(), target).await?);
    Ok(Answer::Document(Document { body, lifetime, validators: new_validators }))
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

fn parse_keys(body: &[u8], url: String) -> Result<Content, FetchError> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(FetchError::NotText { url });
    };
    let keys = KeySet::parse(text).map_err(|error| FetchError::NotAKeySet { url, error })?;
    let mut sha256 = Digest::default();
    sha256.copy_from_slice(digest::digest(&digest::SHA256, body).as_ref());
    Ok(Content::Keys(keys, sha256))
}
