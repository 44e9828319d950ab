//! W3C trace context (<https://www.w3.org/TR/trace-context/>): which trace a request belongs to.
//!
//! Reads `traceparent`; `tracestate` is passed on unread by who makes spans.

use std::fmt;

use crate::model::Headers;

/// What `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// `trace-id`, never 0.
    pub trace_id: u128,
    /// `parent-id`: the caller's span, never 0.
    pub span_id: u64,
    /// `trace-flags`
    pub flags: u8,
}

impl TraceContext {
    /// Of a request; `None` without exactly one `traceparent`, or where it is malformed: the
    /// specification asks to start anew then.
    pub fn of(headers: &Headers<'_>) -> Option<Self> {
        let mut lines = headers.values("traceparent");
        let line = lines.next().filter(|_| lines.next().is_none())?;
        Self::parse(line)
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (version, rest) = text.split_first_chunk::<2>()?;
        let version = hexadecimal(version)?;
        let (first, rest) = rest.split_first()?;
        let (trace_id, rest) = rest.split_first_chunk::<32>()?;
        let (second, rest) = rest.split_first()?;
        let (span_id, rest) = rest.split_first_chunk::<16>()?;
        let (third, rest) = rest.split_first()?;
        let (flags, rest) = rest.split_first_chunk::<2>()?;
        // Later versions may have more behind another dash.
        let is_whole = if version == 0 { rest.is_empty() } else { matches!(rest, [] | [b'-', ..]) };
        let is_framed = [first, second, third].iter().all(|byte| **byte == b'-');
        let trace_id = hexadecimal(trace_id).filter(|id| *id != 0)?;
        let span_id = hexadecimal(span_id).filter(|id| *id != 0)?;
        (is_whole && is_framed && version != 0xff).then_some(Self {
            trace_id,
            span_id: u64::try_from(span_id).ok()?,
            flags: u8::try_from(hexadecimal(flags)?).ok()?,
        })
    }

    /// Whether the caller records its part of the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 != 0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Digits in lower case only, as the specification has them.
fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn shows_as_it_came() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(context.to_string(), GOOD);
        assert!(context.is_sampled());
    }

    #[rstest]
    #[case::later_version("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true)]
    #[case::empty("", false)]
    #[case::version_ff("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false)]
    #[case::more("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-", false)]
    #[case::more_unframed("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x", false)]
    #[case::no_trace("00-00000000000000000000000000000000-b7ad6b7169203331-01", false)]
    #[case::no_span("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false)]
    #[case::upper_case("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false)]
    #[case::no_dash("00-0af7651916cd43dd8448eb211c80319cxb7ad6b7169203331-01", false)]
    #[case::short("00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01", false)]
    fn odd_ones(#[case] text: &str, #[case] is_good: bool) {
        assert_eq!(TraceContext::parse(text.as_bytes()).is_some(), is_good);
    }

    #[test]
    fn of_two_lines_none_is_believed() {
        let line = || ("traceparent".into(), GOOD.as_bytes().into());
        assert!(TraceContext::of(&Headers::new(vec![line()], false)).is_some());
        assert!(TraceContext::of(&Headers::new(vec![line(), line()], false)).is_none());
    }
}
