//! What several documents together say: hosts, the form of `jwt`, and Services.
//!
//! What one document says is refused by its decoder. Of those that cannot be together, the oldest
//! stays, whatever its place; of several that are equally old, none does.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::super::{
    Decoded, codes,
    problem::{Problem, Report, Spot},
    text::Text,
};
use super::{ApiRuleOptions, JwtHandler, rules::form_of, rules::mixed_forms};
use crate::model::{
    AccessStrategy, ApiRule, ApiRuleVersion, Metadata, Position, Resource, Service,
};

/// What some documents claim that others may claim too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    hosts: BTreeSet<String>,
    forms: Vec<JwtHandler>,
    /// Namespace and name of Services behind rules with `jwt`.
    needed: BTreeSet<(String, String)>,
    /// Namespace and name of Services without labels in their selector.
    bare: BTreeSet<(String, String)>,
}

impl Claims {
    /// Whether what several claim has to be looked at together.
    pub fn meet<'c>(all: impl Iterator<Item = &'c Self> + Clone) -> bool {
        let mut hosts = BTreeSet::new();
        let mut forms = all.clone().flat_map(|claims| &claims.forms);
        let form = forms.next();
        let same_form = forms.all(|other| Some(other) == form);
        let apart = all.clone().flat_map(|claims| &claims.hosts).all(|host| hosts.insert(host));
        let bare: BTreeSet<_> = all.clone().flat_map(|claims| &claims.bare).collect();
        let mut needed = all.flat_map(|claims| &claims.needed);
        !(same_form && apart) || (!bare.is_empty() && needed.any(|service| bare.contains(service)))
    }

    fn of<'d>(rules: impl Iterator<Item = &'d ApiRule>, services: &[Service]) -> Self {
        let mut claims = Self::default();
        for rule in rules {
            claims.hosts.extend(rule.hosts.iter().map(|host| host.value.clone()));
            claims.forms.extend(form(rule));
            for rule in needing(rule) {
                let service = &rule.1.service;
                claims.needed.insert((service.namespace.clone(), service.name.clone()));
            }
        }
        let bare = services.iter().filter(|service| service.selector.is_empty());
        claims.bare.extend(bare.map(|it| (it.namespace.clone(), it.name.clone())));
        claims
    }
}

/// The form of `jwt` that Kyma's setting is about: v2 has but one.
fn form(rule: &ApiRule) -> Option<JwtHandler> {
    match rule.version {
        ApiRuleVersion::V1alpha1 | ApiRuleVersion::V1beta1 => rule.rules.iter().find_map(form_of),
        ApiRuleVersion::V2alpha1 | ApiRuleVersion::V2 => None,
    }
}

/// The rules whose Services must select something.
fn needing(rule: &ApiRule) -> impl Iterator<Item = (usize, &crate::model::AccessRule)> {
    rule.rules.iter().enumerate().filter(|(_, rule)| {
        rule.strategies.iter().any(|strategy| matches!(strategy, AccessStrategy::Jwt(_)))
    })
}

/// An APIRule that nothing is wrong with so far.
#[derive(Clone)]
struct Candidate {
    document: usize,
    rule: Arc<ApiRule>,
}

impl Candidate {
    /// As old as the API says it is; one that nothing is known of counts as oldest, as in Go.
    fn age(&self) -> Option<i64> {
        self.rule.metadata.creation_timestamp
    }

    fn name(&self) -> String {
        let Metadata { namespace, name, .. } = &self.rule.metadata;
        format!("{namespace}/{name}")
    }
}

/// Refuses what cannot be together.
pub(in crate::manifest) fn check(
    decoded: &mut Decoded,
    (texts, origins): (&[Text<'_>], &[usize]),
    options: &ApiRuleOptions,
) {
    let candidates: Vec<Candidate> = decoded
        .documents
        .iter()
        .enumerate()
        .filter_map(|(document, read)| match read.accepted()? {
            Resource::ApiRule(rule) => Some(Candidate { document, rule: rule.clone() }),
            Resource::AuthorizationPolicy(_)
            | Resource::RequestAuthentication(_)
            | Resource::PeerAuthentication(_) => None,
        })
        .collect();
    decoded.claims = Claims::of(candidates.iter().map(|it| &*it.rule), &decoded.services);
    if candidates.is_empty() {
        return;
    }
    let mut found = occupied(&candidates);
    if options.jwt_handler.is_none() {
        found.extend(forms(&candidates));
    }
    found.extend(bare_services(&candidates, &decoded.services));
    for (at, problem) in found {
        let Some(document) = decoded.documents.get_mut(at) else { continue };
        document.admitted = false;
        let id = document.id.clone();
        let Some(text) = origins.get(at).and_then(|origin| texts.get(*origin)) else { continue };
        let mut report = Report::new(text);
        report.resource = id;
        report.add(problem);
        decoded.diagnostics.extend(report.diagnostics);
    }
}

/// Who stays: the one that is older than all others.
fn oldest<'c>(all: &[&'c Candidate]) -> Option<&'c Candidate> {
    let age = all.iter().map(|it| it.age()).min()?;
    let mut old = all.iter().filter(|it| it.age() == age);
    let first = old.next().copied();
    first.filter(|_| old.next().is_none())
}

