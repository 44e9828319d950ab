//! What can be another way about a request.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use super::Probe;
use crate::model::Value;

/// One thing about a request that is another way.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The peer's certificate has this name and no other; none is no certificate.
    Peer(Option<String>),
    /// The token is of this issuer, for this subject, and keeps its other claims; none is no token.
    RequestPrincipal(Option<(String, String)>),
    /// The token has this claim, or has it not.
    Claim(Vec<String>, Option<String>),
    /// `:method`
    Method(String),
    /// `:authority`
    Host(String),
    /// `:path`
    Path(String),
    /// `:scheme`
    Scheme(String),
    /// There is one line of this header, or none.
    Header(String, Option<String>),
    /// The peer of the connection.
    SourceIp(IpAddr),
    /// The client.
    RemoteIp(IpAddr),
    /// The local address.
    DestinationIp(IpAddr),
    /// The local port.
    DestinationPort(u16),
    /// The server name.
    Sni(String),
    /// Dynamic metadata.
    Metadata {
        /// By this filter.
        filter: String,
        /// Its key.
        key: String,
        /// Nothing is without it.
        value: Option<Value>,
    },
}

impl Change {
    /// The request with this change; nothing where it cannot be: a connection has no method.
    pub fn applied(&self, probe: &Probe) -> Option<Probe> {
        let mut next = probe.clone();
        let attributes = &mut next.attributes;
        let owned = |text: &String| Cow::Owned(text.clone());
        match self {
            Self::Peer(name) => attributes.peer.names = name.iter().map(owned).collect(),
            Self::RequestPrincipal(principal) => {
                attributes.http.as_ref()?;
                next.claims = principal.as_ref().map(|(issuer, subject)| {
                    let mut claims = next.claims.take().unwrap_or(Value::Object(Vec::new()));
                    set(&mut claims, &["iss"], Some(Value::String(issuer.clone())));
                    set(&mut claims, &["sub"], Some(Value::String(subject.clone())));
                    claims
                });
            }
            Self::Claim(path, value) => {
                attributes.http.as_ref()?;
                let value = value.clone().map(Value::String);
                set(next.claims.as_mut()?, path, value);
            }
            Self::Method(method) => attributes.http.as_mut()?.method = owned(method),
            Self::Host(host) => attributes.http.as_mut()?.host = owned(host),
            Self::Path(path) => attributes.http.as_mut()?.path = owned(path),
            Self::Scheme(scheme) => attributes.http.as_mut()?.scheme = owned(scheme),
            Self::Header(name, value) => {
                let headers = &mut attributes.http.as_mut()?.headers;
                headers.remove(name);
                if let Some(value) = value {
                    headers.append(owned(name), Cow::Owned(value.clone().into_bytes()));
                }
            }
            Self::SourceIp(ip) => attributes.source_ip = Some(*ip),
            Self::RemoteIp(ip) => attributes.remote_ip = Some(*ip),
            Self::DestinationIp(ip) => attributes.destination_ip = Some(*ip),
            Self::DestinationPort(port) => attributes.destination_port = Some(*port),
            Self::Sni(name) => attributes.sni = owned(name),
            Self::Metadata { filter, key, value } => {
                let found = attributes.filter_metadata.iter_mut().find(|(name, _)| name == filter);
                match found {
                    Some((_, metadata)) => set(metadata, &[key], value.clone()),
                    None => {
                        let mut metadata = Value::Object(Vec::new());
                        set(&mut metadata, &[key], value.clone());
                        attributes.filter_metadata.push((owned(filter), metadata));
                    }
                }
            }
        }
        Some(next)
    }

    /// What is changed, as request files name it.
    pub fn name(&self) -> String {
        match self {
            Self::Peer(_) => "source.principal".into(),
            Self::RequestPrincipal(_) => "token".into(),
            Self::Claim(path, _) => format!("token claim {}", path.join(".")),
            Self::Method(_) => "method".into(),
            Self::Host(_) => "host".into(),
            Self::Path(_) => "path".into(),
            Self::Scheme(_) => "scheme".into(),
            Self::Header(name, _) => format!("header {name}"),
            Self::SourceIp(_) => "source.ip".into(),
            Self::RemoteIp(_) => "client address".into(),
            Self::DestinationIp(_) => "destination.ip".into(),
            Self::DestinationPort(_) => "destination.port".into(),
            Self::Sni(_) => "sni".into(),
            Self::Metadata { filter, key, .. } => format!("metadata {filter} {key}"),
        }
    }

    /// What it is then; nothing where it is left out.
    pub fn value(&self) -> Option<String> {
        match self {
            Self::Peer(value) | Self::Claim(_, value) | Self::Header(_, value) => value.clone(),
            Self::RequestPrincipal(principal) => {
                principal.as_ref().map(|(issuer, subject)| format!("{issuer}/{subject}"))
            }
            Self::Method(value)
            | Self::Host(value)
            | Self::Path(value)
            | Self::Scheme(value)
            | Self::Sni(value) => Some(value.clone()),
            Self::SourceIp(ip) | Self::RemoteIp(ip) | Self::DestinationIp(ip) => {
                Some(ip.to_string())
            }
            Self::DestinationPort(port) => Some(port.to_string()),
            Self::Metadata { value, .. } => value.as_ref().map(|value| match value {
                Value::String(text) => text.clone(),
                Value::List(items) => {
                    let texts: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                    format!("[{}]", texts.join(", "))
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
            }),
        }
    }
}

/// `method POST`, `no header x-role`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(value) => write!(f, "{} {}", self.name(), crate::manifest::text::quoted(&value)),
            None => write!(f, "no {}", self.name()),
        }
    }
}

/// Sets or removes a member; what is in the way and is no object is replaced.
fn set(object: &mut Value, path: &[impl AsRef<str>], value: Option<Value>) {
    let Some((name, rest)) = path.split_first() else { return };
    let name = name.as_ref();
    if !matches!(object, Value::Object(_)) {
        *object = Value::Object(Vec::new());
    }
    let Value::Object(members) = object else { return };
    if rest.is_empty() {
        match (members.iter_mut().find(|(known, _)| known == name), value) {
            (Some((_, member)), Some(value)) => *member = value,
            (None, Some(value)) => members.push((name.to_owned(), value)),
            (_, None) => members.retain(|(known, _)| known != name),
        }
        return;
    }
    if members.iter().all(|(known, _)| known != name) {
        if value.is_none() {
            return;
        }
        members.push((name.to_owned(), Value::Object(Vec::new())));
    }
    if let Some((_, member)) = members.iter_mut().find(|(known, _)| known == name) {
        set(member, rest, value);
    }
}
