//! The rules of APIRules in an explanation, by their own names.

use serde_json::{Value as Json, json};

use super::Decided;
use crate::decide::reference::AccessTrace;
use crate::model::{AccessRule, AccessRuleId, AccessStrategy};

impl Decided<'_> {
    /// `APIRule/shop/orders rules[1] (/headers, GET)`
    pub(super) fn access_rule(&self, id: AccessRuleId) -> String {
        self.plan.access.as_ref().map_or_else(String::new, |access| access.describe(id))
    }

    /// As [`crate::model::ResourceId`] displays.
    pub(super) fn api_rule_id(&self, id: AccessRuleId) -> String {
        let name = self.plan.api_rule(id);
        name.map_or_else(String::new, |[namespace, name]| format!("APIRule/{namespace}/{name}"))
    }

    /// Where the rule stands, and what it asks for.
    pub(super) fn access_details(&self, id: AccessRuleId) -> Vec<String> {
        let rule = self.plan.access.as_ref().and_then(|access| access.rule(id));
        let Some((api_rule, rule)) = rule else { return Vec::new() };
        let place = match &api_rule.metadata.file {
            Some(file) => format!("{file}:{}: ", rule.position.line),
            None => String::new(),
        };
        let mut details = vec![format!(
            "{place}the first rule for this request; its access: {}",
            strategies(rule)
        )];
        let decided = self.deciding_strategy(id).filter(|_| rule.strategies.len() > 1);
        if let Some(strategy) = decided {
            details.push(format!("of these, {} decided", strategy.as_str()));
        }
        details
    }

    /// That of the rule's strategies which decided; `None` where none is responsible.
    pub(super) fn deciding_strategy(&self, id: AccessRuleId) -> Option<&AccessStrategy> {
        let (_, rule) = self.plan.access.as_ref()?.rule(id)?;
        rule.strategies.get(self.explanation.passage.strategy?)
    }

    /// How each rule fared.
    pub(super) fn access_walk(&self) -> Vec<String> {
        let Some(traces) = &self.explanation.access else { return Vec::new() };
        if traces.is_empty() {
            return vec!["no APIRule of this workload is for this host".to_owned()];
        }
        let mut taken = None;
        let mut lines = Vec::new();
        for trace in traces {
            let name = self.access_rule(trace.id);
            lines.push(match (taken, trace) {
                (Some(by), AccessTrace { method: true, path: true, .. }) => {
                    format!("{name}: fits, but {by} comes before it")
                }
                (None, AccessTrace { method: true, path: true, .. }) => {
                    taken = Some("the rule above");
                    let rule = self.plan.access.as_ref().and_then(|plan| plan.rule(trace.id));
                    let access = rule.map_or_else(String::new, |(_, rule)| strategies(rule));
                    format!("{name}: is for this request; its access: {access}")
                }
                (_, AccessTrace { path: false, .. }) => format!("{name}: is not for this path"),
                (_, AccessTrace { method: false, .. }) => {
                    format!("{name}: is not for this method")
                }
            });
        }
        lines
    }

    /// Likewise, for programs.
    pub(super) fn access_json(&self) -> Option<Json> {
        let traces = self.explanation.access.as_ref()?.iter().map(|trace| {
            json!({
                "apiRule": self.api_rule_id(trace.id),
                "rule": trace.id.rule,
                "method": trace.method,
                "path": trace.path,
            })
        });
        Some(traces.collect())
    }
}

/// In the order in which they are tried.
fn strategies(rule: &AccessRule) -> String {
    let names: Vec<_> = rule.strategies.iter().map(AccessStrategy::as_str).collect();
    names.join(", then ")
}
