//! APIRules of both sides: what tells them apart, and requests that may.
//!
//! A request has one rule, by host, path and method; so requests are made for each pair of rules that
//! decide the same requests on the two sides, with the tokens that their strategies tell apart. Finding
//! paths and making tokens is for others.

use std::collections::{BTreeMap, BTreeSet};

use super::access_tokens::{Credential, credentials};
use super::canonical::CanonicalTokenRule;
use super::paths;
use super::question::Question;
use super::samples;
use crate::extauthz::RequestSettings;
use crate::model::{
    AccessPath, AccessRule, AccessRuleId, AccessStrategy, JwtAccess, MutualTlsMode, Operation,
    Position, StringList,
};
use crate::plan::{AccessPlan, HostPlan, JwtPlan, Route, WorkloadPlan};

/// How many requests are made at most that show what APIRules change.
const MOST_QUESTIONS: usize = 20_000;

/// How many are made at most where policies change beside APIRules that do not.
const MOST_BESIDE: usize = 4_000;

/// How many paths are followed at most, of all hosts together.
const MOST_STATES: usize = 40_000;

/// How many of them of one host.
const MOST_STATES_OF_HOST: usize = 8_000;

/// Requests for one pair of rules: more than one, as policies may hide what it changes.
const MOST_ALIKE: usize = 3;

/// How many credentials each of them is asked with.
const MOST_CREDENTIALS: usize = 300;

/// The same, where there are very many pairs.
const FEW_CREDENTIALS: usize = 20;

/// A host that no APIRule has.
const OTHER_HOST: &str = "no-such-host.example";

/// What the APIRules of a plan say, whatever they are called.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CanonicalAccess {
    is_closed: bool,
    hosts: BTreeMap<String, CanonicalHost>,
}

#[derive(Debug, Clone, PartialEq)]
struct CanonicalHost {
    is_refused: bool,
    rules: Vec<CanonicalAccessRule>,
    tokens: Option<Vec<CanonicalTokenRule>>,
}

/// A rule without its places; what it sets in requests is no decision.
#[derive(Debug, Clone, PartialEq)]
struct CanonicalAccessRule {
    methods: BTreeSet<String>,
    is_regex: bool,
    path: String,
    strategies: Vec<AccessStrategy>,
}

impl CanonicalAccess {
    pub(super) fn new(plan: &WorkloadPlan) -> Option<Self> {
        let access = plan.access.as_deref()?;
        let hosts = hosts(access).map(|(name, host)| {
            let jwt = host.jwt.as_deref();
            let host = CanonicalHost {
                is_refused: host.is_refused,
                rules: rules_of(access, host).map(|(_, rule)| canonical(rule)).collect(),
                tokens: jwt.map(|jwt| jwt.rules.iter().map(CanonicalTokenRule::new).collect()),
            };
            (name, host)
        });
        Some(Self { is_closed: access.is_closed, hosts: hosts.collect() })
    }
}

fn canonical(rule: &AccessRule) -> CanonicalAccessRule {
    CanonicalAccessRule {
        methods: rule.methods.iter().map(|method| method.value.clone()).collect(),
        is_regex: matches!(rule.path, AccessPath::Regex(_)),
        path: rule.path.text().to_owned(),
        strategies: rule.strategies.iter().map(without_places).collect(),
    }
}

fn without_places(strategy: &AccessStrategy) -> AccessStrategy {
    let mut strategy = strategy.clone();
    let forget = |access: &mut JwtAccess| {
        access.authentications.iter_mut().for_each(|it| it.position = Position::default());
    };
    match &mut strategy {
        AccessStrategy::Jwt(access) => forget(access),
        AccessStrategy::ExtAuth { authorizers, restrictions } => {
            authorizers.iter_mut().for_each(|name| name.position = Position::default());
            restrictions.iter_mut().for_each(forget);
        }
        AccessStrategy::OathkeeperJwt(access) => access.position = Position::default(),
        AccessStrategy::Introspection(access) => access.position = Position::default(),
        AccessStrategy::Allow
        | AccessStrategy::NoAuth
        | AccessStrategy::Noop
        | AccessStrategy::Anonymous
        | AccessStrategy::Unauthorized => {}
    }
    strategy
}

/// All hosts, wildcards with their star.
fn hosts(access: &AccessPlan) -> impl Iterator<Item = (String, &HostPlan)> {
    let exact = access.hosts.iter().map(|(name, host)| (name.to_string(), host));
    exact.chain(access.wildcard_hosts.iter().map(|(end, host)| (format!("*{end}"), host)))
}

