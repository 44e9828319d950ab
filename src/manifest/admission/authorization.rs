//! Rules on the spec of an `AuthorizationPolicy`.
//!
//! Addresses, ports and condition keys were checked when they were parsed.

use super::{at_most, no_empty};
use crate::manifest::{
    codes,
    cursor::At,
    node::Content,
    problem::{Problem, Report},
    text::quoted,
};

/// Fields of a source that CUSTOM policies cannot use: they are decided before there are identities.
const IDENTITY_FIELDS: [&str; 10] = [
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
];

/// Fields of a source that hold for plain TCP as well, as Istio counts them.
const TCP_SOURCE_FIELDS: [&str; 10] = [
    "principals",
    "notPrincipals",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
];

pub(super) fn check(spec: &At<'_>, report: &mut Report<'_>) {
    let action = spec.get("action").and_then(|at| at.str()).unwrap_or("ALLOW");
    provider(spec, action, report);
    at_most(512, spec, "rules", report);
    let rules = spec.get("rules");
    let none = rules.as_ref().is_none_or(|rules| rules.node.items().is_empty());
    if none && matches!(action, "DENY" | "CUSTOM") {
        let message = format!("a {action} policy without `rules` never matches");
        report.add(
            Problem::error(codes::NO_RULES, rules.as_ref().unwrap_or(spec), message)
                .help("add `rules: [{}]` to match every request"),
        );
    }
    for rule in spec.each("rules") {
        check_rule(&rule, action, report);
    }
}

fn provider(spec: &At<'_>, action: &str, report: &mut Report<'_>) {
    let provider = spec.get("provider");
    let (at, message) = match provider {
        Some(provider) if action != "CUSTOM" => {
            (provider, format!("`provider` is for CUSTOM policies only, not {action}"))
        }
        Some(provider) => match provider.get("name") {
            Some(name) if name.str() != Some("") => return,
            Some(_) | None => (provider, "a CUSTOM policy needs `provider.name`".to_owned()),
        },
        None if action == "CUSTOM" => {
            (spec.clone(), "a CUSTOM policy needs `provider.name`".to_owned())
        }
        None => return,
    };
    report.add(Problem::error(codes::BAD_PROVIDER, &at, message));
}

fn check_rule(rule: &At<'_>, action: &str, report: &mut Report<'_>) {
    at_most(512, rule, "from", report);
    for name in ["from", "to"] {
        if let Some(at) = rule
            .get(name)
            .filter(|at| matches!(&at.node.content, Content::Sequence(items) if items.is_empty()))
        {
            let message = format!("`{name}` is empty, which would match everything");
            let help = format!("remove `{name}` to match everything, or add an entry");
            report.add(Problem::error(codes::EMPTY_MATCH, &at, message).help(help));
        }
    }
    let (mut has_from, mut has_to) = (false, false);
    let (mut tcp_from, mut tcp_to) = (false, false);
    for from in rule.each("from") {
        let Some(source) = inner(&from, "source", report) else { continue };
        has_from = true;
        tcp_from |= TCP_SOURCE_FIELDS.iter().any(|name| has_items(&source, name));
        check_source(&source, action, report);
    }
    for to in rule.each("to") {
        let Some(operation) = inner(&to, "operation", report) else { continue };
        has_to = true;
        tcp_to |= ["ports", "notPorts"].iter().any(|name| has_items(&operation, name));
        check_operation(&operation, report);
    }
    for condition in rule.each("when") {
        check_condition(&condition, action, report);
    }
    let http_only = (has_from && !has_to && !tcp_from) || (has_to && !tcp_to);
    if action == "DENY" && http_only {
        let message =
            "this DENY rule uses HTTP attributes only, so it denies all plain TCP traffic";
        report.add(
            Problem::warning(codes::DENY_HTTP_ONLY, rule, message)
                .help("add `ports` to its operations to leave other ports alone"),
        );
    }
}

/// The `source` or `operation` of an entry, where it says anything at all.
fn inner<'n>(entry: &At<'n>, name: &str, report: &mut Report<'_>) -> Option<At<'n>> {
    if !matches!(entry.node.content, Content::Mapping(_)) {
        return None;
    }
    let inner = entry.get(name);
    // What has unknown fields only was meant to say something; that is reported elsewhere.
    let says_nothing = |at: &At<'_>| {
        at.node.entries().iter().all(|entry| match &entry.value.content {
            Content::Null => true,
            Content::Sequence(items) => items.is_empty(),
            Content::Bool(_)
            | Content::OldBool { .. }
            | Content::Number(_)
            | Content::String(_)
            | Content::Mapping(_) => false,
        })
    };
    let is_mapping =
        |at: &At<'_>| matches!(at.node.content, Content::Mapping(_)) && says_nothing(at);
    let (at, what) = match &inner {
        None if entry.node.entries().iter().any(|entry| entry.key != name) => return None,
        None => (entry, "is missing"),
        Some(at) if is_mapping(at) => (at, "is empty"),
        Some(_) => return inner,
    };
    let message = format!("`{name}` {what}, which would match everything");
    report.add(
        Problem::error(codes::EMPTY_MATCH, at, message)
            .help("name at least one value, or remove the entry"),
    );
    None
}

fn has_items(at: &At<'_>, name: &str) -> bool {
    at.get(name).is_some_and(|list| !list.node.items().is_empty())
}

