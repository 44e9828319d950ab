//! What can be done with objects.

use http::Method;
use serde_json::{Value, json};

use crate::server::{JSON, POLICIES, Server, policy};

fn v1beta1(path: &str) -> String {
    path.replace("/v1/", "/v1beta1/")
}

#[tokio::test]
async fn from_create_to_delete() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let object = format!("{POLICIES}/a");
    let reply = admin.post(&format!("{POLICIES}?fieldManager=me"), &policy("a", "ALLOW")).await;
    assert_eq!(reply.status, 201);
    let created = reply.good();
    let metadata = &created["metadata"];
    assert_eq!((&metadata["generation"], &metadata["namespace"]), (&json!(1), &json!("default")));
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(metadata["managedFields"][0]["manager"], "me");
    assert_eq!(created["apiVersion"], "security.istio.io/v1");

    let mut new = admin.get(&v1beta1(&object)).await.good();
    assert_eq!(new["apiVersion"], "security.istio.io/v1beta1");
    assert_eq!(new["metadata"]["uid"], metadata["uid"]);
    new["spec"]["action"] = "DENY".into();
    // Its status is written meanwhile, maybe just now: then it is read and written again, as by
    // every client.
    let replaced = loop {
        let current = admin.get(&object).await.good();
        new["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
        let reply = admin.put(&v1beta1(&object), &new).await;
        if reply.status != 409 {
            break reply.good();
        }
    };
    assert_eq!(replaced["metadata"]["generation"], 2);
    assert_eq!(admin.get(&object).await.good()["spec"]["action"], "DENY");

    let patch = r#"[{"op":"replace","path":"/spec/action","value":"AUDIT"}]"#;
    let headers = [("content-type", "application/json-patch+json")];
    let patched = admin.call(Method::PATCH, &object, &headers, patch).await.good();
    assert_eq!(patched["spec"]["action"], "AUDIT");
    assert_eq!(patched["metadata"]["generation"], 3);
    let merged = admin.merge(&object, &json!({ "spec": { "action": null } })).await.good();
    assert_eq!(merged["spec"].get("action"), None);

    let reply = admin.delete(&object).await;
    assert_eq!(reply.status, 200);
    let status = reply.good();
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(status["details"]["uid"], metadata["uid"]);
    assert_eq!(admin.get(&object).await.status, 404);
}

#[tokio::test]
async fn server_side_apply() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let path = |manager: &str, more: &str| format!("{POLICIES}/a?fieldManager={manager}{more}");
    let reply = admin.apply(&path("one", ""), &policy("a", "ALLOW")).await;
    assert_eq!(reply.status, 201);
    let conflict = admin.apply(&path("two", ""), &policy("a", "DENY")).await;
    assert_eq!(conflict.body["details"]["causes"][0]["field"], ".spec.action");
    let (code, reason, message) = conflict.bad();
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.contains("conflict with \"one\""), "{message}");
    let forced = admin.apply(&path("two", "&force=true"), &policy("a", "DENY")).await;
    assert_eq!(forced.status, 200);
    assert_eq!(forced.good()["spec"]["action"], "DENY");
    let mut unknown = policy("a", "DENY");
    unknown["spec"]["acton"] = "x".into();
    let (code, _, message) = admin.apply(&path("two", ""), &unknown).await.bad();
    assert_eq!(code, 400);
    assert!(message.contains(".spec.acton: field not declared in schema"), "{message}");
    let status = format!("{POLICIES}/missing/status?fieldManager=one");
    assert_eq!(admin.apply(&status, &policy("missing", "ALLOW")).await.status, 404);
}

