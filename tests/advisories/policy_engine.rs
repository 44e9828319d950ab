//! Policies read as something else than they say, and answers that nobody decided.

use std::time::Duration;

use axum::http::StatusCode;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::google::protobuf::value::Kind;
use postern::config::{Config, Environment, Flags};
use serde_json::{Value as Json, json};
use tonic::{Code, Request};

use crate::provider::Provider;
use crate::scene::{Scene, get, refusal};
use crate::tokens::{ALICE, authentication, bearer, token, trusting_issuer};

const NOT_ALLOWED: &str = "deny no_allow_rule";
const ALLOWED: &str = "allow allow_rule foo/p rule 0";

/// A policy `p`.
fn policy(spec: &str) -> String {
    format!(
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: foo}}
spec: {spec}
"
    )
}

fn by(principal: &str) -> String {
    json!({"source": {"principal": format!("cluster.local/{principal}")}}).to_string()
}

/// A dot in `serviceAccounts` became one of a regular expression. It is a dot.
#[tokio::test]
async fn cve_2026_39350_a_dot_in_a_service_account_is_a_dot() {
    let spec = "{rules: [{from: [{source: {serviceAccounts: [infra/cert-manager.io]}}]}]}";
    let scene = Scene::of(&policy(spec)).await;
    scene.says(&[(&by("ns/infra/sa/cert-manager.io"), ALLOWED)]).await;
    for other in [
        "ns/infra/sa/cert-manager-io",
        "ns/infra/sa/cert-managerXio",
        "ns/infra/sa/cert-manager.io2",
        "ns/infraX/sa/cert-manager.io",
        "ns/x/ns/infra/sa/cert-manager/io",
    ] {
        scene.says(&[(&by(other), NOT_ALLOWED)]).await;
    }
}