fn routes_of<'p>(
    access: &'p AccessPlan,
    host: &'p HostPlan,
) -> impl Iterator<Item = (&'p Route, &'p AccessRule)> {
    let places = host.routes.iter().filter_map(|place| usize::try_from(*place).ok());
    let routes = places.filter_map(|place| access.routes.get(place));
    routes.filter_map(|route| Some((route, access.rule(route.id)?.1)))
}

fn rules_of<'p>(
    access: &'p AccessPlan,
    host: &'p HostPlan,
) -> impl Iterator<Item = (AccessRuleId, &'p AccessRule)> {
    routes_of(access, host).map(|(route, rule)| (route.id, rule))
}

/// What is asked about APIRules.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The most telling first.
    pub(super) questions: Vec<Question>,
    /// Whether there would be more.
    pub(super) gave_up: bool,
    /// Rules that decide what others decided before, where nobody can be asked here: names, as
    /// operators are told.
    pub(super) unasked: BTreeSet<String>,
}

/// What one side has for requests of one host.
struct HostSide<'p> {
    access: Option<&'p AccessPlan>,
    host: Option<&'p HostPlan>,
    rules: Vec<HostRule<'p>>,
    jwt: &'p JwtPlan,
    tokens: Vec<CanonicalTokenRule>,
}

struct HostRule<'p> {
    route: &'p Route,
    rule: &'p AccessRule,
    strategies: Vec<AccessStrategy>,
    /// Its path's place among those of both sides.
    pattern: usize,
}

/// What decides about a method and a path.
#[derive(Clone, Copy)]
enum Deciding<'s, 'p> {
    /// No APIRule.
    Free,
    Unrouted,
    Refused,
    Rule(&'s HostRule<'p>),
}

impl<'s, 'p> Deciding<'s, 'p> {
    fn rule(self) -> Option<&'s HostRule<'p>> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Free | Self::Unrouted | Self::Refused => None,
        }
    }

    fn says_as(self, other: Self) -> bool {
        match (self, other) {
            (Self::Rule(one), Self::Rule(other)) => one.strategies == other.strategies,
            (Self::Free, Self::Free)
            | (Self::Unrouted, Self::Unrouted)
            | (Self::Refused, Self::Refused) => true,
            (Self::Rule(_) | Self::Free | Self::Unrouted | Self::Refused, _) => false,
        }
    }

    /// Tells apart what is named apart.
    fn key(self) -> (u8, Option<AccessRuleId>) {
        match self {
            Self::Free => (0, None),
            Self::Unrouted => (1, None),
            Self::Refused => (2, None),
            Self::Rule(rule) => (3, Some(rule.route.id)),
        }
    }
}

impl<'p> HostSide<'p> {
    fn new(
        plan: &'p WorkloadPlan,
        host: &str,
        patterns: &mut BTreeMap<(bool, &'p str), usize>,
    ) -> Self {
        let access = plan.access.as_deref();
        let found = access.and_then(|access| access.host(host));
        let routes =
            access.zip(found).into_iter().flat_map(|(access, host)| routes_of(access, host));
        let rules = routes.map(|(route, rule)| {
            let count = patterns.len();
            let is_regex = matches!(rule.path, AccessPath::Regex(_));
            let pattern = *patterns.entry((is_regex, rule.path.text())).or_insert(count);
            let strategies = rule.strategies.iter().map(without_places).collect();
            HostRule { route, rule, strategies, pattern }
        });
        let rules = rules.collect();
        let jwt = found.and_then(|host| host.jwt.as_deref()).unwrap_or(&plan.jwt);
        let tokens = jwt.rules.iter().map(CanonicalTokenRule::new).collect();
        Self { access, host: found, rules, jwt, tokens }
    }

    /// Whether all requests of the host have the same done to them.
    fn says_as(&self, other: &Self) -> bool {
        let has_same_outside = self.outside().says_as(other.outside());
        let rules = |it: &Self| it.rules.iter().map(|it| canonical(it.rule)).collect::<Vec<_>>();
        has_same_outside && self.tokens == other.tokens && rules(self) == rules(other)
    }

    /// Where none of its rules is for a request.
    fn outside(&self) -> Deciding<'_, 'p> {
        match (self.access, self.host) {
            (Some(_), Some(host)) if host.is_refused => Deciding::Refused,
            (Some(_), Some(_)) => Deciding::Unrouted,
            (Some(access), None) if access.is_closed => Deciding::Unrouted,
            (Some(_) | None, None) | (None, Some(_)) => Deciding::Free,
        }
    }

    fn deciding(&self, method: &str, fits: &[bool]) -> Deciding<'_, 'p> {
        let fits = |rule: &&HostRule<'_>| {
            fits.get(rule.pattern) == Some(&true)
                && rule.route.plan.methods.iter().any(|it| **it == *method)
        };
        self.rules.iter().find(fits).map_or(self.outside(), Deciding::Rule)
    }

