//! How denials look, as configured.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::values::{self, text};
use super::{Reader, document};
use crate::extauthz::{DenialSettings, Denials, TrustedCallers, WorkloadDenials};
use crate::model::{DenyAuthor, DenyResponse};

const RESPONSE: [&str; 3] = ["status", "body", "headers"];

/// The setting; `None` where it says nothing, so that answers are native.
pub(super) fn read(read: &mut Reader<'_>) -> Option<DenialSettings> {
    let settings = read.setting("denials", DenialSettings::default(), denials);
    (settings != DenialSettings::default()).then_some(settings)
}

/// As it is in effect.
pub(super) fn show(settings: &DenialSettings) -> Value {
    let DenialSettings { annotations, workloads, all, reason_for } = settings;
    let mut shown = show_denials(all);
    shown.insert("annotations".into(), json!(annotations));
    let entry = |entry: &WorkloadDenials| {
        let mut shown = show_denials(&entry.denials);
        shown.insert("namespace".into(), json!(entry.namespace));
        shown.insert("labels".into(), json!(entry.labels));
        Value::Object(shown)
    };
    shown.insert("workloads".into(), workloads.iter().map(entry).collect());
    let addresses: Vec<_> = reason_for.addresses.iter().map(ToString::to_string).collect();
    let callers = json!({ "addresses": addresses, "principals": reason_for.principals });
    shown.insert("reasonHeader".into(), callers);
    Value::Object(shown)
}

fn show_denials(Denials { policies, tokens }: &Denials) -> Map<String, Value> {
    let mut shown = show_response(policies);
    if !tokens.is_empty() {
        shown.insert("tokens".into(), Value::Object(show_response(tokens)));
    }
    shown
}

fn show_response(DenyResponse { status, body, headers }: &DenyResponse) -> Map<String, Value> {
    let mut shown = Map::new();
    if let Some(status) = status {
        shown.insert("status".into(), json!(status));
    }
    if let Some(body) = body {
        shown.insert("body".into(), json!(**body));
    }
    if let Some(headers) = headers {
        let headers = headers.iter().map(|(name, value)| (name.to_string(), json!(**value)));
        shown.insert("headers".into(), Value::Object(headers.collect()));
    }
    shown
}

fn denials(value: &Value) -> Result<DenialSettings, String> {
    let members = object(value)?;
    known(members, &["annotations", "tokens", "workloads", "reasonHeader"])?;
    Ok(DenialSettings {
        annotations: member(members, "annotations", values::boolean)?.unwrap_or_default(),
        workloads: member(members, "workloads", workloads)?.unwrap_or_default(),
        all: both(members)?,
        reason_for: member(members, "reasonHeader", callers)?.unwrap_or_default(),
    })
}

fn workloads(value: &Value) -> Result<Vec<WorkloadDenials>, String> {
    let Value::Array(entries) = value else { return Err("must be a list".into()) };
    let entry = |entry: &Value| {
        let members = object(entry)?;
        known(members, &["tokens", "namespace", "labels"])?;
        let denials = both(members)?;
        if denials == Denials::default() {
            return Err("none of `status`, `body`, `headers` and `tokens` is there".into());
        }
        Ok(WorkloadDenials {
            namespace: member(members, "namespace", values::namespace)?,
            labels: member(members, "labels", values::labels)?.unwrap_or_default(),
            denials,
        })
    };
    (1..)
        .zip(entries)
        .map(|(number, value)| {
            entry(value).map_err(|problem: String| format!("entry {number}: {problem}"))
        })
        .collect()
}

fn both(members: &Map<String, Value>) -> Result<Denials, String> {
    let tokens = |value: &Value| {
        let members = object(value)?;
        known(members, &[])?;
        response(members)
    };
    let tokens = member(members, "tokens", tokens)?.unwrap_or_default();
    Ok(Denials { policies: response(members)?, tokens })
}

fn response(members: &Map<String, Value>) -> Result<DenyResponse, String> {
    let status = |value: &Value| {
        let written = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err("must be `401`, `403` or `404`".into());
            }
        };
        DenyResponse::parse_status(&written).map_err(|error| error.to_string())
    };
    let body = |value: &Value| match value {
        Value::String(text) => DenyResponse::parse_body(text).map_err(|error| error.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err("must be a text".into())
        }
    };
    let headers = |value: &Value| {
        let pairs = object(value)?
            .iter()
            .map(|(name, value)| Ok((name.as_str(), text(value)?)))
            .collect::<Result<Vec<_>, String>>()?;
        let parsed = DenyResponse::parse_headers(pairs, DenyAuthor::Operator);
        parsed.map_err(|error| error.to_string())
    };
    Ok(DenyResponse {
        status: member(members, "status", status)?,
        body: member(members, "body", body)?,
        headers: member(members, "headers", headers)?,
    })
}

fn callers(value: &Value) -> Result<TrustedCallers, String> {
    let members = object(value)?;
    if let Some(key) = members.keys().find(|key| !["addresses", "principals"].contains(&&***key)) {
        return Err(format!("`{key}` is neither `addresses` nor `principals`"));
    }
    let list = |value: &Value| -> Result<Vec<String>, String> {
        let Value::Array(entries) = value else { return Err("must be a list".into()) };
        entries.iter().map(|entry| text(entry).map(str::to_owned)).collect()
    };
    let principal = |text: &String| {
        let identity = text.strip_prefix("spiffe://").unwrap_or(text);
        if identity.contains('*') || !identity.contains('/') {
            return Err(format!(
                "`{text}` is not an identity, such as `cluster.local/ns/shop/sa/web`; stars mean \
                 nothing here"
            ));
        }
        Ok(identity.to_owned())
    };
    let range = |text: &String| {
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed.map_err(|_| format!("`{text}` is not an address or a range, such as `10.0.0.0/8`"))
    };
    let addresses = member(members, "addresses", list)?.unwrap_or_default();
    let principals = member(members, "principals", list)?.unwrap_or_default();
    if addresses.is_empty() && principals.is_empty() {
        return Err("neither `addresses` nor `principals` names anybody".into());
    }
    let of = |name: &'static str| move |problem: String| format!("{name}: {problem}");
    Ok(TrustedCallers {
        addresses: addresses
            .iter()
            .map(range)
            .collect::<Result<_, _>>()
            .map_err(of("addresses"))?,
        principals: principals
            .iter()
            .map(principal)
            .collect::<Result<_, _>>()
            .map_err(of("principals"))?,
    })
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| "must be a mapping".into())
}

/// Refuses members that are neither these nor parts of a response.
fn known(members: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    let all: Vec<&str> = names.iter().chain(&RESPONSE).copied().collect();
    match members.keys().find(|key| !all.contains(&key.as_str())) {
        Some(key) => Err(document::unknown(key, &all)),
        None => Ok(()),
    }
}

fn member<T>(
    members: &Map<String, Value>,
    name: &str,
    read: impl FnOnce(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let found = members.get(name).filter(|value| !value.is_null());
    found.map(|value| read(value).map_err(|problem| format!("{name}: {problem}"))).transpose()
}
