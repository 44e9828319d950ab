//! The event of one decision: all that the decision depended on and that is no secret.
//!
//! What is left out because it is one is named, so that whoever decides again knows what it does not
//! know. Which decisions get this far is `sampling`'s job.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use super::json::Object;
use super::{Redaction, TraceContext};
use crate::authn::Authentication;
use crate::custom::{Answered, Consulted};
use crate::manifest::time::format_timestamp;
use crate::model::{
    Attributes, Http, Missing, Outcome, Peer, Reason, RuleId, SentHeaders, Value, Verdict, Workload,
};
use crate::plan::WorkloadPlan;
use crate::plan::vocabulary::Attribute;

/// The value of `postern.schema`: another number where a field goes or changes its meaning.
pub const SCHEMA: &str = "decision/1";

/// One decision, and what it was made from.
#[derive(Debug)]
pub struct Decision<'a> {
    /// What was decided.
    pub verdict: Verdict,
    /// By which revision of the policies.
    pub revision: u64,
    /// By which plan; `None` where it did not get that far.
    pub plan: Option<&'a WorkloadPlan>,
    /// Every AUDIT rule that matched.
    pub audited_by: &'a [RuleId],
    /// The request as tokens left it; `None` where it is malformed.
    pub attributes: Option<&'a Attributes<'a>>,
    /// The peer and what is missing, where the plan made the request forget them.
    pub forgotten: Option<&'a (Peer<'a>, Missing)>,
    /// The other end of the connection, where there are no attributes.
    pub peer_address: Option<IpAddr>,
    /// What tokens said; `None` where they were not looked at.
    pub authentication: Option<&'a Authentication>,
    /// What CUSTOM rules had to say; `None` where none matched.
    pub consulted: Option<&'a Consulted>,
    /// Why the request is malformed.
    pub malformed: Option<&'a str>,
    /// The HTTP status of a denial.
    pub status: Option<u16>,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
}

impl Decision<'_> {
    /// A decision of which nothing else is known.
    pub fn undecided(reason: Reason, revision: u64) -> Self {
        Self {
            verdict: Verdict::from_reason(reason),
            revision,
            plan: None,
            audited_by: &[],
            attributes: None,
            forgotten: None,
            peer_address: None,
            authentication: None,
            consulted: None,
            malformed: None,
            status: None,
            trace: None,
        }
    }

    /// Namespace and name of the AuthorizationPolicy or APIRule that decided; `None` where none did.
    pub fn decided_by(&self) -> Option<[&str; 2]> {
        let plan = self.plan?;
        match (self.verdict.reason.rule(), self.verdict.reason.access_rule()) {
            (Some(rule), _) => policy_name(plan, rule),
            (None, Some(rule)) => plan.api_rule(rule),
            (None, None) => None,
        }
    }

    /// Whether a verdict's tokens were looked at.
    pub fn reached_tokens(reason: Reason) -> bool {
        matches!(reason, Reason::Jwt(_)) || reason.reached_rules()
    }
}

/// Most events are shorter.
const USUAL: usize = 1 << 10;

pub(super) fn write(
    decision: &Decision<'_>,
    now: SystemTime,
    rate: f64,
    redaction: &Redaction,
) -> Object {
    let mut event = Object::with_capacity(USUAL);
    event.text("postern.schema", SCHEMA);
    write_time(&mut event, now);
    if let Some(TraceContext { trace_id, span_id, flags }) = decision.trace {
        event.plain("trace_id", format_args!("{trace_id:032x}"));
        event.plain("span_id", format_args!("{span_id:016x}"));
        event.plain("trace_flags", format_args!("{flags:02x}"));
    }
    write_verdict(&mut event, decision);
    if rate < 1.0 {
        event.fraction("postern.sample_rate", rate);
    }
    let mut redacted = Vec::new();
    match decision.attributes {
        Some(attributes) => {
            write_connection(&mut event, attributes, decision.forgotten);
            if let Some(http) = &attributes.http {
                write_http(&mut event, http, decision.plan, redaction, &mut redacted);
            }
            if let Some(plan) = decision.plan {
                write_metadata(&mut event, attributes, plan);
            }
        }
        None => {
            if let Some(ip) = decision.peer_address {
                event.plain("network.peer.address", ip);
            }
        }
    }
    if let (Some(plan), Some(authentication)) = (decision.plan, decision.authentication) {
        write_authentication(&mut event, plan, authentication);
    }
    if let Some(consulted) = decision.consulted {
        write_consulted(&mut event, consulted);
    }
    if !redacted.is_empty() {
        event.list("postern.redacted", redacted.iter().map(AsRef::as_ref));
    }
    event
}

