//! The parts that answer requests, as configured.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use tokio::runtime::Handle;
use tonic::service::RoutesBuilder;

use crate::admin::KeySourceStatus;
use crate::authn::clock::Clock;
use crate::authn::jwks::{self, KeySets};
use crate::config::Config;
use crate::control::publish::SnapshotCell;
use crate::control::{Decode, Decoded, Document, SyncKeys};
use crate::extauthz::{
    AuthorizationService, CheckMetrics, ClientAddress, DESCRIPTORS, RequestSettings,
};
use crate::manifest;
use crate::telemetry::metrics::Metrics;

/// Text to resources. A resource without a namespace is in the workload's.
pub(crate) fn decode(config: &Config) -> Decode {
    let namespace = config.settings.workloads.first().map_or("default", |w| &w.namespace);
    let options = manifest::Options { default_namespace: namespace.into() };
    Decode::new(move |files| {
        let texts = files.iter().map(|file| (&*file.name, file.text.as_bytes()));
        let decoded = manifest::decode_files(texts, &options);
        let documents = decoded.documents.into_iter().map(|document| Document {
            file: document.file.clone().unwrap_or_default(),
            resource: document.accepted().cloned(),
            id: document.id,
            attachment: document.attachment,
        });
        Decoded { documents: documents.collect(), diagnostics: decoded.diagnostics }
    })
}

/// The remote key sets and what others need of them.
#[derive(Debug, Clone)]
pub(super) struct KeySources {
    sets: KeySets,
    clock: Clock,
}

pub(super) fn key_sets(config: &Config, metrics: &Metrics) -> Result<KeySources> {
    let settings = jwks::Settings {
        schedule: jwks::Schedule {
            refresh: config.jwks_refresh_interval,
            ..jwks::Schedule::default()
        },
        ..jwks::Settings::default()
    };
    let clock = Clock::system();
    let refreshes = metrics.key_sources();
    refreshes.expect(jwks::AttemptResult::ALL.map(jwks::AttemptResult::as_str));
    let observer = Arc::new(move |attempt: &jwks::Attempt<'_>| {
        refreshes.refreshed(attempt.result.as_str());
    });
    let sets = KeySets::new(settings, clock, observer, Handle::current())
        .context("set up the fetching of key sets")?;
    let ages = sets.clone();
    metrics.register_key_ages(move || {
        let now = clock.now();
        let age = |at| now.duration_since(at).unwrap_or_default();
        let status = ages.status().into_iter();
        status.filter_map(|s| Some((s.id.issuer, age(s.last_success?)))).collect()
    });
    Ok(KeySources { sets, clock })
}

impl KeySources {
    /// For control.
    pub(super) fn sync(&self) -> Box<SyncKeys> {
        let sets = self.sets.clone();
        Box::new(move |wanted| sets.sync(wanted))
    }

    /// For the admin endpoints.
    pub(super) fn status(&self) -> Arc<dyn Fn() -> Vec<KeySourceStatus> + Send + Sync> {
        let Self { sets, clock } = self.clone();
        Arc::new(move || {
            let now = clock.now();
            let status = sets.status().into_iter().map(|source| KeySourceStatus {
                issuer: source.id.issuer,
                uri: source.id.uri,
                keys: source.keys,
                age: source.last_success.map(|at| now.duration_since(at).unwrap_or_default()),
                error: source.last_error.map(|error| error.describe()),
            });
            status.collect()
        })
    }

    /// Returns once the first attempt of each has ended.
    pub(super) async fn settled(&self) {
        self.sets.wait_settled().await;
    }
}

/// Adds every gRPC service but health.
pub(super) fn grpc_services(
    routes: &mut RoutesBuilder,
    config: &Config,
    snapshots: SnapshotCell,
    keys: &KeySources,
    metrics: &Metrics,
) -> Result<()> {
    let settings = request_settings(config);
    let check_metrics = CheckMetrics { decisions: metrics.decisions(), inputs: metrics.inputs() };
    let service =
        AuthorizationService::new(snapshots, Arc::new(keys.sets.clone()), settings, keys.clock)
            .with_metrics(check_metrics);
    routes.add_service(
        AuthorizationServer::new(service).max_decoding_message_size(config.max_message_size),
    );
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(reflection().build_v1()?);
    routes.add_service(reflection().build_v1alpha()?);
    Ok(())
}

/// How requests are read, as configured.
pub(crate) fn request_settings(config: &Config) -> RequestSettings {
    RequestSettings {
        client_address: ClientAddress {
            use_remote_address: config.use_remote_address,
            trusted_hops: usize::try_from(config.xff_num_trusted_hops).unwrap_or(usize::MAX),
        },
        path_normalization: config.path_normalization,
        max_headers_size: config.max_headers_size,
        max_token_size: config.max_token_size,
    }
}