fn occupied(candidates: &[Candidate]) -> Vec<(usize, Problem)> {
    let mut by_host: HashMap<&str, Vec<&Candidate>> = HashMap::new();
    for candidate in candidates {
        for host in &candidate.rule.hosts {
            by_host.entry(&host.value).or_default().push(candidate);
        }
    }
    let mut found = Vec::new();
    for (host, mut all) in by_host.into_iter().filter(|(_, all)| all.len() > 1) {
        all.sort_by_key(|it| it.name());
        let stays = oldest(&all);
        for candidate in &all {
            if stays.is_some_and(|stays| stays.document == candidate.document) {
                continue;
            }
            let other =
                stays.or_else(|| all.iter().find(|it| it.document != candidate.document).copied());
            let other = other.map(Candidate::name).unwrap_or_default();
            let help = match stays {
                Some(_) => format!("the older APIRule `{other}` has it: take another host"),
                None => format!(
                    "`{other}` has it too, and none of them is older: put the rules into one APIRule"
                ),
            };
            let rule = &candidate.rule;
            let place = rule.hosts.iter().find(|it| it.value == host);
            let path = match rule.version {
                ApiRuleVersion::V1alpha1 => "spec.service.host",
                ApiRuleVersion::V1beta1 => "spec.host",
                ApiRuleVersion::V2alpha1 | ApiRuleVersion::V2 => "spec.hosts[0]",
            };
            let position = place.map(|it| it.position).unwrap_or_default();
            let message = "This host is occupied by another Virtual Service";
            let problem = Problem::error(codes::HOST_OCCUPIED, spot(position, path), message);
            found.push((candidate.document, problem.help(help)));
        }
    }
    found
}

fn forms(candidates: &[Candidate]) -> Vec<(usize, Problem)> {
    let mut by_form: BTreeMap<bool, Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        if let Some(form) = form(&candidate.rule) {
            by_form.entry(form == JwtHandler::Istio).or_default().push(candidate);
        }
    }
    let (Some(ory), Some(istio)) = (by_form.get(&false), by_form.get(&true)) else {
        return Vec::new();
    };
    let age = |all: &[&Candidate]| all.iter().map(|it| it.age()).min();
    let stays = match age(ory).cmp(&age(istio)) {
        std::cmp::Ordering::Less => Some(JwtHandler::Ory),
        std::cmp::Ordering::Greater => Some(JwtHandler::Istio),
        std::cmp::Ordering::Equal => None,
    };
    let each = |form: JwtHandler, all: &[&Candidate]| -> Vec<(usize, Problem)> {
        if stays == Some(form) {
            return Vec::new();
        }
        all.iter()
            .map(|candidate| {
                let rules = candidate.rule.rules.iter().enumerate();
                let (index, position) = rules
                    .filter(|(_, rule)| form_of(rule).is_some())
                    .map(|(index, rule)| (index, rule.position))
                    .next()
                    .unwrap_or_default();
                let place = spot(position, &format!("spec.rules[{index}].accessStrategies"));
                (candidate.document, mixed_forms(form, place))
            })
            .collect()
    };
    let mut found = each(JwtHandler::Ory, ory);
    found.extend(each(JwtHandler::Istio, istio));
    found
}

fn bare_services(candidates: &[Candidate], services: &[Service]) -> Vec<(usize, Problem)> {
    let bare: BTreeSet<(&str, &str)> = services
        .iter()
        .filter(|service| service.selector.is_empty())
        .map(|service| (&*service.namespace, &*service.name))
        .collect();
    let mut found = Vec::new();
    for candidate in candidates.iter().filter(|_| !bare.is_empty()) {
        for (index, rule) in needing(&candidate.rule) {
            if !bare.contains(&(&*rule.service.namespace, &*rule.service.name)) {
                continue;
            }
            let place = spot(rule.position, &format!("spec.rules[{index}].service"));
            let message =
                "Service cannot have empty label selectors when the API Rule strategy is JWT";
            let problem = Problem::error(codes::SERVICE_WITHOUT_SELECTOR, place, message);
            found.push((
                candidate.document,
                problem.help("give the Service a selector, or name another one"),
            ));
        }
    }
    found
}

fn spot(position: Position, path: &str) -> Spot {
    Spot { position, width: 1, path: path.to_owned() }
}
