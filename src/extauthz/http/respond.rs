//! A reply as an HTTP response that the proxy understands.
//!
//! `encode` says the same to Envoy over gRPC.

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::super::denial::Refusal;
use super::super::reply::{ACCESS_DENIED, Answer, Reply, Report};
use super::{Flavour, HttpSettings};
use crate::authn::Changes;
use crate::custom::{AppendAction, Consulted, HeaderMutation};
use crate::model::{Http, header_text};
use crate::plan::WorkloadPlan;

/// Headers that Envoy is to take out of the request, of an answer that lets it pass.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";

/// What a proxy is answered.
pub(super) type Answered = Response<Full<Bytes>>;

/// The reply for the proxy that asks.
pub(super) fn response(reply: &Reply<'_>, settings: &HttpSettings) -> Answered {
    let Reply { report, answer, consulted } = reply;
    let flavour = settings.flavour;
    let mut response = match answer {
        Answer::Denied { .. }
            if let Some(denial) = consulted.and_then(|consulted| consulted.denial.as_ref()) =>
        {
            let mut response = refused(flavour, denial.status, &denial.body);
            if denial.headers.iter().any(|header| header.name == CONTENT_TYPE.as_str()) {
                response.headers_mut().remove(CONTENT_TYPE);
            }
            add(&mut response, &denial.headers);
            response
        }
        // It was decided about another request than the upstream would get.
        Answer::Allowed { .. } if consulted.is_some_and(Consulted::changes_target) => {
            tracing::warn!("an extension provider changes what no answer over HTTP can");
            refused(flavour, 403, ACCESS_DENIED)
        }
        Answer::Allowed { http, changes } => allowed(report, *http, changes, settings)
            .unwrap_or_else(|| {
                // A claim may hold what no header can; the request must not pass without it.
                tracing::warn!("a header that a token rule sets has no valid value");
                refused(flavour, 403, ACCESS_DENIED)
            }),
        Answer::Denied { realm, denial } => {
            let Refusal { status, body, headers } =
                Refusal::new(report.verdict, realm.as_ref(), denial);
            let mut response = refused(flavour, status, &body);
            let set = headers.iter().map(|(name, value)| HeaderMutation::set(*name, &**value));
            add(&mut response, &set.collect::<Vec<_>>());
            response
        }
        Answer::BadRequest => refused(flavour, 400, ""),
    };
    if let Some(consulted) = consulted {
        add(&mut response, consulted.response_headers());
    }
    response
}

/// Puts headers in. What no header can hold, which a challenge may be that repeats what the client wrote,
/// is left out, and so is what is between the proxy and Postern.
fn add<'m>(response: &mut Answered, mutations: impl IntoIterator<Item = &'m HeaderMutation>) {
    let headers = response.headers_mut();
    for HeaderMutation { name, value, action } in mutations {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
        else {
            continue;
        };
        let is_ours = [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION].contains(&name)
            || name.as_str() == TO_REMOVE;
        match action {
            _ if is_ours => {}
            AppendAction::Add | AppendAction::Join => {
                headers.append(name, value);
            }
            AppendAction::AddIfAbsent => {
                headers.entry(name).or_insert(value);
            }
            AppendAction::Overwrite => {
                headers.insert(name, value);
            }
            AppendAction::OverwriteIfExists => {
                if headers.contains_key(&name) {
                    headers.insert(name, value);
                }
            }
        }
    }
}

fn refused(flavour: Flavour, status: u16, body: &str) -> Answered {
    let status = match (flavour, status) {
        // nginx takes any other for a failure, and answers 500.
        (Flavour::Nginx, 401 | 403) | (Flavour::Envoy | Flavour::Traefik, _) => status,
        (Flavour::Nginx, _) => 403,
    };
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN);
    let headers = response.headers_mut();
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// `None` where a header cannot be written.
fn allowed(
    report: &Report<'_>,
    http: Option<&Http<'_>>,
    changes: &Changes,
    settings: &HttpSettings,
) -> Option<Answered> {
    let mut response = Response::new(Full::default());
    let headers = response.headers_mut();
    match settings.flavour {
        Flavour::Envoy => {
            let mut removed: Vec<&str> = Vec::new();
            for name in changes.headers() {
                match http.and_then(|http| lines(http, name)) {
                    Some(value) => {
                        headers.insert(name.parse::<HeaderName>().ok()?, value.try_into().ok()?);
                    }
                    None => removed.push(name),
                }
            }
            removed.extend(settings.proxy_header.as_ref().map(HeaderName::as_str));
            if !removed.is_empty() {
                headers.insert(TO_REMOVE, removed.join(",").try_into().ok()?);
            }
        }
        // They replace each header that their configuration names by the one of the answer, be there
        // one or none; so all that a request could have changed are in it, changed or not.
        Flavour::Nginx | Flavour::Traefik => {
            let touched = report.plan.into_iter().flat_map(touched_headers);
            for name in ["authorization"].into_iter().chain(touched).chain(changes.headers()) {
                if let Some(value) = http.and_then(|http| lines(http, name)) {
                    headers.insert(name.parse::<HeaderName>().ok()?, value.try_into().ok()?);
                }
            }
        }
    }
    Some(response)
}

/// The headers that token rules of a workload take out or set, and those that its APIRules set.
fn touched_headers(plan: &WorkloadPlan) -> impl Iterator<Item = &str> {
    let access = || plan.access.iter();
    let headers = access().flat_map(|access| &access.routes).flat_map(|route| &route.plan.headers);
    let rules = plan.jwt.rules.iter().chain(access().flat_map(|access| access.token_rules()));
    let by_tokens = rules.flat_map(|rule| {
        let taken = rule.places.headers.iter().map(|(name, _)| &**name);
        let set = rule.claim_headers.iter().map(|output| &*output.header);
        taken.chain(set).chain(rule.payload_header.as_deref())
    });
    by_tokens.chain(headers.map(|(name, _)| &**name))
}

/// All lines of a header as one; `None` without any.
fn lines(http: &Http<'_>, name: &str) -> Option<String> {
    let values: Vec<_> = http.headers.values(name).map(header_text).collect();
    (!values.is_empty()).then(|| values.join(","))
}
