//! Of a CheckResponse, what is counted.

use std::fmt;

use bytes::Buf;
use prost::Message;

/// What a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The request may pass. An empty answer is this one too: so Envoy takes it.
    Allow,
    /// The request is denied, with this HTTP status; 0 where none is said, which is 403 to Envoy.
    Deny(u32),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("ALLOW"),
            Self::Deny(0) => f.write_str("DENY"),
            Self::Deny(status) => write!(f, "DENY {status}"),
        }
    }
}

impl Answer {
    pub(super) fn read(message: impl Buf) -> Result<Self, prost::DecodeError> {
        let answer = CheckResponse::decode(message)?;
        let denied = answer.denied_response.and_then(|denied| denied.status);
        Ok(match answer.status {
            None | Some(Code { code: 0 }) => Self::Allow,
            Some(Code { .. }) => {
                let status = denied.map_or(0, |status| status.code);
                Self::Deny(u32::try_from(status).unwrap_or_default())
            }
        })
    }
}

// The messages of Envoy with the fields that matter here: the others are skipped, not read.

#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
    #[prost(message, optional, tag = "2")]
    denied_response: Option<Denied>,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<Code>,
}

/// `google.rpc.Status` and `envoy.type.v3.HttpStatus`.
#[derive(Clone, PartialEq, Message)]
struct Code {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
    use envoy_types::pb::envoy::service::auth::v3::{
        CheckResponse as Full, DeniedHttpResponse, OkHttpResponse,
    };
    use envoy_types::pb::envoy::r#type::v3::HttpStatus;
    use envoy_types::pb::google::rpc::Status;
    use prost::Message as _;
    use rstest::rstest;

    use super::Answer;

    #[rstest]
    #[case::empty(None, None, Answer::Allow)]
    #[case::allowed(Some(0), None, Answer::Allow)]
    #[case::denied(Some(7), Some(403), Answer::Deny(403))]
    #[case::unauthenticated(Some(16), Some(401), Answer::Deny(401))]
    #[case::without_status(Some(7), None, Answer::Deny(0))]
    fn is_what_envoy_makes_of_it(
        #[case] code: Option<i32>,
        #[case] denied: Option<i32>,
        #[case] expected: Answer,
    ) {
        let response = match denied {
            Some(code) => HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code }),
                body: "no".into(),
                ..DeniedHttpResponse::default()
            }),
            None => HttpResponse::OkResponse(OkHttpResponse::default()),
        };
        let full = Full {
            status: code.map(|code| Status { code, ..Status::default() }),
            http_response: Some(response),
            ..Full::default()
        };
        assert_eq!(Answer::read(full.encode_to_vec().as_slice()).unwrap(), expected);
    }
}
