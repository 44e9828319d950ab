//! Which decisions are logged: a share of each outcome.
//!
//! Of one trace either all decisions of an outcome are in or none, by the last 56 bits of its id,
//! which are random (W3C trace context, level 2). What belongs to no trace is drawn.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use super::TraceContext;
use crate::model::{Outcome, Verdict};

/// Shares from 0, none, to 1, all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRates {
    /// Of allowed requests.
    pub allow: f64,
    /// Of denied requests.
    pub deny: f64,
    /// Of requests that an AUDIT policy asks for, or that dry-run policies would decide otherwise,
    /// where that is more.
    pub audit: f64,
}

impl Default for SampleRates {
    /// Everything.
    fn default() -> Self {
        Self { allow: 1.0, deny: 1.0, audit: 1.0 }
    }
}

/// Why rates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRate {
    /// Not `name=number`.
    #[error("`{0}` is not a rate, such as `allow=0.01`")]
    Form(String),
    /// Neither of the three.
    #[error("`{0}` is not `allow`, `deny` or `audit`")]
    Name(String),
    /// Not a number from 0 to 1.
    #[error("`{0}` is not a number from 0, none, to 1, all")]
    Number(String),
    /// Twice.
    #[error("`{0}` is there twice")]
    Twice(String),
}

impl SampleRates {
    /// Reads `allow=0.01,deny=1`; what is left out is 1.
    ///
    /// # Errors
    /// Says what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidRate> {
        let mut rates = Self::default();
        let mut seen = Vec::new();
        for pair in text.split(',').map(str::trim) {
            let (name, number) =
                pair.split_once('=').ok_or_else(|| InvalidRate::Form(pair.to_owned()))?;
            let (name, number) = (name.trim(), number.trim());
            let rate = match name {
                "allow" => &mut rates.allow,
                "deny" => &mut rates.deny,
                "audit" => &mut rates.audit,
                _ => return Err(InvalidRate::Name(name.to_owned())),
            };
            if seen.contains(&name) {
                return Err(InvalidRate::Twice(name.to_owned()));
            }
            seen.push(name);
            let parsed = number.parse().ok().filter(|rate| (0.0..=1.0).contains(rate));
            *rate = parsed.ok_or_else(|| InvalidRate::Number(number.to_owned()))?;
        }
        Ok(rates)
    }

    /// The share for a verdict.
    pub(super) fn of(&self, verdict: &Verdict) -> f64 {
        let outcome = verdict.outcome();
        let rate = match outcome {
            Outcome::Allow => self.allow,
            Outcome::Deny => self.deny,
        };
        let would_change = verdict.shadow.is_some_and(|shadow| shadow.outcome() != outcome);
        if verdict.audited_by.is_some() || would_change { rate.max(self.audit) } else { rate }
    }
}

impl std::fmt::Display for SampleRates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { allow, deny, audit } = self;
        write!(f, "allow={allow},deny={deny},audit={audit}")
    }
}

/// How many random values there are.
const RANDOM: u64 = 1 << 56;

/// Whether one is in.
pub(super) fn is_in(rate: f64, trace: Option<&TraceContext>) -> bool {
    if rate >= 1.0 {
        return true;
    }
    let random = trace.map_or_else(draw, |trace| {
        let [.., a, b, c, d, e, f, g] = trace.trace_id.to_be_bytes();
        u64::from_be_bytes([0, a, b, c, d, e, f, g])
    });
    // The higher, the rather: as OpenTelemetry's samplers have it.
    random as f64 >= (1.0 - rate) * RANDOM as f64
}

/// A number below [`RANDOM`].
fn draw() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
    }
    let next = STATE.try_with(|state| {
        // Xorshift (Marsaglia 2003): quick, and as random as a sample needs to be.
        let mut x = state.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        state.set(x);
        x >> 8
    });
    next.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::model::{Reason, RuleId, Shadow};

    fn share(rate: f64, trace: impl Fn(u64) -> Option<TraceContext>) -> f64 {
        const OF: u64 = 100_000;
        let found = (0..OF).filter(|i| is_in(rate, trace(*i).as_ref())).count();
        found as f64 / OF as f64
    }

    #[rstest]
    fn as_many_as_asked_for(#[values(0.0, 0.01, 0.5, 1.0)] rate: f64) {
        assert!((share(rate, |_| None) - rate).abs() < 0.01);
        let traced = |i: u64| {
            let random = RandomState::new().hash_one(i) >> 8;
            let trace_id = u128::from(random) | 1 << 100;
            Some(TraceContext { trace_id, span_id: 1, flags: 1 })
        };
        assert!((share(rate, traced) - rate).abs() < 0.01);
    }

    proptest! {
        /// A trace that is in at one rate is in at every higher one, whoever asks.
        #[test]
        fn one_trace_is_whole(trace_id: u128, lower in 0.0..=1.0, higher in 0.0..=1.0) {
            let trace = TraceContext { trace_id, span_id: 1, flags: 1 };
            prop_assume!(lower <= higher);
            prop_assert!(!is_in(lower, Some(&trace)) || is_in(higher, Some(&trace)));
        }
    }

    #[rstest]
    #[case("allow=0.01", Some("allow=0.01,deny=1,audit=1"))]
    #[case("deny=0, audit=0.5,allow=1", Some("allow=1,deny=0,audit=0.5"))]
    #[case("", None)]
    #[case("0.5", None)]
    #[case("allow=2", None)]
    #[case("allow=-0.1", None)]
    #[case("allow=nan", None)]
    #[case("allow=1%", None)]
    #[case("other=1", None)]
    #[case("allow=1,allow=1", None)]
    fn rates_as_written(#[case] text: &str, #[case] shown: Option<&str>) {
        let rates = SampleRates::parse(text);
        assert_eq!(rates.ok().map(|rates| rates.to_string()).as_deref(), shown);
    }

    #[test]
    fn audits_count_where_they_are_more() {
        let rates = SampleRates { allow: 0.1, deny: 0.2, audit: 0.15 };
        let rule = RuleId { policy: 0, rule: 0 };
        let plain = |reason| Verdict::from_reason(reason);
        assert_eq!(rates.of(&plain(Reason::NoAllowPolicy)), 0.1);
        assert_eq!(rates.of(&plain(Reason::NoAllowRule)), 0.2);
        let audited = |reason| Verdict { audited_by: Some(rule), ..plain(reason) };
        assert_eq!(rates.of(&audited(Reason::NoAllowPolicy)), 0.15);
        assert_eq!(rates.of(&audited(Reason::NoAllowRule)), 0.2);
        let shadow =
            |reason| Some(Shadow { reason, deny_rule: None, allow_rule: None, custom_rule: None });
        let shadowed = |reason| Verdict { shadow: shadow(reason), ..plain(Reason::NoAllowPolicy) };
        assert_eq!(rates.of(&shadowed(Reason::NoAllowPolicy)), 0.1);
        assert_eq!(rates.of(&shadowed(Reason::DenyRule(rule))), 0.15);
    }
}
