//! One request or connection, borrowed from the message it came in.

use std::{borrow::Cow, net::IpAddr};

use super::Value;

/// What a decision looks at. Built by `extauthz` from a `CheckRequest`.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    /// The peer of the connection (Istio's `source.ip`); `None` for a unix socket.
    pub source_ip: Option<IpAddr>,
    /// The client behind trusted proxies (Istio's `remote.ip`).
    pub remote_ip: Option<IpAddr>,
    /// The local address of the connection.
    pub destination_ip: Option<IpAddr>,
    /// The local port of the connection.
    pub destination_port: Option<u16>,
    /// Server name of the TLS handshake, in lower case; empty without one.
    pub sni: Cow<'a, str>,
    /// Who the peer's certificate names: URI SANs, then DNS SANs, then the subject. Empty without a
    /// client certificate. A condition matches if it matches any of them.
    pub peer: Peer<'a>,
    /// `None` for an L4 connection.
    pub http: Option<Http<'a>>,
    /// Dynamic metadata by filter name.
    pub filter_metadata: Vec<(Cow<'a, str>, Value)>,
    /// What no condition looks at.
    pub exchange: Exchange<'a>,
    /// Inputs that the Envoy filter is not configured to send.
    pub missing: Missing,
}

impl Attributes<'_> {
    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Attributes<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Attributes {
            source_ip: self.source_ip,
            remote_ip: self.remote_ip,
            destination_ip: self.destination_ip,
            destination_port: self.destination_port,
            sni: owned(self.sni),
            peer: Peer { names: self.peer.names.into_iter().map(owned).collect() },
            http: self.http.map(Http::into_owned),
            filter_metadata: self
                .filter_metadata
                .into_iter()
                .map(|(filter, value)| (owned(filter), value))
                .collect(),
            exchange: Exchange { protocol: owned(self.exchange.protocol), ..self.exchange },
            missing: self.missing,
        }
    }
}

/// What only values that are set in requests are made of.
#[derive(Debug, Clone, Default)]
pub struct Exchange<'a> {
    /// `HTTP/1.1`; empty where it is not known.
    pub protocol: Cow<'a, str>,
    /// When the request began.
    pub start_time: Option<StartTime>,
    /// The port of the peer of the connection.
    pub source_port: Option<u16>,
    /// The port of the client behind trusted proxies: 0 where these tell its address.
    pub remote_port: Option<u16>,
}

/// A time since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartTime {
    /// Whole seconds.
    pub seconds: i64,
    /// And what is left, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// Inputs that are absent by configuration, so that their absence says nothing about the request.
/// A condition that depends on one neither holds nor fails: it allows nothing, and denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// No `include_peer_certificate`: the peer may have more names than the first.
    pub peer_certificate: bool,
    /// No `include_tls_session`: the server name is not known.
    pub tls_session: bool,
    /// No usable header of the configured name: the client's address is not known.
    pub client_address: bool,
    /// Over HTTP, where the proxy does not say who the peer of the connection is.
    pub source_address: bool,
    /// Over HTTP, where the proxy does not say where the connection came in.
    pub destination: bool,
    /// Over HTTP there is no dynamic metadata.
    pub metadata: bool,
    /// Which headers of the request were sent at all.
    pub headers: SentHeaders,
}

/// Which of a request's headers came along, so that the absence of another says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SentHeaders {
    /// All of them.
    #[default]
    All,
    /// All but those that an HTTP request to Postern has for itself.
    ThroughEnvoy,
    /// All but those, and but those in which a proxy says what it forwards: they are the proxy's,
    /// whatever the client had sent.
    ThroughProxy,
    /// Some: a header that is not there may have been in the request.
    Some,
}

impl SentHeaders {
    /// All kinds, for who reads and tries them.
    pub const KINDS: [Self; 4] = [Self::All, Self::ThroughEnvoy, Self::ThroughProxy, Self::Some];

    /// Of one connection, and so of the one to Postern.
    const OF_CONNECTION: [&str; 11] = [
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-envoy-expected-rq-timeout-ms",
    ];

    /// Its name in records; `None` where nothing is missing.
    pub fn missing_input(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::ThroughEnvoy => Some("headers_of_connection"),
            Self::ThroughProxy => Some("headers_of_proxy"),
            Self::Some => Some("allowed_headers"),
        }
    }

    /// Whether the request may have had a header of that name, in lower case, that was not sent; those
    /// that were are not in the request.
    pub fn hides(self, name: &str) -> bool {
        let of_connection = || Self::OF_CONNECTION.contains(&name);
        match self {
            Self::All => false,
            Self::ThroughEnvoy | Self::Some => of_connection() || name == "x-envoy-internal",
            Self::ThroughProxy => {
                of_connection()
                    || ["x-forwarded-", "x-original-"].iter().any(|begin| name.starts_with(begin))
                    || ["forwarded", "x-real-ip"].contains(&name)
            }
        }
    }

    /// Whether nothing is known of a header of that name that is not there.
    pub fn may_lack(self, name: &str) -> bool {
        self == Self::Some || self.hides(name)
    }
}

