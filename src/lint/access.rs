//! Rules of APIRules that earlier ones take requests of: the first that fits decides.
//!
//! Reported is only what is proved, about two rules at a time and each method.

use super::policies::Policies;
use super::{Finding, codes};
use crate::matcher::PathTemplate;
use crate::model::{AccessPath, AccessRule, AccessStrategy, ApiRule, Kind, ResourceId};
use crate::path_regex::PathRegex;

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    policies.api_rules.iter().for_each(|api_rule| findings.extend(of(api_rule)));
}

/// Other APIRules take none of its requests: they have other hosts, and the most specific one counts.
pub(super) fn of(api_rule: &ApiRule) -> impl Iterator<Item = Finding> {
    api_rule
        .rules
        .iter()
        .enumerate()
        .filter_map(move |(at, rule)| finding(api_rule, (at, rule), rules(api_rule).take(at)))
}

/// A rule and where it is.
type RuleOf<'a> = (usize, &'a AccessRule);

fn rules(api_rule: &ApiRule) -> impl Iterator<Item = RuleOf<'_>> {
    api_rule.rules.iter().enumerate()
}

fn finding<'a>(
    api_rule: &ApiRule,
    (at, rule): RuleOf<'a>,
    earlier: impl Iterator<Item = RuleOf<'a>>,
) -> Option<Finding> {
    let covering: Vec<_> = earlier
        .filter(|(_, other)| other.service == rule.service && covers(&other.path, &rule.path))
        .collect();
    let taker = |method: &str| {
        covering
            .iter()
            .find(|(_, other)| other.methods.iter().any(|theirs| *theirs.value == *method))
    };
    let takers: Vec<_> =
        rule.methods.iter().map(|method| (method.value.as_str(), taker(&method.value))).collect();
    let opened: Vec<_> = takers
        .iter()
        .filter_map(|(method, taker)| Some((*method, (*taker)?)))
        .filter(|(_, (_, other))| is_open(other) && !is_open(rule))
        .collect();
    let name = |(at, _): &RuleOf<'_>| format!("rules[{at}]");
    let is_reached = takers.iter().any(|(_, taker)| taker.is_none());
    let (code, message) = match (is_reached, opened.first(), takers.first()) {
        (_, Some((method, by)), _) => (
            codes::API_RULE_OPENED,
            format!(
                "{method} requests of this rule pass without what it asks for: {} takes them first",
                name(by)
            ),
        ),
        (false, None, Some((_, Some(by)))) => (
            codes::API_RULE_NOT_REACHED,
            format!("no request reaches this rule: {} takes all of them first", name(by)),
        ),
        (_, None, _) => return None,
    };
    let metadata = &api_rule.metadata;
    let id = ResourceId {
        kind: Kind::ApiRule,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
    };
    Some(
        Finding::warning(code, (id, metadata), rule.position, message)
            .help("the first rule that fits a request decides: put this one before the other")
            .path(format!("spec.rules[{at}]")),
    )
}

/// Whether it lets somebody through who shows nothing.
fn is_open(rule: &AccessRule) -> bool {
    rule.strategies.first().is_some_and(|strategy| match strategy {
        AccessStrategy::Allow
        | AccessStrategy::NoAuth
        | AccessStrategy::Noop
        | AccessStrategy::Anonymous => true,
        AccessStrategy::Unauthorized
        | AccessStrategy::Jwt(_)
        | AccessStrategy::OathkeeperJwt(_)
        | AccessStrategy::Introspection(_)
        | AccessStrategy::ExtAuth { .. } => false,
    })
}

/// Whether it is proved that whatever fits `path` fits `wider`.
fn covers(wider: &AccessPath, path: &AccessPath) -> bool {
    match (wider, path) {
        (AccessPath::Regex(wider), AccessPath::Regex(path)) => {
            match (PathRegex::parse(wider), PathRegex::parse(path)) {
                (Ok(wider), Ok(path)) => wider.covers(&path),
                (_, _) => false,
            }
        }
        (AccessPath::Template(wider), AccessPath::Template(path)) => {
            if **wider == "/{**}" || wider.value == path.value {
                return true;
            }
            !PathTemplate::is_template(path)
                && PathTemplate::parse(wider).is_some_and(|wider| wider.matches(path))
        }
        (AccessPath::Regex(wider), AccessPath::Template(_)) => {
            matches!(wider.value.as_str(), "/.*" | "/*")
        }
        (AccessPath::Template(wider), AccessPath::Regex(_)) => **wider == "/{**}",
    }
}