/// So did other characters in `namespaces` and in the suffix of a principal. All of them are what they
/// are.
#[tokio::test]
async fn istio_note_59992_metacharacters_in_identities_are_characters() {
    for (entry, same, others) in [
        (r#"principals: ["*/sa/a.b"]"#, "ns/x/sa/a.b", vec!["ns/x/sa/acb", "ns/x/sa/aXb"]),
        (r#"principals: ["*/sa/a+"]"#, "ns/x/sa/a+", vec!["ns/x/sa/aa", "ns/x/sa/a"]),
        (r#"namespaces: ["n+1"]"#, "ns/n+1/sa/x", vec!["ns/nn1/sa/x", "ns/n1/sa/x"]),
        (r#"namespaces: ["ns[1]"]"#, "ns/ns[1]/sa/x", vec!["ns/ns1/sa/x"]),
        (r#"namespaces: ["a|b"]"#, "ns/a|b/sa/x", vec!["ns/a/sa/x", "ns/b/sa/x"]),
        (r#"namespaces: ["(a)?"]"#, "ns/(a)?/sa/x", vec!["ns/a/sa/x", "ns//sa/x"]),
        (r#"namespaces: ["a.*"]"#, "ns/a.b/sa/x", vec!["ns/ab/sa/x", "ns/abc/sa/x"]),
        (r#"serviceAccounts: ["n.1/a$"]"#, "ns/n.1/sa/a$", vec!["ns/n.1/sa/a", "ns/nx1/sa/a$"]),
    ] {
        let scene =
            Scene::of(&policy(&format!("{{rules: [{{from: [{{source: {{{entry}}}}}]}}]}}"))).await;
        let uri = |name: &str| {
            let mut check = scene.check_request("{}");
            let source = check.attributes.as_mut().unwrap().source.as_mut().unwrap();
            source.principal = format!("spiffe://cluster.local/{name}");
            check
        };
        // Such names are in no certificate that our libraries would write.
        scene.says_to(uri(same), ALLOWED).await;
        for other in others {
            scene.says_to(uri(other), NOT_ALLOWED).await;
        }
    }
}

/// Values of a route were put into an expression without escaping. There is no expression: whatever
/// stands in a policy or a request is compared, and never evaluated.
#[tokio::test]
async fn cve_2026_108334_values_are_compared_and_never_evaluated() {
    let odd = [
        "' || true || '",
        "\") || (\"\" == \"",
        "${x}",
        "{{x}}",
        ".*",
        "[a-z]+",
        "(?i)a",
        "a\\",
        "\\qa\\e",
        "%s",
        "$1",
        "`id`",
        "'; drop table x; --",
    ];
    for value in odd {
        let entry = json!([value]);
        let spec = json!({"rules": [
            {"to": [{"operation": {"methods": entry}}]},
            {"to": [{"operation": {"hosts": entry}}]},
            {"when": [{"key": "request.headers[x-a]", "values": entry}]},
            {"when": [{"key": "request.auth.claims[a]", "values": entry}]},
            {"when": [{"key": "connection.sni", "values": entry}]},
        ]});
        let scene = Scene::of(&(trusting_issuer() + &policy(&spec.to_string()))).await;
        let claim =
            |value: &str| token(&json!({"iss": "https://issuer.example", "a": value}).to_string());
        let requests = |value: &str| {
            [
                json!({"method": value}),
                json!({"host": value}),
                json!({"headers": {"x-a": value}}),
                json!({"token": claim(value)}),
                json!({"sni": value}),
            ]
        };
        for (rule, request) in requests(value).into_iter().enumerate() {
            let expect = format!("allow allow_rule foo/p rule {rule}");
            scene.says(&[(&request.to_string(), &expect)]).await;
        }
        for request in ["a", "x", "true", "", "aa"].into_iter().flat_map(requests) {
            if request != json!({"method": ""}) {
                scene.says(&[(&request.to_string(), NOT_ALLOWED)]).await;
            }
        }
    }
}

/// A deadline that passed left an empty result, which allowed. Whenever a deadline passes, the answer
/// is an error or the denial; never anything else.
#[tokio::test]
async fn authorino_649_a_deadline_never_allows() {
    let provider = Provider::start(None).await;
    let policies = authentication(&format!("jwksUri: '{}'", provider.uri()))
        + &policy("{rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}");
    let scene = Scene::of(&policies).await;
    let address = format!("http://{}", scene.engines.running.grpc_addr);
    let client = AuthorizationClient::connect(address).await.unwrap();
    let mut answered = 0;
    for microseconds in [0, 1, 10, 50, 100, 200, 400, 800, 1_600, 10_000_000] {
        for request in ["{}", &bearer(&token(ALICE))] {
            for _ in 0..20 {
                let mut request = Request::new(scene.check_request(request));
                request.set_timeout(Duration::from_micros(microseconds));
                if let Ok(response) = client.clone().check(request).await {
                    let status = response.get_ref().status.as_ref().map(|status| status.code);
                    assert!(status.is_some_and(|code| code != i32::from(Code::Ok)), "{response:?}");
                    assert!(response.get_ref().http_response.is_some());
                    answered += 1;
                }
            }
        }
    }
    assert!(answered >= 40, "with ten seconds each one is answered");
}

/// A policy without the part for a kind of route crashed the controller. Each empty form is refused or
/// means one thing: no rules match nothing, an empty rule everything.
#[tokio::test]
async fn ghsa_m2v6_2jmh_4c68_empty_parts_have_a_meaning_or_are_refused() {
    let denied = "deny deny_rule foo/p rule 0";
    for (spec, http, connection) in [
        ("{}", NOT_ALLOWED, NOT_ALLOWED),
        ("{rules: []}", NOT_ALLOWED, NOT_ALLOWED),
        ("{action: ALLOW}", NOT_ALLOWED, NOT_ALLOWED),
        ("{rules: [{}]}", ALLOWED, ALLOWED),
        ("{action: DENY, rules: [{}]}", denied, denied),
        ("{selector: {}, rules: [{}]}", ALLOWED, ALLOWED),
    ] {
        let scene = Scene::of(&policy(spec)).await;
        scene.says(&[("{}", http), ("{connection: true}", connection)]).await;
    }
    for spec in [
        "{action: DENY}",
        "{action: DENY, rules: []}",
        "{rules: [{from: []}]}",
        "{rules: [{from: [{}]}]}",
        "{rules: [{from: [{source: {}}]}]}",
        "{rules: [{from: [{source: {principals: []}}]}]}",
        "{rules: [{from: [{source: {principals: ['']}}]}]}",
        "{rules: [{to: []}]}",
        "{rules: [{to: [{}]}]}",
        "{rules: [{to: [{operation: {}}]}]}",
        "{rules: [{to: [{operation: {paths: []}}]}]}",
        "{rules: [{to: [{operation: {paths: ['']}}]}]}",
        "{rules: [{when: [{}]}]}",
        "{rules: [{when: [{key: source.ip}]}]}",
        "{rules: [{when: [{key: source.ip, values: []}]}]}",
        "{rules: [{when: [{key: '', values: [a]}]}]}",
    ] {
        let why = refusal(&policy(spec)).await;
        assert!(why.starts_with("the policies have "), "{spec}: {why}");
    }
}

/// Management endpoints could be used without authentication. Ours are on loopback unless told
/// otherwise, which is warned of; there they turn away pages that made a name of theirs point here,
/// and nothing but the log level can be changed.
#[tokio::test]
async fn ghsa_22xc_xg2r_9j7v_management_is_on_loopback() {
    let mut flags = Flags::default();
    flags.policy.policies = vec!["policies".into()];
    let config = Config::load(&flags, &Environment::default()).unwrap();
    assert!(config.admin.ip().is_loopback());
    assert!(config.listen.to_string().starts_with("127.0.0.1:"));
    flags.server.admin = Some("0.0.0.0:8282".into());
    flags.server.listen = Some("0.0.0.0:9191".into());
    let config = Config::load(&flags, &Environment::default()).unwrap();
    assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);

    let scene = Scene::of(&policy("{}")).await;
    let address = scene.engines.running.admin_addr.to_string();
    for path in ["/", "/livez", "/readyz", "/metrics", "/config_dump", "/log-level"] {
        assert_eq!(scene.get(path).await.0, StatusCode::OK, "{path}");
        let rebound = get(address.clone(), path, "attacker.example").await;
        assert_eq!(rebound.0, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    // None of the usual ones that end or change a server.
    for path in ["/quitquitquit", "/reload", "/debug/pprof/", "/v1/policies", "/shutdown"] {
        assert_eq!(scene.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    scene.says(&[("{}", NOT_ALLOWED)]).await;
}

/// Gateways moved from port 80 to 8080, and `ports: ["80"]` matched no more. A rule's port is that of
/// the connection, whatever host and headers say; which ports a listener has, only Envoy knows.
#[tokio::test]
async fn istio_security_2021_002_ports_are_those_of_the_connection() {
    let deny = policy(r#"{action: DENY, rules: [{to: [{operation: {ports: ["80"]}}]}]}"#);
    let scene = Scene::of(&deny).await;
    let denied = "deny deny_rule foo/p rule 0";
    let missed = "allow no_allow_policy";
    scene
        .says(&[
            ("{destination: {port: 80}}", denied),
            ("{destination: {port: 80}, host: 'a:8080'}", denied),
            ("{destination: {port: 8080}, host: 'a:80'}", missed),
            ("{destination: {port: 8080}, headers: {x-forwarded-port: '80'}}", missed),
            ("{connection: true, destination: {port: 80}}", denied),
            ("{}", missed),
        ])
        .await;
}

/// Proxies of another version were not sent new policies, and nobody saw it. Each answer names the
/// revision it was decided by, metrics and dump name the one in force, and a set that was refused is
/// reported until it is mended.
#[tokio::test]
async fn istio_note_43785_the_revision_in_force_is_visible() {
    let scene = Scene::of(&policy("{rules: [{}]}")).await;
    let seen = async || {
        let response = scene.ask(scene.check_request("{}")).await;
        let in_answer = match response.dynamic_metadata.unwrap().fields["revision"].kind {
            Some(Kind::NumberValue(revision)) => revision,
            ref other => panic!("the revision is {other:?}"),
        };
        let metrics = scene.get("/metrics").await.1;
        let metric = |name: &str| {
            let value = metrics.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap().trim().parse::<f64>().unwrap()
        };
        assert_eq!(metric("postern_snapshot_revision "), in_answer);
        let dump: Json = serde_json::from_str(&scene.get("/config_dump").await.1).unwrap();
        assert!(dump.to_string().contains(&format!("\"revision\":{in_answer}")), "{dump}");
        (in_answer, metric("postern_snapshot_rejected_resources "))
    };
    assert_eq!(seen().await, (1.0, 0.0));
    scene.rewrite(&policy("{}"));
    scene.until_serves("{}", NOT_ALLOWED).await;
    assert_eq!(seen().await, (2.0, 0.0));
    // The last valid form stays in force, and what was refused instead is told.
    scene.rewrite(&policy("{rules: [{}], unknown: 1}"));
    let refused = async { while !scene.get("/readyz?verbose").await.1.contains("unknown") {} };
    crate::scene::soon(refused).await;
    scene.says(&[("{}", NOT_ALLOWED)]).await;
    assert_eq!(seen().await.1, 1.0);
}
