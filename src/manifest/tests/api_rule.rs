//! APIRules: every check of Kyma's CRD and controller with its words, and the documents of its
//! documentation.

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

const AUTHENTICATION: &str = "{issuer: i, jwksUri: 'https://i/k'}";

// Rows of Kyma's controller. `A` stands for an authentication with nothing wrong.

#[rstest]
#[case::no_host(
    "{gateway: a/b, service: {name: foo, port: 1}, rules: [{path: /, methods: [GET], accessStrategies: [{handler: allow}]}]}",
    &["spec.host: Host was nil"]
)]
#[case::no_domain(
    "{gateway: a/b, host: orders, service: {name: foo, port: 1}, rules: [{path: /, methods: [GET], accessStrategies: [{handler: allow}]}]}",
    &["spec.host: Host does not contain a domain name and no default domain name is configured"]
)]
#[case::no_rules(with_rules("[]"), &["spec.rules: No rules defined"])]
#[case::rules_missing(
    "{gateway: a/b, host: foo.bar, service: {name: foo, port: 1}}",
    &["spec.rules: No rules defined"]
)]
#[case::twice(
    with_rules(
        "[{path: /a, methods: [GET, PUT], accessStrategies: [{handler: allow}]}, \
          {path: /a, methods: [POST, PUT], accessStrategies: [{handler: noop}]}]"
    ),
    &["spec.rules[1]: multiple rules defined for the same path and method"]
)]
#[case::no_service(
    "{gateway: a/b, host: foo.bar, rules: [{path: /, methods: [GET], accessStrategies: [{handler: allow}]}]}",
    &["spec.rules[0].service: No service defined with no main service on spec level"]
)]
#[case::no_strategies(
    with_strategies("[]"),
    &["spec.rules[0].accessStrategies: No accessStrategies defined"]
)]
#[case::strategies_missing(
    with_rules("[{path: /, methods: [GET]}]"),
    &["spec.rules[0].accessStrategies: No accessStrategies defined"]
)]
#[case::unknown_handler(
    with_strategies("[{handler: basic}]"),
    &["spec.rules[0].accessStrategies[0].handler: Unsupported accessStrategy: basic"]
)]
#[case::config_of_allow(
    with_strategies("[{handler: allow, config: {a: b}}]"),
    &["spec.rules[0].accessStrategies[0].config: strategy: allow does not support configuration"]
)]
#[case::config_of_no_auth(
    with_strategies("[{handler: no_auth, config: {a: b}}]"),
    &["spec.rules[0].accessStrategies[0].config: strategy: no_auth does not support configuration"]
)]
#[case::config_of_noop(
    with_strategies("[{handler: noop, config: {a: b}}]"),
    &["spec.rules[0].accessStrategies[0].config: strategy: noop does not support configuration"]
)]
#[case::config_of_unauthorized(
    with_strategies("[{handler: unauthorized, config: {a: b}}]"),
    &["spec.rules[0].accessStrategies[0].config: strategy: unauthorized does not support configuration"]
)]
#[case::config_of_anonymous(
    with_strategies("[{handler: anonymous, config: {a: b}}]"),
    &["spec.rules[0].accessStrategies[0].config: strategy: anonymous does not support configuration"]
)]
#[case::config_of_cookie_session(
    with_strategies("[{handler: cookie_session, config: {a: b}}]"),
    &[
        "spec.rules[0].accessStrategies[0].handler: `cookie_session` of Oathkeeper is not carried on",
        "spec.rules[0].accessStrategies[0].config: strategy: cookie_session does not support configuration",
    ]
)]
#[case::cookie_session(
    with_strategies("[{handler: cookie_session}]"),
    &["spec.rules[0].accessStrategies[0].handler: `cookie_session` of Oathkeeper is not carried on"]
)]
#[case::client_credentials(
    with_strategies("[{handler: oauth2_client_credentials, config: {token_url: 'https://a'}}]"),
    &["spec.rules[0].accessStrategies[0].handler: `oauth2_client_credentials` of Oathkeeper is not carried on"]
)]
#[case::allow_is_exclusive(
    with_strategies("[{handler: allow}, {handler: anonymous}]"),
    &["spec.rules[0].accessStrategies[0]: allow access strategy is not allowed in combination with other access strategies"]
)]
#[case::no_auth_is_exclusive(
    with_strategies("[{handler: anonymous}, {handler: no_auth}]"),
    &["spec.rules[0].accessStrategies[1]: no_auth access strategy is not allowed in combination with other access strategies"]
)]
#[case::noop_is_exclusive(
    with_strategies("[{handler: noop}, {handler: unauthorized}]"),
    &["spec.rules[0].accessStrategies[0]: noop access strategy is not allowed in combination with other access strategies"]
)]
#[case::jwt_is_exclusive(
    with_strategies("[{handler: jwt, config: {authentications: [A]}}, {handler: oauth2_introspection}]"),
    &["spec.rules[0].accessStrategies[0]: jwt access strategy is not allowed in combination with other access strategies"]
)]
#[case::secure_and_unsecure(
    with_strategies("[{handler: oauth2_introspection}, {handler: anonymous}]"),
    &["spec.rules[0].accessStrategies[1]: Secure access strategies cannot be used in combination with unsecure access strategies"]
)]
#[case::jwt_without_config(
    with_strategies("[{handler: jwt}]"),
    &["spec.rules[0].accessStrategies[0].config: supplied config cannot be empty"]
)]
#[case::jwt_with_null(
    with_jwt("null"),
    &["spec.rules[0].accessStrategies[0].config: supplied config cannot be empty"]
)]
#[case::jwt_with_nothing(
    with_jwt("{}"),
    &["spec.rules[0].accessStrategies[0].config: supplied config cannot be empty"]
)]
#[case::no_authentications(
    with_jwt("{authorizations: [{audiences: [a]}]}"),
    &["spec.rules[0].accessStrategies[0].config: Authentications are required when using JWT access handler"]
)]
#[case::empty_authentications(
    with_jwt("{authentications: []}"),
    &["spec.rules[0].accessStrategies[0].config.authentications: Authentications are required when using JWT access handler"]
)]
#[case::no_issuer(
    with_jwt("{authentications: [{jwksUri: 'https://i/k'}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].issuer: value is empty or not a valid uri"]
)]
#[case::empty_issuer(
    with_jwt("{authentications: [{issuer: '', jwksUri: 'https://i/k'}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].issuer: value is empty or not a valid uri"]
)]
#[case::bad_issuer(
    with_jwt("{authentications: [{issuer: '://x', jwksUri: 'https://i/k'}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].issuer: value is empty or not a valid uri"]
)]
#[case::no_jwks_uri(
    with_jwt("{authentications: [{issuer: i}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].jwksUri: value is empty or not a valid uri"]
)]
#[case::bad_jwks_uri(
    with_jwt("{authentications: [{issuer: i, jwksUri: keys}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].jwksUri: value is empty or not a valid uri"]
)]
#[case::two_headers(
    with_jwt("{authentications: [{issuer: i, jwksUri: 'https://i/k', fromHeaders: [{name: a}, {name: b}]}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].fromHeaders: multiple fromHeaders are not supported"]
)]
#[case::two_params(
    with_jwt("{authentications: [{issuer: i, jwksUri: 'https://i/k', fromParams: [a, b]}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].fromParams: multiple fromParams are not supported"]
)]
#[case::header_and_param(
    with_jwt("{authentications: [{issuer: i, jwksUri: 'https://i/k', fromHeaders: [{name: a}], fromParams: [b]}]}"),
    &["spec.rules[0].accessStrategies[0].config.authentications[0].fromParams: mixture of multiple fromHeaders and fromParams is not supported"]
)]
#[case::empty_authorizations(
    with_jwt("{authentications: [A], authorizations: []}"),
    &["spec.rules[0].accessStrategies[0].config.authorizations: value is empty"]
)]
#[case::null_authorization(
    with_jwt("{authentications: [A], authorizations: [null]}"),
    &["spec.rules[0].accessStrategies[0].config.authorizations[0]: authorization is empty"]
)]
#[case::no_scopes(
    with_jwt("{authentications: [A], authorizations: [{requiredScopes: []}]}"),
    &["spec.rules[0].accessStrategies[0].config.authorizations[0].requiredScopes: value is empty"]
)]
#[case::empty_scope(
    with_jwt("{authentications: [A], authorizations: [{requiredScopes: [a, '']}]}"),
    &["spec.rules[0].accessStrategies[0].config.authorizations[0].requiredScopes[1]: scope value is empty"]
)]
#[case::no_audiences(
    with_jwt("{authentications: [A], authorizations: [{audiences: []}]}"),
    &["spec.rules[0].accessStrategies[0].config.authorizations[0].audiences: value is empty"]
)]
#[case::empty_audience(
    with_jwt("{authentications: [A], authorizations: [{audiences: ['']}]}"),
    &["spec.rules[0].accessStrategies[0].config.authorizations[0].audiences[0]: audience value is empty"]
)]
#[case::differing_sources(
    with_rules(
        "[{path: /a, methods: [GET], accessStrategies: [{handler: jwt, config: {authentications: [A]}}]}, \
          {path: /b, methods: [GET], accessStrategies: [{handler: jwt, config: {authentications: \
          [{issuer: i, jwksUri: 'https://i/k', fromHeaders: [{name: x}]}]}}]}]"
    ),
    &["spec.rules[1]: multiple jwt configurations that differ for the same issuer"]
)]
#[case::unknown_mutator(
    with_mutators("[{handler: headers, config: {}}]"),
    &["spec.rules[0].mutators[0].handler: unsupported mutator: headers"]
)]
#[case::same_mutator(
    with_mutators("[{handler: cookie, config: {cookies: {a: b}}}, {handler: cookie, config: {cookies: {c: d}}}]"),
    &["spec.rules[0].mutators[1].handler: mutator for same handler already exists"]
)]
#[case::header_without_config(
    with_mutators("[{handler: header}]"),
    &["spec.rules[0].mutators[0].config: headers cannot be empty"]
)]
#[case::no_headers(
    with_mutators("[{handler: header, config: {headers: {}}}]"),
    &["spec.rules[0].mutators[0].config.headers: headers cannot be empty"]
)]
#[case::no_cookies(
    with_mutators("[{handler: cookie, config: {}}]"),
    &["spec.rules[0].mutators[0].config: cookies cannot be empty"]
)]
#[case::empty_name(
    with_mutators("[{handler: header, config: {headers: {'': a}}}]"),
    &["spec.rules[0].mutators[0].config.headers.: cannot be empty"]
)]
#[case::empty_cookie_name(
    with_mutators("[{handler: cookie, config: {cookies: {'': a}}}]"),
    &["spec.rules[0].mutators[0].config.cookies.: cannot be empty"]
)]
#[case::both_forms(
    with_jwt("{authentications: [A], jwks_urls: ['https://i/k']}"),
    &["spec.rules[0].accessStrategies[0].config.jwks_urls: Configuration for jwks_urls is not supported with Istio handler"]
)]
#[case::both_forms_in_two_rules(
    with_rules(
        "[{path: /a, methods: [GET], accessStrategies: [{handler: jwt, config: {jwks_urls: ['https://i/k']}}]}, \
          {path: /b, methods: [GET], accessStrategies: [{handler: jwt, config: {authentications: [A]}}]}]"
    ),
    &["spec.rules[1]: Configuration for authentications is not supported with Ory handler"]
)]
fn controller(#[case] spec: impl AsRef<str>, #[case] expected: &[&str]) {
    assert_eq!(wrong(&spec.as_ref().replace("[A]", &format!("[{AUTHENTICATION}]"))), expected);
}

