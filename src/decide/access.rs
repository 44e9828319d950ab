//! The rule of an APIRule that a request has, and what its strategies say.
//!
//! What takes keys or another server to find out is left to an [`Examiner`].

use std::sync::Arc;

use crate::matcher::request_principal;
use crate::model::{
    AccessRuleId, AccessStrategy, Attributes, Http, Identity, JwtAccess, JwtAuthorization, Reason,
    Refusal, Value,
};
use crate::plan::{AccessPlan, AccessRulePlan, HostPlan, JwtPlan, Route, WorkloadPlan};

/// What APIRules have to do with a request.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'p> {
    /// Nothing.
    Free,
    /// They are to say whether it may pass, and none of their rules is for it.
    Unrouted,
    /// This rule is.
    Rule(&'p Route),
}

/// What came of one strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It is not for what the request brings: the next one is tried.
    NotResponsible,
    /// The request may pass.
    Passes,
    /// It may not.
    Refused(Refusal),
}

/// Who finds out what `decide` cannot.
pub trait Examiner {
    /// Looks at the tokens of a request for the strategy of that number: one that verifies tokens by
    /// itself, or has somebody asked.
    fn examine(&mut self, rule: &Arc<AccessRulePlan>, strategy: usize) -> Finding;

    /// Hears that the strategy of that number is responsible, and so decides.
    fn decides(&mut self, _strategy: usize) {}
}

/// Examines nothing, and so lets nothing pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExaminer;

impl Examiner for NoExaminer {
    fn examine(&mut self, rule: &Arc<AccessRulePlan>, strategy: usize) -> Finding {
        Finding::Refused(match rule.strategies.get(strategy) {
            Some(AccessStrategy::OathkeeperJwt(_)) => Refusal::NotVerified,
            Some(AccessStrategy::ExtAuth { .. }) => Refusal::ProviderUndefined,
            Some(
                AccessStrategy::Introspection(_)
                | AccessStrategy::Allow
                | AccessStrategy::NoAuth
                | AccessStrategy::Noop
                | AccessStrategy::Anonymous
                | AccessStrategy::Unauthorized
                | AccessStrategy::Jwt(_),
            )
            | None => Refusal::NotAsked,
        })
    }
}

/// Whether a request is for a host that only APIRules have which never were accepted.
pub(super) fn is_refused(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> bool {
    let Some(access) = plan.access.as_deref() else { return false };
    let host = attributes.http.as_ref().and_then(|http| access.host(&http.host));
    host.is_some_and(|host| host.is_refused)
}

/// What the APIRules of a plan have to do with a request. Its tokens change nothing about that.
pub fn subject<'p>(plan: &'p WorkloadPlan, attributes: &Attributes<'_>) -> Subject<'p> {
    let Some(access) = plan.access.as_deref() else { return Subject::Free };
    let outside = if access.is_closed { Subject::Unrouted } else { Subject::Free };
    let Some(http) = &attributes.http else { return outside };
    match access.host(&http.host) {
        None => outside,
        Some(host) => route(access, host, http).map_or(Subject::Unrouted, Subject::Rule),
    }
}

/// The rule of an APIRule that a request has, where extension providers are asked for it.
pub fn authorized_route<'p>(
    plan: &'p WorkloadPlan,
    attributes: &Attributes<'_>,
) -> Option<&'p Route> {
    plan.access.as_ref()?;
    match subject(plan, attributes) {
        Subject::Rule(route) if !route.plan.authorizers.is_empty() => Some(route),
        Subject::Rule(_) | Subject::Unrouted | Subject::Free => None,
    }
}

/// The extension providers that this rule names, in the order of their names.
pub fn authorizers<'p>(
    plan: &'p WorkloadPlan,
    attributes: &Attributes<'_>,
) -> Option<(AccessRuleId, &'p [Arc<str>])> {
    authorized_route(plan, attributes).map(|route| (route.id, &*route.plan.authorizers))
}

/// The token rules that hold for a request.
pub fn token_rules<'p>(plan: &'p WorkloadPlan, http: &Http<'_>) -> &'p JwtPlan {
    let host = plan.access.as_deref().and_then(|access| access.host(&http.host));
    host.and_then(|host| host.jwt.as_deref()).unwrap_or(&plan.jwt)
}

fn route<'p>(access: &'p AccessPlan, host: &HostPlan, http: &Http<'_>) -> Option<&'p Route> {
    let path = http.path_without_query();
    let routes = host.routes.iter().filter_map(|place| access.routes.get(to_usize(*place)));
    routes.into_iter().find(|Route { plan, .. }| {
        plan.methods.iter().any(|method| **method == *http.method) && plan.path.matches(path)
    })
}

