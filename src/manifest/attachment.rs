//! `selector`, `targetRef` and `targetRefs`: what a policy is attached to.
//!
//! Reads them; which combinations and kinds are allowed is `admission`'s job.

use std::collections::BTreeMap;

use super::{
    admission,
    cursor::{At, Fields},
    metadata::string_map,
    problem::Report,
    text::Text,
};
use crate::model::{Attachment, Kind, PolicyTargetReference};

/// Reads the attachment out of an open `spec`.
pub(crate) fn decode(kind: Kind, spec: &mut Fields<'_, '_, '_>) -> Attachment {
    let selector = spec.optional("selector").map(|at| selector(&at, spec.report));
    let mut target_refs = Vec::new();
    if kind != Kind::PeerAuthentication {
        let target_ref = spec.optional("targetRef");
        target_refs.extend(target_ref.and_then(|at| reference(&at, spec.report)));
        target_refs.extend(spec.list("targetRefs", reference));
    }
    Attachment { selector, target_refs }
}

/// The attachment of a policy that may be refused. `None` where it cannot be told for sure, also
/// because `admission` refuses it: such a policy might otherwise seem to be attached to nothing.
pub(crate) fn of_refused(kind: Kind, document: &At<'_>) -> Option<Attachment> {
    let Some(spec) = document.get("spec") else { return Some(Attachment::default()) };
    let nowhere = Text::new("", None);
    let mut report = Report::new(&nowhere);
    let mut fields = Fields::open(&spec, &mut report);
    let attachment = decode(kind, &mut fields);
    admission::attachment::check(kind, &spec, &mut report);
    (report.errors() == 0).then_some(attachment)
}

fn selector(at: &At<'_>, report: &mut Report<'_>) -> BTreeMap<String, String> {
    let mut fields = Fields::open(at, report);
    let labels = fields.optional("matchLabels").map(|at| string_map(&at, fields.report));
    fields.close_with(|name| {
        (name == "matchExpressions").then(|| "policies select by `matchLabels` only".to_owned())
    });
    labels.unwrap_or_default()
}

fn reference(at: &At<'_>, report: &mut Report<'_>) -> Option<PolicyTargetReference> {
    let mut fields = Fields::open(at, report);
    let reference = PolicyTargetReference {
        group: fields.string("group").unwrap_or_default(),
        kind: fields.required_string("kind"),
        name: fields.required_string("name"),
    };
    fields.any("namespace");
    if let Some(namespace) = fields.node_of("namespace") {
        let _ = super::cursor::string(&namespace, fields.report);
    }
    fields.close();
    Some(reference)
}