#[rstest]
#[case::ory_form(
    JwtHandler::Istio,
    "jwks_urls: ['https://i/k']",
    "Configuration for jwks_urls is not supported with Istio handler"
)]
#[case::ory_scope(
    JwtHandler::Istio,
    "required_scope: [a]",
    "Configuration for required_scope is not supported with Istio handler"
)]
#[case::ory_issuers(
    JwtHandler::Istio,
    "trusted_issuers: [a]",
    "Configuration for trusted_issuers is not supported with Istio handler"
)]
#[case::istio_form(
    JwtHandler::Ory,
    "authentications: [{issuer: i, jwksUri: 'https://i/k'}]",
    "Configuration for authentications is not supported with Ory handler"
)]
fn the_handler_that_is_set(
    #[case] handler: JwtHandler,
    #[case] config: &str,
    #[case] message: &str,
) {
    let options = with(ApiRuleOptions { jwt_handler: Some(handler), ..ApiRuleOptions::default() });
    let text = document("v1beta1", "r", &with_jwt(&format!("{{{config}}}")));
    let found = problems(&text, &options);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with(message), "{found:?}");
    assert_eq!(
        problems(&text, &Options::default()).is_empty(),
        !config.contains("required_scope") && !config.contains("trusted_issuers")
    );
}

