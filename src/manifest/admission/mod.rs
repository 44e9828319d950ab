//! What Istio's webhook and the CRD schemas refuse or warn about in resources of sound structure.
//!
//! Works on the document, not on the resource: it must tell an absent list from an empty one, and
//! say where things stand. Values of the wrong type are passed over; the decoders report them.

pub(super) mod attachment;
mod authentication;
mod authorization;

use super::{
    authorization::{DRY_RUN, parse_bool},
    codes,
    cursor::At,
    deny_annotations,
    problem::{Problem, Report},
    text::quoted,
};
use crate::model::Kind;

/// Annotations with which a resource would pass for one that Istio made itself.
const RESERVED: [&str; 3] = [
    "internal.istio.io/webhook-always-reject",
    "internal.istio.io/parents",
    "internal.istio.io/parent-namespace",
];

/// Reports everything about one resource.
pub(crate) fn check(kind: Kind, document: &At<'_>, report: &mut Report<'_>) {
    annotations(kind, document, report);
    let Some(spec) = document.get("spec") else { return };
    if kind != Kind::ApiRule {
        attachment::check(kind, &spec, report);
    }
    match kind {
        Kind::AuthorizationPolicy => authorization::check(&spec, report),
        Kind::RequestAuthentication => authentication::check_request(&spec, report),
        Kind::PeerAuthentication => authentication::check_peer(&spec, report),
        Kind::ApiRule => {}
    }
}

fn annotations(kind: Kind, document: &At<'_>, report: &mut Report<'_>) {
    let Some(annotations) = document.get("metadata").and_then(|at| at.get("annotations")) else {
        return;
    };
    for (entry, at) in annotations.entries() {
        if RESERVED.contains(&entry.key.as_str()) {
            let message = format!("the annotation {} may not be set", quoted(&entry.key));
            report.add(Problem::error(codes::RESERVED_ANNOTATION, &at, message).help("remove it"));
        }
    }
    let spec = document.get("spec");
    let action = spec.and_then(|spec| spec.get("action")).and_then(|at| at.str());
    deny_annotations::check(kind, &annotations, action, report);
    let Some(dry_run) = annotations.get(DRY_RUN) else { return };
    let (message, help) = if kind != Kind::AuthorizationPolicy {
        (format!("`{DRY_RUN}` is for AuthorizationPolicy only, not {kind}"), "remove it")
    } else if !matches!(action, None | Some("ALLOW" | "DENY" | "CUSTOM")) {
        (format!("`{DRY_RUN}` is for ALLOW, DENY and CUSTOM policies only"), "remove it")
    } else if let Some(text) = dry_run.str().filter(|text| parse_bool(text).is_none()) {
        let message = format!("{} is not a boolean; the policy would be enforced", quoted(text));
        (message, "write `\"true\"` or `\"false\"`")
    } else {
        return;
    };
    report.add(Problem::error(codes::BAD_DRY_RUN, &dry_run, message).help(help));
}

/// Reports a list with more items than the CRD schema allows.
fn at_most(maximum: usize, parent: &At<'_>, name: &str, report: &mut Report<'_>) {
    let Some(at) = parent.get(name) else { return };
    let count = at.node.items().len().max(at.node.entries().len());
    if count > maximum {
        let message = format!("`{name}` has {count} entries; at most {maximum} are allowed");
        report.add(Problem::error(codes::TOO_MANY, &at, message));
    }
}

/// Reports every empty string of a list.
fn no_empty(parent: &At<'_>, name: &str, report: &mut Report<'_>) {
    for at in parent.each(name).iter().filter(|at| at.str() == Some("")) {
        let message = format!("an empty string in `{name}`");
        report.add(
            Problem::error(codes::EMPTY_VALUE, at, message)
                .help("write a value, or remove the entry"),
        );
    }
}
