//! What the data plane answers.

use std::time::Instant;

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, attribute_context,
};
use tonic::transport::{Channel, Endpoint};

use crate::running::PATIENCE;
use crate::server::Server;

/// A client that asks as Envoy does.
pub(crate) struct Gate(AuthorizationClient<Channel>);

impl Gate {
    pub(crate) async fn of(server: &mut Server) -> Self {
        let address = server.address("grpc");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self(AuthorizationClient::new(endpoint.connect().await.unwrap()))
    }

    pub(crate) async fn allows(&mut self, path: &str) -> bool {
        let http = attribute_context::HttpRequest {
            method: "GET".into(),
            path: path.into(),
            host: "shop".into(),
            ..Default::default()
        };
        let request = attribute_context::Request { http: Some(http), ..Default::default() };
        let attributes = AttributeContext { request: Some(request), ..Default::default() };
        let check = CheckRequest { attributes: Some(attributes) };
        self.0.check(check).await.unwrap().into_inner().status.unwrap().code == 0
    }

    /// Asks until it is so.
    pub(crate) async fn until(&mut self, path: &str, allows: bool) {
        let begun = Instant::now();
        while self.allows(path).await != allows {
            assert!(begun.elapsed() < PATIENCE, "still not {allows}");
        }
    }
}
