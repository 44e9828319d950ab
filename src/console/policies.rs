//! The resources in force, and which workloads each covers.
//!
//! What they say is put into words by `words`.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::workloads::{self, keys_of};
use super::{Console, PAGE, Query, extended, has_words, page, words};
use crate::compile::Holding;
use crate::model::{
    Action, ApiRule, Attachment, AuthorizationPolicy, Metadata, MutualTlsMode, PeerAuthentication,
    RequestAuthentication, Resource,
};
use crate::plan::{Layer, Snapshot, WorkloadPlan};

/// More rules of one policy are counted and not shown.
const MOST_RULES: usize = 100;

pub(super) fn list(console: &Console, query: &Query) -> Value {
    let control = console.admin.control.borrow().clone();
    let words = query.words();
    let matching: Vec<_> = control
        .resources
        .iter()
        .filter(|resource| {
            let action = action_of(resource).unwrap_or_default();
            let file = resource.metadata().file.as_deref().unwrap_or_default();
            has_words(&format!("{} {action} {file}", resource.id()), &words)
        })
        .collect();
    let shown = page(query, control.resources.len(), &matching, |resource| line(resource));
    extended(json!({ "revision": control.revision }), shown)
}

fn line(resource: &Resource) -> Value {
    let rules = match resource {
        Resource::AuthorizationPolicy(policy) => Some(policy.rules.len()),
        Resource::RequestAuthentication(tokens) => Some(tokens.jwt_rules.len()),
        Resource::ApiRule(api_rule) => Some(api_rule.rules.len()),
        Resource::PeerAuthentication(_) => None,
    };
    let dry_run = matches!(resource, Resource::AuthorizationPolicy(policy) if policy.dry_run);
    let more = json!({
        "action": action_of(resource),
        "dryRun": dry_run,
        "rules": rules,
        "attachment": resource.attachment().map(attachment),
    });
    extended(words::place(resource.kind().as_str(), resource.metadata()), more)
}

fn action_of(resource: &Resource) -> Option<String> {
    match resource {
        Resource::AuthorizationPolicy(policy) => Some(action(&policy.action).to_owned()),
        Resource::PeerAuthentication(peer) => Some(words::mode(peer.mtls).to_owned()),
        Resource::RequestAuthentication(_) | Resource::ApiRule(_) => None,
    }
}

fn action(action: &Action) -> &'static str {
    match action {
        Action::Custom { .. } => "CUSTOM",
        Action::Deny => "DENY",
        Action::Allow => "ALLOW",
        Action::Audit => "AUDIT",
    }
}

fn attachment(attachment: &Attachment) -> String {
    if !attachment.target_refs.is_empty() {
        let targets = attachment.target_refs.iter();
        let targets: Vec<_> =
            targets.map(|target| format!("{} {}", target.kind, target.name)).collect();
        return targets.join(", ");
    }
    let labels = attachment.selector.iter().flatten();
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() { "every workload".to_owned() } else { labels.join(", ") }
}

pub(super) fn one(console: &Console, wanted: &str) -> Option<Value> {
    let control = console.admin.control.borrow().clone();
    let resource = control.resources.iter().find(|resource| resource.id().to_string() == wanted)?;
    let snapshot = console.snapshots.load_full();
    let holding = Holding::new(&control.resources, &console.mesh);
    let covered = covered(&snapshot, resource, &holding);
    let said = match &**resource {
        Resource::AuthorizationPolicy(policy) => authorization_policy(policy),
        Resource::RequestAuthentication(tokens) => request_authentication(tokens),
        Resource::PeerAuthentication(peer) => peer_authentication(peer),
        Resource::ApiRule(rule) => api_rule(rule),
    };
    let shown = covered.iter().take(PAGE).map(|(number, plan)| workloads::line(*number, plan));
    let more = json!({
        "revision": control.revision,
        "covers": {
            "total": covered.len(),
            "of": snapshot.workloads.len(),
            "items": shown.collect::<Vec<_>>(),
        },
    });
    Some(extended(said, more))
}

