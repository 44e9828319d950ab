//! Against real servers on the loopback.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse as _, Redirect},
};
use futures_util::future::join_all;
use http_body_util::BodyExt as _;
use rstest::rstest;
use tokio::net::TcpListener;

use super::*;
use crate::outbound::DialGuard;

fn fixed() -> Clock {
    Clock::from_fn(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
}

/// One question as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    path: String,
    authorization: Option<String>,
    tenant: Option<String>,
    content_type: String,
    form: String,
}

/// Answers each path with what the test last said, and remembers what it was asked.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<HashMap<String, (StatusCode, String)>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    async fn start() -> (Self, SocketAddr) {
        let server = Self::default();
        let handler = server.clone();
        let router = Router::new().fallback(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let form = body.collect().await.unwrap().to_bytes();
            let header =
                |name: &str| parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
            let path = parts.uri.path().to_owned();
            handler.asked.lock().unwrap().push(Asked {
                path: format!("{} {path}", parts.method),
                authorization: header("authorization"),
                tenant: header("x-tenant"),
                content_type: header("content-type").unwrap_or_default(),
                form: String::from_utf8(form.to_vec()).unwrap(),
            });
            let answer = handler.answers.lock().unwrap().get(&path).cloned();
            match answer {
                Some((status, body)) if status.is_redirection() => {
                    Redirect::temporary(&body).into_response()
                }
                Some(answer) => answer.into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, address)
    }

    fn says(&self, path: &str, status: StatusCode, body: &str) {
        self.answers.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn introspector(address: SocketAddr) -> Introspector {
    let client = Client::new(DialGuard::default(), &[], Vec::new()).unwrap();
    let destinations = Destinations::of([&*format!("http://{address}")]).unwrap();
    Introspector::new(client, destinations, fixed())
}

fn endpoint(address: SocketAddr) -> Endpoint {
    let endpoint = Endpoint::new(&format!("http://{address}/introspect")).unwrap();
    Endpoint { timeout: Duration::from_secs(10), ..endpoint }
}

fn kept(address: SocketAddr) -> Endpoint {
    Endpoint { cache_ttl: Duration::from_secs(60), ..endpoint(address) }
}

const ACTIVE: &str = r#"{"active":true,"sub":"alice","scope":"a b","aud":["x"],"iss":"i"}"#;

async fn describe(
    introspector: &Introspector,
    endpoint: &Endpoint,
    requirements: &Requirements,
) -> String {
    match introspector.introspect(endpoint, requirements, "token").await {
        Ok(answer) => format!("{} is good", answer.subject),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_endpoint_is_asked_as_rfc_7662_has_it() {
    let (server, address) = Server::start().await;
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let mut endpoint = endpoint(address);
    endpoint.headers.insert("x-tenant", HeaderValue::from_static("shop"));
    endpoint.url = Target::parse(&format!("http://me:secret@{address}/introspect?x")).unwrap();
    let introspector = introspector(address);
    let answer =
        introspector.introspect(&endpoint, &Requirements::default(), "t/1+&=").await.unwrap();
    assert_eq!(answer.subject, "alice");
    assert_eq!(
        server.asked(),
        [Asked {
            path: "POST /introspect".into(),
            authorization: Some("Basic bWU6c2VjcmV0".into()),
            tenant: Some("shop".into()),
            content_type: "application/x-www-form-urlencoded".into(),
            form: "token=t%2F1%2B%26%3D".into(),
        }]
    );
}

#[rstest]
#[case::inactive(StatusCode::OK, r#"{"active":false}"#, "the token is not active")]
#[case::unauthorized(StatusCode::UNAUTHORIZED, "", "`U` answered with status 401")]
#[case::created(StatusCode::CREATED, ACTIVE, "`U` answered with status 201")]
#[case::redirected(StatusCode::TEMPORARY_REDIRECT, "/elsewhere", "`U` answered with status 307")]
#[case::busy(StatusCode::TOO_MANY_REQUESTS, "", "`U` is asked too often")]
#[case::broken(StatusCode::BAD_GATEWAY, "", "`U` answered with status 502")]
#[case::html(StatusCode::OK, "<html>", "the answer of `U` is not what it should be")]
#[case::number(StatusCode::OK, r#"{"active":1}"#, "the answer of `U` is not what it should be")]
#[tokio::test]
async fn what_is_no_yes_is_a_no(
    #[case] status: StatusCode,
    #[case] body: &str,
    #[case] expect: &str,
) {
    let (server, address) = Server::start().await;
    server.says("/introspect", status, body);
    server.says("/elsewhere", StatusCode::OK, ACTIVE);
    for endpoint in [endpoint(address), kept(address)] {
        let found = describe(&introspector(address), &endpoint, &Requirements::default()).await;
        assert_eq!(found.replace(&endpoint.url.to_string(), "U"), expect);
        assert_eq!(server.asked().len(), 1, "asked once, and no other place");
    }
}

#[tokio::test]
async fn tokens_are_sent_nowhere_else() {
    let (server, address) = Server::start().await;
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let client = || Client::new(DialGuard::default(), &[], Vec::new()).unwrap();
    let other = format!("http://127.0.0.1:{}", address.port().wrapping_add(1).max(1));
    for destinations in [Destinations::default(), Destinations::of([&*other]).unwrap()] {
        let introspector = Introspector::new(client(), destinations, fixed());
        let found = describe(&introspector, &endpoint(address), &Requirements::default()).await;
        assert!(found.starts_with("tokens are not sent to `http://127.0.0.1:"), "{found}");
    }
    assert_eq!(server.asked(), []);
    // An allowed name that leads to a blocked address.
    let destinations = Destinations::of(["http://169.254.169.254"]).unwrap();
    let introspector = Introspector::new(client(), destinations, fixed());
    let metadata = Endpoint::new("http://169.254.169.254/introspect").unwrap();
    let found = describe(&introspector, &metadata, &Requirements::default()).await;
    assert!(found.contains("where nothing is sent to"), "{found}");
}

#[tokio::test]
async fn good_answers_are_kept_for_exactly_what_was_asked() {
    let (server, address) = Server::start().await;
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let introspector = introspector(address);
    let none = Requirements::default();
    for _ in 0..3 {
        introspector.introspect(&kept(address), &none, "t").await.unwrap();
    }
    assert_eq!(server.asked().len(), 1);
    introspector.introspect(&kept(address), &none, "u").await.unwrap();
    assert_eq!(server.asked().len(), 1, "another token");
    let audience = Requirements { target_audience: vec!["x".into()], ..none.clone() };
    introspector.introspect(&kept(address), &audience, "t").await.unwrap();
    assert_eq!(server.asked().len(), 1, "another audience");
    let mut tenant = kept(address);
    tenant.headers.insert("x-tenant", HeaderValue::from_static("other"));
    introspector.introspect(&tenant, &none, "t").await.unwrap();
    assert_eq!(server.asked().len(), 1, "another tenant");
}

#[tokio::test]
async fn no_kept_answer_serves_a_rule_that_it_does_not_satisfy() {
    let (server, address) = Server::start().await;
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let (introspector, endpoint) = (introspector(address), kept(address));
    let scopes = |scope: &str| Requirements {
        required_scope: vec![scope.into()],
        scope_strategy: Some(ScopeStrategy::Exact),
        ..Requirements::default()
    };
    assert_eq!(describe(&introspector, &endpoint, &scopes("a")).await, "alice is good");
    let refused = describe(&introspector, &endpoint, &scopes("c")).await;
    assert_eq!(refused, "the scope `c` is not granted");
    let other = Requirements { trusted_issuers: vec!["j".into()], ..scopes("a") };
    let refused = describe(&introspector, &endpoint, &other).await;
    assert_eq!(refused, "the token's issuer is not trusted");
}

#[tokio::test]
async fn a_scope_that_the_endpoint_judges_is_asked_for_each_time() {
    let (server, address) = Server::start().await;
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let introspector = introspector(address);
    let scopes = ["a", "b c"].map(str::to_owned).to_vec();
    let requirements = Requirements { required_scope: scopes, ..Requirements::default() };
    for _ in 0..2 {
        introspector.introspect(&kept(address), &requirements, "t").await.unwrap();
    }
    let forms: Vec<_> = server.asked().into_iter().map(|asked| asked.form).collect();
    assert_eq!(forms, ["token=t&scope=a+b+c", "token=t&scope=a+b+c"]);
}

#[tokio::test]
async fn an_answer_is_kept_no_longer_than_its_token_holds() {
    static SECONDS: AtomicUsize = AtomicUsize::new(1_000_000);
    let now = || {
        let seconds = SECONDS.load(Ordering::SeqCst).try_into().unwrap();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let (server, address) = Server::start().await;
    let client = Client::new(DialGuard::default(), &[], Vec::new()).unwrap();
    let destinations = Destinations::of([&*format!("http://{address}")]).unwrap();
    let introspector = Introspector::new(client, destinations, Clock::from_fn(now));
    server.says("/introspect", StatusCode::OK, r#"{"active":true,"sub":"a","exp":1000010}"#);
    let none = Requirements::default();
    assert_eq!(describe(&introspector, &kept(address), &none).await, "a is good");
    // It would still say so; its end is known.
    SECONDS.store(1_000_009, Ordering::SeqCst);
    assert_eq!(describe(&introspector, &kept(address), &none).await, "a is good");
    assert_eq!(server.asked().len(), 1);
    SECONDS.store(1_000_010, Ordering::SeqCst);
    assert_eq!(describe(&introspector, &kept(address), &none).await, "the token is expired");
    // Without an end, as long as the rule says.
    server.says("/introspect", StatusCode::OK, ACTIVE);
    assert_eq!(describe(&introspector, &kept(address), &none).await, "alice is good");
    server.asked();
    SECONDS.store(1_000_069, Ordering::SeqCst);
    assert_eq!(describe(&introspector, &kept(address), &none).await, "alice is good");
    assert_eq!(server.asked().len(), 0);
    server.says("/introspect", StatusCode::OK, r#"{"active":false}"#);
    SECONDS.store(1_000_070, Ordering::SeqCst);
    assert_eq!(describe(&introspector, &kept(address), &none).await, "the token is not active");
}

#[tokio::test]
async fn nothing_is_kept_for_ever() {
    let (server, address) = Server::start().await;
    let introspector = introspector(address);
    let endpoint = Endpoint { cache_ttl: Duration::MAX, ..endpoint(address) };
    for (answer, asked) in [(ACTIVE, 3), (r#"{"active":true,"exp":9999999999}"#, 1)] {
        server.says("/introspect", StatusCode::OK, answer);
        for _ in 0..3 {
            introspector.introspect(&endpoint, &Requirements::default(), "t").await.unwrap();
        }
        assert_eq!(server.asked().len(), asked, "{answer}");
    }
}

#[tokio::test]
async fn a_bad_answer_is_not_kept() {
    let (server, address) = Server::start().await;
    let introspector = introspector(address);
    let none = Requirements::default();
    server.says("/introspect", StatusCode::OK, r#"{"active":false}"#);
    assert_eq!(describe(&introspector, &kept(address), &none).await, "the token is not active");
    server.says("/introspect", StatusCode::OK, ACTIVE);
    assert_eq!(describe(&introspector, &kept(address), &none).await, "alice is good");
}

#[tokio::test]
async fn the_same_question_is_asked_once_at_a_time() {
    let (server, address) = Server::start().await;
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let (introspector, endpoint) = (introspector(address), kept(address));
    let none = Requirements::default();
    let all = join_all((0..100).map(|_| introspector.introspect(&endpoint, &none, "t"))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let (server, address) = Server::start().await;
    server.says("/introspect", StatusCode::SERVICE_UNAVAILABLE, "");
    let patient = Endpoint { give_up_after: Duration::from_secs(20), ..endpoint(address) };
    let introspector = introspector(address);
    let asking = {
        let (introspector, patient) = (introspector.clone(), patient.clone());
        tokio::spawn(async move {
            introspector.introspect(&patient, &Requirements::default(), "t").await
        })
    };
    while server.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    server.says("/introspect", StatusCode::OK, ACTIVE);
    assert!(asking.await.unwrap().is_ok());
    // Not what stays as it is.
    server.asked();
    server.says("/introspect", StatusCode::FORBIDDEN, "");
    describe(&introspector, &patient, &Requirements::default()).await;
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn who_asks_may_have_to_show_a_token_too() {
    let (server, address) = Server::start().await;
    let token = r#"{"access_token":"mine","token_type":"bearer","expires_in":3600}"#;
    server.says("/token", StatusCode::OK, token);
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let credentials = ClientCredentials {
        token_url: Target::parse(&format!("http://{address}/token")).unwrap(),
        client_id: "postern".into(),
        client_secret: Zeroizing::new("hidden".into()),
        scope: vec!["introspect".into(), "more".into()],
        audience: "here".into(),
    };
    let endpoint = Endpoint { pre_authorization: Some(credentials), ..endpoint(address) };
    let introspector = introspector(address);
    for _ in 0..2 {
        let found = describe(&introspector, &endpoint, &Requirements::default()).await;
        assert_eq!(found, "alice is good");
    }
    let asked = server.asked();
    let shown: Vec<_> = asked
        .iter()
        .map(|asked| (&*asked.path, asked.authorization.as_deref().unwrap(), &*asked.form))
        .collect();
    // postern:hidden
    let form = "grant_type=client_credentials&scope=introspect+more&audience=here";
    assert_eq!(
        shown,
        [
            ("POST /token", "Basic cG9zdGVybjpoaWRkZW4=", form),
            ("POST /introspect", "Bearer mine", "token=token"),
            ("POST /introspect", "Bearer mine", "token=token"),
        ]
    );
}

#[rstest]
#[case::refused(StatusCode::UNAUTHORIZED, "{}")]
#[case::other_type(StatusCode::OK, r#"{"access_token":"x","token_type":"mac"}"#)]
#[case::none(StatusCode::OK, r#"{"token_type":"bearer"}"#)]
#[case::no_header(StatusCode::OK, r#"{"access_token":"a\nb","token_type":"bearer"}"#)]
#[tokio::test]
async fn without_a_token_to_ask_with_nothing_is_asked(
    #[case] status: StatusCode,
    #[case] body: &str,
) {
    let (server, address) = Server::start().await;
    server.says("/token", status, body);
    server.says("/introspect", StatusCode::OK, ACTIVE);
    let credentials = ClientCredentials {
        token_url: Target::parse(&format!("http://{address}/token")).unwrap(),
        client_id: "postern".into(),
        client_secret: Zeroizing::new("hidden".into()),
        scope: vec![],
        audience: String::new(),
    };
    let endpoint = Endpoint { pre_authorization: Some(credentials), ..endpoint(address) };
    let found = describe(&introspector(address), &endpoint, &Requirements::default()).await;
    assert_eq!(found, "no token to ask with");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn refusals_have_oathkeepers_status() {
    assert_eq!(TokenRefused::Inactive.status(), 401);
    assert_eq!(TokenRefused::Expired.status(), 401);
    assert_eq!(TokenRefused::Scope("a".into()).status(), 403);
}
