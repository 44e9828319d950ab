//! Policies to decision trees.
//!
//! Says what each field means; `words` writes it down, `index` files it.

use std::collections::BTreeSet;

use super::index::TreeBuilder;
use super::words::{Patterns, Words, ports};
use crate::matcher::Star;
use crate::model::{
    Action, AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Operation, Rule, RuleId,
    Source, StringList,
};
use crate::plan::index::key::Case;
use crate::plan::rules::{RuleDraft, TestDraft, TooLarge};
use crate::plan::vocabulary::{Attribute, Vocabulary};
use crate::plan::{CustomTree, DecisionTree, Trees, Unknown};

/// What kind of traffic the trees are for. HTTP-only conditions cannot be met by a connection: an
/// ALLOW rule with one is left out, other rules lose the condition, as Istio does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Traffic {
    Http,
    L4,
}

/// All trees of a workload, and the words they are written in.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub(super) vocabulary: Vocabulary,
    pub(super) http: Trees,
    pub(super) l4: Trees,
}

/// Builds all trees of a workload.
///
/// # Errors
/// More of something than 32 bits can count.
pub(super) fn build<'p>(
    policies: &'p [impl AsRef<AuthorizationPolicy>],
) -> Result<Built, TooLarge> {
    let policies: Vec<&'p AuthorizationPolicy> = policies.iter().map(AsRef::as_ref).collect();
    let mut words = Words::default();
    let http = trees(&policies, Traffic::Http, &mut words)?;
    let l4 = trees(&policies, Traffic::L4, &mut words)?;
    Ok(Built { vocabulary: words.finish().ok_or(TooLarge)?, http, l4 })
}

fn trees<'p>(
    policies: &[&'p AuthorizationPolicy],
    traffic: Traffic,
    words: &mut Words<'p>,
) -> Result<Trees, TooLarge> {
    let select = |wanted: &dyn Fn(&Action) -> bool, dry_run: bool| {
        (0u32..)
            .zip(policies)
            .filter(move |(_, p)| wanted(&p.action) && p.dry_run == dry_run)
            .collect::<Vec<_>>()
    };
    let mut tree = |wanted: &dyn Fn(&Action) -> bool, dry_run: bool, unknown: Unknown| {
        let mut tree = TreeBuilder::new(unknown);
        for (index, policy) in select(wanted, dry_run) {
            for (rule, position) in policy.rules.iter().zip(0u32..) {
                let is_allow = matches!(policy.action, Action::Allow);
                if traffic == Traffic::L4 && is_allow && uses_http(rule) {
                    continue;
                }
                let id = RuleId { policy: index, rule: position };
                tree.push(id, Builder { policy, traffic, words }.rule(rule)?)?;
            }
        }
        tree.finish(words.attributes())
    };
    let is_allow = |a: &Action| matches!(a, Action::Allow);
    let is_deny = |a: &Action| matches!(a, Action::Deny);
    let is_audit = |a: &Action| matches!(a, Action::Audit);
    let is_custom = |a: &Action| matches!(a, Action::Custom { .. });
    let has = |wanted: &dyn Fn(&Action) -> bool, dry_run| !select(wanted, dry_run).is_empty();
    Ok(Trees {
        custom: custom_trees(policies, false, &mut tree)?,
        shadow_custom: custom_trees(policies, true, &mut tree)?,
        deny: tree(&is_deny, false, Unknown::Match)?,
        allow: tree(&is_allow, false, Unknown::NoMatch)?,
        has_allow: has(&is_allow, false),
        audit: tree(&is_audit, false, Unknown::Match)?,
        shadow_deny: tree(&is_deny, true, Unknown::Match)?,
        shadow_allow: tree(&is_allow, true, Unknown::NoMatch)?,
        has_audit: has(&is_audit, false),
        has_shadow_deny: has(&is_deny, true),
        has_shadow_allow: has(&is_allow, true),
        has_shadow: has(&is_allow, true) || has(&is_deny, true) || has(&is_custom, true),
    })
}

/// A tree for each provider that policies name, in the order of their names.
fn custom_trees(
    policies: &[&AuthorizationPolicy],
    dry_run: bool,
    tree: &mut impl FnMut(&dyn Fn(&Action) -> bool, bool, Unknown) -> Result<DecisionTree, TooLarge>,
) -> Result<Vec<CustomTree>, TooLarge> {
    let asking = policies.iter().filter(|policy| policy.dry_run == dry_run);
    let providers: BTreeSet<_> = asking.filter_map(|policy| policy.action.provider()).collect();
    let custom = providers.into_iter().map(|provider| {
        let asks = |action: &Action| action.provider() == Some(provider);
        Ok(CustomTree { provider: provider.clone(), tree: tree(&asks, dry_run, Unknown::Match)? })
    });
    custom.collect()
}