/// What the strategies of a request's rule say; `None` where there is nothing to be said.
pub(super) fn reason(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
    examiner: &mut dyn Examiner,
) -> Option<Reason> {
    let route = match subject(plan, attributes) {
        Subject::Free => return None,
        Subject::Unrouted => return Some(Reason::NoApiRule),
        Subject::Rule(route) => route,
    };
    Some(match strategies(&route.plan, attributes, identity, examiner) {
        Ok(()) => Reason::ApiRule(route.id),
        Err(refusal) => Reason::ApiRuleRefused(route.id, refusal),
    })
}

/// The first strategy that is responsible decides.
fn strategies(
    rule: &Arc<AccessRulePlan>,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
    examiner: &mut dyn Examiner,
) -> Result<(), Refusal> {
    for (number, strategy) in rule.strategies.iter().enumerate() {
        let finding = match strategy {
            AccessStrategy::Allow | AccessStrategy::NoAuth | AccessStrategy::Noop => {
                Finding::Passes
            }
            AccessStrategy::Anonymous => {
                let headers = attributes.http.as_ref().map(|http| &http.headers);
                let has_credentials = headers.is_none_or(|headers| {
                    headers.values("authorization").any(|value| !value.is_empty())
                });
                if has_credentials { Finding::NotResponsible } else { Finding::Passes }
            }
            AccessStrategy::Unauthorized => Finding::Refused(Refusal::Unauthorized),
            AccessStrategy::Jwt(access) => jwt(access, identity),
            AccessStrategy::ExtAuth { restrictions, .. } => {
                // Its authorizers first, as CUSTOM rules come before all others.
                match (examiner.examine(rule, number), restrictions) {
                    (Finding::Passes, Some(access)) => jwt(access, identity),
                    (finding, _) => finding,
                }
            }
            AccessStrategy::OathkeeperJwt(_) | AccessStrategy::Introspection(_) => {
                examiner.examine(rule, number)
            }
        };
        let said = match finding {
            Finding::NotResponsible => continue,
            Finding::Passes => Ok(()),
            Finding::Refused(refusal) => Err(refusal),
        };
        examiner.decides(number);
        return said;
    }
    Err(Refusal::NoCredentials)
}

/// Istio's `jwt`: tokens have been verified; what is left is whose they are, and what they say.
fn jwt(access: &JwtAccess, identity: &Identity<'_>) -> Finding {
    let JwtAccess { authentications, authorizations, strict_scopes } = access;
    let named = identity.claims.and_then(|claims| Some((claims, request_principal(claims)?)));
    let Some((claims, (issuer, subject))) = named else {
        return Finding::Refused(Refusal::NoToken);
    };
    let is_theirs = authentications.iter().any(|theirs| theirs.issuer == issuer);
    // Those of `extAuth` may have none.
    let is_theirs = is_theirs || authentications.is_empty();
    if !is_theirs || subject.is_empty() {
        return Finding::Refused(Refusal::NoToken);
    }
    let holds = authorizations.is_empty()
        || authorizations.iter().any(|it| is_authorized(it, *strict_scopes, claims));
    if holds { Finding::Passes } else { Finding::Refused(Refusal::NoAuthorization) }
}

/// All scopes in one of the claims that may hold them, and all audiences.
fn is_authorized(authorization: &JwtAuthorization, strict: bool, claims: &Value) -> bool {
    let JwtAuthorization { required_scopes, audiences } = authorization;
    let has = |claim: &str, wanted: &String, split| {
        claims.get(claim).is_some_and(|claim| entries(claim, split).any(|entry| entry == wanted))
    };
    let scopes = required_scopes.is_empty()
        || SCOPE_CLAIMS.iter().any(|claim| {
            let split = !strict || *claim == "scope";
            required_scopes.iter().all(|scope| has(claim, scope, split))
        });
    scopes && audiences.iter().all(|audience| has("aud", audience, false))
}

/// The claims that may hold scopes, in Oathkeeper's order.
pub const SCOPE_CLAIMS: [&str; 3] = ["scp", "scope", "scopes"];

/// The texts of a claim: of a list those in it; of a text itself, or with `split` what stands between
/// its blanks.
pub fn entries(claim: &Value, split: bool) -> impl Iterator<Item = &str> {
    let (text, items) = match claim {
        Value::String(text) => (Some(text.as_str()), &[][..]),
        Value::List(items) => (None, items.as_slice()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => (None, &[][..]),
    };
    let words = text.into_iter().flat_map(move |text| {
        text.split(move |c| split && c == ' ').filter(move |word| !split || !word.is_empty())
    });
    words.chain(items.iter().filter_map(Value::as_str))
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
