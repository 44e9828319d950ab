//! The policies of a set with their meaning and scope, in the order that rules are tried in.

use std::sync::Arc;

use crate::compile::{expand_trust_domains, precedence};
use crate::model::{
    Action, ApiRule, AuthorizationPolicy, JwtRule, Kind, Metadata, PeerAuthentication, Position,
    Resource, ResourceId, Service,
};

use super::meaning::Meaning;
use super::scope::Scope;
use super::{Finding, Subject};
use crate::diagnostic::Code;

/// A set of policies, ready to be looked at.
#[derive(Debug)]
pub(super) struct Policies<'a> {
    pub(super) authorization: Vec<Policy<'a>>,
    /// What verifies tokens.
    pub(super) tokens: Vec<Tokens<'a>>,
    /// Oldest first, root namespace first.
    pub(super) peers: Vec<Peers<'a>>,
    /// In their order.
    pub(super) api_rules: Vec<&'a ApiRule>,
    /// Those that are known.
    pub(super) services: &'a [Service],
    /// Whether nothing is missing from the set.
    pub(super) complete: bool,
}

/// An AuthorizationPolicy.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    /// As written.
    pub(super) policy: &'a AuthorizationPolicy,
    pub(super) scope: Scope,
    /// Of each rule; `None` where it cannot be told.
    pub(super) meanings: Vec<Option<Meaning>>,
}

/// A RequestAuthentication.
#[derive(Debug)]
pub(super) struct Tokens<'a> {
    pub(super) scope: Scope,
    pub(super) rules: &'a [JwtRule],
}

/// A PeerAuthentication.
#[derive(Debug)]
pub(super) struct Peers<'a> {
    pub(super) scope: Scope,
    pub(super) policy: &'a PeerAuthentication,
}

impl<'a> Policies<'a> {
    pub(super) fn new(subject: Subject<'a>) -> Self {
        let Subject { resources, mesh, services, complete } = subject;
        let mut ordered: Vec<&Resource> = resources.iter().map(AsRef::as_ref).collect();
        let is_elsewhere = |of: &Metadata| *of.namespace != *mesh.root_namespace;
        ordered.sort_by(|a, b| {
            let (a, b) = (a.metadata(), b.metadata());
            (is_elsewhere(a), precedence(a)).cmp(&(is_elsewhere(b), precedence(b)))
        });
        let mut api_rules: Vec<&ApiRule> = Vec::new();
        api_rules.extend(resources.iter().filter_map(|resource| match &**resource {
            Resource::ApiRule(api_rule) => Some(&**api_rule),
            Resource::AuthorizationPolicy(_)
            | Resource::RequestAuthentication(_)
            | Resource::PeerAuthentication(_) => None,
        }));
        api_rules.sort_by(|a, b| precedence(&a.metadata).cmp(&precedence(&b.metadata)));
        let mut all = Self {
            authorization: Vec::new(),
            tokens: Vec::new(),
            peers: Vec::new(),
            api_rules,
            services,
            complete,
        };
        for resource in ordered {
            let Some(attachment) = resource.attachment() else { continue };
            let scope = Scope::of(resource.metadata(), attachment, mesh);
            match resource {
                Resource::AuthorizationPolicy(policy) => {
                    let expanded: Arc<AuthorizationPolicy> = expand_trust_domains(policy, mesh);
                    let meanings =
                        expanded.rules.iter().map(|rule| Meaning::of(&expanded, rule)).collect();
                    all.authorization.push(Policy { policy, scope, meanings });
                }
                Resource::RequestAuthentication(tokens) => {
                    all.tokens.push(Tokens { scope, rules: &tokens.jwt_rules });
                }
                Resource::PeerAuthentication(policy) => all.peers.push(Peers { scope, policy }),
                Resource::ApiRule(_) => {}
            }
        }
        all
    }
}

impl Policy<'_> {
    pub(super) fn id(&self) -> ResourceId {
        let Metadata { namespace, name, .. } = &self.policy.metadata;
        ResourceId {
            kind: Kind::AuthorizationPolicy,
            namespace: namespace.clone(),
            name: name.clone(),
        }
    }

    pub(super) fn is_allow(&self) -> bool {
        matches!(self.policy.action, Action::Allow)
    }

    pub(super) fn is_deny(&self) -> bool {
        matches!(self.policy.action, Action::Deny)
    }

    /// Rules whose meaning is known, by their place in the policy.
    pub(super) fn known(&self) -> impl Iterator<Item = (usize, &Meaning)> {
        let numbered = self.meanings.iter().enumerate();
        numbered.filter_map(|(at, meaning)| Some((at, meaning.as_ref()?)))
    }

    pub(super) fn rule_position(&self, at: usize) -> Position {
        self.policy.rules.get(at).map(|rule| rule.position).unwrap_or_default()
    }

    /// A warning about one of its rules.
    pub(super) fn warning(
        &self,
        code: Code,
        rule: usize,
        position: Position,
        message: impl Into<String>,
    ) -> Finding {
        let position = if position.line == 0 { self.rule_position(rule) } else { position };
        Finding::warning(code, (self.id(), &self.policy.metadata), position, message)
            .path(format!("spec.rules[{rule}]"))
    }

    /// A warning about the whole policy.
    pub(super) fn policy_warning(&self, code: Code, message: impl Into<String>) -> Finding {
        let metadata = &self.policy.metadata;
        Finding::warning(code, (self.id(), metadata), metadata.position, message)
    }

    /// How messages name a rule: `policy rules[0]`, with its place.
    pub(super) fn name_of_rule(&self, rule: usize) -> String {
        let Metadata { namespace, name, file, .. } = &self.policy.metadata;
        let position = self.rule_position(rule);
        let place = match file {
            Some(file) if position.line > 0 => format!(" ({file}:{})", position.line),
            Some(_) | None => String::new(),
        };
        format!("rules[{rule}] of `{namespace}/{name}`{place}")
    }
}
