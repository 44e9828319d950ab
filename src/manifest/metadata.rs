//! `metadata`: Kubernetes' ObjectMeta, of which Postern uses a few fields and accepts the rest.
//!
//! Leaves rules about annotations to `admission`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    codes,
    cursor::{At, Fields, expect_mapping, string},
    problem::{Problem, Report},
    text::quoted,
    time::parse_timestamp,
};
use crate::model::{Kind, Metadata, Position, ResourceId};

/// Fields of ObjectMeta that change nothing here.
const OTHERS: [&str; 10] = [
    "generateName",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// Who a document is about, as far as can be told before it is read in earnest.
pub(crate) fn identity(
    kind: Kind,
    document: &At<'_>,
    default_namespace: &Arc<str>,
) -> Option<ResourceId> {
    let metadata = document.get("metadata")?;
    let name = metadata.get("name")?.str().filter(|name| !name.is_empty())?;
    let namespace = match metadata.get("namespace").as_ref().map(At::str) {
        None | Some(Some("")) => default_namespace.clone(),
        Some(Some(namespace)) => Arc::from(namespace),
        Some(None) => return None,
    };
    Some(ResourceId { kind, namespace, name: Arc::from(name) })
}

pub(crate) fn decode(
    at: &At<'_>,
    position: Position,
    default_namespace: &Arc<str>,
    report: &mut Report<'_>,
) -> Metadata {
    let mut fields = Fields::open(at, report);
    let name = fields.required("name").and_then(|at| {
        let help = "up to 253 of `a-z`, `0-9`, `-` and `.`, each part with a letter or digit at both \
                    ends";
        name_of(&at, 253, is_subdomain, help, fields.report)
    });
    let namespace = non_null(&mut fields, "namespace").and_then(|at| {
        if at.str() == Some("") {
            return None;
        }
        let help = "up to 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends";
        name_of(&at, 63, is_label, help, fields.report)
    });
    let labels = strings(&mut fields, "labels");
    let annotations = strings(&mut fields, "annotations");
    let creation_timestamp = non_null(&mut fields, "creationTimestamp").and_then(|at| {
        let text = string(&at, fields.report)?;
        let seconds = parse_timestamp(&text);
        if seconds.is_none() {
            let message = format!("{} is not a time", quoted(&text));
            fields.report.add(
                Problem::error(codes::BAD_TIMESTAMP, &at, message)
                    .help("write it like `2024-05-01T12:00:00Z`"),
            );
        }
        seconds
    });
    OTHERS.iter().for_each(|name| fields.any(name));
    let file = fields.report.text.file.clone();
    fields.close();
    Metadata {
        namespace: namespace.map_or_else(|| default_namespace.clone(), Arc::from),
        name: name.map(Arc::from).unwrap_or_default(),
        labels,
        annotations,
        creation_timestamp,
        file,
        position,
    }
}

/// A field where null is common and harmless (`creationTimestamp: null` of generated manifests).
fn non_null<'n>(fields: &mut Fields<'n, '_, '_>, name: &'static str) -> Option<At<'n>> {
    fields.any(name);
    fields.node_of(name)
}

/// A map of strings.
fn strings(fields: &mut Fields<'_, '_, '_>, name: &'static str) -> BTreeMap<String, String> {
    let Some(at) = non_null(fields, name) else { return BTreeMap::new() };
    string_map(&at, fields.report)
}

/// A map of strings. A value that is none is an error, never a smaller map.
pub(crate) fn string_map(at: &At<'_>, report: &mut Report<'_>) -> BTreeMap<String, String> {
    expect_mapping(at, report);
    at.entries().filter_map(|(entry, at)| Some((entry.key.clone(), string(&at, report)?))).collect()
}

fn name_of(
    at: &At<'_>,
    longest: usize,
    is_valid: fn(&str) -> bool,
    help: &str,
    report: &mut Report<'_>,
) -> Option<String> {
    let text = string(at, report)?;
    if text.len() <= longest && is_valid(&text) {
        return Some(text);
    }
    let message = if text.is_empty() {
        "a name cannot be empty".to_owned()
    } else {
        format!("{} is not a valid name", quoted(&text))
    };
    report.add(Problem::error(codes::BAD_NAME, at, message).help(format!("a name has {help}")));
    None
}

/// RFC 1123 label.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// RFC 1123 subdomain: labels with dots between.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}