struct Builder<'p, 'w> {
    policy: &'p AuthorizationPolicy,
    traffic: Traffic,
    words: &'w mut Words<'p>,
}

type Conjunction = Result<Vec<TestDraft>, TooLarge>;

impl<'p> Builder<'p, '_> {
    fn rule(&mut self, rule: &'p Rule) -> Result<RuleDraft, TooLarge> {
        let mut conditions = Vec::new();
        for condition in &rule.when {
            self.condition(&mut conditions, condition)?;
        }
        Ok(RuleDraft {
            sources: rule.from.iter().map(|s| self.source(s)).collect::<Result<_, _>>()?,
            operations: rule.to.iter().map(|o| self.operation(o)).collect::<Result<_, _>>()?,
            conditions,
        })
    }

    fn source(&mut self, source: &'p Source) -> Conjunction {
        let namespace = &*self.policy.metadata.namespace;
        let mut all = Vec::new();
        self.field(
            &mut all,
            (&source.principals, &source.not_principals),
            &Attribute::Principal,
            Words::principals,
        )?;
        if self.traffic == Traffic::Http {
            self.field(
                &mut all,
                (&source.request_principals, &source.not_request_principals),
                &Attribute::RequestPrincipal,
                Words::request_principals,
            )?;
        }
        self.field(
            &mut all,
            (&source.namespaces, &source.not_namespaces),
            &Attribute::Namespace,
            Words::namespaces,
        )?;
        self.field(
            &mut all,
            (&source.service_accounts, &source.not_service_accounts),
            &Attribute::ServiceAccount,
            |words, list| words.service_accounts(list, namespace),
        )?;
        self.field(
            &mut all,
            (&source.trust_domains, &source.not_trust_domains),
            &Attribute::TrustDomain,
            Words::trust_domains,
        )?;
        self.field(
            &mut all,
            (&source.ip_blocks, &source.not_ip_blocks),
            &Attribute::SourceIp,
            |words, list| words.blocks(list),
        )?;
        self.field(
            &mut all,
            (&source.remote_ip_blocks, &source.not_remote_ip_blocks),
            &Attribute::RemoteIp,
            |words, list| words.blocks(list),
        )?;
        Ok(all)
    }

    fn operation(&mut self, operation: &'p Operation) -> Conjunction {
        let mut all = Vec::new();
        if self.traffic == Traffic::Http {
            self.field(
                &mut all,
                (&operation.hosts, &operation.not_hosts),
                &Attribute::Host,
                |words, list| words.strings(list, Star::Present, Case::Ignored),
            )?;
            self.field(
                &mut all,
                (&operation.methods, &operation.not_methods),
                &Attribute::Method,
                |words, list| words.strings(list, Star::Present, Case::Counts),
            )?;
            for (list, negated) in [(&operation.paths, false), (&operation.not_paths, true)] {
                if !list.is_empty() {
                    let patterns = self.words.paths(list).ok_or(TooLarge)?;
                    match patterns {
                        Some(patterns) => {
                            self.test(&mut all, &Attribute::Path, negated, patterns)?;
                        }
                        None => self.unknowable(&mut all)?,
                    }
                }
            }
        }
        self.field(
            &mut all,
            (&operation.ports, &operation.not_ports),
            &Attribute::DestinationPort,
            |_, list| ports(list),
        )?;
        Ok(all)
    }

    fn condition(
        &mut self,
        all: &mut Vec<TestDraft>,
        condition: &'p Condition,
    ) -> Result<(), TooLarge> {
        let (key, yes, no) = (&condition.key, &condition.values, &condition.not_values);
        if is_http_only(key) && self.traffic == Traffic::L4 {
            return Ok(());
        }
        match (yes, no) {
            (ConditionValues::IpBlocks(yes), ConditionValues::IpBlocks(no)) => {
                let attribute = if *key == ConditionKey::RemoteIp {
                    Attribute::RemoteIp
                } else if *key == ConditionKey::DestinationIp {
                    Attribute::DestinationIp
                } else {
                    Attribute::SourceIp
                };
                self.field(all, (yes, no), &attribute, |words, list| words.blocks(list))
            }
            (ConditionValues::Ports(yes), ConditionValues::Ports(no)) => {
                self.field(all, (yes, no), &Attribute::DestinationPort, |_, list| ports(list))
            }
            (ConditionValues::Patterns(yes), ConditionValues::Patterns(no)) => {
                self.pattern_condition(all, key, (yes, no))
            }
            // The decoder types both lists by the key.
            (_, _) => self.unknowable(all),
        }
    }

    fn pattern_condition(
        &mut self,
        all: &mut Vec<TestDraft>,
        key: &'p ConditionKey,
        lists: (&'p StringList, &'p StringList),
    ) -> Result<(), TooLarge> {
        let namespace = &*self.policy.metadata.namespace;
        let mut claim = |path: Vec<Box<str>>| {
            self.field(all, lists, &Attribute::Claim(path.into()), |words, list| {
                words.strings(list, Star::OneOrMore, Case::Counts)
            })
        };
        match key {
            ConditionKey::RequestAudiences => claim(vec!["aud".into()]),
            ConditionKey::RequestPresenter => claim(vec!["azp".into()]),
            ConditionKey::RequestClaims(path) => {
                claim(path.iter().map(|name| name.as_str().into()).collect())
            }
            ConditionKey::RequestHeader(name) => {
                self.field(all, lists, &Attribute::Header(name.as_str().into()), |words, list| {
                    words.strings(list, Star::Present, Case::Counts)
                })
            }
            ConditionKey::SourceNamespace => {
                self.field(all, lists, &Attribute::Namespace, Words::namespaces)
            }
            ConditionKey::SourceServiceAccount => {
                self.field(all, lists, &Attribute::ServiceAccount, |words, list| {
                    words.service_accounts(list, namespace)
                })
            }
            ConditionKey::SourcePrincipal => {
                self.field(all, lists, &Attribute::Principal, Words::principals)
            }
            ConditionKey::SourceTrustDomain => {
                self.field(all, lists, &Attribute::TrustDomain, Words::trust_domains)
            }
            ConditionKey::RequestPrincipal => {
                self.field(all, lists, &Attribute::RequestPrincipal, Words::request_principals)
            }
            ConditionKey::ConnectionSni => {
                self.field(all, lists, &Attribute::Sni, |words, list| {
                    words.strings(list, Star::OneOrMore, Case::Counts)
                })
            }
            ConditionKey::EnvoyFilterMetadata { filter, key } => {
                let (filter, key) = (filter.as_str().into(), key.as_str().into());
                self.field(all, lists, &Attribute::Metadata { filter, key }, Words::metadata)
            }
            // Typed as addresses and ports by the decoder.
            ConditionKey::SourceIp
            | ConditionKey::RemoteIp
            | ConditionKey::DestinationIp
            | ConditionKey::DestinationPort => self.unknowable(all),
        }
    }

    /// Adds the positive and the negated half of a field, each where it has entries.
    fn field<T>(
        &mut self,
        all: &mut Vec<TestDraft>,
        (yes, no): (&'p Vec<T>, &'p Vec<T>),
        attribute: &Attribute,
        read: impl Fn(&mut Words<'p>, &'p Vec<T>) -> Option<Patterns>,
    ) -> Result<(), TooLarge> {
        for (list, negated) in [(yes, false), (no, true)] {
            if !list.is_empty() {
                let patterns = read(self.words, list).ok_or(TooLarge)?;
                self.test(all, attribute, negated, patterns)?;
            }
        }
        Ok(())
    }

    fn test(
        &mut self,
        all: &mut Vec<TestDraft>,
        attribute: &Attribute,
        negated: bool,
        patterns: Patterns,
    ) -> Result<(), TooLarge> {
        let attribute = self.words.attribute(attribute).ok_or(TooLarge)?;
        let Patterns { words, keys } = patterns;
        all.push(TestDraft { attribute, negated, set: None, patterns: words, keys });
        Ok(())
    }

    fn unknowable(&mut self, all: &mut Vec<TestDraft>) -> Result<(), TooLarge> {
        self.test(all, &Attribute::Unknowable, false, Patterns::default())
    }
}

