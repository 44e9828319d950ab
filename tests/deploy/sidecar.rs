//! The sidecar, started as its manifests say, but for where its files are.

use std::{fs, net::SocketAddr, sync::Arc};

use postern::{
    app,
    config::Address,
    telemetry::logging::{LogFilter, LogLevel},
};
use rstest::rstest;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    arguments::configuration,
    envoy_process::{Envoy, get},
    http1::{self, Body},
    promises::{Installation, each, text},
    shapes::{chart, overlay},
    tools::read,
};

const SOCKET: &str = "/run/postern/ext_authz.sock";

/// The same policies as the overlay has.
fn of_helm() -> Installation {
    let policies = read("deploy/kustomize/overlays/sidecar/policies.yaml");
    let values = json!({
        "shape": "sidecar",
        "policies": { "source": "files", "files": { "policies.yaml": policies } },
        "sidecar": { "labels": { "app": "web" } },
    });
    chart(&values, &[])
}

#[rstest]
#[case(overlay("sidecar"))]
#[case(of_helm())]
fn envoy_and_postern_share_one_folder(#[case] installation: Installation) {
    let pod = installation.pod();
    let init = &pod.spec["initContainers"];
    assert_eq!((each(init).len(), &init[0]["name"]), (1, &json!("postern")));
    assert_eq!(init[0]["restartPolicy"], "Always", "it stays");
    assert_eq!(pod.argument("--listen"), Some(&*format!("unix:{SOCKET}")));
    let of_postern = pod.volume_at("postern", "/run/postern");
    assert_eq!(of_postern["emptyDir"], json!({ "medium": "Memory", "sizeLimit": "1Mi" }));
    assert_eq!(of_postern, pod.volume_at("envoy", "/run/postern"));
    // The socket's mode is 0660: its group is that of the folder.
    assert_eq!(pod.spec["securityContext"]["fsGroup"], 65532);

    let labels = pod.argument("--labels-file").unwrap();
    assert_eq!(labels, "/etc/podinfo/labels");
    let items = &pod.volume_at("postern", "/etc/podinfo")["downwardAPI"]["items"];
    let item = json!([{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }]);
    assert_eq!(*items, item);
    // Nobody reaches gRPC from another pod.
    assert_eq!(pod.port("grpc"), None);
}

#[rstest]
#[case(overlay("sidecar"))]
#[case(of_helm())]
#[tokio::test(flavor = "multi_thread")]
async fn decides_for_the_envoy_beside_it(#[case] installation: Installation) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = configuration(&installation, folder.path());
    let socket = folder.path().join("ext_authz.sock");
    assert_eq!(config.listen, Address::Unix(SOCKET.into()));
    config.listen = Address::Unix(socket.clone());
    config.admin = SocketAddr::from(([127, 0, 0, 1], 0));
    config.probes = Some(config.admin);
    assert_eq!(config.http, None);
    // The folder holds Envoy's configuration too, which is not among the policies in a pod.
    fs::remove_file(folder.path().join("etc/postern/policies/envoy.yaml")).unwrap();
    let running = app::start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
    let probes = running.probes_addr.unwrap();
    while get(probes, "/readyz").await.unwrap().0 != 200 {
        tokio::task::yield_now().await;
    }

    let upstream = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let service = upstream.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = upstream.accept().await {
            tokio::spawn(async move {
                while let Ok(Some(_)) = http1::read(&mut stream, Body::Request).await {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let maps = installation.of_kind("ConfigMap");
    let bootstrap = maps.filter_map(|map| map["data"]["envoy.yaml"].as_str()).next().unwrap();
    assert!(bootstrap.contains(&format!("path: {SOCKET}")));
    let bootstrap = bootstrap
        .replace(&format!("path: {SOCKET}"), &format!("path: {}", text(&json!(socket))))
        .replace("port_value: 9901", "port_value: 0")
        .replace("0.0.0.0, port_value: 10000", "127.0.0.1, port_value: 0")
        .replace("port_value: 8080", &format!("port_value: {service}"));
    let envoy = Envoy::start("envoy.yaml", &bootstrap).await;
    let listener = envoy.listeners().await["inbound"].v4;
    assert_eq!(get(listener, "/").await.unwrap().0, 200, "{}", envoy.log());
    assert_eq!(get(listener, "/admin").await.unwrap().0, 403);

    running.shutdown.begin();
    running.wait().await.unwrap();
    assert_eq!(get(listener, "/").await.unwrap().0, 403, "without Postern nobody gets in");
    serving.abort();
}
