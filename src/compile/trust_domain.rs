//! Writes trust-domain aliases out, so that nothing later needs to know them.
//!
//! Istio's rules: a principal of five parts whose trust domain fits the local one or an alias (a
//! star on either side counts), or is `cluster.local`, stands for all of them. A trust domain that
//! is known stands for all of them; there `cluster.local` is nothing special.

use std::sync::Arc;

use crate::model::{
    AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Located, Mesh, Rule, StringList,
};

/// The policy with `principals`, `trustDomains` and their `when` forms expanded; itself, not a copy,
/// where none is there.
pub(crate) fn expand(policy: &Arc<AuthorizationPolicy>, mesh: &Mesh) -> Arc<AuthorizationPolicy> {
    if !policy.rules.iter().any(names_trust_domains) {
        return policy.clone();
    }
    let known: Vec<&str> = std::iter::once(mesh.trust_domain.as_str())
        .chain(mesh.trust_domain_aliases.iter().map(String::as_str))
        .collect();
    let mut expanded = AuthorizationPolicy::clone(policy);
    for rule in &mut expanded.rules {
        for source in &mut rule.from {
            for list in [&mut source.principals, &mut source.not_principals] {
                expand_list(list, |p| expand_principal(p, &known));
            }
            for list in [&mut source.trust_domains, &mut source.not_trust_domains] {
                expand_list(list, |d| expand_trust_domain(d, &known));
            }
        }
        for condition in &mut rule.when {
            let Some(expand) = expansion(condition) else { continue };
            for values in [&mut condition.values, &mut condition.not_values] {
                if let ConditionValues::Patterns(list) = values {
                    expand_list(list, |value| expand(value, &known));
                }
            }
        }
    }
    // Most stay as they are, and are kept once.
    if expanded == **policy { policy.clone() } else { Arc::new(expanded) }
}

fn names_trust_domains(rule: &Rule) -> bool {
    rule.from.iter().any(|source| {
        let lists = [
            &source.principals,
            &source.not_principals,
            &source.trust_domains,
            &source.not_trust_domains,
        ];
        lists.into_iter().any(|list| !list.is_empty())
    }) || rule.when.iter().any(|condition| expansion(condition).is_some())
}

/// What a value stands for, by the trust domains that are known.
type Expand = fn(&str, &[&str]) -> Vec<String>;

/// How the values of a condition are expanded, if they are.
fn expansion(condition: &Condition) -> Option<Expand> {
    if condition.key == ConditionKey::SourcePrincipal {
        Some(expand_principal)
    } else if condition.key == ConditionKey::SourceTrustDomain {
        Some(expand_trust_domain)
    } else {
        None
    }
}

fn expand_list(list: &mut StringList, expand: impl Fn(&str) -> Vec<String>) {
    let mut expanded: StringList = Vec::with_capacity(list.len());
    for entry in list.iter() {
        for value in expand(entry) {
            if !expanded.iter().any(|e| e.value == value) {
                expanded.push(Located::new(value, entry.position));
            }
        }
    }
    *list = expanded;
}

fn expand_principal(principal: &str, known: &[&str]) -> Vec<String> {
    let keep = || vec![principal.to_owned()];
    let Some((domain, rest)) = principal.split_once('/') else { return keep() };
    if rest.matches('/').count() != 3 || domain == "*" {
        return keep();
    }
    if domain != "cluster.local" && !known.iter().any(|k| overlaps(domain, k)) {
        return keep();
    }
    let mut all = Vec::new();
    for domain_or_alias in known {
        // A pattern that takes the alias already stays as it is.
        let value = if suffix_takes(domain_or_alias, domain) {
            principal.to_owned()
        } else {
            format!("{domain_or_alias}/{rest}")
        };
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

fn expand_trust_domain(domain: &str, known: &[&str]) -> Vec<String> {
    if known.contains(&domain) {
        known.iter().map(|&k| k.to_owned()).collect()
    } else {
        vec![domain.to_owned()]
    }
}

/// Whether a trust domain of a policy and a known one are the same, either being a pattern.
fn overlaps(a: &str, b: &str) -> bool {
    a == b
        || b == "*"
        || prefix_takes(a, b)
        || prefix_takes(b, a)
        || suffix_takes(a, b)
        || suffix_takes(b, a)
}

fn prefix_takes(value: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').is_some_and(|prefix| value.starts_with(prefix))
}

fn suffix_takes(value: &str, pattern: &str) -> bool {
    pattern.strip_prefix('*').is_some_and(|suffix| value.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::pointer("cluster.local/ns/a/sa/a", &["td1", "td0"], &["td1/ns/a/sa/a", "td0/ns/a/sa/a"])]
    #[case::unknown("td9/ns/a/sa/a", &["td1", "td0"], &["td9/ns/a/sa/a"])]
    #[case::alias("td0/ns/a/sa/*", &["td1", "td0"], &["td1/ns/a/sa/*", "td0/ns/a/sa/*"])]
    #[case::three_parts("td0/ns/*", &["td1", "td0"], &["td0/ns/*"])]
    #[case::star_domain("*/ns/a/sa/a", &["td1"], &["*/ns/a/sa/a"])]
    #[case::suffix("*-td/ns/a/sa/a", &["new-td", "old-td", "other"], &["*-td/ns/a/sa/a", "other/ns/a/sa/a"])]
    fn principals(#[case] principal: &str, #[case] known: &[&str], #[case] expect: &[&str]) {
        assert_eq!(expand_principal(principal, known), expect);
    }

    #[test]
    fn cluster_local_is_no_pointer_in_trust_domains() {
        assert_eq!(expand_trust_domain("cluster.local", &["td1"]), ["cluster.local"]);
        assert_eq!(expand_trust_domain("td0", &["td1", "td0"]), ["td1", "td0"]);
    }
}
