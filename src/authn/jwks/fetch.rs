//! One fetch of one key set: discovery, redirects, what the answers mean.
//!
//! When to fetch, and what becomes of the keys, is `source`'s job.

use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    error::FetchError,
    freshness::{self, Validators},
};
use crate::key_set::KeySet;
use crate::outbound::{Client, OutboundError, Outgoing, Target};
use crate::plan::KeySourceId;

const MAX_REDIRECTS: usize = 5;

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

/// Asks the source for its keys, or whether those of `validators` still hold. Each document has the
/// whole of `within`, as under Istio.
pub(super) async fn fetch(
    client: &Client,
    id: &KeySourceId,
    within: Duration,
    validators: Option<&Validators>,
) -> Result<Fetched, FetchError> {
    let call = Call { client, issuer: &id.issuer, within };
    let target = match &id.uri {
        Some(uri) => Target::parse(uri)?,
        None => call.discover().await.map_err(|error| FetchError::Discovery(Box::new(error)))?,
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

/// The documents of one fetch.
struct Call<'f> {
    client: &'f Client,
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
            Some(uri) => Ok(Target::parse(uri)?),
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
            .unwrap_or(Err(OutboundError::Timeout(self.within).into()))
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
        let mut headers = HeaderMap::new();
        let accept = "application/jwk-set+json, application/json, */*;q=0.1";
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        let conditional = validators.is_some_and(|known| known.apply(target, &mut headers));
        let call =
            Outgoing { issuer: self.issuer, method: Method::GET, headers, body: Bytes::new() };
        let response = self.client.send(target, call, self.within).await?;
        let (parts, body) = response.into_parts();
        let status = parts.status;
        if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return redirect(&parts.headers, target).map(Answer::Redirect);
        }
        let lifetime = freshness::lifetime(&parts.headers);
        let new_validators = Validators::of(target, &parts.headers);
        if conditional && status == StatusCode::NOT_MODIFIED {
            // RFC 9110 section 15.4.5: it need not repeat what has not changed.
            let validators = new_validators.or_else(|| validators.cloned());
            return Ok(Answer::Document(Document { body: None, lifetime, validators }));
        }
        if !status.is_success() {
            return Err(FetchError::Status { url: target.to_string(), status: status.as_u16() });
        }
        let document = Document { body: Some(body), lifetime, validators: new_validators };
        Ok(Answer::Document(document))
    }
}

enum Answer {
    Document(Document),
    Redirect(Target),
}

fn redirect(headers: &HeaderMap, target: &Target) -> Result<Target, FetchError> {
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    location
        .and_then(|location| target.join(location).ok())
        .ok_or_else(|| FetchError::Redirect { url: target.to_string() })
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
