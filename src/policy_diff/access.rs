//! APIRules of both sides: what tells them apart, and requests that may.
//!
//! A request has one rule, by host, path and method; so requests are made for each rule of either side,
//! with the tokens that its strategies tell apart.

use std::collections::{BTreeMap, BTreeSet};

use regex_syntax::hir::{Class, Hir, HirKind};

use super::canonical::CanonicalTokenRule;
use super::question::{Place, Question, Token};
use crate::authn::Signer;
use crate::model::{
    AccessPath, AccessRule, AccessRuleId, AccessStrategy, JwtAccess, JwtAuthentication,
    JwtAuthorization, Operation, Position, StringList, Value,
};
use crate::plan::{AccessPlan, HostPlan, KeySourceId, WorkloadPlan};

/// How many texts are made of one regular expression.
const MOST_TEXTS: usize = 16;

/// How many requests are made at most.
const MOST_QUESTIONS: usize = 20_000;

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
        AccessStrategy::Allow
        | AccessStrategy::NoAuth
        | AccessStrategy::Noop
        | AccessStrategy::Anonymous
        | AccessStrategy::Unauthorized
        | AccessStrategy::OathkeeperJwt(_)
        | AccessStrategy::Introspection(_) => {}
    }
    strategy
}

/// All hosts, wildcards with their star.
fn hosts(access: &AccessPlan) -> impl Iterator<Item = (String, &HostPlan)> {
    let exact = access.hosts.iter().map(|(name, host)| (name.to_string(), host));
    exact.chain(access.wildcard_hosts.iter().map(|(end, host)| (format!("*{end}"), host)))
}

fn rules_of<'p>(
    access: &'p AccessPlan,
    host: &'p HostPlan,
) -> impl Iterator<Item = (AccessRuleId, &'p AccessRule)> {
    let places = host.routes.iter().filter_map(|place| usize::try_from(*place).ok());
    let ids = places.filter_map(|place| access.routes.get(place)).map(|route| route.id);
    ids.filter_map(|id| Some((id, access.rule(id)?.1)))
}

/// Requests, the simplest first; and whether there would be more than are made.
pub(super) fn questions(plans: [&WorkloadPlan; 2]) -> (Vec<Question>, bool) {
    let sides = || plans.iter().filter_map(|plan| plan.access.as_deref());
    let names: BTreeSet<String> =
        sides().flat_map(|access| hosts(access).map(|(name, _)| name)).collect();
    // Policies say more about the same requests.
    let policies = || plans.iter().flat_map(|plan| plan.policies());
    let operations = || policies().flat_map(|policy| &policy.rules).flat_map(|rule| &rule.to);
    let of_policies = |list: fn(&Operation) -> [&StringList; 2]| -> BTreeSet<String> {
        let entries = operations().flat_map(list).flatten();
        entries.map(|entry| entry.value.replace("{**}", "one").replace("{*}", "one")).collect()
    };
    let of_paths = of_policies(|it| [&it.paths, &it.not_paths]);
    let of_paths: BTreeSet<_> = of_paths.iter().map(|path| path.replace('*', "one")).collect();
    let of_methods = of_policies(|it| [&it.methods, &it.not_methods]);
    let mut questions = Vec::new();
    for name in names {
        let host = match name.strip_prefix('*') {
            Some(end) => format!("any{end}"),
            None => name,
        };
        let rules: Vec<&AccessRule> = sides()
            .filter_map(|access| Some((access, access.host(&host)?)))
            .flat_map(|(access, found)| rules_of(access, found).map(|(_, rule)| rule))
            .collect();
        let methods: BTreeSet<&str> =
            rules.iter().flat_map(|rule| &rule.methods).map(|it| it.value.as_str()).collect();
        let mut paths: BTreeSet<String> = ["/".to_owned(), "/no-such-path".to_owned()].into();
        paths.extend(rules.iter().flat_map(|rule| texts(&rule.path)));
        paths.extend(of_paths.iter().filter(|path| path.starts_with('/')).cloned());
        let tokens = tokens(&rules);
        let others = ["GET", "PURGE"];
        let more = of_methods.iter().map(String::as_str).filter(|it| !it.contains('*'));
        let methods: BTreeSet<&str> = methods.into_iter().chain(others).chain(more).collect();
        for token in &tokens {
            for path in &paths {
                for method in &methods {
                    if questions.len() >= MOST_QUESTIONS {
                        return (questions, true);
                    }
                    let mut question = Question::default();
                    question.request.host.clone_from(&host);
                    question.request.path.clone_from(path);
                    (*method).clone_into(&mut question.request.method);
                    match token {
                        Credential::None => {}
                        Credential::Other => {
                            let header = ("authorization".to_owned(), "Basic YTpi".to_owned());
                            question.request.headers.push(header);
                        }
                        Credential::Token(token) => question.token = Some(token.clone()),
                    }
                    questions.push(question);
                }
            }
        }
    }
    (questions, false)
}

