//! Texts that patterns take.

/// What stands for a star: short, and unlike what people write.
pub(super) const FILLS: [&str; 4] = ["x", "y9", "z/q", ""];

/// Texts that one of Istio's plain patterns takes, the likeliest first.
pub(super) fn taken(pattern: &str) -> Vec<String> {
    let with = |make: &dyn Fn(&str) -> String| FILLS.iter().map(|fill| make(fill)).collect();
    if pattern == "*" {
        return with(&|fill| fill.to_owned());
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => with(&|fill| format!("{fill}{suffix}")),
        (None, Some(prefix)) => with(&|fill| format!("{prefix}{fill}")),
        (None, None) => vec![pattern.to_owned()],
    }
}

/// Texts that all of `yes` may take (one of each is enough for Istio) and `no` may leave: those made
/// from `yes`, or from what there is now where there is none.
pub(super) fn between(yes: &[&str], no: &[&str], now: Option<&str>) -> Vec<String> {
    let mut all: Vec<String> = yes.iter().flat_map(|pattern| taken(pattern)).collect();
    if yes.is_empty() {
        all.extend(["x", "other"].map(str::to_owned));
        all.extend(now.map(|now| format!("{now}x")));
        all.extend(now.map(|now| format!("x{now}")));
        // The neighbours of what is not wanted.
        all.extend(no.iter().flat_map(|pattern| taken(pattern)).map(|text| format!("{text}x")));
    }
    dedup(all)
}

/// The same for paths, which begin with a slash and may be templates.
pub(super) fn paths_between(yes: &[&str], no: &[&str], now: Option<&str>) -> Vec<String> {
    let mut all = Vec::new();
    for pattern in yes {
        if pattern.contains("{*}") || pattern.contains("{**}") {
            for (one, many) in [("x", "x/y"), ("x", "x"), ("y9", ""), ("y9", "q")] {
                all.push(pattern.replace("{**}", many).replace("{*}", one));
            }
        } else {
            all.extend(taken(pattern));
        }
    }
    if yes.is_empty() {
        all.extend(["/", "/x", "/other"].map(str::to_owned));
        all.extend(now.map(|now| format!("{now}x")));
        all.extend(now.map(|now| format!("/x{now}")));
        all.extend(no.iter().map(|pattern| format!("{}x", pattern.replace(['*', '{', '}'], ""))));
    }
    // Requests have paths that begin with a slash; a pattern may take others too.
    let (mut rooted, others): (Vec<_>, Vec<_>) =
        dedup(all).into_iter().partition(|path| path.starts_with('/'));
    rooted.extend(others.iter().map(|path| format!("/{path}")));
    rooted.extend(others);
    dedup(rooted)
}

/// Each once, in order.
pub(super) fn dedup(all: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    all.into_iter().filter(|text| seen.insert(text.clone())).collect()
}
