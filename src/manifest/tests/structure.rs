use std::time::Duration;

use rstest::rstest;

use super::*;
use crate::model::*;

const AP: &str = "AuthorizationPolicy";
const RA: &str = "RequestAuthentication";
const PA: &str = "PeerAuthentication";

#[rstest]
#[case::no_spec_field(AP, "{}", &[])]
#[case::spec_null(AP, "null", &[304])]
#[case::spec_not_a_mapping(AP, "[]", &[103])]
#[case::unknown_field(AP, "{rule: []}", &[102])]
#[case::snake_case(PA, "{port_level_mtls: {}}", &[102])]
#[case::action_case(AP, "{action: allow}", &[104])]
#[case::action_empty(AP, "{action: ''}", &[104])]
#[case::action_number(AP, "{action: 0}", &[103])]
#[case::rules_null(AP, "{rules: null}", &[304])]
#[case::rule_null(AP, "{rules: [null]}", &[103])]
#[case::from_null_item(AP, "{rules: [{from: [null]}]}", &[103])]
#[case::to_null_item(AP, "{rules: [{to: [null]}]}", &[103])]
#[case::when_null_item(AP, "{rules: [{when: [null]}]}", &[103])]
#[case::null_in_a_list(AP, "{rules: [{from: [{source: {principals: [a, null]}}]}]}", &[103])]
#[case::string_for_a_list(AP, "{rules: [{from: [{source: {principals: a}}]}]}", &[103])]
#[case::old_boolean_for_a_string(AP, "{rules: [{from: [{source: {principals: [no]}}]}]}", &[103])]
#[case::quoted_old_boolean(AP, "{rules: [{from: [{source: {principals: ['no']}}]}]}", &[])]
#[case::number_for_a_port(AP, "{rules: [{to: [{operation: {ports: [80]}}]}]}", &[103])]
#[case::bad_port(AP, "{rules: [{to: [{operation: {notPorts: ['65536']}}]}]}", &[108])]
#[case::port_zero(AP, "{rules: [{to: [{operation: {ports: ['0']}}]}]}", &[])]
#[case::bad_block(AP, "{rules: [{from: [{source: {notRemoteIpBlocks: [1.2.3]}}]}]}", &[107])]
#[case::host_bits(AP, "{rules: [{from: [{source: {ipBlocks: [10.1.2.3/16]}}]}]}", &[302])]
#[case::source_field_in_from(AP, "{rules: [{from: [{principals: [a]}]}]}", &[102])]
#[case::source_in_rule(AP, "{rules: [{source: {principals: [a]}}]}", &[102])]
#[case::key_missing(AP, "{rules: [{when: [{values: [a]}]}]}", &[101])]
#[case::key_unknown(AP, "{rules: [{when: [{key: source.port, values: [a]}]}]}", &[109])]
#[case::key_empty(AP, "{rules: [{when: [{key: '', values: [a]}]}]}", &[109])]
#[case::condition_ip(AP, "{rules: [{when: [{key: remote.ip, values: [x]}]}]}", &[107])]
#[case::condition_port(AP, "{rules: [{when: [{key: destination.port, notValues: [x]}]}]}", &[108])]
#[case::match_expressions(AP, "{selector: {matchExpressions: []}}", &[300, 102])]
#[case::label_not_a_string(AP, "{selector: {matchLabels: {a: true}}}", &[103])]
#[case::label_null(AP, "{selector: {matchLabels: {a: null}}}", &[103])]
#[case::target_ref_without_kind(AP, "{targetRef: {name: x}}", &[101])]
#[case::target_ref_without_name(AP, "{targetRefs: [{kind: Service}]}", &[101])]
#[case::target_ref_unknown_field(AP, "{targetRef: {kind: Service, name: x, port: 1}}", &[102])]
#[case::jwt_rule_null(RA, "{jwtRules: [null]}", &[103])]
#[case::from_headers_of_strings(RA, "{jwtRules: [{issuer: i, fromHeaders: [x]}]}", &[103])]
#[case::from_headers_nameless(RA, "{jwtRules: [{issuer: i, fromHeaders: [{prefix: x}]}]}", &[101])]
#[case::claim_without_header(RA, "{jwtRules: [{issuer: i, outputClaimToHeaders: [{claim: x}]}]}", &[101])]
#[case::old_boolean_for_a_boolean(RA, "{jwtRules: [{issuer: i, forwardOriginalToken: yes}]}", &[])]
#[case::string_for_a_boolean(RA, "{jwtRules: [{issuer: i, forwardOriginalToken: 'true'}]}", &[103])]
#[case::bad_timeout(RA, "{jwtRules: [{issuer: i, timeout: 5 s}]}", &[110])]
#[case::negative_timeout(RA, "{jwtRules: [{issuer: i, timeout: -5s}]}", &[110])]
#[case::jwks_as_a_mapping(RA, "{jwtRules: [{issuer: i, jwks: {keys: []}}]}", &[103])]
#[case::bad_presence(RA, "{jwtRules: [{issuer: i, presence: MANDATORY}]}", &[104])]
#[case::presence(RA, "{jwtRules: [{issuer: i, presence: OPTIONAL}]}", &[])]
#[case::mode(PA, "{mtls: {mode: strict}}", &[104])]
#[case::no_mode(PA, "{mtls: {}}", &[])]
#[case::no_target_ref(PA, "{targetRef: {kind: Service, name: x}}", &[102])]
#[case::port_zero_level(PA, "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {}}}", &[108])]
#[case::port_name(PA, "{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {}}}", &[108])]
#[case::port_octal(PA, "{selector: {matchLabels: {a: b}}, portLevelMtls: {'080': {}}}", &[108])]
#[case::port_level_mode(PA, "{selector: {matchLabels: {a: b}}, portLevelMtls: {80: STRICT}}", &[103])]
fn decoding(#[case] kind: &str, #[case] given: &str, #[case] expected: &[u16]) {
    assert_eq!(spec(kind, given), expected);
}

