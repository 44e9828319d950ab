//! `spec.rules`: paths, methods, Services, and who may call.
//!
//! What one access strategy or mutator says is read beside this.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::{
    codes,
    cursor::{At, Fields, boolean, list, located, one_of},
    problem::{Problem, Report},
};
use super::{
    ApiRuleOptions, JwtHandler, jwt, mutators, path,
    service::{WrittenService, written_service},
    strategies, traffic,
};
use crate::model::{
    AccessPath, AccessRule, AccessStrategy, JwtAccess, JwtAuthentication, Located, ServiceReference,
};

/// What the rules of an APIRule are read with.
#[derive(Debug)]
pub(super) struct Context<'c> {
    /// `metadata.namespace`
    pub(super) namespace: &'c Arc<str>,
    /// `spec.service`
    pub(super) service: Option<WrittenService>,
    pub(super) options: &'c ApiRuleOptions,
    /// v1alpha1: what v1beta1 added to rules is not there.
    pub(super) old: bool,
}

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Those of v1alpha1 and v1beta1.
pub(super) fn rules(
    at: Option<&At<'_>>,
    spec: &At<'_>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Vec<AccessRule> {
    let found = each(at, spec, report, |at, report| rule(at, context, report));
    differing_sources(&found, at, report);
    one_form(&found, at, report);
    found
}

/// Those of v2.
pub(super) fn v2_rules(
    at: Option<&At<'_>>,
    spec: &At<'_>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Vec<AccessRule> {
    let found = each(at, spec, report, |at, report| v2_rule(at, context, report));
    differing_sources(&found, at, report);
    found
}

fn each<'n, 't>(
    at: Option<&At<'n>>,
    spec: &At<'_>,
    report: &mut Report<'t>,
    read: impl FnMut(&At<'n>, &mut Report<'t>) -> Option<AccessRule>,
) -> Vec<AccessRule> {
    let errors = report.errors();
    let found = at.map(|at| list(at, report, read)).unwrap_or_default();
    if found.is_empty() && report.errors() == errors {
        let place = at.map_or_else(|| spec.absent("rules"), Into::into);
        report.add(Problem::error(codes::NO_ACCESS_RULES, place, "No rules defined").help(
            "an APIRule has at least one rule; to let nobody in, write one with `unauthorized`",
        ));
    }
    let mut seen = HashSet::new();
    for (rule, at) in found.iter().zip(at.iter().flat_map(|at| at.items())) {
        let (AccessPath::Regex(path) | AccessPath::Template(path)) = &rule.path;
        let again: Vec<_> =
            rule.methods.iter().filter(|it| !seen.insert((&path.value, &it.value))).collect();
        if !again.is_empty() {
            report.add(
                Problem::error(
                    codes::DUPLICATE_ACCESS_RULE,
                    &at,
                    "multiple rules defined for the same path and method",
                )
                .help("the first of them decides: remove this one, or its methods"),
            );
        }
    }
    found
}

fn rule(at: &At<'_>, context: &Context<'_>, report: &mut Report<'_>) -> Option<AccessRule> {
    let mut fields = Fields::open(at, report);
    let path = fields.required("path").and_then(|at| path::regex(&at, fields.report));
    let methods = methods(&mut fields, at);
    let service = if context.old {
        None
    } else {
        traffic::timeout(&mut fields);
        fields.optional("service").map(|at| written_service(&at, true, fields.report))
    };
    let service = service_of(service, at, context, fields.report);
    let listed = fields.optional("accessStrategies");
    let strategies = strategies::decode(listed.as_ref(), at, context.options, fields.report);
    let mutators = fields.optional("mutators");
    let mutations = mutators.map(|at| mutators::decode(&at, &strategies, fields.report));
    fields.close_with(|name| {
        (context.old && matches!(name, "service" | "timeout")).then(|| {
            "this is of v1beta1: write `apiVersion: gateway.kyma-project.io/v1beta1`".to_owned()
        })
    });
    Some(AccessRule {
        position: at.node.position,
        path: path?,
        methods,
        service: service?,
        strategies,
        mutations: mutations.unwrap_or_default(),
    })
}

