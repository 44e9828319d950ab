use rstest::rstest;

use super::*;

const AP: &str = "AuthorizationPolicy";
const RA: &str = "RequestAuthentication";
const PA: &str = "PeerAuthentication";

#[rstest]
#[case::selector(AP, "{selector: {matchLabels: {a: b}}}", &[])]
#[case::empty_selector(AP, "{selector: {}}", &[300])]
#[case::empty_labels(AP, "{selector: {matchLabels: {}}}", &[300])]
#[case::star_in_value(AP, "{selector: {matchLabels: {a: 'b*'}}}", &[201])]
#[case::star_in_key(AP, "{selector: {matchLabels: {'a*': b}}}", &[201])]
#[case::empty_key(PA, "{selector: {matchLabels: {'': b}}}", &[201])]
#[case::empty_value(AP, "{selector: {matchLabels: {a: ''}}}", &[])]
#[case::long_value(AP, "{selector: {matchLabels: {a: LONG64}}}", &[201])]
#[case::two_ways(AP, "{selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: x}]}", &[200])]
#[case::two_ways_empty(RA, "{selector: {matchLabels: {a: b}}, targetRefs: []}", &[200])]
#[case::two_refs(RA, "{targetRef: {kind: Service, name: x}, targetRefs: [{kind: Service, name: x}]}", &[200])]
#[case::service(AP, "{targetRef: {kind: Service, name: x}}", &[])]
#[case::core_service(AP, "{targetRef: {group: core, kind: Service, name: x}}", &[])]
#[case::service_entry(AP, "{targetRef: {group: networking.istio.io, kind: ServiceEntry, name: x}}", &[])]
#[case::gateway_class(AP, "{targetRef: {group: gateway.networking.k8s.io, kind: GatewayClass, name: x}}", &[])]
#[case::gateway_of_istio(AP, "{targetRef: {group: networking.istio.io, kind: Gateway, name: x}}", &[203])]
#[case::pod(AP, "{targetRef: {kind: Pod, name: x}}", &[203])]
#[case::bad_group(AP, "{targetRef: {group: _, kind: Service, name: x}}", &[202, 203])]
#[case::ref_namespace(AP, "{targetRef: {kind: Service, name: x, namespace: z}}", &[202])]
#[case::ref_empty_namespace(AP, "{targetRef: {kind: Service, name: x, namespace: ''}}", &[])]
#[case::ref_empty_name(AP, "{targetRef: {kind: Service, name: ''}}", &[202])]
fn attachments(#[case] kind: &str, #[case] given: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(kind, &given.replace("LONG64", &"x".repeat(64))), expected);
}

#[test]
fn limits_on_counts() {
    let repeated = |item: &str, count: usize| vec![item; count].join(",");
    let refs = |n| format!("{{targetRefs: [{}]}}", repeated("{kind: Service, name: x}", n));
    assert_eq!(spec(AP, &refs(16)), NOTHING);
    assert_eq!(spec(AP, &refs(17)), [204]);
    let rules = |n| format!("{{rules: [{}]}}", repeated("{}", n));
    assert_eq!(spec(AP, &rules(512)), NOTHING);
    assert_eq!(spec(AP, &rules(513)), [204]);
    let from =
        |n| format!("{{rules: [{{from: [{}]}}]}}", repeated("{source: {principals: [a]}}", n));
    assert_eq!(spec(AP, &from(512)), NOTHING);
    assert_eq!(spec(AP, &from(513)), [204]);
    let accounts = |n| {
        format!("{{rules: [{{from: [{{source: {{serviceAccounts: [{}]}}}}]}}]}}", repeated("a", n))
    };
    assert_eq!(spec(AP, &accounts(16)), NOTHING);
    assert_eq!(spec(AP, &accounts(17)), [204]);
    let jwt = |n| format!("{{jwtRules: [{}]}}", repeated("{issuer: i}", n));
    assert_eq!(spec(RA, &jwt(4096)), NOTHING);
    assert_eq!(spec(RA, &jwt(4097)), [204]);
    let claims =
        |n| format!("{{jwtRules: [{{issuer: i, spaceDelimitedClaims: [{}]}}]}}", repeated("a", n));
    assert_eq!(spec(RA, &claims(64)), NOTHING);
    assert_eq!(spec(RA, &claims(65)), [204]);
    let labels = |n: usize| {
        let all: Vec<_> = (0..n).map(|i| format!("k{i}: v")).collect();
        format!("{{selector: {{matchLabels: {{{}}}}}}}", all.join(","))
    };
    assert_eq!(spec(PA, &labels(4096)), NOTHING);
    assert_eq!(spec(PA, &labels(4097)), [204]);
}