/// Whether a rule has a field or a condition that no connection can meet.
fn uses_http(rule: &Rule) -> bool {
    let any = |lists: &[&StringList]| lists.iter().any(|list| !list.is_empty());
    let source = |of: &Source| any(&[&of.request_principals, &of.not_request_principals]);
    let operation = |of: &Operation| {
        any(&[&of.hosts, &of.not_hosts, &of.methods, &of.not_methods, &of.paths, &of.not_paths])
    };
    let condition = |of: &Condition| {
        is_http_only(&of.key) && !(of.values.is_empty() && of.not_values.is_empty())
    };
    rule.from.iter().any(source) || rule.to.iter().any(operation) || rule.when.iter().any(condition)
}

fn is_http_only(key: &ConditionKey) -> bool {
    match key {
        ConditionKey::RequestHeader(_)
        | ConditionKey::RequestPrincipal
        | ConditionKey::RequestAudiences
        | ConditionKey::RequestPresenter
        | ConditionKey::RequestClaims(_) => true,
        ConditionKey::SourceIp
        | ConditionKey::RemoteIp
        | ConditionKey::SourceNamespace
        | ConditionKey::SourceServiceAccount
        | ConditionKey::SourcePrincipal
        | ConditionKey::SourceTrustDomain
        | ConditionKey::DestinationIp
        | ConditionKey::DestinationPort
        | ConditionKey::ConnectionSni
        | ConditionKey::EnvoyFilterMetadata { .. } => false,
    }
}
