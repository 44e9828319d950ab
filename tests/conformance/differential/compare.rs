//! Whether two answers are the same, and what the differences are that may be.

use std::collections::BTreeMap;

use postern::model::{Reason, Shadow};
use serde_json::Value;

use super::replay::Answered;
use crate::{
    cases::{Peer, Request},
    judge::Observed,
    native::MutualTls,
};

/// What came of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Comparison {
    /// What kind of answer it was, for counting.
    pub(crate) kind: String,
    /// What else native filters have found.
    pub(crate) also: Vec<String>,
    pub(crate) differences: Vec<String>,
    /// Native Envoy could not be asked this: there is no TLS where mutual TLS is disabled.
    pub(crate) is_beyond_comparison: bool,
}

/// Header lines that differ between any two requests, or tell of the way a request took.
const OF_THE_WAY: [&str; 4] =
    ["date", "x-request-id", "x-envoy-upstream-service-time", "connection"];

pub(crate) fn compare(request: &Request, answered: &Answered) -> Comparison {
    let Answered { native, postern, verdict, peers, .. } = answered;
    let reason = verdict.as_ref().map(|decision| decision.verdict.reason);
    let layer = if request.is_l4 { "l4" } else { "http" };
    let told = reason.map_or("not asked", Reason::as_str);
    let kind = format!("{layer} {} {told}", native.status);
    let mut found = Differences::default();

    let mode = peers.of_port(request.destination.port());
    if mode == MutualTls::Disable && request.peer != Peer::Plaintext {
        return Comparison {
            kind: format!("{layer} TLS where it is disabled"),
            is_beyond_comparison: true,
            ..Comparison::default()
        };
    }
    let no_certificate = !matches!(request.peer, Peer::Certificate(_));
    if mode == MutualTls::Strict && no_certificate && !request.is_l4 {
        // Natively there is no connection; an ext_authz server can only refuse each request.
        found.compare("status", &native.status.to_string(), "0");
        // What Envoy itself refuses was not asked about.
        let refused = matches!(reason, Some(Reason::PeerUnauthenticated))
            || reason.is_none() && postern.upstream.is_none();
        found.compare("refusal", "no connection", if refused { "no connection" } else { told });
        return Comparison {
            kind: format!("{kind} (strict)"),
            also: found.also,
            differences: found.found,
            is_beyond_comparison: false,
        };
    }
    // On purpose: natively any certificate of the mesh's authority will do, and all of Istio's have
    // a name.
    let is_nameless = matches!(&request.peer, Peer::Certificate(names) if names.is_empty());
    if mode == MutualTls::Strict && is_nameless && reason.is_some() {
        let refused = matches!(reason, Some(Reason::PeerUnauthenticated));
        found.compare("a nameless peer", "refused", if refused { "refused" } else { told });
        return Comparison {
            kind: format!("{kind} (strict, nameless)"),
            also: found.also,
            differences: found.found,
            is_beyond_comparison: false,
        };
    }
    // Envoy asks nobody about a request that no route takes, while its own filters run.
    if reason.is_none() && has_no_route(postern) && !has_no_route(native) {
        found.compare("upstream", "not reached", reached(native));
        return Comparison {
            kind: format!("{layer} without a route"),
            also: found.also,
            differences: found.found,
            is_beyond_comparison: false,
        };
    }
    found.answers(native, postern);
    if let (Some(enforced), Some(decision)) = (&answered.enforced, verdict)
        && let Some(shadow) = decision.verdict.shadow
    {
        let native = if is_denied(enforced) { "deny" } else { "allow" };
        found.compare("with dry-run enforced", native, shadow.outcome().as_str());
        found.also.push(format!("with dry-run enforced {native}"));
    }
    if request.is_l4 {
        found.connection_evidence(answered);
    } else {
        found.request_evidence(answered);
    }
    Comparison { kind, also: found.also, differences: found.found, is_beyond_comparison: false }
}

#[derive(Default)]
struct Differences {
    found: Vec<String>,
    also: Vec<String>,
}

impl Differences {
    fn compare(&mut self, what: &str, native: &str, postern: &str) {
        if native != postern {
            self.found.push(format!("{what}: native `{native}`, Postern `{postern}`"));
        }
    }

    fn answers(&mut self, native: &Observed, postern: &Observed) {
        self.compare("status", &native.status.to_string(), &postern.status.to_string());
        let is_upstream = |observed: &Observed| observed.upstream.is_some();
        if !is_upstream(native) && !is_upstream(postern) {
            self.compare("body", &native.body, &postern.body);
        }
        self.headers("", &by_name(&native.headers), &by_name(&postern.headers));
        match (&native.upstream, &postern.upstream) {
            (None, None) => {}
            (Some(native), Some(postern)) => {
                self.compare("upstream path", &native.path, &postern.path);
                self.headers("upstream ", &by_name(&native.headers), &by_name(&postern.headers));
            }
            (native, postern) => {
                let seen = |is_some| if is_some { "reached" } else { "not reached" };
                self.compare("upstream", seen(native.is_some()), seen(postern.is_some()));
            }
        }
    }

