//! The text of a value to its pieces.

use super::time::TimeFormat;
use super::{AddressPart, Operator, PathSource, Piece, Unsupported};

/// What the upstream or the response would have to say; each name, or the beginning of several.
const TOO_LATE: &[&str] = &[
    "UPSTREAM_",
    "RESPONSE_",
    "RESP",
    "TRAILER",
    "BYTES_",
    "DURATION",
    "COMMON_DURATION",
    "REQUEST_DURATION",
    "REQUEST_TX_DURATION",
    "RESPONSE_DURATION",
    "RESPONSE_TX_DURATION",
    "ROUNDTRIP_DURATION",
    "DOWNSTREAM_HEADER_BYTES",
    "DOWNSTREAM_WIRE_BYTES",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "ROUTE_NAME",
    "VIRTUAL_",
    "CLUSTER_METADATA",
    "GRPC_STATUS",
    "CONNECTION_TERMINATION_DETAILS",
    "EMIT_TIME",
    "ACCESS_LOG_TYPE",
    "LOCAL_REPLY_BODY",
];

/// What Envoy knows of a request and does not tell; each name, or the beginning of several.
const NOT_TOLD: &[&str] = &[
    "PER_REQUEST_STATE",
    "FILTER_STATE",
    "FILTER_CHAIN_NAME",
    "TLS_",
    "DOWNSTREAM_TLS_",
    "DOWNSTREAM_PEER_",
    "DOWNSTREAM_LOCAL_",
    "DOWNSTREAM_DIRECT_LOCAL_",
    "CONNECTION_ID",
    "STREAM_ID",
    "TRACE_ID",
    "UNIQUE_ID",
    "REQUEST_HEADERS_BYTES",
    "COALESCE",
    "START_TIME_LOCAL",
    "CUSTOM_FLAGS",
    "METADATA",
    "REQUEST_ID",
    "QUERY_PARAMS",
];

pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, Unsupported> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        literal.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            literal.push('%');
            rest = after;
            continue;
        }
        let at = text.len() - after.len();
        let characters = || text.get(..at).map_or(0, |before| before.chars().count());
        let Some((written, after)) = operator(after) else {
            return Err(Unsupported::Percent(characters()));
        };
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
        }
        pieces.push(written.compile()?);
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal.into()));
    }
    Ok(pieces)
}

/// An operator as it is written.
struct Written<'t> {
    name: &'t str,
    arguments: Option<&'t str>,
    length: Option<&'t str>,
}

/// Reads `NAME%`, `NAME(arguments)%` or `NAME(arguments):1%`, and says what comes behind it.
fn operator(text: &str) -> Option<(Written<'_>, &str)> {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let end = text.find(|c| !is_name(c))?;
    let (name, rest) = text.split_at_checked(end)?;
    if name.is_empty() {
        return None;
    }
    let Some(inside) = rest.strip_prefix('(') else {
        let (length, rest) = length_and_end(rest)?;
        return Some((Written { name, arguments: None, length }, rest));
    };
    // The first parenthesis behind which it ends: a time's format has percent signs of its own.
    let ends = inside.match_indices(')').map(|(at, _)| at);
    for end in ends {
        let (arguments, behind) = inside.split_at_checked(end)?;
        if let Some((length, rest)) = behind.strip_prefix(')').and_then(length_and_end) {
            return Some((Written { name, arguments: Some(arguments), length }, rest));
        }
    }
    None
}

fn length_and_end(text: &str) -> Option<(Option<&str>, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((None, rest));
    }
    let (length, rest) = text.strip_prefix(':')?.split_once('%')?;
    let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some((Some(length), rest))
}