#[test]
fn a_domain_that_is_not_allowed() {
    let options = with(ApiRuleOptions {
        domain_allow_list: vec!["example.com".into()],
        default_domain: Some("kyma.local".into()),
        ..ApiRuleOptions::default()
    });
    let spec = |host: &str| with_strategies("[{handler: allow}]").replace("foo.bar", host);
    let found = |host: &str| problems(&document("v1beta1", "r", &spec(host)), &options);
    assert_eq!(found("orders.shop.com"), ["spec.host: Host is not allowlisted"]);
    assert_eq!(found("a.b.example.com"), ["spec.host: Host is not allowlisted"]);
    assert_eq!(found("orders.Example.com"), Vec::<String>::new());
    assert_eq!(found("orders"), Vec::<String>::new());
}

#[test]
fn a_label_gets_the_default_domain() {
    let options = with(ApiRuleOptions {
        default_domain: Some("Kyma.local".into()),
        ..ApiRuleOptions::default()
    });
    let spec = with_strategies("[{handler: allow}]").replace("foo.bar", "Orders");
    let rule = api_rule_with(&document("v1beta1", "r", &spec), &options);
    assert_eq!(rule.hosts[0].value, "orders.kyma.local");
}

// Several documents.

/// An APIRule with that host, made at that time, in the form of `jwt`.
fn with_host(name: &str, host: &str, made: &str, config: &str) -> String {
    let spec = with_jwt(config).replace("foo.bar", host);
    document("v1beta1", name, &spec)
        .replace("namespace: shop", &format!("namespace: shop, creationTimestamp: {made}"))
}

const OLD: &str = "2024-01-01T00:00:00Z";
const NEW: &str = "2024-01-02T00:00:00Z";
const ISTIO: &str = "{authentications: [{issuer: i, jwksUri: 'https://i/k'}]}";
const ORY: &str = "{jwks_urls: ['https://i/k']}";

fn accepted_names(text: &str) -> (Vec<String>, Vec<String>) {
    let decoded = decode(text, Some("p.yaml"), &Options::default());
    let names = decoded.accepted().map(|resource| resource.metadata().name.to_string()).collect();
    let messages = decoded.diagnostics.iter().map(|found| found.message.clone()).collect();
    (names, messages)
}

#[rstest]
#[case::older(OLD, NEW, &["a"])]
#[case::younger(NEW, OLD, &["b"])]
#[case::as_old(OLD, OLD, &[])]
#[case::unknown("null", "null", &[])]
fn a_host_is_that_of_the_oldest(#[case] a: &str, #[case] b: &str, #[case] expected: &[&str]) {
    for (one, other) in [("a", "b"), ("b", "a")] {
        let made = |name: &str| if name == "a" { a } else { b };
        let rule = |name: &str, host: &str| with_host(name, host, made(name), ISTIO);
        let text = [rule(one, "foo.bar"), rule(other, "FOO.bar")].join("---\n");
        let (names, messages) = accepted_names(&text);
        assert_eq!(names, expected);
        assert_eq!(messages.len(), 2 - expected.len());
        assert!(messages.iter().all(|it| it == "This host is occupied by another Virtual Service"));
    }
}

#[rstest]
#[case::older(OLD, NEW, &["a"], &["Configuration for jwks_urls is not supported with Istio handler"])]
#[case::younger(NEW, OLD, &["b"], &["Configuration for authentications is not supported with Ory handler"])]
#[case::as_old(OLD, OLD, &[], &[
    "Configuration for authentications is not supported with Ory handler",
    "Configuration for jwks_urls is not supported with Istio handler",
])]
fn one_form_of_jwt_for_all(
    #[case] istio: &str,
    #[case] ory: &str,
    #[case] expected: &[&str],
    #[case] said: &[&str],
) {
    let text = [with_host("a", "a.b", istio, ISTIO), with_host("b", "b.b", ory, ORY)].join("---\n");
    let (names, mut messages) = accepted_names(&text);
    messages.sort();
    assert_eq!(names, expected);
    assert_eq!(messages, said);
}

