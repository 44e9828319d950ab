//! Decisions as they are made, as server-sent events.
//!
//! Which events there are and what they show is the decision log's business.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::{Console, Query, problem};
use crate::model::{Outcome, Reason};
use crate::shutdown::Shutdown;
use crate::telemetry::decision_log::{TapFilter, Watch};

/// Proxies in between close what says nothing for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream ends by then, and whoever goes on has to show a token again.
const LONGEST_WATCH: Duration = Duration::from_mins(15);

/// So many events are sent together, at most.
const BATCH: usize = 64;

/// The longest text that is filtered by.
const LONGEST: usize = 256;

pub(super) async fn decisions(
    State(console): State<Console>,
    RawQuery(query): RawQuery,
) -> Response {
    let filter = match filter(&Query::of(query)) {
        Ok(filter) => filter,
        Err(text) => return problem(StatusCode::BAD_REQUEST, text),
    };
    if console.drain.has_begun() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
    }
    let watch = match console.tap.watch(filter) {
        Ok(watch) => watch,
        Err(error) => {
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, error);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            return response;
        }
    };
    let state = Streaming::new(watch, console.drain);
    let events = stream::unfold(state, |mut state| async move {
        let text = state.next().await?;
        Some((Ok::<_, Infallible>(text), state))
    });
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    // Proxies that collect answers are asked not to.
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(events)).into_response()
}

fn filter(query: &Query) -> Result<TapFilter, String> {
    for (name, value) in &query.0 {
        let is_known =
            matches!(name.as_str(), "outcome" | "reason" | "policy" | "workload" | "pathPrefix");
        if !is_known {
            return Err(format!(
                "`{name}` is no filter: there are outcome, reason, policy, workload and pathPrefix"
            ));
        }
        if value.len() > LONGEST {
            return Err(format!("`{name}` is longer than {LONGEST} bytes"));
        }
    }
    let text = |name: &str| query.value(name).map(str::to_owned);
    let outcome = match query.value("outcome") {
        None => None,
        Some("allow") => Some(Outcome::Allow),
        Some("deny") => Some(Outcome::Deny),
        Some(_) => return Err("`outcome` is allow or deny".to_owned()),
    };
    let reason = text("reason");
    if let Some(reason) = &reason
        && !Reason::LABELS.contains(&reason.as_str())
    {
        return Err(format!("`reason` is one of {}", Reason::LABELS.join(", ")));
    }
    let path_prefix = text("pathPrefix");
    Ok(TapFilter {
        outcome,
        reason,
        policy: text("policy"),
        workload: text("workload"),
        path_prefix,
    })
}

struct Streaming {
    watch: Watch,
    ticks: Interval,
    drain: Shutdown,
    ends: Instant,
    /// How many lost events were told of.
    told: u64,
    has_ended: bool,
}

impl Streaming {
    fn new(watch: Watch, drain: Shutdown) -> Self {
        let mut ticks = interval(KEEP_ALIVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ends = Instant::now() + LONGEST_WATCH;
        Self { watch, ticks, drain, ends, told: 0, has_ended: false }
    }

    /// What comes next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.has_ended {
            return None;
        }
        let mut text = Vec::new();
        tokio::select! {
            biased;
            () = self.drain.begun() => {
                self.has_ended = true;
                text.extend_from_slice(b"event: end\ndata: shutting down\n\n");
            }
            () = sleep_until(self.ends) => {
                self.has_ended = true;
                text.extend_from_slice(b"event: end\ndata: ask again\n\n");
            }
            event = self.watch.next() => {
                write(&mut text, &event?);
                for _ in 1..BATCH {
                    let Some(event) = self.watch.waiting() else { break };
                    write(&mut text, &event);
                }
            }
            // The first one comes at once: whoever asks knows that it watches.
            _ = self.ticks.tick() => text.extend_from_slice(b": here\n\n"),
        }
        let dropped = self.watch.dropped();
        if dropped > self.told {
            self.told = dropped;
            text.extend_from_slice(format!("event: dropped\ndata: {dropped}\n\n").as_bytes());
        }
        Some(text.into())
    }
}

/// A line of JSON has no other end of line in it.
fn write(text: &mut Vec<u8>, line: &[u8]) {
    text.extend_from_slice(b"event: decision\ndata: ");
    text.extend_from_slice(line.trim_ascii_end());
    text.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::clock::Clock;
    use crate::telemetry::decision_log::{Redaction, Tap};

    /// Paused time goes on where nobody else has anything to do.
    #[tokio::test(start_paused = true)]
    async fn a_stream_is_kept_alive_and_ends_before_tokens_are_long_forgotten() {
        let tap = Tap::new(Redaction::default(), Clock::system(), 1);
        let watch = tap.watch(TapFilter::default()).unwrap();
        let mut streaming = Streaming::new(watch, Shutdown::default());
        let began = Instant::now();
        let mut alive = 0;
        let last = loop {
            let text = streaming.next().await.unwrap();
            if &*text != b": here\n\n" {
                break text;
            }
            alive += 1;
        };
        assert_eq!(&*last, b"event: end\ndata: ask again\n\n");
        assert_eq!(began.elapsed(), LONGEST_WATCH);
        assert_eq!(alive, LONGEST_WATCH.as_secs() / KEEP_ALIVE.as_secs());
        assert!(streaming.next().await.is_none());
        drop(streaming);
        assert!(!tap.is_watched());
    }
}