fn v2_rule(at: &At<'_>, context: &Context<'_>, report: &mut Report<'_>) -> Option<AccessRule> {
    let mut fields = Fields::open(at, report);
    let path = fields.required("path").and_then(|at| path::template(&at, fields.report));
    let methods = methods(&mut fields, at);
    traffic::timeout(&mut fields);
    let service = fields.optional("service").map(|at| written_service(&at, false, fields.report));
    let service = service_of(service, at, context, fields.report);
    let strategies = v2_strategies(&mut fields, at, context.options);
    let mutations = fields.optional("request").map(|at| mutators::request(&at, fields.report));
    fields.close_with(|name| match name {
        "accessStrategies" => {
            Some("this is of v1beta1; v2 has `noAuth`, `jwt` and `extAuth`".to_owned())
        }
        "mutators" => Some("this is of v1beta1; v2 has `request`".to_owned()),
        _ => None,
    });
    Some(AccessRule {
        position: at.node.position,
        path: path?,
        methods,
        service: service?,
        strategies,
        mutations: mutations.unwrap_or_default(),
    })
}

fn v2_strategies(
    fields: &mut Fields<'_, '_, '_>,
    at: &At<'_>,
    options: &ApiRuleOptions,
) -> Vec<AccessStrategy> {
    let no_auth = fields.optional("noAuth");
    let (jwt, ext_auth) = (fields.optional("jwt"), fields.optional("extAuth"));
    let is_open = no_auth.as_ref().and_then(|at| boolean(at, fields.report)).unwrap_or_default();
    let many = [is_open, jwt.is_some(), ext_auth.is_some()].iter().filter(|it| **it).count();
    if many != 1 {
        let message = "One of the following fields must be set: noAuth, jwt, extAuth";
        fields.report.add(
            Problem::error(codes::NO_ACCESS_STRATEGIES, at, message)
                .help("a rule has exactly one of `noAuth: true`, `jwt` and `extAuth`"),
        );
    }
    let mut strategies = Vec::new();
    if is_open {
        strategies.push(AccessStrategy::NoAuth);
    }
    if let Some(jwt) = jwt {
        strategies.push(AccessStrategy::Jwt(jwt_access(&jwt, options, fields.report)));
    }
    if let Some(at) = ext_auth {
        let mut ext_auth = Fields::open(&at, fields.report);
        let authorizers = ext_auth.list("authorizers", |at, report| {
            let name = located(at, report)?;
            authorizer(at, &name, options, report);
            Some(name)
        });
        if authorizers.is_empty() {
            let message = "`authorizers` names at least one extension provider";
            ext_auth.report.add(Problem::error(codes::MISSING_FIELD, &at, message));
        }
        let restrictions = ext_auth.optional("restrictions");
        let restrictions = restrictions.map(|at| jwt_access(&at, options, ext_auth.report));
        ext_auth.close();
        strategies.push(AccessStrategy::ExtAuth { authorizers, restrictions });
    }
    strategies
}

fn jwt_access(at: &At<'_>, options: &ApiRuleOptions, report: &mut Report<'_>) -> JwtAccess {
    let mut fields = Fields::open(at, report);
    let access = jwt::decode(&mut fields, at, options);
    fields.close();
    access
}

fn authorizer(
    at: &At<'_>,
    name: &Located<String>,
    options: &ApiRuleOptions,
    report: &mut Report<'_>,
) {
    let Some(known) = &options.extension_providers else { return };
    if !known.contains(&name.value) {
        let message = format!("there is no extension provider `{}`", name.value.escape_debug());
        let help = if known.is_empty() {
            "name it in `extensionProviders` of the mesh configuration".to_owned()
        } else {
            format!("the extension providers are `{}`", known.join("`, `"))
        };
        report.add(Problem::error(codes::UNKNOWN_PROVIDER, at, message).help(help));
    }
}

