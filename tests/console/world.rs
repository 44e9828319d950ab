//! A small shop with policies of every kind, and many workloads beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// How many workloads there are beside those of the shop.
pub(crate) const CROWD: usize = 2_000;

/// The folder of a server, with policies and a configuration file.
pub(crate) fn folder(keys: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("policies")).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("policies/shop.yaml", &POLICIES.replace("KEYS", keys));
    write("policies/routes.yaml", ROUTES);
    write("config.yaml", &configuration());
    folder
}

/// Writes a policy that is refused.
pub(crate) fn break_policies(folder: &Path) {
    fs::write(folder.join("policies/broken.yaml"), BROKEN).unwrap();
}

/// The allowed and denied requests of the shop's days: workload and request file.
pub(crate) const TRAFFIC: [(&str, &str); 5] = [
    (
        "shop/cart",
        "{path: /cart, host: shop.example, source: {principal: cluster.local/ns/web/sa/front, ip: 10.1.0.9}}",
    ),
    (
        "shop/cart",
        "{path: /cart/items, host: shop.example, source: {principal: cluster.local/ns/web/sa/front, ip: 10.1.0.9}}",
    ),
    (
        "shop/cart",
        "{method: POST, path: /pay, host: shop.example, source: {principal: cluster.local/ns/web/sa/front, ip: 10.1.0.9}}",
    ),
    ("shop/catalogue", "{path: /list, host: shop.example, source: {ip: 10.1.0.7}}"),
    (
        "shop/catalogue",
        "{path: /list, host: shop.example, token: not-a-token, source: {ip: 10.1.0.7}}",
    ),
];

/// What is denied by a rule, with a query that is nobody's business.
pub(crate) const DENIED: (&str, &str) = (
    "shop/cart",
    "{path: '/admin/users?secret=hunter2', host: shop.example, headers: {x-team: blue}, \
     source: {principal: cluster.local/ns/web/sa/front, ip: 10.1.0.9}}",
);

fn configuration() -> String {
    let mut text = String::from("workloads:\n");
    for (name, address) in
        [("cart", "10.2.0.1"), ("catalogue", "10.2.0.2"), ("payment", "10.2.0.3")]
    {
        writeln!(
            text,
            "- {{namespace: shop, name: {name}, labels: {{app: {name}, tier: backend}}, \
             services: [{name}], addresses: [{address}], serviceAccount: {name}}}"
        )
        .unwrap();
    }
    for number in 0..CROWD {
        writeln!(text, "- {{namespace: crowd, name: w{number:04}, labels: {{app: w{number:04}}}}}")
            .unwrap();
    }
    text
}

const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: PERMISSIVE}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cart, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  mtls: {mode: STRICT}
  portLevelMtls: {9090: {mode: DISABLE}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: customers, namespace: shop}
spec:
  jwtRules:
  - issuer: https://login.shop.example
    audiences: [shop]
    jwksUri: KEYS
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  action: DENY
  rules:
  - to: [{operation: {methods: [TRACE]}}]
  - to: [{operation: {paths: ["/admin*"]}}]
    when: [{key: "request.headers[x-team]", notValues: [ops]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cart-callers, namespace: shop}
spec:
  selector: {matchLabels: {app: cart}}
  action: ALLOW
  rules:
  - from: [{source: {principals: ["cluster.local/ns/web/sa/front"]}}]
    to: [{operation: {methods: [GET], paths: ["/cart*", "/admin*"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: cart-next
  namespace: shop
  annotations: {istio.io/dry-run: "true"}
spec:
  selector: {matchLabels: {app: cart}}
  action: DENY
  rules:
  - to: [{operation: {paths: ["/cart/items"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: catalogue-readers, namespace: shop}
spec:
  selector: {matchLabels: {app: catalogue}}
  rules:
  - to: [{operation: {methods: [GET, HEAD]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: audit-payments, namespace: shop}
spec:
  selector: {matchLabels: {app: payment}}
  action: AUDIT
  rules: [{}]
"#;

const ROUTES: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart, namespace: shop}
spec:
  hosts: [cart]
  http:
  - match: [{sourceLabels: {app: front}}]
    route:
    - {destination: {host: cart, subset: stable}, weight: 90}
    - {destination: {host: cart-canary}, weight: 10}
  - route: [{destination: {host: payment}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: payment, namespace: shop}
spec:
  hosts: [payment]
  http:
  - route: [{destination: {host: ledger}}]
"#;

const BROKEN: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: offices, namespace: shop}
spec:
  selector: {matchLabels: {app: ledger}}
  action: ALLOW
  rules:
  - from: [{source: {ipBlocks: ["10.1.0.0/33"]}}]
"#;
