//! APIRules of v2alpha1 and v2.

use super::*;

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
    "is about the upstream or the response"
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
