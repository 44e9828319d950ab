//! Policies and one edit of them, at random.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::dice::Dice;
use crate::compile::{Rejected, Settings, compile};
use crate::decide::tests::{condition, operation, policy, rule, source};
use crate::model::{
    Action, Attachment, AuthorizationPolicy, ConditionValues, JwtHeader, JwtRule, Kind, Located,
    Mesh, Metadata, MutualTlsMode, Operation, PeerAuthentication, RequestAuthentication, Resource,
    ResourceId, Rule, StringList, Workload,
};
use crate::plan::WorkloadPlan;

/// All that holds for a workload.
#[derive(Debug, Clone)]
pub(super) struct Policies {
    pub(super) rules: Vec<AuthorizationPolicy>,
    pub(super) tokens: Vec<JwtRule>,
    pub(super) peers: Vec<PeerAuthentication>,
    pub(super) invalid: bool,
}

pub(super) const ISSUERS: &[&str] = &["i", "xi", "j", ""];
pub(super) const AUDIENCES: &[&str] = &["x", "y", "x,y"];
pub(super) const KEYS: &[Option<&str>] = &[None, Some("https://i/keys"), Some("https://j/keys")];

/// A value of a strategy.
pub(super) fn one<S: Strategy>(strategy: S, runner: &mut TestRunner) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

fn token_rule(random: &mut Dice) -> JwtRule {
    JwtRule {
        issuer: (*random.pick(ISSUERS)).into(),
        audiences: if random.chance(30) {
            vec![(*random.pick(AUDIENCES)).into()]
        } else {
            Vec::new()
        },
        jwks: None,
        jwks_uri: random.pick(KEYS).map(Into::into),
        from_headers: if random.chance(30) {
            vec![JwtHeader { name: "x-t".into(), prefix: String::new() }]
        } else {
            Vec::new()
        },
        from_params: Vec::new(),
        from_cookies: Vec::new(),
        output_payload_to_header: None,
        output_claim_to_headers: Vec::new(),
        forward_original_token: random.chance(20),
        timeout: Duration::from_secs(5),
        space_delimited_claims: Vec::new(),
        position: Default::default(),
    }
}

fn peer(random: &mut Dice) -> PeerAuthentication {
    use MutualTlsMode::{Disable, Permissive, Strict, Unset};
    let modes = [Unset, Disable, Permissive, Strict];
    let ports = if random.chance(50) { vec![*random.pick(&[80, 8080])] } else { vec![] };
    PeerAuthentication {
        metadata: Metadata { namespace: "foo".into(), name: "p".into(), ..Metadata::default() },
        attachment: Attachment {
            selector: Some([("app".to_owned(), "a".to_owned())].into()),
            target_refs: Vec::new(),
        },
        mtls: *random.pick(&modes),
        port_level_mtls: ports.into_iter().map(|port| (port, *random.pick(&modes))).collect(),
    }
}

/// From how many policies on most of them have paths of their own.
pub(super) const CROWD: usize = 10;

/// Policies that are apart from each other: otherwise, of many, some decide everything.
fn in_its_corner(policy: &mut AuthorizationPolicy, at: usize, random: &mut Dice) {
    policy.action = if random.chance(80) { Action::Allow } else { Action::Deny };
    policy.dry_run = false;
    for rule in &mut policy.rules {
        let paths = [format!("/c{at}"), format!("/c{at}/*")];
        let paths = paths.into_iter().map(Located::from).collect();
        rule.to = vec![Operation { paths, ..Operation::default() }];
        rule.from.truncate(1);
        rule.when.clear();
    }
}

impl Policies {
    pub(super) fn random(runner: &mut TestRunner, random: &mut Dice, most: usize) -> Self {
        let most = if random.chance(50) && most < 10 { 2 } else { most + 1 };
        let mut rules: Vec<AuthorizationPolicy> = one(vec(policy(), most / 2..most), runner);
        for (at, policy) in rules.iter_mut().enumerate() {
            if most >= CROWD && at < 2 {
                policy.action = Action::Audit;
            }
            // Mostly decisions are made by rules that are enforced.
            policy.dry_run &= random.chance(30);
            if matches!(policy.action, Action::Custom { .. } | Action::Audit) && random.chance(60) {
                policy.action = Action::Allow;
            }
            policy.metadata.name = format!("p{at}").into();
            if most >= CROWD && at > 1 {
                in_its_corner(policy, at, random);
            }
        }
        let tokens = (0..random.below(3)).map(|_| token_rule(random)).collect();
        let peers = if random.chance(30) { vec![peer(random)] } else { Vec::new() };
        Self { rules, tokens, peers, invalid: false }
    }

