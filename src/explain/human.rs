//! A decision for people: one line that says it, then what made it, then how every rule fared.

use std::fmt::Arguments;

use super::misses::{Miss, Remedy};
use super::{Decided, action_name, field, id_of, met, unmet};
use crate::custom::Ask;
use crate::decide::Certainty;
use crate::decide::reference::{FieldTrace, RuleTrace};
use crate::manifest::text::quoted;
use crate::model::{Action, MutualTlsMode, Outcome, Reason, RuleId, Value};
use crate::witness::Change;

/// Below the word that says the outcome.
const INDENT: &str = "       ";

/// The decision and what made it; with `walk` every rule, and why it did not.
pub fn human(decided: &Decided<'_>, walk: bool) -> String {
    let mut text = Lines::default();
    let verdict = decided.explanation.passage.verdict;
    text.add(format_args!("{:<5}  {}", word(verdict.outcome()), decided.why(verdict.reason)));
    for detail in decided.details() {
        text.add(format_args!("{INDENT}{detail}"));
    }
    for rule in decided.audited_by() {
        text.add(format_args!("{INDENT}audited by {}", decided.name(rule)));
    }
    if let Some(shadow) = verdict.shadow {
        let (word, why) = (word(shadow.outcome()), decided.why(shadow.reason));
        if shadow.reason == verdict.reason {
            text.add(format_args!("{INDENT}with dry-run policies enforced: the same"));
        } else {
            text.add(format_args!("{INDENT}with dry-run policies enforced: {word}, {why}"));
        }
        if let Some(rule) = shadow.custom_rule {
            let provider = decided.plan.provider(rule).map(quoted).unwrap_or_default();
            let name = decided.name(rule);
            text.add(format_args!("{INDENT}and {provider} would be asked, because of {name}"));
        }
    }
    if walk {
        if decided.misses.len() > 1 {
            text.add(format_args!(""));
            text.add(format_args!("nearest misses:"));
            for (number, miss) in decided.misses.iter().enumerate() {
                text.add(format_args!("{:>3}. {}", number + 1, decided.name(miss.rule)));
                for line in decided.miss(miss) {
                    text.add(format_args!("     {line}"));
                }
            }
        }
        text.add(format_args!(""));
        decided.walk(&mut text);
    }
    text.0
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, line: Arguments<'_>) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&line.to_string());
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allow => "ALLOW",
        Outcome::Deny => "DENY",
    }
}