#[rstest]
#[case::deny_without_rules("{action: DENY}", &[206])]
#[case::deny_with_no_rule("{action: DENY, rules: []}", &[206])]
#[case::allow_without_rules("{}", &[])]
#[case::audit_without_rules("{action: AUDIT}", &[])]
#[case::custom_without_rules("{action: CUSTOM, provider: {name: p}}", &[206])]
#[case::custom("{action: CUSTOM, provider: {name: p}, rules: [{}]}", &[])]
#[case::custom_without_provider("{action: CUSTOM, rules: [{}]}", &[207])]
#[case::custom_without_name("{action: CUSTOM, provider: {}, rules: [{}]}", &[207])]
#[case::custom_with_empty_name("{action: CUSTOM, provider: {name: ''}, rules: [{}]}", &[207])]
#[case::provider_of_allow("{provider: {name: p}}", &[207])]
#[case::provider_of_deny("{action: DENY, provider: {}, rules: [{}]}", &[207])]
fn actions(#[case] given: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(AP, given), expected);
}

#[rstest]
#[case("principals")]
#[case("notPrincipals")]
#[case("requestPrincipals")]
#[case("notRequestPrincipals")]
#[case("namespaces")]
#[case("notNamespaces")]
#[case("serviceAccounts")]
#[case("notServiceAccounts")]
#[case("trustDomains")]
#[case("notTrustDomains")]
fn custom_policies_know_no_identities(#[case] field: &str) {
    let custom = format!(
        "{{action: CUSTOM, provider: {{name: p}}, rules: [{{from: [{{source: {{{field}: [a]}}}}]}}]}}"
    );
    assert_eq!(spec(AP, &custom), [208]);
}

#[rstest]
#[case("source.namespace")]
#[case("source.serviceAccount")]
#[case("source.trustDomain")]
#[case("source.principal")]
#[case("request.auth.principal")]
#[case("request.auth.claims[a]")]
fn custom_policies_know_no_identity_conditions(#[case] key: &str) {
    let custom = format!(
        "{{action: CUSTOM, provider: {{name: p}}, rules: [{{when: [{{key: '{key}', values: [a]}}]}}]}}"
    );
    assert_eq!(spec(AP, &custom), [208]);
}

#[rstest]
#[case::ips("{action: CUSTOM, provider: {name: p}, rules: [{from: [{source: {ipBlocks: [1.2.3.4]}}]}]}", &[])]
#[case::headers("{action: CUSTOM, provider: {name: p}, rules: [{when: [{key: 'request.headers[a]', values: [a]}]}]}", &[])]
#[case::from_empty("{rules: [{from: []}]}", &[209])]
#[case::to_empty("{rules: [{to: []}]}", &[209])]
#[case::when_empty("{rules: [{when: []}]}", &[])]
#[case::from_null("{rules: [{from: null}]}", &[304])]
#[case::no_source("{rules: [{from: [{}]}]}", &[209])]
#[case::null_source("{rules: [{from: [{source: null}]}]}", &[209, 304])]
#[case::empty_source("{rules: [{from: [{source: {}}]}]}", &[209])]
#[case::source_of_empty_lists("{rules: [{from: [{source: {principals: [], ipBlocks: []}}]}]}", &[209])]
#[case::no_operation("{rules: [{to: [{}]}]}", &[209])]
#[case::empty_operation("{rules: [{to: [{operation: {}}]}]}", &[209])]
#[case::operation_of_empty_lists("{rules: [{to: [{operation: {paths: []}}]}]}", &[209])]
fn empty_matches(#[case] given: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(AP, given), expected);
}