    pub(super) fn plan(&self) -> Arc<WorkloadPlan> {
        let settings = Settings {
            mesh: Mesh {
                trust_domain: "td".into(),
                trust_domain_aliases: vec!["old-td".into()],
                ..Mesh::default()
            },
            workloads: vec![Workload {
                namespace: "foo".into(),
                labels: [("app".to_owned(), "a".to_owned())].into(),
                ..Workload::default()
            }],
        };
        let mut resources: Vec<Arc<Resource>> = Vec::new();
        let rules = self.rules.iter().cloned();
        resources.extend(rules.map(|it| Arc::new(Resource::AuthorizationPolicy(it.into()))));
        if !self.tokens.is_empty() {
            resources.push(Arc::new(Resource::RequestAuthentication(RequestAuthentication {
                metadata: Metadata {
                    namespace: "foo".into(),
                    name: "t".into(),
                    ..Metadata::default()
                },
                attachment: Attachment::default(),
                jwt_rules: self.tokens.clone(),
            })));
        }
        let peers = self.peers.iter().cloned();
        resources.extend(peers.map(|it| Arc::new(Resource::PeerAuthentication(it))));
        let rejected = self.invalid.then(|| Rejected {
            id: ResourceId {
                kind: Kind::AuthorizationPolicy,
                namespace: "foo".into(),
                name: "broken".into(),
            },
            scope: None,
        });
        compile(1, &resources, rejected.as_slice(), &settings).workloads.remove(0)
    }

    /// One edit, and what it is called.
    pub(super) fn edited(
        &self,
        runner: &mut TestRunner,
        random: &mut Dice,
    ) -> (Self, &'static str) {
        loop {
            let mut next = self.clone();
            if let Some(name) = next.edit(runner, random) {
                return (next, name);
            }
        }
    }

    fn edit(&mut self, runner: &mut TestRunner, random: &mut Dice) -> Option<&'static str> {
        let at = random.below(self.rules.len().max(1));
        Some(match random.below(30) {
            0 => {
                let mut added: AuthorizationPolicy = one(policy(), runner);
                added.metadata.name = "added".into();
                self.rules.push(added);
                "add a policy"
            }
            1 => {
                self.rules.get(at)?;
                self.rules.remove(at);
                "remove a policy"
            }
            2 => {
                let policy = self.rules.get_mut(at)?;
                policy.dry_run = !policy.dry_run;
                "toggle dry-run"
            }
            3 => {
                let policy = self.rules.get_mut(at)?;
                let actions = [
                    Action::Allow,
                    Action::Deny,
                    Action::Audit,
                    Action::Custom { provider: "p".into() },
                ];
                policy.action = random.pick(&actions).clone();
                "change an action"
            }
            4 => {
                let policy = self.rules.get_mut(at)?;
                let app = *random.pick(&["a", "b"]);
                policy.attachment.selector =
                    Some(BTreeMap::from([("app".to_owned(), app.to_owned())]));
                "change a selector"
            }
            5 => {
                let policy = self.rules.get_mut(at)?;
                policy.metadata.namespace = (*random.pick(&["foo", "bar", "istio-system"])).into();
                "change a namespace"
            }
            6 => {
                self.rules.get_mut(at)?.rules.push(one(rule(), runner));
                "add a rule"
            }
            7 => {
                let rules = &mut self.rules.get_mut(at)?.rules;
                let which = random.below(rules.len().max(1));
                rules.get(which)?;
                rules.remove(which);
                "remove a rule"
            }
            8 => {
                random.shuffle(&mut self.rules);
                for policy in &mut self.rules {
                    random.shuffle(&mut policy.rules);
                    for rule in &mut policy.rules {
                        random.shuffle(&mut rule.from);
                        random.shuffle(&mut rule.to);
                        random.shuffle(&mut rule.when);
                    }
                }
                "order only"
            }
            9 => {
                let policy = self.rules.get_mut(at)?;
                let again = policy.rules.first()?.clone();
                policy.rules.push(again);
                policy.metadata.name = "renamed".into();
                "repeat a rule, change a name"
            }
            10 => {
                let rule = self.rule(random)?;
                rule.from.push(one(source(), runner));
                "add a source"
            }
            11 => {
                let rule = self.rule(random)?;
                rule.to.push(one(operation(), runner));
                "add an operation"
            }
            12 => {
                let rule = self.rule(random)?;
                rule.when.push(one(condition(), runner));
                "add a condition"
            }
            13 => {
                let rule = self.rule(random)?;
                rule.when
                    .pop()
                    .map(drop)
                    .or_else(|| rule.to.pop().map(drop))
                    .or_else(|| rule.from.pop().map(drop))?;
                "remove a condition, an operation or a source"
            }
            14 | 15 => {
                let rule = self.rule(random)?;
                negate(rule, random)?;
                "negate"
            }
            16 => {
                self.tokens.push(token_rule(random));
                "add a token rule"
            }
            17 => {
                let at = random.below(self.tokens.len().max(1));
                self.tokens.get(at)?;
                self.tokens.remove(at);
                "remove a token rule"
            }
            18 => {
                let at = random.below(self.tokens.len().max(1));
                *self.tokens.get_mut(at)? = token_rule(random);
                "change issuer, audience, keys or places"
            }
            19 => {
                self.peers = if self.peers.is_empty() { vec![peer(random)] } else { Vec::new() };
                "add or remove a PeerAuthentication"
            }
            20 => {
                *self.peers.first_mut()? = peer(random);
                "change a PeerAuthentication"
            }
            21 if random.chance(10) => {
                self.invalid = true;
                "break a policy"
            }
            22 | 23 => {
                let rule = self.rule(random)?;
                let mut blocks = blocks(rule);
                blocks.retain(|list| !list.is_empty());
                let which = random.below(blocks.len().max(1));
                let block = blocks.get_mut(which)?.first_mut()?;
                let length = block.value.prefix_len();
                let length = if random.chance(50) { length.checked_sub(1)? } else { length + 1 };
                block.value = ipnet::IpNet::new(block.value.addr(), length).ok()?.trunc();
                "widen or narrow a CIDR"
            }
            _ => {
                let rule = self.rule(random)?;
                let mut lists = texts(rule);
                lists.retain(|list| !list.is_empty());
                let which = random.below(lists.len().max(1));
                let list = lists.get_mut(which)?;
                let at = random.below(list.len());
                let text = list[at].value.clone();
                match random.below(5) {
                    0 if list.len() > 1 => {
                        list.remove(at);
                        "remove an entry"
                    }
                    1 => {
                        list.push(Located::from(format!("{text}x")));
                        "add an entry"
                    }
                    2 => {
                        list[at] = Located::from(format!("{text}y"));
                        "change an entry"
                    }
                    _ if text.contains('{') => return None,
                    _ => {
                        let other = match text.strip_suffix('*') {
                            Some("") => return None,
                            Some(start) => start.to_owned(),
                            None if text.starts_with('*') => {
                                text.trim_start_matches('*').to_owned()
                            }
                            None => format!("{text}*"),
                        };
                        if other.is_empty() {
                            return None;
                        }
                        list[at] = Located::from(other);
                        "prefix to exact and back"
                    }
                }
            }
        })
    }

    fn rule(&mut self, random: &mut Dice) -> Option<&mut Rule> {
        let mut all: Vec<&mut Rule> =
            self.rules.iter_mut().flat_map(|policy| &mut policy.rules).collect();
        if all.is_empty() {
            return None;
        }
        let at = random.below(all.len());
        Some(all.swap_remove(at))
    }
}

