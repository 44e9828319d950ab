//! Envoy's command operators in the values of mutators: which can be evaluated before the request
//! goes on, and which cannot.
//!
//! Says what is wrong with a value; what it becomes for a request is for those who evaluate it.

use std::fmt;

/// Why a value cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// A `%` that neither begins an operator nor is doubled.
    LonePercent,
    /// An operator with parentheses or a length that are not as they must be.
    Malformed(String),
    /// There is no such operator.
    Unknown(String),
    /// It is there, and not here; why.
    Unsupported(String, &'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LonePercent => f.write_str("a `%` stands alone"),
            Self::Malformed(name) => write!(f, "`%{name}%` is not written as Envoy reads it"),
            Self::Unknown(name) => write!(f, "Envoy has no operator `%{name}%`"),
            Self::Unsupported(name, why) => write!(f, "`%{name}%` {why}"),
        }
    }
}

impl Unusable {
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::LonePercent => "write `%%` for a percent sign",
            Self::Malformed(_) => "write it like `%REQ(x-user?x-name):16%`",
            Self::Unknown(_) | Self::Unsupported(..) => {
                "the operators are listed in docs/apirule.md; `%REQ(name)%` is a header of the request"
            }
        }
    }
}

/// What an operator takes in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arguments {
    None,
    Optional,
    Needed,
}

const SUPPORTED: [(&str, Arguments); 16] = [
    ("REQ", Arguments::Needed),
    ("REQ_WITHOUT_QUERY", Arguments::Needed),
    ("PATH", Arguments::Optional),
    ("QUERY_PARAM", Arguments::Needed),
    ("PROTOCOL", Arguments::None),
    ("START_TIME", Arguments::Optional),
    ("DOWNSTREAM_REMOTE_ADDRESS", Arguments::None),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Arguments::None),
    ("DOWNSTREAM_REMOTE_PORT", Arguments::None),
    ("DOWNSTREAM_LOCAL_ADDRESS", Arguments::None),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Arguments::None),
    ("DOWNSTREAM_LOCAL_PORT", Arguments::None),
    ("DOWNSTREAM_PEER_URI_SAN", Arguments::None),
    ("REQUESTED_SERVER_NAME", Arguments::None),
    ("DYNAMIC_METADATA", Arguments::Needed),
    ("HOSTNAME", Arguments::None),
];

/// By their beginnings.
const UNSUPPORTED: [(&str, &str); 18] = [
    ("ENVIRONMENT", "would give the environment of the server away"),
    ("UPSTREAM_", "is known only once an upstream is chosen"),
    ("RESP", "is known only with the response"),
    ("TRAILER", "is known only with the response"),
    ("GRPC_STATUS", "is known only with the response"),
    ("BYTES_", "is known only when the request is over"),
    ("DURATION", "is known only when the request is over"),
    ("COMMON_DURATION", "is known only when the request is over"),
    ("REQUEST_", "is known only when the request is over"),
    ("ROUTE_NAME", "is not told to an authorization server"),
    ("VIRTUAL_CLUSTER_NAME", "is not told to an authorization server"),
    ("CONNECTION_", "is not told to an authorization server"),
    ("STREAM_ID", "is not told to an authorization server"),
    ("TRACE_ID", "is not told to an authorization server"),
    ("FILTER_STATE", "is not told to an authorization server"),
    ("PER_REQUEST_STATE", "is not told to an authorization server"),
    ("DOWNSTREAM_", "is not told to an authorization server"),
    ("TLS_", "is not told to an authorization server"),
];

/// Whether all operators of a value can be evaluated.
pub(super) fn check(value: &str) -> Result<(), Unusable> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(doubled) = after.strip_prefix('%') {
            rest = doubled;
            continue;
        }
        let end = after
            .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
            .unwrap_or(after.len());
        let (name, tail) = after.split_at_checked(end).unwrap_or((after, ""));
        if name.is_empty() {
            return Err(Unusable::LonePercent);
        }
        let (arguments, tail) = arguments(name, tail)?;
        rest = length(name, tail)?;
        known(name, arguments)?;
    }
    Ok(())
}