fn check_source(source: &At<'_>, action: &str, report: &mut Report<'_>) {
    if action == "CUSTOM" {
        for name in IDENTITY_FIELDS.iter().filter(|name| has_items(source, name)) {
            custom_unsupported(source.get(name).as_ref().unwrap_or(source), name, report);
        }
    }
    let accounts = ["serviceAccounts", "notServiceAccounts"].iter().find_map(|n| source.get(n));
    let others = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    if let Some(accounts) = accounts
        && others.iter().any(|name| source.get(name).is_some())
    {
        let message = "`serviceAccounts` cannot stand beside `principals` or `namespaces`";
        report.add(
            Problem::error(codes::SERVICE_ACCOUNT_CONFLICT, &accounts, message)
                .help("give each a `source` of its own; any of them may match"),
        );
    }
    for name in [
        "principals",
        "notPrincipals",
        "requestPrincipals",
        "notRequestPrincipals",
        "namespaces",
        "notNamespaces",
    ] {
        no_empty(source, name, report);
    }
    for name in ["serviceAccounts", "notServiceAccounts"] {
        service_accounts(source, name, report);
    }
    for name in ["trustDomains", "notTrustDomains"] {
        trust_domains(source, name, true, report);
    }
}

fn check_operation(operation: &At<'_>, report: &mut Report<'_>) {
    for name in ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"] {
        no_empty(operation, name, report);
    }
    for name in ["paths", "notPaths"] {
        for at in operation.each(name) {
            if let Some(wrong) = at.str().and_then(wrong_template) {
                report.add(
                    Problem::error(codes::BAD_PATH_TEMPLATE, &at, wrong)
                        .help("write templates like `/users/{*}/orders` or `/files/{**}`"),
                );
            }
        }
    }
}

fn check_condition(condition: &At<'_>, action: &str, report: &mut Report<'_>) {
    let Some(key_at) = condition.get("key") else { return };
    let Some(key) = key_at.str() else { return };
    let of_identity = key.starts_with("request.auth.")
        || matches!(
            key,
            "source.namespace"
                | "source.serviceAccount"
                | "source.trustDomain"
                | "source.principal"
        );
    if action == "CUSTOM" && of_identity {
        custom_unsupported(&key_at, key, report);
    }
    let lists = ["values", "notValues"];
    if lists.iter().all(|name| {
        condition.get(name).is_none_or(
            |at| matches!(&at.node.content, Content::Sequence(items) if items.is_empty()),
        )
    }) {
        let message = "a condition needs `values` or `notValues`";
        report.add(Problem::error(codes::NO_VALUES, condition, message));
    }
    for name in lists {
        match key {
            "source.serviceAccount" => service_accounts(condition, name, report),
            "source.trustDomain" => trust_domains(condition, name, false, report),
            // Parsed, so not empty.
            "source.ip" | "remote.ip" | "destination.ip" | "destination.port" => {}
            _ => no_empty(condition, name, report),
        }
    }
}

fn custom_unsupported(at: &At<'_>, what: &str, report: &mut Report<'_>) {
    let message = format!("{} cannot be used in a CUSTOM policy", quoted(what));
    report.add(
        Problem::error(codes::CUSTOM_UNSUPPORTED, at, message)
            .help("CUSTOM policies are decided before identities are; use a DENY or ALLOW policy"),
    );
}

fn service_accounts(parent: &At<'_>, name: &str, report: &mut Report<'_>) {
    at_most(16, parent, name, report);
    for at in parent.each(name) {
        let Some(text) = at.str() else { continue };
        let wrong = if text.is_empty() {
            "is empty"
        } else if text.contains('*') {
            "has a `*`; service accounts match exactly"
        } else if text.len() > 320 {
            "is longer than 320 bytes"
        } else if text.matches('/').count() > 1 || text.starts_with('/') || text.ends_with('/') {
            "has more or less than a namespace and a name"
        } else {
            continue;
        };
        let message = format!("the service account {} {wrong}", quoted(text));
        report.add(
            Problem::error(codes::BAD_SERVICE_ACCOUNT, &at, message)
                .help("write `name`, or `namespace/name`"),
        );
    }
}

fn trust_domains(parent: &At<'_>, name: &str, no_slash: bool, report: &mut Report<'_>) {
    for at in parent.each(name) {
        let Some(text) = at.str() else { continue };
        let stars = text.matches('*').count();
        let wrong = if text.is_empty() {
            "is empty"
        } else if stars > 1 || (stars == 1 && !text.starts_with('*') && !text.ends_with('*')) {
            "may have one `*`, at its start or end"
        } else if no_slash && text.contains('/') {
            "cannot have a `/`"
        } else {
            continue;
        };
        let message = format!("the trust domain {} {wrong}", quoted(text));
        report.add(
            Problem::error(codes::BAD_TRUST_DOMAIN, &at, message)
                .help("write it like `cluster.local`, `prod-*`, `*.example.com` or `*`"),
        );
    }
}

/// What is wrong with a path as a template, if anything. Braces are for templates alone.
fn wrong_template(path: &str) -> Option<String> {
    let is_template = path.contains("{*}") || path.contains("{**}");
    let mut ended = false;
    for segment in path.trim_matches('/').split('/') {
        match segment {
            "{*}" | "{**}" if ended => {
                return Some(format!("`{{**}}` must be the last operator of {}", quoted(path)));
            }
            "{*}" => continue,
            "{**}" => {
                ended = true;
                continue;
            }
            _ => {}
        }
        if segment.contains(['{', '}']) {
            return Some(format!(
                "{} has a brace that is not of a whole segment `{{*}}` or `{{**}}`",
                quoted(path)
            ));
        }
        let literal = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()+,;:@=".contains(c);
        if is_template && (segment.is_empty() || !segment.chars().all(literal)) {
            return Some(format!(
                "the segment {} of the template {} cannot be matched literally",
                quoted(segment),
                quoted(path)
            ));
        }
    }
    None
}