    fn name(&self, rule: &HostRule<'_>) -> String {
        self.access.map_or_else(String::new, |access| access.name(rule.route.id))
    }
}

fn is_asked_elsewhere(strategies: &[AccessStrategy]) -> bool {
    strategies.iter().any(|strategy| match strategy {
        AccessStrategy::OathkeeperJwt(_)
        | AccessStrategy::Introspection(_)
        | AccessStrategy::ExtAuth { .. } => true,
        AccessStrategy::Allow
        | AccessStrategy::NoAuth
        | AccessStrategy::Noop
        | AccessStrategy::Anonymous
        | AccessStrategy::Unauthorized
        | AccessStrategy::Jwt(_) => false,
    })
}

/// What policies say of paths and methods, which are asked about where they change, too.
#[derive(Default)]
struct OfPolicies {
    paths: BTreeSet<String>,
    methods: BTreeSet<String>,
    has_rules: bool,
}

impl OfPolicies {
    fn new(plans: [&WorkloadPlan; 2]) -> Self {
        let policies = || plans.iter().flat_map(|plan| plan.policies());
        let operations = || policies().flat_map(|policy| &policy.rules).flat_map(|rule| &rule.to);
        let entries = |list: fn(&Operation) -> [&StringList; 2]| -> BTreeSet<String> {
            let entries = operations().flat_map(list).flatten();
            entries.map(|entry| entry.value.clone()).collect()
        };
        let paths = entries(|it| [&it.paths, &it.not_paths])
            .into_iter()
            .map(|path| path.replace("{**}", "one").replace("{*}", "one").replace('*', "one"));
        let methods = entries(|it| [&it.methods, &it.not_methods]);
        Self {
            paths: paths.filter(|path| path.starts_with('/')).collect(),
            methods: methods.into_iter().filter(|it| !it.contains('*')).collect(),
            has_rules: policies().next().is_some(),
        }
    }
}

/// Makes requests; `beside` is whether policies change, too.
pub(super) fn requests(
    plans: [&WorkloadPlan; 2],
    settings: &RequestSettings,
    beside: bool,
) -> Requests {
    let mut requests = Requests::default();
    let sides = || plans.iter().filter_map(|plan| plan.access.as_deref());
    if sides().next().is_none() {
        return requests;
    }
    let mut names: BTreeSet<String> =
        sides().flat_map(|access| hosts(access).map(|(name, _)| name)).collect();
    names.insert(OTHER_HOST.to_owned());
    let of_policies = OfPolicies::new(plans);
    let mut plain = Question::default();
    // What is refused for its connection shows nothing.
    let is_strict = |plan: &&WorkloadPlan| {
        let mut modes = plan.peer.ports.values().chain([&plan.peer.mode]);
        modes.any(|mode| *mode == MutualTlsMode::Strict)
    };
    if plans.iter().any(is_strict) {
        plain
            .request
            .source
            .principals
            .push("spiffe://cluster.local/ns/default/sa/client".to_owned());
    }
    let mut maker = Maker {
        plans,
        settings,
        beside,
        of_policies,
        plain,
        states_left: MOST_STATES,
        telling: Vec::new(),
        others: Vec::new(),
        gave_up: false,
        unasked: BTreeSet::new(),
    };
    for name in names {
        let host = match name.strip_prefix('*') {
            Some(end) => format!("any{end}"),
            None => name,
        };
        maker.host(&host);
    }
    let Maker { mut telling, mut others, gave_up, unasked, .. } = maker;
    // Of each pair of rules one, before any has another.
    telling.sort_by_key(|(rank, _)| *rank);
    others.sort_by_key(|(rank, _)| *rank);
    requests.gave_up = gave_up || telling.len() > MOST_QUESTIONS;
    requests.unasked = unasked;
    telling.truncate(MOST_QUESTIONS);
    others.truncate(MOST_BESIDE);
    requests.questions = telling.into_iter().chain(others).map(|(_, question)| question).collect();
    requests
}

struct Maker<'p> {
    plans: [&'p WorkloadPlan; 2],
    settings: &'p RequestSettings,
    beside: bool,
    of_policies: OfPolicies,
    /// What all requests have.
    plain: Question,
    states_left: usize,
    /// With their ranks: for pairs of rules that say otherwise.
    telling: Vec<(usize, Question)>,
    /// For pairs that do not.
    others: Vec<(usize, Question)>,
    gave_up: bool,
    unasked: BTreeSet<String>,
}

