//! Policies in force, and what everything that decides says to a request.

use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use postern::app;
use postern::extauthz::{CertificateNames, from_check};
use postern::request_file::RequestFile;
use postern::telemetry::logging::{LogFilter, LogLevel};
use serde_json::{Map, Value as Json, json};
use tokio::net::TcpStream;

use crate::engines::{self, Engines};
use postern::case_file::Answer;

/// A Postern for a workload in the namespace `foo`.
pub(crate) struct Scene {
    pub(crate) engines: Engines,
    folder: tempfile::TempDir,
}

impl Scene {
    /// With these policies: YAML, any number of documents.
    pub(crate) async fn of(policies: &str) -> Self {
        Self::with(json!({}), policies).await
    }

    /// The same, with settings as in a `--config` file.
    pub(crate) async fn with(settings: Json, policies: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = in_folder(&folder, settings, policies);
        Self { engines: Engines::start(&[], &settings).await, folder }
    }

    /// Puts other policies in the place of those in force, as an editor does.
    pub(crate) fn rewrite(&self, policies: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, policies).unwrap();
        fs::rename(new, self.folder.path().join("policies.yaml")).unwrap();
    }

    /// Everything that decides gives these answers, such as `deny deny_rule foo/name rule 0`.
    pub(crate) async fn says(&self, expected: &[(&str, &str)]) {
        for (request, expect) in expected {
            let answers = self.engines.answers(&read(request)).await;
            assert!(answers.len() > 1);
            for (engine, answer) in answers {
                assert_eq!(shown(&answer), *expect, "{engine}: {request}");
            }
        }
    }

    /// The same of a message as Envoy sends it.
    pub(crate) async fn says_to(&self, check: CheckRequest, expect: &str) {
        let names = CertificateNames::default();
        let attributes = from_check(&check, &self.engines.settings, &names);
        for (engine, answer) in self.engines.decide(&attributes, None) {
            assert_eq!(shown(&answer), expect, "{engine}: {check:?}");
        }
        assert_eq!(self.serves(check.clone()).await, expect, "over gRPC: {check:?}");
    }

    /// What the server alone says: where keys are fetched, say.
    pub(crate) async fn serves(&self, check: CheckRequest) -> String {
        shown(&engines::answer_of(&self.ask(check).await))
    }

    /// The whole response.
    pub(crate) async fn ask(&self, check: CheckRequest) -> CheckResponse {
        self.engines.ask(check).await
    }

    /// What Envoy asks about this request.
    pub(crate) fn check_request(&self, request: &str) -> CheckRequest {
        self.engines.check_request(&read(request))
    }

    /// An admin endpoint's answer.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let address = self.engines.running.admin_addr;
        get(address.to_string(), path, &address.to_string()).await
    }

    /// Returns once every key source was asked.
    pub(crate) async fn until_ready(&self) {
        soon(async { while self.get("/readyz").await.0 != StatusCode::OK {} }).await;
    }

    /// Asks until the server says so.
    pub(crate) async fn until_serves(&self, request: &str, expect: &str) {
        let check = self.check_request(request);
        let until = async { while self.serves(check.clone()).await != expect {} };
        soon(until).await;
    }
}

/// Ends with the test's failure, should something never happen.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

/// One GET request with this `Host`.
pub(crate) async fn get(address: String, path: &str, host: &str) -> (StatusCode, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = axum::http::Request::get(path).header("host", host);
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Why a Postern with these policies does not start.
pub(crate) async fn refusal(policies: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let settings = in_folder(&folder, json!({}), policies);
    let config = engines::config(folder.path(), &settings);
    let started = app::start(config, LogLevel::detached(LogFilter::default())).await;
    format!("{:#}", started.unwrap_err())
}

/// The HTTP part of a message.
pub(crate) fn http(check: &mut CheckRequest) -> &mut HttpRequest {
    let attributes = check.attributes.as_mut().unwrap();
    attributes.request.as_mut().unwrap().http.as_mut().unwrap()
}

/// Turns a message into what Envoy sends without `encode_raw_headers`: lines of one name joined,
/// bytes that are not UTF-8 replaced.
pub(crate) fn without_raw_headers(check: &mut CheckRequest) {
    let http = http(check);
    for line in http.header_map.take().unwrap().headers {
        let mut value = String::new();
        for chunk in line.raw_value.utf8_chunks() {
            value.push_str(chunk.valid());
            value.extend(chunk.invalid().iter().map(|_| '!'));
        }
        http.headers
            .entry(line.key)
            .and_modify(|joined| *joined = format!("{joined},{value}"))
            .or_insert(value);
    }
}

fn in_folder(folder: &tempfile::TempDir, settings: Json, policies: &str) -> Map<String, Json> {
    fs::write(folder.path().join("policies.yaml"), policies).unwrap();
    let Json::Object(mut settings) = settings else { panic!("settings are an object") };
    let path = |name: &str| Path::to_str(&folder.path().join(name)).unwrap().to_owned();
    settings.insert("policies".into(), path("policies.yaml").into());
    settings
}

fn read(request: &str) -> RequestFile {
    RequestFile::read(request, None).unwrap_or_else(|found| panic!("{request}: {found:?}"))
}

fn shown(answer: &Answer) -> String {
    answer.to_string().replace("AuthorizationPolicy/", "")
}
