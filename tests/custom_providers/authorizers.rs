//! Authorizers that do what a request's `x-want` says, over gRPC (tonic) and HTTP (axum), and some that
//! break off.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::response::Response as HttpResponse;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption, QueryParameter};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse as Answer;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

/// What authorizers were asked, in a form that can be compared: lines.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// Where they are. They end with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Authorizers {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    /// Nobody listens there.
    pub(crate) nobody: SocketAddr,
    /// Ends within the body of its answer.
    pub(crate) reset_http: SocketAddr,
    /// Ends once it was asked.
    pub(crate) reset_grpc: SocketAddr,
    pub(crate) asked: Asked,
}

impl Authorizers {
    pub(crate) async fn start() -> Self {
        let asked = Asked::default();
        let (listener, grpc) = listener().await;
        let service = AuthorizationServer::new(Grpc { asked: asked.clone() });
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let (listener, http) = self::listener().await;
        let router = Router::new().fallback(answer_http).with_state(asked.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let (unused, nobody) = self::listener().await;
        drop(unused);
        let head = "HTTP/1.1 200 OK\r\nx-user: alice\r\ncontent-length: 10\r\n\r\nabc";
        let reset_http = breaking_off(head.as_bytes()).await;
        // An empty SETTINGS frame, as a server begins.
        let reset_grpc = breaking_off(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        Self { grpc, http, nobody, reset_http, reset_grpc, asked }
    }

    /// What was asked since it was last taken, in no order.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Says this once something was asked, and hangs up.
async fn breaking_off(answer: &[u8]) -> SocketAddr {
    let (listener, address) = listener().await;
    let answer = answer.to_vec();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut some = [0; 4096];
                drop(stream.read(&mut some).await);
                drop(stream.write_all(&answer).await);
            });
        }
    });
    address
}

/// Headers that differ from one request to the next, or that only one kind of asking has.
fn is_noise(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "x-request-id" | "x-envoy-expected-rq-timeout-ms" | "x-envoy-internal" | "user-agent"
        )
}

struct Grpc {
    asked: Asked,
}

#[tonic::async_trait]
impl Authorization for Grpc {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        assert!(request.metadata().contains_key("grpc-timeout"));
        let check = request.into_inner();
        let http = check.attributes.unwrap().request.unwrap().http.unwrap();
        let mut headers: Vec<_> = http
            .headers
            .iter()
            .filter(|(name, _)| !is_noise(name))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        headers.sort();
        assert!(http.header_map.is_none());
        self.asked.lock().unwrap().push(format!(
            "gRPC {} {}{} {headers:?} {:?} {:?}",
            http.method, http.host, http.path, http.body, http.raw_body
        ));
        let wants = http.headers.get("x-want").cloned().unwrap_or_default();
        answer_grpc(&wants).await.map(Response::new)
    }
}

fn option(name: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: value.into(), ..Default::default() }),
        append_action: action.into(),
        ..Default::default()
    }
}

#[expect(deprecated, reason = "there are authorizers that still set it")]
fn append(name: &str, value: &str, append: bool) -> HeaderValueOption {
    let mut option = option(name, value, HeaderAppendAction::AppendIfExistsOrAdd);
    option.append = Some(BoolValue { value: append });
    option
}

