//! Providers that speak gRPC: `envoy.service.auth.v3.Authorization/Check`.
//!
//! What an answer means is read as Envoy's client reads it; what comes of it is `consult`'s job.

use std::error::Error;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::answer::{Allowance, Answer, AppendAction, Denial, Failure, HeaderMutation, Trouble};
use crate::outbound::{Linker, OutboundError};

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 1 << 20;

/// One connection, made when it is needed and made again when it is gone.
#[derive(Debug, Clone)]
pub(super) struct GrpcClient(AuthorizationClient<Channel>);

impl GrpcClient {
    /// Must be called on the runtime that is to keep the connection.
    pub(super) fn new(authority: http::Uri, linker: Linker) -> Self {
        let channel = Endpoint::from(authority)
            // A provider that is gone without a word is noticed.
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .connect_with_connector_lazy(linker);
        let client = AuthorizationClient::new(channel).max_decoding_message_size(ANSWER_LIMIT);
        Self(client)
    }

    pub(super) async fn ask(
        &self,
        check: CheckRequest,
        within: Duration,
    ) -> Result<CheckResponse, Trouble> {
        let mut request = Request::new(check);
        request.set_timeout(within);
        let answer = self.0.clone().check(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| {
            let trouble = trouble(&status);
            tracing::debug!(error = describe(&status), trouble = trouble.as_str(), "no answer");
            trouble
        })
    }
}

fn trouble(status: &Status) -> Trouble {
    let mut source = status.source();
    while let Some(error) = source {
        match error.downcast_ref::<OutboundError>() {
            Some(OutboundError::Timeout(_)) => return Trouble::Timeout,
            Some(_) => return Trouble::Unreachable,
            None => source = error.source(),
        }
    }
    if status.code() == Code::DeadlineExceeded {
        Trouble::Timeout
    } else if status.source().is_some() {
        Trouble::Transport
    } else {
        Trouble::Server
    }
}

/// The innermost cause, which names hosts and no more; never what the provider wrote.
fn describe(status: &Status) -> String {
    let mut source = status.source();
    let mut innermost = format!("status {:?}", status.code());
    while let Some(error) = source {
        innermost = error.to_string();
        source = error.source();
    }
    innermost
}

/// What a response means. `failed` makes the failure of a provider that says it has one.
pub(super) fn read(response: CheckResponse, failed: impl FnOnce() -> Failure) -> Answer {
    let is_ok = response.status.as_ref().is_none_or(|status| status.code == i32::from(Code::Ok));
    let metadata = match &response.http_response {
        // Where it is there it counts.
        #[expect(deprecated, reason = "who still sets it means it")]
        Some(HttpResponse::OkResponse(OkHttpResponse { dynamic_metadata: Some(own), .. })) => {
            Some(own.clone())
        }
        Some(
            HttpResponse::OkResponse(_)
            | HttpResponse::DeniedResponse(_)
            | HttpResponse::ErrorResponse(_),
        )
        | None => response.dynamic_metadata,
    };
    let metadata = metadata.unwrap_or_default();
    match (is_ok, response.http_response) {
        (true, Some(HttpResponse::OkResponse(ok))) => {
            Answer::Allowed(Box::new(Allowance { metadata, ..allowance(ok) }))
        }
        (true, Some(HttpResponse::DeniedResponse(_) | HttpResponse::ErrorResponse(_)) | None) => {
            Answer::Allowed(Box::new(Allowance { metadata, ..Allowance::default() }))
        }
        (false, Some(HttpResponse::ErrorResponse(error))) => {
            let mut failure = failed();
            let denial = denial(error, failure.denial.status);
            failure.denial = Denial { metadata, ..denial };
            Answer::Failed(Box::new(failure))
        }
        (false, Some(HttpResponse::DeniedResponse(denied))) => {
            Answer::Denied(Box::new(Denial { metadata, ..denial(denied, 403) }))
        }
        (false, Some(HttpResponse::OkResponse(_)) | None) => {
            Answer::Denied(Box::new(Denial { metadata, ..Denial::of_status(403) }))
        }
    }
}

fn allowance(ok: OkHttpResponse) -> Allowance {
    Allowance {
        headers: request_headers(ok.headers),
        headers_to_remove: ok.headers_to_remove.iter().map(|n| n.to_ascii_lowercase()).collect(),
        query_parameters_to_set: ok
            .query_parameters_to_set
            .into_iter()
            .map(|parameter| (parameter.key, parameter.value))
            .collect(),
        query_parameters_to_remove: ok.query_parameters_to_remove,
        response_headers: mutations(ok.response_headers_to_add),
        metadata: Default::default(),
    }
}

fn denial(denied: DeniedHttpResponse, usual_status: u16) -> Denial {
    let status = denied.status.and_then(|status| u16::try_from(status.code).ok());
    Denial {
        status: status.filter(|status| *status > 0).unwrap_or(usual_status),
        headers: mutations(denied.headers),
        body: denied.body,
        metadata: Default::default(),
    }
}

/// Of request headers, Envoy looks at `append` alone: without it, a header is replaced, whatever
/// `append_action` says.
fn request_headers(options: Vec<HeaderValueOption>) -> Vec<HeaderMutation> {
    let mut mutations = mutations(options);
    for mutation in &mut mutations {
        if mutation.action != AppendAction::Join {
            mutation.action = AppendAction::Overwrite;
        }
    }
    mutations
}

fn mutations(options: Vec<HeaderValueOption>) -> Vec<HeaderMutation> {
    options.into_iter().filter_map(mutation).collect()
}

/// Nothing where there is no header in it: there is nothing to change.
fn mutation(option: HeaderValueOption) -> Option<HeaderMutation> {
    let header = option.header?;
    #[expect(deprecated, reason = "who still sets it means it")]
    let append = option.append;
    let action = match append {
        Some(append) if append.value => AppendAction::Join,
        Some(_) => AppendAction::Overwrite,
        None => match HeaderAppendAction::try_from(option.append_action) {
            Ok(HeaderAppendAction::AppendIfExistsOrAdd) => AppendAction::Add,
            Ok(HeaderAppendAction::AddIfAbsent) => AppendAction::AddIfAbsent,
            Ok(HeaderAppendAction::OverwriteIfExists) => AppendAction::OverwriteIfExists,
            // As Envoy takes one that it does not know.
            Ok(HeaderAppendAction::OverwriteIfExistsOrAdd) | Err(_) => AppendAction::Overwrite,
        },
    };
    Some(HeaderMutation { name: header.key.to_ascii_lowercase(), value: header.value, action })
}
