//! Plans without what has no meaning: names, places, order, repetition.
//!
//! Two plans of one canonical form decide every request alike. Two that decide alike may differ in
//! it: no rule is held against another here.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::access::CanonicalAccess;
use crate::authn::Signer;
use crate::compile::normalize_audience;
use crate::model::{
    Action, AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Located, MutualTlsMode,
    Operation, Rule, Source, StringList,
};
use crate::plan::{JwtRulePlan, PeerPlan, TokenPlaces, WorkloadPlan};

/// One field with its entries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Field {
    /// As conditions name it, so that a field and the condition that says the same are one.
    name: String,
    negated: bool,
    entries: BTreeSet<String>,
}

type Conjunction = BTreeSet<Field>;

/// One rule, whatever its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CanonicalRule {
    from: BTreeSet<Conjunction>,
    to: BTreeSet<Conjunction>,
    when: Conjunction,
}

impl CanonicalRule {
    pub(super) fn new(policy: &AuthorizationPolicy, rule: &Rule) -> Self {
        let namespace = &*policy.metadata.namespace;
        let mut from: BTreeSet<_> = rule.from.iter().map(|it| source(it, namespace)).collect();
        let mut to: BTreeSet<_> = rule.to.iter().map(operation).collect();
        let mut when: Conjunction =
            rule.when.iter().flat_map(|it| condition(it, namespace)).collect();
        // One alternative is no choice; an empty one takes everything.
        for list in [&mut from, &mut to] {
            if list.iter().any(Conjunction::is_empty) {
                list.clear();
            } else if list.len() == 1 {
                when.extend(list.pop_first().into_iter().flatten());
            }
        }
        Self { from, to, when }
    }
}

fn field(name: &str, negated: bool, entries: impl Iterator<Item = String>) -> Option<Field> {
    let entries: BTreeSet<String> = entries.collect();
    (!entries.is_empty()).then(|| Field { name: name.to_owned(), negated, entries })
}

fn texts<T: ToString>(list: &[Located<T>]) -> impl Iterator<Item = String> {
    list.iter().map(|entry| entry.value.to_string())
}

/// Bare names of service accounts are of the policy's namespace.
fn accounts(list: &StringList, namespace: &str) -> impl Iterator<Item = String> {
    list.iter().map(move |entry| match entry.contains('/') {
        true => entry.value.clone(),
        false => format!("{namespace}/{}", entry.value),
    })
}

