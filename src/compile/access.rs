//! APIRules to plans: which of their rules are a workload's, and what they are compiled to.
//!
//! Says nothing of which rule a request has: that is `decide`'s job.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::authentication;
use crate::matcher::PathTemplate;
use crate::model::{
    AccessPath, AccessRule, AccessRuleId, AccessStrategy, ApiRule, JwtAccess, JwtAuthentication,
    JwtRule, OathkeeperJwt, ResourceId, ServiceReference,
};
use crate::mutation::Format;
use crate::path_regex::PathRegex;
use crate::plan::{
    AccessPlan, AccessRulePlan, HostPlan, JwtPlan, JwtRulePlan, KeyReference, KeySourceId,
    PathMatch, Route, TokenPlaces,
};

/// Whose rules are compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    /// No Services are known: all rules, for requests with their hosts.
    Hosts,
    /// Those that lead to one of these Services of a namespace.
    Services {
        /// The namespace.
        namespace: String,
        /// The names.
        names: BTreeSet<String>,
    },
}

impl Scope {
    fn has(&self, service: &ServiceReference) -> bool {
        match self {
            Self::Hosts => true,
            Self::Services { namespace, names } => {
                *namespace == service.namespace && names.contains(&service.name)
            }
        }
    }
}

/// What APIRules come to for workloads of one scope.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) plan: Arc<AccessPlan>,
    /// The workload's token rules, theirs among them.
    pub(super) jwt: Arc<JwtPlan>,
    /// Where their keys come from, and how long that may take.
    pub(super) key_sources: Arc<[(KeySourceId, Duration)]>,
}

/// The rules of one APIRule; `None` where one of them cannot be compiled.
pub(super) type Forms = Option<Arc<[Arc<AccessRulePlan>]>>;

/// An APIRule with its compiled rules.
pub(super) type Compiled = (Arc<ApiRule>, Arc<[Arc<AccessRulePlan>]>);

/// Compiles the rules of an APIRule.
pub(super) fn forms(api_rule: &ApiRule) -> Forms {
    // Admission refuses what cannot be compiled; unchecked, it closes.
    api_rule.rules.iter().map(|rule| form(rule).map(Arc::new)).collect()
}

/// Puts the compiled rules of APIRules together, which are in their order.
///
/// `refused` are hosts that only an APIRule has that never was accepted, unless one of these has it, too.
/// `tokens` are the rules of RequestAuthentications that hold for the workload.
pub(super) fn access(
    api_rules: &[Compiled],
    refused: &[(String, ResourceId)],
    scope: &Scope,
    tokens: &[&JwtRule],
) -> Access {
    let is_closed = matches!(scope, Scope::Services { .. });
    let refused = refused.to_vec();
    let mut plan = AccessPlan { is_closed, refused, ..AccessPlan::default() };
    // Of each route, in the order of the routes.
    let mut token_rules: Vec<Vec<JwtRule>> = Vec::new();
    let mut by_host: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let mut key_sources = Vec::new();
    for (number, (api_rule, forms)) in (0u32..).zip(api_rules) {
        plan.api_rules.push(api_rule.clone());
        for ((rule, form), position) in api_rule.rules.iter().zip(&**forms).zip(0u32..) {
            if !scope.has(&rule.service) {
                continue;
            }
            let Ok(place) = u32::try_from(plan.routes.len()) else { continue };
            let id = AccessRuleId { api_rule: number, rule: position };
            plan.routes.push(Route { id, plan: form.clone() });
            token_rules.push(jwt_rules(rule));
            let own = form.keys.iter().flat_map(|keys| &**keys);
            key_sources.extend(own.filter_map(|rule| match &rule.keys {
                KeyReference::Remote(id) => Some((id.clone(), JwtRule::DEFAULT_TIMEOUT)),
                KeyReference::Inline(_) => None,
            }));
            let hosts: BTreeSet<&str> =
                api_rule.hosts.iter().map(|host| host.value.as_str()).collect();
            for host in hosts {
                by_host.entry(host).or_default().push(place);
            }
        }
    }

    let of_workload = combined(tokens, token_rules.iter().flatten());
    let remote = authentication::sorted(&of_workload);
    let all = authentication::jwt_plan(&of_workload);
    key_sources.extend(remote.into_iter().zip(&all.rules).filter_map(
        |(rule, plan)| match &plan.keys {
            KeyReference::Remote(id) => Some((id.clone(), rule.timeout)),
            KeyReference::Inline(_) => None,
        },
    ));
    for (host, _) in &plan.refused {
        // An accepted one keeps its host: whoever writes another is no danger to it.
        by_host.entry(host).or_default();
    }
    // The most specific host counts alone, as it is the one that Envoy routes by.
    for (host, routes) in by_host {
        // By Service their tokens are looked at for every request of the workload, as they are where
        // Kyma makes RequestAuthentications of them. A host has nothing to say about others.
        let own: Vec<&JwtRule> = routes
            .iter()
            .filter_map(|place| token_rules.get(usize::try_from(*place).ok()?))
            .flatten()
            .collect();
        let jwt = (!is_closed && !own.is_empty())
            .then(|| Arc::new(authentication::jwt_plan(&combined(tokens, own))));
        let found = HostPlan { is_refused: routes.is_empty(), routes: routes.into(), jwt };
        match host.strip_prefix('*') {
            Some(end) => plan.wildcard_hosts.insert(end.into(), found),
            None => plan.hosts.insert(host.into(), found),
        };
    }
    let jwt = if is_closed { all } else { authentication::jwt_plan(tokens) };
    Access { plan: Arc::new(plan), jwt: Arc::new(jwt), key_sources: key_sources.into() }
}

