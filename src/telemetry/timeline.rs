//! When the stages of one decision ended, and what of the request a span shows.
//!
//! Kept only while spans are exported; making them is `otlp`'s job.

use std::time::{Duration, Instant, SystemTime};

use super::decision_log::TraceContext;
use crate::model::{Attributes, Reason};
use crate::plan::WorkloadPlan;

/// What is done for one request, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes to attributes.
    Decode,
    /// Finding and verifying tokens, after what is decided before them.
    Tokens,
    /// Holding the request against the policies.
    Decide,
    /// The answer in bytes.
    Encode,
}

impl Stage {
    /// The name of its span.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Tokens => "tokens",
            Self::Decide => "decide",
            Self::Encode => "encode",
        }
    }
}

/// The stages of one decision, and whose it is.
#[derive(Debug)]
pub struct Timeline {
    /// When it began.
    pub started: SystemTime,
    origin: Instant,
    /// Each stage that was reached, and when it ended after the beginning.
    ended: Vec<(Stage, Duration)>,
    /// Whose span it is below.
    pub parent: Option<TraceContext>,
    /// `tracestate`, for whoever the trace belongs to.
    pub trace_state: Option<String>,
    /// `http.request.method`
    pub method: Option<String>,
    /// `url.path`: without query.
    pub path: Option<String>,
    /// `namespace/name` of the policy that decided, and its rule.
    pub rule: Option<(String, u32)>,
}

impl Timeline {
    /// Begins now, which `now` names.
    pub fn begin(now: SystemTime) -> Self {
        Self {
            started: now,
            origin: Instant::now(),
            ended: Vec::with_capacity(4),
            parent: None,
            trace_state: None,
            method: None,
            path: None,
            rule: None,
        }
    }

    /// A stage ends now.
    pub fn end(&mut self, stage: Stage) {
        self.ended.push((stage, self.origin.elapsed()));
    }

    /// Each stage, from when to when.
    pub fn stages(&self) -> impl Iterator<Item = (Stage, Duration, Duration)> {
        let begins = std::iter::once(Duration::ZERO).chain(self.ended.iter().map(|(_, end)| *end));
        self.ended.iter().zip(begins).map(|((stage, end), begin)| (*stage, begin, *end))
    }

    /// How long it has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Whose request it is.
    pub fn note_request(&mut self, attributes: &Attributes<'_>) {
        let Some(http) = &attributes.http else { return };
        self.parent = TraceContext::of(&http.headers);
        let state = http.headers.first("tracestate").filter(|_| self.parent.is_some());
        self.trace_state = state.and_then(|state| str::from_utf8(state).ok()).map(str::to_owned);
        self.method = Some(http.method.to_string());
        self.path = Some(http.path_without_query().to_owned());
    }

    /// Which rule decided.
    pub fn note_rule(&mut self, plan: &WorkloadPlan, reason: Reason) {
        let api_rule = reason.access_rule().and_then(|rule| {
            let [namespace, name] = plan.api_rule(rule)?;
            Some((format!("{namespace}/{name}"), rule.rule))
        });
        self.rule = api_rule.or_else(|| {
            reason.rule().and_then(|rule| {
                let metadata = &plan.policy(rule)?.metadata;
                Some((format!("{}/{}", metadata.namespace, metadata.name), rule.rule))
            })
        });
    }
}