fn methods(fields: &mut Fields<'_, '_, '_>, rule: &At<'_>) -> Vec<Located<String>> {
    let words = METHODS.map(|method| (method, method));
    let at = fields.optional("methods");
    let methods = at.as_ref().map(|at| {
        list(at, fields.report, |at, report| {
            let method = one_of(at, &words, report)?;
            Some(Located::new(method.to_owned(), at.node.position))
        })
    });
    if at.as_ref().is_none_or(|at| at.node.items().is_empty()) {
        let place = at.as_ref().map_or_else(|| rule.absent("methods"), Into::into);
        fields.report.add(
            Problem::error(codes::MISSING_FIELD, place, "`methods` names at least one method")
                .help("write the methods that the rule is for: `methods: [\"GET\"]`"),
        );
    }
    methods.unwrap_or_default()
}

/// That of the rule, else that of the APIRule; a namespace that is left out comes from the next.
fn service_of(
    own: Option<WrittenService>,
    rule: &At<'_>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Option<ServiceReference> {
    let shared = context.service.as_ref();
    let Some(WrittenService { name, namespace, port }) = own.or_else(|| shared.cloned()) else {
        report.add(
            Problem::error(
                codes::NO_SERVICE,
                rule.absent("service"),
                "No service defined with no main service on spec level",
            )
            .help("write `service` here, or at `spec.service` for all rules"),
        );
        return None;
    };
    let namespace = namespace
        .or_else(|| shared.and_then(|service| service.namespace.clone()))
        .unwrap_or_else(|| context.namespace.to_string());
    Some(ServiceReference { namespace, name, port })
}

/// One issuer has its tokens in one place: native Istio would look for them in either.
fn differing_sources(rules: &[AccessRule], at: Option<&At<'_>>, report: &mut Report<'_>) {
    let mut seen: Vec<&JwtAuthentication> = Vec::new();
    for (rule, at) in rules.iter().zip(at.iter().flat_map(|at| at.items())) {
        let accesses = rule.strategies.iter().filter_map(AccessStrategy::jwt_access);
        let all = accesses.flat_map(|access| &access.authentications);
        for one in all {
            let same =
                |it: &&&JwtAuthentication| it.issuer == one.issuer && it.jwks_uri == one.jwks_uri;
            match seen.iter().find(same) {
                Some(before)
                    if before.from_headers != one.from_headers
                        || before.from_params != one.from_params =>
                {
                    report.add(
                        Problem::error(
                            codes::BAD_JWT_ACCESS,
                            &at,
                            "multiple jwt configurations that differ for the same issuer",
                        )
                        .help("take the tokens of an issuer from the same place in all rules"),
                    );
                    return;
                }
                Some(_) => {}
                None => seen.push(one),
            }
        }
    }
}

/// Both forms of `jwt` in one APIRule.
fn one_form(rules: &[AccessRule], at: Option<&At<'_>>, report: &mut Report<'_>) {
    let mut first = None;
    for (rule, at) in rules.iter().zip(at.iter().flat_map(|at| at.items())) {
        let Some(form) = form_of(rule) else { continue };
        if *first.get_or_insert(form) != form {
            report.add(mixed_forms(form, &at));
            return;
        }
    }
}

/// Which form of `jwt` a rule has.
pub(super) fn form_of(rule: &AccessRule) -> Option<JwtHandler> {
    rule.strategies.iter().find_map(|strategy| match strategy {
        AccessStrategy::Jwt(_) => Some(JwtHandler::Istio),
        AccessStrategy::OathkeeperJwt(_) => Some(JwtHandler::Ory),
        AccessStrategy::Allow
        | AccessStrategy::NoAuth
        | AccessStrategy::Noop
        | AccessStrategy::Anonymous
        | AccessStrategy::Unauthorized
        | AccessStrategy::Introspection(_)
        | AccessStrategy::ExtAuth { .. } => None,
    })
}

/// A form beside the other.
pub(super) fn mixed_forms(
    written: JwtHandler,
    at: impl Into<super::super::problem::Spot>,
) -> Problem {
    let (fields, other) = match written {
        JwtHandler::Ory => ("jwks_urls", JwtHandler::Istio),
        JwtHandler::Istio => ("authentications", JwtHandler::Ory),
    };
    let message =
        format!("Configuration for {fields} is not supported with {} handler", other.name());
    Problem::error(codes::JWT_FORM, at, message).help(
        "all APIRules have one form of `jwt`, Oathkeeper's or Istio's: rewrite this one, or the others",
    )
}
