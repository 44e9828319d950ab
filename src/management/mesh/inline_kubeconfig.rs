//! Kubeconfigs that callers send: which are taken, and where they may lead.
//!
//! A kubeconfig can run programs, read files and lead anywhere. Of all that there is nothing here: what
//! is known is a server and credentials that stand in the text, and everything else is an error. What is
//! asked of the server is `cluster`'s.

mod destinations;
mod document;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::MeshError;
use super::cluster::{Answer, Cluster, MAX_ANSWER, headers};
use crate::outbound::{Client, Outgoing, Target, Trust};

pub use destinations::{Destinations, InvalidDestination};
pub use document::Member;

use document::Chosen;

/// The most bytes of a kubeconfig.
pub const MAX_KUBECONFIG: usize = 32 * 1024;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a kubeconfig is not taken. Messages name members, never what they hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKubeconfig {
    /// It is none.
    #[error("the kubeconfig is not base64")]
    Base64,
    /// It is too large.
    #[error("the kubeconfig has more than {MAX_KUBECONFIG} bytes")]
    TooLarge,
    /// Neither YAML nor JSON, or something that expands without end.
    #[error("the kubeconfig cannot be read: line {line} is not as it should be")]
    Syntax {
        /// Where.
        line: u32,
    },
    /// There is nothing in it, or there are several.
    #[error("the kubeconfig is not one document")]
    Documents,
    /// A member that could lead elsewhere, or that nobody knows.
    #[error("the kubeconfig has `{0}`, which is not allowed here")]
    Unknown(Member),
    /// A member of another type.
    #[error("`{0}` of the kubeconfig is not {1}")]
    Type(Member, &'static str),
    /// A member that is missing, or empty.
    #[error("the kubeconfig has no `{0}`")]
    Missing(&'static str),
    /// A name that leads nowhere, or to several.
    #[error("`{0}` of the kubeconfig does not name exactly one")]
    Name(&'static str),
    /// A server that cannot be asked.
    #[error("`server` of the kubeconfig is not `https://` with a host and maybe a port")]
    Server,
    /// Certificates or a key that are none, or a token that cannot be sent.
    #[error("`{0}` of the kubeconfig cannot be used")]
    Credentials(&'static str),
}

impl Cluster {
    /// That of a kubeconfig in base64, of the usual alphabet or that for URLs, if it may be asked. Asks
    /// it nothing yet: where its host is, and whether that is allowed, is looked at each time it is
    /// connected to.
    pub fn inline(text: &str, allowed: &Destinations) -> Result<Self, InvalidKubeconfig> {
        let text = decoded(text)?;
        let digest = digest::digest(&digest::SHA256, text.as_bytes());
        let sha256: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let chosen = document::read(&text)?;
        let inline = Inline::new(chosen, allowed, sha256)?;
        Ok(Self::of_caller(inline))
    }
}

/// A server that a caller named.
pub(super) struct Inline {
    client: Client,
    /// `https://host:port`
    server: String,
    authorization: Option<HeaderValue>,
    sha256: String,
}

/// Never the credentials.
impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inline").field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

impl Inline {
    fn new(
        chosen: Chosen,
        allowed: &Destinations,
        sha256: String,
    ) -> Result<Self, InvalidKubeconfig> {
        let Chosen { server, authority, certificate, key, token } = chosen;
        let target = server_of(&server)?;
        let guard = allowed.guard(&target.host);
        let authority_name = "certificate-authority-data";
        let trusted = match authority {
            None => Vec::new(),
            Some(authority) => certificates(&authority, authority_name)?,
        };
        let (certificate_name, key_name) = ("client-certificate-data", "client-key-data");
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(_), None) => return Err(InvalidKubeconfig::Missing(key_name)),
            (None, Some(_)) => return Err(InvalidKubeconfig::Missing(certificate_name)),
            (Some(certificate), Some(key)) => {
                let chain = certificates(&certificate, certificate_name)?;
                let key = pem(&key, key_name)?;
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|_| InvalidKubeconfig::Credentials(key_name))?;
                Some((chain, key))
            }
        };
        let authorization = token.map(|token| bearer(&token)).transpose()?;
        let has_identity = identity.is_some();
        let client = Client::trusting(guard, Trust { trusted, identity }).map_err(|_| {
            let name = if has_identity { certificate_name } else { authority_name };
            InvalidKubeconfig::Credentials(name)
        })?;
        let server = format!("https://{}", target.authority());
        let client = client.reading_all(MAX_ANSWER);
        Ok(Self { client, server, authorization, sha256 })
    }

    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// One exchange. A redirect is an answer like others, and followed by nobody.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, MeshError> {
        let target = Target::parse(&format!("{}{path}", self.server));
        let target = target.map_err(|_| MeshError::NotFound)?;
        let mut headers = headers(&method);
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let outgoing = Outgoing { issuer: "", method, headers, body };
        match self.client.send(&target, outgoing, PATIENCE).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                Ok(Answer { status: parts.status, body })
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                let kubeconfig_sha256 = &self.sha256;
                tracing::warn!(%error, cause, kubeconfig_sha256, "a caller's cluster cannot be asked");
                // The same words for all causes: which addresses answer, and how, is nobody's business.
                let message =
                    "the kubeconfig's cluster cannot be reached, or is none of those allowed";
                Err(MeshError::Unreachable(message.into()))
            }
        }
    }

    #[cfg(test)]
    fn resolving(self, resolver: crate::outbound::Resolver) -> Self {
        Self { client: self.client.resolving(resolver), ..self }
    }
}