fn negate(rule: &mut Rule, random: &mut Dice) -> Option<()> {
    let mut swaps: Vec<Box<dyn FnOnce() + '_>> = Vec::new();
    for it in &mut rule.from {
        let (a, b) = (&mut it.principals, &mut it.not_principals);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
        let (a, b) = (&mut it.request_principals, &mut it.not_request_principals);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
        let (a, b) = (&mut it.ip_blocks, &mut it.not_ip_blocks);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
        let (a, b) = (&mut it.namespaces, &mut it.not_namespaces);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
    }
    for it in &mut rule.to {
        let (a, b) = (&mut it.paths, &mut it.not_paths);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
        let (a, b) = (&mut it.methods, &mut it.not_methods);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
        let (a, b) = (&mut it.ports, &mut it.not_ports);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
    }
    for it in &mut rule.when {
        let (a, b) = (&mut it.values, &mut it.not_values);
        if !a.is_empty() || !b.is_empty() {
            swaps.push(Box::new(|| std::mem::swap(a, b)));
        }
    }
    if swaps.is_empty() {
        return None;
    }
    let at = random.below(swaps.len());
    swaps.swap_remove(at)();
    Some(())
}

fn blocks(rule: &mut Rule) -> Vec<&mut Vec<Located<ipnet::IpNet>>> {
    let mut all = Vec::new();
    for it in &mut rule.from {
        all.extend([
            &mut it.ip_blocks,
            &mut it.not_ip_blocks,
            &mut it.remote_ip_blocks,
            &mut it.not_remote_ip_blocks,
        ]);
    }
    for it in &mut rule.when {
        for values in [&mut it.values, &mut it.not_values] {
            if let ConditionValues::IpBlocks(list) = values {
                all.push(list);
            }
        }
    }
    all
}

fn texts(rule: &mut Rule) -> Vec<&mut StringList> {
    let mut all = Vec::new();
    for it in &mut rule.from {
        all.extend([
            &mut it.principals,
            &mut it.not_principals,
            &mut it.request_principals,
            &mut it.not_request_principals,
            &mut it.namespaces,
            &mut it.not_namespaces,
            &mut it.trust_domains,
            &mut it.not_trust_domains,
        ]);
    }
    for it in &mut rule.to {
        all.extend([
            &mut it.hosts,
            &mut it.not_hosts,
            &mut it.methods,
            &mut it.not_methods,
            &mut it.paths,
            &mut it.not_paths,
        ]);
    }
    for it in &mut rule.when {
        for values in [&mut it.values, &mut it.not_values] {
            if let ConditionValues::Patterns(list) = values {
                all.push(list);
            }
        }
    }
    all
}