/// Without repetitions: the rules of several APIRules are often the same.
fn combined<'r>(
    tokens: &[&'r JwtRule],
    more: impl IntoIterator<Item = &'r JwtRule>,
) -> Vec<&'r JwtRule> {
    let mut all = tokens.to_vec();
    let mut by_issuer: HashMap<&str, Vec<&JwtRule>> = HashMap::new();
    for rule in more {
        let known = by_issuer.entry(&rule.issuer).or_default();
        if !known.iter().any(|known| is_same(known, rule)) {
            known.push(rule);
            all.push(rule);
        }
    }
    all
}

fn is_same(a: &JwtRule, b: &JwtRule) -> bool {
    JwtRule { position: b.position, ..a.clone() } == *b
}

/// What Kyma makes a RequestAuthentication of.
fn jwt_rules(rule: &AccessRule) -> Vec<JwtRule> {
    let accesses = rule.strategies.iter().filter_map(AccessStrategy::jwt_access);
    accesses.flat_map(|JwtAccess { authentications, .. }| authentications).map(jwt_rule).collect()
}

fn jwt_rule(authentication: &JwtAuthentication) -> JwtRule {
    let JwtAuthentication { issuer, jwks_uri, from_headers, from_params, position } =
        authentication;
    JwtRule {
        issuer: issuer.clone(),
        audiences: Vec::new(),
        jwks: None,
        jwks_uri: Some(jwks_uri.clone()),
        from_headers: from_headers.clone(),
        from_params: from_params.clone(),
        from_cookies: Vec::new(),
        output_payload_to_header: None,
        output_claim_to_headers: Vec::new(),
        forward_original_token: true,
        timeout: JwtRule::DEFAULT_TIMEOUT,
        space_delimited_claims: Vec::new(),
        position: *position,
    }
}

fn form(rule: &AccessRule) -> Option<AccessRulePlan> {
    let path = match &rule.path {
        AccessPath::Regex(text) => PathMatch::Regex(PathRegex::parse(text).ok()?),
        AccessPath::Template(text) => PathMatch::Template(PathTemplate::parse(text)?),
    };
    let mut headers = BTreeMap::new();
    for (name, value) in &rule.mutations.headers {
        headers.insert(name.clone(), Format::parse(value).ok()?);
    }
    if !rule.mutations.cookies.is_empty() {
        let cookies = rule.mutations.cookies.iter();
        let cookies: Vec<_> = cookies.map(|(name, v)| format!("{name}={}", v.value)).collect();
        headers.insert("cookie".to_owned(), Format::parse_cookies(&cookies.join("; ")).ok()?);
    }
    let keys = rule.strategies.iter().map(|strategy| match strategy {
        AccessStrategy::OathkeeperJwt(config) => own_keys(config),
        AccessStrategy::Allow
        | AccessStrategy::NoAuth
        | AccessStrategy::Noop
        | AccessStrategy::Anonymous
        | AccessStrategy::Unauthorized
        | AccessStrategy::Jwt(_)
        | AccessStrategy::Introspection(_)
        | AccessStrategy::ExtAuth { .. } => [].into(),
    });
    Some(AccessRulePlan {
        methods: rule.methods.iter().map(|method| method.value.as_str().into()).collect(),
        path,
        strategies: rule.strategies.clone().into(),
        authorizers: authorizers(rule),
        keys: keys.collect(),
        headers: headers.into_iter().map(|(name, format)| (name.into(), format)).collect(),
    })
}

fn authorizers(rule: &AccessRule) -> Box<[Arc<str>]> {
    let named = rule.strategies.iter().filter_map(|strategy| match strategy {
        AccessStrategy::ExtAuth { authorizers, .. } => Some(authorizers),
        AccessStrategy::Allow
        | AccessStrategy::NoAuth
        | AccessStrategy::Noop
        | AccessStrategy::Anonymous
        | AccessStrategy::Unauthorized
        | AccessStrategy::Jwt(_)
        | AccessStrategy::OathkeeperJwt(_)
        | AccessStrategy::Introspection(_) => None,
    });
    let names: BTreeSet<&str> = named.flatten().map(|name| name.value.as_str()).collect();
    names.into_iter().map(Into::into).collect()
}

/// Who issued a token is found out behind its signature, so any issuer's keys are these.
fn own_keys(config: &OathkeeperJwt) -> Box<[JwtRulePlan]> {
    let rule = |url: &String| JwtRulePlan {
        issuer: "".into(),
        audiences: [].into(),
        keys: KeyReference::Remote(KeySourceId {
            issuer: "".into(),
            uri: Some(url.as_str().into()),
        }),
        places: TokenPlaces::default(),
        forward: true,
        payload_header: None,
        claim_headers: [].into(),
        space_delimited: [].into(),
    };
    config.jwks_urls.iter().map(rule).collect()
}