#[derive(Debug, Clone, PartialEq)]
enum Credential {
    None,
    /// Which `anonymous` tells from none.
    Other,
    Token(Token),
}

fn tokens(rules: &[&AccessRule]) -> Vec<Credential> {
    let mut found = vec![Credential::None];
    let is_anonymous = |strategy: &AccessStrategy| *strategy == AccessStrategy::Anonymous;
    if rules.iter().any(|rule| rule.strategies.iter().any(is_anonymous)) {
        found.push(Credential::Other);
    }
    let accesses: Vec<&JwtAccess> = rules
        .iter()
        .flat_map(|rule| &rule.strategies)
        .filter_map(AccessStrategy::jwt_access)
        .collect();
    let authentications = accesses.iter().flat_map(|access| &access.authentications);
    let mut demands = vec![Demands::default()];
    for authorization in accesses.iter().flat_map(|access| &access.authorizations) {
        demands.extend(Demands::around(authorization));
    }
    for authentication in authentications {
        for demands in &demands {
            let token = Credential::Token(demands.token(authentication));
            if !found.contains(&token) {
                found.push(token);
            }
        }
    }
    found
}

/// What a token has.
#[derive(Debug, Clone, Default)]
struct Demands {
    scopes: Vec<String>,
    audiences: Vec<String>,
    is_nameless: bool,
}

impl Demands {
    /// What is enough for an authorization, and what lacks one thing.
    fn around(authorization: &JwtAuthorization) -> Vec<Self> {
        let JwtAuthorization { required_scopes, audiences } = authorization;
        let enough = Self {
            scopes: required_scopes.clone(),
            audiences: audiences.clone(),
            is_nameless: false,
        };
        let without = |list: &[String], at: usize| {
            let others = list.iter().enumerate().filter(|(place, _)| *place != at);
            others.map(|(_, it)| it.clone()).collect()
        };
        let scopes = (0..required_scopes.len())
            .map(|at| Self { scopes: without(required_scopes, at), ..enough.clone() });
        let fewer = (0..audiences.len())
            .map(|at| Self { audiences: without(audiences, at), ..enough.clone() });
        let mut all = vec![enough.clone()];
        all.extend(scopes.chain(fewer));
        all.push(Self { is_nameless: true, ..enough });
        all
    }

    fn token(&self, authentication: &JwtAuthentication) -> Token {
        let text = |text: &str| Value::String(text.to_owned());
        let mut claims = vec![("iss".to_owned(), text(&authentication.issuer))];
        if !self.is_nameless {
            claims.push(("sub".to_owned(), text("someone")));
        }
        if !self.scopes.is_empty() {
            claims.push(("scope".to_owned(), text(&self.scopes.join(" "))));
        }
        if !self.audiences.is_empty() {
            let audiences = self.audiences.iter().map(|audience| text(audience));
            claims.push(("aud".to_owned(), Value::List(audiences.collect())));
        }
        let header = authentication.from_headers.first();
        let place = match (header, authentication.from_params.first()) {
            (Some(header), _) => Place::Header {
                name: header.name.to_ascii_lowercase(),
                prefix: header.prefix.clone(),
            },
            (None, Some(name)) => Place::Param(name.clone()),
            (None, None) => {
                Place::Header { name: "authorization".to_owned(), prefix: "Bearer ".to_owned() }
            }
        };
        let signer = Signer::Remote(KeySourceId {
            issuer: authentication.issuer.as_str().into(),
            uri: Some(authentication.jwks_uri.as_str().into()),
        });
        Token { signer, place, claims }
    }
}

/// Rules whose strategies say otherwise than before and that nobody can be asked about here: names, as
/// operators are told.
pub(super) fn unasked(plans: [&WorkloadPlan; 2]) -> BTreeSet<String> {
    let asked_elsewhere = |plan: &WorkloadPlan| -> Vec<(String, CanonicalAccessRule)> {
        let Some(access) = plan.access.as_deref() else { return Vec::new() };
        let rules = hosts(access)
            .flat_map(|(_, host)| rules_of(access, host))
            .map(|(id, rule)| (access.name(id), canonical(rule)));
        let is_elsewhere = |strategy: &AccessStrategy| {
            matches!(
                strategy,
                AccessStrategy::OathkeeperJwt(_)
                    | AccessStrategy::Introspection(_)
                    | AccessStrategy::ExtAuth { .. }
            )
        };
        rules.filter(|(_, rule)| rule.strategies.iter().any(is_elsewhere)).collect()
    };
    let [old, new] = plans.map(asked_elsewhere);
    let missing = |own: &[(String, CanonicalAccessRule)],
                   other: &[(String, CanonicalAccessRule)]| {
        let is_new = |rule: &&(String, CanonicalAccessRule)| {
            !other.iter().any(|(_, theirs)| *theirs == rule.1)
        };
        own.iter().filter(is_new).map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
    };
    let mut all = missing(&old, &new);
    all.extend(missing(&new, &old));
    all
}

