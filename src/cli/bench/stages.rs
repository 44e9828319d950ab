//! Where the time of our own server goes: its stages one by one, without a network.

use std::hint::black_box;
use std::time::{Duration, Instant, UNIX_EPOCH};

use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use prost::Message as _;

use crate::app::{self, Running};
use crate::authn::clock::Clock;
use crate::authn::{TokenCache, Verifier};
use crate::config::Config;
use crate::decide;
use crate::extauthz::{CertificateNames, from_check};
use crate::gate;
use crate::load::Mix;

/// How long each stage is run, at least.
const ENOUGH: Duration = Duration::from_millis(50);

/// Mean times of one check of the mix.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stages {
    /// From bytes to a message.
    pub(super) decode: Duration,
    /// From the message to what policies look at.
    pub(super) attributes: Duration,
    /// Finding, verifying and taking out tokens; those that were verified before are known again.
    pub(super) tokens: Duration,
    /// Walking the policies.
    pub(super) decide: Duration,
    /// Making the answer, and counting it.
    pub(super) answer: Duration,
    /// From the answer to bytes.
    pub(super) encode: Duration,
}

impl Stages {
    /// In the order of a check.
    pub(super) fn named(&self) -> [(&'static str, Duration); 6] {
        let Self { decode, attributes, tokens, decide, answer, encode } = *self;
        [
            ("decode", decode),
            ("attributes", attributes),
            ("tokens", tokens),
            ("decide", decide),
            ("answer", answer),
            ("encode", encode),
        ]
    }

    pub(super) fn sum(&self) -> Duration {
        self.named().iter().map(|(_, time)| time).sum()
    }
}

pub(super) fn measure(running: &Running, config: &Config, mix: &Mix) -> Stages {
    let mut sums = [Duration::ZERO; 6];
    let mut weights = 0;
    for question in mix.questions().iter().filter(|question| question.weight > 0) {
        weights += u32::from(question.weight);
        let stages = of_one(running, config, &question.check);
        for (sum, (_, time)) in sums.iter_mut().zip(stages.named()) {
            *sum += time * u32::from(question.weight);
        }
    }
    let [decode, attributes, tokens, decide, answer, encode] = sums.map(|sum| sum / weights.max(1));
    Stages { decode, attributes, tokens, decide, answer, encode }
}

fn of_one(running: &Running, config: &Config, check: &CheckRequest) -> Stages {
    let bytes = check.encode_to_vec();
    let settings = app::request_settings(config);
    let certificates = CertificateNames::default();
    let now = Clock::system().now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let cache = (config.token_cache_size > 0)
        .then(|| TokenCache::new(u64::try_from(config.token_cache_size).unwrap_or(u64::MAX)));
    let verifier = Verifier {
        keys: running.keys.as_ref(),
        cache: cache.as_ref(),
        now,
        max_token_size: settings.max_token_size,
    };
    let snapshot = running.snapshots.load();
    let read = || from_check(check, &settings, &certificates);

    let decode = mean(|| CheckRequest::decode(bytes.as_slice()));
    let attributes = mean(read);
    let (mut through_gate, mut decide) = (attributes, Duration::ZERO);
    if let (Ok(mut attributes), Some(plan)) = (read(), snapshot.workloads.first()) {
        let passage = gate::pass(plan, &mut attributes, &verifier);
        decide = mean(|| decide::decide(plan, &attributes, &passage.identity()));
        through_gate = mean(|| {
            read().map(|mut attributes| gate::pass(plan, &mut attributes, &verifier).verdict)
        });
    }
    let whole = mean(|| running.authorization.answer(check));
    let response: CheckResponse = running.authorization.answer(check).response;
    let encode = mean(|| response.encode_to_vec());
    Stages {
        decode,
        attributes,
        tokens: through_gate.saturating_sub(attributes + decide),
        decide,
        answer: whole.saturating_sub(through_gate),
        encode,
    }
}

/// After a first one, which may find caches empty.
fn mean<T>(mut stage: impl FnMut() -> T) -> Duration {
    drop(black_box(stage()));
    let (begun, mut times) = (Instant::now(), 0_u32);
    while begun.elapsed() < ENOUGH {
        for _ in 0..64 {
            drop(black_box(stage()));
        }
        times += 64;
    }
    begun.elapsed() / times.max(1)
}
