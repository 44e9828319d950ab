#![cfg(feature = "kube")]

use axum::body::Body;
use http::Response;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::clusters::{Embedded, Scripted, routes, says};
use super::*;

const VS: MeshKind = MeshKind::VirtualService;

async fn of_kubeconfig(path: std::path::PathBuf) -> Cluster {
    let cluster = crate::source::kube::Cluster { kubeconfig: Some(path), ..Default::default() };
    Cluster::connect(&cluster).await.unwrap()
}

/// At this address.
async fn at(url: &str) -> Cluster {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{ "name": "c", "cluster": { "server": url } }],
        "users": [{ "name": "u", "user": { "token": "secret-token" } }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
    });
    std::fs::write(&path, text.to_string()).unwrap();
    of_kubeconfig(path).await
}

/// Serves the group, and says this about everything else.
async fn scripted(
    answer: impl Fn(&str) -> Response<Body> + Send + Sync + 'static,
) -> (Scripted, Cluster) {
    let server = Scripted::start(move |asked, _| match asked {
        "GET /apis/networking.istio.io" => group(&["v1beta1", "v1"]),
        other => answer(other),
    })
    .await;
    let cluster = at(&server.url).await;
    (server, cluster)
}

fn group(versions: &[&str]) -> Response<Body> {
    let versions: Vec<_> = versions.iter().map(|version| json!({ "version": version })).collect();
    says(200, &json!({ "kind": "APIGroup", "versions": versions }))
}

fn status(code: u16, details: &Value) -> Response<Body> {
    says(
        code,
        &json!({ "kind": "Status", "code": code, "message": "secret of upstream", "details": details }),
    )
}

fn patch(from: i64, to: i64) -> json_patch::Patch {
    let path = "/spec/http/0/route/0/weight";
    serde_json::from_value(json!([
        { "op": "test", "path": path, "value": from },
        { "op": "replace", "path": path, "value": to },
    ]))
    .unwrap()
}

fn unreachable(message: &str) -> MeshError {
    MeshError::Unreachable(message.into())
}

#[rstest]
#[case(301, "the cluster answers with a redirect, which is not followed")]
#[case(401, "the cluster does not accept the credentials")]
#[case(403, "the cluster does not let us read virtualservices")]
#[case(429, "the cluster does not answer: it says 429")]
#[case(500, "the cluster does not answer: it says 500")]
#[case(503, "the cluster does not answer: it says 503")]
#[tokio::test]
async fn refusals_in_our_own_words(#[case] code: u16, #[case] message: &str) {
    let (_server, cluster) = scripted(move |_| {
        let mut answer = status(code, &json!({}));
        answer.headers_mut().insert("location", "/apis/elsewhere".parse().unwrap());
        answer
    })
    .await;
    assert_eq!(cluster.list(VS, "shop").await, Err(unreachable(message)));
    assert_eq!(cluster.get(VS, "shop", "a").await, Err(unreachable(message)));
    let patched = cluster.patch("shop", "a", &patch(1, 2), "u").await;
    assert_eq!(patched, Err(unreachable(&message.replace("read", "change"))));
}

#[rstest]
#[case::text("no json")]
#[case::number("1")]
#[case::no_items("{}")]
#[case::no_list(r#"{"items":{}}"#)]
#[case::no_name(r#"{"items":[{}]}"#)]
#[case::other_kind(r#"{"items":[{"kind":"Secret","metadata":{"name":"a"}}]}"#)]
#[tokio::test]
async fn answers_that_make_no_sense(#[case] body: &'static str) {
    let (_server, cluster) = scripted(move |_| Response::new(Body::from(body))).await;
    let expected = unreachable("the cluster's answer cannot be read");
    assert_eq!(cluster.list(VS, "shop").await, Err(expected.clone()));
    assert_eq!(cluster.get(VS, "shop", "a").await, Err(expected));
}

#[tokio::test]
async fn nobody_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cluster = at(&url).await;
    let expected = unreachable("the cluster cannot be reached");
    assert_eq!(cluster.istio_enabled().await, Err(expected.clone()));
    assert_eq!(cluster.list(VS, "shop").await, Err(expected));
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = at(&format!("http://{}", listener.local_addr().unwrap())).await;
    let Ok(Inner { way, .. }) = Arc::try_unwrap(cluster.0) else { panic!("it is shared") };
    let cluster = Cluster::by(way, Duration::from_millis(50));
    let expected = unreachable("the cluster gave no answer in time");
    assert_eq!(cluster.list(VS, "shop").await, Err(expected.clone()));
    assert_eq!(cluster.patch("shop", "a", &patch(1, 2), "u").await, Err(expected));
}

#[tokio::test]
async fn answers_without_end_are_cut() {
    let (_server, cluster) =
        scripted(|_| Response::new(Body::from(vec![b' '; MAX_ANSWER + 1]))).await;
    let expected = unreachable("the cluster's answer cannot be read");
    assert_eq!(cluster.list(VS, "shop").await, Err(expected));
}

