//! APIRules: every check of Kyma's CRD and controller with its words, and the documents of its
//! documentation.

mod across;
mod controller;
mod documents;
mod schema;
mod v2;

use rstest::rstest;

use super::*;
use crate::diagnostic::Severity;
use crate::model::*;

/// An APIRule in a version, by its `spec` in one line of YAML.
fn document(version: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.kyma-project.io/{version}\nkind: APIRule\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec: {spec}\n"
    )
}

/// The `spec` of a v1beta1 APIRule with these rules.
fn with_rules(rules: &str) -> String {
    format!(
        "{{gateway: kyma-system/kyma-gateway, host: foo.bar, service: {{name: foo, port: 8080}}, \
         rules: {rules}}}"
    )
}

/// One rule, with these access strategies.
fn with_strategies(strategies: &str) -> String {
    with_rules(&format!("[{{path: /.*, methods: [GET], accessStrategies: {strategies}}}]"))
}

/// One rule with that config of `jwt`.
fn with_jwt(config: &str) -> String {
    with_strategies(&format!("[{{handler: jwt, config: {config}}}]"))
}

/// One rule with `jwt` and these mutators.
fn with_mutators(mutators: &str) -> String {
    with_rules(&format!(
        "[{{path: /.*, methods: [GET], mutators: {mutators}, accessStrategies: [{{handler: jwt, \
         config: {{authentications: [{{issuer: i, jwksUri: 'https://i/k'}}]}}}}]}}]"
    ))
}

/// The `spec` of a v2 APIRule with this rule.
fn v2_rule(rule: &str) -> String {
    format!(
        "{{gateway: kyma-system/kyma-gateway, hosts: [foo.bar.example], service: {{name: foo, port: \
         8080}}, rules: [{{path: /a, methods: [GET], {rule}}}]}}"
    )
}

fn with(options: ApiRuleOptions) -> Options {
    Options { api_rules: options, ..Options::default() }
}

/// Every problem as `path: message`.
fn problems(text: &str, options: &Options) -> Vec<String> {
    let decoded = decode(text, Some("p.yaml"), options);
    let errors = decoded.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let plain = [codes::WRONG_TYPE, codes::MISSING_FIELD];
    for found in errors.clone() {
        assert!(found.help.is_some() || plain.contains(&found.code), "no help: {found}");
        assert!(found.position.line > 0, "no place: {found}");
    }
    assert_eq!(
        decoded.has_errors(),
        decoded.accepted().next().is_none() || decoded.documents.len() > 1
    );
    errors.map(|found| format!("{}: {}", found.path, found.message)).collect()
}

/// What is wrong with a v1beta1 `spec`.
fn wrong(spec: &str) -> Vec<String> {
    problems(&document("v1beta1", "r", spec), &Options::default())
}

fn api_rule(text: &str) -> ApiRule {
    api_rule_with(text, &Options::default())
}

fn api_rule_with(text: &str, options: &Options) -> ApiRule {
    let decoded = decode(text, Some("p.yaml"), options);
    assert!(!decoded.has_errors(), "{}", rendered(&decoded));
    match decoded.accepted().next() {
        Some(Resource::ApiRule(rule)) => ApiRule::clone(rule),
        other => panic!("{other:?}"),
    }
}

/// A config of `jwt` in Istio's form.
const ISTIO: &str = "{authentications: [{issuer: i, jwksUri: 'https://i/k'}]}";

const AUTHENTICATION: &str = "{issuer: i, jwksUri: 'https://i/k'}";
