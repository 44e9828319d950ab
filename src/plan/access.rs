//! The rules of APIRules, found by a request's host.
//!
//! Which of them is a request's own is `decide`'s job, what its strategies say `gate`'s.

use std::collections::HashMap;
use std::sync::Arc;

use super::{CompiledSize, JwtPlan, JwtRulePlan};
use crate::matcher::PathTemplate;
use crate::model::{AccessRule, AccessRuleId, AccessStrategy, ApiRule, ResourceId, TokenFrom};
use crate::mutation::Format;
use crate::path_regex::PathRegex;

/// The APIRules that hold for a workload.
#[derive(Debug, Default)]
pub struct AccessPlan {
    /// In their order; [`AccessRuleId::api_rule`] counts in here.
    pub api_rules: Vec<Arc<ApiRule>>,
    /// Those of their rules that are the workload's, in order.
    pub routes: Vec<Route>,
    /// By host, in lower case and without a port.
    pub hosts: HashMap<Box<str>, HostPlan>,
    /// By what follows the `*` of a host: `.example.com`.
    pub wildcard_hosts: HashMap<Box<str>, HostPlan>,
    /// Hosts of APIRules that never had an accepted form, in lower case, and whose they are.
    pub refused: Vec<(String, ResourceId)>,
    /// Whether they are the workload's by its Services, so that it is closed to whatever they do not
    /// speak of. If not, they are for requests with one of their hosts, and for no other.
    pub is_closed: bool,
}

/// What a host has.
#[derive(Debug, Default)]
pub struct HostPlan {
    /// Places in [`AccessPlan::routes`] of its rules, ascending.
    pub routes: Box<[u32]>,
    /// Whether the only APIRules with this host are [refused](AccessPlan::refused): closed.
    pub is_refused: bool,
    /// The token rules of requests with this host; `None` where they are those of the workload.
    pub jwt: Option<Arc<JwtPlan>>,
}

/// One rule of an APIRule.
#[derive(Debug, Clone)]
pub struct Route {
    /// Which.
    pub id: AccessRuleId,
    /// What it was compiled to.
    pub plan: Arc<AccessRulePlan>,
}

/// One rule, ready to use.
#[derive(Debug)]
pub struct AccessRulePlan {
    /// `methods`
    pub methods: Box<[Box<str>]>,
    /// `path`
    pub path: PathMatch,
    /// In their order.
    pub strategies: Box<[AccessStrategy]>,
    /// For each strategy that verifies tokens by itself, the rules for their keys; none for others.
    pub keys: Box<[Box<[JwtRulePlan]>]>,
    /// Extension providers that have to be asked, in the order of their names.
    pub authorizers: Box<[Arc<str>]>,
    /// Headers that are set in requests that pass, each once, in the order of their names.
    pub headers: Box<[(Arc<str>, Format)]>,
}

/// A compiled `path`.
#[derive(Debug)]
pub enum PathMatch {
    /// See [`PathRegex`].
    Regex(PathRegex),
    /// See [`PathTemplate`].
    Template(PathTemplate),
}

impl AccessPlan {
    /// What the host of a request has: the host itself, or the longest wildcard that it fits.
    pub fn host(&self, authority: &str) -> Option<&HostPlan> {
        let host = host_of(authority);
        let lower;
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            &lower
        } else {
            host
        };
        if let Some(found) = self.hosts.get(host) {
            return Some(found);
        }
        if self.wildcard_hosts.is_empty() {
            return None;
        }
        let ends = host.match_indices('.').filter(|(at, _)| *at > 0);
        ends.filter_map(|(at, _)| host.get(at..)).find_map(|end| self.wildcard_hosts.get(end))
    }

    /// The token rules of all hosts.
    pub fn token_rules(&self) -> impl Iterator<Item = &JwtRulePlan> {
        let hosts = self.hosts.values().chain(self.wildcard_hosts.values());
        hosts.filter_map(|host| host.jwt.as_deref()).flat_map(|jwt| &jwt.rules)
    }

    /// A rule of the plan.
    pub fn rule(&self, id: AccessRuleId) -> Option<(&ApiRule, &AccessRule)> {
        let api_rule = self.api_rules.get(usize::try_from(id.api_rule).ok()?)?;
        Some((api_rule, api_rule.rules.get(usize::try_from(id.rule).ok()?)?))
    }

    /// The name of a rule, as operators are told: `APIRule/shop/orders rules[1]`.
    pub fn name(&self, id: AccessRuleId) -> String {
        self.rule(id).map_or_else(String::new, |(api_rule, _)| {
            let metadata = &api_rule.metadata;
            format!("APIRule/{}/{} rules[{}]", metadata.namespace, metadata.name, id.rule)
        })
    }

    /// Its name and what it is for: `APIRule/shop/orders rules[1] (/headers, GET)`.
    pub fn describe(&self, id: AccessRuleId) -> String {
        let Some((_, rule)) = self.rule(id) else { return String::new() };
        let path = rule.path.text();
        let methods: Vec<_> = rule.methods.iter().map(|method| method.value.as_str()).collect();
        format!("{} ({path}, {})", self.name(id), methods.join(" "))
    }

    /// What deciding takes in memory.
    pub fn compiled_size(&self) -> CompiledSize {
        let route = |route: &Route| size_of::<AccessRulePlan>() + route.plan.path.heap_size();
        let hosts =
            self.hosts.iter().chain(&self.wildcard_hosts).map(|(name, plan)| {
                name.len() + size_of::<HostPlan>() + size_of_val(&*plan.routes)
            });
        let hosts: usize = hosts.sum();
        CompiledSize {
            rules: self.routes.len(),
            bytes: hosts + self.routes.iter().map(route).sum::<usize>(),
        }
    }
}

impl AccessRulePlan {
    /// Where its strategies look for tokens by themselves.
    pub fn token_places(&self) -> impl Iterator<Item = &TokenFrom> {
        self.strategies.iter().filter_map(|strategy| match strategy {
            AccessStrategy::OathkeeperJwt(jwt) => Some(&jwt.token_from),
            AccessStrategy::Introspection(introspection) => Some(&introspection.token_from),
            AccessStrategy::Allow
            | AccessStrategy::NoAuth
            | AccessStrategy::Noop
            | AccessStrategy::Anonymous
            | AccessStrategy::Unauthorized
            | AccessStrategy::Jwt(_)
            | AccessStrategy::ExtAuth { .. } => None,
        })
    }
}

impl PathMatch {
    /// Whether a path, without its query, fits.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.matches(path),
            Self::Template(template) => template.matches(path),
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Regex(regex) => regex.heap_size(),
            Self::Template(template) => template.heap_size(),
        }
    }
}

/// An authority without its port and without the dot that a whole name may end with: to DNS it is the same
/// name, and must not be a way around the rules of that name.
pub fn host_of(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        // An address of version 6 stands in brackets.
        Some(_) | None => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}
