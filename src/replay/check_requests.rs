//! Recorded CheckRequests: the questions themselves, with nothing left out.
//!
//! Reads them, in bytes with their lengths before them or as JSON, and has the service answer them at
//! the time they were asked.

use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::google::protobuf::value::Kind;
use prost::Message as _;

use super::lines::Lines;
use super::tally::{Example, PolicyName, Said};
use crate::authn::KeyLookup;
use crate::authn::clock::Clock;
use crate::control::publish::SnapshotCell;
use crate::extauthz::{AuthorizationService, RequestSettings};
use crate::model::Outcome;
use crate::plan::Snapshot;
use crate::request_file::recorded;

/// Reads messages that each have their length before them, as protobuf's tools write them.
#[derive(Debug)]
pub struct Delimited<R> {
    input: R,
    message: Vec<u8>,
    number: u64,
    read: u64,
}

/// What cannot be read as a CheckRequest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAMessage {
    /// The input ends in the middle of one.
    #[error("ends in the middle of a message")]
    Cut,
    /// A length that no message has; where the next begins is not known.
    #[error("no message has such a length: this is no CheckRequest with its length before it")]
    Length,
    /// Bytes that are no CheckRequest.
    #[error("not a CheckRequest")]
    Form,
    /// JSON that is no CheckRequest, or no JSON.
    #[error("not a CheckRequest in JSON, at column {0}")]
    Json(usize),
}

impl<R: BufRead> Delimited<R> {
    /// From the beginning.
    pub fn new(input: R) -> Self {
        Self { input, message: Vec::new(), number: 0, read: 0 }
    }

    /// The number of the message that was read last, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes were read.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next message; `None` after the last. Nothing can be read after an error.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_message(&mut self) -> io::Result<Option<Result<&[u8], NotAMessage>>> {
        let mut length = 0_usize;
        for place in 0_u32.. {
            let Some(byte) = self.byte()? else {
                return Ok((place > 0).then_some(Err(NotAMessage::Cut)));
            };
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
            if place >= 4 {
                return Ok(Some(Err(NotAMessage::Length)));
            }
        }
        self.number += 1;
        if length > Lines::<()>::MOST {
            return Ok(Some(Err(NotAMessage::Length)));
        }
        self.message.clear();
        let wanted = u64::try_from(length).unwrap_or(u64::MAX);
        let got = self.input.by_ref().take(wanted).read_to_end(&mut self.message)?;
        self.read += u64::try_from(got).unwrap_or(u64::MAX);
        Ok(Some(if got < length { Err(NotAMessage::Cut) } else { Ok(&self.message) }))
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let got = loop {
            match self.input.read(&mut byte) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.read += u64::try_from(got).unwrap_or(u64::MAX);
        let [byte] = byte;
        Ok((got > 0).then_some(byte))
    }
}

/// The bytes of a CheckRequest in protobuf's JSON form. Fields that Postern does not read may be there.
///
/// # Errors
/// It is none; the error says nothing of what it is instead.
pub fn message_of_json(line: &[u8]) -> Result<Vec<u8>, NotAMessage> {
    recorded::bytes_from_json(line).map_err(|error| match error.column() {
        // JSON, and not of that form.
        0 => NotAMessage::Form,
        column => NotAMessage::Json(column),
    })
}

/// Answers recorded CheckRequests by one set of policies.
#[derive(Debug)]
pub struct CheckJudge {
    service: AuthorizationService,
    clock: Clock,
}

/// An answer.
#[derive(Debug)]
pub struct Checked {
    outcome: Outcome,
    reason: &'static str,
    policy: Option<String>,
    rule: Option<u32>,
    check: CheckRequest,
}

impl CheckJudge {
    /// Answers by this snapshot, with these keys; `clock` is for requests that do not say when they
    /// were.
    pub fn new(
        snapshot: Snapshot,
        keys: Arc<dyn KeyLookup + Send + Sync>,
        settings: RequestSettings,
        clock: Clock,
    ) -> Self {
        let (cell, mut publisher) = SnapshotCell::new();
        drop(publisher.publish(Arc::new(snapshot)));
        Self { service: AuthorizationService::new(cell, keys, settings, clock), clock }
    }

    /// The answer to an encoded CheckRequest.
    ///
    /// # Errors
    /// It is none.
    pub fn judge(&self, message: &[u8]) -> Result<Checked, NotAMessage> {
        let check = CheckRequest::decode(message).map_err(|_| NotAMessage::Form)?;
        // Anything at all may look like an empty one.
        let attributes = check.attributes.as_ref().ok_or(NotAMessage::Form)?;
        let request = attributes.request.as_ref();
        let time = request.and_then(|request| request.time.as_ref());
        let seconds = time.and_then(|time| u64::try_from(time.seconds).ok());
        let now = seconds.unwrap_or_else(|| self.clock.unix_seconds());
        let answer = self.service.answer_at(&check, now);
        let fields = answer.response.dynamic_metadata.unwrap_or_default().fields;
        let policy = fields.get("policy").and_then(|value| match &value.kind {
            Some(Kind::StringValue(text)) => Some(text.clone()),
            _ => None,
        });
        let reason = answer.verdict.reason;
        Ok(Checked {
            outcome: reason.outcome(),
            reason: reason.as_str(),
            policy,
            rule: reason.rule().map(|rule| rule.rule),
            check,
        })
    }
}

impl Checked {
    /// What is said.
    pub fn said(&self) -> Said<'_> {
        Said {
            outcome: Some(self.outcome),
            reason: Some(self.reason),
            policy: self.policy.as_deref().map(PolicyName::Whole),
            rule: self.rule,
        }
    }

    /// The request, as the one of that number.
    pub fn example(&self, number: u64) -> Example {
        let attributes = self.check.attributes.as_ref();
        let http = attributes.and_then(|a| a.request.as_ref()?.http.as_ref());
        let source = attributes.and_then(|a| a.source.as_ref());
        let path = http.map(|http| http.path.split(['?', '#']).next().unwrap_or_default());
        Example {
            line: number,
            time: None,
            method: http.map(|http| http.method.clone()),
            host: http.map(|http| http.host.clone()),
            path: path.map(str::to_owned),
            port: None,
            peer: source.map(|s| s.principal.clone()).filter(|name| !name.is_empty()),
            address: None,
        }
    }
}
