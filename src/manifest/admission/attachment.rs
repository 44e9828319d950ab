//! Rules on `selector`, `targetRef` and `targetRefs`.
//!
//! Leaves to `compile` whether what they name exists.

use super::at_most;
use crate::manifest::{
    codes,
    cursor::At,
    metadata::is_subdomain,
    problem::{Problem, Report},
    text::quoted,
};
use crate::model::Kind;

/// Group and kind of what policies can be attached to.
const TARGETS: [(&str, &str); 5] = [
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

pub(in crate::manifest) fn check(kind: Kind, spec: &At<'_>, report: &mut Report<'_>) {
    let selector = spec.get("selector");
    if let Some(selector) = &selector {
        labels(selector, report);
    }
    if kind == Kind::PeerAuthentication {
        return;
    }
    let ways = ["selector", "targetRef", "targetRefs"];
    let used: Vec<_> = ways.iter().filter_map(|name| spec.get(name)).collect();
    if let [_, second, ..] = used.as_slice() {
        let message = "only one of `selector`, `targetRef` and `targetRefs` can be set";
        report.add(
            Problem::error(codes::TWO_ATTACHMENTS, second, message)
                .help("split the policy in two, one for each"),
        );
    }
    at_most(16, spec, "targetRefs", report);
    for reference in spec.get("targetRef").into_iter().chain(spec.each("targetRefs")) {
        target_ref(&reference, report);
    }
}

fn labels(selector: &At<'_>, report: &mut Report<'_>) {
    at_most(4096, selector, "matchLabels", report);
    let labels = selector.get("matchLabels");
    let mut none = true;
    for (entry, at) in labels.iter().flat_map(At::entries) {
        none = false;
        let value = at.str().unwrap_or_default();
        let wrong = if entry.key.is_empty() {
            "a label needs a name"
        } else if entry.key.contains('*') || value.contains('*') {
            "a selector matches labels exactly, `*` has no meaning in it"
        } else if value.chars().count() > 63 {
            "the value of a label has at most 63 characters"
        } else {
            continue;
        };
        report.add(Problem::error(codes::BAD_LABEL, &at, wrong));
    }
    if none {
        let message = "the selector has no labels and selects every workload of its namespace";
        report.add(
            Problem::warning(codes::SELECTOR_WITHOUT_LABELS, selector, message)
                .help("leave `selector` out to say so, or add `matchLabels`"),
        );
    }
}

fn target_ref(reference: &At<'_>, report: &mut Report<'_>) {
    let field = |name| reference.get(name).and_then(|at| Some((at.str()?, at)));
    let mut bad = |at: &At<'_>, message: String, help: &str| {
        report.add(Problem::error(codes::BAD_TARGET_REF, at, message).help(help));
    };
    let group = field("group");
    if let Some((text, at)) = &group
        && !text.is_empty()
        && (text.len() > 253 || !is_subdomain(text))
    {
        let message = format!("{} is not an API group", quoted(text));
        bad(at, message, "write it like `gateway.networking.k8s.io`");
    }
    if let Some((text, at)) = field("name")
        && (text.is_empty() || text.chars().count() > 253)
    {
        bad(&at, "a name has 1 to 253 characters".to_owned(), "write the name of the target");
    }
    if let Some((namespace, at)) = field("namespace")
        && !namespace.is_empty()
    {
        let message = "a policy can only refer to targets in its own namespace".to_owned();
        bad(&at, message, "remove `namespace`");
    }
    let Some((kind, at)) = field("kind") else { return };
    let group = group.map(|(text, _)| text).unwrap_or_default();
    if !TARGETS.contains(&(group, kind)) {
        let target = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
        let message = format!("a policy cannot be attached to {}", quoted(&target));
        report.add(Problem::error(codes::TARGET_REF_KIND, &at, message).help(
            "write `Service`, `networking.istio.io` `ServiceEntry`, `gateway.networking.k8s.io` \
             `Gateway` or `GatewayClass` as group and kind",
        ));
    }
}
