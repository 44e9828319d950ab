//! The fields of a request file.
//!
//! Reads them one by one, every problem with its place; says nothing about what Envoy makes of them.

use super::{Destination, RequestFile, Source};
use crate::diagnostic::Diagnostic;
use crate::manifest::codes;
use crate::manifest::cursor::{At, Fields, expect_mapping, list, string, wrong_type};
use crate::manifest::node::{self, Content};
use crate::manifest::problem::{Problem, Report, Spot};
use crate::manifest::text::{Text, quoted};
use crate::manifest::time::parse_timestamp;

/// Fields that a connection without HTTP cannot have.
const HTTP_ONLY: [&str; 6] = ["method", "path", "host", "scheme", "headers", "token"];

pub(super) fn request(text: &str, file: Option<&str>) -> Result<RequestFile, Vec<Diagnostic>> {
    let words = OneDocument {
        second: (
            "a second document: only one request is decided at a time",
            "keep one of them, and put the other into a file of its own",
        ),
        empty: "`{}` is a plain `GET /`",
    };
    only_document(text, file, words, fields)
}

/// What to say of a file that is not one document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneDocument {
    /// Of a second one, and what to do about it.
    pub(crate) second: (&'static str, &'static str),
    /// How to begin with an empty file.
    pub(crate) empty: &'static str,
}

/// Reads the one document of a file of requests, or says everything that is wrong with it.
pub(crate) fn only_document<T>(
    text: &str,
    file: Option<&str>,
    words: OneDocument,
    read: impl FnOnce(&At<'_>, &mut Report<'_>) -> T,
) -> Result<T, Vec<Diagnostic>> {
    // Where the name does not tell (stdin, say) JSON is JSON, and everything else YAML: a mapping
    // in braces is either.
    let is_json = match file.and_then(|file| file.rsplit_once('.')) {
        Some((_, extension)) if extension.eq_ignore_ascii_case("json") => true,
        Some((_, "yaml" | "yml")) => false,
        Some(_) | None => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
    };
    let syntax = Text::new(text, Some(if is_json { "request.json" } else { "request.yaml" }));
    let text = Text::new(text, file);
    let mut report = Report::new(&text);
    let mut roots = Vec::new();
    for document in node::read(&syntax) {
        document.problems.into_iter().for_each(|problem| report.add(problem));
        roots.extend(document.root);
    }
    let result = match roots.as_slice() {
        _ if report.errors() > 0 => None,
        [root] => Some(read(&At::root(root), &mut report)),
        [_, second, ..] => {
            let (message, help) = words.second;
            report.add(Problem::error(codes::NOT_ONE_REQUEST, second, message).help(help));
            None
        }
        [] => {
            let problem =
                Problem::error(codes::NOT_ONE_REQUEST, Spot::default(), "the file is empty");
            report.add(problem.help(words.empty));
            None
        }
    };
    let sound = report.errors() == 0;
    result.filter(|_| sound).ok_or_else(|| without_secrets(report.diagnostics))
}

/// Diagnostics end up in logs of CI systems; a line that may hold a credential must not.
fn without_secrets(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    for found in &mut found {
        found.excerpt.take_if(|excerpt| {
            let line = excerpt.line.to_ascii_lowercase();
            ["token", "authorization", "cookie"].iter().any(|word| line.contains(word))
        });
    }
    found
}

/// One request.
pub(crate) fn fields(at: &At<'_>, report: &mut Report<'_>) -> RequestFile {
    let mut fields = Fields::open(at, report);
    let connection = fields.boolean("connection");
    if connection {
        for name in HTTP_ONLY {
            if let Some(at) = fields.node_of(name) {
                let message = format!("a connection without HTTP has no `{name}`");
                fields.report.add(
                    Problem::error(codes::REQUEST_CONFLICT, &at, message)
                        .help(format!("remove `{name}`, or remove `connection`")),
                );
            }
        }
    }
    let mut text = |name, default: &str| fields.string(name).unwrap_or_else(|| default.to_owned());
    let (method, path, host, scheme, sni) = (
        text("method", "GET"),
        text("path", "/"),
        text("host", ""),
        text("scheme", "http"),
        text("sni", ""),
    );
    let mut headers = match fields.optional("headers") {
        Some(at) => header_lines(&at, fields.report),
        None => Vec::new(),
    };
    if let Some(at) = fields.optional("token")
        && let Some(token) = token(&at, &headers, fields.report)
    {
        headers.push(("authorization".to_owned(), format!("Bearer {token}")));
    }
    let source = match fields.optional("source") {
        Some(at) => source(&at, fields.report),
        None => Source::default(),
    };
    let destination = match fields.optional("destination") {
        Some(at) => destination(&at, fields.report),
        None => Destination::default(),
    };
    let metadata = match fields.optional("metadata") {
        Some(at) => metadata(&at, fields.report),
        None => Vec::new(),
    };
    let now = fields.optional("now").and_then(|at| time(&at, fields.report));
    fields.close_with(advice);
    RequestFile {
        method,
        path,
        host,
        scheme,
        headers,
        source,
        destination,
        sni,
        metadata,
        connection,
        now,
    }
}

