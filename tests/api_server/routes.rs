//! VirtualServices, which are kept and not enforced.

use http::Method;
use serde_json::{Value, json};

use crate::server::{Reply, Server};

const ROUTES: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices";

fn routes(name: &str, weights: [i64; 2]) -> Value {
    let to = |subset: &str, weight: i64| json!({ "destination": { "host": "reviews", "subset": subset }, "weight": weight });
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": name },
        "spec": {
            "hosts": ["reviews"],
            "gateways": ["mesh"],
            "http": [{ "route": [to("v1", weights[0]), to("v2", weights[1])] }],
        },
    })
}

fn in_version(path: &str, version: &str) -> String {
    path.replace("/v1/", &format!("/{version}/"))
}

async fn json_patch(server: &Server, path: &str, patch: &Value) -> Reply {
    let headers = [("content-type", "application/json-patch+json")];
    server.admin().call(Method::PATCH, path, &headers, patch.to_string()).await
}

#[tokio::test]
async fn refusals() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let reply = admin.post(ROUTES, &routes("a", [0, 0])).await.bad();
    assert_eq!((reply.0, reply.1.as_str()), (422, "Invalid"));
    assert_eq!(
        reply.2,
        "VirtualService.networking.istio.io \"a\" is invalid: spec.http[0].route: Invalid value: \
         \"array\": the weights of several destinations cannot all be 0"
    );
    let mut unknown = routes("a", [1, 1]);
    unknown["spec"]["http"][0]["route"][0]["wieght"] = json!(1);
    let (code, _, message) =
        admin.post(&format!("{ROUTES}?fieldValidation=Strict"), &unknown).await.bad();
    assert_eq!(code, 400);
    assert!(message.contains(r#"unknown field "spec.http[0].route[0].wieght""#), "{message}");
    let reply = admin.post(&format!("{ROUTES}?fieldValidation=Warn"), &unknown).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.warnings(), [r#"299 - "unknown field \"spec.http[0].route[0].wieght\"""#]);
    // A policy's group has no such kind, nor has this one others or other versions.
    for path in [
        "/apis/security.istio.io/v1/virtualservices",
        "/apis/networking.istio.io/v1/gateways",
        "/apis/networking.istio.io/v1/authorizationpolicies",
        "/apis/networking.istio.io/v2/virtualservices",
    ] {
        assert_eq!(admin.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn from_create_to_delete_in_all_versions() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let object = format!("{ROUTES}/a");
    let dry = admin.post(&format!("{ROUTES}?dryRun=All"), &routes("a", [80, 20])).await;
    assert_eq!(dry.status, 201);
    assert_eq!(admin.get(&object).await.status, 404);
    let mut watch = admin.watch(&format!("{ROUTES}?watch=true")).await;
    let mut old = routes("a", [80, 20]);
    old["apiVersion"] = json!("networking.istio.io/v1alpha3");
    let created = admin.post(&in_version(ROUTES, "v1alpha3"), &old).await.good();
    assert_eq!(created["apiVersion"], "networking.istio.io/v1alpha3");
    assert_eq!(created["spec"], old["spec"]);
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let found = admin.get(&in_version(&object, version)).await.good();
        assert_eq!(found["apiVersion"], format!("networking.istio.io/{version}"));
        let everywhere = in_version("/apis/networking.istio.io/v1/virtualservices", version);
        let list = admin.get(&everywhere).await.good();
        assert_eq!(list["kind"], "VirtualServiceList");
        assert_eq!(list["items"][0]["spec"], old["spec"]);
    }
    let table = admin
        .call(
            Method::GET,
            ROUTES,
            &[("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")],
            "",
        )
        .await
        .good();
    let names: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Name", "Gateways", "Hosts", "Age"]);
    assert_eq!(table["rows"][0]["cells"][1], r#"["mesh"]"#);
    assert_eq!(table["rows"][0]["cells"][2], r#"["reviews"]"#);

    let weight = "/spec/http/0/route/0/weight";
    let refused = json_patch(
        &server,
        &object,
        &json!([{ "op": "test", "path": weight, "value": 50 }, { "op": "replace", "path": weight, "value": 1 }]),
    )
    .await
    .bad();
    assert_eq!((refused.0, refused.1.as_str()), (422, "Invalid"));
    let patched = json_patch(
        &server,
        &in_version(&object, "v1beta1"),
        &json!([{ "op": "test", "path": weight, "value": 80 }, { "op": "replace", "path": weight, "value": 60 }]),
    )
    .await
    .good();
    assert_eq!(patched["spec"]["http"][0]["route"][0]["weight"], 60);
    assert_eq!(patched["metadata"]["generation"], 2);
    let forced = format!("{object}?fieldManager=me&force=true");
    let applied = admin.apply(&forced, &routes("a", [1, 9])).await.good();
    assert_eq!(applied["spec"]["http"][0]["route"][1]["weight"], 9);

    assert_eq!(admin.delete(&object).await.status, 200);
    assert_eq!(watch.next_names(4).await, ["ADDED a", "MODIFIED a", "MODIFIED a", "DELETED a"]);
}

/// Roles are as for policies, and a namespace goes with its routes.
#[tokio::test]
async fn roles_and_namespaces() {
    let server = Server::start(&[]);
    let editor = server.client("editor-0123456789");
    assert_eq!(editor.post(ROUTES, &routes("a", [1, 1])).await.status, 201);
    let viewer = server.client("viewer-0123456789");
    assert_eq!(viewer.get(ROUTES).await.good()["items"][0]["metadata"]["name"], "a");
    assert_eq!(viewer.delete(&format!("{ROUTES}/a")).await.status, 403);
    let elsewhere = ROUTES.replace("/default/", "/other/");
    assert_eq!(editor.post(&elsewhere, &routes("a", [1, 1])).await.status, 403);
    let status = json!({ "status": { "observedGeneration": 1 } });
    assert_eq!(editor.merge(&format!("{ROUTES}/a/status"), &status).await.status, 403);
    let admin = server.admin();
    assert_eq!(admin.merge(&format!("{ROUTES}/a/status"), &status).await.status, 200);
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "verb": "patch", "group": "networking.istio.io", "resource": "virtualservices", "namespace": "default",
        } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(editor.post(path, &question).await.good()["status"]["allowed"], true);
    assert_eq!(viewer.post(path, &question).await.good()["status"]["allowed"], false);

    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "other" } });
    assert_eq!(admin.post("/api/v1/namespaces", &namespace).await.status, 201);
    assert_eq!(admin.post(&elsewhere, &routes("b", [1, 1])).await.status, 201);
    assert_eq!(admin.delete("/api/v1/namespaces/other").await.status, 200);
    let left = admin.get("/apis/networking.istio.io/v1/virtualservices").await.good();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

/// No policy is made of them: nothing is rejected, no status is written, and what is enforced goes on.
#[tokio::test]
async fn nothing_is_enforced() {
    let mut server = Server::start(&[]);
    let admin = server.admin();
    assert_eq!(admin.post(ROUTES, &routes("a", [1, 1])).await.status, 201);
    let policies = crate::server::POLICIES;
    admin.post(policies, &crate::server::policy("p", "ALLOW")).await.good();
    // Its status is written when it is enforced, which the routes did not keep from happening.
    loop {
        let policy = admin.get(&format!("{policies}/p")).await.good();
        if !policy["status"]["conditions"].is_null() {
            assert_eq!(policy["status"]["conditions"][0]["status"], "True");
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(admin.get(&format!("{ROUTES}/a")).await.good().get("status"), None);
    let dump = server.address("admin");
    let metrics = plain_get(&dump, "/metrics").await;
    let rejected: Vec<_> = metrics
        .lines()
        .filter(|line| line.contains("rejected") && !line.starts_with('#') && !line.ends_with(" 0"))
        .collect();
    assert_eq!(rejected, [] as [&str; 0]);
}

/// A backup and its way back hold them.
#[tokio::test]
async fn export_and_import() {
    let mut server = Server::start(&[]);
    let admin = server.admin();
    assert_eq!(admin.post(ROUTES, &routes("a", [80, 20])).await.status, 201);
    server.address("admin");
    server.signal("TERM");
    let (code, folder) = server.end();
    assert_eq!(code, Some(0));
    let run = |arguments: &[&str]| {
        let output = crate::server::postern(folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let exported = run(&["store", "export", "store"]);
    std::fs::write(folder.path().join("backup.json"), &exported).unwrap();
    run(&["store", "import", "new", "backup.json"]);
    let routes = |exported: &[u8]| {
        let list: Value = serde_json::from_slice(exported).unwrap();
        let items = list["items"].as_array().unwrap().iter();
        let mut found = items.filter(|item| item["kind"] == "VirtualService").cloned();
        let mut routes = found.next().unwrap();
        routes["metadata"]["resourceVersion"] = Value::Null;
        routes
    };
    assert_eq!(routes(&exported), routes(&run(&["store", "export", "new"])));
}

async fn plain_get(address: &str, path: &str) -> String {
    use http_body_util::BodyExt as _;
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path).header("host", "localhost").body(String::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body();
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