/// Names from paths of callers lead to no other path.
#[rstest]
#[case("")]
#[case(".")]
#[case("..")]
#[case("a/b")]
#[case("a?b")]
#[case("a%2fb")]
#[case("A")]
#[tokio::test]
async fn names_are_names(#[case] odd: &str) {
    let (server, cluster) = scripted(|_| says(200, &routes("a", [1, 1]))).await;
    assert_eq!(cluster.list(VS, odd).await, Ok(Vec::new()));
    assert_eq!(cluster.get(VS, odd, "a").await, Ok(None));
    assert_eq!(cluster.get(VS, "shop", odd).await, Ok(None));
    assert_eq!(cluster.patch("shop", odd, &patch(1, 2), "u").await, Err(MeshError::NotFound));
    assert_eq!(server.asked(), [] as [&str; 0]);
}

#[rstest]
#[case::test_failed(422, json!({}), MeshError::Conflict("it has changed meanwhile".into()))]
#[case::version(409, json!({ "name": "a" }), MeshError::Conflict("it has changed meanwhile".into()))]
#[case::invalid(422, json!({ "name": "a" }), MeshError::Refused("the cluster does not take what the object would become".into()))]
#[case::webhook(400, json!({}), MeshError::Refused("the cluster does not take what the object would become".into()))]
#[case::gone(404, json!({ "name": "a" }), MeshError::NotFound)]
#[tokio::test]
async fn patches_that_fail(#[case] code: u16, #[case] details: Value, #[case] expected: MeshError) {
    let (_server, cluster) = scripted(move |_| status(code, &details)).await;
    assert_eq!(cluster.patch("shop", "a", &patch(1, 2), "u").await, Err(expected));
}

#[tokio::test]
async fn a_patch_says_for_whom() {
    let (server, cluster) = scripted(|_| says(200, &routes("a", [1, 1]))).await;
    cluster.patch("shop", "a", &patch(1, 2), "https://issuer#o hara&dryRun=All").await.unwrap();
    let path = "PATCH /apis/networking.istio.io/v1/namespaces/shop/virtualservices/a";
    let manager = "fieldManager=postern%2Dmanagement%3Ao%20hara%26dryRun%3DAll";
    assert_eq!(server.asked()[1], format!("{path}?{manager}"));
}

