//! Rules of APIRules that no request reaches as they are meant: the first that fits decides.
//!
//! Reported is only what is proved, about two rules at a time and each method, or about a path alone,
//! of which `request_path` knows.

use super::policies::Policies;
use super::{Finding, codes, request_path};
use crate::diagnostic::Code;
use crate::matcher::PathTemplate;
use crate::model::{AccessPath, AccessRule, AccessStrategy, ApiRule, Kind, Position, ResourceId};
use crate::path_regex::PathRegex;

pub(super) fn find(policies: &Policies<'_>, findings: &mut Vec<Finding>) {
    policies.api_rules.iter().for_each(|api_rule| findings.extend(of(api_rule)));
}

/// Other APIRules take none of its requests: they have other hosts, and the most specific one counts.
pub(super) fn of(api_rule: &ApiRule) -> impl Iterator<Item = Finding> {
    api_rule.rules.iter().enumerate().filter_map(move |(at, rule)| {
        let unfit = no_path(api_rule, (at, rule));
        unfit.or_else(|| finding(api_rule, (at, rule), rules(api_rule).take(at)))
    })
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
    Some(
        warning(code, api_rule, rule.position, message)
            .help("the first rule that fits a request decides: put this one before the other")
            .path(format!("spec.rules[{at}]")),
    )
}

/// Templates of v2 are refused where they do not begin with `/`, or have a `?` or a `#`.
fn no_path(api_rule: &ApiRule, (at, rule): RuleOf<'_>) -> Option<Finding> {
    let AccessPath::Regex(regex) = &rule.path else { return None };
    let why = request_path::never(regex)?;
    let position = if regex.position.line == 0 { rule.position } else { regex.position };
    Some(
        warning(codes::API_RULE_NOT_REACHED, api_rule, position, why.message())
            .help(why.help())
            .path(format!("spec.rules[{at}].path")),
    )
}

/// About a place in an APIRule.
pub(super) fn warning(
    code: Code,
    api_rule: &ApiRule,
    position: Position,
    message: impl Into<String>,
) -> Finding {
    let metadata = &api_rule.metadata;
    let id = ResourceId {
        kind: Kind::ApiRule,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
    };
    Finding::warning(code, (id, metadata), position, message)
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
