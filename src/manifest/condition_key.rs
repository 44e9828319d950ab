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
