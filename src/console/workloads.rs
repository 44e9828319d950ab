//! The workloads of the snapshot, and what holds for each.
//!
//! In which order rules are tried is the plan's business; here they stand as they are evaluated.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Console, Query, extended, has_words, page, policies, words};
use crate::admin::key_origin;
use crate::compile::{Holding, PeerLevels};
use crate::model::{Action, MutualTlsMode, PeerAuthentication, Workload};
use crate::plan::{Snapshot, WorkloadPlan};

/// More policies of one workload are counted and not shown.
const MOST_POLICIES: usize = 200;

/// What a workload is called here: `namespace/name`, or `namespace?k=v,k=v` where it has no name.
pub(super) fn id(Workload { namespace, name, labels, .. }: &Workload) -> String {
    match name {
        Some(name) => format!("{namespace}/{name}"),
        None => format!("{namespace}?{}", pairs(labels)),
    }
}

fn pairs(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",")
}

/// How requests name a workload: the entries of `context_extensions`.
pub(super) fn extensions(workload: &Workload) -> Vec<(String, String)> {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    match &workload.name {
        Some(name) => {
            vec![pair("postern.workload", &format!("{}/{name}", workload.namespace))]
        }
        None => vec![
            pair("postern.namespace", &workload.namespace),
            pair("postern.labels", &pairs(&workload.labels)),
        ],
    }
}

/// The plan of a workload by what it is called here.
pub(super) fn find<'s>(snapshot: &'s Snapshot, wanted: &str) -> Option<(usize, &'s WorkloadPlan)> {
    let mut all = snapshot.workloads.iter().map(AsRef::as_ref).enumerate();
    all.find(|(_, plan)| id(&plan.workload) == wanted)
}

/// One line about a workload.
pub(super) fn line(number: usize, plan: &WorkloadPlan) -> Value {
    json!({
        "id": id(&plan.workload),
        "namespace": plan.workload.namespace,
        "name": plan.workload.name,
        "labels": plan.workload.labels,
        "isDefault": number == 0,
        "mode": words::mode(plan.peer.mode),
        "ports": plan.peer.ports.len(),
        "policies": plan.policies().count(),
        "apiRules": plan.access.as_ref().map_or(0, |access| access.api_rules.len()),
        "tokenRules": plan.jwt.rules.len(),
        "invalid": plan.invalid.len(),
    })
}

pub(super) fn list(console: &Console, query: &Query) -> Value {
    let snapshot = console.snapshots.load_full();
    let words = query.words();
    let matching: Vec<_> = snapshot
        .workloads
        .iter()
        .enumerate()
        .filter(|(_, plan)| {
            let Workload { services, service_account, labels, .. } = &plan.workload;
            let services: Vec<_> = services.iter().map(String::as_str).collect();
            let account = service_account.as_deref().unwrap_or_default();
            let (id, labels) = (id(&plan.workload), pairs(labels));
            has_words(&format!("{id} {labels} {} {account}", services.join(" ")), &words)
        })
        .collect();
    let shown =
        page(query, snapshot.workloads.len(), &matching, |(number, plan)| line(*number, plan));
    extended(json!({ "revision": snapshot.revision }), shown)
}

pub(super) fn one(console: &Console, wanted: &str) -> Option<Value> {
    let snapshot = console.snapshots.load_full();
    let control = console.admin.control.borrow().clone();
    let (number, plan) = find(&snapshot, wanted)?;
    let holding = Holding::new(&control.resources, &console.mesh);
    let Workload { services, addresses, service_account, .. } = &plan.workload;
    let mut attached: Vec<_> = plan.policies().collect();
    attached.sort_by_key(|policy| order(&policy.action));
    let shown: Vec<_> = attached
        .iter()
        .take(MOST_POLICIES)
        .map(|policy| policies::authorization_policy(policy))
        .collect();
    let api_rules = plan.access.iter().flat_map(|access| &access.api_rules);
    let tokens = holding.tokens(&plan.workload);
    let extensions = extensions(&plan.workload);
    let extensions: serde_json::Map<_, _> =
        extensions.into_iter().map(|(name, value)| (name, json!(value))).collect();
    let more = json!({
        "revision": snapshot.revision,
        "services": services,
        "addresses": addresses,
        "serviceAccount": service_account,
        "contextExtensions": extensions,
        "peer": peer(plan, &holding.peers(&plan.workload)),
        "authorizationPolicies": { "total": attached.len(), "items": shown },
        "apiRuleList": api_rules.map(|rule| policies::api_rule(rule)).collect::<Vec<_>>(),
        "isClosed": plan.access.as_ref().is_some_and(|access| access.is_closed),
        "requestAuthentications":
            tokens.iter().map(|tokens| policies::request_authentication(tokens)).collect::<Vec<_>>(),
        "invalidResources": plan.invalid.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    Some(extended(line(number, plan), more))
}

/// The order in which actions are evaluated.
fn order(action: &Action) -> u8 {
    match action {
        Action::Custom { .. } => 0,
        Action::Deny => 1,
        Action::Allow => 2,
        Action::Audit => 3,
    }
}

fn peer(plan: &WorkloadPlan, levels: &PeerLevels<'_>) -> Value {
    let place = |policy: &PeerAuthentication| words::place("PeerAuthentication", &policy.metadata);
    let named =
        [("mesh", levels.mesh), ("namespace", levels.namespace), ("workload", levels.workload)];
    let named = named.into_iter().filter_map(|(level, policy)| {
        let policy = policy?;
        Some(extended(json!({ "level": level, "mode": words::mode(policy.mtls) }), place(policy)))
    });
    let ports = plan.peer.ports.iter().map(|(port, mode)| {
        let own = levels.workload.filter(|policy| {
            policy.port_level_mtls.get(port).is_some_and(|own| *own != MutualTlsMode::Unset)
        });
        let from = own.or(levels.deciding()).map(place);
        json!({ "port": port, "mode": words::mode(*mode), "from": from })
    });
    json!({
        "mode": words::mode(plan.peer.mode),
        "from": levels.deciding().map(place),
        "levels": named.collect::<Vec<_>>(),
        "ports": ports.collect::<Vec<_>>(),
    })
}

/// Where the keys of a token rule come from, without what may be a credential.
pub(super) fn keys_of(jwks: Option<&str>, uri: Option<&str>) -> String {
    match (jwks, uri) {
        (Some(_), _) => "in the policy".to_owned(),
        (None, uri) => key_origin(uri),
    }
}
