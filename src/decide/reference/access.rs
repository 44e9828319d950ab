//! APIRules as written: the first rule that fits, looked for one after the other.

use super::super::access::{Examiner as _, Finding, NoExaminer};
use super::pattern;
use crate::model::{
    AccessPath, AccessRule, AccessRuleId, AccessStrategy, Attributes, Http, Identity, JwtAccess,
    JwtAuthorization, Reason, Refusal, ResourceId, Value, Workload,
};
use crate::path_regex::PathRegex;
use crate::plan::WorkloadPlan;

/// How a rule of an APIRule fares whose hosts have the request's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessTrace {
    /// Which.
    pub id: AccessRuleId,
    /// Whether `methods` has the request's.
    pub method: bool,
    /// Whether the request's path fits `path`.
    pub path: bool,
}

impl AccessTrace {
    /// Whether the rule is for the request, where none before it is.
    pub fn fits(&self) -> bool {
        self.method && self.path
    }
}

/// How the rules fare that are the workload's, in their order; `None` where APIRules have nothing to
/// do with the request.
pub fn access_traces(plan: &WorkloadPlan, attributes: &Attributes<'_>) -> Option<Vec<AccessTrace>> {
    let access = plan.access.as_ref()?;
    let is_own = |rule: &AccessRule| {
        let Workload { namespace, services, .. } = &plan.workload;
        !access.is_closed
            || *namespace == rule.service.namespace && services.contains(&rule.service.name)
    };
    let with_own = access.api_rules.iter().filter(|api_rule| api_rule.rules.iter().any(is_own));
    let hosts = with_own.flat_map(|api_rule| &api_rule.hosts).map(|host| host.value.as_str());
    let refused = access.refused.iter().map(|(host, _)| host.as_str());
    let best = best_host(hosts.chain(refused), attributes);
    let mut traces = Vec::new();
    for (number, api_rule) in (0u32..).zip(&access.api_rules) {
        let Some(http) = &attributes.http else { break };
        if !api_rule.hosts.iter().any(|host| Some(host.value.as_str()) == best) {
            continue;
        }
        for (position, rule) in (0u32..).zip(&api_rule.rules).filter(|(_, rule)| is_own(rule)) {
            let id = AccessRuleId { api_rule: number, rule: position };
            traces.push(AccessTrace {
                id,
                method: rule.methods.iter().any(|method| *method.value == *http.method),
                path: fits_path(rule, http.path_without_query()),
            });
        }
    }
    (access.is_closed || best.is_some()).then_some(traces)
}

/// The APIRules that close the host of a request, because they never had an accepted form and no
/// other has that host.
pub fn closing_api_rules<'p>(
    plan: &'p WorkloadPlan,
    attributes: &Attributes<'_>,
) -> Vec<&'p ResourceId> {
    let Some(access) = &plan.access else { return Vec::new() };
    if access_traces(plan, attributes).is_none_or(|traces| !traces.is_empty()) {
        return Vec::new();
    }
    let best = best_host(access.refused.iter().map(|(host, _)| host.as_str()), attributes);
    let closing = access.refused.iter().filter(|(host, _)| Some(host.as_str()) == best);
    closing.map(|(_, id)| id).collect()
}

/// As Envoy routes: a host itself, else the longest wildcard.
fn best_host<'h>(
    hosts: impl Iterator<Item = &'h str>,
    attributes: &Attributes<'_>,
) -> Option<&'h str> {
    let http = attributes.http.as_ref()?;
    let fitting = hosts.filter(|host| fits_host(host, http));
    fitting.max_by_key(|host| (!host.starts_with('*'), host.len()))
}

/// What [`super::super::subject`] says: whether APIRules have to do with the request, and which rule
/// of them is the request's.
pub fn access_rule(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
) -> (bool, Option<AccessRuleId>) {
    match access_traces(plan, attributes) {
        None => (false, None),
        Some(traces) => (true, traces.iter().find(|trace| trace.fits()).map(|trace| trace.id)),
    }
}

fn fits_host(wanted: &str, http: &Http<'_>) -> bool {
    let host = http.host.to_lowercase();
    let digits = host.trim_end_matches(|c: char| c.is_ascii_digit());
    let host = digits.strip_suffix(':').unwrap_or(&host);
    let mut labels: Vec<&str> = host.split('.').collect();
    if labels.len() > 1 && labels.last() == Some(&"") {
        labels.pop();
    }
    let host = labels.join(".");
    match wanted.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => *host == *wanted,
    }
}

