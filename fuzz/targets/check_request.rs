//! Every message that is a `CheckRequest` is answered by a whole response: one that leaves
//! something out would allow. Whether it is one, and the answer, are the same by the fast way, from
//! bytes to bytes, as by the slow one.

use std::sync::{Arc, LazyLock};

use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use postern::authn::{NoKeys, clock::Clock};
use postern::compile::{Settings, compile};
use postern::control::publish::SnapshotCell;
use postern::extauthz::{AuthorizationService, RequestSettings};
use postern::manifest::{Options, decode};
use postern::model::{Mesh, Outcome, Workload};
use postern::normalize::PathNormalization;
use prost::Message as _;

static SERVICES: LazyLock<[AuthorizationService; 2]> = LazyLock::new(|| {
    let normal = RequestSettings {
        path_normalization: PathNormalization::DecodeAndMergeSlashes,
        ..RequestSettings::default()
    };
    [service(RequestSettings::default()), service(normal)]
});

fn service(settings: RequestSettings) -> AuthorizationService {
    let decoded = decode(include_str!("policies.yaml"), None, &Options::default());
    assert!(!decoded.has_errors(), "{:?}", decoded.diagnostics);
    let resources: Vec<_> = decoded.accepted().cloned().map(Arc::new).collect();
    let workload = Workload { namespace: "shop".into(), labels: [].into(), ..Workload::default() };
    let plans = Settings { mesh: Mesh::default(), workloads: vec![workload] };
    let (cell, mut publisher) = SnapshotCell::new();
    drop(publisher.publish(Arc::new(compile(7, &resources, &[], &plans))));
    AuthorizationService::new(cell, Arc::new(NoKeys), settings, Clock::system())
}

pub(crate) fn run(data: &[u8]) {
    let Ok(check) = CheckRequest::decode(data) else {
        assert!(SERVICES[0].answer_bytes(data).is_err());
        return;
    };
    for service in &*SERVICES {
        let checked = service.answer(&check);
        let fast = service.answer_bytes(data).expect("it is a request");
        assert_eq!(fast.verdict, checked.verdict);
        let fast = CheckResponse::decode(&*fast.response).expect("a response");
        assert_eq!(fast, checked.response);
        let response = checked.response;
        let code = response.status.expect("a status").code;
        match response.http_response.expect("an HTTP response") {
            HttpResponse::OkResponse(ok) => {
                assert_eq!((code, checked.verdict.outcome()), (0, Outcome::Allow));
                let actions = ok.headers.iter().map(|header| header.append_action);
                assert!(actions.into_iter().all(|action| action == 2), "set, never added");
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_eq!(checked.verdict.outcome(), Outcome::Deny);
                let status = denied.status.expect("an HTTP status").code;
                // Only a path that cannot be normalised is a bad request, and has no body.
                assert!(matches!((code, status), (7, 403) | (16, 401) | (3, 400)));
                assert_eq!(denied.body.is_empty(), status == 400);
            }
            HttpResponse::ErrorResponse(_) => panic!("never sent"),
        }
        let metadata = response.dynamic_metadata.expect("metadata").fields;
        for name in ["decision", "reason", "revision"] {
            assert!(metadata.contains_key(name), "{name}");
        }
    }
}
