//! Where the time of our own server goes: its stages one by one, without a network.

use std::hint::black_box;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message as _;

use crate::app::{self, Running};
use crate::authn::clock::Clock;
use crate::authn::{TokenCache, Verifier};
use crate::config::Config;
use crate::decide;
use crate::extauthz::{CertificateNames, from_check, is_readable};
use crate::gate;
use crate::load::Mix;

use super::own;

/// How long each stage is run. The kernel's account of a thread may be some ms behind.
const ENOUGH: Duration = Duration::from_millis(100);

/// Mean times of one check of the mix.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stages {
    /// From bytes to what policies look at.
    pub(super) read: Duration,
    /// Finding, verifying and taking out tokens; those that were verified before are known again.
    pub(super) tokens: Duration,
    /// Walking the policies.
    pub(super) decide: Duration,
    /// From the decision to bytes, and counting it.
    pub(super) answer: Duration,
}

impl Stages {
    /// In the order of a check.
    pub(super) fn named(&self) -> [(&'static str, Duration); 4] {
        let Self { read, tokens, decide, answer } = *self;
        [("read", read), ("tokens", tokens), ("decide", decide), ("answer", answer)]
    }

    pub(super) fn sum(&self) -> Duration {
        self.named().iter().map(|(_, time)| time).sum()
    }
}

pub(super) fn measure(running: &Running, config: &Config, mix: &Mix) -> Stages {
    let mut sums = [Duration::ZERO; 4];
    let mut weights = 0;
    for question in mix.questions().iter().filter(|question| question.weight > 0) {
        weights += u32::from(question.weight);
        let stages = of_one(running, config, &question.check);
        for (sum, (_, time)) in sums.iter_mut().zip(stages.named()) {
            *sum += time * u32::from(question.weight);
        }
    }
    let [read, tokens, decide, answer] = sums.map(|sum| sum / weights.max(1));
    Stages { read, tokens, decide, answer }
}

fn of_one(running: &Running, config: &Config, check: &CheckRequest) -> Stages {
    let bytes = check.encode_to_vec();
    let settings = app::request_settings(config);
    let certificates = CertificateNames::default();
    let now = Clock::system().unix_seconds();
    let cache = (config.token_cache_size > 0)
        .then(|| TokenCache::new(u64::try_from(config.token_cache_size).unwrap_or(u64::MAX)));
    let verifier = Verifier {
        keys: running.keys.as_ref(),
        cache: cache.as_ref(),
        now,
        max_token_size: settings.max_token_size,
    };
    let snapshot = running.snapshots.load();
    let read = mean(|| is_readable(&bytes, &settings, &certificates));
    let attributes = || from_check(check, &settings, &certificates);
    let reread = mean(attributes);
    let (mut through_gate, mut decide) = (reread, Duration::ZERO);
    if let (Ok(mut asked), Some(plan)) = (attributes(), snapshot.workloads.first()) {
        let passage = gate::pass(plan, &mut asked, &verifier);
        decide = mean(|| decide::decide(plan, &asked, &passage.identity()));
        through_gate =
            mean(|| attributes().map(|mut asked| gate::pass(plan, &mut asked, &verifier).verdict));
    }
    let whole = mean(|| running.authorization.answer_bytes(&bytes));
    let tokens = through_gate.saturating_sub(reread + decide);
    Stages { read, tokens, decide, answer: whole.saturating_sub(read + tokens + decide) }
}

/// Of the time that this thread runs: that it waits while others do is not the stage's doing.
fn mean<T>(mut stage: impl FnMut() -> T) -> Duration {
    // The first may find caches empty.
    drop(black_box(stage()));
    let (begun, ran) = (Instant::now(), own::cpu_of_this_thread());
    let mut times = 0_u32;
    while begun.elapsed() < ENOUGH {
        for _ in 0..16 {
            drop(black_box(stage()));
        }
        times += 16;
    }
    let elapsed = begun.elapsed();
    let ran = own::cpu_of_this_thread().zip(ran).map(|(now, before)| now.saturating_sub(before));
    ran.unwrap_or(elapsed) / times.max(1)
}
