//! The extension providers of these tests, as a MeshConfig would have them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::authorizers::Authorizers;

/// One provider: its name, whether it speaks gRPC, where it is, and its other settings.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    /// `None` is one that no configuration defines.
    pub(crate) kind: Option<Kind>,
    pub(crate) address: SocketAddr,
    /// In Istio's words.
    pub(crate) settings: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Grpc,
    Http,
}

/// Prefixes of paths, and the providers that are asked about what begins so.
pub(crate) const RULES: [(&str, &[&str]); 16] = [
    ("/a/", &["a-grpc"]),
    ("/b/", &["b-http"]),
    ("/c/", &["c-http-all"]),
    ("/d/", &["d-open"]),
    ("/e/", &["e-closed"]),
    ("/f/", &["f-reset-http"]),
    ("/g/", &["g-reset-grpc"]),
    ("/h/", &["h-undefined"]),
    ("/i/", &["i-body-grpc"]),
    ("/j/", &["j-body-http"]),
    ("/k/", &["k-rbac"]),
    ("/l/", &["l-grpc-js"]),
    ("/ab/", &["a-grpc", "b-http"]),
    ("/ah/", &["a-grpc", "h-undefined"]),
    ("/bd/", &["b-http", "d-open"]),
    ("/hj/", &["h-undefined", "j-body-http"]),
];

pub(crate) fn providers(authorizers: &Authorizers) -> Vec<Provider> {
    let Authorizers { grpc, http, nobody, reset_http, reset_grpc, .. } = *authorizers;
    let provider = |name, kind, address, settings| Provider { name, kind, address, settings };
    vec![
        provider(
            "a-grpc",
            Some(Kind::Grpc),
            grpc,
            json!({"timeout": "0.5s", "statusOnError": "503"}),
        ),
        provider(
            "b-http",
            Some(Kind::Http),
            http,
            json!({
                "timeout": "0.5s",
                "pathPrefix": "/check",
                "includeRequestHeadersInCheck": ["X-Want", "x-req-*", "*-suffix"],
                "includeAdditionalHeadersInCheck": {"x-key": "k", "x-req-own": "ours"},
                "headersToUpstreamOnAllow": ["x-user", "x-role*"],
                "headersToDownstreamOnDeny": ["x-deny-*", "set-cookie"],
                "headersToDownstreamOnAllow": ["x-down"],
            }),
        ),
        provider(
            "c-http-all",
            Some(Kind::Http),
            http,
            json!({"timeout": "0.5s", "includeHeadersInCheck": ["x-want"], "statusOnError": "500"}),
        ),
        provider("d-open", Some(Kind::Grpc), nobody, json!({"timeout": "5s", "failOpen": true})),
        provider("e-closed", Some(Kind::Grpc), nobody, json!({"timeout": "5s"})),
        provider("f-reset-http", Some(Kind::Http), reset_http, json!({"timeout": "5s"})),
        provider("g-reset-grpc", Some(Kind::Grpc), reset_grpc, json!({"timeout": "5s"})),
        provider("h-undefined", None, nobody, json!({})),
        provider(
            "i-body-grpc",
            Some(Kind::Grpc),
            grpc,
            json!({"timeout": "0.5s", "includeRequestBodyInCheck": {"maxRequestBytes": 10}}),
        ),
        provider(
            "j-body-http",
            Some(Kind::Http),
            http,
            json!({
                "timeout": "0.5s",
                "includeRequestHeadersInCheck": ["x-want"],
                "includeRequestBodyInCheck": {"maxRequestBytes": 10, "allowPartialMessage": true},
            }),
        ),
    ]
}

/// `extensionProviders` of a MeshConfig.
pub(crate) fn mesh_config(providers: &[Provider]) -> Value {
    let entries = providers.iter().filter_map(|provider| {
        let kind = match provider.kind? {
            Kind::Grpc => "envoyExtAuthzGrpc",
            Kind::Http => "envoyExtAuthzHttp",
        };
        let mut settings = provider.settings.clone();
        settings["service"] = provider.address.ip().to_string().into();
        settings["port"] = provider.address.port().into();
        Some(json!({"name": provider.name, kind: settings}))
    });
    json!({"extensionProviders": entries.collect::<Vec<_>>()})
}

/// A CUSTOM policy for each prefix and provider, and a DENY policy about a header that providers set.
pub(crate) fn policies() -> String {
    let mut text = String::new();
    for (number, (prefix, names)) in RULES.iter().enumerate() {
        for name in *names {
            let policy = json!({
                "apiVersion": "security.istio.io/v1",
                "kind": "AuthorizationPolicy",
                "metadata": {"name": format!("ask-{number}-{name}"), "namespace": "foo"},
                "spec": {
                    "action": "CUSTOM",
                    "provider": {"name": name},
                    "rules": [{"to": [{"operation": {"paths": [format!("{prefix}*")]}}]}],
                },
            });
            text.push_str(&format!("---\n{policy}\n"));
        }
    }
    let deny = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "not-mallory", "namespace": "foo"},
        "spec": {
            "action": "DENY",
            "rules": [{"when": [{"key": "request.headers[x-user]", "values": ["mallory"]}]}],
        },
    });
    text + &format!("---\n{deny}\n")
}
