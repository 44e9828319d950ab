//! What an APIRule says about traffic that an authorization server has no part in: timeouts and CORS.
//!
//! Checked, since a bad one refuses the resource, and then left to the proxy.

use super::super::{
    authentication::duration,
    codes,
    cursor::{At, Fields, number, string},
    problem::{Problem, Report},
};

/// `timeout`, in seconds.
pub(super) fn timeout(fields: &mut Fields<'_, '_, '_>) {
    let Some(at) = fields.optional("timeout") else { return };
    let Some(seconds) = number(&at, fields.report) else { return };
    if !(1..=3900).contains(&seconds) {
        fields.report.add(
            Problem::error(codes::OUT_OF_RANGE, &at, format!("`{seconds}` is not a timeout"))
                .help("write a number of seconds from 1 to 3900"),
        );
    }
}

/// `corsPolicy`, whose `maxAge` is a number of seconds in v2 and a duration before.
pub(super) fn cors_policy(fields: &mut Fields<'_, '_, '_>, is_v2: bool) {
    let Some(at) = fields.optional("corsPolicy") else { return };
    let mut cors = Fields::open(&at, fields.report);
    for name in ["allowHeaders", "allowMethods", "exposeHeaders"] {
        cors.strings(name);
    }
    cors.list("allowOrigins", |at, report| {
        origin(at, report);
        Some(())
    });
    cors.boolean("allowCredentials");
    if let Some(age) = cors.optional("maxAge") {
        if is_v2 {
            number(&age, cors.report);
        } else {
            duration(&age, cors.report);
        }
    }
    cors.close();
}

fn origin(at: &At<'_>, report: &mut Report<'_>) {
    let mut fields = Fields::open(at, report);
    let forms: Vec<_> =
        ["regex", "exact", "prefix"].into_iter().filter_map(|name| fields.optional(name)).collect();
    for form in &forms {
        string(form, fields.report);
    }
    if forms.len() != 1 {
        let message = "an origin is one of `regex`, `exact` and `prefix`";
        let problem = Problem::error(codes::UNKNOWN_VALUE, at, message);
        fields.report.add(problem.help("write one entry for each"));
    }
    fields.close();
}