fn write_time(event: &mut Object, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let Some(text) = format_timestamp(since.as_secs()) else { return };
    let whole = text.trim_end_matches('Z');
    event.plain("time", format_args!("{whole}.{:06}Z", since.subsec_micros()));
}

fn write_verdict(event: &mut Object, decision: &Decision<'_>) {
    let Decision { verdict, plan, .. } = decision;
    event.text("postern.outcome", verdict.outcome().as_str());
    event.text("postern.reason", verdict.reason.as_str());
    write_rule(event, "postern.policy", "postern.rule", *plan, verdict.reason.rule());
    write_access_rule(event, "postern.api_rule", "postern.rule", *plan, verdict.reason);
    if let Reason::ApiRuleRefused(_, refusal) = verdict.reason {
        event.text("postern.error", &refusal.to_string());
    }
    if let Reason::Jwt(error) = verdict.reason {
        event.text("postern.error", &error.to_string());
    } else if let Some(problem) = decision.malformed {
        event.text("postern.error", problem);
    }
    if let (Some(status), Outcome::Deny) = (decision.status, verdict.outcome()) {
        event.number("http.response.status_code", status);
    }
    if !decision.audited_by.is_empty() {
        let names = decision.audited_by.iter().filter_map(|rule| policy_name((*plan)?, *rule));
        let names: Vec<_> = names.map(|[namespace, name]| format!("{namespace}/{name}")).collect();
        event.list("postern.audited_by", names.iter().map(String::as_str));
    }
    if let Some(shadow) = verdict.shadow {
        event.object("postern.shadow", |event| {
            event.text("outcome", shadow.outcome().as_str());
            event.text("reason", shadow.reason.as_str());
            write_rule(event, "policy", "rule", *plan, shadow.reason.rule());
            write_access_rule(event, "api_rule", "rule", *plan, shadow.reason);
            write_rule(event, "deny_policy", "deny_rule", *plan, shadow.deny_rule);
            write_rule(event, "allow_policy", "allow_rule", *plan, shadow.allow_rule);
            write_rule(event, "custom_policy", "custom_rule", *plan, shadow.custom_rule);
            let provider = shadow.custom_rule.and_then(|rule| (*plan)?.provider(rule));
            if let Some(provider) = provider {
                event.text("custom_provider", provider);
            }
        });
    }
    event.number("postern.revision", decision.revision);
    if let Some(plan) = plan {
        let Workload { namespace, labels, name, services, .. } = &plan.workload;
        event.object("postern.workload", |workload| {
            workload.text("namespace", namespace);
            if let Some(name) = name {
                workload.text("name", name);
            }
            if !services.is_empty() {
                workload.list("services", services.iter().map(String::as_str));
            }
            workload.object("labels", |object| {
                for (name, value) in labels {
                    object.text(name, value);
                }
            });
        });
    }
}

/// Who was asked, with what came of it, and who would have been by dry-run policies.
fn write_consulted(event: &mut Object, consulted: &Consulted) {
    if !consulted.answers.is_empty() {
        event.object("postern.custom", |providers| {
            for (_, Answered { provider, answer }) in &consulted.answers {
                providers.text(provider, answer.as_str());
            }
        });
    }
    let mut troubles =
        consulted.answers.iter().filter_map(|(_, answered)| answered.answer.trouble());
    if let Some(trouble) = troubles.next_back() {
        event.text("postern.custom_trouble", trouble.as_str());
    }
    if !consulted.dry_run.is_empty() {
        let names = consulted.dry_run.iter().map(|ask| ask.provider.as_ref());
        event.list("postern.custom_dry_run", names);
    }
}

