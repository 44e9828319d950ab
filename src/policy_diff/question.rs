//! Requests that are asked of both sides: what a client sends, with a token that need not be signed.
//!
//! Everything in one can be written in a request file, but for the token.

use std::net::IpAddr;

use serde_json::{Map, Number, Value as Json};

use crate::authn::Signer;
use crate::extauthz::RequestSettings;
use crate::model::Value;
use crate::plan::TokenPlaces;
use crate::request_file::RequestFile;

/// Stands behind the client's address where proxies would.
const PROXY: &str = "192.0.2.9";

/// More trusted hops than anybody has.
const MOST_HOPS: usize = 64;

/// A request, before anything looks at it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Question {
    /// What can be written in a file, without the token, and without what says the client's address.
    pub request: RequestFile,
    /// The client's address, where it is not that of the peer.
    pub client: Option<IpAddr>,
    /// Its token.
    pub token: Option<Token>,
}

/// A token that is taken to be signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Whose keys.
    pub signer: Signer,
    /// Where it stands.
    pub place: Place,
    /// Its payload.
    pub claims: Vec<(String, Value)>,
}

/// Where a token stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a header, behind a text.
    Header {
        /// In lower case.
        name: String,
        /// May be empty.
        prefix: String,
    },
    /// In a query parameter.
    Param(String),
    /// In a cookie.
    Cookie(String),
}

impl Place {
    /// All places of a rule.
    pub(super) fn all(places: &TokenPlaces) -> impl Iterator<Item = Self> {
        let headers = places.headers.iter().map(|(name, prefix)| Self::Header {
            name: name.to_string(),
            prefix: prefix.to_string(),
        });
        let params = places.params.iter().map(|name| Self::Param(name.to_string()));
        let cookies = places.cookies.iter().map(|name| Self::Cookie(name.to_string()));
        headers.chain(params).chain(cookies)
    }
}

/// `header authorization, behind "Bearer "`
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header { name, prefix } if prefix.is_empty() => write!(f, "header {name}"),
            Self::Header { name, prefix } => write!(f, "header {name} behind {prefix:?}"),
            Self::Param(name) => write!(f, "query parameter {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
        }
    }
}

impl Token {
    /// The payload as a JSON object.
    pub fn payload(&self) -> Json {
        Json::Object(self.claims.iter().map(|(name, value)| (name.clone(), json(value))).collect())
    }
}

/// A value as JSON; what no JSON number can be is null.
pub(super) fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Object(members) => {
            Json::Object(members.iter().map(|(name, value)| (name.clone(), json(value))).collect())
        }
    }
}

impl Question {
    /// As a file says it: with the client's address where these settings look for it, and with the
    /// token, if there is a text for it.
    pub fn file(&self, settings: &RequestSettings, token: Option<&str>) -> RequestFile {
        let mut file = self.request.clone();
        if file.connection {
            return file;
        }
        if let Some(client) = self.client
            && let Some((name, value)) = self.forwarded_for(client, settings)
        {
            file.headers.push((name, value));
        }
        let (Some(Token { place, .. }), Some(text)) = (&self.token, token) else { return file };
        match place {
            Place::Header { name, prefix } => {
                file.headers.push((name.clone(), format!("{prefix}{text}")));
            }
            Place::Param(name) => {
                let separator = if file.path.contains('?') { '&' } else { '?' };
                let end = file.path.find('#').unwrap_or(file.path.len());
                file.path.insert_str(end, &format!("{separator}{name}={text}"));
            }
            Place::Cookie(name) => {
                file.headers.push(("cookie".to_owned(), format!("{name}={text}")));
            }
        }
        file
    }

    /// The header that makes this the client's address.
    fn forwarded_for(
        &self,
        client: IpAddr,
        settings: &RequestSettings,
    ) -> Option<(String, String)> {
        if let Some(name) = &settings.client_address_header {
            return Some((name.to_string(), client.to_string()));
        }
        let hops = settings.client_address.trusted_hops;
        let uses_peer = settings.client_address.use_remote_address;
        if uses_peer && hops == 0 || hops > MOST_HOPS {
            return None;
        }
        let appended = usize::from(uses_peer && self.request.source.ip.is_some());
        let behind = hops.saturating_sub(appended);
        let entries: Vec<_> = std::iter::once(client.to_string())
            .chain((0..behind).map(|_| PROXY.to_owned()))
            .collect();
        Some(("x-forwarded-for".to_owned(), entries.join(",")))
    }

    /// As text for a file, without the token.
    pub fn text(&self, settings: &RequestSettings) -> String {
        let file = self.file(settings, None);
        let plain = RequestFile::default();
        let mut lines = Vec::new();
        let mut line = |name: &str, value: String| lines.push(format!("{name}: {value}\n"));
        if file.connection {
            line("connection", "true".to_owned());
        }
        for (name, value, usual) in [
            ("method", &file.method, &plain.method),
            ("path", &file.path, &plain.path),
            ("host", &file.host, &plain.host),
            ("scheme", &file.scheme, &plain.scheme),
            ("sni", &file.sni, &plain.sni),
        ] {
            if value != usual {
                line(name, word(value));
            }
        }
        if !file.headers.is_empty() {
            let pairs: Vec<_> = file
                .headers
                .iter()
                .map(|(name, value)| format!("[{}, {}]", word(name), quoted(value)))
                .collect();
            line("headers", format!("[{}]", pairs.join(", ")));
        }
        let mut source = Vec::new();
        source.extend(file.source.ip.map(|ip| format!("ip: {}", quoted(&ip.to_string()))));
        let names: Vec<_> = file.source.principals.iter().map(|name| quoted(name)).collect();
        match names.as_slice() {
            [] => {}
            [name] => source.push(format!("principal: {name}")),
            names => source.push(format!("principals: [{}]", names.join(", "))),
        }
        if !source.is_empty() {
            line("source", format!("{{{}}}", source.join(", ")));
        }
        let mut destination = Vec::new();
        destination
            .extend(file.destination.ip.map(|ip| format!("ip: {}", quoted(&ip.to_string()))));
        destination.extend(file.destination.port.map(|port| format!("port: {port}")));
        if !destination.is_empty() {
            line("destination", format!("{{{}}}", destination.join(", ")));
        }
        if !file.metadata.is_empty() {
            let all: Map<String, Json> = file.metadata.into_iter().collect();
            line("metadata", Json::Object(all).to_string());
        }
        if lines.is_empty() { "{}\n".to_owned() } else { lines.concat() }
    }
}

/// A text as YAML: as it is where nothing in it means anything.
fn word(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c == '/' || c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// A text as JSON, which YAML reads as well.
fn quoted(text: &str) -> String {
    Json::String(text.to_owned()).to_string()
}