#[test]
fn a_service_without_selector_takes_no_jwt() {
    let service = |selector: &str| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: foo, namespace: shop}}\nspec: \
             {{selector: {selector}, ports: [{{port: 80}}]}}\n"
        )
    };
    let with = |strategies: &str, selector: &str| {
        document("v1beta1", "r", &with_strategies(strategies)) + &service(selector)
    };
    let jwt = format!("[{{handler: jwt, config: {ISTIO}}}]");
    assert_eq!(
        problems(&with(&jwt, "{}"), &Options::default()),
        [
            "spec.rules[0].service: Service cannot have empty label selectors when the API Rule strategy is JWT"
        ]
    );
    assert_eq!(problems(&with(&jwt, "{app: foo}"), &Options::default()), Vec::<String>::new());
    assert_eq!(
        problems(&with("[{handler: allow}]", "{}"), &Options::default()),
        Vec::<String>::new()
    );
}

#[test]
fn services_are_read() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}, \
                spec: {selector: {app: a}}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n";
    let decoded = decode_yaml(list);
    let found = Service {
        namespace: "default".into(),
        name: "a".into(),
        selector: [("app".to_owned(), "a".to_owned())].into(),
    };
    assert_eq!(decoded.services, std::slice::from_ref(&found));
    assert_eq!(codes_of(&decoded), [codes::IGNORED_KINDS.0]);
    let mut workload =
        Workload { namespace: "default".into(), labels: found.selector, ..Workload::default() };
    workload.found_by(&decoded.services);
    assert_eq!(workload.services.into_iter().collect::<Vec<_>>(), ["a"]);
    for bad in [
        "metadata: {}",
        "metadata: {name: a}\nspec: {selector: [a]}",
        "metadata: {name: a}\nspec: {selector: {a: 1}}",
    ] {
        let decoded = decode_yaml(&format!("apiVersion: v1\nkind: Service\n{bad}\n"));
        assert!(decoded.has_errors() && decoded.services.is_empty(), "{bad}");
    }
}

// What the CRD says.

#[rstest]
#[case::host_short("host: ab", "is not a host")]
#[case::host_star("host: '*.foo.bar'", "is not a host")]
#[case::host_dot("host: foo.bar.", "is not a host")]
#[case::gateway_slashes("gateway: a/b/c", "is not the name of a gateway")]
#[case::gateway_capital("gateway: A/b", "is not the name of a gateway")]
#[case::service_port("service: {name: foo, port: 65536}", "is not a port")]
#[case::service_port_zero("service: {name: foo, port: 0}", "is not a port")]
#[case::service_port_text("service: {name: foo, port: http}", "expected a whole number")]
#[case::service_nameless("service: {port: 80}", "`name` is missing")]
#[case::service_namespace("service: {name: foo, port: 80, namespace: A_b}", "is not a valid name")]
#[case::service_unknown("service: {name: foo, port: 80, host: foo.bar}", "unknown field `host`")]
#[case::timeout_zero("timeout: 0", "is not a timeout")]
#[case::timeout_long("timeout: 3901", "is not a timeout")]
#[case::timeout_text("timeout: 10s", "expected a whole number")]
#[case::cors_unknown("corsPolicy: {allowOrigin: []}", "unknown field `allowOrigin`")]
#[case::cors_origin("corsPolicy: {allowOrigins: [{exact: a, prefix: b}]}", "an origin is one of")]
#[case::cors_age("corsPolicy: {maxAge: soon}", "is not a duration")]
#[case::unknown("hosts: [foo.bar]", "unknown field `hosts`")]
fn schema_of_the_spec(#[case] field: &str, #[case] message: &str) {
    let (name, _) = field.split_once(':').unwrap();
    let fields = [
        "gateway: a/b",
        "host: foo.bar",
        "service: {name: foo, port: 80}",
        "rules: [{path: /, methods: [GET], accessStrategies: [{handler: allow}]}]",
    ];
    let mut others: Vec<_> =
        fields.into_iter().filter(|it| !it.starts_with(&format!("{name}:"))).collect();
    others.push(field);
    let found = wrong(&format!("{{{}}}", others.join(", ")));
    assert!(found.iter().any(|it| it.contains(message)), "{found:?}");
}

#[rstest]
#[case::method("methods: [get]", "is not a value of this field")]
#[case::no_method("methods: []", "`methods` names at least one method")]
#[case::path("path: ''", "is not a path")]
#[case::path_begins("path: '{a}'", "is not a path")]
#[case::path_open("path: '/(a'", "cannot be used: it is not a regular expression")]
#[case::look_ahead("path: '/(?!admin).*'", "cannot be used: it looks around")]
#[case::look_behind("path: '/.*(?<!x)'", "cannot be used: it looks around")]
#[case::back_reference("path: '/(a)\\1'", "cannot be used: it refers back to a group")]
#[case::too_large("path: '/(a{1000}){1000}'", "cannot be used: it is too large")]
#[case::timeout("timeout: 4000", "is not a timeout")]
#[case::unknown("noAuth: true", "unknown field `noAuth`")]
fn schema_of_a_rule(#[case] field: &str, #[case] message: &str) {
    let (name, _) = field.split_once(':').unwrap();
    let fields = ["path: /", "methods: [GET]", "accessStrategies: [{handler: allow}]"];
    let mut others: Vec<_> =
        fields.into_iter().filter(|it| !it.starts_with(&format!("{name}:"))).collect();
    others.push(field);
    let found = wrong(&with_rules(&format!("[{{{}}}]", others.join(", "))));
    assert!(found.iter().any(|it| it.contains(message)), "{found:?}");
}

