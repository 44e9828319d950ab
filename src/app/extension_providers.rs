//! The extension providers as configured, and what is counted of them.

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use anyhow::{Context as _, Result};

use super::key_sources::{certificates, private_key};
use crate::config::{Config, ProviderReach, ProviderTls};
use crate::custom::{CircuitState, ExtensionProvider, Observation, Providers, Reach};
use crate::outbound::{DialGuard, Place, Trust};
use crate::telemetry::metrics::{ExtensionProviderSample, Metrics};

/// What a provider's answers are counted as.
const RESULTS: [&str; 4] = ["allow", "deny", "error", "fail_open"];

/// `None` where there are none. Connects to nobody yet; fails where a file cannot be used.
pub(super) fn open(config: &Config, metrics: &Metrics) -> Result<Option<Arc<Providers>>> {
    let configured = &config.extension_providers.providers;
    if configured.is_empty() {
        return Ok(None);
    }
    let sampled: Arc<OnceLock<Weak<Providers>>> = Arc::default();
    let counters = metrics.extension_providers({
        let sampled = sampled.clone();
        move || {
            let providers = sampled.get().and_then(Weak::upgrade);
            providers.map(|providers| samples(&providers)).unwrap_or_default()
        }
    });
    for (provider, _) in configured {
        counters.expect(&provider.name, &RESULTS);
    }
    let reached = configured.iter().map(|(provider, reach)| {
        let reach = reached(provider, reach)
            .with_context(|| format!("extensionProviderClients: `{}`", provider.name))?;
        Ok((provider.clone(), reach))
    });
    let observer = Box::new(move |Observation { provider, answer, elapsed }: Observation<'_>| {
        counters.answered(provider, answer.as_str(), elapsed);
    });
    let providers = Providers::new(
        reached.collect::<Result<_>>()?,
        &DialGuard::default(),
        config.client_address_header.clone(),
        observer,
    );
    let providers = providers
        .map_err(|(name, error)| anyhow::Error::new(error).context(format!("provider `{name}`")))?;
    let providers = Arc::new(providers);
    // Set once, here.
    drop(sampled.set(Arc::downgrade(&providers)));
    Ok(Some(providers))
}

fn samples(providers: &Providers) -> Vec<ExtensionProviderSample> {
    let sample = |status: crate::custom::ProviderStatus| ExtensionProviderSample {
        name: status.name.to_string(),
        states: CircuitState::ALL.map(|state| (state.as_str(), state == status.circuit)).to_vec(),
        under_way: status.under_way,
    };
    providers.status().into_iter().map(sample).collect()
}

fn reached(provider: &ExtensionProvider, reach: &ProviderReach) -> Result<Reach> {
    let ProviderReach { place, tls, circuit } = reach;
    let tls = tls.as_ref().map(|tls| {
        let ProviderTls { ca_certificates, server_name, identity } = tls;
        let read = |file: &std::path::PathBuf| certificates(Path::new(file));
        let identity = match identity {
            Some((chain, key)) => Some((certificates(chain)?, private_key(key)?)),
            None => None,
        };
        let trusted = ca_certificates.as_ref().map(read).transpose()?.unwrap_or_default();
        let name = match (server_name, place) {
            (Some(name), _) => name.clone(),
            (None, Place::Host(host, _)) => host.clone(),
            (None, Place::Unix(_)) => provider.host.clone(),
        };
        anyhow::Ok((Trust { trusted, identity }, name))
    });
    Ok(Reach { place: place.clone(), tls: tls.transpose()?, circuit: circuit.clone() })
}