#[tokio::test]
async fn rehearsals_leave_no_trace() {
    let server = Server::start(&["--api-create-namespaces=true"]);
    let admin = server.admin();
    let elsewhere = POLICIES.replace("default", "fresh");
    let reply = admin.post(&format!("{elsewhere}?dryRun=All"), &policy("a", "ALLOW")).await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.good()["metadata"].get("resourceVersion"), None);
    assert_eq!(admin.get("/api/v1/namespaces/fresh").await.status, 404);
    admin.post(&elsewhere, &policy("a", "ALLOW")).await.good();
    assert_eq!(admin.get("/api/v1/namespaces/fresh").await.good()["status"]["phase"], "Active");
    let object = format!("{elsewhere}/a");
    let before = admin.get(&object).await.good();
    let patch = json!({ "spec": { "action": "DENY" } });
    let rehearsed = admin.merge(&format!("{object}?dryRun=All"), &patch).await.good();
    assert_eq!(rehearsed["spec"]["action"], "DENY");
    admin.delete(&format!("{object}?dryRun=All")).await.good();
    let after = admin.get(&object).await.good();
    assert_eq!(after["spec"], before["spec"]);
    // Its status may have been written meanwhile.
    let versions = [&before, &after].map(|it| it["metadata"]["resourceVersion"].clone());
    assert!(versions.contains(&rehearsed["metadata"]["resourceVersion"]));
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let mut held = policy("a", "ALLOW");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    admin.post(POLICIES, &held).await.good();
    let object = format!("{POLICIES}/a");
    let marked = admin.delete(&object).await.good();
    assert!(marked["metadata"]["deletionTimestamp"].is_string(), "{marked}");
    assert_eq!(admin.get(&object).await.status, 200);
    let (code, _, message) = admin.delete("/api/v1/namespaces/istio-system").await.bad();
    assert_eq!(code, 403, "{message}");
    admin.merge(&object, &json!({ "metadata": { "finalizers": null } })).await.good();
    assert_eq!(admin.get(&object).await.status, 404);
}

#[tokio::test]
async fn lists_by_page_by_label_and_as_tables() {
    let server = Server::start(&[]);
    let admin = server.admin();
    for name in ["a", "b", "c", "d", "e"] {
        let mut object = policy(name, "ALLOW");
        object["metadata"]["labels"] = json!({ "half": if name < "c" { "1" } else { "2" } });
        admin.post(POLICIES, &object).await.good();
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = "/apis/security.istio.io/v1/authorizationpolicies";
    let first = admin.get(&format!("{all}?limit=2")).await.good();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    // The pages are of one moment.
    admin.delete(&format!("{POLICIES}/c")).await.good();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = admin.get(&format!("{all}?limit=2&continue={token}")).await.good();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let selected = admin.get(&format!("{POLICIES}?labelSelector=half%3D2&limit=1")).await.good();
    assert_eq!(names(&selected), ["d"]);
    assert_eq!(selected["metadata"].get("remainingItemCount"), None);
    let one = admin.get(&format!("{POLICIES}?fieldSelector=metadata.name%3De")).await.good();
    assert_eq!(names(&one), ["e"]);
    assert_eq!(one["kind"], "AuthorizationPolicyList");

    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = admin.call(Method::GET, POLICIES, &table, "").await.good();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"][1], "ALLOW");
    let metadata = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let metadata = admin.call(Method::GET, POLICIES, &metadata, "").await.good();
    assert_eq!(metadata["items"][0].get("spec"), None);

    let gone = admin.delete(&format!("{POLICIES}?labelSelector=half%3D1")).await.good();
    assert_eq!(names(&gone), ["a", "b"]);
    assert_eq!(names(&admin.get(POLICIES).await.good()), ["d", "e"]);
}

#[tokio::test]
async fn names_can_be_generated() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let mut object = policy("", "ALLOW");
    object["metadata"] = json!({ "generateName": "gate-" });
    let name = admin.post(POLICIES, &object).await.good()["metadata"]["name"].clone();
    let name = name.as_str().unwrap();
    assert!(name.starts_with("gate-") && name.len() == 10, "{name}");
}