#[rstest]
#[case::urls("jwks_urls: []", "`jwks_urls` names at least one key set")]
#[case::file("jwks_urls: ['file:///keys']", "cannot be fetched")]
#[case::issuer(
    "jwks_urls: ['https://i'], trusted_issuers: ['']",
    "value is empty or not a valid uri"
)]
#[case::algorithm(
    "jwks_urls: ['https://i'], allowed_algorithms: [none]",
    "is not a value of this field"
)]
#[case::no_algorithm("jwks_urls: ['https://i'], allowed_algorithms: []", "no algorithm is allowed")]
#[case::scope(
    "jwks_urls: ['https://i'], scope_strategy: none, required_scope: [a]",
    "`required_scope` cannot be checked"
)]
#[case::strategy("jwks_urls: ['https://i'], scope_strategy: Exact", "is not a value of this field")]
#[case::two_places(
    "jwks_urls: ['https://i'], token_from: {header: a, cookie: b}",
    "`token_from` has exactly one of"
)]
#[case::no_place("jwks_urls: ['https://i'], token_from: {}", "`token_from` has exactly one of")]
#[case::wait("jwks_urls: ['https://i'], jwks_ttl: 30", "expected a string")]
#[case::unknown("jwks_urls: ['https://i'], jwks_uri: a", "unknown field `jwks_uri`")]
fn config_of_oathkeepers_jwt(#[case] config: &str, #[case] message: &str) {
    let found = wrong(&with_jwt(&format!("{{{config}}}")));
    assert!(found.iter().any(|it| it.contains(message)), "{found:?}");
}

#[rstest]
#[case::url("introspection_url: 'ftp://a/b'", "cannot be fetched")]
#[case::before(
    "pre_authorization: {enabled: true, client_id: a, token_url: 'https://a'}",
    "`client_secret` is missing"
)]
#[case::cache("cache: {enabled: true, ttl: 5}", "expected a string")]
#[case::retry("retry: {give_up_after: soon}", "is not a duration")]
#[case::header("introspection_request_headers: {'a b': c}", "cannot be sent as a header")]
#[case::header_value(
    "introspection_request_headers: {x-key: \"se\\ncret\"}",
    "`x-key` cannot be sent as a header"
)]
#[case::unknown("required_scopes: [a]", "unknown field `required_scopes`")]
fn config_of_introspection(#[case] config: &str, #[case] message: &str) {
    let spec =
        with_strategies(&format!("[{{handler: oauth2_introspection, config: {{{config}}}}}]"));
    let found = wrong(&spec);
    assert!(found.iter().any(|it| it.contains(message)), "{found:?}");
    assert!(found.iter().all(|it| !it.contains("cret\n") && !it.contains("se\\n")), "{found:?}");
}

#[rstest]
#[case::template(
    "[{handler: header, config: {headers: {a: '{{ print .Subject }}'}}}]",
    "templates of Go are not carried on"
)]
#[case::id_token("[{handler: id_token}]", "the mutator `id_token` of Oathkeeper is not carried on")]
#[case::hydrator(
    "[{handler: hydrator, config: {api: {url: a}}}]",
    "the mutator `hydrator` of Oathkeeper is not carried on"
)]
#[case::pseudo_header(
    "[{handler: header, config: {headers: {':path': a}}}]",
    "`:path` may not be set"
)]
#[case::host("[{handler: header, config: {headers: {Host: a}}}]", "`Host` may not be set")]
#[case::header_name(
    "[{handler: header, config: {headers: {'a b': a}}}]",
    "`a b` is not the name of a header"
)]
#[case::same_name(
    "[{handler: header, config: {headers: {X-A: a, x-a: b}}}]",
    "`x-a` is there twice"
)]
#[case::cookie_name(
    "[{handler: cookie, config: {cookies: {'a;b': a}}}]",
    "`a;b` is not the name of a cookie"
)]
#[case::operator(
    "[{handler: header, config: {headers: {a: '%UPSTREAM_HOST%'}}}]",
    "known only once an upstream is chosen"
)]
#[case::not_text("[{handler: header, config: {headers: {a: 1}}}]", "expected a string")]
fn mutators(#[case] written: &str, #[case] message: &str) {
    let found = wrong(&with_mutators(written));
    assert!(found.iter().any(|it| it.contains(message)), "{found:?}");
}

#[test]
fn an_open_rule_has_no_mutators() {
    let spec = |handler: &str, mutators: &str| {
        with_rules(&format!(
            "[{{path: /, methods: [GET], mutators: {mutators}, accessStrategies: [{{handler: {handler}}}]}}]"
        ))
    };
    let header = "[{handler: header, config: {headers: {a: b}}}]";
    assert_eq!(
        wrong(&spec("allow", header)),
        ["spec.rules[0].mutators[0].handler: `allow` supports no mutators"]
    );
    assert_eq!(wrong(&spec("allow", "[]")), Vec::<String>::new());
    assert_eq!(wrong(&spec("noop", header)), Vec::<String>::new());
    assert_eq!(wrong(&spec("noop", "[{handler: noop}]")), Vec::<String>::new());
}

#[test]
fn a_secret_is_not_shown() {
    let text = document(
        "v1beta1",
        "r",
        &with_strategies(
            "[{handler: oauth2_introspection, config: {pre_authorization: {enabled: true, client_id: a, \
          client_secret: hunter2, token_url: 'https://a', audienc: b}}}]",
        ),
    );
    let decoded = decode_yaml(&text);
    assert!(decoded.has_errors());
    let shown = rendered(&decoded);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(!format!("{:?}", decoded.diagnostics).contains("hunter2"));
}

// v2.

