//! A reply as the bytes of a `CheckResponse`.
//!
//! The same message as the slow twin's in `response`, field for field.

use std::borrow::Cow;

use prost::Message as _;
use smallvec::SmallVec;

use super::cache_hint::{CacheHint, depends_on};
use super::denial::Refusal;
use super::metadata::{is_readable, write_member, write_value};
use super::reply::{Answer, Reply, Report, code_of};
use super::response;
use super::shadow_engine::{EngineResult, access_log_hint, results};
use super::wire::Writer;
use crate::authn::Changes;
use crate::model::{Http, Reason, RuleId, Shadow, Value, Verdict, header_text};
use crate::plan::WorkloadPlan;

/// `OVERWRITE_IF_EXISTS_OR_ADD`
const OVERWRITE: u64 = 2;

/// The reply as bytes.
pub(super) fn bytes(reply: &Reply<'_>) -> Vec<u8> {
    // Few requests are anybody else's to judge, and their answers take a network anyway.
    if reply.consulted.is_some() {
        return response::message(reply).encode_to_vec();
    }
    let Reply { report, answer, consulted: _ } = reply;
    // Most need less: names of a policy and its namespace, some claims.
    const USUAL: usize = 512;
    let mut out = Writer::with_capacity(USUAL);
    match answer {
        Answer::Allowed { http, changes } => {
            // `status`: a code of 0 is not written.
            out.message(1, |_| ());
            out.message(3, |ok| {
                if let Some(http) = http {
                    ok_response(ok, http, changes);
                }
            });
        }
        Answer::Denied { realm, denial } => {
            refused(&mut out, &Refusal::new(report.verdict, realm.as_ref(), denial));
        }
        Answer::BadRequest => {
            let body = Cow::Borrowed("");
            refused(&mut out, &Refusal { status: 400, body, headers: SmallVec::new() });
        }
    }
    out.message(4, |metadata| dynamic_metadata(metadata, report));
    out.finish()
}

fn refused(out: &mut Writer, Refusal { status, body, headers }: &Refusal<'_>) {
    out.message(1, |message| message.varint(1, code_of(*status) as u64));
    out.message(2, |denied| {
        denied.message(1, |message| message.varint(1, u64::from(*status)));
        for (name, value) in headers {
            set(denied, name, value);
        }
        denied.text(3, body);
    });
}

fn ok_response(ok: &mut Writer, http: &Http<'_>, changes: &Changes) {
    for name in changes.headers() {
        let mut lines = http.headers.values(name);
        let Some(first) = lines.next() else { continue };
        let mut value = header_text(first);
        for line in lines {
            // Envoy cannot be told to set two lines of one name.
            let value = value.to_mut();
            value.push(',');
            value.push_str(&header_text(line));
        }
        set(ok, name, &value);
    }
    if changes.path {
        set(ok, ":path", &http.path);
    }
    for name in changes.headers() {
        if http.headers.first(name).is_none() {
            ok.text_of_oneof(5, &[name]);
        }
    }
}

fn set(out: &mut Writer, name: &str, value: &str) {
    out.message(2, |option| {
        option.message(1, |header| {
            header.text(1, name);
            header.text(2, value);
        });
        option.varint(3, OVERWRITE);
    });
}

fn dynamic_metadata(metadata: &mut Writer, report: &Report<'_>) {
    let Report { verdict, plan, .. } = report;
    text(metadata, "decision", &[verdict.outcome().as_str()]);
    text(metadata, "reason", &[verdict.reason.as_str()]);
    write_member(metadata, "revision", |value| value.double(2, report.revision as f64));
    if let Some(plan) = plan {
        rule_fields(metadata, ["policy", "rule"], plan, verdict.reason.rule());
        access_rule_fields(metadata, plan, verdict.reason);
        if !report.audited_by.is_empty() {
            write_member(metadata, "audited_by", |value| {
                value.message(6, |list| {
                    for rule in &report.audited_by {
                        if let Some([namespace, name]) = policy_name(plan, *rule) {
                            list.message(1, |item| {
                                item.text_of_oneof(3, &[namespace, "/", name]);
                            });
                        }
                    }
                });
            });
        }
        if let Some(hint) = access_log_hint(plan, *verdict) {
            write_member(metadata, "access_log_hint", |value| value.varint(4, u64::from(hint)));
        }
        if let Some(shadow) = verdict.shadow {
            write_member(metadata, "shadow", |value| {
                value.message(5, |members| shadow_members(members, plan, *verdict, shadow));
            });
            for EngineResult { result_name, id_name, result, rule } in results(plan, *verdict) {
                text(metadata, result_name, &[result]);
                if let Some((rule, [namespace, name])) =
                    rule.and_then(|rule| Some((rule, policy_name(plan, rule)?)))
                {
                    let number = rule.rule.to_string();
                    let id = ["ns[", namespace, "]-policy[", name, "]-rule[", &number, "]"];
                    text(metadata, id_name, &id);
                }
            }
        }
    }
    if let Reason::Jwt(error) = verdict.reason {
        text(metadata, "jwt_error", &[&error.to_string()]);
    }
    if let Some(claims) = report.claims {
        write_member(metadata, "jwt_payload", |value| payload(value, claims));
    }
    if let Some(hint) = report.cache {
        write_member(metadata, "cache", |value| value.message(5, |object| cache(object, hint)));
    }
}

