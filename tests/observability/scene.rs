//! Posterns with trouble of every kind, and the Prometheus that scrapes them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use postern::extauthz::ClientAddress;
use postern::manifest::node::{Node, parse_documents};
use postern::request_file::RequestFile;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Channel;

use crate::process::Process;
use crate::prometheus::Prometheus;

/// What the first Postern is given. `DEAD` is an address where nobody answers.
const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  jwtRules:
  - {issuer: "https://good.example", jwksUri: "http://KEYS/keys"}
  - {issuer: "https://dead.example", jwksUri: "http://DEAD/keys"}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec: {rules: [{to: [{operation: {paths: ["/orders*"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: watched, namespace: shop}
spec: {action: AUDIT, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: soon, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {paths: [/orders/old]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked, namespace: shop}
spec: {action: CUSTOM, provider: {name: dead}, rules: [{to: [{operation: {paths: [/asked]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-sni, namespace: shop}
spec: {action: DENY, rules: [{when: [{key: connection.sni, values: [evil.example]}]}]}
---
apiVersion: gateway.kyma-project.io/v1beta1
kind: APIRule
metadata: {name: opaque, namespace: shop}
spec:
  host: opaque.example.com
  gateway: a/b
  service: {name: web, port: 80}
  rules:
  - path: /.*
    methods: [GET]
    accessStrategies:
    - handler: oauth2_introspection
      config: {introspection_url: "http://DEAD/introspect", token_from: {header: x-token}, retry: {give_up_after: 1ms}}
"#;

const REFUSED: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: broken, namespace: shop}
spec: {action: MAYBE, selector: {matchLabels: {app: other}}}
";

pub(crate) struct Scene {
    prometheus: Prometheus,
    client: AuthorizationClient<Channel>,
    api: SocketAddr,
    management: SocketAddr,
    _posterns: [Process; 4],
    folder: TempDir,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let keys = keys().await;
        fs::create_dir(at("policies")).unwrap();
        let policies = POLICIES.replace("DEAD", &free.to_string());
        let policies = policies.replace("KEYS", &keys.to_string());
        fs::write(at("policies/shop.yaml"), policies).unwrap();
        let provider = json!({"name": "dead", "envoyExtAuthzGrpc":
            {"service": "127.0.0.1", "port": free.port()}});
        let mesh = json!({"extensionProviders": [provider]});
        fs::write(at("mesh.json"), mesh.to_string()).unwrap();

        let serve = |arguments: &[&str]| Process::start(folder.path(), arguments);
        let introspection = format!("--introspection-destinations=http://{free}");
        let mut shop = serve(&[
            "--policies=policies",
            "--namespace=shop",
            "--mesh-config=mesh.json",
            "--decision-log=file:decisions.log",
            &introspection,
        ]);
        let (grpc, shop_admin) = (shop.listens("grpc"), shop.listens("admin"));
        let jwks_uri = format!("--management-jwks-uri=http://{keys}/keys");
        let mut store = serve(&[
            "--store=store",
            "--api=127.0.0.1:0",
            "--api-insecure",
            "--management=127.0.0.1:0",
            "--management-insecure",
            "--management-issuer=https://good.example",
            "--management-audiences=management",
            &jwks_uri,
        ]);
        let store_admin = store.listens("admin");
        let (management, api) = (store.listens("management"), store.listens("api"));
        fs::write(at("kubeconfig.json"), kubeconfig(api).to_string()).unwrap();
        let mut cluster = serve(&["--kube", "--kubeconfig=kubeconfig.json"]);
        let cluster_admin = cluster.listens("admin");
        // Nobody has pods there.
        let of_pods = ["--kube", "--kubeconfig=kubeconfig.json", "--kube-workloads=true"];
        let mut without_pods = serve(&of_pods);
        let without_pods_admin = without_pods.listens("admin");
        // A bad edit.
        fs::write(at("policies/broken.yaml"), REFUSED).unwrap();

        let admins = [shop_admin, store_admin, cluster_admin, without_pods_admin];
        let targets = admins.map(|admin| admin.to_string());
        let rules = Path::new(env!("CARGO_MANIFEST_DIR"));
        let rules = rules.join("deploy/observability/prometheus-rules.yaml");
        let config = json!({
            "global": { "scrape_interval": "250ms", "evaluation_interval": "1s" },
            "rule_files": [rules],
            "scrape_configs": [
                { "job_name": "postern", "static_configs": [{ "targets": targets }] },
            ],
        });
        fs::write(at("config.yml"), config.to_string()).unwrap();
        let prometheus = Prometheus::start(folder.path(), &[]);
        let client = AuthorizationClient::connect(format!("http://{grpc}")).await.unwrap();
        let posterns = [shop, store, cluster, without_pods];
        Self { prometheus, client, api, management, _posterns: posterns, folder }
    }

    /// Changes a policy, and asks everything once.
    pub(crate) async fn ask(&self, round: usize) {
        let policy = REFUSED.replace("MAYBE", "DENY").replace("broken", &format!("round-{round}"));
        fs::write(self.folder.path().join("policies/changing.yaml"), policy).unwrap();
        for request in [
            "{path: /orders/1, source: {principal: 'spiffe://cluster.local/ns/shop/sa/web'}}",
            "{path: /orders/old}",
            "{path: /admin}",
            "{path: /asked}",
            "{path: /orders, headers: {authorization: 'Bearer e30.e30.e30'}}",
            "{path: /, host: opaque.example.com, headers: {x-token: opaque}}",
        ] {
            let request = RequestFile::read(request, None).unwrap();
            let mut check = request.check_request(ClientAddress::default());
            self.client.clone().check(check.clone()).await.unwrap();
            // As an Envoy that sends as little as it can.
            if let Some(attributes) = &mut check.attributes {
                attributes.tls_session = None;
            }
            self.client.clone().check(check.clone()).await.unwrap();
            if let Some(attributes) = &mut check.attributes {
                let name = ("postern.workload".to_owned(), "nobody/here".to_owned());
                attributes.context_extensions.extend([name]);
            }
            self.client.clone().check(check).await.unwrap();
        }
        get(self.api, "/apis/security.istio.io/v1/authorizationpolicies").await;
        // Without a token.
        get(self.management, "/api/v1/istio/status").await;
    }

    /// Whether Prometheus has data for an expression.
    pub(crate) async fn answers(&self, expression: &str) -> bool {
        let address = self.prometheus.url.trim_start_matches("http://").parse().unwrap();
        let query =
            percent_encoding::utf8_percent_encode(expression, percent_encoding::NON_ALPHANUMERIC);
        let answer = get(address, &format!("/api/v1/query?query={query}")).await;
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let answer: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let found = answer["data"]["result"].as_array().unwrap();
        found.iter().any(|sample| sample["value"][1] != "NaN")
    }
}

/// Serves a key set.
async fn keys() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let set = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let routes = axum::Router::new().fallback(move || async move { set });
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

fn kubeconfig(api: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{api}") } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    })
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The one document of a YAML text.
pub(crate) fn yaml(text: &str) -> Value {
    let documents = parse_documents(text, Some("text.yaml")).unwrap();
    documents.first().map(Node::to_json).unwrap()
}
