//! Oathkeeper's handlers against a certified provider.

use serde_json::json;

use crate::{
    issuer::{Issuer, bearer},
    provider::{CLERK, GATE, OPAQUE, ORDERS, ORDERS_ES256, PAYMENTS, Provider, SigningKeys},
    world::World,
};

fn api_rule(handler: &str, config: &str) -> String {
    format!(
        "apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {{name: oathkeeper, namespace: shop}}
spec:
  gateway: kyma-system/kyma-gateway
  host: httpbin.example.com
  service: {{name: httpbin, port: 8000}}
  rules:
  - path: /.*
    methods: [GET]
    accessStrategies:
    - handler: {handler}
      config: {config}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn jwt_of_oathkeeper() {
    let keys = SigningKeys::new("only");
    let provider = Provider::start(&[&keys]).await;
    let config = json!({
        "jwks_urls": [format!("{}/jwks", provider.issuer)],
        "trusted_issuers": [provider.issuer],
        "target_audience": [ORDERS],
        "required_scope": ["orders:read"],
        "scope_strategy": "exact",
        "allowed_algorithms": ["RS256"],
    });
    let text = api_rule("jwt", &config.to_string());
    let flags = ["--jwks-ca-certificates={ca}"];
    let world = World::start(&text, &provider.authority_pem(), &flags).await;
    let status = async |token: &str| world.status("/", &[("authorization", &bearer(token))]).await;

    let good = provider.token(CLERK, ORDERS, "orders:read").await;
    assert_eq!(status(&good).await, 200);
    assert_eq!(status(&provider.token(CLERK, ORDERS, "orders:write").await).await, 401);
    assert_eq!(status(&provider.token(CLERK, PAYMENTS, "orders:read").await).await, 401);
    let es256 = provider.token(CLERK, ORDERS_ES256, "orders:read").await;
    assert_eq!(status(&es256).await, 401, "only RS256 is allowed");
    assert_eq!(status("a.b.c").await, 401);
    assert_eq!(status("opaque").await, 401, "for no strategy");
    assert_eq!(world.status("/", &[]).await, 401);
    let mut sections: Vec<_> = good.split('.').collect();
    sections[2] = es256.split('.').nth(2).unwrap();
    assert_eq!(status(&sections.join(".")).await, 401);

    // A key that was published after the last fetch is fetched while the request waits.
    let new = SigningKeys::new("new");
    provider.publish(&[&new, &keys]).await;
    assert_eq!(status(&provider.token(CLERK, ORDERS, "orders:read").await).await, 200);
    assert_eq!(status(&good).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_names_its_key_and_may_stand_elsewhere() {
    let issuer = Issuer::start("https://one.example", "rsa1").await;
    for (token_from, place) in [
        (json!({"header": "X-Token"}), "header"),
        (json!({"query_parameter": "token"}), "parameter"),
        (json!({"cookie": "token"}), "cookie"),
    ] {
        let config = json!({
            "jwks_urls": [issuer.jwks_uri],
            "token_from": token_from,
            "required_scope": ["a.b"],
            "scope_strategy": "hierarchic",
        });
        let world = World::start(&api_rule("jwt", &config.to_string()), "", &[]).await;
        let status = async |token: &str| match place {
            "header" => world.status("/", &[("x-token", token)]).await,
            "parameter" => world.status(&format!("/?a=b&token={token}"), &[]).await,
            _ => world.status("/", &[("cookie", &format!("a=b; token={token}"))]).await,
        };
        assert_eq!(status(&issuer.token(&json!({"scp": ["a"]}))).await, 200, "{place}");
        assert_eq!(status(&issuer.token(&json!({"scope": "x a.b"}))).await, 200, "{place}");
        assert_eq!(status(&issuer.token(&json!({"scp": "x", "scope": "a"}))).await, 401);
        let nameless = issuer.token_like(&json!({"scp": ["a"]}), &json!({"kid": null}));
        assert_eq!(status(&nameless).await, 401, "{place}");
        let stranger = issuer.token_like(&json!({"scp": ["a"]}), &json!({"kid": "other"}));
        assert_eq!(status(&stranger).await, 401, "{place}");
        let elsewhere = bearer(&issuer.token(&json!({"scp": ["a"]})));
        assert_eq!(world.status("/", &[("authorization", &elsewhere)]).await, 401, "{place}");
    }
}

/// The first responsible strategy decides: a JWT is never sent to the endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn opaque_tokens_go_to_the_endpoint_and_others_do_not() {
    let provider = Provider::start(&[&SigningKeys::new("only")]).await;
    let jwt = json!({"jwks_urls": [format!("{}/jwks", provider.issuer)]});
    let introspection = json!({
        "introspection_url": provider.endpoints.introspection,
        "introspection_request_headers":
            {"authorization": GATE.authorization().to_str().unwrap()},
        "trusted_issuers": [provider.issuer],
        "target_audience": [OPAQUE],
        "cache": {"enabled": true, "ttl": "60s"},
    });
    let text = api_rule("jwt", &jwt.to_string())
        + &format!("    - handler: oauth2_introspection\n      config: {introspection}\n");
    let destinations = format!("--introspection-destinations={}", provider.issuer);
    let flags = [&*destinations, "--jwks-ca-certificates={ca}"];
    let world = World::start(&text, &provider.authority_pem(), &flags).await;
    let status = async |token: &str| world.status("/", &[("authorization", &bearer(token))]).await;

    let opaque = provider.token(CLERK, OPAQUE, "orders:read").await;
    assert_eq!(status(&opaque).await, 200);
    assert_eq!(status(&provider.token(CLERK, ORDERS, "orders:read").await).await, 200);
    assert_eq!(status("unknown").await, 401);
    assert_eq!(world.status("/", &[]).await, 401);
    // What was good is kept.
    provider.revoke(CLERK, &opaque).await;
    assert_eq!(status(&opaque).await, 200);
}
