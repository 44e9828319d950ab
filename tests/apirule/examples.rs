//! Each example of Kyma's documentation of v1beta1 loads, and does what the text around it says.

use rstest::rstest;
use serde_json::{Value, json};

use crate::{
    issuer::{Issuer, bearer},
    provider::{CLERK, GATE, OPAQUE, Provider, SigningKeys},
    world::{HOST, World},
};

/// The Service of most examples, which leads to the workload.
const SERVICE: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: httpbin, namespace: shop}
spec:
  selector: {app: httpbin}
  ports: [{name: http, port: 8000}]
";

fn example(text: &str, issuers: &[&Issuer]) -> String {
    let mut text = text.to_owned();
    for (number, issuer) in issuers.iter().enumerate().rev() {
        let suffix = if number == 0 { String::new() } else { (number + 1).to_string() };
        text = text
            .replace(&format!("$ISSUER{suffix}\n"), &format!("{}\n", issuer.name))
            .replace(&format!("$JWKS_URI{suffix}\n"), &format!("{}\n", issuer.jwks_uri));
    }
    text.replace("$NAMESPACE", "shop").replace("$DOMAIN_TO_EXPOSE_WORKLOADS", "example.com")
}

async fn start(text: &str, issuers: &[&Issuer]) -> World {
    let text = example(text, issuers) + SERVICE;
    World::start(&text, "", &["--labels=app=httpbin"]).await
}

