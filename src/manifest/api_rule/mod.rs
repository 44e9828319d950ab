//! Kyma's `APIRule`: its fields in each version, and what its CRD and its controller refuse.
//!
//! What only several documents together say, such as a host that two of them have, is left to
//! `across`.

pub(in crate::manifest) mod across;
mod host;
mod jwt;
mod mutators;
mod oathkeeper;
mod path;
pub(in crate::manifest) mod refused;
mod rules;
mod service;
mod strategies;
mod traffic;

use std::sync::Arc;

use self::{
    rules::{Context, rules, v2_rules},
    service::written_service,
};
use super::{
    codes,
    cursor::{At, Fields, list},
    problem::{Problem, Report},
};
use crate::model::{ApiRule, ApiRuleVersion, Metadata};

/// How APIRules are read: Kyma's own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApiRuleOptions {
    /// What follows a host of one label.
    pub default_domain: Option<Arc<str>>,
    /// The domains that hosts may be in; any where it is empty.
    pub domain_allow_list: Vec<String>,
    /// Which form of `jwt` there is; without it, the form that the oldest APIRule has.
    pub jwt_handler: Option<JwtHandler>,
    /// Whether a text in the claims `scp` and `scopes` is one scope in `jwt` of Istio's form.
    pub strict_scopes: bool,
    /// The extension providers of the mesh; nothing where they are not known.
    pub extension_providers: Option<Vec<String>>,
}

/// Kyma's `jwtHandler`: whose form of `jwt` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JwtHandler {
    /// Oathkeeper's: `jwks_urls`, `trusted_issuers`, ...
    Ory,
    /// Istio's: `authentications` and `authorizations`.
    Istio,
}

impl JwtHandler {
    /// As Kyma's messages have it.
    fn name(self) -> &'static str {
        match self {
            Self::Ory => "Ory",
            Self::Istio => "Istio",
        }
    }
}

/// The versions by their names.
pub(super) const VERSIONS: [(&str, ApiRuleVersion); 4] = [
    ("v1beta1", ApiRuleVersion::V1beta1),
    ("v1alpha1", ApiRuleVersion::V1alpha1),
    ("v2alpha1", ApiRuleVersion::V2alpha1),
    ("v2", ApiRuleVersion::V2),
];

pub(super) fn decode(
    metadata: Metadata,
    version: ApiRuleVersion,
    (document, spec): (&At<'_>, Option<&At<'_>>),
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) -> ApiRule {
    let mut resource = ApiRule { metadata, version, hosts: Vec::new(), rules: Vec::new() };
    let Some(spec) = spec else {
        let place = document.absent("spec");
        report.add(Problem::error(codes::MISSING_FIELD, place, "`spec` is missing"));
        return resource;
    };
    match version {
        ApiRuleVersion::V1alpha1 => v1alpha1(&mut resource, document, spec, options, report),
        ApiRuleVersion::V1beta1 => v1beta1(&mut resource, spec, options, report),
        ApiRuleVersion::V2alpha1 | ApiRuleVersion::V2 => {
            v2(&mut resource, spec, options, report);
        }
    }
    resource
}

fn v1alpha1(
    resource: &mut ApiRule,
    document: &At<'_>,
    spec: &At<'_>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) {
    let place = document.get("apiVersion").unwrap_or_else(|| document.clone());
    report.add(
        Problem::warning(
            codes::DEPRECATED_VERSION,
            &place,
            "v1alpha1 is deprecated as of Kyma 2.5.X",
        )
        .help("write `apiVersion: gateway.kyma-project.io/v1beta1` and move `spec.service.host` to `spec.host`"),
    );
    let mut fields = Fields::open(spec, report);
    if let Some(gateway) = fields.required("gateway") {
        host::gateway(&gateway, fields.report);
    }
    let service = fields.required("service");
    let (service, host) = service
        .map(|at| {
            let (service, host) = service::with_host(&at, fields.report);
            (Some(service), host)
        })
        .unwrap_or_default();
    resource.hosts.extend(host::host(host.as_ref(), spec, options, fields.report));
    let context = Context { namespace: &resource.metadata.namespace, service, options, old: true };
    let list = fields.optional("rules");
    resource.rules = rules(list.as_ref(), spec, &context, fields.report);
    fields.close_with(|name| {
        (name == "host").then(|| "v1alpha1 has the host at `spec.service.host`".to_owned())
    });
}

fn v1beta1(
    resource: &mut ApiRule,
    spec: &At<'_>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) {
    let mut fields = Fields::open(spec, report);
    let host = fields.optional("host");
    resource.hosts.extend(host::host(host.as_ref(), spec, options, fields.report));
    if let Some(gateway) = fields.required("gateway") {
        host::gateway(&gateway, fields.report);
    }
    let service = fields.optional("service").map(|at| written_service(&at, true, fields.report));
    traffic::timeout(&mut fields);
    traffic::cors_policy(&mut fields, false);
    let context = Context { namespace: &resource.metadata.namespace, service, options, old: false };
    let list = fields.optional("rules");
    resource.rules = rules(list.as_ref(), spec, &context, fields.report);
    fields.close_with(|name| {
        (name == "hosts").then(|| "`hosts` is of v2; v1beta1 has one `host`".to_owned())
    });
}

fn v2(resource: &mut ApiRule, spec: &At<'_>, options: &ApiRuleOptions, report: &mut Report<'_>) {
    let mut fields = Fields::open(spec, report);
    let hosts = fields.optional("hosts");
    let many = hosts.as_ref().map_or(0, |at| at.node.items().len());
    if let Some(hosts) = &hosts {
        resource.hosts =
            list(hosts, fields.report, |at, report| host::v2_host(at, options, report));
    }
    if many != 1 {
        let place = hosts.as_ref().map_or_else(|| spec.absent("hosts"), Into::into);
        let message = if many == 0 { "Host was nil" } else { "`hosts` has exactly one entry" };
        fields.report.add(
            Problem::error(codes::BAD_HOST, place, message)
                .help("write one host: `hosts: [orders.example.com]`"),
        );
    }
    let (gateway, external) = (fields.optional("gateway"), fields.optional("externalGateway"));
    host::v2_gateways(gateway.as_ref(), external.as_ref(), spec, fields.report);
    let service = fields.optional("service").map(|at| written_service(&at, false, fields.report));
    traffic::timeout(&mut fields);
    traffic::cors_policy(&mut fields, true);
    let context = Context { namespace: &resource.metadata.namespace, service, options, old: false };
    let list = fields.optional("rules");
    resource.rules = v2_rules(list.as_ref(), spec, &context, fields.report);
    fields.close_with(|name| (name == "host").then(|| "v2 has a list: `hosts: [..]`".to_owned()));
}