/// The identities of the client certificate.
#[derive(Debug, Clone, Default)]
pub struct Peer<'a> {
    /// All names, in the order native Envoy tries them; never an empty string.
    pub names: Vec<Cow<'a, str>>,
}

impl Peer<'_> {
    /// The identity for logs and mTLS: the first name.
    pub fn principal(&self) -> Option<&str> {
        self.names.first().map(AsRef::as_ref)
    }
}

/// The HTTP half of a request. After token verification it is the request as native filters behind
/// `jwt_authn` would see it: token removed, claim headers set.
#[derive(Debug, Clone)]
pub struct Http<'a> {
    /// `:method`
    pub method: Cow<'a, str>,
    /// `:path` with its query.
    pub path: Cow<'a, str>,
    /// `:authority`, with case and port.
    pub host: Cow<'a, str>,
    /// `:scheme`
    pub scheme: Cow<'a, str>,
    /// All other headers.
    pub headers: Headers<'a>,
}

impl Http<'_> {
    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Http<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let Headers { lines, joined } = self.headers;
        let lines =
            lines.into_iter().map(|(n, v)| (owned(n), Cow::Owned(v.into_owned()))).collect();
        Http {
            method: owned(self.method),
            path: owned(self.path),
            host: owned(self.host),
            scheme: owned(self.scheme),
            headers: Headers { lines, joined },
        }
    }

    /// The path that `paths` matches: without query and fragment.
    pub fn path_without_query(&self) -> &str {
        let end = self.path.find(['?', '#']).unwrap_or(self.path.len());
        self.path.get(..end).unwrap_or_default()
    }

    /// The value of a header that is no line: the pseudo headers, and `host`, which is one of them
    /// by its older name. `None` for all other names.
    pub fn pseudo_header(&self, name: &str) -> Option<&str> {
        match name {
            ":method" => Some(&self.method),
            ":path" => Some(&self.path),
            ":scheme" => Some(&self.scheme),
            ":authority" | "host" => Some(&self.host),
            _ => None,
        }
    }
}

/// Header lines in the order they came, names in lower case, values as bytes.
#[derive(Debug, Clone, Default)]
pub struct Headers<'a> {
    lines: Vec<(Cow<'a, str>, Cow<'a, [u8]>)>,
    /// Whether lines of one name arrived joined into one (no `encode_raw_headers`).
    joined: bool,
}

impl Headers<'_> {
    /// Headers whose lines Envoy's codec joins itself, for native filters too.
    pub const JOINED_BY_ENVOY: [&'static str; 7] = [
        "accept",
        "authorization",
        "content-type",
        "origin",
        "referer",
        "user-agent",
        "x-forwarded-for",
    ];
}

/// A header's value as text, with a replacement for what is none.
pub fn header_text(value: &[u8]) -> Cow<'_, str> {
    // Nearly always it is text, and looking for that is quick where looking for what is none is not.
    str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

impl<'a> Headers<'a> {
    /// From lines whose names are in lower case. `joined` says that repeated lines were joined with
    /// commas before they got here.
    pub fn new(lines: Vec<(Cow<'a, str>, Cow<'a, [u8]>)>, joined: bool) -> Self {
        Self { lines, joined }
    }

    /// Whether repeated lines may have been joined.
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// The value of every line with that name (in lower case), in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_ref())
    }

    /// The value of the first line with that name (in lower case).
    pub fn first(&self, name: &str) -> Option<&Cow<'a, [u8]>> {
        self.lines.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// Every line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// Removes every line of that name; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.lines.len();
        self.lines.retain(|(n, _)| n != name);
        self.lines.len() != before
    }

    /// Adds a line.
    pub fn append(&mut self, name: Cow<'a, str>, value: Cow<'a, [u8]>) {
        self.lines.push((name, value));
    }
}

/// What verified tokens say about the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Identity<'a> {
    /// The payload of the token that counts; `None` without a verified token. Claims in
    /// `spaceDelimitedClaims` are already lists.
    pub claims: Option<&'a Value>,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("/a", "/a")]
    #[case("/a?b", "/a")]
    #[case("/a#b", "/a")]
    #[case("/a?b#c", "/a")]
    #[case("/a#b?c", "/a")]
    #[case("/a%23b", "/a%23b")]
    #[case("?a", "")]
    #[case("", "")]
    fn neither_query_nor_fragment_is_part_of_the_path(#[case] path: &str, #[case] matched: &str) {
        let http = Http {
            method: "GET".into(),
            path: path.into(),
            host: "a".into(),
            scheme: "http".into(),
            headers: Headers::default(),
        };
        assert_eq!(http.path_without_query(), matched);
    }
}