impl Decided<'_> {
    fn name(&self, rule: RuleId) -> String {
        format!("{} rules[{}]", self.policy_id(rule), rule.rule)
    }

    fn why(&self, reason: Reason) -> String {
        match reason {
            Reason::AllowRule(rule) | Reason::DenyRule(rule) => self.name(rule),
            Reason::CustomProviderUndefined(rule) => {
                format!("{}: its provider {} is not defined", self.name(rule), self.provider(rule))
            }
            Reason::CustomDenied(rule) => {
                format!("{}: its provider {} denies", self.name(rule), self.provider(rule))
            }
            Reason::CustomError(rule) => {
                let gives = match self.asks().next() {
                    Some(_) => "is to be asked, and nobody is asked here",
                    None => "gives no answer",
                };
                format!("{}: its provider {} {gives}", self.name(rule), self.provider(rule))
            }
            Reason::NoAllowPolicy if self.plan.layers.is_empty() => {
                format!("no AuthorizationPolicy holds for {}", self.workload())
            }
            Reason::NoAllowPolicy => "no DENY rule matches, and no ALLOW policy holds".to_owned(),
            Reason::NoAllowRule => {
                "ALLOW policies hold, and none of their rules matches".to_owned()
            }
            Reason::ApiRule(rule) => self.access_rule(rule),
            Reason::ApiRuleRefused(rule, refusal) => {
                let status = refusal.status();
                format!("{}: refused with {status}: {refusal}", self.access_rule(rule))
            }
            Reason::NoApiRule => "no rule of an APIRule is for this request".to_owned(),
            Reason::PeerUnauthenticated => {
                "mutual TLS is STRICT, and the peer has no identity".to_owned()
            }
            Reason::Jwt(error) => format!("the token is refused with {}: {error}", error.status()),
            Reason::InvalidPolicy => {
                let invalid = self.explanation.invalid.iter();
                let ids: Vec<_> = invalid.map(ToString::to_string).collect();
                format!("never valid: {}", ids.join(", "))
            }
            Reason::UnknownWorkload => "the workload is not configured".to_owned(),
            Reason::MalformedRequest => match self.malformed {
                Some(malformed) => format!("malformed: {malformed}"),
                None => "the request is malformed".to_owned(),
            },
        }
    }

    /// What providers were taken to say, and who would be asked.
    fn walk_providers(&self, text: &mut Lines) {
        let Some(consulted) = &self.explanation.passage.consulted else { return };
        for (_, answered) in &consulted.answers {
            let (provider, answer) = (quoted(&answered.provider), answered.answer.as_str());
            text.add(format_args!("provider {provider}: {answer}"));
        }
        for ask in self.asks() {
            text.add(format_args!(
                "provider {}: not asked; --custom-answer says what it would answer",
                quoted(&ask.provider)
            ));
        }
    }

    fn asks(&self) -> impl Iterator<Item = &Ask> {
        self.explanation.passage.consulted.iter().flat_map(|consulted| &consulted.asks)
    }

    /// The name of the provider that a rule asks, in quotes.
    fn provider(&self, rule: RuleId) -> String {
        let provider = self.policy(rule).and_then(|policy| policy.action.provider());
        provider.map(|provider| quoted(provider)).unwrap_or_default()
    }

    fn workload(&self) -> String {
        let workload = &self.plan.workload;
        let labels: Vec<_> = workload.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let labels = if labels.is_empty() {
            "without labels".to_owned()
        } else {
            format!("with labels {}", quoted(&labels.join(",")))
        };
        format!("a workload {labels} in namespace {}", quoted(&workload.namespace))
    }

    /// What made the decision, or came nearest to another one.
    fn details(&self) -> Vec<String> {
        if let Some(rule) = self.reason().rule() {
            return self.trace(rule).map(|trace| self.matching(trace)).unwrap_or_default();
        }
        if let Some(rule) = self.reason().access_rule() {
            return self.access_details(rule);
        }
        if self.reason() != Reason::NoAllowRule {
            return Vec::new();
        }
        match self.misses.first() {
            Some(nearest) => {
                let mut lines = vec![format!("nearest: {}", self.name(nearest.rule))];
                lines.extend(self.miss(nearest));
                lines
            }
            None => self
                .plan
                .policies()
                .filter(|policy| policy.action == Action::Allow && !policy.dry_run)
                .map(|policy| format!("{} has no rules, and so allows nothing", id_of(policy)))
                .collect(),
        }
    }

    /// What kept a rule from matching, and what would have made it.
    fn miss(&self, miss: &Miss) -> Vec<String> {
        let mut lines = self.failed(miss.rule, &miss.failed);
        let listed = |changes: &[Change]| {
            let changes: Vec<_> = changes.iter().map(ToString::to_string).collect();
            changes.join(", ")
        };
        lines.extend(match &miss.remedy {
            Remedy::Allows(changes) => Some(format!("would be allowed with {}", listed(changes))),
            Remedy::Denies(changes, reason) => Some(format!(
                "would match with {}, and be denied: {}",
                listed(changes),
                self.why(*reason)
            )),
            Remedy::NoSuchToken(changes) => Some(format!(
                "would match with {}, but no RequestAuthentication takes such a token",
                listed(changes)
            )),
            Remedy::Unknown => None,
        });
        lines
    }

    /// Why a rule matches.
    fn matching(&self, trace: &RuleTrace) -> Vec<String> {
        let fields: Vec<_> =
            met(trace).into_iter().map(|f| field::sentence(self.policy(trace.id), f)).collect();
        if !fields.is_empty() {
            return fields;
        }
        let rule = self.rule(trace.id);
        let is_empty =
            rule.is_none_or(|r| r.from.is_empty() && r.to.is_empty() && r.when.is_empty());
        vec![if is_empty {
            "an empty rule matches everything".to_owned()
        } else if self.is_http {
            "nothing in it is a condition".to_owned()
        } else {
            "HTTP fields do not count on a connection, and it has no other".to_owned()
        }]
    }

    /// Why a rule does not match.
    fn missing(&self, trace: &RuleTrace) -> Vec<String> {
        self.failed(trace.id, unmet(trace))
    }

    fn failed<'f>(
        &self,
        rule: RuleId,
        fields: impl IntoIterator<Item = &'f FieldTrace>,
    ) -> Vec<String> {
        let fields: Vec<_> =
            fields.into_iter().map(|f| field::sentence(self.policy(rule), f)).collect();
        if !fields.is_empty() {
            return fields;
        }
        vec!["it has HTTP fields, and this is a connection without HTTP".to_owned()]
    }

    fn walk(&self, text: &mut Lines) {
        let reason = self.reason();
        if matches!(reason, Reason::MalformedRequest | Reason::UnknownWorkload) {
            text.add(format_args!("policies were not looked at"));
            return;
        }
        self.walk_peer(text);
        if reason == Reason::PeerUnauthenticated {
            text.add(format_args!("tokens and rules were not looked at: mutual TLS comes first"));
            return;
        }
        let traces = self.walked();
        let custom = traces.iter().filter(|trace| self.is_custom(trace.id));
        custom.for_each(|trace| self.walk_rule(trace, text));
        self.walk_providers(text);
        if matches!(
            reason,
            Reason::CustomProviderUndefined(_) | Reason::CustomDenied(_) | Reason::CustomError(_)
        ) {
            text.add(format_args!(
                "tokens and other rules were not looked at: CUSTOM rules come first"
            ));
            return;
        }
        self.walk_token(text);
        if matches!(reason, Reason::Jwt(_)) {
            text.add(format_args!("other rules were not looked at: tokens come first"));
            return;
        }
        let others = traces.iter().filter(|trace| !self.is_custom(trace.id));
        others.for_each(|trace| self.walk_rule(trace, text));
        for line in self.access_walk() {
            text.add(format_args!("{line}"));
        }
        for policy in self.plan.policies().filter(|policy| policy.rules.is_empty()) {
            let action = action_name(&policy.action);
            text.add(format_args!("{} ({action}): has no rules", id_of(policy)));
        }
        if self.plan.layers.is_empty() && self.explanation.access.is_none() {
            text.add(format_args!("no AuthorizationPolicy holds for {}", self.workload()));
        }
    }

    fn is_custom(&self, rule: RuleId) -> bool {
        self.policy(rule).is_some_and(|policy| matches!(policy.action, Action::Custom { .. }))
    }

    fn walk_peer(&self, text: &mut Lines) {
        let mode = self.plan.peer.mode_of(self.port);
        if mode == MutualTlsMode::Disable {
            text.add(format_args!("mutual TLS (DISABLE): no peer has an identity"));
            return;
        }
        let mode = match mode {
            MutualTlsMode::Strict => "STRICT",
            MutualTlsMode::Permissive => "PERMISSIVE",
            MutualTlsMode::Disable => "DISABLE",
            MutualTlsMode::Unset => "UNSET",
        };
        let peer = match &self.principal {
            Some(name) => format!("the peer is {}", quoted(name)),
            None => "the peer has no identity".to_owned(),
        };
        text.add(format_args!("mutual TLS ({mode}): {peer}"));
    }

    fn walk_token(&self, text: &mut Lines) {
        if self.plan.jwt.rules.is_empty() || !self.is_http {
            return;
        }
        let authentication = &self.explanation.passage.authentication;
        let claim = |name| {
            let claim = authentication.claims.as_ref().and_then(|claims| claims.get(name));
            claim.and_then(Value::as_str).map_or_else(|| "none".to_owned(), quoted)
        };
        match (self.reason(), &authentication.claims) {
            (Reason::Jwt(error), _) => text.add(format_args!("token: refused, {error}")),
            (_, Some(_)) => text.add(format_args!(
                "token: verified, issuer {}, subject {}",
                claim("iss"),
                claim("sub")
            )),
            (_, None) => text.add(format_args!("token: none")),
        }
    }

    fn walk_rule(&self, trace: &RuleTrace, text: &mut Lines) {
        let policy = self.policy(trace.id);
        let action = policy.map_or("", |policy| action_name(&policy.action));
        let dry_run = if policy.is_some_and(|p| p.dry_run) { ", dry run" } else { "" };
        let result = match (trace.matches, trace.result) {
            (true, Certainty::Unknown) => "counts as a match",
            (false, Certainty::Unknown) => "counts as no match",
            (true, Certainty::Yes | Certainty::No) => "matches",
            (false, Certainty::Yes | Certainty::No) => "does not match",
        };
        text.add(format_args!("{} ({action}{dry_run}): {result}", self.name(trace.id)));
        let lines = if trace.matches { self.matching(trace) } else { self.missing(trace) };
        for line in lines {
            text.add(format_args!("    {line}"));
        }
    }
}