impl Maker<'_> {
    fn host(&mut self, host: &str) {
        let mut patterns = BTreeMap::new();
        let sides = self.plans.map(|plan| HostSide::new(plan, host, &mut patterns));
        let [old, new] = &sides;
        let is_same = old.says_as(new);
        if is_same && !self.beside {
            return;
        }
        // Where both have policies, what only they and APIRules together decide is not searched for.
        self.gave_up |= !is_same && self.of_policies.has_rules;
        let all_rules = || sides.iter().flat_map(|side| &side.rules);
        let mut by_pattern: Vec<Option<&HostRule<'_>>> = vec![None; patterns.len()];
        for rule in all_rules() {
            by_pattern.get_mut(rule.pattern).into_iter().for_each(|it| *it = Some(rule));
        }
        let paths = self.paths(&by_pattern, is_same);
        let named = all_rules().flat_map(|rule| &*rule.route.plan.methods).map(|it| &**it);
        let more = self.of_policies.methods.iter().map(String::as_str).chain(["GET", "PURGE"]);
        let methods: BTreeSet<String> = named.chain(more).map(str::to_owned).collect();
        // By what decides: those that are asked about.
        let mut known: BTreeMap<_, usize> = BTreeMap::new();
        let is_alike = old.tokens == new.tokens;
        for path in &paths {
            let mut plain = self.plain.clone();
            host.clone_into(&mut plain.request.host);
            path.clone_into(&mut plain.request.path);
            let Some(seen) = self.seen(&plain) else { continue };
            let fits: Vec<bool> = by_pattern
                .iter()
                .map(|rule| rule.is_some_and(|rule| rule.route.plan.path.matches(&seen)))
                .collect();
            for method in &methods {
                let deciding = [old.deciding(method, &fits), new.deciding(method, &fits)];
                let [before, after] = deciding;
                let differs = !is_alike || !before.says_as(after);
                if !differs && !self.beside {
                    continue;
                }
                let count = known.entry([before.key(), after.key()]).or_default();
                *count += 1;
                // Without policies one is as good as another.
                let most = if self.of_policies.has_rules { MOST_ALIKE } else { 1 };
                if differs && *count > most && !self.beside {
                    continue;
                }
                let rules = deciding.map(Deciding::rule);
                if differs {
                    self.note_unasked(&sides, rules);
                }
                let mut question = plain.clone();
                method.clone_into(&mut question.request.method);
                let of_both: Vec<&AccessRule> =
                    rules.into_iter().flatten().map(|rule| rule.rule).collect();
                let is_telling = differs && *count <= most;
                let list = if is_telling { &mut self.telling } else { &mut self.others };
                let jwt = sides.each_ref().map(|it| it.jwt);
                let most =
                    if list.len() < MOST_QUESTIONS { MOST_CREDENTIALS } else { FEW_CREDENTIALS };
                let (credentials, is_whole) = credentials(&of_both, jwt, !is_alike, most);
                self.gave_up |= is_telling && !is_whole;
                for (rank, credential) in credentials.into_iter().enumerate() {
                    let mut question = question.clone();
                    match credential {
                        Credential::None => {}
                        Credential::Other => {
                            let header = ("authorization".to_owned(), "Basic YTpi".to_owned());
                            question.request.headers.push(header);
                        }
                        Credential::Token(token) => question.token = Some(token),
                    }
                    list.push((rank.saturating_add(*count), question));
                }
            }
        }
    }

    /// Paths that the rules of a host tell apart.
    fn paths(&mut self, by_pattern: &[Option<&HostRule<'_>>], is_same: bool) -> Vec<String> {
        let patterns: Vec<&AccessPath> =
            by_pattern.iter().flatten().map(|rule| &rule.rule.path).collect();
        let granted = self.states_left.min(MOST_STATES_OF_HOST);
        let mut left = granted;
        let paths::Paths { mut texts, is_whole } = paths::apart(&patterns, &mut left);
        self.states_left -= granted - left;
        if !is_whole {
            self.gave_up |= !is_same;
            texts.extend(patterns.iter().flat_map(|path| samples::around(path)));
        }
        texts.push("/no-such-path".to_owned());
        if self.beside || self.of_policies.has_rules {
            texts.extend(self.of_policies.paths.iter().cloned());
        }
        let mut known = BTreeSet::new();
        texts.retain(|text| known.insert(text.clone()));
        texts
    }

    /// The path that rules are held against.
    fn seen(&self, question: &Question) -> Option<String> {
        let file = question.file(self.settings, None);
        let check = file.check_request(self.settings.client_address);
        let attributes = file.attributes(&check, self.settings).ok()?;
        Some(attributes.http?.path_without_query().to_owned())
    }

    fn note_unasked(&mut self, sides: &[HostSide<'_>; 2], rules: [Option<&HostRule<'_>>; 2]) {
        if rules.iter().flatten().any(|rule| is_asked_elsewhere(&rule.strategies)) {
            let names = sides.iter().zip(rules).filter_map(|(side, rule)| Some(side.name(rule?)));
            self.unasked.extend(names);
        }
    }
}
