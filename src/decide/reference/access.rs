//! APIRules as written: the first rule that fits, looked for one after the other.

use super::super::access::{self, NoExaminer};
use super::pattern;
use crate::model::{
    AccessPath, AccessRule, AccessRuleId, ApiRule, Attributes, Http, Identity, Reason, Workload,
};
use crate::path_regex::PathRegex;
use crate::plan::WorkloadPlan;

/// What [`super::super::subject`] says: whether APIRules have to do with the request, and which rule
/// of them is the request's.
pub fn access_rule(
    plan: &WorkloadPlan,
    attributes: &Attributes<'_>,
) -> (bool, Option<AccessRuleId>) {
    let Some(access) = &plan.access else { return (false, None) };
    let is_own = |rule: &AccessRule| {
        let Workload { namespace, services, .. } = &plan.workload;
        !access.is_closed
            || *namespace == rule.service.namespace && services.contains(&rule.service.name)
    };
    let mut is_subject = access.is_closed;
    let Some(http) = &attributes.http else { return (is_subject, None) };
    for (number, api_rule) in (0u32..).zip(&access.api_rules) {
        let has_own = api_rule.rules.iter().any(is_own);
        if !has_own || !fits_host(api_rule, http) {
            continue;
        }
        is_subject = true;
        for (position, rule) in (0u32..).zip(&api_rule.rules) {
            if is_own(rule) && fits(rule, http) {
                return (true, Some(AccessRuleId { api_rule: number, rule: position }));
            }
        }
    }
    (is_subject, None)
}

fn fits_host(api_rule: &ApiRule, http: &Http<'_>) -> bool {
    let host = http.host.to_lowercase();
    let digits = host.trim_end_matches(|c: char| c.is_ascii_digit());
    let host = digits.strip_suffix(':').unwrap_or(&host);
    api_rule.hosts.iter().any(|wanted| match wanted.value.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == wanted.value,
    })
}

fn fits(rule: &AccessRule, http: &Http<'_>) -> bool {
    let path = http.path_without_query();
    let fits_path = match &rule.path {
        AccessPath::Regex(regex) => PathRegex::slow(regex).is_ok_and(|regex| regex.matches(path)),
        AccessPath::Template(template) => pattern::fits(&pattern::template(template), path),
    };
    fits_path && rule.methods.iter().any(|method| *method.value == *http.method)
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
    let route = access.routes.iter().find(|route| route.id == id)?;
    let said = access::strategies(&route.plan, attributes, identity, &mut NoExaminer);
    Some(said.map_or_else(|refusal| Reason::ApiRuleRefused(id, refusal), |()| Reason::ApiRule(id)))
}