fn source(it: &Source, namespace: &str) -> Conjunction {
    [
        field("source.principal", false, texts(&it.principals)),
        field("source.principal", true, texts(&it.not_principals)),
        field("request.auth.principal", false, texts(&it.request_principals)),
        field("request.auth.principal", true, texts(&it.not_request_principals)),
        field("source.namespace", false, texts(&it.namespaces)),
        field("source.namespace", true, texts(&it.not_namespaces)),
        field("source.serviceAccount", false, accounts(&it.service_accounts, namespace)),
        field("source.serviceAccount", true, accounts(&it.not_service_accounts, namespace)),
        field("source.trustDomain", false, texts(&it.trust_domains)),
        field("source.trustDomain", true, texts(&it.not_trust_domains)),
        field("source.ip", false, texts(&it.ip_blocks)),
        field("source.ip", true, texts(&it.not_ip_blocks)),
        field("remote.ip", false, texts(&it.remote_ip_blocks)),
        field("remote.ip", true, texts(&it.not_remote_ip_blocks)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn operation(it: &Operation) -> Conjunction {
    let hosts = |list: &StringList| {
        let lower: Vec<_> = list.iter().map(|host| host.to_ascii_lowercase()).collect();
        lower.into_iter()
    };
    [
        field("hosts", false, hosts(&it.hosts)),
        field("hosts", true, hosts(&it.not_hosts)),
        field("methods", false, texts(&it.methods)),
        field("methods", true, texts(&it.not_methods)),
        field("paths", false, texts(&it.paths)),
        field("paths", true, texts(&it.not_paths)),
        field("destination.port", false, texts(&it.ports)),
        field("destination.port", true, texts(&it.not_ports)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn condition(it: &Condition, namespace: &str) -> Vec<Field> {
    let name = match &it.key {
        ConditionKey::SourceIp => "source.ip".to_owned(),
        ConditionKey::RemoteIp => "remote.ip".to_owned(),
        ConditionKey::SourceNamespace => "source.namespace".to_owned(),
        ConditionKey::SourceServiceAccount => "source.serviceAccount".to_owned(),
        ConditionKey::SourcePrincipal => "source.principal".to_owned(),
        ConditionKey::SourceTrustDomain => "source.trustDomain".to_owned(),
        ConditionKey::RequestPrincipal => "request.auth.principal".to_owned(),
        ConditionKey::DestinationPort => "destination.port".to_owned(),
        // What names these is the key whole.
        ConditionKey::RequestHeader(_)
        | ConditionKey::RequestAudiences
        | ConditionKey::RequestPresenter
        | ConditionKey::RequestClaims(_)
        | ConditionKey::DestinationIp
        | ConditionKey::ConnectionSni
        | ConditionKey::EnvoyFilterMetadata { .. } => format!("{:?}", it.key),
    };
    let is_account = it.key == ConditionKey::SourceServiceAccount;
    let half = |values: &ConditionValues, negated| match values {
        ConditionValues::IpBlocks(list) => field(&name, negated, texts(list)),
        ConditionValues::Ports(list) => field(&name, negated, texts(list)),
        ConditionValues::Patterns(list) if is_account => {
            field(&name, negated, accounts(list, namespace))
        }
        ConditionValues::Patterns(list) => field(&name, negated, texts(list)),
    };
    [half(&it.values, false), half(&it.not_values, true)].into_iter().flatten().collect()
}

/// What a policy does with what matches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Allow,
    Deny,
    Audit,
    Custom(Arc<str>),
}

/// A token rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CanonicalTokenRule {
    issuer: String,
    audiences: BTreeSet<String>,
    signer: Signer,
    places: TokenPlaces,
    forward: bool,
    payload_header: Option<Arc<str>>,
    claim_headers: Vec<(String, String)>,
    space_delimited: BTreeSet<String>,
}

impl CanonicalTokenRule {
    pub(super) fn new(rule: &JwtRulePlan) -> Self {
        Self {
            issuer: rule.issuer.to_string(),
            audiences: rule.audiences.iter().map(|it| normalize_audience(it).to_owned()).collect(),
            signer: Signer::of(rule),
            places: rule.places.clone(),
            forward: rule.forward,
            payload_header: rule.payload_header.clone(),
            claim_headers: rule
                .claim_headers
                .iter()
                .map(|it| (it.header.to_string(), it.claim.join(".")))
                .collect(),
            space_delimited: rule.space_delimited.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What a plan says, whatever it is called.
#[derive(Debug, Clone, PartialEq)]
pub struct CanonicalPlan {
    /// Denies everything, and then nothing else counts.
    invalid: bool,
    peer: PeerPlan,
    tokens: Vec<CanonicalTokenRule>,
    /// Attached policies have an effect without rules, too.
    effects: BTreeSet<(Effect, bool)>,
    rules: BTreeSet<(Effect, bool, CanonicalRule)>,
    access: Option<CanonicalAccess>,
}

impl CanonicalPlan {
    /// Of a plan.
    pub fn new(plan: &WorkloadPlan) -> Self {
        if !plan.invalid.is_empty() {
            return Self {
                invalid: true,
                peer: PeerPlan { mode: MutualTlsMode::Permissive, ports: [].into() },
                tokens: Vec::new(),
                effects: BTreeSet::new(),
                rules: BTreeSet::new(),
                access: None,
            };
        }
        let mut peer = plan.peer.clone();
        peer.ports.retain(|_, mode| *mode != peer.mode);
        let (mut effects, mut rules) = (BTreeSet::new(), BTreeSet::new());
        for policy in plan.policies() {
            let effect = match &policy.action {
                Action::Allow => Effect::Allow,
                Action::Deny => Effect::Deny,
                Action::Audit => Effect::Audit,
                Action::Custom { provider } => Effect::Custom(provider.clone()),
            };
            // Only of ALLOW and DENY is there a dry run that anybody sees.
            if policy.dry_run && !matches!(effect, Effect::Allow | Effect::Deny) {
                continue;
            }
            // Of the others a policy without rules is as good as none; a dry run shows itself.
            if effect == Effect::Allow || policy.dry_run {
                effects.insert((effect.clone(), policy.dry_run));
            }
            for rule in &policy.rules {
                let rule = CanonicalRule::new(policy, rule);
                rules.insert((effect.clone(), policy.dry_run, rule));
            }
        }
        Self {
            invalid: false,
            peer,
            tokens: plan.jwt.rules.iter().map(CanonicalTokenRule::new).collect(),
            effects,
            rules,
            access: CanonicalAccess::new(plan),
        }
    }

    /// Whether APIRules decide beside policies that are others: what both together say is not searched
    /// for.
    pub(super) fn differs_beside_api_rules(&self, other: &Self) -> bool {
        let has_api_rules = self.access.is_some() || other.access.is_some();
        let policies = |it: &Self| (it.effects.clone(), it.rules.clone());
        has_api_rules && (policies(self) != policies(other) || !self.sees_alike(other))
    }

    /// Whether both see peers and tokens alike, so that one rule is the same in both.
    pub(super) fn sees_alike(&self, other: &Self) -> bool {
        self.peer == other.peer && self.tokens == other.tokens
    }
}