#[rstest]
#[case::none("timeout: 5", "One of the following fields must be set: noAuth, jwt, extAuth")]
#[case::false_("noAuth: false", "One of the following fields must be set: noAuth, jwt, extAuth")]
#[case::two(&format!("noAuth: true, jwt: {ISTIO}"), "One of the following fields must be set: noAuth, jwt, extAuth")]
#[case::strategies("accessStrategies: [{handler: allow}]", "unknown field `accessStrategies`")]
#[case::no_authorizer(
    "extAuth: {authorizers: []}",
    "`authorizers` names at least one extension provider"
)]
#[case::unknown_authorizer(
    "extAuth: {authorizers: [oauth3-proxy]}",
    "there is no extension provider `oauth3-proxy`"
)]
#[case::no_authentications(
    "jwt: {authorizations: [{audiences: [a]}]}",
    "Authentications are required when using JWT access handler"
)]
#[case::request(
    "noAuth: true, request: {headers: {a: '%RESP(x)%'}}",
    "known only with the response"
)]
#[case::request_field("noAuth: true, request: {header: {a: b}}", "unknown field `header`")]
#[case::external(
    "noAuth: true, service: {name: a, port: 1, external: true}",
    "unknown field `external`"
)]
fn rules_of_v2(#[case] rule: &str, #[case] message: &str) {
    let options = with(ApiRuleOptions {
        extension_providers: Some(vec!["oauth2-proxy".into()]),
        ..ApiRuleOptions::default()
    });
    for version in ["v2", "v2alpha1"] {
        let found = problems(&document(version, "r", &v2_rule(rule)), &options);
        assert!(found.iter().any(|it| it.contains(message)), "{found:?}");
    }
}

#[rstest]
#[case::no_hosts("hosts: []", "Host was nil")]
#[case::two_hosts("hosts: [a.b, c.d]", "`hosts` has exactly one entry")]
#[case::star("hosts: ['*.com']", "is not a host")]
#[case::underscore("hosts: [a_b.com]", "is not a host")]
#[case::label("hosts: [orders]", "no default domain name is configured")]
#[case::gateway("gateway: kyma-gateway", "is not the name of a gateway")]
#[case::two_gateways("externalGateway: a", "only one of `gateway` and `externalGateway`")]
#[case::v1_host("host: a.b", "unknown field `host`")]
#[case::cors_age("corsPolicy: {maxAge: 5s}", "expected a whole number")]
fn spec_of_v2(#[case] field: &str, #[case] message: &str) {
    let (name, _) = field.split_once(':').unwrap();
    let fields = [
        "gateway: a/b",
        "hosts: [foo.bar]",
        "service: {name: foo, port: 80}",
        "rules: [{path: /, methods: [GET], noAuth: true}]",
    ];
    let mut others: Vec<_> =
        fields.into_iter().filter(|it| !it.starts_with(&format!("{name}:"))).collect();
    others.push(field);
    let text = document("v2", "r", &format!("{{{}}}", others.join(", ")));
    let found = problems(&text, &Options::default());
    assert!(found.iter().any(|it| it.contains(message)), "{found:?}");
}

#[rstest]
#[case("/", Some("/"))]
#[case("/*", Some("/{**}"))]
#[case("/a/{*}/b", Some("/a/{*}/b"))]
#[case("/a/{**}", Some("/a/{**}"))]
#[case("/a/%41", Some("/a/%41"))]
#[case("/{**}/a/{*}", None)]
#[case("/.*?", None)]
#[case("a", None)]
#[case("/a/*", None)]
fn paths_of_v2(#[case] path: &str, #[case] expected: Option<&str>) {
    let spec = v2_rule("noAuth: true").replace("path: /a,", &format!("path: '{path}',"));
    let text = document("v2", "r", &spec);
    match expected {
        None => {
            let found = problems(&text, &Options::default());
            assert!(found.iter().any(|it| it.contains(path)), "{found:?}");
        }
        Some(expected) => {
            let AccessPath::Template(found) = &api_rule(&text).rules[0].path else { panic!() };
            assert_eq!(found.value, expected);
        }
    }
}

