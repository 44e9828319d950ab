//! The remote key sets as configured, and what other parts need of them.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::{runtime::Handle, time::timeout};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::access::Asking;
use crate::admin::KeySourceStatus;
use crate::authn::clock::Clock;
use crate::authn::introspection::{Destinations, Introspector};
use crate::authn::jwks::{self, AttemptResult, KeySets, Schedule};
use crate::config::{IntrospectionConfig, KeySourceClient, KeySourcesConfig};
use crate::control::SyncKeys;
use crate::outbound::{Client, ClientSettings, DialGuard};
use crate::plan::KeySource;
use crate::telemetry::metrics::{KeySourceSample, Metrics};

/// The sets and the time.
#[derive(Debug, Clone)]
pub(super) struct KeySources {
    pub(super) sets: KeySets,
    /// What fetches them.
    client: Client,
    pub(super) clock: Clock,
}

impl KeySources {
    /// Without sources yet. Fails where a file cannot be used.
    pub(super) fn new(config: &KeySourcesConfig, metrics: &Metrics) -> Result<Self> {
        let clock = Clock::system();
        let refreshes = metrics.key_sources();
        refreshes.expect(AttemptResult::ALL.map(AttemptResult::as_str));
        let observer = Arc::new(move |attempt: &jwks::Attempt<'_>| {
            refreshes.refreshed(attempt.result.as_str());
        });
        let (client, schedule) = (client(config)?, schedule(config));
        let sets = KeySets::new(client.clone(), schedule, clock, observer, Handle::current());
        let sampled = sets.clone();
        metrics.register_key_sources(move || {
            let now = clock.now();
            let sample = |source: jwks::SourceStatus| KeySourceSample {
                issuer: source.id.issuer,
                age: source.last_success.map(|at| now.duration_since(at).unwrap_or_default()),
                failing: source.last_error.map(|e| (e.result().as_str(), source.failures)),
            };
            sampled.status().into_iter().map(sample).collect()
        });
        Ok(Self { sets, client, clock })
    }

    /// Who asks introspection endpoints, over the same client.
    pub(super) fn asking(&self, config: &IntrospectionConfig) -> Result<Asking> {
        let destinations = config.destinations.iter().map(String::as_str);
        let destinations =
            Destinations::of(destinations).context("--introspection-destinations")?;
        Ok(Asking {
            introspector: Introspector::new(self.client.clone(), destinations, self.clock),
            introspection_url: config.url.clone(),
            timeout: config.timeout,
        })
    }

    /// For control. `own` are wanted always, whatever policies say.
    pub(super) fn sync(&self, own: Vec<KeySource>) -> Box<SyncKeys> {
        let sets = self.sets.clone();
        Box::new(move |wanted| {
            let is_other = |own: &&KeySource| !wanted.iter().any(|wanted| wanted.id == own.id);
            let all: Vec<_> = wanted.iter().chain(own.iter().filter(is_other)).cloned().collect();
            sets.sync(&all);
        })
    }

    /// For the admin endpoints.
    pub(super) fn status(&self) -> Arc<dyn Fn() -> Vec<KeySourceStatus> + Send + Sync> {
        let Self { sets, client: _, clock } = self.clone();
        Arc::new(move || {
            let now = clock.now();
            let since = |at| now.duration_since(at).unwrap_or_default();
            let status = sets.status().into_iter().map(|source| KeySourceStatus {
                issuer: source.id.issuer,
                uri: source.id.uri,
                keys: source.keys,
                age: source.last_success.map(since),
                error: source.last_error.map(|error| error.describe()),
                last_failure: source.last_failure.map(since),
                failures: source.failures,
            });
            status.collect()
        })
    }

    /// Returns once the first attempt of each has ended, or this time is over.
    pub(super) async fn settled(&self, within: std::time::Duration) {
        if timeout(within, self.sets.wait_settled()).await.is_err() {
            tracing::warn!(
                waited_seconds = within.as_secs_f64(),
                "some key sets are not fetched yet; tokens of their issuers fail until they are"
            );
        }
    }
}

fn schedule(config: &KeySourcesConfig) -> Schedule {
    let default = Schedule::default();
    Schedule {
        refresh: config.refresh_interval,
        least_refresh: default.least_refresh.min(config.refresh_interval),
        max_age: config.max_age,
        unknown_kid_interval: config.unknown_kid_interval,
        ..default
    }
}

fn client(config: &KeySourcesConfig) -> Result<Client> {
    let guard = DialGuard { also_blocked: config.blocked_cidrs.clone(), only: None };
    let also_trusted = match &config.ca_certificates {
        Some(file) => certificates(file).context("--jwks-ca-certificates")?,
        None => Vec::new(),
    };
    let settings = config.clients.iter().map(|client| {
        client_settings(client).with_context(|| format!("jwksClients: `{}`", client.issuer))
    });
    Client::new(guard, &also_trusted, settings.collect::<Result<_>>()?)
        .context("set up the client that fetches key sets")
}

fn client_settings(config: &KeySourceClient) -> Result<ClientSettings> {
    let trusted = config.ca_certificates.as_deref().map(certificates).transpose()?;
    let identity = match &config.identity {
        Some((chain, key)) => Some((certificates(chain)?, private_key(key)?)),
        None => None,
    };
    let issuer = config.issuer.as_str().into();
    Ok(ClientSettings { issuer, trusted: trusted.unwrap_or_default(), identity })
}

pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let shown = file.display();
    let pem = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{shown} is no PEM file of certificates"))?;
    anyhow::ensure!(!certificates.is_empty(), "{shown} holds no certificate in PEM form");
    Ok(certificates)
}

pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let shown = file.display();
    let pem = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
    PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("{shown} holds no private key in PEM form"))
}