/// From base64 of either alphabet, with its padding or without. What was a `+` in a query may be a blank
/// by now; line breaks do not count.
fn decoded(text: &str) -> Result<String, InvalidKubeconfig> {
    // Four characters for three bytes; line breaks are few.
    if text.len() > MAX_KUBECONFIG.saturating_mul(2) {
        return Err(InvalidKubeconfig::TooLarge);
    }
    let text: String = text
        .trim()
        .chars()
        .filter(|char| !matches!(char, '\r' | '\n'))
        .map(|char| if char == ' ' { '+' } else { char })
        .collect();
    let is_for_urls = text.contains(['-', '_']);
    let alphabet = if is_for_urls { &URL_SAFE } else { &STANDARD };
    let padding = DecodePaddingMode::Indifferent;
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding);
    let bytes = GeneralPurpose::new(alphabet, config).decode(text);
    let bytes = bytes.map_err(|_| InvalidKubeconfig::Base64)?;
    if bytes.len() > MAX_KUBECONFIG {
        return Err(InvalidKubeconfig::TooLarge);
    }
    String::from_utf8(bytes).map_err(|_| InvalidKubeconfig::Base64)
}

/// Nothing but scheme, host and port: which paths are asked for is ours to say.
fn server_of(server: &str) -> Result<Target, InvalidKubeconfig> {
    let target = Target::parse(server).map_err(|_| InvalidKubeconfig::Server)?;
    let is_plain = target.secure
        && target.authorization.is_none()
        && target.path_and_query() == "/"
        && !server.contains(['@', '#', '?', '\\']);
    if is_plain { Ok(target) } else { Err(InvalidKubeconfig::Server) }
}

fn pem(text: &str, name: &'static str) -> Result<Vec<u8>, InvalidKubeconfig> {
    let text: String = text.split_ascii_whitespace().collect();
    let decoded = base64::prelude::BASE64_STANDARD.decode(text);
    decoded.map_err(|_| InvalidKubeconfig::Credentials(name))
}

/// One at least: none would be the trust in everybody whom the system trusts.
fn certificates(
    text: &str,
    name: &'static str,
) -> Result<Vec<CertificateDer<'static>>, InvalidKubeconfig> {
    let pem = pem(text, name)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|_| InvalidKubeconfig::Credentials(name))?;
    if certificates.is_empty() {
        Err(InvalidKubeconfig::Credentials(name))
    } else {
        Ok(certificates)
    }
}

fn bearer(token: &str) -> Result<HeaderValue, InvalidKubeconfig> {
    let bad = InvalidKubeconfig::Credentials("token");
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| bad)?;
    value.set_sensitive(true);
    Ok(value)
}