/// What is in the parentheses, if there are any, and what follows.
fn arguments<'v>(name: &str, tail: &'v str) -> Result<(Option<&'v str>, &'v str), Unusable> {
    let Some(inside) = tail.strip_prefix('(') else { return Ok((None, tail)) };
    let malformed = || Unusable::Malformed(name.to_owned());
    // Formats of times have percent signs of their own: the end is a parenthesis before one.
    let mut from = 0;
    loop {
        let behind = inside.get(from..).ok_or_else(malformed)?;
        let at = from + behind.find(')').ok_or_else(malformed)?;
        let (arguments, after) = (inside.get(..at), inside.get(at + 1..));
        let (Some(arguments), Some(after)) = (arguments, after) else { return Err(malformed()) };
        if after.starts_with('%') || length_of(after).is_some() {
            return Ok((Some(arguments), after));
        }
        from = at + 1;
    }
}

/// `:N%` at the beginning: how many characters, and what follows.
fn length_of(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.strip_prefix(':')?.split_once('%')?;
    Some((digits.parse().ok()?, rest))
}

fn length<'v>(name: &str, tail: &'v str) -> Result<&'v str, Unusable> {
    if let Some(rest) = tail.strip_prefix('%') {
        return Ok(rest);
    }
    match length_of(tail) {
        Some((_, rest)) => Ok(rest),
        None if tail.starts_with(':') || tail.starts_with('(') => {
            Err(Unusable::Malformed(name.to_owned()))
        }
        None => Err(Unusable::LonePercent),
    }
}

fn known(name: &str, arguments: Option<&str>) -> Result<(), Unusable> {
    if let Some((_, wanted)) = SUPPORTED.iter().find(|(known, _)| *known == name) {
        let fits = match wanted {
            Arguments::None => arguments.is_none(),
            Arguments::Optional => true,
            Arguments::Needed => arguments.is_some_and(|text| !text.is_empty()),
        };
        return if fits { Ok(()) } else { Err(Unusable::Malformed(name.to_owned())) };
    }
    let reason = UNSUPPORTED.iter().find(|(beginning, _)| name.starts_with(beginning));
    Err(match reason {
        Some((_, why)) => Unusable::Unsupported(name.to_owned(), why),
        None => Unusable::Unknown(name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::literal("some-data")]
    #[case::empty("")]
    #[case::doubled("100%%")]
    #[case("%REQ(Authorization)%")]
    #[case("%REQ(X-A?:path):12% and %PROTOCOL%")]
    #[case("%START_TIME(%Y/%m/%dT%H:%M:%S%z %3f)%")]
    #[case("%START_TIME%")]
    #[case("%START_TIME(%s)%-%HOSTNAME%")]
    #[case("%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload:sub):8%")]
    #[case(r#"%DYNAMIC_METADATA(["a","b"])%"#)]
    #[case("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")]
    fn what_can_be_set(#[case] value: &str) {
        assert_eq!(check(value), Ok(()));
    }

    #[rstest]
    #[case("100%", "a `%` stands alone")]
    #[case("50% off", "a `%` stands alone")]
    #[case("%REQ%", "`%REQ%` is not written as Envoy reads it")]
    #[case("%REQ()%", "`%REQ%` is not written as Envoy reads it")]
    #[case("%REQ(a", "`%REQ%` is not written as Envoy reads it")]
    #[case("%REQ(a):x%", "`%REQ%` is not written as Envoy reads it")]
    #[case("%REQ(a)", "`%REQ%` is not written as Envoy reads it")]
    #[case("%PROTOCOL(a)%", "`%PROTOCOL%` is not written as Envoy reads it")]
    #[case("%USER%", "Envoy has no operator `%USER%`")]
    #[case("%ENVIRONMENT(HOME)%", "`%ENVIRONMENT%` would give the environment of the server away")]
    #[case("%UPSTREAM_HOST%", "`%UPSTREAM_HOST%` is known only once an upstream is chosen")]
    #[case("%RESPONSE_CODE%", "`%RESPONSE_CODE%` is known only with the response")]
    #[case("%TRACE_ID%", "`%TRACE_ID%` is not told to an authorization server")]
    #[case(
        "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "`%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%` is not told to an authorization server"
    )]
    fn what_cannot_be_set(#[case] value: &str, #[case] why: &str) {
        assert_eq!(check(value).unwrap_err().to_string(), why);
    }
}