#[test]
fn everything_of_v2() {
    let text = "
apiVersion: gateway.kyma-project.io/v2
kind: APIRule
metadata: {name: r, namespace: shop}
spec:
  externalGateway: edge
  hosts: ['*.Example.com']
  service: {name: foo, namespace: other, port: 80}
  timeout: 3900
  corsPolicy: {allowOrigins: [{regex: .*}], allowMethods: [GET], maxAge: 10, allowCredentials: true}
  rules:
  - path: /open
    methods: [GET, POST]
    noAuth: true
    request: {headers: {X-A: '%REQ(x-b)%'}, cookies: {c: d}}
  - path: /{**}
    methods: [GET]
    service: {name: bar, port: 81}
    timeout: 1
    extAuth:
      authorizers: [a, b]
      restrictions:
        authentications: [{issuer: 'https://i', jwksUri: 'https://i/k', fromParams: [t]}]
        authorizations: [{requiredScopes: [s]}, {audiences: [x, z]}]
";
    let rule = api_rule(text);
    assert_eq!(rule.version, ApiRuleVersion::V2);
    assert_eq!(rule.hosts[0].value, "*.example.com");
    let [open, closed] = rule.rules.as_slice() else { panic!() };
    assert_eq!(open.strategies, [AccessStrategy::NoAuth]);
    assert_eq!(open.mutations.headers["x-a"].value, "%REQ(x-b)%");
    assert_eq!(open.mutations.cookies["c"].value, "d");
    let service =
        |name: &str, port| ServiceReference { namespace: "other".into(), name: name.into(), port };
    assert_eq!([&open.service, &closed.service], [&service("foo", 80), &service("bar", 81)]);
    let [AccessStrategy::ExtAuth { authorizers, restrictions: Some(access) }] =
        closed.strategies.as_slice()
    else {
        panic!()
    };
    assert_eq!(authorizers.iter().map(|it| &*it.value).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(access.authentications[0].from_params, ["t"]);
    assert_eq!(access.authorizations[1].audiences, ["x", "z"]);
}

// v1alpha1, and the documents of Kyma's documentation.

#[test]
fn v1alpha1_is_read_as_v1beta1() {
    let text = "
apiVersion: gateway.kyma-project.io/v1alpha1
kind: APIRule
metadata: {name: service-secured}
spec:
  gateway: kyma-system/kyma-gateway
  service: {name: foo-service, port: 8080, host: foo.bar, external: false}
  rules:
  - path: /.*
    methods: [\"GET\"]
    mutators: []
    accessStrategies:
    - handler: oauth2_introspection
      config:
        required_scope: [\"read\"]
";
    let decoded = decode_yaml(text);
    assert_eq!(codes_of(&decoded), [codes::DEPRECATED_VERSION.0]);
    assert!(decoded.diagnostics[0].message.contains("v1alpha1 is deprecated as of Kyma 2.5.X"));
    let rule = api_rule(text);
    assert_eq!(rule.hosts[0].value, "foo.bar");
    let same = text
        .replace("v1alpha1", "v1beta1")
        .replace(", host: foo.bar", "")
        .replace("  rules:", "  host: foo.bar\n  rules:");
    let newer = api_rule(&same);
    assert_eq!(rule.rules[0].service, newer.rules[0].service);
    assert_eq!(rule.rules[0].path.text(), newer.rules[0].path.text());
    assert_eq!(rule.rules[0].methods[0].value, newer.rules[0].methods[0].value);
}

#[rstest]
#[case(
    "{gateway: a/b, host: foo.bar, service: {name: f, port: 1}, rules: R}",
    "unknown field `host`"
)]
#[case("{gateway: a/b, service: {name: f, port: 1}, rules: R}", "Host was nil")]
#[case(
    "{gateway: a/b, service: {name: f, port: 1, host: foo.bar, namespace: x}, rules: R}",
    "unknown field `namespace`"
)]
#[case("{gateway: a/b, rules: R}", "`service` is missing")]
#[case(
    "{gateway: a/b, service: {name: f, port: 1, host: foo.bar}, timeout: 1, rules: R}",
    "unknown field `timeout`"
)]
fn what_v1alpha1_lacks(#[case] spec: &str, #[case] message: &str) {
    let rules = "[{path: /, methods: [GET], accessStrategies: [{handler: allow}]}]";
    let text = document("v1alpha1", "r", &spec.replace('R', rules));
    let decoded = decode_yaml(&text);
    assert!(
        decoded.diagnostics.iter().any(|it| it.message.contains(message)),
        "{}",
        rendered(&decoded)
    );
}