#[tokio::test]
async fn pages_go_on_to_the_end_in_the_order_of_names() {
    let (server, cluster) = scripted(|asked| {
        let page = |names: &[&str], more: &str| {
            let item = |name: &&str| {
                let mut item = routes(name, [1, 1]);
                item.as_object_mut().unwrap().remove("apiVersion");
                item.as_object_mut().unwrap().remove("kind");
                item
            };
            let items: Vec<_> = names.iter().map(item).collect();
            let version = "networking.istio.io/v1";
            says(
                200,
                &json!({ "apiVersion": version, "metadata": { "continue": more }, "items": items }),
            )
        };
        if asked.ends_with("continue=more%2F1") {
            page(&["b"], "")
        } else {
            page(&["c", "a"], "more/1")
        }
    })
    .await;
    let found = cluster.list(VS, "shop").await.unwrap();
    let names: Vec<_> = found.iter().map(name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(found[0]["apiVersion"], "networking.istio.io/v1");
    assert_eq!(found[0]["kind"], "VirtualService");
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn an_expired_page_begins_anew_and_a_loop_ends() {
    let (server, cluster) = scripted(|asked| {
        let items = json!([routes("a", [1, 1])]);
        if asked.contains("continue=") {
            status(410, &json!({}))
        } else if asked.contains("limit=0") {
            says(200, &json!({ "items": items }))
        } else {
            says(200, &json!({ "items": items, "metadata": { "continue": "x" } }))
        }
    })
    .await;
    assert_eq!(cluster.list(VS, "shop").await.unwrap().len(), 1);
    assert!(server.asked().last().unwrap().contains("limit=0"));

    let (_server, cluster) =
        scripted(|_| says(200, &json!({ "items": [], "metadata": { "continue": "x" } }))).await;
    let expected = unreachable("the cluster's answer cannot be read");
    assert_eq!(cluster.list(VS, "shop").await, Err(expected));
}

#[rstest]
#[case::old(&["v1alpha3"], "v1alpha3")]
#[case::newer(&["v1alpha3", "v1beta1"], "v1beta1")]
#[case::newest(&["v2", "v1alpha3", "v1", "v1beta1"], "v1")]
#[tokio::test]
async fn the_version_is_one_that_is_served(
    #[case] versions: &'static [&'static str],
    #[case] used: &str,
) {
    let server = Scripted::start(|asked, _| match asked {
        "GET /apis/networking.istio.io" => group(versions),
        _ => says(200, &json!({ "items": [] })),
    })
    .await;
    let cluster = at(&server.url).await;
    for _ in 0..2 {
        cluster.list(VS, "shop").await.unwrap();
    }
    let list =
        format!("GET /apis/networking.istio.io/{used}/namespaces/shop/virtualservices?limit=250");
    // It is looked for once.
    assert_eq!(server.asked(), ["GET /apis/networking.istio.io", &list, &list]);
}

#[tokio::test]
async fn a_version_that_goes_is_looked_for_again() {
    let is_new = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let switch = is_new.clone();
    let server = Scripted::start(move |asked, _| {
        let now = if switch.load(std::sync::atomic::Ordering::SeqCst) { "v1" } else { "v1beta1" };
        if asked == "GET /apis/networking.istio.io" {
            group(&[now])
        } else if asked.contains(&format!("/{now}/")) {
            says(200, &json!({ "items": [] }))
        } else {
            Response::builder().status(404).body(Body::from("404 page not found")).unwrap()
        }
    })
    .await;
    let cluster = at(&server.url).await;
    cluster.list(VS, "shop").await.unwrap();
    is_new.store(true, std::sync::atomic::Ordering::SeqCst);
    cluster.list(VS, "shop").await.unwrap();
    assert_eq!(server.asked().len(), 5);
}

#[rstest]
#[case::no_group(404, json!({}))]
#[case::no_version(200, json!({ "versions": [{ "version": "v2" }] }))]
#[tokio::test]
async fn clusters_without_istio(#[case] code: u16, #[case] body: Value) {
    let server = Scripted::start(move |asked, _| match asked {
        "GET /apis" => {
            says(200, &json!({ "groups": [{ "name": "apps" }, { "name": "security.istio.io" }] }))
        }
        _ => says(code, &body),
    })
    .await;
    let cluster = at(&server.url).await;
    assert_eq!(cluster.istio_enabled().await, Ok(false));
    let expected = unreachable("the cluster does not have the kind VirtualService");
    assert_eq!(cluster.list(VS, "shop").await, Err(expected));
}

/// All of it, with a real API over TLS and its kubeconfig.
#[tokio::test]
async fn a_real_api() {
    let embedded = Embedded::start().await;
    let cluster = of_kubeconfig(embedded.file()).await;
    assert_eq!(cluster.istio_enabled().await, Ok(true));
    assert_eq!(cluster.list(VS, "shop").await, Ok(Vec::new()));
    assert_eq!(cluster.list(VS, "nowhere").await, Ok(Vec::new()));
    assert_eq!(cluster.get(VS, "shop", "a").await, Ok(None));
    assert_eq!(cluster.patch("shop", "a", &patch(1, 2), "u").await, Err(MeshError::NotFound));

    // More than one page.
    for number in 0..PAGE + 3 {
        let name = format!("r{number:04}");
        embedded.put("virtualservices.networking.istio.io", &name, &routes(&name, [80, 20]));
    }
    let found = cluster.list(VS, "shop").await.unwrap();
    assert_eq!((found.len(), name(&found[0])), (PAGE + 3, "r0000"));
    let peer = json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": { "name": "p", "namespace": "shop" }, "spec": { "mtls": { "mode": "STRICT" } },
    });
    embedded.put("peerauthentications.security.istio.io", "p", &peer);
    let found = cluster.list(MeshKind::PeerAuthentication, "shop").await.unwrap();
    assert_eq!(found[0]["spec"], peer["spec"]);
    assert_eq!(cluster.list(MeshKind::AuthorizationPolicy, "shop").await, Ok(Vec::new()));

    // What nobody is written down for is written down for nobody.
    let mut tracked = routes("r0001", [80, 20]);
    let owner = json!({
        "manager": "kubectl", "operation": "Update", "apiVersion": "networking.istio.io/v1",
        "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": {} },
    });
    tracked["metadata"]["managedFields"] = json!([owner]);
    embedded.put("virtualservices.networking.istio.io", "r0001", &tracked);
    let refused = cluster.patch("shop", "r0001", &patch(50, 60), "u").await;
    assert_eq!(refused, Err(MeshError::Conflict("it has changed meanwhile".into())));
    let refused = cluster.patch("shop", "r0001", &patch(80, -1), "u").await;
    let message = "the cluster does not take what the object would become";
    assert_eq!(refused, Err(MeshError::Refused(message.into())));
    let patched = cluster.patch("shop", "r0001", &patch(80, 60), "issuer#ann").await.unwrap();
    assert_eq!(patched["spec"]["http"][0]["route"][0]["weight"], 60);
    let now = cluster.get(VS, "shop", "r0001").await.unwrap().unwrap();
    assert_eq!(now["spec"], patched["spec"]);
    let managers = now["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|it| it["manager"] == "postern-management:ann"), "{managers:?}");
}
