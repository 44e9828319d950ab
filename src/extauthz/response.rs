//! A reply as prost's `CheckResponse`: the slow twin of `encode`, and the one to read.
//!
//! Everything is explicit: a status code always (a missing one allows), an HTTP status with each
//! denial, and how each header is to be set (the default would append to a client's own).

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::Struct;
use envoy_types::pb::google::rpc::Status;
use tonic::Code;

use super::cache_hint::{CacheHint, depends_on};
use super::custom;
use super::denial::Refusal;
use super::metadata::{readable_members, to_value};
use super::reply::{Answer, Reply, Report, code_of};
use super::shadow_engine::{access_log_hint, results};
use crate::authn::Changes;
use crate::model::{Http, JwtError, Outcome, Reason, RuleId, Value, header_text};
use crate::plan::WorkloadPlan;

/// The reply as a message.
pub(super) fn message(Reply { report, answer, consulted }: &Reply<'_>) -> CheckResponse {
    let mut response = match answer {
        Answer::Allowed { http, changes } => allowed(report, *http, changes),
        Answer::Denied { realm, denial } => {
            let Refusal { status, body, headers } =
                Refusal::new(report.verdict, realm.as_ref(), denial);
            let headers = headers.into_iter().map(|(name, value)| set(name, value.into_owned()));
            refused(report, status, headers.collect(), body.into_owned())
        }
        Answer::BadRequest => refused(report, 400, Vec::new(), String::new()),
    };
    if let Some(consulted) = consulted {
        custom::complete(&mut response, consulted, answer);
    }
    response
}

fn allowed(report: &Report<'_>, http: Option<&Http<'_>>, changes: &Changes) -> CheckResponse {
    let ok = http.map(|http| ok_response(http, changes)).unwrap_or_default();
    CheckResponse {
        status: Some(Status { code: Code::Ok.into(), ..Status::default() }),
        dynamic_metadata: Some(dynamic_metadata(report)),
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

fn refused(
    report: &Report<'_>,
    status: u16,
    headers: Vec<HeaderValueOption>,
    body: String,
) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: code_of(status).into(), ..Status::default() }),
        dynamic_metadata: Some(dynamic_metadata(report)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: i32::from(status) }),
            headers,
            body,
        })),
    }
}

fn ok_response(http: &Http<'_>, changes: &Changes) -> OkHttpResponse {
    let mut ok = OkHttpResponse::default();
    for name in changes.headers() {
        let values: Vec<_> = http.headers.values(name).map(header_text).collect();
        if values.is_empty() {
            ok.headers_to_remove.push(name.to_string());
        } else {
            // Envoy cannot be told to set two lines of one name.
            ok.headers.push(set(name, values.join(",")));
        }
    }
    if changes.path {
        ok.headers.push(set(":path", http.path.to_string()));
    }
    ok
}