#[rstest]
#[case::principals("principals: ['']", &[205])]
#[case::not_principals("notPrincipals: [a, '']", &[205])]
#[case::request_principals("requestPrincipals: ['', '']", &[205, 205])]
#[case::namespaces("namespaces: ['']", &[205])]
#[case::ip_blocks("ipBlocks: ['']", &[107])]
#[case::account("serviceAccounts: [a, b/c]", &[])]
#[case::account_empty("serviceAccounts: ['']", &[210])]
#[case::account_star("notServiceAccounts: ['a*']", &[210])]
#[case::account_three("serviceAccounts: [a/b/c]", &[210])]
#[case::account_no_namespace("serviceAccounts: [/b]", &[210])]
#[case::account_no_name("serviceAccounts: [a/]", &[210])]
#[case::account_longest("serviceAccounts: [LONG320]", &[])]
#[case::account_long("serviceAccounts: [xLONG320]", &[210])]
#[case::conflict("serviceAccounts: [a], namespaces: [b]", &[211])]
#[case::conflict_of_nots("notServiceAccounts: [a], notPrincipals: [b]", &[211])]
#[case::conflict_of_an_empty_list("serviceAccounts: [a], principals: []", &[211])]
#[case::trust_domains("trustDomains: [a, 'a*', '*a', '*']", &[])]
#[case::trust_domain_empty("trustDomains: ['']", &[212])]
#[case::trust_domain_two("trustDomains: ['*a*']", &[212])]
#[case::trust_domain_inside("notTrustDomains: ['a*b']", &[212])]
#[case::trust_domain_slash("notTrustDomains: [a/b]", &[212])]
fn sources(#[case] given: &str, #[case] expected: &[u16]) {
    let given = given.replace("LONG320", &"x".repeat(320));
    assert_eq!(spec(AP, &format!("{{rules: [{{from: [{{source: {{{given}}}}}]}}]}}")), expected);
}

#[rstest]
#[case::hosts("hosts: ['']", &[205])]
#[case::methods("notMethods: ['']", &[205])]
#[case::any_method("methods: [any, 'g*']", &[])]
#[case::paths("paths: ['']", &[205])]
#[case::no_slash("paths: [a, '*', '*a', 'a*', 'a*b']", &[])]
#[case::one("paths: ['/a/{*}/b']", &[])]
#[case::any("paths: ['/{**}', '/a/{**}/b', '/{*}/{**}']", &[])]
#[case::any_not_last("paths: ['/{**}/{*}']", &[213])]
#[case::any_twice("notPaths: ['/{**}/{**}']", &[213])]
#[case::named("paths: ['/{id}']", &[213])]
#[case::part_of_a_segment("paths: ['/a{*}']", &[213])]
#[case::brace("paths: ['/a}']", &[213])]
#[case::empty_segment("paths: ['/{*}//a']", &[213])]
#[case::outer_slashes("paths: ['//{*}//']", &[])]
#[case::star_in_template("paths: ['/{*}/*']", &[213])]
#[case::percent("paths: ['/{*}/%2F~!$&()+,;:@=']", &[])]
#[case::space_in_template("paths: ['/{*}/a b']", &[213])]
#[case::space("paths: ['/a b']", &[])]
fn operations(#[case] given: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(AP, &format!("{{rules: [{{to: [{{operation: {{{given}}}}}]}}]}}")), expected);
}

#[rstest]
#[case::no_values("key: source.ip", &[214])]
#[case::empty_values("key: source.principal, values: [], notValues: []", &[214])]
#[case::null_values("key: source.principal, values: null", &[214, 304])]
#[case::not_values("key: source.principal, notValues: [a]", &[])]
#[case::empty_value("key: connection.sni, values: ['']", &[205])]
#[case::empty_not_value("key: 'request.headers[a]', notValues: [a, '']", &[205])]
#[case::empty_ip("key: source.ip, values: ['']", &[107])]
#[case::account("key: source.serviceAccount, values: ['*']", &[210])]
#[case::trust_domain("key: source.trustDomain, values: ['a*b']", &[212])]
#[case::trust_domain_slash("key: source.trustDomain, values: ['a/b']", &[])]
fn conditions(#[case] given: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(AP, &format!("{{rules: [{{when: [{{{given}}}]}}]}}")), expected);
}