#[rstest]
#[case::no_name("{}", &[101])]
#[case::null("null", &[101, 304])]
#[case::capital("{name: A}", &[111])]
#[case::empty("{name: ''}", &[111])]
#[case::dots("{name: a.b-c.1}", &[])]
#[case::dot_at_end("{name: a.}", &[111])]
#[case::dots_in_namespace("{name: a, namespace: b.c}", &[111])]
#[case::empty_namespace("{name: a, namespace: ''}", &[])]
#[case::number("{name: 1}", &[103])]
#[case::unknown("{name: a, nmae: b}", &[102])]
#[case::label("{name: a, labels: {a: 1}}", &[103])]
#[case::labels("{name: a, labels: [a]}", &[103])]
#[case::time("{name: a, creationTimestamp: yesterday}", &[112])]
#[case::null_time("{name: a, creationTimestamp: null, labels: null}", &[])]
#[case::reserved("{name: a, annotations: {internal.istio.io/parents: x}}", &[216])]
#[case::others("{name: a, uid: u, resourceVersion: '1', generation: 1, managedFields: [], \
    ownerReferences: [], finalizers: [], generateName: x, selfLink: x, deletionTimestamp: x, \
    deletionGracePeriodSeconds: 1}", &[])]
fn metadata(#[case] given: &str, #[case] expected: &[u16]) {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: {AP}\nmetadata: {given}\nstatus: {{x: 1}}"
    );
    assert_eq!(codes_of(&decode_yaml(&text)), expected);
}

#[rstest]
#[case::beta("apiVersion: security.istio.io/v1beta1\nkind: PeerAuthentication\nmetadata: {name: a}", &[])]
#[case::alpha("apiVersion: security.istio.io/v1alpha1\nkind: PeerAuthentication\nmetadata: {name: a}", &[106])]
#[case::unknown_kind("apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy", &[105])]
#[case::typo_in_group("apiVersion: security.istio/v1\nkind: PeerAuthentication", &[113])]
#[case::no_group("apiVersion: v1\nkind: PeerAuthentication", &[113])]
#[case::other_istio_group("apiVersion: networking.istio.io/v1\nkind: PeerAuthentication", &[113])]
#[case::same_kind_elsewhere("apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy", &[390])]
#[case::foreign("apiVersion: apps/v1\nkind: Deployment\nx: !foo {on: 1, a: 1, a: 2}", &[390])]
#[case::no_kind("apiVersion: security.istio.io/v1", &[101])]
#[case::nothing_of_a_resource("a: b", &[101, 101])]
#[case::kind_number("apiVersion: v1\nkind: 1", &[103])]
#[case::list("- a", &[100])]
#[case::text("hello", &[100])]
#[case::unknown_top_field("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspecs: {}", &[102])]
#[case::empty("", &[])]
#[case::comments("# nothing\n---\n# here\n---\n~\n", &[])]
fn envelope(#[case] text: &str, #[case] expected: &[u16]) {
    assert_eq!(codes_of(&decode_yaml(text)), expected);
}

