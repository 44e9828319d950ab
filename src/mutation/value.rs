//! What operators come to for one request.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use super::{AddressPart, Operator, PathSource};
use crate::model::{Attributes, Http, Value};

/// The filter whose metadata are the payloads of verified tokens.
const JWT_FILTER: &str = "envoy.filters.http.jwt_authn";
/// Where Istio has that filter put them.
const JWT_PAYLOAD: &str = "payload";

/// A request that passes, as its tokens left it.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The request.
    pub attributes: &'a Attributes<'a>,
    /// The payload of the token that counts.
    pub claims: Option<&'a Value>,
    /// Of the machine that decides; empty where it is not known.
    pub hostname: &'a str,
}

impl Context<'_> {
    pub(super) fn write(&self, operator: &Operator, out: &mut Vec<u8>) {
        let attributes = self.attributes;
        let exchange = &attributes.exchange;
        match operator {
            Operator::Request { header, or, with_query } => {
                let Some(http) = &attributes.http else { return };
                let value = header_of(http, header)
                    .or_else(|| or.as_ref().and_then(|name| header_of(http, name)));
                let value = value.unwrap_or_default();
                out.extend(if *with_query { value } else { without_query(value) });
            }
            Operator::Path { source, with_query } => {
                let Some(http) = &attributes.http else { return };
                let original = || header_of(http, "x-envoy-original-path");
                let value = match source {
                    PathSource::Original => original().unwrap_or_default(),
                    PathSource::Path => http.path.as_bytes(),
                    PathSource::OriginalOrPath => original().unwrap_or(http.path.as_bytes()),
                };
                out.extend(if *with_query { value } else { without_query(value) });
            }
            Operator::QueryParameter(name) => {
                let path = attributes.http.as_ref().map_or("", |http| &http.path);
                out.extend(query_parameter(path, name).unwrap_or_default().as_bytes());
            }
            Operator::Protocol => out.extend(exchange.protocol.bytes()),
            Operator::StartTime(format) => {
                if let Some(time) = exchange.start_time {
                    format.write(time, out);
                }
            }
            Operator::RemoteAddress(part) => {
                let ip = attributes.remote_ip.filter(|_| !attributes.missing.client_address);
                address(*part, ip, exchange.remote_port, out);
            }
            Operator::DirectRemoteAddress(part) => {
                address(*part, attributes.source_ip, exchange.source_port, out);
            }
            Operator::LocalAddress(part) => {
                address(*part, attributes.destination_ip, attributes.destination_port, out);
            }
            Operator::PeerUriSan => {
                let uris = attributes.peer.names.iter().take_while(|name| is_uri(name));
                let uris: Vec<&str> = uris.map(AsRef::as_ref).collect();
                out.extend(uris.join(",").bytes());
            }
            Operator::RequestedServerName => out.extend(attributes.sni.bytes()),
            Operator::DynamicMetadata { filter, path } => {
                if let Some(value) = self.metadata(filter, path) {
                    match value {
                        Value::Null => {}
                        Value::String(text) => out.extend(text.bytes()),
                        Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Object(_) => {
                            write_json(value, out);
                        }
                    }
                }
            }
            Operator::Hostname => out.extend(self.hostname.bytes()),
        }
    }

    fn metadata(&self, filter: &str, path: &[Box<str>]) -> Option<&Value> {
        let member = |value, path: &[Box<str>]| {
            path.iter().try_fold(value, |value: &Value, name| value.get(name))
        };
        if filter == JWT_FILTER
            && let Some(claims) = self.claims
            && let Some((first, path)) = path.split_first()
            && **first == *JWT_PAYLOAD
        {
            return member(claims, path);
        }
        let metadata = &self.attributes.filter_metadata;
        metadata
            .iter()
            .find(|(name, _)| **name == *filter)
            .and_then(|(_, value)| member(value, path))
    }
}

/// The first line, as Envoy's formatter has it.
fn header_of<'h>(http: &'h Http<'_>, name: &str) -> Option<&'h [u8]> {
    http.pseudo_header(name)
        .map(str::as_bytes)
        .or_else(|| http.headers.first(name).map(|value| value.as_ref()))
}

fn without_query(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b'?').next().unwrap_or(value)
}

fn query_parameter<'p>(path: &'p str, name: &str) -> Option<Cow<'p, str>> {
    let (_, query) = path.split_once('?')?;
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    query.split('&').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

fn address(part: AddressPart, ip: Option<IpAddr>, port: Option<u16>, out: &mut Vec<u8>) {
    let Some(ip) = ip else { return };
    // Writing into memory does not fail.
    drop(match (part, ip, port) {
        (AddressPart::WithoutPort, ip, _) => write!(out, "{ip}"),
        (AddressPart::Port, _, Some(port)) => write!(out, "{port}"),
        (AddressPart::Whole, IpAddr::V4(ip), Some(port)) => write!(out, "{ip}:{port}"),
        (AddressPart::Whole, IpAddr::V6(ip), Some(port)) => write!(out, "[{ip}]:{port}"),
        (AddressPart::Port | AddressPart::Whole, _, None) => Ok(()),
    });
}

/// Neither a DNS name nor a subject, which follow the URIs in a peer's names.
fn is_uri(name: &str) -> bool {
    name.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
}

/// As JSON, without blanks.
fn write_json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(b) => out.extend(b.to_string().bytes()),
        Value::Number(n) => out.extend(n.to_string().bytes()),
        Value::String(text) => write_json_text(text, out),
        Value::List(items) => {
            out.push(b'[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                write_json(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // Protobuf's maps have no order; by name is how Envoy prints them.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            out.push(b'{');
            for (number, (name, member)) in members.into_iter().enumerate() {
                if number > 0 {
                    out.push(b',');
                }
                write_json_text(name, out);
                out.push(b':');
                write_json(member, out);
            }
            out.push(b'}');
        }
    }
}

fn write_json_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        // Writing into memory does not fail.
        drop(match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)),
            c => write!(out, "{c}"),
        });
    }
    out.push(b'"');
}