#[rstest]
#[case::paths("to: [{operation: {paths: [/a]}}]", &[301])]
#[case::paths_and_ports("to: [{operation: {paths: [/a], ports: ['80']}}]", &[])]
#[case::tokens("from: [{source: {requestPrincipals: ['*']}}]", &[301])]
#[case::principals("from: [{source: {principals: ['*']}}]", &[])]
#[case::principals_and_paths("from: [{source: {principals: ['*']}}], to: [{operation: {paths: [/a]}}]", &[301])]
#[case::any_rule("", &[])]
fn deny_rules_of_http_only_are_warned_about(#[case] rule: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(AP, &format!("{{action: DENY, rules: [{{{rule}}}]}}")), expected);
    assert_eq!(spec(AP, &format!("{{action: ALLOW, rules: [{{{rule}}}]}}")), NOTHING);
}

#[rstest]
#[case::yes(AP, "'true'", "{}", &[])]
#[case::zero(AP, "'0'", "{}", &[])]
#[case::word(AP, "'yes'", "{}", &[215])]
#[case::boolean(AP, "true", "{}", &[103])]
#[case::audit(AP, "'true'", "{action: AUDIT}", &[215])]
#[case::custom(AP, "'true'", "{action: CUSTOM, provider: {name: p}, rules: [{}]}", &[])]
#[case::other_kind(PA, "'true'", "{}", &[215])]
fn dry_run(#[case] kind: &str, #[case] value: &str, #[case] given: &str, #[case] expected: &[u16]) {
    let text = resource(kind, given)
        .replace("{name: r", &format!("{{name: r, annotations: {{istio.io/dry-run: {value}}}"));
    assert_eq!(codes_of(&decode_yaml(&text)), expected);
}

#[rstest]
#[case::status(AP, "deny-status: '404'", "{}", &[])]
#[case::headers(AP, "deny-headers: 'x-a: b'", "{}", &[])]
#[case::other_status(AP, "deny-status: '200'", "{}", &[306])]
#[case::number(AP, "deny-status: 404", "{}", &[103])]
#[case::cookie(AP, "deny-headers: 'set-cookie: a=b'", "{}", &[306])]
#[case::unknown(AP, "deny-statuss: '404'", "{}", &[306])]
#[case::audit(AP, "deny-status: '404'", "{action: AUDIT, rules: [{}]}", &[306])]
#[case::other_kind(PA, "deny-status: '404'", "{}", &[306])]
fn deny_annotations(
    #[case] kind: &str,
    #[case] annotation: &str,
    #[case] given: &str,
    #[case] expected: &[u16],
) {
    let annotations = format!("annotations: {{postern.dev/{annotation}}}");
    let text = resource(kind, given).replace("{name: r", &format!("{{name: r, {annotations}"));
    let decoded = decode_yaml(&text);
    assert_eq!(codes_of(&decoded), expected);
    // An answer that cannot be given is no reason to enforce less, or more.
    assert_eq!(decoded.accepted().count(), usize::from(expected != [103]));
}

