//! One request as a file says it: what `postern check` decides, and what test cases are made of.
//!
//! Reads the file and asks what it says as Envoy would ask it. Deciding is `gate`'s job.

mod check_request;
mod read;
pub mod recorded;

use std::net::IpAddr;

use crate::diagnostic::Diagnostic;

pub(crate) use read::{OneDocument, fields, only_document};

/// A request or, with `connection: true`, an L4 connection. Every field has a default: the empty
/// mapping is a plain `GET /`.
///
/// It says what a client sends and what Envoy knows of its connection, with every input turned on
/// that Envoy's filter can send.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestFile {
    /// `method`, by default `GET`.
    pub method: String,
    /// `path` with its query, by default `/`.
    pub path: String,
    /// `host`, with its port where the client writes one.
    pub host: String,
    /// `scheme`, by default `http`.
    pub scheme: String,
    /// `headers`: a mapping to a value or a list of values, or a list of `[name, value]`. Names are
    /// in lower case here. `token` is one of them: `authorization: Bearer <token>`.
    pub headers: Vec<(String, String)>,
    /// `source`
    pub source: Source,
    /// `destination`
    pub destination: Destination,
    /// `sni`: the server name of the TLS handshake.
    pub sni: String,
    /// `metadata`: dynamic metadata by filter.
    pub metadata: Vec<(String, serde_json::Value)>,
    /// `connection`: there is no HTTP, only a connection.
    pub connection: bool,
    /// `now`: the time of the request in seconds since 1970, where it is not the present.
    pub now: Option<u64>,
}

/// The peer of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// `ip`
    pub ip: Option<IpAddr>,
    /// `principal` or `principals`: the names of the peer's certificate, URIs first, then DNS names,
    /// then the subject (`CN=...`). A SPIFFE ID may stand without `spiffe://`, as in policies.
    pub principals: Vec<String>,
}

/// The local end of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destination {
    /// `ip`
    pub ip: Option<IpAddr>,
    /// `port`
    pub port: Option<u16>,
}

impl Source {
    /// A peer with these names, each as a person writes it: sorted, and SPIFFE IDs in full.
    pub fn new(ip: Option<IpAddr>, mut principals: Vec<String>) -> Self {
        for name in &mut principals {
            if kind_of_name(name) == 1 && name.contains('/') {
                *name = format!("spiffe://{name}");
            }
        }
        principals.sort_by_key(|name| kind_of_name(name));
        Self { ip, principals }
    }
}

/// The order of names in which Envoy tries them: URIs, DNS names, the subject.
fn kind_of_name(name: &str) -> u8 {
    match name {
        _ if name.contains("://") => 0,
        _ if name.contains('=') => 2,
        _ => 1,
    }
}

impl Default for RequestFile {
    /// A plain `GET /`.
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: "/".into(),
            host: String::new(),
            scheme: "http".into(),
            headers: Vec::new(),
            source: Source::default(),
            destination: Destination::default(),
            sni: String::new(),
            metadata: Vec::new(),
            connection: false,
            now: None,
        }
    }
}

impl RequestFile {
    /// Reads the one request that a text holds, or says everything that is wrong with it. `file`
    /// names it in diagnostics and tells YAML from JSON by its extension; without one of theirs, a
    /// text that is JSON is read as JSON, any other as YAML.
    pub fn read(text: &str, file: Option<&str>) -> Result<Self, Vec<Diagnostic>> {
        read::request(text, file)
    }
}

#[cfg(test)]
mod tests;
