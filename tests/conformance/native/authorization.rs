//! AuthorizationPolicies as RBAC filters: CUSTOM before tokens, then AUDIT, DENY and ALLOW.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Layer,
    rule::{self, Context},
};
use crate::cases::WorkloadSettings;

/// Dry-run results are written under these names, with `shadow_engine_result` behind.
const SHADOW_DENY: &str = "istio_dry_run_deny_";
const SHADOW_ALLOW: &str = "istio_dry_run_allow_";

/// CUSTOM: no provider is defined, so each one denies what it should have been asked about.
pub(super) fn custom(policies: &[&Value], workload: &WorkloadSettings, layer: Layer) -> Vec<Value> {
    let mut providers: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for policy in policies.iter().filter(|p| action(p) == "CUSTOM") {
        let provider = policy["spec"]["provider"]["name"].as_str().expect("a provider");
        providers.entry(provider).or_default().push(policy);
    }
    let filters = providers.into_iter().map(|(provider, policies)| {
        let (enforced, _) = by_dry_run(&policies);
        let mut rules = rules("DENY", &enforced, workload, layer);
        let policies = rules["policies"].as_object_mut().expect("a map");
        *policies = std::mem::take(policies)
            .into_iter()
            .map(|(name, policy)| (format!("istio-ext-authz-{provider}-{name}"), policy))
            .collect();
        filter(layer, json!({ "rules": rules }))
    });
    filters.collect()
}

/// One filter for each other action that some policy has.
pub(super) fn enforced(
    policies: &[&Value],
    workload: &WorkloadSettings,
    layer: Layer,
) -> Vec<Value> {
    let mut filters = Vec::new();
    let engines =
        [("AUDIT", "LOG", ""), ("DENY", "DENY", SHADOW_DENY), ("ALLOW", "ALLOW", SHADOW_ALLOW)];
    for (wanted, engine_action, prefix) in engines {
        let policies: Vec<_> = policies.iter().copied().filter(|p| action(p) == wanted).collect();
        let (enforced, dry_run) = by_dry_run(&policies);
        let mut fields = json!({});
        if !enforced.is_empty() {
            fields["rules"] = rules(engine_action, &enforced, workload, layer);
        }
        if !dry_run.is_empty() {
            fields["shadow_rules"] = rules(engine_action, &dry_run, workload, layer);
            fields["shadow_rules_stat_prefix"] = prefix.into();
        }
        if !policies.is_empty() {
            filters.push(filter(layer, fields));
        }
    }
    filters
}

fn action(policy: &Value) -> &str {
    policy["spec"]["action"].as_str().unwrap_or("ALLOW")
}

fn by_dry_run<'v>(policies: &[&'v Value]) -> (Vec<&'v Value>, Vec<&'v Value>) {
    policies.iter().copied().partition(|policy| {
        let annotation = policy["metadata"]["annotations"]["istio.io/dry-run"].as_str();
        !["1", "t", "T", "true", "TRUE", "True"].contains(&annotation.unwrap_or_default())
    })
}

fn rules(
    engine_action: &str,
    policies: &[&Value],
    workload: &WorkloadSettings,
    layer: Layer,
) -> Value {
    let mut trust_domains = vec![workload.trust_domain.clone()];
    trust_domains.extend(workload.trust_domain_aliases.iter().cloned());
    let mut written = Map::new();
    for policy in policies {
        let metadata = &policy["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or(&workload.namespace);
        let name = metadata["name"].as_str().expect("a name");
        let context = Context {
            namespace,
            trust_domains: &trust_domains,
            layer,
            is_allow: engine_action == "ALLOW",
        };
        let rules = policy["spec"]["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (number, rule) in rules.iter().enumerate() {
            if let Ok(policy) = rule::policy(rule, &context) {
                written.insert(policy_name(namespace, name, number), policy);
            }
        }
        if rules.is_empty() {
            let never = json!({
                "principals": [{"not_id": {"any": true}}],
                "permissions": [{"not_rule": {"any": true}}],
            });
            written.insert(policy_name(namespace, name, 0), never);
        }
    }
    json!({"action": engine_action, "policies": written})
}

/// How Envoy's log and metadata name a rule.
fn policy_name(namespace: &str, name: &str, rule: usize) -> String {
    format!("ns[{namespace}]-policy[{name}]-rule[{rule}]")
}

fn filter(layer: Layer, mut fields: Value) -> Value {
    let (name, type_name) = match layer {
        Layer::Http => ("envoy.filters.http.rbac", "http.rbac"),
        Layer::L4 => {
            fields["stat_prefix"] = "tcp.".into();
            ("envoy.filters.network.rbac", "network.rbac")
        }
    };
    fields["@type"] =
        format!("type.googleapis.com/envoy.extensions.filters.{type_name}.v3.RBAC").into();
    json!({"name": name, "typed_config": fields})
}
