//! What extension providers add to a response: their denial, headers both ways, dynamic metadata.
//!
//! Their changes of request headers are in the request by now; `response` writes those.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{BoolValue, ListValue, Struct, Value};

use super::metadata::{is_readable, to_value};
use super::reply::{Answer, code_of};
use crate::custom::{AppendAction, Consulted, HeaderMutation};
use crate::model;

/// Adds to a response, which is what it would be without, what providers want in it.
pub(super) fn complete(response: &mut CheckResponse, consulted: &Consulted, answer: &Answer<'_>) {
    metadata(response, consulted);
    let added = consulted.response_headers().map(option);
    match (&mut response.http_response, answer) {
        (Some(HttpResponse::OkResponse(ok)), Answer::Allowed { http, .. }) => {
            ok.response_headers_to_add.extend(added);
            for name in &consulted.pseudo_headers {
                let value = http.and_then(|http| http.pseudo_header(name)).unwrap_or_default();
                ok.headers.push(option(&HeaderMutation::set(*name, value)));
            }
        }
        (Some(HttpResponse::DeniedResponse(denied)), Answer::Denied { .. }) => {
            let mut added: Vec<_> = added.collect();
            if let Some(denial) = &consulted.denial {
                *denied = DeniedHttpResponse {
                    status: Some(HttpStatus { code: i32::from(denial.status) }),
                    headers: denial.headers.iter().map(option).collect(),
                    body: denial.body.clone(),
                };
                if let Some(status) = &mut response.status {
                    status.code = code_of(denial.status).into();
                }
            }
            denied.headers.append(&mut added);
        }
        (_, _) => {}
    }
}

/// Ours stay as they are, so that nobody can say for us what we decided.
fn metadata(response: &mut CheckResponse, consulted: &Consulted) {
    let ours = response.dynamic_metadata.get_or_insert_default();
    let mut theirs = Struct::default();
    for (name, value) in consulted.metadata() {
        if !ours.fields.contains_key(name) && is_readable(&super::metadata::from_value(value)) {
            theirs.fields.insert(name.clone(), value.clone());
        }
    }
    ours.fields.extend(theirs.fields);
    let answers = consulted.answers.iter().map(|(_, answered)| {
        let mut members =
            vec![("provider", answered.provider.as_ref()), ("result", answered.answer.as_str())];
        if let Some(trouble) = answered.answer.trouble() {
            members.push(("trouble", trouble.as_str()));
        }
        object(members)
    });
    insert(ours, "custom", answers.collect());
    let dry_run = consulted.dry_run.iter().map(|ask| {
        let members = vec![("provider", ask.provider.as_ref()), ("result", "not_asked")];
        object(members)
    });
    insert(ours, "custom_dry_run", dry_run.collect());
}

fn insert(metadata: &mut Struct, name: &str, values: Vec<Value>) {
    if !values.is_empty() {
        let list = Kind::ListValue(ListValue { values });
        metadata.fields.insert(name.to_owned(), Value { kind: Some(list) });
    }
}

fn object(members: Vec<(&str, &str)>) -> Value {
    let member =
        |(name, value): (&str, &str)| (name.to_owned(), model::Value::String(value.to_owned()));
    to_value(&model::Value::Object(members.into_iter().map(member).collect()))
}

fn option(HeaderMutation { name, value, action }: &HeaderMutation) -> HeaderValueOption {
    let append_action = match action {
        AppendAction::Add | AppendAction::Join => HeaderAppendAction::AppendIfExistsOrAdd,
        AppendAction::AddIfAbsent => HeaderAppendAction::AddIfAbsent,
        AppendAction::Overwrite => HeaderAppendAction::OverwriteIfExistsOrAdd,
        AppendAction::OverwriteIfExists => HeaderAppendAction::OverwriteIfExists,
    };
    let mut option = HeaderValueOption {
        header: Some(HeaderValue {
            key: name.clone(),
            value: value.clone(),
            ..HeaderValue::default()
        }),
        append_action: append_action.into(),
        ..HeaderValueOption::default()
    };
    #[expect(deprecated, reason = "as the provider said it")]
    if *action == AppendAction::Join {
        option.append = Some(BoolValue { value: true });
    }
    option
}