    fn headers(
        &mut self,
        what: &str,
        native: &BTreeMap<&str, String>,
        postern: &BTreeMap<&str, String>,
    ) {
        let names: std::collections::BTreeSet<_> = native.keys().chain(postern.keys()).collect();
        for name in names {
            // The length of an echo is that of what it echoes.
            if *name == "content-length" && what.is_empty() {
                continue;
            }
            let show =
                |value: Option<&String>| value.map_or_else(|| "(none)".into(), |v| format!("={v}"));
            let (native, postern) = (show(native.get(*name)), show(postern.get(*name)));
            self.compare(&format!("{what}header {name}"), &native, &postern);
        }
    }

    /// What native filters say of a request in the headers that the harness has them add.
    fn request_evidence(&mut self, answered: &Answered) {
        let header = |name: &str| {
            let found = answered.native.headers.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.as_str()).filter(|value| *value != "-")
        };
        let details = header("x-native-details").unwrap_or_default();
        let rbac = header("x-native-rbac").and_then(|text| serde_json::from_str(text).ok());
        self.evidence(answered, details, &rbac.unwrap_or_default(), header("x-native-audit"));
    }

    fn connection_evidence(&mut self, answered: &Answered) {
        let Some(log) = &answered.log else { return };
        let audit = match &log["audit"] {
            Value::Bool(hint) => Some(if *hint { "true" } else { "false" }),
            other => other.as_str(),
        };
        self.evidence(answered, log["details"].as_str().unwrap_or_default(), &log["rbac"], audit);
    }

    fn evidence(&mut self, answered: &Answered, details: &str, rbac: &Value, audit: Option<&str>) {
        let Some(decision) = &answered.verdict else { return };
        let verdict = decision.verdict;
        let native = native_reason(details);
        let postern = match verdict.reason {
            Reason::NoAllowPolicy | Reason::AllowRule(_) | Reason::ApiRule(_) => "allowed",
            Reason::DenyRule(_) => "DENY rule",
            Reason::NoAllowRule => "no ALLOW rule",
            Reason::ApiRuleRefused(..) | Reason::NoApiRule => "APIRule",
            Reason::CustomProviderUndefined(_)
            | Reason::CustomDenied(_)
            | Reason::CustomError(_) => "CUSTOM rule",
            Reason::Jwt(_) => "token",
            Reason::PeerUnauthenticated => "peer",
            Reason::InvalidPolicy | Reason::UnknownWorkload | Reason::MalformedRequest => "other",
        };
        // Where native filters let it pass, what comes after them has the last word.
        if let Some(native) = native {
            self.compare("reason", native, postern);
        }
        if let Some(hint) = audit {
            let audited = verdict.audited_by.is_some().to_string();
            self.compare("audit", hint, &audited);
            self.also.push(format!("AUDIT {hint}"));
        }
        let shadow = |prefix: &str| rbac[format!("{prefix}shadow_engine_result")].as_str();
        let own = |rule: fn(Shadow) -> bool| verdict.shadow.map(rule);
        let say = |matched: Option<bool>, yes: &str, no: &str| {
            matched.map_or("none", |matched| if matched { yes } else { no }).to_owned()
        };
        if let Some(result) = shadow("istio_dry_run_deny_") {
            let own = say(own(|s| s.deny_rule.is_some()), "denied", "allowed");
            self.compare("dry-run DENY", result, &own);
            self.also.push(format!("dry-run DENY {result}"));
        }
        if let Some(result) = shadow("istio_dry_run_allow_") {
            let own = say(own(|s| s.allow_rule.is_some()), "allowed", "denied");
            self.compare("dry-run ALLOW", result, &own);
            self.also.push(format!("dry-run ALLOW {result}"));
        }
    }
}

/// Whether native filters refused it; other tokens are not at stake here.
fn is_denied(observed: &Observed) -> bool {
    let is_grpc =
        || observed.headers.iter().any(|(name, value)| name == "grpc-status" && value == "7");
    matches!(observed.status, 0 | 403) || is_grpc()
}

fn has_no_route(observed: &Observed) -> bool {
    let is_grpc =
        || observed.headers.iter().any(|(name, value)| name == "grpc-status" && value == "12");
    observed.status == 404 || is_grpc()
}

fn reached(observed: &Observed) -> &'static str {
    if observed.upstream.is_some() { "reached" } else { "not reached" }
}

/// What Envoy's response code details say of its own filters.
fn native_reason(details: &str) -> Option<&'static str> {
    if details.starts_with("jwt_authn_access_denied") {
        return Some("token");
    }
    let policy = details.strip_prefix("rbac_access_denied_matched_policy[")?;
    Some(if policy.starts_with("none]") {
        "no ALLOW rule"
    } else if policy.starts_with("istio-ext-authz") {
        "CUSTOM rule"
    } else {
        "DENY rule"
    })
}

/// All lines of each name as one value: ext_authz cannot set two lines of one name.
fn by_name(headers: &[(String, String)]) -> BTreeMap<&str, String> {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.as_str();
        if OF_THE_WAY.contains(&name) || name.starts_with("x-native-") {
            continue;
        }
        all.entry(name)
            .and_modify(|joined| {
                joined.push(',');
                joined.push_str(value);
            })
            .or_insert_with(|| value.clone());
    }
    all
}