/// Fields that people expect, and where what they mean is written.
fn advice(name: &str) -> Option<String> {
    let advice = match name {
        "authority" | "hostname" | "Host" => "write it as `host`",
        "authorization" | "jwt" => "write the token alone as `token`",
        "query" | "url" | "uri" => "write it as `path`, with the query: `/list?page=2`",
        "principal" | "principals" | "ip" => "write it below `source`",
        "port" => "write it below `destination`",
        "time" | "timestamp" => "write it as `now`",
        _ => return None,
    };
    Some(advice.to_owned())
}

fn header_lines(at: &At<'_>, report: &mut Report<'_>) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    if matches!(at.node.content, Content::Sequence(_)) {
        for pair in at.items() {
            if let [name, value] = list(&pair, report, string).as_slice() {
                let name = name.to_ascii_lowercase();
                header_name(&name, &pair, report);
                lines.push((name, value.clone()));
            } else {
                wrong_type(&pair, "a pair `[name, value]`", report);
            }
        }
        return lines;
    }
    expect_mapping(at, report);
    for (entry, at) in at.entries() {
        let name = entry.key.to_ascii_lowercase();
        header_name(&name, &at, report);
        let values = if matches!(at.node.content, Content::Sequence(_)) {
            list(&at, report, string)
        } else {
            string(&at, report).into_iter().collect()
        };
        lines.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    lines
}

fn header_name(name: &str, at: &At<'_>, report: &mut Report<'_>) {
    let help = match name.strip_prefix(':').unwrap_or(name) {
        "authority" | "host" => Some("write it as the field `host`"),
        "method" | "path" | "scheme" if name.starts_with(':') => {
            Some("write it as a field of the request")
        }
        _ if http::HeaderName::from_bytes(name.as_bytes()).is_err() => None,
        _ => return,
    };
    let message = format!("{} cannot be written as a header", quoted(name));
    let problem = Problem::error(codes::BAD_HEADER_NAME, at, message);
    report.add(problem.maybe_help(help.map(str::to_owned)));
}

fn token(at: &At<'_>, headers: &[(String, String)], report: &mut Report<'_>) -> Option<String> {
    let token = string(at, report)?.trim().to_owned();
    if token.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
        report.add(
            Problem::error(codes::REQUEST_CONFLICT, at, "`token` is the token alone")
                .help("remove `Bearer `, or write the whole as the header `authorization`"),
        );
    }
    if headers.iter().any(|(name, _)| name == "authorization") {
        let message = "`token` is short for the header `authorization`, which is there too";
        report.add(
            Problem::error(codes::REQUEST_CONFLICT, at, message).help("remove one of the two"),
        );
    }
    Some(token)
}

fn source(at: &At<'_>, report: &mut Report<'_>) -> Source {
    let mut fields = Fields::open(at, report);
    let ip = fields.optional("ip").and_then(|at| address(&at, fields.report));
    let one = fields.optional("principal").and_then(|at| principal(&at, fields.report));
    let mut principals = fields.list("principals", principal);
    principals.extend(one);
    fields.close();
    Source::new(ip, principals)
}

/// One name of a certificate.
fn principal(at: &At<'_>, report: &mut Report<'_>) -> Option<String> {
    let name = string(at, report)?;
    if name.is_empty() {
        let message = "a name of a certificate is never empty";
        report.add(
            Problem::error(codes::EMPTY_VALUE, at, message)
                .help("leave it out for a peer without a certificate"),
        );
        return None;
    }
    Some(name)
}

fn destination(at: &At<'_>, report: &mut Report<'_>) -> Destination {
    let mut fields = Fields::open(at, report);
    let ip = fields.optional("ip").and_then(|at| address(&at, fields.report));
    let port = fields.optional("port").and_then(|at| port(&at, fields.report));
    fields.close();
    Destination { ip, port }
}

fn address(at: &At<'_>, report: &mut Report<'_>) -> Option<std::net::IpAddr> {
    let text = string(at, report)?;
    let address = text.parse().ok();
    if address.is_none() {
        let message = format!("{} is not an IP address", quoted(&text));
        report
            .add(Problem::error(codes::BAD_IP_BLOCK, at, message).help("write it like `10.1.2.3`"));
    }
    address
}

fn port(at: &At<'_>, report: &mut Report<'_>) -> Option<u16> {
    let Content::Number(text) = &at.node.content else {
        wrong_type(at, "a port number", report);
        return None;
    };
    let port = text.parse().ok();
    if port.is_none() {
        let message = format!("{} is not a port", quoted(text));
        report.add(
            Problem::error(codes::BAD_PORT, at, message).help("write a number from 0 to 65535"),
        );
    }
    port
}

fn metadata(at: &At<'_>, report: &mut Report<'_>) -> Vec<(String, serde_json::Value)> {
    expect_mapping(at, report);
    at.entries()
        .map(|(entry, value)| {
            expect_mapping(&value, report);
            (entry.key.clone(), value.node.to_json())
        })
        .collect()
}

fn time(at: &At<'_>, report: &mut Report<'_>) -> Option<u64> {
    let seconds = if let Content::Number(text) = &at.node.content {
        text.parse().ok()
    } else if let Some(text) = at.str() {
        parse_timestamp(text).and_then(|at| u64::try_from(at).ok())
    } else {
        wrong_type(at, "a time", report);
        return None;
    };
    if seconds.is_none() {
        report.add(
            Problem::error(codes::BAD_TIMESTAMP, at, "not a time from 1970 on")
                .help("write it like `2026-05-01T12:00:00Z`, or in seconds since 1970"),
        );
    }
    seconds
}
