//! One request as a file says it, for `check`.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;

use crate::extauthz::ClientAddress;
use crate::model::{Attributes, Headers, Http, Missing, Peer, Value};
use crate::normalize::PathNormalization;

/// What is wrong with a request file.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidRequest {
    #[error("a request is one document with fields such as `method`, `path`, `host`, `headers`")]
    Shape(#[source] serde_json::Error),
    #[error("`path` must start with `/` (or be `*` with method OPTIONS)")]
    Path,
    #[error("the path cannot be normalised")]
    NotNormalizable,
}

/// A request. Everything has a default: a plain `GET /`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RequestFile {
    #[serde(default = "get")]
    method: String,
    #[serde(default = "slash")]
    path: String,
    #[serde(default)]
    host: String,
    #[serde(default = "http")]
    scheme: String,
    #[serde(default)]
    headers: HeaderLines,
    /// Short for `authorization: Bearer <token>`.
    token: Option<String>,
    #[serde(default)]
    source: Source,
    #[serde(default)]
    destination: Destination,
    /// TLS server name.
    #[serde(default)]
    sni: String,
    /// Dynamic metadata by filter.
    #[serde(default)]
    metadata: serde_json::Map<String, serde_json::Value>,
    /// A connection without HTTP.
    #[serde(default)]
    connection: bool,
}

/// A map, or a list of pairs where names repeat.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum HeaderLines {
    Map(serde_json::Map<String, serde_json::Value>),
    Pairs(Vec<(String, String)>),
}

impl Default for HeaderLines {
    fn default() -> Self {
        Self::Pairs(Vec::new())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Source {
    /// The peer of the connection.
    ip: Option<IpAddr>,
    /// The names of its certificate.
    #[serde(default)]
    principals: Vec<String>,
    /// Short for one.
    principal: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Destination {
    ip: Option<IpAddr>,
    port: Option<u16>,
}

fn get() -> String {
    "GET".into()
}

fn slash() -> String {
    "/".into()
}

fn http() -> String {
    "http".into()
}

impl RequestFile {
    /// Reads the value of a YAML or JSON document.
    pub(super) fn from_json(document: serde_json::Value) -> Result<Self, InvalidRequest> {
        serde_json::from_value(document).map_err(InvalidRequest::Shape)
    }

    /// As the service would see it with every input that Envoy can send.
    pub(super) fn attributes(
        &self,
        client_address: ClientAddress,
        path_normalization: PathNormalization,
    ) -> Result<Attributes<'_>, InvalidRequest> {
        let is_star = self.path == "*" && self.method == "OPTIONS";
        if !self.connection && !self.path.starts_with('/') && !is_star {
            return Err(InvalidRequest::Path);
        }
        let path =
            path_normalization.apply(&self.path).map_err(|_| InvalidRequest::NotNormalizable)?;
        let headers = self.header_lines();
        let forwarded_for: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name == "x-forwarded-for")
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .collect();
        let forwarded_for = (!forwarded_for.is_empty()).then(|| forwarded_for.join(","));
        let names = self.source.principals.iter().chain(&self.source.principal);
        let names: Vec<_> = names.map(|name| Cow::Borrowed(name.as_str())).collect();
        let http = (!self.connection).then(|| Http {
            method: Cow::Borrowed(&self.method),
            path,
            host: Cow::Borrowed(&self.host),
            scheme: Cow::Borrowed(&self.scheme),
            headers: Headers::new(headers, false),
        });
        Ok(Attributes {
            source_ip: self.source.ip,
            remote_ip: client_address.remote_ip(self.source.ip, forwarded_for.as_deref()),
            destination_ip: self.destination.ip,
            destination_port: self.destination.port,
            sni: self.sni.to_ascii_lowercase().into(),
            peer: Peer { is_authenticated: !names.is_empty(), names },
            http,
            filter_metadata: self
                .metadata
                .iter()
                .map(|(filter, value)| (Cow::Borrowed(filter.as_str()), to_value(value)))
                .collect(),
            missing: Missing::default(),
        })
    }

    fn header_lines(&self) -> Vec<(Cow<'_, str>, Cow<'_, [u8]>)> {
        let line = |name: &str, value: String| -> (Cow<'_, str>, Cow<'_, [u8]>) {
            (name.to_ascii_lowercase().into(), value.into_bytes().into())
        };
        let mut lines: Vec<_> = match &self.headers {
            HeaderLines::Pairs(pairs) => pairs.iter().map(|(n, v)| line(n, v.clone())).collect(),
            HeaderLines::Map(map) => map
                .iter()
                .map(|(name, value)| match value {
                    serde_json::Value::String(text) => line(name, text.clone()),
                    other => line(name, other.to_string()),
                })
                .collect(),
        };
        lines.extend(
            self.token.iter().map(|token| line("authorization", format!("Bearer {token}"))),
        );
        lines
    }
}

fn to_value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => Value::Number(n.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(s) => Value::String(s.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(to_value).collect()),
        serde_json::Value::Object(members) => {
            Value::Object(members.iter().map(|(n, v)| (n.clone(), to_value(v))).collect())
        }
    }
}