/// The two issuers of the example, one with a header of its own, one with a parameter.
#[tokio::test(flavor = "multi_thread")]
async fn two_issuers_with_their_own_places_and_authorizations() {
    let one = Issuer::start("https://one.example", "rsa1").await;
    let two = Issuer::start("https://two.example", "ec256a").await;
    let world = start(include_str!("examples/two-issuers.yaml"), &[&one, &two]).await;

    let may = json!({"scope": "read write"});
    let header = |token: &str| format!("Kyma {token}");
    let parameter = |token: &str| format!("/headers?a=b&jwt_token={token}");
    let of_one = one.token(&may);
    let of_two = two.token(&may);
    let answer = world.get("/headers", &[("x-jwt-assertion", &header(&of_one))]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.upstream("x-jwt-assertion"), [header(&of_one)], "tokens are forwarded");
    assert_eq!(world.status(&parameter(&of_two), &[]).await, 200);

    // Neither in the other's place, nor where tokens stand by default.
    let statuses = [
        world.status("/headers", &[]).await,
        world.status("/headers", &[("authorization", &bearer(&of_one))]).await,
        world.status("/headers", &[("x-jwt-assertion", &bearer(&of_one))]).await,
    ];
    assert_eq!(statuses, [403, 403, 403]);
    assert_eq!(world.status("/headers", &[("x-jwt-assertion", &header(&of_two))]).await, 401);
    assert_eq!(world.status(&parameter(&of_one), &[]).await, 401);
    let forged = one.token_like(&may, &json!({"tamper": "sig"}));
    let answer = world.get("/headers", &[("x-jwt-assertion", &header(&forged))]).await;
    assert_eq!((answer.status, &*answer.body), (401, "Jwt verification fails"));
    let expired = one.token(&json!({"scope": "read write", "exp": "-3600"}));
    assert_eq!(world.status("/headers", &[("x-jwt-assertion", &header(&expired))]).await, 401);

    // Nothing else is exposed: neither other paths and methods, nor other hosts.
    let headers = [("x-jwt-assertion", header(&of_one))];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    assert_eq!(world.status("/headers/more", &headers).await, 403);
    assert_eq!(world.ask("POST", HOST, "/headers", &headers).await.status, 403);
    assert_eq!(world.ask("GET", "httpbin.shop", "/headers", &headers).await.status, 403);
    let port = format!("{HOST}:8443");
    assert_eq!(world.ask("GET", &port, "/headers", &headers).await.status, 200);

    let table: &[(Value, u16)] = &[
        (json!({"scope": "test", "aud": ["example.com", "example.org"]}), 200),
        (json!({"scp": ["test"], "aud": ["x", "example.org", "example.com"]}), 200),
        (json!({"scopes": "other test", "aud": ["example.com", "example.org"]}), 200),
        (json!({"scope": "test", "aud": "example.com"}), 403),
        (json!({"scope": "test"}), 403),
        (json!({"aud": ["example.com", "example.org"]}), 403),
        (json!({"scp": ["read", "write"]}), 200),
        (json!({"scp": "read write"}), 200),
        (json!({"scope": "write read more"}), 200),
        (json!({"scope": ["read", "write"]}), 200),
        (json!({"scopes": ["read", "write"]}), 200),
        (json!({"scopes": "read write"}), 200),
        (json!({"scope": "read"}), 403),
        (json!({"scp": "read", "scope": "write"}), 403),
        (json!({"scope": "readwrite"}), 403),
        (json!({"scope": "read write", "sub": ""}), 403),
        (json!({}), 403),
    ];
    for (claims, expect) in table {
        let of_one = header(&one.token(claims));
        let status = world.status("/headers", &[("x-jwt-assertion", &of_one)]).await;
        assert_eq!(status, *expect, "{claims}");
        let of_two = two.token(claims);
        assert_eq!(world.status(&parameter(&of_two), &[]).await, *expect, "{claims}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_mutator_sets_headers_and_overwrites_those_of_clients() {
    let issuer = Issuer::start("https://one.example", "rsa1").await;
    let world = start(include_str!("examples/header-mutator.yaml"), &[&issuer]).await;
    let token = bearer(&issuer.token(&json!({})));
    let headers =
        [("authorization", &*token), ("x-some-data", "forged"), ("X-Custom-Auth", "forged")];
    let answer = world.get("/headers", &headers).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.upstream("x-custom-auth"), [&*token]);
    assert_eq!(answer.upstream("x-some-data"), ["some-data"]);
    assert_eq!(answer.upstream("authorization"), [&*token]);
    assert_eq!(world.status("/headers", &headers[1..]).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_mutator_sets_the_cookie_header() {
    let issuer = Issuer::start("https://one.example", "rsa1").await;
    let world = start(include_str!("examples/cookie-mutator.yaml"), &[&issuer]).await;
    let token = bearer(&issuer.token(&json!({})));
    let headers =
        [("authorization", &*token), ("cookie", "a=1; some-data=forged"), ("cookie", "b")];
    let answer = world.get("/headers", &headers).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.upstream("cookie"), ["some-data=data"]);
}

/// The first two examples: every path of a host, by what the provider says of a token.
#[rstest]
#[case::v1beta1(include_str!("examples/introspection-v1beta1.yaml"))]
#[case::v1alpha1(include_str!("examples/introspection-v1alpha1.yaml"))]
#[tokio::test(flavor = "multi_thread")]
async fn introspection_asks_for_the_scope(#[case] text: &str) {
    let provider = Provider::start(&[&SigningKeys::new("only")]).await;
    // The example asks for `read`; the provider knows another word for it. Its endpoint wants to know
    // who asks.
    let authorization = GATE.authorization();
    let config = format!(
        "required_scope: [\"orders:read\"]\n            introspection_request_headers:\n              \
         Authorization: {}",
        authorization.to_str().unwrap()
    );
    let text = text.replace("required_scope: [\"read\"]", &config);
    let url = format!("--introspection-url={}", provider.endpoints.introspection);
    let destinations = format!("--introspection-destinations={}", provider.issuer);
    let flags = [&*url, &*destinations, "--jwks-ca-certificates={ca}"];
    let world = World::start(&text, &provider.authority_pem(), &flags).await;

    let token = provider.token(CLERK, OPAQUE, "orders:read orders:write").await;
    let authorization = bearer(&token);
    let with_token = [("authorization", &*authorization)];
    for path in ["/", "/any/path?x=y"] {
        assert_eq!(world.ask("GET", "foo.bar", path, &with_token).await.status, 200);
    }
    assert_eq!(world.ask("POST", "foo.bar", "/", &with_token).await.status, 403);
    let none = world.ask("GET", "foo.bar", "/", &[]).await;
    assert_eq!(none.status, 401);
    assert!(none.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer ")));
    let unknown = bearer("unknown");
    let unknown = [("authorization", &*unknown)];
    assert_eq!(world.ask("GET", "foo.bar", "/", &unknown).await.status, 401);
    let less = bearer(&provider.token(CLERK, OPAQUE, "orders:write").await);
    let less = [("authorization", &*less)];
    assert_eq!(world.ask("GET", "foo.bar", "/", &less).await.status, 403);
    // No Service is known, so other hosts are none of its business.
    assert_eq!(world.ask("GET", "other.bar", "/", &[]).await.status, 200);

    provider.revoke(CLERK, &token).await;
    assert_eq!(world.ask("GET", "foo.bar", "/", &with_token).await.status, 401);
}
