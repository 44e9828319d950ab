//! The spec of an `AuthorizationPolicy`.
//!
//! Reads its structure; rules on the whole of it are `admission`'s job.

use std::sync::Arc;

use super::{
    address::{ip_block, port},
    attachment, codes,
    condition_key::parse_condition_key,
    cursor::{At, Fields, located, one_of, string},
    deny_annotations,
    problem::{Problem, Report},
};
use crate::model::{
    Action, Attachment, AuthorizationPolicy, Condition, ConditionKey, ConditionValues, Kind,
    Metadata, Operation, Rule, Source,
};

#[derive(Debug, Clone, Copy)]
enum ActionWord {
    Allow,
    Deny,
    Audit,
    Custom,
}

const ACTIONS: [(&str, ActionWord); 4] = [
    ("ALLOW", ActionWord::Allow),
    ("DENY", ActionWord::Deny),
    ("AUDIT", ActionWord::Audit),
    ("CUSTOM", ActionWord::Custom),
];

/// The annotation that takes a policy out of force and into the shadow.
pub(crate) const DRY_RUN: &str = "istio.io/dry-run";

pub(crate) fn decode(
    metadata: Metadata,
    spec: Option<&At<'_>>,
    report: &mut Report<'_>,
) -> AuthorizationPolicy {
    let dry_run =
        metadata.annotations.get(DRY_RUN).is_some_and(|text| parse_bool(text) == Some(true));
    let deny_response = deny_annotations::decode(&metadata.annotations).map(Arc::new);
    let mut policy = AuthorizationPolicy {
        metadata,
        attachment: Attachment::default(),
        action: Action::Allow,
        rules: Vec::new(),
        dry_run,
        deny_response,
    };
    if let Some(spec) = spec {
        let mut fields = Fields::open(spec, report);
        policy.attachment = attachment::decode(Kind::AuthorizationPolicy, &mut fields);
        let provider = fields.optional("provider").map(|at| provider(&at, fields.report));
        let action = fields.optional("action");
        policy.action = match action.and_then(|at| one_of(&at, &ACTIONS, fields.report)) {
            None | Some(ActionWord::Allow) => Action::Allow,
            Some(ActionWord::Deny) => Action::Deny,
            Some(ActionWord::Audit) => Action::Audit,
            Some(ActionWord::Custom) => {
                Action::Custom { provider: provider.unwrap_or_default().into() }
            }
        };
        policy.rules = fields.list("rules", |at, report| Some(rule(at, report)));
        fields.close();
    }
    policy
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn provider(at: &At<'_>, report: &mut Report<'_>) -> String {
    let mut fields = Fields::open(at, report);
    let name = fields.string("name").unwrap_or_default();
    fields.close();
    name
}

fn rule(at: &At<'_>, report: &mut Report<'_>) -> Rule {
    let mut fields = Fields::open(at, report);
    let rule = Rule {
        from: fields.list("from", |at, report| wrapped(at, "source", SOURCE, source, report)),
        to: fields.list("to", |at, report| wrapped(at, "operation", OPERATION, operation, report)),
        when: fields.list("when", condition),
        position: at.node.position,
    };
    fields.close_with(|name| match name {
        "source" => Some("put it into `from`: `from: [{source: ..}]`".to_owned()),
        "operation" => Some("put it into `to`: `to: [{operation: ..}]`".to_owned()),
        _ => None,
    });
    rule
}

/// An item of `from` or `to`: a mapping with nothing but a `source` or an `operation`. A missing one
/// counts as an empty one, which `admission` refuses.
fn wrapped<'n, 't, T: Default>(
    at: &At<'n>,
    name: &'static str,
    inner_fields: &[&str],
    inner: impl Fn(&At<'n>, &mut Report<'t>) -> T,
    report: &mut Report<'t>,
) -> Option<T> {
    let mut fields = Fields::open(at, report);
    let value = fields.optional(name).map(|at| inner(&at, fields.report));
    fields.close_with(|written| {
        inner_fields.contains(&written).then(|| format!("put it into `{name}`"))
    });
    Some(value.unwrap_or_default())
}

const SOURCE: &[&str] = &[
    "principals",
    "notPrincipals",
    "requestPrincipals",
    "notRequestPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "trustDomains",
    "notTrustDomains",
    "ipBlocks",
    "notIpBlocks",
    "remoteIpBlocks",
    "notRemoteIpBlocks",
];

fn source(at: &At<'_>, report: &mut Report<'_>) -> Source {
    let mut fields = Fields::open(at, report);
    let source = Source {
        principals: fields.patterns("principals"),
        not_principals: fields.patterns("notPrincipals"),
        request_principals: fields.patterns("requestPrincipals"),
        not_request_principals: fields.patterns("notRequestPrincipals"),
        namespaces: fields.patterns("namespaces"),
        not_namespaces: fields.patterns("notNamespaces"),
        service_accounts: fields.patterns("serviceAccounts"),
        not_service_accounts: fields.patterns("notServiceAccounts"),
        trust_domains: fields.patterns("trustDomains"),
        not_trust_domains: fields.patterns("notTrustDomains"),
        ip_blocks: fields.list("ipBlocks", ip_block),
        not_ip_blocks: fields.list("notIpBlocks", ip_block),
        remote_ip_blocks: fields.list("remoteIpBlocks", ip_block),
        not_remote_ip_blocks: fields.list("notRemoteIpBlocks", ip_block),
        position: at.node.position,
    };
    fields.close();
    source
}

const OPERATION: &[&str] =
    &["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"];

fn operation(at: &At<'_>, report: &mut Report<'_>) -> Operation {
    let mut fields = Fields::open(at, report);
    let operation = Operation {
        hosts: fields.patterns("hosts"),
        not_hosts: fields.patterns("notHosts"),
        ports: fields.list("ports", port),
        not_ports: fields.list("notPorts", port),
        methods: fields.patterns("methods"),
        not_methods: fields.patterns("notMethods"),
        paths: fields.patterns("paths"),
        not_paths: fields.patterns("notPaths"),
        position: at.node.position,
    };
    fields.close();
    operation
}

fn condition(at: &At<'_>, report: &mut Report<'_>) -> Option<Condition> {
    let mut fields = Fields::open(at, report);
    let key = fields.required("key").and_then(|at| condition_key(&at, fields.report));
    let condition = key.map(|key| Condition {
        values: values(&key, "values", &mut fields),
        not_values: values(&key, "notValues", &mut fields),
        key,
        position: at.node.position,
    });
    if condition.is_none() {
        fields.any("values");
        fields.any("notValues");
    }
    fields.close();
    condition
}

fn condition_key(at: &At<'_>, report: &mut Report<'_>) -> Option<ConditionKey> {
    let text = string(at, report)?;
    parse_condition_key(&text)
        .map_err(|wrong| {
            let problem = Problem::error(codes::BAD_CONDITION_KEY, at, wrong.message);
            report.add(problem.maybe_help(wrong.help));
        })
        .ok()
}

fn values(
    key: &ConditionKey,
    name: &'static str,
    fields: &mut Fields<'_, '_, '_>,
) -> ConditionValues {
    match key {
        ConditionKey::SourceIp | ConditionKey::RemoteIp | ConditionKey::DestinationIp => {
            ConditionValues::IpBlocks(fields.list(name, ip_block))
        }
        ConditionKey::DestinationPort => ConditionValues::Ports(fields.list(name, port)),
        ConditionKey::RequestHeader(_)
        | ConditionKey::SourceNamespace
        | ConditionKey::SourceServiceAccount
        | ConditionKey::SourcePrincipal
        | ConditionKey::SourceTrustDomain
        | ConditionKey::RequestPrincipal
        | ConditionKey::RequestAudiences
        | ConditionKey::RequestPresenter
        | ConditionKey::RequestClaims(_)
        | ConditionKey::ConnectionSni
        | ConditionKey::EnvoyFilterMetadata { .. } => {
            ConditionValues::Patterns(fields.list(name, located))
        }
    }
}
