//! Trust domains and their aliases: what stands for one of them stands for all.

/// `principals`: only those of five parts, by the first of them.
pub(super) fn expand_principals(principals: &[String], known: &[String]) -> Vec<String> {
    principals.iter().flat_map(|principal| of_principal(principal, known)).collect()
}

/// `trustDomains`: only those that are known by exactly that name.
pub(super) fn expand_domains(domains: &[String], known: &[String]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for domain in domains {
        let stands_for = if known.contains(domain) { known } else { std::slice::from_ref(domain) };
        for name in stands_for {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
    }
    all
}

fn of_principal(principal: &str, known: &[String]) -> Vec<String> {
    let parts: Vec<&str> = principal.split('/').collect();
    let [domain, rest @ ..] = parts.as_slice() else { unreachable!("split yields a part") };
    let is_known =
        *domain == "cluster.local" || known.iter().any(|name| either_takes(name, domain));
    if parts.len() != 5 || *domain == "*" || !is_known {
        return vec![principal.to_owned()];
    }
    let renamed = known.iter().map(|name| match domain.strip_prefix('*') {
        Some(end) if name.ends_with(end) => principal.to_owned(),
        _ => format!("{name}/{}", rest.join("/")),
    });
    renamed.collect()
}

/// Equal, or one is a pattern that takes the other.
fn either_takes(a: &str, b: &str) -> bool {
    let takes = |pattern: &str, text: &str| {
        let by_end = pattern.strip_prefix('*').is_some_and(|end| text.ends_with(end));
        by_end || pattern.strip_suffix('*').is_some_and(|start| text.starts_with(start))
    };
    a == b || takes(a, b) || takes(b, a)
}
