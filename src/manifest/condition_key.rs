//! The keys of `when` conditions.
//!
//! Leaves the values to `authorization`.

use super::{suggest, text::quoted};
use crate::model::ConditionKey;

/// The keys without brackets, and the beginnings of those with.
const KEYS: [(&str, ConditionKey); 11] = [
    ("source.ip", ConditionKey::SourceIp),
    ("remote.ip", ConditionKey::RemoteIp),
    ("source.namespace", ConditionKey::SourceNamespace),
    ("source.serviceAccount", ConditionKey::SourceServiceAccount),
    ("source.principal", ConditionKey::SourcePrincipal),
    ("source.trustDomain", ConditionKey::SourceTrustDomain),
    ("request.auth.principal", ConditionKey::RequestPrincipal),
    ("request.auth.audiences", ConditionKey::RequestAudiences),
    ("request.auth.presenter", ConditionKey::RequestPresenter),
    ("destination.ip", ConditionKey::DestinationIp),
    ("destination.port", ConditionKey::DestinationPort),
];
const CONNECTION_SNI: &str = "connection.sni";
const REQUEST_HEADERS: &str = "request.headers";
const REQUEST_CLAIMS: &str = "request.auth.claims";
const EXPERIMENTAL: &str = "experimental.";
const ENVOY_FILTERS: &str = "experimental.envoy.filters.";

/// What is wrong with a key, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidConditionKey {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

pub(crate) fn parse_condition_key(text: &str) -> Result<ConditionKey, InvalidConditionKey> {
    let plain = KEYS.iter().find(|(name, _)| *name == text);
    if let Some((_, key)) = plain {
        return Ok(key.clone());
    }
    if text == CONNECTION_SNI {
        return Ok(ConditionKey::ConnectionSni);
    }
    if let Some(rest) = text.strip_prefix(REQUEST_HEADERS) {
        return match brackets(rest) {
            Some(name) => Ok(ConditionKey::RequestHeader(name.to_ascii_lowercase())),
            None => Err(needs_name(text, "request.headers[x-name]")),
        };
    }
    if let Some(rest) = text.strip_prefix(REQUEST_CLAIMS) {
        return match claim_names(rest) {
            Some(names) => Ok(ConditionKey::RequestClaims(names)),
            None => Err(needs_name(text, "request.auth.claims[name]")),
        };
    }
    if text.starts_with(ENVOY_FILTERS) {
        let filter = text.strip_prefix(EXPERIMENTAL).unwrap_or_default();
        return match filter.strip_suffix(']').and_then(|f| f.split_once('[')) {
            Some((filter, key)) if !key.is_empty() => Ok(ConditionKey::EnvoyFilterMetadata {
                filter: filter.to_owned(),
                key: key.to_owned(),
            }),
            Some(_) | None => Err(needs_name(text, "experimental.envoy.filters.http.name[key]")),
        };
    }
    Err(unknown(text))
}

/// What stands between the first `[` and the final `]`, where nothing stands outside.
fn brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.is_empty())
}

/// `[a][b]` is two names; where brackets do not pair up like that, all of it is one name.
fn claim_names(text: &str) -> Option<Vec<String>> {
    let whole = brackets(text)?;
    let names: Vec<_> = whole.split("][").collect();
    if names.iter().any(|name| name.contains(['[', ']'])) {
        return Some(vec![whole.to_owned()]);
    }
    let nested = names.iter().all(|name| !name.is_empty());
    nested.then(|| names.into_iter().map(str::to_owned).collect())
}

fn needs_name(text: &str, example: &str) -> InvalidConditionKey {
    InvalidConditionKey {
        message: format!("the key {} needs a name in brackets", quoted(text)),
        help: Some(format!("write it like `{example}`")),
    }
}

fn unknown(text: &str) -> InvalidConditionKey {
    let help = match text {
        "destination.namespace" => Some("a policy holds in its `metadata.namespace`".to_owned()),
        "destination.name" | "destination.user" => {
            Some("select workloads by their labels in `spec.selector`".to_owned())
        }
        _ if text.starts_with("destination.labels") => {
            Some("select workloads by their labels in `spec.selector`".to_owned())
        }
        _ => {
            let bracketed =
                ["request.headers[..]", "request.auth.claims[..]", "experimental.envoy.filters."];
            let names = KEYS.iter().map(|(name, _)| *name).chain([CONNECTION_SNI]);
            suggest::did_you_mean(text, names.chain(bracketed))
        }
    };
    InvalidConditionKey { message: format!("{} is not a condition key", quoted(text)), help }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn claims(names: &[&str]) -> ConditionKey {
        ConditionKey::RequestClaims(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[rstest]
    #[case("source.ip", ConditionKey::SourceIp)]
    #[case("connection.sni", ConditionKey::ConnectionSni)]
    #[case("request.headers[X-Name]", ConditionKey::RequestHeader("x-name".into()))]
    #[case("request.headers[:path]", ConditionKey::RequestHeader(":path".into()))]
    #[case("request.headers[a[b]]", ConditionKey::RequestHeader("a[b]".into()))]
    #[case("request.auth.claims[iss]", claims(&["iss"]))]
    #[case("request.auth.claims[a][b.c][d]", claims(&["a", "b.c", "d"]))]
    #[case("request.auth.claims[a[b]]", claims(&["a[b]"]))]
    #[case("request.auth.claims[https://x/y]", claims(&["https://x/y"]))]
    #[case(
        "experimental.envoy.filters.a.b[c]",
        ConditionKey::EnvoyFilterMetadata { filter: "envoy.filters.a.b".into(), key: "c".into() }
    )]
    fn known_keys(#[case] text: &str, #[case] expected: ConditionKey) {
        assert_eq!(parse_condition_key(text), Ok(expected));
    }

    #[rstest]
    #[case::empty("", None)]
    #[case::header_without_name("request.headers", Some("write it like `request.headers[x-name]`"))]
    #[case::empty_header("request.headers[]", Some("write it like `request.headers[x-name]`"))]
    #[case::text_between("request.headersX[a]", Some("write it like `request.headers[x-name]`"))]
    #[case::text_after("request.headers[a]b", Some("write it like `request.headers[x-name]`"))]
    #[case::empty_claim(
        "request.auth.claims[a][]",
        Some("write it like `request.auth.claims[name]`")
    )]
    #[case::no_filter_key(
        "experimental.envoy.filters.a",
        Some("write it like `experimental.envoy.filters.http.name[key]`")
    )]
    #[case::case("source.IP", Some("did you mean `source.ip`?"))]
    #[case::typo("source.principle", Some("did you mean `source.principal`?"))]
    #[case::labels(
        "destination.labels[a]",
        Some("select workloads by their labels in `spec.selector`")
    )]
    #[case::namespace("destination.namespace", Some("a policy holds in its `metadata.namespace`"))]
    #[case::user("destination.user", Some("select workloads by their labels in `spec.selector`"))]
    #[case::nothing_like_it("xyz", None)]
    fn unknown_keys(#[case] text: &str, #[case] help: Option<&str>) {
        let wrong = parse_condition_key(text).expect_err("unknown");
        assert_eq!(wrong.help.as_deref(), help);
    }
}
