//! The parts that answer requests, as configured.

use std::sync::Arc;

use anyhow::Result;
use tonic::service::RoutesBuilder;

use super::decoding;
use super::extension_providers;
use super::key_sources::KeySources;
use crate::authn::{TokenCache, TokenCacheStatus};
use crate::config::Config;
use crate::control::Decode;
use crate::control::publish::SnapshotCell;
use crate::extauthz::{
    AuthorizationService, CheckMetrics, CheckServer, ClientAddress, DESCRIPTORS, RequestSettings,
};
use crate::manifest;
use crate::telemetry::decision_log::{DecisionLog, Tap};
use crate::telemetry::metrics::{Metrics, TokenCacheSample};
use crate::telemetry::otlp::Spans;

/// Text to resources. A resource without a namespace is in the workload's.
pub(crate) fn decode(config: &Config) -> Decode {
    let namespace = config.settings.workloads.first().map_or("default", |w| &w.namespace);
    let default_namespace = namespace.into();
    decoding::decoder(manifest::Options { default_namespace, api_rules: config.api_rules.clone() })
}

/// Who is told of decisions.
pub(super) struct Witnesses {
    pub(super) decision_log: Option<DecisionLog>,
    pub(super) tap: Option<Tap>,
    pub(super) spans: Option<Spans>,
}

/// Adds every gRPC service but health; gives the one that decides.
pub(super) fn grpc_services(
    routes: &mut RoutesBuilder,
    config: &Config,
    snapshots: SnapshotCell,
    keys: &KeySources,
    metrics: &Metrics,
    Witnesses { decision_log, tap, spans }: Witnesses,
) -> Result<AuthorizationService> {
    let settings = request_settings(config);
    let check_metrics = CheckMetrics {
        decisions: metrics.decisions(),
        inputs: metrics.inputs(),
        workloads: metrics.workloads(),
    };
    let mut service =
        AuthorizationService::new(snapshots, Arc::new(keys.sets.clone()), settings, keys.clock)
            .with_unknown_kid_wait(config.key_sources.unknown_kid_wait)
            .with_introspection(keys.asking(&config.introspection)?)
            .with_metrics(check_metrics);
    if !config.introspection.destinations.is_empty() {
        service = service.with_introspection_metrics(metrics.introspection());
    }
    if let Some(decision_log) = decision_log {
        service = service.with_decision_log(decision_log);
    }
    if let Some(tap) = tap {
        service = service.with_tap(tap);
    }
    if let Some(providers) = extension_providers::open(config, metrics)? {
        service = service.with_providers(providers);
    }
    if let Some(longest) = config.cache_hint {
        service = service.with_cache_hint(longest);
    }
    if let Some(denials) = &config.denials {
        service = service.with_denials(denials.clone());
    }
    if let Some(spans) = spans {
        service = service.with_spans(spans);
    }
    if config.token_cache_size > 0 {
        let bytes = u64::try_from(config.token_cache_size).unwrap_or(u64::MAX);
        let cache = Arc::new(TokenCache::new(bytes));
        service = service.with_token_cache(cache.clone());
        metrics.register_token_cache(move || sample(cache.status()));
    }
    routes.add_service(CheckServer::new(service.clone(), config.max_message_size));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    routes.add_service(reflection().build_v1()?);
    routes.add_service(reflection().build_v1alpha()?);
    Ok(service)
}

fn sample(status: TokenCacheStatus) -> TokenCacheSample {
    let TokenCacheStatus { hits, misses, rejections, entries, bytes } = status;
    TokenCacheSample { hits, misses, rejections, entries, bytes }
}

/// How requests are read, as configured.
pub(crate) fn request_settings(config: &Config) -> RequestSettings {
    RequestSettings {
        client_address: ClientAddress {
            use_remote_address: config.use_remote_address,
            trusted_hops: usize::try_from(config.xff_num_trusted_hops).unwrap_or(usize::MAX),
        },
        client_address_header: config.client_address_header.clone(),
        path_normalization: config.path_normalization,
        workload_from: config.workload_from,
        max_headers_size: config.max_headers_size,
        max_token_size: config.max_token_size,
    }
}