#[tokio::test]
async fn namespaces_come_and_go_with_what_is_in_them() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
    assert_eq!(admin.post("/api/v1/namespaces", &namespace).await.status, 201);
    assert_eq!(admin.post("/api/v1/namespaces", &namespace).await.status, 409);
    let there = POLICIES.replace("default", "shop");
    admin.post(&there, &policy("a", "ALLOW")).await.good();
    admin.delete("/api/v1/namespaces/shop").await.good();
    assert_eq!(admin.get(&format!("{there}/a")).await.status, 404);
    assert_eq!(admin.get("/api/v1/namespaces/shop").await.status, 404);
    let mut wrong = namespace.clone();
    wrong["metadata"]["name"] = "a.b".into();
    assert_eq!(admin.post("/api/v1/namespaces", &wrong).await.bad().0, 422);
    // As `kubectl create namespace` sends it.
    let raw = [
        b"k8s\0".as_slice(),
        &[0x0a, 15, 0x0a, 2, b'v', b'1', 0x12, 9],
        b"Namespace",
        &[0x12, 9, 0x0a, 7, 0x0a, 5],
        b"typed",
    ]
    .concat();
    let headers = [("content-type", "application/vnd.kubernetes.protobuf")];
    let created = admin.call(Method::POST, "/api/v1/namespaces", &headers, raw).await.good();
    assert_eq!(created["metadata"]["name"], "typed");
}

#[tokio::test]
async fn stores_can_be_taken_out_and_put_back() {
    let server = Server::start(&[]);
    let admin = server.admin();
    let before = admin.post(POLICIES, &policy("a", "ALLOW")).await.good();
    let uid = before["metadata"]["uid"].clone();
    server.signal("TERM");
    let (code, folder) = server.end();
    assert_eq!(code, Some(0));
    let run = |arguments: &[&str]| {
        let output = crate::server::postern(folder.path()).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, sound, said) = run(&["store", "check", "store"]);
    assert_eq!(code, Some(0), "{sound}{said}");
    assert!(sound.starts_with("sound: 3 objects"), "{sound}");
    for format in ["json", "yaml"] {
        let (code, export, said) = run(&["store", "export", "store", "--output", format]);
        assert_eq!(code, Some(0), "{said}");
        std::fs::write(folder.path().join(format), export).unwrap();
        let to = format!("other-{format}");
        let (code, _, said) = run(&["store", "import", &to, format]);
        assert_eq!((code, said.as_str()), (Some(0), "3 created, 0 replaced, 0 unchanged\n"));
        let (_, _, said) = run(&["store", "import", &to, format]);
        assert_eq!(said, "0 created, 0 replaced, 3 unchanged\n");
    }
    let manifest = "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\n\
                    metadata: {name: a, namespace: default}\nspec: {action: DENY}\n";
    std::fs::write(folder.path().join("manifest.yaml"), manifest).unwrap();
    let (code, _, said) = run(&["store", "import", "store", "manifest.yaml"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("is there already; `--replace` writes over it"), "{said}");
    let (code, _, said) = run(&["store", "check", "nowhere"]);
    assert_eq!((code, said.as_str()), (Some(2), "postern: there is no store in `nowhere`\n"));

    std::fs::remove_dir_all(folder.path().join("store")).unwrap();
    std::fs::rename(folder.path().join("other-json"), folder.path().join("store")).unwrap();
    let server = Server::start_in(folder, &[]);
    let after = server.admin().get(&format!("{POLICIES}/a")).await.good();
    assert_eq!(after["metadata"]["uid"], uid);
}

#[tokio::test]
async fn reviews_and_version() {
    let server = Server::start(&[]);
    let admin = server.admin();
    assert_eq!(admin.get("/version").await.good()["minor"], "32");
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "verb": "create", "group": "security.istio.io", "resource": "authorizationpolicies",
            "namespace": "default",
        } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (token, allowed) in [("editor-0123456789", true), ("viewer-0123456789", false)] {
        let answer = server.client(token).post(path, &review).await.good();
        assert_eq!(answer["status"]["allowed"], allowed);
    }
    assert_eq!(admin.call(Method::POST, path, &[JSON], "{}").await.bad().0, 400);
    let openapi = admin.get("/openapi/v3/apis/security.istio.io/v1").await.good();
    assert_eq!(openapi["openapi"], "3.0.0");
    let groups = admin.get("/apis").await.good();
    assert_eq!(groups["kind"], "APIGroupList");
}
