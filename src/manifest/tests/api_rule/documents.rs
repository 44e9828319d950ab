//! v1alpha1, the documents of Kyma's documentation, and what is made of them.

use super::*;

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
