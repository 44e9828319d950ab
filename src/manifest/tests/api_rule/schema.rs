//! What the CRD says of single fields, and the configs of handlers.

use super::*;

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
#[case::path_out_of_place("path: '/a)|(?:b'", "cannot be used: it is not a regular expression")]
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
#[case::of_the_connection(
    "[{handler: header, config: {headers: {Transfer-Encoding: chunked}}}]",
    "`Transfer-Encoding` may not be set: it says how the message is sent"
)]
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
    "is about the upstream or the response"
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
