//! A decision for programs. `version` changes when a field changes its meaning or goes; new fields
//! may come any time.

use serde_json::{Map, Value as Json, json};

use super::misses::{Miss, Remedy};
use super::{Decided, action_name, field, met, unmet};
use crate::custom::AskedBy;
use crate::decide::reference::RuleTrace;
use crate::model::{Reason, RuleId};

/// The decision and what made it; with `walk` every rule, and why it did not.
pub fn json(decided: &Decided<'_>, walk: bool) -> Json {
    let verdict = decided.explanation.passage.verdict;
    let mut object = Map::new();
    let mut set = |name: &str, value: Json| object.insert(name.to_owned(), value);
    set("version", json!(1));
    set("decision", json!(verdict.outcome().as_str()));
    set("reason", json!(verdict.reason.as_str()));
    if let Some(rule) = verdict.reason.rule() {
        let trace = decided.trace(rule);
        set("policy", json!(decided.policy_id(rule)));
        set("rule", json!(rule.rule));
        set("matched", trace.map_or_else(|| json!([]), |trace| decided.fields(trace)));
    }
    if let Some(rule) = verdict.reason.access_rule() {
        set("apiRule", json!(decided.api_rule_id(rule)));
        set("rule", json!(rule.rule));
        if let Some(strategy) = decided.deciding_strategy(rule) {
            set("accessStrategy", json!(strategy.as_str()));
        }
    }
    if let Reason::ApiRuleRefused(_, refusal) = verdict.reason {
        set("error", json!(refusal.to_string()));
        set("status", json!(refusal.status()));
    }
    let misses: Vec<_> = decided.misses.iter().map(|miss| decided.miss_json(miss)).collect();
    if let Some(nearest) = misses.first() {
        set("nearest", nearest.clone());
        set("misses", json!(misses));
    }
    if let Reason::Jwt(error) = verdict.reason {
        set("error", json!(error.to_string()));
        set("status", json!(error.status()));
    }
    if verdict.reason == Reason::InvalidPolicy {
        let invalid = decided.explanation.invalid.iter();
        set("invalid", invalid.map(|id| json!(id.to_string())).collect());
    }
    if let Some(malformed) = decided.malformed {
        set("error", json!(malformed.to_string()));
    }
    let audited_by = decided.audited_by();
    if !audited_by.is_empty() {
        set("auditedBy", audited_by.into_iter().map(|rule| decided.reference(rule)).collect());
    }
    if let Some(shadow) = verdict.shadow {
        let mut members = Map::new();
        members.insert("decision".to_owned(), json!(shadow.outcome().as_str()));
        members.insert("reason".to_owned(), json!(shadow.reason.as_str()));
        if let Some(rule) = shadow.reason.rule() {
            members.insert("policy".to_owned(), json!(decided.policy_id(rule)));
            members.insert("rule".to_owned(), json!(rule.rule));
        }
        if let Some(rule) = shadow.custom_rule {
            members.insert("customPolicy".to_owned(), json!(decided.policy_id(rule)));
            members.insert("customRule".to_owned(), json!(rule.rule));
            members.insert("customProvider".to_owned(), json!(decided.plan.provider(rule)));
        }
        set("shadow", Json::Object(members));
    }
    if let Some(consulted) = &decided.explanation.passage.consulted {
        let answered = consulted
            .answers
            .iter()
            .map(|(rule, answered)| (&answered.provider, *rule, answered.answer.as_str()));
        let asks = consulted.asks.iter().map(|ask| (&ask.provider, ask.rule, "not_asked"));
        let dry_run = consulted.dry_run.iter().map(|ask| (&ask.provider, ask.rule, "dry_run"));
        let custom = answered.chain(asks).chain(dry_run).map(|(provider, rule, result)| {
            let mut object = match rule {
                AskedBy::Policy(rule) => decided.reference(rule),
                AskedBy::ApiRule(rule) => {
                    json!({ "apiRule": decided.api_rule_id(rule), "rule": rule.rule })
                }
            };
            if let Json::Object(members) = &mut object {
                members.insert("provider".to_owned(), json!(**provider));
                members.insert("result".to_owned(), json!(result));
            }
            object
        });
        set("custom", custom.collect());
    }
    if walk {
        let rules = decided.walked().into_iter().map(|trace| decided.rule_json(trace));
        set("rules", rules.collect());
        if let Some(access) = decided.access_json() {
            set("apiRules", access);
        }
    }
    Json::Object(object)
}

impl Decided<'_> {
    fn reference(&self, rule: RuleId) -> Json {
        json!({ "policy": self.policy_id(rule), "rule": rule.rule })
    }

    fn rule_json(&self, trace: &RuleTrace) -> Json {
        let policy = self.policy(trace.id);
        json!({
            "policy": self.policy_id(trace.id),
            "rule": trace.id.rule,
            "action": policy.map(|policy| action_name(&policy.action)),
            "dryRun": policy.is_some_and(|policy| policy.dry_run),
            "matches": trace.matches,
            "fields": self.fields(trace),
        })
    }

    fn miss_json(&self, miss: &Miss) -> Json {
        let policy = self.policy(miss.rule);
        let fields: Vec<_> = miss.failed.iter().map(|f| field::json(policy, f)).collect();
        let mut object = json!({
            "policy": self.policy_id(miss.rule),
            "rule": miss.rule.rule,
            "action": policy.map(|policy| action_name(&policy.action)),
            "dryRun": false,
            "matches": false,
            "fields": fields,
        });
        let (changes, then) = match &miss.remedy {
            Remedy::Allows(changes) => (changes, json!({ "decision": "allow" })),
            Remedy::Denies(changes, reason) => {
                (changes, json!({ "decision": "deny", "reason": reason.as_str() }))
            }
            Remedy::NoSuchToken(changes) => {
                (changes, json!({ "decision": "deny", "reason": "no_such_token" }))
            }
            Remedy::Unknown => return object,
        };
        let changes: Vec<_> = changes
            .iter()
            .map(|change| json!({ "input": change.name(), "value": change.value() }))
            .collect();
        if let Some(members) = object.as_object_mut() {
            members.insert("changes".to_owned(), json!(changes));
            members.insert("then".to_owned(), then);
        }
        object
    }

    /// What made a rule match, or kept it from matching.
    fn fields(&self, trace: &RuleTrace) -> Json {
        let fields = if trace.matches { met(trace) } else { unmet(trace) };
        fields.into_iter().map(|f| field::json(self.policy(trace.id), f)).collect()
    }
}