#[rstest]
#[case::issuer("issuer: i", &[])]
#[case::nothing("audiences: [a]", &[217])]
#[case::jwks_only("jwks: '{\"keys\":[]}'", &[217])]
#[case::uri_only("jwksUri: 'https://h/k'", &[])]
#[case::empty_issuer("issuer: '', jwksUri: 'https://h/k'", &[217])]
#[case::both("issuer: i, jwks: '{\"keys\":[]}', jwksUri: 'https://h/k'", &[220])]
#[case::both_spellings("issuer: i, jwks_uri: 'https://h/k', jwksUri: 'https://h/k'", &[220])]
#[case::empty_uri("issuer: i, jwksUri: ''", &[218])]
#[case::scheme("issuer: i, jwksUri: 'ftp://h/k'", &[218])]
#[case::no_scheme("issuer: i, jwksUri: 'h/k'", &[218])]
#[case::no_host("issuer: i, jwksUri: 'https:///k'", &[218])]
#[case::capital_scheme("issuer: i, jwksUri: 'HTTPS://h/k'", &[])]
#[case::port("issuer: i, jwksUri: 'http://h:8080/k?a=b'", &[])]
#[case::long_uri("issuer: i, jwksUri: 'https://h/LONG2048'", &[218])]
#[case::not_json("issuer: i, jwks: 'keys: []'", &[219])]
#[case::one_key("issuer: i, jwks: '{\"kty\":\"RSA\"}'", &[219])]
#[case::keys_not_a_list("issuer: i, jwks: '{\"keys\":{}}'", &[219])]
#[case::list_of_keys("issuer: i, jwks: '[]'", &[219])]
#[case::unusable_keys("issuer: i, jwks: '{\"keys\":[{},{\"kty\":\"X\"},1]}'", &[])]
#[case::private_key("issuer: i, jwks: '{\"keys\":[{\"kty\":\"RSA\",\"d\":\"x\"}]}'", &[303])]
#[case::symmetric_key("issuer: i, jwks: '{\"keys\":[{\"kty\":\"oct\"}]}'", &[303])]
#[case::empty_jwks("issuer: i, jwks: ''", &[])]
#[case::audience("issuer: i, audiences: ['']", &[205])]
#[case::param("issuer: i, fromParams: ['']", &[205])]
#[case::cookie("issuer: i, fromCookies: ['']", &[205])]
#[case::claim("issuer: i, spaceDelimitedClaims: ['']", &[205])]
#[case::header("issuer: i, fromHeaders: [{name: ''}]", &[221])]
#[case::header_break("issuer: i, fromHeaders: [{name: \"a\\nb\"}]", &[221])]
#[case::payload_break("issuer: i, outputPayloadToHeader: \"a\\rb\"", &[221])]
#[case::claim_header("issuer: i, outputClaimToHeaders: [{header: 'x_y-Z', claim: c}]", &[])]
#[case::claim_header_colon("issuer: i, outputClaimToHeaders: [{header: ':path', claim: c}]", &[221])]
#[case::claim_header_empty("issuer: i, outputClaimToHeaders: [{header: '', claim: c}]", &[221])]
#[case::claim_empty("issuer: i, outputClaimToHeaders: [{header: h, claim: ''}]", &[205])]
#[case::claim_header_twice("issuer: i, outputClaimToHeaders: [{header: h, claim: c}, {header: H, claim: d}]", &[305])]
#[case::shortest_timeout("issuer: i, timeout: 1ms", &[])]
#[case::no_timeout("issuer: i, timeout: 0s", &[222])]
#[case::short_timeout("issuer: i, timeout: 999us", &[222])]
#[case::fine_timeout("issuer: i, timeout: 1.0005s", &[222])]
#[case::presence("issuer: i, presence: REQUIRED", &[223])]
fn jwt_rules(#[case] given: &str, #[case] expected: &[u16]) {
    let given = given.replace("LONG2048", &"x".repeat(2048));
    assert_eq!(spec(RA, &format!("{{jwtRules: [{{{given}}}]}}")), expected);
}

#[rstest]
#[case::mesh_mode("{mtls: {mode: STRICT}}", &[])]
#[case::no_selector("{portLevelMtls: {80: {mode: STRICT}}}", &[224])]
#[case::empty_selector("{selector: {}, portLevelMtls: {80: {mode: STRICT}}}", &[300, 224])]
#[case::no_ports("{selector: {matchLabels: {a: b}}, portLevelMtls: {}}", &[224])]
#[case::ports("{selector: {matchLabels: {a: b}}, portLevelMtls: {1: {}, 65535: {}}}", &[])]
fn peer_authentications(#[case] given: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(PA, given), expected);
}

#[test]
fn a_resource_that_is_not_admitted_is_still_decoded() {
    let text = resource(RA, "{jwtRules: [{issuer: '', jwksUri: 'https://h/k'}]}");
    let decoded = decode_yaml(&text);
    assert!(decoded.has_errors());
    assert!(decoded.documents[0].resource.is_some());
    assert!(!decoded.documents[0].admitted);
    assert_eq!(decoded.accepted().count(), 0);
}