fn fits_path(rule: &AccessRule, path: &str) -> bool {
    match &rule.path {
        AccessPath::Regex(regex) => PathRegex::slow(regex).is_ok_and(|regex| regex.matches(path)),
        AccessPath::Template(template) => pattern::fits(&pattern::template(template), path),
    }
}

/// What the rule's strategies say, which are not compiled.
pub(super) fn reason(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
) -> Option<Reason> {
    let (is_subject, rule) = access_rule(plan, attributes);
    let Some(id) = rule else { return is_subject.then_some(Reason::NoApiRule) };
    let access = plan.access.as_ref()?;
    let (_, rule) = access.rule(id)?;
    let compiled = &access.routes.iter().find(|route| route.id == id)?.plan;
    let said = rule.strategies.iter().enumerate().map(|(number, strategy)| {
        let examined = || NoExaminer.examine(compiled, number);
        finding(strategy, attributes, identity, examined)
    });
    let refusal = |refusal| Some(Reason::ApiRuleRefused(id, refusal));
    match said.into_iter().find(|finding| *finding != Finding::NotResponsible) {
        Some(Finding::Refused(why)) => refusal(why),
        Some(Finding::Passes | Finding::NotResponsible) => Some(Reason::ApiRule(id)),
        None => refusal(Refusal::NoCredentials),
    }
}

/// What one strategy says; `examined` is what was found out for it.
fn finding(
    strategy: &AccessStrategy,
    attributes: &Attributes<'_>,
    identity: &Identity<'_>,
    examined: impl FnOnce() -> Finding,
) -> Finding {
    match strategy {
        AccessStrategy::Allow | AccessStrategy::NoAuth | AccessStrategy::Noop => Finding::Passes,
        AccessStrategy::Unauthorized => Finding::Refused(Refusal::Unauthorized),
        AccessStrategy::Anonymous => {
            let Some(http) = &attributes.http else { return Finding::NotResponsible };
            if http.headers.values("authorization").all(<[u8]>::is_empty) {
                Finding::Passes
            } else {
                Finding::NotResponsible
            }
        }
        AccessStrategy::OathkeeperJwt(_) | AccessStrategy::Introspection(_) => examined(),
        AccessStrategy::ExtAuth { restrictions, .. } => {
            let asked = examined();
            let restrictions = restrictions.as_ref().filter(|_| asked == Finding::Passes);
            restrictions.map_or(asked, |access| istio_jwt(access, identity))
        }
        AccessStrategy::Jwt(access) => istio_jwt(access, identity),
    }
}

/// As Kyma's translation has it: `ISSUER/*` is the principal, and for each claim that may hold scopes
/// there is a rule with one condition for each scope and each audience.
fn istio_jwt(access: &JwtAccess, identity: &Identity<'_>) -> Finding {
    let claim = |name: &str| identity.claims.and_then(|claims| claims.get(name));
    let text = |name: &str| match claim(name) {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let issuers: Vec<_> = access.authentications.iter().map(|it| it.issuer.as_str()).collect();
    let is_principal = |issuer: &str| issuers.is_empty() || issuers.contains(&issuer);
    match (text("iss"), text("sub")) {
        (Some(issuer), Some(subject)) if is_principal(issuer) && !subject.is_empty() => {}
        (_, _) => return Finding::Refused(Refusal::NoToken),
    }
    let words = |name: &str| -> Vec<String> {
        match claim(name) {
            Some(Value::String(text)) => {
                text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
            }
            Some(Value::List(items)) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(_) | None => Vec::new(),
        }
    };
    let whole = |name: &str| match claim(name) {
        Some(Value::String(text)) => vec![text.clone()],
        Some(_) | None => words(name),
    };
    let granted = |name: &str| match (name, access.strict_scopes) {
        ("scope", _) | (_, false) => words(name),
        (_, true) => whole(name),
    };
    let audiences = whole("aud");
    let has_all = |found: &[String], wanted: &[String]| wanted.iter().all(|it| found.contains(it));
    let holds = |authorization: &JwtAuthorization| {
        let scopes = &authorization.required_scopes;
        ["scp", "scope", "scopes"].iter().any(|name| has_all(&granted(name), scopes))
            && has_all(&audiences, &authorization.audiences)
    };
    if access.authorizations.is_empty() || access.authorizations.iter().any(holds) {
        Finding::Passes
    } else {
        Finding::Refused(Refusal::NoAuthorization)
    }
}
