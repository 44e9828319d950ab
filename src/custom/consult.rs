//! What the answers of providers come to: who is to be asked yet, who denies, what all allow.
//!
//! A function of plan, request and the answers so far. Changing the request is `apply`'s job.

use std::sync::Arc;

use super::answer::{Allowance, Answer, Denial, Failure, HeaderMutation, Trouble};
use super::settings::{Definitions, Speaks};
use crate::access::Introspection;
use crate::decide;
use crate::model::{AccessRuleId, Attributes, Reason, Refusal, RuleId};
use crate::plan::WorkloadPlan;

/// An answer, and whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The provider's name.
    pub provider: Arc<str>,
    /// What came of asking it.
    pub answer: Arc<Answer>,
}

/// What is known of those outside while one request is decided. By default, no provider is defined,
/// and no endpoint is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing<'a> {
    /// Who they are; `None` is nobody.
    pub definitions: Option<&'a Definitions>,
    /// What those said that were asked.
    pub answers: &'a [Answered],
    /// What introspection endpoints said.
    pub introspection: Introspection<'a>,
}

/// A provider that is to be asked, and the rule that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its name.
    pub provider: Arc<str>,
    /// The first of its rules that matches.
    pub rule: AskedBy,
}

/// Whose rule asks a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// A CUSTOM policy's.
    Policy(RuleId),
    /// An APIRule's, by `extAuth`.
    ApiRule(AccessRuleId),
}

impl AskedBy {
    /// The rule of a CUSTOM policy.
    pub fn policy(self) -> Option<RuleId> {
        match self {
            Self::Policy(rule) => Some(rule),
            Self::ApiRule(_) => None,
        }
    }

    fn undefined(self) -> Reason {
        match self {
            Self::Policy(rule) => Reason::CustomProviderUndefined(rule),
            Self::ApiRule(rule) => Reason::ApiRuleRefused(rule, Refusal::ProviderUndefined),
        }
    }

    fn error(self) -> Reason {
        match self {
            Self::Policy(rule) => Reason::CustomError(rule),
            Self::ApiRule(rule) => Reason::ApiRuleRefused(rule, Refusal::ProviderError),
        }
    }

    fn denied(self) -> Reason {
        match self {
            Self::Policy(rule) => Reason::CustomDenied(rule),
            Self::ApiRule(rule) => Reason::ApiRuleRefused(rule, Refusal::ProviderDenied),
        }
    }
}

/// What CUSTOM rules, and `extAuth` of the request's rule of an APIRule, have to say of one request.
#[derive(Debug, Default)]
pub struct Consulted {
    /// Why the request is denied, if it is. Where somebody is yet to be asked it is
    /// [`Reason::CustomError`], for those who cannot ask.
    pub reason: Option<Reason>,
    /// Who is yet to be asked.
    pub asks: Vec<Ask>,
    /// Who was asked and counts, in order, with what it said.
    pub answers: Vec<(AskedBy, Answered)>,
    /// What the client is told, where an answer, or the want of one, is why it is refused.
    pub denial: Option<Denial>,
    /// Dry-run rules that would ask a provider. They do not: each as the first of its provider's.
    pub dry_run: Vec<Ask>,
    /// Pseudo headers that were changed, `:path` not among them.
    pub pseudo_headers: Vec<&'static str>,
}

impl Consulted {
    /// What those said that let the request through, in order.
    pub fn allowances(&self) -> impl Iterator<Item = &Allowance> {
        self.answers.iter().filter_map(|(_, answered)| match &*answered.answer {
            Answer::Allowed(allowance) => Some(&**allowance),
            Answer::Denied(_) | Answer::Failed(_) => None,
        })
    }

    /// Whether somebody wants method, scheme, host, path or query changed.
    pub fn changes_target(&self) -> bool {
        self.allowances().any(|allowance| {
            let pseudo = |name: &str| name.starts_with(':') || name == "host";
            allowance.headers.iter().any(|header| pseudo(&header.name))
                || !allowance.query_parameters_to_set.is_empty()
                || !allowance.query_parameters_to_remove.is_empty()
        })
    }

    /// Whether the answer to the request is, or would be, that of an extension provider.
    pub fn asks_somebody(&self) -> bool {
        !self.answers.is_empty() || !self.asks.is_empty()
    }

