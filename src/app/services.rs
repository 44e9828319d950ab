//! The parts that answer requests, as configured.

use std::{fmt, sync::Arc};

use anyhow::Result;
use tonic::service::RoutesBuilder;

use crate::admin::KeySourceStatus;
use crate::config::Config;
use crate::control::publish::SnapshotCell;
use crate::control::{Decode, Decoded, SyncKeys};
use crate::telemetry::metrics::Metrics;

/// Text to resources.
pub(super) fn decode(_config: &Config) -> Decode {
    Decode::new(|_files| Decoded::default())
}

/// The remote key sets and what others need of them.
#[derive(Clone)]
pub(super) struct KeySources;

impl fmt::Debug for KeySources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySources").finish_non_exhaustive()
    }
}

pub(super) fn key_sets(_config: &Config, _metrics: &Metrics) -> Result<KeySources> {
    Ok(KeySources)
}

impl KeySources {
    /// For control.
    pub(super) fn sync(&self) -> Box<SyncKeys> {
        Box::new(|_| {})
    }

    /// For the admin endpoints.
    pub(super) fn status(&self) -> Arc<dyn Fn() -> Vec<KeySourceStatus> + Send + Sync> {
        Arc::new(Vec::new)
    }

    /// Returns once the first attempt of each has ended.
    pub(super) async fn settled(&self) {}
}

/// Adds every gRPC service but health.
pub(super) fn grpc_services(
    routes: &mut RoutesBuilder,
    _config: &Config,
    _snapshots: SnapshotCell,
    _keys: &KeySources,
    _metrics: &Metrics,
) -> Result<()> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(reflection().build_v1()?);
    routes.add_service(reflection().build_v1alpha()?);
    Ok(())
}