fn write_rule(
    event: &mut Object,
    policy: &str,
    number: &str,
    plan: Option<&WorkloadPlan>,
    rule: Option<RuleId>,
) {
    let (Some(plan), Some(rule)) = (plan, rule) else { return };
    if let Some([namespace, name]) = policy_name(plan, rule) {
        event.texts_joined(policy, &[namespace, "/", name]);
        event.number(number, rule.rule);
    }
}

fn write_access_rule(
    event: &mut Object,
    api_rule: &str,
    number: &str,
    plan: Option<&WorkloadPlan>,
    reason: Reason,
) {
    let (Some(plan), Some(rule)) = (plan, reason.access_rule()) else { return };
    if let Some([namespace, name]) = plan.api_rule(rule) {
        event.texts_joined(api_rule, &[namespace, "/", name]);
        event.number(number, rule.rule);
    }
}

fn policy_name(plan: &WorkloadPlan, rule: RuleId) -> Option<[&str; 2]> {
    let policy = plan.policy(rule)?;
    Some([&policy.metadata.namespace, &policy.metadata.name])
}

fn write_connection(
    event: &mut Object,
    attributes: &Attributes<'_>,
    forgotten: Option<&(Peer<'_>, Missing)>,
) {
    if let Some(ip) = attributes.source_ip {
        event.plain("network.peer.address", ip);
    }
    if let Some(ip) = attributes.remote_ip {
        event.plain("client.address", ip);
    }
    if let Some(ip) = attributes.destination_ip {
        event.plain("network.local.address", ip);
    }
    if let Some(port) = attributes.destination_port {
        event.number("network.local.port", port);
    }
    if !attributes.sni.is_empty() {
        event.text("tls.client.server_name", &attributes.sni);
    }
    let (peer, missing) = match forgotten {
        Some((peer, missing)) => (peer, missing),
        None => (&attributes.peer, &attributes.missing),
    };
    if !peer.names.is_empty() {
        event.list("postern.peer.names", peer.names.iter().map(AsRef::as_ref));
    }
    let Missing {
        peer_certificate,
        tls_session,
        client_address,
        source_address,
        destination,
        metadata,
        headers,
    } = *missing;
    let joined = attributes.http.as_ref().is_some_and(|http| http.headers.joined());
    let missing = [
        (peer_certificate, "include_peer_certificate"),
        (tls_session, "include_tls_session"),
        (client_address, "client_address_header"),
        (joined, "encode_raw_headers"),
        (source_address, "source_address"),
        (destination, "destination"),
        (metadata, "metadata"),
        (headers != SentHeaders::All, headers.missing_input().unwrap_or_default()),
    ];
    if missing.iter().any(|(is_missing, _)| *is_missing) {
        let names = missing.into_iter().filter(|(is_missing, _)| *is_missing);
        event.list("postern.missing_inputs", names.map(|(_, name)| name));
    }
}

fn write_http<'p>(
    event: &mut Object,
    http: &Http<'_>,
    plan: Option<&'p WorkloadPlan>,
    redaction: &'p Redaction,
    redacted: &mut Vec<Cow<'p, str>>,
) {
    event.text("http.request.method", &http.method);
    event.text("url.scheme", &http.scheme);
    write_host(event, &http.host);
    let path = http.path_without_query();
    event.text("url.path", path);
    if path.len() < http.path.len() {
        redacted.push("url.query".into());
    }
    let mentioned = plan.into_iter().flat_map(|plan| plan.header_names());
    let asked_for = redaction.headers.iter().map(String::as_str);
    let is_mentioned =
        |name: &str| plan.is_some_and(|plan| plan.header_names().any(|known| known == name));
    event.object("http.request.header", |headers| {
        let asked_for = asked_for.filter(|name| !is_mentioned(name));
        for name in mentioned.chain(asked_for) {
            if http.pseudo_header(name).is_some() {
                continue;
            }
            let lines = || http.headers.values(name);
            let texts = || lines().filter_map(|line| str::from_utf8(line).ok());
            let is_hidden = redaction.redacts(name, plan);
            if lines().next().is_some() && (is_hidden || lines().count() != texts().count()) {
                redacted.push(format!("http.request.header.{name}").into());
            } else {
                // That it is not there is worth as much as what it is.
                headers.list(name, texts());
            }
        }
    });
}