    /// What is done to the headers of the response, whoever refuses the request in the end.
    pub fn response_headers(&self) -> impl Iterator<Item = &HeaderMutation> {
        self.allowances().flat_map(|allowance| &allowance.response_headers)
    }

    /// Dynamic metadata of all that counts, in order; a later entry replaces an earlier one.
    pub fn metadata(
        &self,
    ) -> impl Iterator<Item = (&String, &envoy_types::pb::google::protobuf::Value)> {
        let allowed = self.allowances().map(|allowance| &allowance.metadata);
        let denied = self.denial.iter().map(|denial| &denial.metadata);
        allowed.chain(denied).flat_map(|metadata| &metadata.fields)
    }
}

/// Consults the CUSTOM rules that match a request as it came, and then the `extAuth` of its rule of an
/// APIRule. `None` where there is none of these.
///
/// Providers count in the order of their names, as the filters do that Istio makes of them: of those
/// that deny, or are not defined, the first decides, and who comes after it is neither asked nor
/// heard.
pub fn consult(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    standing: Standing<'_>,
) -> Option<Box<Consulted>> {
    let mut trees = plan.trees(attributes.http.is_some());
    let authorizers = decide::authorizers(plan, attributes);
    if authorizers.is_none()
        && !trees.any(|trees| !trees.custom.is_empty() || !trees.shadow_custom.is_empty())
    {
        return None;
    }
    let mut consulted = Consulted::default();
    let ask = |(provider, rule): (&Arc<str>, RuleId)| Ask {
        provider: provider.clone(),
        rule: AskedBy::Policy(rule),
    };
    consulted.dry_run.extend(decide::shadow_custom(plan, attributes).map(ask));
    let mut end = None;
    let of_policies = decide::custom(plan, attributes);
    let of_policies = of_policies.map(|(provider, rule)| (provider, AskedBy::Policy(rule)));
    let of_api_rule = authorizers.into_iter().flat_map(|(rule, names)| {
        names.iter().map(move |provider| (provider, AskedBy::ApiRule(rule)))
    });
    for (provider, rule) in of_policies.chain(of_api_rule) {
        match standing.of(provider, attributes.http.is_some()) {
            Stands::Undefined => end = Some((rule.undefined(), None)),
            Stands::NotForConnections => {}
            Stands::NotAsked if consulted.asks.iter().any(|ask| ask.provider == *provider) => {}
            Stands::NotAsked => consulted.asks.push(Ask { provider: provider.clone(), rule }),
            Stands::Answered(answered) => {
                consulted.answers.push((rule, answered.clone()));
                end = match &*answered.answer {
                    Answer::Allowed(_) => None,
                    Answer::Failed(failure) if failure.passes => None,
                    Answer::Failed(failure) => Some((rule.error(), Some(failure.denial.clone()))),
                    Answer::Denied(denial) => Some((rule.denied(), Some((**denial).clone()))),
                };
            }
        }
        if end.is_some() {
            break;
        }
    }
    if let Some(Ask { rule, .. }) = consulted.asks.first() {
        end = Some((rule.error(), Some(Failure::closed(Trouble::NotAsked).denial)));
    }
    if let Some((reason, denial)) = end {
        consulted.reason = Some(reason);
        consulted.denial = denial;
    }
    let Consulted { reason, answers, dry_run, .. } = &consulted;
    let is_needed = reason.is_some() || !answers.is_empty() || !dry_run.is_empty();
    is_needed.then(|| Box::new(consulted))
}

/// How it is with one provider.
enum Stands<'a> {
    Undefined,
    /// It speaks HTTP, and Istio leaves it out where there are only connections.
    NotForConnections,
    NotAsked,
    Answered(&'a Answered),
}

impl<'a> Standing<'a> {
    fn of(self, provider: &str, is_http: bool) -> Stands<'a> {
        match self.definitions.and_then(|definitions| definitions.speaks(provider)) {
            None => Stands::Undefined,
            Some(Speaks::Http) if !is_http => Stands::NotForConnections,
            Some(Speaks::Http | Speaks::Grpc) => {
                let mut answers = self.answers.iter();
                match answers.find(|answered| &*answered.provider == provider) {
                    Some(answered) => Stands::Answered(answered),
                    None => Stands::NotAsked,
                }
            }
        }
    }
}

impl Failure {
    /// One that denies with Envoy's own status, whatever settings say.
    pub fn closed(trouble: Trouble) -> Self {
        Self { trouble, passes: false, denial: Denial::of_status(403) }
    }
}
