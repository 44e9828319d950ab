//! Kubernetes' `Service`, of which only the name and the selector matter here.
//!
//! Everything else of it is left unread: it is no policy, and Kubernetes checks it.

use std::sync::Arc;

use super::{
    codes,
    cursor::{At, expect_mapping},
    metadata::string_map,
    problem::{Problem, Report},
};
use crate::model::Service;

/// Reads one. One that cannot be read is an error: the workloads that it leads to are not known.
pub(crate) fn decode(
    at: &At<'_>,
    default_namespace: &Arc<str>,
    report: &mut Report<'_>,
) -> Option<Service> {
    let metadata = at.get("metadata");
    let text = |name: &str| {
        let found = metadata.as_ref()?.get(name)?.str()?;
        (!found.is_empty()).then(|| found.to_owned())
    };
    let Some(name) = text("name") else {
        let message = "a Service without `metadata.name`";
        let problem = Problem::error(codes::MISSING_FIELD, at.absent("metadata.name"), message);
        report.add(problem.help("name it as the APIRules do"));
        return None;
    };
    let errors = report.errors();
    let spec = at.get("spec");
    if let Some(spec) = &spec {
        expect_mapping(spec, report);
    }
    let selector = spec.and_then(|spec| spec.get("selector"));
    let selector = selector.map(|at| string_map(&at, report)).unwrap_or_default();
    let namespace = text("namespace").unwrap_or_else(|| default_namespace.to_string());
    (report.errors() == errors).then_some(Service { namespace, name, selector })
}
