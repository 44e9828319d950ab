//! What goes wrong where APIRules become AuthorizationPolicies does not go wrong here.

use serde_json::json;

use crate::{
    issuer::{Issuer, bearer},
    world::World,
};

fn api_rule(rules: &str) -> String {
    format!(
        "apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {{name: hazards, namespace: shop}}
spec:
  gateway: kyma-system/kyma-gateway
  host: httpbin.example.com
  service: {{name: httpbin, port: 8000}}
  rules:
{rules}"
    )
}

const SERVICE: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: httpbin, namespace: shop}
spec: {selector: {app: httpbin}}
";

/// ORed, `allow` on every path would open the one with `jwt`.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_jwt_is_not_opened_by_allow_for_all_paths() {
    let issuer = Issuer::start("https://one.example", "ec256a").await;
    let rules = format!(
        "  - path: /headers
    methods: [GET]
    accessStrategies:
    - handler: jwt
      config:
        authentications: [{{issuer: \"{}\", jwksUri: \"{}\"}}]
  - path: /.*
    methods: [GET]
    accessStrategies: [{{handler: allow}}]
",
        issuer.name, issuer.jwks_uri
    );
    let token = bearer(&issuer.token(&json!({})));
    let with_token = [("authorization", &*token)];
    let bad = bearer(&issuer.token_like(&json!({}), &json!({"tamper": "payload"})));
    for (service, flags) in [("", &[][..]), (SERVICE, &["--labels=app=httpbin"])] {
        let world = World::start(&(api_rule(&rules) + service), "", flags).await;
        assert_eq!(world.status("/headers", &[]).await, 403);
        assert_eq!(world.status("/headers?x", &[]).await, 403);
        assert_eq!(world.status("/headers", &with_token).await, 200);
        assert_eq!(world.status("/other", &[]).await, 200);
        // As where RequestAuthentications hold for the whole workload.
        assert_eq!(world.status("/other", &[("authorization", &bad)]).await, 401);
    }
}

/// As paths of Istio, `/orders/.*` is a prefix with a dot at its end, and `/(a|b)` is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn regular_expressions_are_regular_expressions() {
    let rules = "  - path: /orders/.*
    methods: [GET]
    accessStrategies: [{handler: no_auth}]
  - path: /(a|b)
    methods: [GET]
    accessStrategies: [{handler: no_auth}]
  - path: /item/[0-9]+
    methods: [GET]
    accessStrategies: [{handler: noop}]
";
    let flags = ["--labels=app=httpbin"];
    let world = World::start(&(api_rule(rules) + SERVICE), "", &flags).await;
    for path in ["/orders/", "/orders/1/2?x", "/a", "/b?c", "/item/42"] {
        assert_eq!(world.status(path, &[]).await, 200, "{path}");
    }
    for path in
        ["/orders", "/ordersx", "/(a|b)", "/ab", "/c", "/item/", "/item/4x", "/x/item/4", "/"]
    {
        let answer = world.get(path, &[]).await;
        assert_eq!((answer.status, &*answer.body), (403, "RBAC: access denied"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strategies_are_tried_in_their_order() {
    let rules = "  - path: /closed
    methods: [GET, POST]
    accessStrategies: [{handler: unauthorized}]
  - path: /either
    methods: [GET]
    accessStrategies: [{handler: anonymous}, {handler: unauthorized}]
  - path: /anonymous
    methods: [GET]
    accessStrategies: [{handler: anonymous}]
";
    let world = World::start(&api_rule(rules), "", &[]).await;
    let credentials = [("authorization", "Basic dXNlcg==")];
    assert_eq!(world.status("/closed", &[]).await, 401);
    for path in ["/either", "/anonymous"] {
        assert_eq!(world.status(path, &[]).await, 200);
        assert_eq!(world.status(path, &credentials).await, 401);
    }
}
