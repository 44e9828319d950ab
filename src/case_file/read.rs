//! The fields of a case file.

use serde_json::{Map, Value as Json};

use super::{Case, CaseFile, Expected, IssuerKeys, KeysText, PolicySource, token};
use crate::diagnostic::Diagnostic;
use crate::manifest::codes;
use crate::manifest::cursor::{At, Fields, expect_mapping, list, wrong_type};
use crate::manifest::node::Content;
use crate::manifest::problem::{Problem, Report};
use crate::model::Outcome;
use crate::request_file::{self, OneDocument, RequestFile};

pub(super) fn case_file(text: &str, file: Option<&str>) -> Result<CaseFile, Vec<Diagnostic>> {
    let words = OneDocument {
        second: ("a second document: a case file is one", "put each into a file of its own"),
        empty: "a case file has `requests`, each with what to `expect`",
    };
    request_file::only_document(text, file, words, fields)
}

fn fields(at: &At<'_>, report: &mut Report<'_>) -> CaseFile {
    let mut fields = Fields::open(at, report);
    let mut settings = match fields.optional("settings") {
        Some(at) => members(&at, fields.report),
        None => Map::new(),
    };
    if let Some(at) = fields.optional("workload") {
        workload(&at, &mut settings, fields.report);
    }
    let policies = fields.optional("policies").map(|at| list(&at, fields.report, policy));
    let keys = match fields.optional("keys") {
        Some(at) => keys(&at, fields.report),
        None => Vec::new(),
    };
    let requests = fields.required("requests");
    let requests = requests.map(|at| list(&at, fields.report, case)).unwrap_or_default();
    fields.close_with(|name| {
        let advice = match name {
            "namespace" | "labels" => "write it below `workload`",
            "cases" | "tests" => "write it as `requests`",
            "config" => "write it as `settings`",
            _ => return None,
        };
        Some(advice.to_owned())
    });
    CaseFile { settings, policies, keys, requests }
}

fn members(at: &At<'_>, report: &mut Report<'_>) -> Map<String, Json> {
    expect_mapping(at, report);
    at.entries().map(|(entry, value)| (entry.key.clone(), value.node.to_json())).collect()
}

fn workload(at: &At<'_>, settings: &mut Map<String, Json>, report: &mut Report<'_>) {
    let mut fields = Fields::open(at, report);
    for name in ["namespace", "labels"] {
        if let Some(at) = fields.optional(name) {
            if settings.contains_key(name) {
                let message = format!("`settings` has `{name}` too");
                fields.report.add(
                    Problem::error(codes::REQUEST_CONFLICT, &at, message)
                        .help("remove one of the two"),
                );
            }
            settings.insert(name.to_owned(), at.node.to_json());
        }
    }
    fields.close();
}

fn policy(at: &At<'_>, report: &mut Report<'_>) -> Option<PolicySource> {
    match &at.node.content {
        Content::String(path) => Some(PolicySource::Path(path.clone())),
        Content::Mapping(_) => Some(PolicySource::Inline(at.node.clone())),
        Content::Null
        | Content::Bool(_)
        | Content::OldBool { .. }
        | Content::Number(_)
        | Content::Sequence(_) => {
            wrong_type(at, "a resource, or the path of a file or directory", report);
            None
        }
    }
}

fn keys(at: &At<'_>, report: &mut Report<'_>) -> Vec<IssuerKeys> {
    expect_mapping(at, report);
    let mut keys = Vec::new();
    for (entry, value) in at.entries() {
        let source = match &value.node.content {
            Content::String(path) => KeysText::Path(path.clone()),
            Content::Mapping(_) => KeysText::Inline(value.node.to_json().to_string()),
            Content::Null
            | Content::Bool(_)
            | Content::OldBool { .. }
            | Content::Number(_)
            | Content::Sequence(_) => {
                wrong_type(&value, "a key set, or the path of a file with one", report);
                continue;
            }
        };
        keys.push(IssuerKeys { issuer: entry.key.clone(), source });
    }
    keys
}

fn case(at: &At<'_>, report: &mut Report<'_>) -> Option<Case> {
    let mut fields = Fields::open(at, report);
    let name = fields.required_string("name");
    let request = match fields.optional("request") {
        Some(at) => request_file::fields(&at, fields.report),
        None => RequestFile::default(),
    };
    let token = fields.optional("token").and_then(|token| {
        if request.connection {
            let message = "a connection without HTTP has no `token`";
            fields.report.add(
                Problem::error(codes::REQUEST_CONFLICT, &token, message)
                    .help("remove `token`, or remove `connection`"),
            );
        }
        if let Content::String(_) = token.node.content {
            let message = "a token that is there already belongs to the request";
            fields.report.add(
                Problem::error(codes::REQUEST_CONFLICT, &token, message)
                    .help("write it as `request: {token: ...}`; here its `claims` are described"),
            );
            return None;
        }
        token::recipe(&token, fields.report)
    });
    let expect = fields.required("expect");
    let expect = expect.and_then(|at| Expected::read(&at, fields.report));
    fields.close_with(|name| {
        let advice = match name {
            "method" | "path" | "host" | "scheme" | "headers" | "source" | "destination" => {
                "write it below `request`"
            }
            "outcome" | "reason" | "policy" | "rule" => "write it below `expect`",
            _ => return None,
        };
        Some(advice.to_owned())
    });
    let position = at.node.position;
    if name.is_empty() && at.get("name").is_some() {
        report.add(Problem::error(codes::EMPTY_VALUE, at, "`name` is empty"));
    }
    // In place of what is missing, so that the rest is looked at: the file is refused anyway.
    let expect = expect.unwrap_or(Expected::only(Outcome::Deny));
    Some(Case { name, position, request, token, expect })
}