/// The workloads that a resource holds for.
fn covered<'s>(
    snapshot: &'s Snapshot,
    resource: &Resource,
    holding: &Holding<'_>,
) -> Vec<(usize, &'s WorkloadPlan)> {
    let is_it = |metadata: &Metadata| {
        let own = resource.metadata();
        (&metadata.namespace, &metadata.name) == (&own.namespace, &own.name)
    };
    let mut layers: HashMap<*const Layer, bool> = HashMap::new();
    let mut in_layer = |layer: &Arc<Layer>| {
        let found = || layer.policies.iter().any(|policy| is_it(&policy.metadata));
        *layers.entry(Arc::as_ptr(layer)).or_insert_with(found)
    };
    let mut holds = |plan: &WorkloadPlan| match resource {
        Resource::AuthorizationPolicy(_) => {
            plan.layers.iter().any(|attached| in_layer(&attached.layer))
        }
        Resource::ApiRule(_) => {
            let mut rules = plan.access.iter().flat_map(|access| &access.api_rules);
            rules.any(|rule| is_it(&rule.metadata))
        }
        Resource::RequestAuthentication(_) => {
            holding.tokens(&plan.workload).iter().any(|tokens| is_it(&tokens.metadata))
        }
        Resource::PeerAuthentication(_) => {
            holding.peers(&plan.workload).all().any(|peer| is_it(&peer.metadata))
        }
    };
    let all = snapshot.workloads.iter().map(AsRef::as_ref).enumerate();
    all.filter(|(_, plan)| holds(plan)).collect()
}

pub(super) fn authorization_policy(policy: &AuthorizationPolicy) -> Value {
    let rules = policy.rules.iter().enumerate().take(MOST_RULES);
    let more = json!({
        "action": action(&policy.action),
        "provider": policy.action.provider().map(|provider| &**provider),
        "dryRun": policy.dry_run,
        "attachment": attachment(&policy.attachment),
        "rules": policy.rules.len(),
        "ruleList": rules.map(|(number, rule)| words::rule(number, rule)).collect::<Vec<_>>(),
    });
    extended(words::place("AuthorizationPolicy", &policy.metadata), more)
}

pub(super) fn api_rule(api_rule: &ApiRule) -> Value {
    let rules = api_rule.rules.iter().enumerate().take(MOST_RULES);
    let hosts: Vec<_> = api_rule.hosts.iter().map(|host| &host.value).collect();
    let more = json!({
        "hosts": hosts,
        "rules": api_rule.rules.len(),
        "accessRules":
            rules.map(|(number, rule)| words::access_rule(number, rule)).collect::<Vec<_>>(),
    });
    extended(words::place("APIRule", &api_rule.metadata), more)
}

pub(super) fn request_authentication(tokens: &RequestAuthentication) -> Value {
    let rules = tokens.jwt_rules.iter().take(MOST_RULES).map(|rule| {
        let mut places: Vec<String> = rule
            .from_headers
            .iter()
            .map(|header| format!("header {}", header.name))
            .chain(rule.from_params.iter().map(|name| format!("query parameter {name}")))
            .chain(rule.from_cookies.iter().map(|name| format!("cookie {name}")))
            .collect();
        if places.is_empty() {
            places = vec!["header authorization".into(), "query parameter access_token".into()];
        }
        json!({
            "issuer": rule.issuer,
            "audiences": rule.audiences,
            "keys": keys_of(rule.jwks.as_deref(), rule.jwks_uri.as_deref()),
            "places": places,
            "forwarded": rule.forward_original_token,
            "line": rule.position.line,
        })
    });
    let more = json!({
        "attachment": attachment(&tokens.attachment),
        "rules": tokens.jwt_rules.len(),
        "jwtRules": rules.collect::<Vec<_>>(),
    });
    extended(words::place("RequestAuthentication", &tokens.metadata), more)
}

fn peer_authentication(peer: &PeerAuthentication) -> Value {
    let ports = peer.port_level_mtls.iter();
    let ports = ports.map(
        |(port, mode): (&u16, &MutualTlsMode)| json!({ "port": port, "mode": words::mode(*mode) }),
    );
    let more = json!({
        "action": words::mode(peer.mtls),
        "attachment": attachment(&peer.attachment),
        "portModes": ports.collect::<Vec<_>>(),
    });
    extended(words::place("PeerAuthentication", &peer.metadata), more)
}