fn set(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, ..HeaderValue::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

/// What routes and access logs find under `envoy.filters.http.ext_authz`.
fn dynamic_metadata(report: &Report<'_>) -> Struct {
    let Report { verdict, plan, .. } = report;
    let text = |s: &str| Value::String(s.to_owned());
    let mut fields = vec![
        ("decision", text(verdict.outcome().as_str())),
        ("reason", text(verdict.reason.as_str())),
        ("revision", number(report.revision)),
    ];
    if let Some(plan) = plan {
        fields.extend(rule_fields(["policy", "rule"], plan, verdict.reason.rule()));
        fields.extend(access_rule_fields(plan, verdict.reason));
        if !report.audited_by.is_empty() {
            let names = report.audited_by.iter().filter_map(|rule| policy_name(plan, *rule));
            fields.push(("audited_by", Value::List(names.map(Value::String).collect())));
        }
        if let Some(hint) = access_log_hint(plan, *verdict) {
            fields.push(("access_log_hint", Value::Bool(hint)));
        }
        if let Some(shadow) = verdict.shadow {
            let changes = shadow.outcome() != verdict.outcome();
            let mut members = vec![
                ("decision", text(shadow.outcome().as_str())),
                ("reason", text(shadow.reason.as_str())),
                ("changes", Value::Bool(changes)),
            ];
            members.extend(access_rule_fields(plan, shadow.reason));
            let rules = [
                (["policy", "rule"], shadow.reason.rule()),
                (["deny_policy", "deny_rule"], shadow.deny_rule),
                (["allow_policy", "allow_rule"], shadow.allow_rule),
                (["custom_policy", "custom_rule"], shadow.custom_rule),
            ];
            for (names, rule) in rules {
                members.extend(rule_fields(names, plan, rule));
            }
            let provider = shadow.custom_rule.and_then(|rule| plan.provider(rule));
            members.extend(provider.map(|provider| ("custom_provider", text(provider))));
            fields.push(("shadow", object(members)));
            for engine in results(plan, *verdict) {
                fields.push((engine.result_name, text(engine.result)));
                let id = engine.rule.and_then(|rule| native_id(plan, rule));
                fields.extend(id.map(|id| (engine.id_name, Value::String(id))));
            }
        }
    }
    if let Reason::Jwt(error) = verdict.reason {
        fields.push(("jwt_error", text(&JwtError::to_string(&error))));
    }
    if let Some(claims) = report.claims {
        fields.push(("jwt_payload", readable_members(claims)));
    }
    if let Some(hint) = report.cache {
        let members = match hint {
            CacheHint::Holds { until, plan, is_http, peer_counts } => {
                let names = depends_on(plan, is_http, peer_counts).map(text).collect();
                vec![
                    ("cacheable", Value::Bool(true)),
                    ("until", number(until)),
                    ("depends_on", Value::List(names)),
                ]
            }
            CacheHint::Once(why) => {
                vec![("cacheable", Value::Bool(false)), ("because", text(why.as_str()))]
            }
        };
        fields.push(("cache", object(members)));
    }
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), to_value(&value)));
    Struct { fields: fields.collect() }
}

fn rule_fields(
    [policy, number_name]: [&'static str; 2],
    plan: &WorkloadPlan,
    rule: Option<RuleId>,
) -> Vec<(&'static str, Value)> {
    let named = rule.and_then(|rule| policy_name(plan, rule).map(|name| (rule, name)));
    named
        .map(|(rule, name)| {
            vec![(policy, Value::String(name)), (number_name, number(u64::from(rule.rule)))]
        })
        .unwrap_or_default()
}

/// Likewise, of the rule of an APIRule.
fn access_rule_fields(plan: &WorkloadPlan, reason: Reason) -> Vec<(&'static str, Value)> {
    let found = reason.access_rule().and_then(|id| Some((id, plan.api_rule(id)?)));
    found
        .map(|(id, [namespace, name])| {
            let name = Value::String(format!("{namespace}/{name}"));
            vec![("api_rule", name), ("rule", number(u64::from(id.rule)))]
        })
        .unwrap_or_default()
}

/// `namespace/name` of the policy a rule belongs to.
fn policy_name(plan: &WorkloadPlan, rule: RuleId) -> Option<String> {
    let policy = plan.policy(rule)?;
    Some(format!("{}/{}", policy.metadata.namespace, policy.metadata.name))
}

/// A rule as Istio names it to Envoy.
fn native_id(plan: &WorkloadPlan, rule: RuleId) -> Option<String> {
    let metadata = &plan.policy(rule)?.metadata;
    Some(format!("ns[{}]-policy[{}]-rule[{}]", metadata.namespace, metadata.name, rule.rule))
}

fn object(members: Vec<(&str, Value)>) -> Value {
    Value::Object(members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
}

fn number(n: u64) -> Value {
    Value::Number(n as f64)
}

/// Whether a response allows: for tests and callers that have only the message.
pub(super) fn outcome_of(response: &CheckResponse) -> Outcome {
    match &response.status {
        Some(status) if status.code != i32::from(Code::Ok) => Outcome::Deny,
        Some(_) | None => Outcome::Allow,
    }
}
