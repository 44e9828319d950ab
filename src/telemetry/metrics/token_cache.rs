//! What is shown of the cache of verified tokens.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// What a cache did since it is there, and holds.
#[derive(Debug, Clone, Copy)]
pub struct TokenCacheSample {
    /// Lookups that spared a verification.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Of the misses, those whose signature was known to be bad.
    pub rejections: u64,
    /// Tokens held.
    pub entries: u64,
    /// Bytes they take.
    pub bytes: u64,
}

pub(super) struct TokenCacheCollector {
    pub(super) read: Box<dyn Fn() -> TokenCacheSample + Send + Sync>,
}

impl fmt::Debug for TokenCacheCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCacheCollector").finish_non_exhaustive()
    }
}

impl Collector for TokenCacheCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let sample = (self.read)();
        let mut family = encoder.encode_descriptor(
            "token_cache_lookups",
            "Lookups of tokens among those verified before.",
            None,
            MetricType::Counter,
        )?;
        let misses = sample.misses.saturating_sub(sample.rejections);
        let lookups = [("hit", sample.hits), ("miss", misses), ("rejected", sample.rejections)];
        for (result, count) in lookups {
            let labels = [("result", result)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let entries = encoder.encode_descriptor(
            "token_cache_entries",
            "Verified tokens held.",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::try_from(sample.entries).unwrap_or(i64::MAX)).encode(entries)?;
        let size = encoder.encode_descriptor(
            "token_cache_size",
            "Memory that verified tokens take.",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::try_from(sample.bytes).unwrap_or(i64::MAX)).encode(size)
    }
}