/// As the conventions have it, where that loses nothing: `server.address` alone is the whole host.
fn write_host(event: &mut Object, host: &str) {
    let split = host.rsplit_once(':').and_then(|(name, port)| {
        let number: u16 = port.parse().ok()?;
        let is_name = !name.is_empty() && (!name.contains(':') || name.ends_with(']'));
        (is_name && number.to_string() == port).then_some((name, number))
    });
    match split {
        Some((name, port)) => {
            event.text("server.address", name);
            event.number("server.port", port);
        }
        None => event.text("server.address", host),
    }
}

/// Of dynamic metadata only what some policy looks at. A value is in a list, which is empty where there
/// is none.
fn write_metadata(event: &mut Object, attributes: &Attributes<'_>, plan: &WorkloadPlan) {
    let mut wanted = Vec::new();
    for attribute in plan.attributes() {
        if let Attribute::Metadata { filter, key } = attribute {
            wanted.push((filter, key));
        }
    }
    if wanted.is_empty() {
        return;
    }
    wanted.sort();
    event.object("postern.metadata", |event| {
        for keys in wanted.chunk_by(|(a, _), (b, _)| a == b) {
            let Some(&(filter, _)) = keys.first() else { continue };
            let found = attributes.filter_metadata.iter().find(|(name, _)| **name == **filter);
            event.object(filter, |event| {
                for (_, key) in keys {
                    let value = found.and_then(|(_, metadata)| metadata.get(key));
                    event.value(key, &Value::List(value.cloned().into_iter().collect()));
                }
            });
        }
    });
}

fn write_authentication(event: &mut Object, plan: &WorkloadPlan, authentication: &Authentication) {
    let result = match (&authentication.error, &authentication.claims) {
        (Some(_), _) => "refused",
        (None, Some(_)) => "verified",
        (None, None) => "none",
    };
    event.object("postern.authentication", |event| {
        event.text("result", result);
        event.plain("rules", format_args!("{:016x}", plan.jwt.fingerprint));
        let mut changed = authentication.changes.headers().peekable();
        if changed.peek().is_some() {
            event.list("changed_headers", changed);
        }
    });
    if let (None, Some(claims)) = (&authentication.error, &authentication.claims) {
        let paths = plan.attributes().filter_map(|attribute| {
            if let Attribute::Claim(path) = attribute { Some(&**path) } else { None }
        });
        event.value("postern.claims", &mentioned_claims(claims, paths));
    }
}

/// Who the token is from and about, and the claims at these paths. What is not there is `null`, which
/// no condition matches.
fn mentioned_claims<'p>(claims: &Value, paths: impl Iterator<Item = &'p [Box<str>]>) -> Value {
    let mut kept = Vec::new();
    for name in ["iss", "sub"] {
        let value = claims.get(name).filter(|value| value.as_str().is_some());
        kept.push((name.to_owned(), value.cloned().unwrap_or(Value::Null)));
    }
    for path in paths {
        keep(&mut kept, claims, path);
    }
    Value::Object(kept)
}

fn keep(kept: &mut Vec<(String, Value)>, claims: &Value, path: &[Box<str>]) {
    let Some((name, rest)) = path.split_first() else { return };
    let place = kept.iter().position(|(known, _)| **known == **name).unwrap_or_else(|| {
        kept.push((name.to_string(), Value::Null));
        kept.len() - 1
    });
    let Some((_, member)) = kept.get_mut(place) else { return };
    match (claims.get(name), member) {
        (None, _) => {}
        (Some(object @ Value::Object(_)), member) => {
            // With nothing in it but what is looked at below: an object itself matches nothing.
            if *member == Value::Null {
                *member = Value::Object(Vec::new());
            }
            if let Value::Object(members) = member {
                keep(members, object, rest);
            }
        }
        (Some(value), member) => *member = matchable(value),
    }
}

/// Of a value that is no object: what conditions see of it.
fn matchable(value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::List(items) => {
            Value::List(items.iter().filter(|item| item.as_str().is_some()).cloned().collect())
        }
        Value::Object(_) => Value::Null,
    }
}
