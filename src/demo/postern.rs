//! Postern itself, as the demo starts it: in this process, asked over gRPC like any other.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::policies::PolicySet;
use super::story::Service;
use crate::authn::KeyLookup;
use crate::authn::clock::Clock;
use crate::authn::jwks::{self, KeySets};
use crate::compile::{self, compile};
use crate::control::publish::SnapshotCell;
use crate::extauthz::{AuthorizationService, ClientAddress, RequestSettings};
use crate::key_set::KeySet;
use crate::model::{Mesh, Workload};
use crate::normalize::PathNormalization;
use crate::plan::KeySourceId;

/// The namespace of the demo's services.
pub(super) const NAMESPACE: &str = "bookinfo";

/// A running Postern. Ends with its handle.
pub(super) struct Postern {
    /// Where gRPC listens.
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Postern {
    /// Starts it on a folder of policies that have been checked, with a workload for each service.
    pub(super) async fn start(policies: &Path) -> Result<Self> {
        let workload = |service: Service| Workload {
            namespace: NAMESPACE.into(),
            labels: [("app".to_owned(), service.name().to_owned())].into(),
        };
        let settings = compile::Settings {
            mesh: Mesh::default(),
            workloads: Service::ALL.map(workload).into_iter().collect(),
        };
        let resources = PolicySet::read(&[policies.to_owned()])?.decode()?;
        let snapshot = compile(1, &resources, &[], &settings);

        let keys = KeySets::new(
            jwks::Settings::default(),
            Clock::system(),
            Arc::new(|_| {}),
            Handle::current(),
        )?;
        keys.sync(&snapshot.key_sources);
        keys.wait_settled().await;

        let (cell, mut publisher) = SnapshotCell::new();
        drop(publisher.publish(Arc::new(snapshot)));
        let settings = RequestSettings {
            // As the listeners are configured.
            client_address: ClientAddress { use_remote_address: true, trusted_hops: 0 },
            path_normalization: PathNormalization::None,
        };
        let keys = Arc::new(Keys(keys));
        let service = AuthorizationService::new(cell, keys, settings, Clock::system());

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr().context("the address of the gRPC port")?;
        let server = Server::builder().add_service(AuthorizationServer::new(service));
        let task = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            if let Err(error) = server.serve_with_incoming(incoming).await {
                tracing::error!(%error, "gRPC is no longer served");
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Postern {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Postern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postern").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The fetched keys.
struct Keys(KeySets);

impl KeyLookup for Keys {
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>> {
        self.0.keys(source)
    }
}