async fn answer_grpc(wants: &str) -> Result<CheckResponse, Status> {
    use HeaderAppendAction::{
        AddIfAbsent, AppendIfExistsOrAdd, OverwriteIfExists, OverwriteIfExistsOrAdd,
    };
    let code = |code: Code| Some(RpcStatus { code: code.into(), ..Default::default() });
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.into())) };
    let allowed = |ok: OkHttpResponse| CheckResponse {
        status: code(Code::Ok),
        http_response: Some(Answer::OkResponse(ok)),
        ..Default::default()
    };
    let denied = |denied: DeniedHttpResponse| CheckResponse {
        status: code(Code::PermissionDenied),
        http_response: Some(Answer::DeniedResponse(denied)),
        ..Default::default()
    };
    Ok(match wants {
        "allow" => allowed(OkHttpResponse::default()),
        "allow-empty" => CheckResponse::default(),
        "mallory" => allowed(OkHttpResponse {
            headers: vec![option("x-user", "mallory", OverwriteIfExistsOrAdd)],
            ..Default::default()
        }),
        "headers" => CheckResponse {
            dynamic_metadata: Some(Struct {
                fields: [("tenant".to_owned(), text("t1"))].into_iter().collect(),
            }),
            ..allowed(OkHttpResponse {
                headers: vec![
                    option("x-user", "alice", OverwriteIfExistsOrAdd),
                    option("x-add", "added", AppendIfExistsOrAdd),
                    option("x-new", "added", AppendIfExistsOrAdd),
                    option("x-if-absent", "added", AddIfAbsent),
                    option("x-if-absent-new", "added", AddIfAbsent),
                    option("x-if-there", "overwritten", OverwriteIfExists),
                    option("x-if-there-new", "overwritten", OverwriteIfExists),
                    append("x-join", "joined", true),
                    append("x-join-new", "joined", true),
                    append("x-over", "overwritten", false),
                ],
                headers_to_remove: vec!["x-secret".into(), "host".into(), "x-none".into()],
                response_headers_to_add: vec![
                    option("x-down", "1", AppendIfExistsOrAdd),
                    option("x-down", "2", AppendIfExistsOrAdd),
                    option("content-type", "text/x-over", OverwriteIfExistsOrAdd),
                    option("x-down-absent", "1", AddIfAbsent),
                    option("x-down-none", "1", OverwriteIfExists),
                ],
                ..Default::default()
            })
        },
        "path" => allowed(OkHttpResponse {
            headers: vec![
                option(":path", "/elsewhere?z=1", OverwriteIfExistsOrAdd),
                option(":authority", "other.example", OverwriteIfExistsOrAdd),
            ],
            ..Default::default()
        }),
        "query" => allowed(OkHttpResponse {
            query_parameters_to_set: vec![
                QueryParameter { key: "a".into(), value: "x%20y".into() },
                QueryParameter { key: "new".into(), value: String::new() },
            ],
            query_parameters_to_remove: vec!["gone".into(), "none".into()],
            ..Default::default()
        }),
        "down" => allowed(OkHttpResponse {
            response_headers_to_add: vec![option("x-down", "1", AppendIfExistsOrAdd)],
            ..Default::default()
        }),
        "deny" => denied(DeniedHttpResponse {
            status: Some(HttpStatus { code: 401 }),
            headers: vec![
                option("www-authenticate", "Basic", OverwriteIfExistsOrAdd),
                option("content-type", "application/json", OverwriteIfExistsOrAdd),
                option("set-cookie", "a=1", AppendIfExistsOrAdd),
                option("set-cookie", "b=2", AppendIfExistsOrAdd),
            ],
            body: "{\"error\": \"no\"}".into(),
        }),
        "deny-bare" => CheckResponse { status: code(Code::Unauthenticated), ..Default::default() },
        "deny-default" => denied(DeniedHttpResponse { body: "no".into(), ..Default::default() }),
        "error" => return Err(Status::unavailable("not now")),
        "slow" => std::future::pending().await,
        other => panic!("{other}"),
    })
}

async fn answer_http(State(asked): State<Asked>, request: HttpRequest) -> HttpResponse {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut headers: Vec<_> = parts
        .headers
        .iter()
        .filter(|(name, _)| !is_noise(name.as_str()))
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    asked.lock().unwrap().push(format!(
        "HTTP {} {} {headers:?} {:?}",
        parts.method,
        parts.uri,
        String::from_utf8_lossy(&body)
    ));
    let wants = parts.headers.get("x-want").map(|value| value.to_str().unwrap().to_owned());
    let response = |status: u16, headers: &[(&str, &str)], body: &'static str| {
        let mut response = HttpResponse::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Body::from(body)).unwrap()
    };
    let given = [
        ("x-user", "alice"),
        ("x-role", "first"),
        ("x-role", "last"),
        ("x-role-of", "all"),
        ("x-other", "unseen"),
        ("x-down", "1"),
        ("x-down", "2"),
        ("x-deny-why", "because"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("location", "/login"),
        ("www-authenticate", "Basic"),
        ("content-type", "application/json"),
    ];
    match wants.as_deref().unwrap_or_default() {
        "allow" => response(200, &[], ""),
        "headers" => response(
            200,
            &[&given[..], &[("x-envoy-auth-headers-to-remove", "x-secret, X-Add,,")]].concat(),
            "unseen",
        ),
        "mallory" => response(200, &[("x-user", "mallory")], ""),
        "down" => response(200, &[("x-down", "1")], ""),
        "deny" => response(403, &given, "{}"),
        "deny-bare" => response(401, &[], ""),
        "redirect" => response(302, &given, ""),
        "created" => response(201, &given, "not 200"),
        "error" => response(503, &given, "unseen"),
        "slow" => std::future::pending().await,
        other => panic!("{other}"),
    }
}
