//! Headers that the rule of an APIRule sets in requests that pass.

use std::sync::LazyLock;

use crate::authn::Changes;
use crate::decide::{Subject, subject};
use crate::model::{Attributes, Value};
use crate::mutation::Context;
use crate::plan::WorkloadPlan;

/// Sets the headers of the request's rule, if it has one. A header whose value comes to nothing is
/// taken out all the same: a client's own is never taken for one of these.
pub fn apply(
    plan: &WorkloadPlan,
    attributes: &mut Attributes<'_>,
    claims: Option<&Value>,
    changes: &mut Changes,
) {
    let Subject::Rule(route) = subject(plan, attributes) else { return };
    let headers = &route.plan.headers;
    if headers.is_empty() {
        return;
    }
    // All of them are made of the request as it was.
    let context = Context { attributes, claims, hostname: hostname() };
    let values: Vec<_> = headers.iter().map(|(_, format)| format.value(&context)).collect();
    let Some(http) = &mut attributes.http else { return };
    for ((name, _), value) in headers.iter().zip(values) {
        let was_there = http.headers.remove(name);
        if let Some(value) = value {
            http.headers.append(name.to_string().into(), value.into());
        } else if !was_there {
            continue;
        }
        changes.note_header(name);
    }
}

/// The name of this machine; empty where it has none.
pub fn hostname() -> &'static str {
    static HOSTNAME: LazyLock<String> = LazyLock::new(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        name.trim().to_owned()
    });
    &HOSTNAME
}