#[test]
fn the_sample_of_the_documentation() {
    let rule = api_rule(
        "
apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata:
  name: service-secured
spec:
  gateway: kyma-system/kyma-gateway
  host: foo.bar
  service:
    name: foo-service
    namespace: foo-namespace
    port: 8080
  timeout: 360
  rules:
    - path: /.*
      methods: [\"GET\"]
      mutators: []
      accessStrategies:
        - handler: oauth2_introspection
          config:
            required_scope: [\"read\"]
",
    );
    let [only] = rule.rules.as_slice() else { panic!() };
    assert_eq!(only.path.text(), "/.*");
    assert_eq!(only.service.namespace, "foo-namespace");
    let [AccessStrategy::Introspection(access)] = only.strategies.as_slice() else { panic!() };
    assert_eq!(access.required_scope, ["read"]);
    assert_eq!(access.scope_strategy, ScopeMatching::Exact);
    assert_eq!((&access.introspection_url, access.cache_ttl), (&None, None));
    assert_eq!(only.mutations, RequestMutations::default());
}

/// One issuer in a header, one in a parameter, under the name that the documentation gives it.
#[test]
fn two_issuers() {
    let text = "
apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata:
  name: service-secured
  namespace: shop
spec:
  gateway: kyma-system/kyma-gateway
  host: httpbin.example.com
  service:
    name: httpbin
    port: 8000
  rules:
    - path: /headers
      methods: [\"GET\"]
      mutators: []
      accessStrategies:
        - handler: jwt
          config:
            authentications:
            - issuer: https://one.example.com
              jwksUri: https://one.example.com/keys
              fromHeaders:
              - name: X-JWT-Assertion
                prefix: \"Kyma \"
            - issuer: https://two.example.com
              jwksUri: https://two.example.com/keys
              fromParameters:
              - \"jwt_token\"
            authorizations:
            - requiredScopes: [\"test\"]
              audiences: [\"example.com\", \"example.org\"]
            - requiredScopes: [\"read\", \"write\"]
";
    let decoded = decode_yaml(text);
    assert_eq!(codes_of(&decoded), [codes::FROM_PARAMETERS.0]);
    let rule = api_rule(text);
    let [AccessStrategy::Jwt(access)] = rule.rules[0].strategies.as_slice() else { panic!() };
    let [one, two] = access.authentications.as_slice() else { panic!() };
    let header = JwtHeader { name: "x-jwt-assertion".into(), prefix: "Kyma ".into() };
    assert_eq!((&one.from_headers, &one.from_params), (&vec![header], &vec![]));
    assert_eq!((&two.from_headers, &two.from_params), (&vec![], &vec!["jwt_token".to_owned()]));
    assert_eq!(access.authorizations[0].audiences, ["example.com", "example.org"]);
    assert_eq!(access.authorizations[1].required_scopes, ["read", "write"]);
}

#[test]
fn a_header_without_prefix_has_the_one_of_the_documentation() {
    let rule = api_rule(&document(
        "v1beta1",
        "r",
        &with_jwt(
            "{authentications: [{issuer: i, jwksUri: 'https://i/k', fromHeaders: [{name: x}]}]}",
        ),
    ));
    let [AccessStrategy::Jwt(access)] = rule.rules[0].strategies.as_slice() else { panic!() };
    assert_eq!(access.authentications[0].from_headers[0].prefix, "Bearer ");
}

#[test]
fn header_and_cookie_mutators() {
    let rule = api_rule(&document(
        "v1beta1",
        "r",
        &with_mutators(
            "[{handler: header, config: {headers: {X-Custom-Auth: '%REQ(Authorization)%', X-Some-Data: \
             some-data}}}, {handler: cookie, config: {cookies: {some-data: data}}}]",
        ),
    ));
    let RequestMutations { headers, cookies } = &rule.rules[0].mutations;
    assert_eq!(headers["x-custom-auth"].value, "%REQ(Authorization)%");
    assert_eq!(headers["x-some-data"].value, "some-data");
    assert_eq!(cookies["some-data"].value, "data");
}

#[test]
fn oathkeepers_defaults() {
    let rule = api_rule(&document("v1beta1", "r", &with_jwt("{jwks_urls: ['https://i/k']}")));
    let [AccessStrategy::OathkeeperJwt(access)] = rule.rules[0].strategies.as_slice() else {
        panic!()
    };
    assert_eq!(access.allowed_algorithms, ["RS256"]);
    assert_eq!(access.scope_strategy, ScopeMatching::Wildcard);
    assert_eq!(access.token_from, TokenFrom::Bearer);
}

#[test]
fn everything_of_introspection() {
    let rule = api_rule(&document(
        "v1beta1",
        "r",
        &with_strategies(
            "[{handler: oauth2_introspection, config: {introspection_url: 'https://i/introspect', \
          required_scope: [a], scope_strategy: hierarchic, target_audience: [b], trusted_issuers: [c], \
          pre_authorization: {enabled: true, client_id: d, client_secret: e, token_url: 'https://i/t', \
          audience: f, scope: [g]}, token_from: {header: X-Token}, prefix: ory_, \
          introspection_request_headers: {x-h: i}, preserve_host: true, retry: {give_up_after: 2s, \
          max_delay: 100ms}, cache: {enabled: true, ttl: 60s, max_cost: 100}}}]",
        ),
    ));
    let [AccessStrategy::Introspection(access)] = rule.rules[0].strategies.as_slice() else {
        panic!()
    };
    assert_eq!(access.token_from, TokenFrom::Header("x-token".into()));
    assert_eq!(access.give_up_after, std::time::Duration::from_secs(2));
    assert_eq!(access.cache_ttl, Some(std::time::Duration::from_secs(60)));
    assert_eq!(access.pre_authorization.as_ref().unwrap().client_secret, "e");
    assert!(access.preserve_host);
}

#[test]
fn a_namespace_comes_from_the_nearest() {
    let service = |all: &str, own: &str| {
        let spec = format!(
            "{{gateway: a/b, host: foo.bar, {all} rules: [{{path: /, methods: [GET], {own} \
             accessStrategies: [{{handler: allow}}]}}]}}"
        );
        api_rule(&document("v1beta1", "r", &spec)).rules[0].service.clone()
    };
    let found = |namespace: &str, name: &str, port| ServiceReference {
        namespace: namespace.into(),
        name: name.into(),
        port,
    };
    let (all, own) = ("service: {name: a, namespace: x, port: 1},", "service: {name: b, port: 2},");
    assert_eq!(service(all, ""), found("x", "a", 1));
    assert_eq!(service(all, own), found("x", "b", 2));
    assert_eq!(service("", own), found("shop", "b", 2));
    assert_eq!(service("service: {name: a, port: 1},", ""), found("shop", "a", 1));
    assert_eq!(service(all, "service: {name: b, namespace: z, port: 2},"), found("z", "b", 2));
}

#[test]
fn a_star_path_is_everything() {
    let spec = with_strategies("[{handler: allow}]").replace("/.*", "/*");
    assert_eq!(api_rule(&document("v1beta1", "r", &spec)).rules[0].path.text(), "/.*");
}

#[rstest]
#[case("{}")]
#[case("null")]
fn no_config_at_all(#[case] config: &str) {
    for handler in ["allow", "no_auth", "noop", "unauthorized", "anonymous", "oauth2_introspection"]
    {
        let spec = with_strategies(&format!("[{{handler: {handler}, config: {config}}}]"));
        let decoded = decode_yaml(&document("v1beta1", "r", &spec));
        assert_eq!(codes_of(&decoded), NOTHING, "{}", rendered(&decoded));
    }
}

#[test]
fn other_groups_and_versions() {
    let text = document("v1beta1", "r", &with_strategies("[{handler: allow}]"));
    let codes = |from: &str, to: &str| codes_of(&decode_yaml(&text.replace(from, to)));
    assert_eq!(codes("v1beta1", "v1"), [codes::UNKNOWN_VERSION.0]);
    assert_eq!(codes("kind: APIRule", "kind: ApiRule"), [codes::UNKNOWN_KIND.0]);
    assert_eq!(
        codes("gateway.kyma-project.io", "gateway.kyma-project.com"),
        [codes::WRONG_GROUP.0]
    );
    assert_eq!(codes("gateway.kyma-project.io", "kyma-project.io"), [codes::WRONG_GROUP.0]);
    assert_eq!(
        codes("gateway.kyma-project.io/v1beta1", "example.org/v1"),
        [codes::IGNORED_KINDS.0]
    );
}

#[test]
fn a_list_without_words_for_its_items() {
    let item = "{metadata: {name: a}, spec: {gateway: a/b, hosts: [a.b], rules: [{path: /, methods: [GET], \
                noAuth: true, service: {name: s, port: 1}}]}}";
    let text =
        format!("apiVersion: gateway.kyma-project.io/v2\nkind: APIRuleList\nitems: [{item}]\n");
    assert_eq!(api_rule(&text).version, ApiRuleVersion::V2);
}
