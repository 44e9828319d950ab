//! Real proxies that ask Postern over HTTP, configured as `deploy/proxies/` says.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test support functions"
)]

#[path = "../conformance/envoy_process.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod envoy_process;
#[path = "../conformance/http1.rs"]
mod http1;
#[path = "../conformance/keys.rs"]
mod keys;
mod proxy;
mod scene;
#[path = "../conformance/servers.rs"]
#[expect(dead_code, reason = "the conformance tests use all of it")]
mod servers;
#[path = "../conformance/tokens.rs"]
mod tokens;

use rstest::rstest;

use crate::proxy::{Kind, Proxy};
use crate::scene::{Asked, Scene};

#[rstest]
#[case(Kind::Envoy)]
#[case(Kind::Nginx)]
#[case(Kind::Caddy)]
#[tokio::test(flavor = "multi_thread")]
async fn policies_hold(#[case] kind: Kind) {
    let scene = Scene::start(kind).await;
    let proxy = Proxy::start(kind, &scene).await;

    assert_eq!(proxy.ask(Asked::get("/public/a?b=c")).await.passed().path, "/public/a?b=c");
    assert_eq!(proxy.ask(Asked::get("/admin")).await.status, 403);
    // Neither is a path that only looks allowed.
    assert_eq!(proxy.ask(Asked::get("/public/../admin")).await.status, 403);
    let post = Asked { method: "POST", body: "some", ..Asked::get("/public/a") };
    assert_eq!(proxy.ask(post).await.status, 403);
    assert_eq!(proxy.ask(Asked { host: "admin.example", ..Asked::get("/host") }).await.status, 200);
    assert_eq!(proxy.ask(Asked::get("/host")).await.status, 403);
    let write = Asked { method: "POST", body: "some", ..Asked::get("/write") };
    let write = proxy.ask(write).await;
    assert_eq!(write.passed().header("content-length"), Some("4"));
    // Who connects, whatever is said of it.
    let forged = [("x-real-ip", "127.0.0.5"), ("x-forwarded-for", "127.0.0.5")];
    let from = |source| Asked { source, headers: &forged, ..Asked::get("/near") };
    assert_eq!(proxy.ask(from("127.0.0.5")).await.status, 200);
    assert_eq!(proxy.ask(from("127.0.0.6")).await.status, 403);
}

#[rstest]
#[case(Kind::Envoy)]
#[case(Kind::Nginx)]
#[case(Kind::Caddy)]
#[tokio::test(flavor = "multi_thread")]
async fn tokens_become_headers(#[case] kind: Kind) {
    let scene = Scene::start(kind).await;
    let proxy = Proxy::start(kind, &scene).await;
    let forged = [("x-jwt-payload", "forged"), ("x-jwt-claim-sub", "forged")];

    // Forged copies do not get through, with a token or without.
    let answer = proxy.ask(Asked { headers: &forged, ..Asked::get("/public/a") }).await;
    let upstream = answer.passed();
    assert_eq!(upstream.header("x-jwt-payload"), None);
    assert_eq!(upstream.header("x-jwt-claim-sub"), None);

    let bearer = format!("Bearer {}", scene.token());
    let headers = [forged[0], forged[1], ("authorization", &bearer)];
    let answer = proxy.ask(Asked { headers: &headers, ..Asked::get("/private") }).await;
    let upstream = answer.passed();
    assert_eq!(upstream.header("authorization"), None, "forwardOriginalToken is false");
    assert_eq!(upstream.header("x-jwt-claim-sub"), Some("alice"));
    assert_eq!(upstream.header("x-jwt-payload"), bearer.split('.').nth(1));
    assert_eq!(proxy.ask(Asked::get("/private")).await.status, 403);

    // Basic authorization is none of ours, and stays.
    let basic = [("authorization", "Basic YTpi")];
    let answer = proxy.ask(Asked { headers: &basic, ..Asked::get("/public/a") }).await;
    assert_eq!(answer.passed().header("authorization"), Some("Basic YTpi"));

    let bad = [("authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.e30.AAAA")];
    let answer = proxy.ask(Asked { headers: &bad, ..Asked::get("/private?x=y") }).await;
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.header("www-authenticate"),
        Some("Bearer realm=\"http://shop.example/private?x=y\", error=\"invalid_token\"")
    );
    if kind != Kind::Nginx {
        assert_eq!(answer.body, "Jwt issuer is not configured");
    }
}