fn cache(members: &mut Writer, hint: CacheHint<'_>) {
    let is_cacheable = matches!(hint, CacheHint::Holds { .. });
    write_member(members, "cacheable", |value| value.varint(4, u64::from(is_cacheable)));
    match hint {
        CacheHint::Holds { until, plan, is_http, peer_counts } => {
            write_member(members, "until", |value| value.double(2, until as f64));
            write_member(members, "depends_on", |value| {
                value.message(6, |list| {
                    for name in depends_on(plan, is_http, peer_counts) {
                        list.message(1, |item| item.text_of_oneof(3, &[name]));
                    }
                });
            });
        }
        CacheHint::Once(why) => text(members, "because", &[why.as_str()]),
    }
}

fn shadow_members(members: &mut Writer, plan: &WorkloadPlan, verdict: Verdict, shadow: Shadow) {
    let changes = shadow.outcome() != verdict.outcome();
    text(members, "decision", &[shadow.outcome().as_str()]);
    text(members, "reason", &[shadow.reason.as_str()]);
    rule_fields(members, ["policy", "rule"], plan, shadow.reason.rule());
    access_rule_fields(members, plan, shadow.reason);
    write_member(members, "changes", |value| value.varint(4, u64::from(changes)));
    rule_fields(members, ["deny_policy", "deny_rule"], plan, shadow.deny_rule);
    rule_fields(members, ["allow_policy", "allow_rule"], plan, shadow.allow_rule);
    rule_fields(members, ["custom_policy", "custom_rule"], plan, shadow.custom_rule);
    if let Some(provider) = shadow.custom_rule.and_then(|rule| plan.provider(rule)) {
        text(members, "custom_provider", &[provider]);
    }
}

fn payload(value: &mut Writer, claims: &Value) {
    let Value::Object(members) = claims else {
        write_value(value, claims);
        return;
    };
    value.message(5, |object| {
        for (name, member) in members.iter().filter(|(_, member)| is_readable(member)) {
            write_member(object, name, |value| write_value(value, member));
        }
    });
}

fn rule_fields(
    object: &mut Writer,
    [policy, number]: [&str; 2],
    plan: &WorkloadPlan,
    rule: Option<RuleId>,
) {
    let Some(rule) = rule else { return };
    if let Some([namespace, name]) = policy_name(plan, rule) {
        text(object, policy, &[namespace, "/", name]);
        write_member(object, number, |value| value.double(2, f64::from(rule.rule)));
    }
}

fn access_rule_fields(metadata: &mut Writer, plan: &WorkloadPlan, reason: Reason) {
    let Some(rule) = reason.access_rule() else { return };
    if let Some([namespace, name]) = plan.api_rule(rule) {
        text(metadata, "api_rule", &[namespace, "/", name]);
        write_member(metadata, "rule", |value| value.double(2, f64::from(rule.rule)));
    }
}

fn policy_name(plan: &WorkloadPlan, rule: RuleId) -> Option<[&str; 2]> {
    let policy = plan.policy(rule)?;
    Some([&policy.metadata.namespace, &policy.metadata.name])
}

fn text(object: &mut Writer, name: &str, pieces: &[&str]) {
    write_member(object, name, |value| value.text_of_oneof(3, pieces));
}

#[cfg(test)]
mod tests;
