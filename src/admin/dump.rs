//! The state of Postern as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::control::{ControlStatus, Problem, Rejection, Subject};
use crate::diagnostic::Diagnostic;
use crate::model::{Resource, Workload};
use crate::telemetry::metrics::Input;

use super::{Checks, KeySourceStatus};

/// `/readyz?verbose`
pub(super) fn verbose_readiness(
    checks: Checks,
    control: &ControlStatus,
    key_sources: &[KeySourceStatus],
) -> String {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let mark = |passed: bool| if passed { "[+]" } else { "[-]" };
    let (revision, count) = (control.revision, control.resources.len());
    line(format!("{} policies: revision {revision}, {count} resources", mark(checks.policies)));
    line(format!("{} gRPC port", mark(checks.grpc)));
    line(format!("{} first attempt of each key source", mark(checks.key_sources)));
    line(format!("{} not shutting down", mark(!checks.draining)));
    line(match checks.waiting_for() {
        None => "ready".to_owned(),
        Some(reason) => format!("not ready: {reason}"),
    });
    for rejection in &control.rejected {
        line(String::new());
        let (subject, effect) = (&rejection.subject, rejection.effect());
        line(format!("refused for {} s: {subject}; {effect}", seconds(rejection.since)));
        for problem in &rejection.problems {
            for shown in problem.to_string().lines() {
                line(format!("  {shown}"));
            }
        }
    }
    if !key_sources.is_empty() {
        line(String::new());
    }
    for source in key_sources {
        line(key_source_line(source));
    }
    text
}

fn key_source_line(source: &KeySourceStatus) -> String {
    let mut line = format!("key source {} ({}): ", source.issuer, source.origin());
    let written = match source.age {
        Some(age) => write!(line, "{} keys, fetched {} s ago", source.keys, age.as_secs()),
        None => write!(line, "no keys, so every token of it is refused"),
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    match &source.error {
        Some(error) => format!("{line}; newest attempt failed: {error}"),
        None => line,
    }
}

/// `/config_dump`
pub(super) fn config_dump(
    config: &Value,
    control: &ControlStatus,
    key_sources: &[KeySourceStatus],
    missing_inputs: &[Input],
) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "configuration": config,
        "snapshot": {
            "revision": control.revision,
            "ageSeconds": control.published.map(seconds),
            "compileSeconds": control.compile.as_secs_f64(),
        },
        "size": size(control),
        "resources": control.resources.iter().map(|r| resource(r)).collect::<Vec<_>>(),
        "foundWorkloads": control.corpus.workloads.iter().map(workload).collect::<Vec<_>>(),
        "rejected": control.rejected.iter().map(rejection).collect::<Vec<_>>(),
        "findings": control.findings.iter().map(diagnostic).collect::<Vec<_>>(),
        "keySources": key_sources.iter().map(key_source).collect::<Vec<_>>(),
        "missingInputs": missing_inputs.iter().map(|input| input.as_str()).collect::<Vec<_>>(),
    })
}

/// How much is in force, and what deciding takes in memory: without the policies as written, which
/// explanations need.
fn size(control: &ControlStatus) -> Value {
    let rules = control.resources.iter().map(|resource| match &**resource {
        Resource::AuthorizationPolicy(policy) => policy.rules.len(),
        Resource::ApiRule(api) => api.rules.len(),
        Resource::RequestAuthentication(_) | Resource::PeerAuthentication(_) => 0,
    });
    json!({
        "resources": control.resources.len(),
        "rules": rules.sum::<usize>(),
        "compiledBytes": control.size.bytes,
        "bytesPerRule": control.size.bytes_per_rule(),
    })
}

/// A workload that was found in a cluster; those that are configured are in the configuration.
fn workload(workload: &Workload) -> Value {
    let Workload { namespace, labels, name, services, addresses, service_account } = workload;
    json!({
        "namespace": namespace,
        "name": name,
        "labels": labels,
        "services": services,
        "addresses": addresses,
        "serviceAccount": service_account,
    })
}

fn resource(resource: &Resource) -> Value {
    let metadata = resource.metadata();
    json!({
        "kind": resource.kind().as_str(),
        "namespace": &*metadata.namespace,
        "name": &*metadata.name,
        "file": metadata.file.as_deref(),
        "line": metadata.position.line,
    })
}

/// What is refused, for programs.
pub(crate) fn rejection(rejection: &Rejection) -> Value {
    let (resource, path) = match &rejection.subject {
        Subject::Resource(id) => (Some(id.to_string()), None),
        Subject::Path(path) => (None, Some(&**path)),
    };
    json!({
        "resource": resource,
        "path": path,
        "effect": rejection.effect(),
        "kept": rejection.kept,
        "ageSeconds": seconds(rejection.since),
        "problems": rejection.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> Value {
    match problem {
        Problem::Text(found) => diagnostic(found),
        Problem::Read(_) => json!({ "severity": "error", "message": problem.line() }),
    }
}

/// A finding for programs.
pub(crate) fn diagnostic(diagnostic: &Diagnostic) -> Value {
    json!({
        "severity": diagnostic.severity.as_str(),
        "code": diagnostic.code.to_string(),
        "message": diagnostic.message,
        "help": diagnostic.help,
        "file": diagnostic.file.as_deref(),
        "line": diagnostic.position.line,
        "column": diagnostic.position.column,
        "resource": diagnostic.resource.as_ref().map(ToString::to_string),
        "path": diagnostic.path,
    })
}

fn key_source(source: &KeySourceStatus) -> Value {
    json!({
        "issuer": &*source.issuer,
        "origin": source.origin(),
        "keys": source.keys,
        "ageSeconds": source.age.map(|age| age.as_secs()),
        "error": source.error,
    })
}

fn seconds(since: Instant) -> u64 {
    since.elapsed().as_secs()
}
