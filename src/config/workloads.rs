//! The workloads of a server that several kinds of Envoy ask, and how it tells which one is asked for.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Reader;
use super::values::{labels, namespace, text};
use crate::extauthz::WorkloadFrom;
use crate::model::Workload;

type Parsed<T> = Result<T, String>;

const MEMBERS: [&str; 6] =
    ["namespace", "name", "labels", "services", "addresses", "serviceAccount"];

/// Those beside the default one.
pub(super) fn read(read: &mut Reader<'_>) -> Vec<Workload> {
    read.setting("workloads", Vec::new(), workloads)
}

fn workloads(value: &Value) -> Parsed<Vec<Workload>> {
    let Value::Array(entries) = value else {
        return Err("must be a list of workloads, each with a `namespace`".into());
    };
    let mut all: Vec<Workload> = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        let found = workload(entry).map_err(|problem| format!("entry {number}: {problem}"))?;
        let is_known =
            |known: &Workload| known.namespace == found.namespace && known.name == found.name;
        if let Some(name) = &found.name
            && all.iter().any(is_known)
        {
            return Err(format!("entry {number}: `{}/{name}` is there twice", found.namespace));
        }
        let is_taken =
            |address: &&IpAddr| all.iter().any(|known| known.addresses.contains(address));
        if let Some(address) = found.addresses.iter().find(is_taken) {
            return Err(format!("entry {number}: `{address}` is the address of another"));
        }
        all.push(found);
    }
    Ok(all)
}

fn workload(value: &Value) -> Parsed<Workload> {
    let Value::Object(members) = value else {
        return Err("must have a `namespace`".into());
    };
    if let Some(key) = members.keys().find(|key| !MEMBERS.contains(&key.as_str())) {
        return Err(format!("`{key}` is none of {}", MEMBERS.map(|m| format!("`{m}`")).join(", ")));
    }
    let member = |name: &str| members.get(name);
    let named = |name: &str, problem: String| format!("`{name}`: {problem}");
    Ok(Workload {
        namespace: namespace(member("namespace").ok_or("`namespace` is missing")?)?,
        name: member("name").map(name).transpose().map_err(|problem| named("name", problem))?,
        labels: member("labels").map(labels).transpose()?.unwrap_or_default(),
        services: list(members, "services", name)?,
        addresses: list(members, "addresses", address)?,
        service_account: member("serviceAccount")
            .map(name)
            .transpose()
            .map_err(|problem| named("serviceAccount", problem))?,
    })
}

fn list<T: Ord>(
    members: &Map<String, Value>,
    name: &str,
    parse: impl Fn(&Value) -> Parsed<T>,
) -> Parsed<BTreeSet<T>> {
    let Some(value) = members.get(name) else { return Ok(BTreeSet::new()) };
    let Value::Array(entries) = value else { return Err(format!("`{name}` must be a list")) };
    let entries = entries.iter().map(parse).collect::<Parsed<_>>();
    entries.map_err(|problem| format!("`{name}`: {problem}"))
}

/// A name as Kubernetes has them (RFC 1123), with dots.
fn name(value: &Value) -> Parsed<String> {
    let text = text(value)?;
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let at_ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_name = text.len() <= 253
        && text.chars().all(inner)
        && text.starts_with(at_ends)
        && text.ends_with(at_ends);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a name: lower case letters, digits, `-` and `.`, at most 253"))
    }
}

fn address(value: &Value) -> Parsed<IpAddr> {
    let text = text(value)?;
    let parsed: Result<IpAddr, _> = text.parse();
    parsed.map(|address| address.to_canonical()).map_err(|_| format!("`{text}` is not an address"))
}

pub(super) fn workload_from(value: &Value) -> Parsed<WorkloadFrom> {
    let known = [WorkloadFrom::Context, WorkloadFrom::Destination];
    let text = text(value)?;
    let found = known.into_iter().find(|from| from.as_str() == text);
    found.ok_or_else(|| format!("`{text}` is not context or destination"))
}

/// A workload as settings have it.
pub(super) fn show(workload: &Workload) -> Value {
    let Workload { namespace, labels, name, services, addresses, service_account } = workload;
    let mut shown = json!({ "namespace": namespace, "labels": labels });
    if let Value::Object(members) = &mut shown {
        let others = [
            ("name", name.as_ref().map(|name| json!(name))),
            ("services", (!services.is_empty()).then(|| json!(services))),
            ("addresses", (!addresses.is_empty()).then(|| json!(addresses))),
            ("serviceAccount", service_account.as_ref().map(|name| json!(name))),
        ];
        let others = others.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        members.extend(others);
    }
    shown
}