/// All that tells Postern about a request is the proxy's, whatever a client sends.
#[rstest]
#[case(Kind::Envoy)]
#[case(Kind::Nginx)]
#[case(Kind::Caddy)]
#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_speak_for_the_proxy(#[case] kind: Kind) {
    let scene = Scene::start(kind).await;
    let proxy = Proxy::start(kind, &scene).await;
    let forgeries = [
        ("x-original-method", "GET"),
        ("x-original-uri", "/public/a"),
        ("x-original-url", "http://shop.example/public/a"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/public/a"),
        ("x-forwarded-host", "admin.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "127.0.0.5"),
        ("x-real-ip", "127.0.0.5"),
        ("forwarded", "for=127.0.0.5;host=admin.example"),
        ("x-postern-proxy", "source=127.0.0.5:1;workload=shop/other"),
        ("x-envoy-original-path", "/public/a"),
        ("x-rewrite-url", "/public/a"),
        ("x-http-method-override", "GET"),
    ];
    let twice: Vec<_> = forgeries.iter().chain(&forgeries).copied().collect();
    let alone = forgeries.iter().map(std::slice::from_ref);
    for headers in alone.chain([&forgeries[..], &twice[..]]) {
        for path in ["/admin", "/near", "/host", "/postern/nginx", "/postern/traefik"] {
            let asked = Asked { headers, source: "127.0.0.6", ..Asked::get(path) };
            assert_eq!(proxy.ask(asked).await.status, 403, "{path} {headers:?}");
        }
        let asked = Asked { headers, method: "DELETE", ..Asked::get("/public/a") };
        assert_eq!(proxy.ask(asked).await.status, 403, "{headers:?}");
    }
    // And the address that only nginx itself may ask for is not to be asked for.
    if kind == Kind::Nginx {
        assert_eq!(proxy.ask(Asked::get("/_postern")).await.status, 404);
    }
    // What the proxy says is between it and Postern.
    if kind != Kind::Caddy {
        let headers = [("x-postern-proxy", "forged")];
        let answer = proxy.ask(Asked { headers: &headers, ..Asked::get("/public/a") }).await;
        assert_eq!(answer.passed().header("x-postern-proxy"), None);
    }
}

/// What each proxy does then is in docs/http.md.
#[rstest]
#[case(Kind::Envoy, 403)]
#[case(Kind::Nginx, 500)]
#[case(Kind::Caddy, 502)]
#[tokio::test(flavor = "multi_thread")]
async fn without_postern_nothing_passes(#[case] kind: Kind, #[case] status: u16) {
    let mut scene = Scene::start(kind).await;
    let proxy = Proxy::start(kind, &scene).await;
    assert_eq!(proxy.ask(Asked::get("/public/a")).await.status, 200);
    scene.end_postern().await;
    assert_eq!(proxy.ask(Asked::get("/public/a")).await.status, status);
}

/// A Postern that was started for another proxy denies everything: it misunderstands nothing.
#[rstest]
#[case(Kind::Envoy, Kind::Nginx)]
#[case(Kind::Envoy, Kind::Caddy)]
#[case(Kind::Nginx, Kind::Envoy)]
#[case(Kind::Nginx, Kind::Caddy)]
#[case(Kind::Caddy, Kind::Envoy)]
#[case(Kind::Caddy, Kind::Nginx)]
#[tokio::test(flavor = "multi_thread")]
async fn the_wrong_flavour_denies(#[case] proxy: Kind, #[case] postern: Kind) {
    let scene = Scene::start(postern).await;
    let proxy = Proxy::start(proxy, &scene).await;
    for path in ["/public/a", "/write", "/postern/nginx", "/postern/traefik"] {
        assert_eq!(proxy.ask(Asked::get(path)).await.status, 403, "{path}");
    }
}
