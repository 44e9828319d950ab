//! APIRules as written: the first rule that fits, looked for one after the other.

use super::super::access::{self, NoExaminer};
use super::pattern;
use crate::model::{
    AccessPath, AccessRule, AccessRuleId, Attributes, Http, Identity, Reason, Workload,
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
    // As Envoy routes: a host itself, else the longest wildcard.
    let with_own = access.api_rules.iter().filter(|api_rule| api_rule.rules.iter().any(is_own));
    let hosts = with_own.flat_map(|api_rule| &api_rule.hosts).map(|host| host.value.as_str());
    let fitting =
        hosts.filter(|host| attributes.http.as_ref().is_some_and(|http| fits_host(host, http)));
    let best = fitting.max_by_key(|host| (!host.starts_with('*'), host.len()));
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
    (access.is_closed || !traces.is_empty()).then_some(traces)
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
    match wanted.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end),
        None => host == wanted,
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
    let route = access.routes.iter().find(|route| route.id == id)?;
    let said = access::strategies(&route.plan, attributes, identity, &mut NoExaminer);
    Some(said.map_or_else(|refusal| Reason::ApiRuleRefused(id, refusal), |()| Reason::ApiRule(id)))
}
