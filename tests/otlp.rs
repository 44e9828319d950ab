//! Spans and events of the built binary, as a receiver of OTLP gets them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

mod blackbox;
#[path = "blackbox/served.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod served;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::routing::post;
use blackbox::Folder;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use rstest::rstest;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use served::Server;

const SHOP: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: readers, namespace: shop}
spec:
  rules:
  - to: [{operation: {paths: ["/orders*"]}}]
"#;

const REQUEST: &str = "{path: /orders/7?token=s3cret, headers: {tracestate: 'a=1,b=2', \
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01}}";

/// What was received.
#[derive(Debug, Clone, Default)]
struct Receiver {
    traces: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    logs: Arc<Mutex<Vec<ExportLogsServiceRequest>>>,
    tokens: Arc<Mutex<Vec<String>>>,
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let token = request.metadata().get("x-token").map(|t| t.to_str().unwrap().to_owned());
        self.tokens.lock().unwrap().extend(token);
        self.traces.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.logs.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

impl Receiver {
    /// Speaks gRPC; where it listens.
    async fn grpc() -> (Self, String) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(receiver.clone()))
            .add_service(LogsServiceServer::new(receiver.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (receiver, endpoint)
    }

    /// Speaks HTTP with protobuf; where it listens.
    async fn http() -> (Self, String) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let traces = receiver.traces.clone();
        let take = move |body: Bytes| async move {
            traces.lock().unwrap().push(ExportTraceServiceRequest::decode(body).unwrap());
        };
        let router = axum::Router::new().route("/v1/traces", post(take));
        tokio::spawn(axum::serve(listener, router).into_future());
        (receiver, endpoint)
    }

    fn spans(&self) -> Vec<Span> {
        let traces = self.traces.lock().unwrap();
        let resources = traces.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|r| &r.scope_spans).flat_map(|s| s.spans.clone()).collect()
    }
}

fn text<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{name} is {other:?}"),
    }
}

async fn server(arguments: &[&str], variables: &[(&str, &str)]) -> Server {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    Server::start_with(&folder, arguments, variables).await
}

#[rstest]
#[case::grpc("grpc")]
#[case::http("http/protobuf")]
#[tokio::test]
async fn a_decision_is_a_span_below_the_callers(#[case] protocol: &str) {
    let (receiver, endpoint) = match protocol {
        "grpc" => Receiver::grpc().await,
        _ => Receiver::http().await,
    };
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=t0k3n"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
    ];
    let server = server(&[], &variables).await;
    server.check(REQUEST).await;
    drop(server.ended().await);

    let spans = receiver.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        ["decode", "tokens", "decide", "encode", "envoy.service.auth.v3.Authorization/Check"]
    );
    let (check, stages) = spans.split_last().unwrap();
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    assert!(spans.iter().all(|span| span.trace_id == trace));
    assert_eq!(check.parent_span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(check.trace_state, "a=1,b=2");
    assert!(stages.iter().all(|stage| stage.parent_span_id == check.span_id));
    let times: Vec<_> =
        stages.iter().map(|s| (s.start_time_unix_nano, s.end_time_unix_nano)).collect();
    assert!(times.windows(2).all(|pair| pair[0].1 == pair[1].0), "{times:?}");
    assert_eq!(times[0].0, check.start_time_unix_nano);
    assert!(times[3].1 <= check.end_time_unix_nano);
    let attribute = |name| text(&check.attributes, name);
    assert_eq!(attribute("postern.outcome"), "allow");
    assert_eq!(attribute("postern.policy"), "shop/readers");
    assert_eq!(attribute("url.path"), "/orders/7");
    let resource = receiver.traces.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "postern");
    assert_eq!(text(&resource.attributes, "deployment.environment"), "test");
    assert!(!format!("{:?}", receiver.traces).contains("s3cret"));
    if protocol == "grpc" {
        assert_eq!(*receiver.tokens.lock().unwrap(), ["t0k3n"]);
    }
}

#[rstest]
#[case::caller_does_not_sample(REQUEST.replace("31-01", "31-00"), &[])]
#[case::sampler_says_no("{path: /orders}".to_owned(), &[("OTEL_TRACES_SAMPLER", "always_off")])]
#[case::disabled(REQUEST.to_owned(), &[("OTEL_SDK_DISABLED", "true")])]
#[case::no_exporter(REQUEST.to_owned(), &[("OTEL_TRACES_EXPORTER", "none")])]
#[tokio::test]
async fn no_spans(#[case] request: String, #[case] others: &[(&str, &str)]) {
    let (receiver, endpoint) = Receiver::grpc().await;
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_SERVICE_NAME", "gate"),
    ];
    variables.extend(others);
    let server = server(&[], &variables).await;
    server.check(&request).await;
    drop(server.ended().await);
    assert_eq!(receiver.spans(), []);
}

#[tokio::test]
async fn decisions_are_log_records() {
    let (receiver, endpoint) = Receiver::grpc().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_SERVICE_NAME", "gate"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ];
    let server = server(&["--decision-log", "otlp"], &variables).await;
    for _ in 0..3 {
        server.check(REQUEST).await;
    }
    assert!(server.ended().await.is_empty());
    let logs = receiver.logs.lock().unwrap();
    let resources: Vec<_> = logs.iter().flat_map(|request| &request.resource_logs).collect();
    let resource = resources[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "gate");
    let scopes = resources.iter().flat_map(|resource| &resource.scope_logs);
    let records: Vec<_> = scopes.flat_map(|scope| &scope.log_records).collect();
    assert_eq!(records.len(), 3);
    let record = records[0];
    assert_eq!(record.event_name, "postern.decision");
    assert_eq!(record.span_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert_eq!(text(&record.attributes, "postern.reason"), "allow_rule");
    assert_eq!(text(&record.attributes, "url.path"), "/orders/7");
    assert!(receiver.spans().is_empty());
}

/// Nobody listens there: decisions do not wait, and neither does the end.
#[tokio::test]
async fn without_a_receiver_nothing_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let server = server(&["--decision-log", "otlp"], &variables).await;
    server.check(REQUEST).await;
    let ended = tokio::time::timeout(Duration::from_secs(30), server.ended()).await;
    assert!(ended.is_ok());
}

#[rstest]
#[case("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "`http/json` is not `grpc` or `http/protobuf`")]
#[case("OTEL_EXPORTER_OTLP_ENDPOINT", "user:s3cret@host", "not a URL, such as")]
#[case("OTEL_EXPORTER_OTLP_ENDPOINT", "https://u:s3cret@host", "TLS is spoken with gRPC only")]
#[case("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "`soon` is not a number of milliseconds")]
#[case("OTEL_TRACES_SAMPLER", "sometimes", "`sometimes` is not one of")]
#[case("OTEL_TRACES_SAMPLER", "traceidratio", "`` is not a number from 0 to 1")]
#[case("OTEL_TRACES_EXPORTER", "zipkin", "`zipkin` is not `otlp` or `none`")]
#[case("OTEL_EXPORTER_OTLP_HEADERS", "s3cret\n=\u{1}", "")]
fn what_no_exporter_can_do_is_an_error(
    #[case] name: &str,
    #[case] value: &str,
    #[case] expected: &str,
) {
    let folder = Folder::new();
    folder.file("policies/shop.yaml", SHOP);
    let mut command = folder.postern();
    command.args(["serve", "--policies", "policies", "--listen", "127.0.0.1:bad"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1").env(name, value);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
}