#[test]
fn every_field_of_an_authorization_policy_arrives() {
    let text = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: all
  namespace: shop
  labels: {l: "1"}
  annotations: {istio.io/dry-run: "T"}
  creationTimestamp: 1970-01-01T00:01:00Z
spec:
  action: DENY
  selector: {matchLabels: {app: web}}
  rules:
  - from:
    - source:
        principals: [p]
        notPrincipals: [np]
        requestPrincipals: [r]
        notRequestPrincipals: [nr]
        namespaces: [ns]
        notNamespaces: [nn]
        trustDomains: [t]
        notTrustDomains: [nt]
        ipBlocks: [10.0.0.0/8]
        notIpBlocks: ["::1"]
        remoteIpBlocks: [1.2.3.4]
        notRemoteIpBlocks: [2001:db8::/32]
    - source: {serviceAccounts: [sa], notServiceAccounts: [ns/sa]}
    to:
    - operation:
        hosts: [h]
        notHosts: [nh]
        ports: ["080"]
        notPorts: ["0"]
        methods: [GET]
        notMethods: [PUT]
        paths: [/a]
        notPaths: ["/b/{**}"]
    when:
    - {key: "request.headers[X-Name]", values: [v], notValues: [nv]}
    - {key: source.ip, values: [10.0.0.1]}
    - {key: destination.port, notValues: ["1"]}
    - {key: "request.auth.claims[a][b]", values: [x]}
    - {key: "experimental.envoy.filters.http.x[k[0]]", values: [x]}
"#;
    let Resource::AuthorizationPolicy(policy) = only(text) else { panic!("wrong kind") };
    assert_eq!(policy.metadata.creation_timestamp, Some(60));
    assert_eq!(policy.metadata.labels["l"], "1");
    assert_eq!(policy.metadata.position, Position { line: 2, column: 1 });
    assert_eq!(policy.metadata.file.as_deref(), Some("p.yaml"));
    assert!(policy.dry_run);
    assert_eq!(policy.action, Action::Deny);
    assert_eq!(policy.attachment.selector.as_ref().expect("selector")["app"], "web");
    let rule = &policy.rules[0];
    let texts = |list: &StringList| list.iter().map(|v| v.value.clone()).collect::<Vec<_>>();
    let source = &rule.from[0];
    assert_eq!(texts(&source.principals), ["p"]);
    assert_eq!(texts(&source.not_principals), ["np"]);
    assert_eq!(texts(&source.request_principals), ["r"]);
    assert_eq!(texts(&source.not_request_principals), ["nr"]);
    assert_eq!(texts(&source.namespaces), ["ns"]);
    assert_eq!(texts(&source.not_namespaces), ["nn"]);
    assert_eq!(texts(&source.trust_domains), ["t"]);
    assert_eq!(texts(&source.not_trust_domains), ["nt"]);
    let blocks = |list: &[Located<ipnet::IpNet>]| list[0].value.to_string();
    assert_eq!(blocks(&source.ip_blocks), "10.0.0.0/8");
    assert_eq!(blocks(&source.not_ip_blocks), "::1/128");
    assert_eq!(blocks(&source.remote_ip_blocks), "1.2.3.4/32");
    assert_eq!(blocks(&source.not_remote_ip_blocks), "2001:db8::/32");
    assert_eq!(texts(&rule.from[1].service_accounts), ["sa"]);
    assert_eq!(texts(&rule.from[1].not_service_accounts), ["ns/sa"]);
    let operation = &rule.to[0];
    assert_eq!(texts(&operation.hosts), ["h"]);
    assert_eq!(texts(&operation.not_hosts), ["nh"]);
    assert_eq!((operation.ports[0].value, operation.not_ports[0].value), (80, 0));
    assert_eq!(texts(&operation.methods), ["GET"]);
    assert_eq!(texts(&operation.not_methods), ["PUT"]);
    assert_eq!(texts(&operation.paths), ["/a"]);
    assert_eq!(texts(&operation.not_paths), ["/b/{**}"]);
    assert_eq!(operation.paths[0].position, Position { line: 37, column: 17 });
    let keys: Vec<_> = rule.when.iter().map(|condition| condition.key.clone()).collect();
    assert_eq!(
        keys,
        [
            ConditionKey::RequestHeader("x-name".into()),
            ConditionKey::SourceIp,
            ConditionKey::DestinationPort,
            ConditionKey::RequestClaims(vec!["a".into(), "b".into()]),
            ConditionKey::EnvoyFilterMetadata {
                filter: "envoy.filters.http.x".into(),
                key: "k[0]".into()
            },
        ]
    );
    assert!(matches!(&rule.when[0].not_values, ConditionValues::Patterns(v) if v[0].value == "nv"));
    assert!(matches!(&rule.when[1].values, ConditionValues::IpBlocks(v) if v.len() == 1));
    assert!(rule.when[1].not_values.is_empty());
    assert!(matches!(&rule.when[2].not_values, ConditionValues::Ports(v) if v[0].value == 1));
}