impl Written<'_> {
    fn compile(&self) -> Result<Piece, Unsupported> {
        let operator = self.operator()?;
        let can_be_cut = match operator {
            Operator::Request { .. }
            | Operator::QueryParameter(_)
            | Operator::Path { .. }
            | Operator::DynamicMetadata { .. } => true,
            Operator::Protocol
            | Operator::StartTime(_)
            | Operator::RemoteAddress(_)
            | Operator::DirectRemoteAddress(_)
            | Operator::LocalAddress(_)
            | Operator::PeerUriSan
            | Operator::RequestedServerName
            | Operator::Hostname => false,
        };
        let length = match self.length {
            None => None,
            Some(_) if !can_be_cut => return Err(self.wrong("it takes no length")),
            Some(length) => {
                Some(length.parse().map_err(|_| self.wrong("the length is too large"))?)
            }
        };
        Ok(Piece::Operator { operator, length })
    }

    fn operator(&self) -> Result<Operator, Unsupported> {
        let alone = |operator| match self.arguments {
            None => Ok(operator),
            Some(_) => Err(self.wrong("it takes no arguments")),
        };
        match self.name {
            "REQ" => self.request(true),
            "REQ_WITHOUT_QUERY" => self.request(false),
            "PATH" => self.path(),
            "QUERY_PARAM" => match self.arguments {
                Some(name) if !name.is_empty() => Ok(Operator::QueryParameter(name.into())),
                Some(_) | None => Err(self.wrong("it needs the name of a parameter")),
            },
            "PROTOCOL" => alone(Operator::Protocol),
            "START_TIME" => TimeFormat::parse(self.arguments.unwrap_or_default())
                .map(Operator::StartTime)
                .ok_or_else(|| self.wrong("the format has a conversion that is not known here")),
            "DOWNSTREAM_REMOTE_ADDRESS" => alone(Operator::RemoteAddress(AddressPart::Whole)),
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => {
                alone(Operator::RemoteAddress(AddressPart::WithoutPort))
            }
            "DOWNSTREAM_REMOTE_PORT" => alone(Operator::RemoteAddress(AddressPart::Port)),
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" => {
                alone(Operator::DirectRemoteAddress(AddressPart::Whole))
            }
            "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" => {
                alone(Operator::DirectRemoteAddress(AddressPart::WithoutPort))
            }
            "DOWNSTREAM_DIRECT_REMOTE_PORT" => {
                alone(Operator::DirectRemoteAddress(AddressPart::Port))
            }
            "DOWNSTREAM_LOCAL_ADDRESS" => alone(Operator::LocalAddress(AddressPart::Whole)),
            "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" => {
                alone(Operator::LocalAddress(AddressPart::WithoutPort))
            }
            "DOWNSTREAM_LOCAL_PORT" => alone(Operator::LocalAddress(AddressPart::Port)),
            "DOWNSTREAM_PEER_URI_SAN" => alone(Operator::PeerUriSan),
            "REQUESTED_SERVER_NAME" => alone(Operator::RequestedServerName),
            "DYNAMIC_METADATA" => self.dynamic_metadata(),
            "HOSTNAME" => alone(Operator::Hostname),
            "ENVIRONMENT" => Err(Unsupported::Environment(self.name.to_owned())),
            name if TOO_LATE.iter().any(|known| name.starts_with(known)) => {
                Err(Unsupported::TooLate(name.to_owned()))
            }
            name if NOT_TOLD.iter().any(|known| name.starts_with(known)) => {
                Err(Unsupported::NotTold(name.to_owned()))
            }
            name => Err(Unsupported::Unknown(name.to_owned())),
        }
    }

    fn request(&self, with_query: bool) -> Result<Operator, Unsupported> {
        let names = self.arguments.filter(|names| !names.is_empty());
        let names = names.ok_or_else(|| self.wrong("it needs the name of a header"))?;
        let mut names = names.split('?').map(|name| name.to_ascii_lowercase().into());
        let (Some(header), or, None) = (names.next(), names.next(), names.next()) else {
            return Err(self.wrong("it takes a header and at most one other in its place"));
        };
        // Envoy takes an empty name for none.
        let or: Option<Box<str>> = or;
        let or = or.filter(|name| !name.is_empty());
        Ok(Operator::Request { header, or, with_query })
    }

    fn path(&self) -> Result<Operator, Unsupported> {
        let mut arguments = self.arguments.unwrap_or_default().split(':');
        let query = arguments.next().unwrap_or_default();
        let (source, end) = (arguments.next().unwrap_or_default(), arguments.next());
        let with_query = match query {
            "" | "WQ" => true,
            "NQ" => false,
            _ => return Err(self.wrong("the query is one of `WQ` and `NQ`")),
        };
        let source = match (source, end) {
            ("" | "ORIG_OR_PATH", None) => PathSource::OriginalOrPath,
            ("ORIG", None) => PathSource::Original,
            ("PATH", None) => PathSource::Path,
            (_, _) => {
                return Err(self.wrong("the path is one of `ORIG`, `PATH` and `ORIG_OR_PATH`"));
            }
        };
        Ok(Operator::Path { source, with_query })
    }

    fn dynamic_metadata(&self) -> Result<Operator, Unsupported> {
        let written = self.arguments.unwrap_or_default();
        // The older way to write it: `(["filter", "name"])`.
        let old = written.strip_prefix('[').and_then(|w| w.strip_suffix(']'));
        let names: Vec<Box<str>> = match old {
            Some(list) => {
                list.split(',').map(|name| name.trim().trim_matches('"').into()).collect()
            }
            None => written.split(':').map(Into::into).collect(),
        };
        match names.split_first() {
            Some((filter, path)) if !filter.is_empty() => {
                Ok(Operator::DynamicMetadata { filter: filter.clone(), path: path.into() })
            }
            Some(_) | None => Err(self.wrong("it needs the name of a filter")),
        }
    }

    fn wrong(&self, problem: &'static str) -> Unsupported {
        Unsupported::Arguments { operator: self.name.to_owned(), problem }
    }
}
