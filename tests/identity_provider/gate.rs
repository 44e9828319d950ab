//! A Postern that guards orders, configured as a user would, and asked as Envoy does.

use std::fs;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use postern::{
    app::{self, Running},
    config::{Address, Config, Environment, Flags},
    telemetry::logging::{LogFilter, LogLevel},
};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::provider::{ORDERS, Provider};

/// A running Postern.
pub(crate) struct Gate {
    client: AuthorizationClient<Channel>,
    _postern: Running,
    _folder: TempDir,
}

#[derive(Debug, clap::Parser)]
struct CommandLine {
    #[command(flatten)]
    flags: Flags,
}

impl Gate {
    /// Knows of the provider its issuer and its authority, no more.
    pub(crate) async fn start(provider: &Provider) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (policies, ca) = (at("policies.yaml"), at("ca.pem"));
        fs::write(&policies, self::policies(&provider.issuer)).unwrap();
        fs::write(&ca, provider.authority_pem()).unwrap();
        let arguments = [
            ["--policies", &policies],
            ["--namespace", "shop"],
            ["--listen", "127.0.0.1:0"],
            ["--admin", "127.0.0.1:0"],
            ["--http-listen", "off"],
            ["--jwks-ca-certificates", &ca],
            ["--jwks-unknown-kid-interval", "100ms"],
            // This machine may be slow; that a wait is bounded is tested elsewhere.
            ["--jwks-unknown-kid-wait", "10s"],
        ];
        let arguments = ["postern"].into_iter().chain(arguments.into_iter().flatten());
        let CommandLine { flags } = clap::Parser::try_parse_from(arguments).unwrap();
        let config = Config::load(&flags, &Environment::default()).unwrap();
        let postern = app::start(config, LogLevel::detached(LogFilter::default())).await.unwrap();
        let Address::Tcp(grpc) = postern.grpc_addr else { panic!("a port was asked for") };
        let client = AuthorizationClient::connect(format!("http://{grpc}")).await.unwrap();
        Self { client, _postern: postern, _folder: folder }
    }

    /// The status that a request with this token gets; 200 lets it through.
    pub(crate) async fn status(&self, token: &str) -> i32 {
        let authorization = ("authorization".to_owned(), format!("Bearer {token}"));
        let http = HttpRequest {
            method: "GET".into(),
            path: "/orders".into(),
            host: "shop.example.com".into(),
            scheme: "https".into(),
            headers: [authorization].into(),
            ..HttpRequest::default()
        };
        let request = CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(Request { http: Some(http), ..Request::default() }),
                ..AttributeContext::default()
            }),
        };
        let answer = self.client.clone().check(request).await.unwrap().into_inner();
        match answer.http_response.unwrap() {
            HttpResponse::OkResponse(_) => 200,
            HttpResponse::DeniedResponse(denied) => denied.status.unwrap().code,
            HttpResponse::ErrorResponse(_) => panic!("an error response"),
        }
    }
}

fn policies(issuer: &str) -> String {
    format!(
        r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: shop}}
spec:
  jwtRules:
  - issuer: {issuer}
    audiences: ["{ORDERS}"]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: staff, namespace: shop}}
spec:
  rules:
  - from:
    - source: {{requestPrincipals: ["{issuer}/*"]}}
    when:
    - {{key: "request.auth.claims[groups]", values: [staff]}}
    - {{key: "request.auth.claims[tenant][name]", values: [acme]}}
    - {{key: "request.auth.claims[scope]", values: ["orders:read"]}}
    - {{key: request.auth.audiences, values: ["{ORDERS}"]}}
"#
    )
}
