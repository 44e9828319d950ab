//! `service`, of the whole APIRule and of one rule.
//!
//! Which workloads a Service leads to is for the sources and `compile`.

use super::super::{
    codes,
    cursor::{At, Fields, number, string},
    metadata::is_subdomain,
    problem::{Problem, Report},
    text::quoted,
};

/// A Service as written: its namespace may be left out.
#[derive(Debug, Clone)]
pub(super) struct WrittenService {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) port: u16,
}

/// Reads one. `external`, which changes nothing, is of v1.
pub(super) fn written_service(
    at: &At<'_>,
    has_external: bool,
    report: &mut Report<'_>,
) -> WrittenService {
    let mut fields = Fields::open(at, report);
    let namespace = fields.optional("namespace").and_then(|at| namespace(&at, fields.report));
    let service = named(&mut fields, namespace);
    if has_external {
        fields.boolean("external");
    }
    fields.close();
    service
}

/// That of v1alpha1, which has the host.
pub(super) fn with_host<'n>(
    at: &At<'n>,
    report: &mut Report<'_>,
) -> (WrittenService, Option<At<'n>>) {
    let mut fields = Fields::open(at, report);
    let host = fields.optional("host");
    let service = named(&mut fields, None);
    fields.boolean("external");
    fields.close_with(|name| {
        (name == "namespace").then(|| "v1alpha1 has Services of its own namespace only".to_owned())
    });
    (service, host)
}

fn named(fields: &mut Fields<'_, '_, '_>, namespace: Option<String>) -> WrittenService {
    let name = fields.required("name");
    let name = name.and_then(|at| {
        let name = string(&at, fields.report)?;
        if name.len() > 63 || name.contains('.') || !is_subdomain(&name) {
            let message = format!("{} is not the name of a Service", quoted(&name));
            fields.report.add(
                Problem::error(codes::BAD_NAME, &at, message)
                    .help("up to 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends"),
            );
        }
        Some(name)
    });
    let port = fields.required("port");
    let port = port.and_then(|at| {
        let found = number(&at, fields.report)?;
        let port = u16::try_from(found).ok().filter(|port| *port > 0);
        if port.is_none() {
            fields.report.add(
                Problem::error(codes::BAD_PORT, &at, format!("`{found}` is not a port"))
                    .help("write a number from 1 to 65535"),
            );
        }
        port
    });
    WrittenService { name: name.unwrap_or_default(), namespace, port: port.unwrap_or_default() }
}

fn namespace(at: &At<'_>, report: &mut Report<'_>) -> Option<String> {
    let text = string(at, report)?;
    if text.len() > 63 || text.contains('.') || !is_subdomain(&text) {
        let message = format!("{} is not a valid name", quoted(&text));
        report.add(Problem::error(codes::BAD_NAME, at, message).help(
            "a namespace has up to 63 of `a-z`, `0-9` and `-`, with a letter or digit at both ends",
        ));
        return None;
    }
    Some(text)
}