/// Paths that fit.
fn texts(path: &AccessPath) -> Vec<String> {
    match path {
        AccessPath::Regex(text) if text.value == "/*" => vec!["/".to_owned(), "/any".to_owned()],
        AccessPath::Regex(text) => {
            let parsed = regex_syntax::Parser::new().parse(text);
            let texts = parsed.map(|regex| of_regex(&regex)).unwrap_or_default();
            let is_path = |text: &String| {
                text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'?')
            };
            texts.into_iter().filter(|text| is_path(text) && !text.contains('#')).collect()
        }
        AccessPath::Template(text) => ["one", "one/two"]
            .iter()
            .map(|rest| text.replace("{**}", rest).replace("{*}", "one"))
            .collect(),
    }
}

/// Texts that a regular expression matches, a few for each of its branches.
fn of_regex(regex: &Hir) -> Vec<String> {
    let mut texts = match regex.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => some_of(class).into_iter().map(String::from).collect(),
        HirKind::Capture(capture) => of_regex(&capture.sub),
        HirKind::Alternation(branches) => branches.iter().flat_map(of_regex).collect(),
        HirKind::Repetition(repetition) => {
            let once = of_regex(&repetition.sub);
            let one = once.first().cloned().unwrap_or_default();
            let least = usize::try_from(repetition.min).unwrap_or(1).min(64);
            let start = one.repeat(least.saturating_sub(1));
            let mut texts = Vec::new();
            if repetition.min == 0 {
                texts.push(String::new());
            }
            if repetition.max != Some(0) {
                texts.extend(once.iter().map(|last| format!("{start}{last}")));
            }
            if repetition.max.is_none_or(|most| most > repetition.min.max(1)) {
                texts.push(one.repeat(least.max(1).saturating_add(1)));
            }
            texts
        }
        HirKind::Concat(parts) => {
            let mut texts = vec![String::new()];
            for part in parts {
                let ends = of_regex(part);
                let both = texts
                    .iter()
                    .flat_map(|start| ends.iter().map(move |end| format!("{start}{end}")));
                texts = both.take(MOST_TEXTS).collect();
            }
            texts
        }
    };
    texts.truncate(MOST_TEXTS);
    texts
}

/// Characters of a class that may stand in a path: all of a few, as `(a|b)` is such a class, too, and one
/// of many.
fn some_of(class: &Class) -> Vec<char> {
    let holds = |wanted: char| match class {
        Class::Unicode(class) => {
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }
        Class::Bytes(class) => u8::try_from(wanted).is_ok_and(|wanted| {
            class.iter().any(|range| range.start() <= wanted && wanted <= range.end())
        }),
    };
    let usual = ('a'..='z').chain('0'..='9').chain('A'..='Z').chain("-._~/!$&'()*+,;=:@%".chars());
    let found: Vec<char> = usual.into_iter().filter(|c| holds(*c)).collect();
    let shown = if found.len() <= MOST_TEXTS { found.len() } else { 1 };
    found.into_iter().take(shown).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::path_regex::PathRegex;

    #[rstest]
    #[case("/orders", &["/orders"])]
    #[case("/.*", &["/", "/a", "/aa"])]
    #[case("/(a|b)", &["/a", "/b"])]
    #[case("/[0-9]+/x", &["/0/x", "/00/x"])]
    #[case("/a{3}", &["/aaa"])]
    #[case("/v(1|2)?/[^/]*", &["/v/", "/v/a", "/v/aa", "/v1/", "/v1/a"])]
    fn every_branch_has_a_path(#[case] path: &str, #[case] expected: &[&str]) {
        let found = texts(&AccessPath::Regex(path.to_owned().into()));
        for text in expected {
            assert!(found.iter().any(|it| it == text), "{text}: {found:?}");
        }
        let regex = PathRegex::parse(path).unwrap();
        for text in found {
            assert!(regex.matches(&text), "{text}");
        }
    }
}