#[test]
fn every_field_of_a_request_authentication_arrives() {
    let text = r#"{
  "apiVersion": "security.istio.io/v1beta1",
  "kind": "RequestAuthentication",
  "metadata": {"name": "all"},
  "spec": {
    "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}],
    "jwtRules": [
      {
        "issuer": "i", "audiences": ["a"], "jwks": "{\"keys\": []}",
        "fromHeaders": [{"name": "X-Jwt", "prefix": "Bearer "}, {"name": "y"}],
        "fromParams": ["p"], "fromCookies": ["c"], "outputPayloadToHeader": "X-Payload",
        "outputClaimToHeaders": [{"header": "X-Sub", "claim": "a.sub"}],
        "forwardOriginalToken": true, "timeout": "1.5s", "spaceDelimitedClaims": ["roles"]
      },
      {"issuer": "j", "jwks_uri": "https://example.com/k"}
    ]
  }
}"#;
    let decoded = decode(
        text,
        Some("p.json"),
        &Options { default_namespace: "here".into(), ..Options::default() },
    );
    assert_eq!(rendered(&decoded), "");
    let Some(Resource::RequestAuthentication(resource)) = decoded.accepted().next() else {
        panic!("not admitted")
    };
    assert_eq!(&*resource.metadata.namespace, "here");
    assert_eq!(
        resource.attachment,
        Attachment {
            selector: None,
            target_refs: vec![PolicyTargetReference {
                group: "gateway.networking.k8s.io".into(),
                kind: "Gateway".into(),
                name: "gw".into(),
            }],
        }
    );
    assert_eq!(
        resource.jwt_rules[0],
        JwtRule {
            issuer: "i".into(),
            audiences: vec!["a".into()],
            jwks: Some("{\"keys\": []}".into()),
            jwks_uri: None,
            from_headers: vec![
                JwtHeader { name: "x-jwt".into(), prefix: "Bearer ".into() },
                JwtHeader { name: "y".into(), prefix: String::new() },
            ],
            from_params: vec!["p".into()],
            from_cookies: vec!["c".into()],
            output_payload_to_header: Some("x-payload".into()),
            output_claim_to_headers: vec![ClaimToHeader {
                header: "x-sub".into(),
                claim: "a.sub".into()
            }],
            forward_original_token: true,
            timeout: Duration::from_millis(1500),
            space_delimited_claims: vec!["roles".into()],
            position: Position { line: 8, column: 7 },
        }
    );
    let second = &resource.jwt_rules[1];
    assert_eq!(second.jwks_uri.as_deref(), Some("https://example.com/k"));
    assert_eq!(second.timeout, JwtRule::DEFAULT_TIMEOUT);
}

#[test]
fn every_field_of_a_peer_authentication_arrives() {
    let text = resource(
        PA,
        "{selector: {matchLabels: {a: b}}, mtls: {mode: STRICT}, \
         portLevelMtls: {80: {mode: DISABLE}, '81': {mode: PERMISSIVE}, 82: {}}}",
    );
    let Resource::PeerAuthentication(peer) = only(&text) else { panic!("wrong kind") };
    assert_eq!(peer.mtls, MutualTlsMode::Strict);
    let ports: Vec<_> = peer.port_level_mtls.into_iter().collect();
    assert_eq!(
        ports,
        [(80, MutualTlsMode::Disable), (81, MutualTlsMode::Permissive), (82, MutualTlsMode::Unset)]
    );
}

#[test]
fn a_bad_entry_leaves_no_resource_with_a_shorter_list() {
    let text = resource(AP, "{rules: [{from: [{source: {ipBlocks: [10.0.0.1, x]}}]}]}");
    let decoded = decode_yaml(&text);
    let document = &decoded.documents[0];
    assert!(document.resource.is_none() && !document.admitted);
    assert_eq!(document.id.as_ref().expect("id").to_string(), "AuthorizationPolicy/shop/r");
    assert_eq!(document.scope, Some(RefusedScope::Attached(Attachment::default())));
}

#[rstest]
#[case::label("{selector: {matchLabels: {a: 1}}, rules: [null]}")]
#[case::selector("{selector: [], rules: [null]}")]
#[case::reference("{targetRefs: [{kind: Service}], rules: [null]}")]
#[case::refused_reference("{targetRef: {kind: Pod, name: x}}")]
#[case::twice("{targetRef: {kind: Service, name: x}, selector: {matchLabels: {a: b}}}")]
#[case::duplicate("{selector: {matchLabels: {a: b}}, selector: {}}")]
fn a_doubtful_attachment_is_none(#[case] given: &str) {
    let decoded = decode_yaml(&resource(AP, given));
    assert!(!decoded.documents[0].admitted);
    assert_eq!(decoded.documents[0].scope, None);
}
