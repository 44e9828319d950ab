//! A row for each check of Kyma's controller. `[A]` stands for an authentication with nothing wrong.

use super::*;

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
