//! One fetch: what is asked, what is taken, what is refused.

use axum::{
    body::Body,
    extract::Request,
    http::header,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use rstest::rstest;

use super::*;

#[tokio::test]
async fn keys_are_fetched_and_reported() {
    let provider = Provider::start(key_set("a")).await;
    let source = provider.source("issuer-a");
    let mut harness = once();
    assert!(harness.sets.keys(&source.id).is_none());
    let status = harness.try_once(&source).await;
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "a"));
    assert_eq!((status.id, status.keys, status.skipped), (source.id.clone(), 1, 1));
    assert_eq!((status.last_success, status.failures), (Some(NOW), 0));
    assert!(status.last_error.is_none());
    assert_eq!(status.next_attempt, Some(NOW + Duration::from_hours(1)));
    assert_eq!(soon(harness.attempts.recv()).await, Some((source.id, AttemptResult::Ok)));
}

#[tokio::test]
async fn the_request_names_host_path_query_and_credentials() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let router = Router::new().fallback(async move |request: Request| {
        let header = |name| request.headers().get(name).unwrap().to_str().unwrap().to_owned();
        let line = format!("{} {}", request.method(), request.uri());
        sender.send((line, header(header::HOST), header(header::AUTHORIZATION))).unwrap();
        key_set("a")
    });
    let address = serve(router).await;
    let source = source("i", &format!("http://u:p@{address}/a/b?c=d&e"));
    assert_eq!(once().try_once(&source).await.keys, 1);
    let expect = ("GET /a/b?c=d&e".to_owned(), address.to_string(), "Basic dTpw".to_owned());
    assert_eq!(seen.recv().await, Some(expect));
}

#[rstest]
#[case::plain("")]
#[case::one_slash_is_stripped("/")]
#[tokio::test]
async fn keys_are_discovered(#[case] end: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let document = json!({"jwks_uri": format!("http://{address}/keys")}).to_string();
    let router = Router::new()
        .route("/tenant/.well-known/openid-configuration", get(async || document))
        .route("/keys", get(async || key_set("a")));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let source = discovered(&format!("http://{address}/tenant{end}"));
    let mut harness = once();
    assert_eq!(harness.try_once(&source).await.keys, 1);
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "a"));
}

#[rstest]
#[case::no_uri("{}", "is no discovery document with a `jwks_uri`")]
#[case::odd_uri(r#"{"jwks_uri":5}"#, "is no discovery document with a `jwks_uri`")]
#[case::not_json("<html>", "is no discovery document with a `jwks_uri`")]
#[case::not_an_object("[]", "is no discovery document with a `jwks_uri`")]
#[case::relative(r#"{"jwks_uri":"/keys"}"#, "not an absolute http or https URL")]
#[tokio::test]
async fn bad_discovery_documents(#[case] document: &str, #[case] expect: &str) {
    let provider = Provider::start(document.to_owned()).await;
    let source = discovered(&format!("http://{}", provider.address));
    let (result, text) = once().fails(&source).await;
    assert_eq!(result, AttemptResult::Parse);
    assert!(text.starts_with("OIDC discovery failed: ") && text.ends_with(expect), "{text}");
}

#[rstest]
#[case::empty("", "OIDC discovery failed: neither a `jwksUri` nor an issuer to discover it from")]
#[case::name("issuer-a", "OIDC discovery failed: not an absolute http or https URL")]
#[tokio::test]
async fn issuers_that_are_no_url(#[case] issuer: &str, #[case] expect: &str) {
    let (result, text) = once().fails(&discovered(issuer)).await;
    assert_eq!((result, text.as_str()), (AttemptResult::Parse, expect));
}

#[rstest]
#[case::not_found(StatusCode::NOT_FOUND, key_set("a").into(), AttemptResult::Http, "`U` answered with status 404")]
#[case::error(StatusCode::INTERNAL_SERVER_ERROR, "x".into(), AttemptResult::Http, "`U` answered with status 500")]
#[case::not_modified(StatusCode::NOT_MODIFIED, "".into(), AttemptResult::Http, "`U` answered with status 304")]
#[case::redirect_to_nowhere(StatusCode::FOUND, "".into(), AttemptResult::Http, "`U` redirects to nowhere usable")]
#[case::no_content(StatusCode::NO_CONTENT, "".into(), AttemptResult::Parse, "the answer of `U` is no key set: not JSON: EOF while parsing a value at line 1 column 0")]
#[case::bad_json(StatusCode::OK, "{\"keys\":".into(), AttemptResult::Parse, "the answer of `U` is no key set: not JSON: EOF while parsing a value at line 1 column 8")]
#[case::no_keys(StatusCode::OK, "{\"secret\":1}".into(), AttemptResult::Parse, "the answer of `U` is no key set: `keys` is missing")]
#[case::not_text(StatusCode::OK, vec![0xff].into(), AttemptResult::Parse, "the answer of `U` is not UTF-8")]
#[case::huge(StatusCode::OK, vec![b' '; BODY_LIMIT + 1].into(), AttemptResult::Parse, "`U` answered with more than 1048576 bytes")]
#[tokio::test]
async fn answers_without_keys(
    #[case] status: StatusCode,
    #[case] body: bytes::Bytes,
    #[case] result: AttemptResult,
    #[case] expect: &str,
) {
    let address = serve(Router::new().fallback(async move || (status, body))).await;
    let failure = once().fails(&source("i", &format!("http://{address}/keys"))).await;
    assert_eq!(failure, (result, expect.replace("`U`", &format!("`http://{address}/keys`"))));
}

#[tokio::test]
async fn the_largest_body_is_read() {
    let mut body = key_set("a");
    body.push_str(&" ".repeat(BODY_LIMIT - body.len()));
    let provider = Provider::start(body).await;
    assert_eq!(once().try_once(&provider.source("i")).await.keys, 1);
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let router = Router::new().fallback(async || {
        let chunk = Ok::<_, std::io::Error>(bytes::Bytes::from_static(&[b' '; 4096]));
        Response::new(Body::from_stream(futures_util::stream::repeat_with(move || {
            chunk.as_ref().map(bytes::Bytes::clone).map_err(|_| std::io::Error::other("x"))
        })))
    });
    let address = serve(router).await;
    let (result, text) = once().fails(&source("i", &format!("http://{address}/keys"))).await;
    assert_eq!(result, AttemptResult::Parse);
    assert!(text.ends_with("answered with more than 1048576 bytes"), "{text}");
}

#[tokio::test]
async fn a_set_without_usable_keys_is_taken() {
    let provider = Provider::start(r#"{"keys":[]}"#.to_owned()).await;
    let source = provider.source("i");
    let mut harness = once();
    let status = harness.try_once(&source).await;
    assert_eq!((status.keys, status.failures), (0, 0));
    let keys = harness.sets.keys(&source.id).unwrap();
    let verdict = keys.verify(Algorithm::Hs256, None, b"h.p", b"s");
    assert_eq!(verdict, Err(crate::model::JwtError::NoValidKeys));
}

#[tokio::test]
async fn nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (result, text) = once().fails(&source("i", &format!("http://{address}/keys"))).await;
    assert_eq!(result, AttemptResult::Connect);
    assert!(text.starts_with(&format!("cannot connect to {address}: ")), "{text}");
}

#[tokio::test]
async fn silence_times_out() {
    let (_listener, uri) = silent().await;
    let source = KeySource { timeout: Duration::from_millis(30), ..source("i", &uri) };
    let failure = once().fails(&source).await;
    assert_eq!(failure, (AttemptResult::Timeout, "no complete answer within 30ms".to_owned()));
}

#[tokio::test]
async fn a_body_that_never_ends_times_out() {
    let router = Router::new().fallback(async || {
        Response::new(Body::from_stream(futures_util::stream::pending::<
            Result<String, std::io::Error>,
        >()))
    });
    let address = serve(router).await;
    let uri = format!("http://{address}/keys");
    let source = KeySource { timeout: Duration::from_millis(100), ..source("i", &uri) };
    assert_eq!(once().fails(&source).await.0, AttemptResult::Timeout);
}

#[tokio::test]
async fn something_else_than_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/keys", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.writable().await.unwrap();
        stream.try_write(b"SSH-2.0-OpenSSH\r\n").unwrap();
        stream.readable().await.unwrap();
    });
    let (result, text) = once().fails(&source("i", &uri)).await;
    assert_eq!(result, AttemptResult::Http);
    assert!(text.starts_with(&format!("no HTTP answer from `{uri}`")), "{text}");
}

/// `/5` leads to `/4` and so on to `/0`, which has the keys.
async fn redirecting() -> SocketAddr {
    let router = Router::new().route(
        "/{left}",
        get(async |axum::extract::Path(left): axum::extract::Path<u32>| match left {
            0 => key_set("a").into_response(),
            left => Redirect::temporary(&format!("/{}", left - 1)).into_response(),
        }),
    );
    serve(router).await
}

#[tokio::test]
async fn five_redirects_are_followed() {
    let address = redirecting().await;
    assert_eq!(once().try_once(&source("i", &format!("http://{address}/5"))).await.keys, 1);
    let failure = once().fails(&source("i", &format!("http://{address}/6"))).await;
    assert_eq!(failure, (AttemptResult::Http, "more than 5 redirects".to_owned()));
}

#[tokio::test]
async fn redirect_loops_end() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = hits.clone();
    let address = serve(Router::new().fallback(async move || {
        counter.fetch_add(1, Ordering::SeqCst);
        Redirect::permanent("/loop")
    }))
    .await;
    let failure = once().fails(&source("i", &format!("http://{address}/"))).await;
    assert_eq!(failure, (AttemptResult::Http, "more than 5 redirects".to_owned()));
    assert_eq!(hits.load(Ordering::SeqCst), 6);
}

#[rstest]
#[case::metadata("http://169.254.169.254/latest")]
#[case::decimal("http://2852039166/latest")]
#[case::hexadecimal("http://0xa9fea9fe/latest")]
#[case::octal("http://0251.0376.0251.0376/latest")]
#[case::short("http://169.254.43518/latest")]
#[case::mapped("http://[::ffff:169.254.169.254]/latest")]
#[case::link_local("http://[fe80::1]/latest")]
#[case::alibaba("http://100.100.100.200/latest")]
#[case::aws("http://[fd00:ec2::254]/latest")]
#[case::unspecified("http://0.0.0.0/latest")]
#[case::unspecified_v6("http://[::]/latest")]
#[case::secure("https://169.254.169.254/latest")]
#[tokio::test]
async fn blocked_addresses(#[case] uri: &str) {
    let (result, text) = once().fails(&source("i", uri)).await;
    assert_eq!(result, AttemptResult::Blocked, "{text}");
    // The same place by discovery, by a discovery document, and by a redirect.
    let (result, text) = once().fails(&discovered(uri)).await;
    assert_eq!(result, AttemptResult::Blocked, "{text}");
    let provider = Provider::start(json!({ "jwks_uri": uri }).to_string()).await;
    let by_document = discovered(&format!("http://{}", provider.address));
    let (result, text) = once().fails(&by_document).await;
    assert_eq!(result, AttemptResult::Blocked, "{text}");
    let target = uri.to_owned();
    let address = serve(Router::new().fallback(async move || Redirect::to(&target))).await;
    let (result, text) = once().fails(&source("i", &format!("http://{address}/"))).await;
    assert_eq!(result, AttemptResult::Blocked, "{text}");
}

#[rstest]
#[case::blocked("metadata.test", Some(AttemptResult::Blocked))]
#[case::unknown("unknown.test", Some(AttemptResult::Connect))]
#[case::blocked_ones_are_passed_over("both.test", None)]
#[case::dead_ones_are_passed_over("refused-first.test", None)]
#[case::good("good.test", None)]
#[tokio::test]
async fn names_are_checked_by_their_addresses(
    #[case] host: &str,
    #[case] failure: Option<AttemptResult>,
) {
    let provider = Provider::start(key_set("a")).await;
    let source = source("i", &format!("http://{host}:{}/keys", provider.address.port()));
    let status = named().try_once(&source).await;
    assert_eq!(status.last_error.map(|error| error.result()), failure);
    assert_eq!(status.keys == 1, failure.is_none());
}

#[tokio::test]
async fn further_ranges_are_blocked() {
    let provider = Provider::start(key_set("a")).await;
    let guard = DialGuard { also_blocked: vec!["127.0.0.0/8".parse().unwrap()], only: None };
    let settings = Settings { schedule: one_attempt(), guard, ..Settings::default() };
    let (result, text) = harness(settings).fails(&provider.source("i")).await;
    assert_eq!(result, AttemptResult::Blocked);
    assert_eq!(text, "`127.0.0.1` is at 127.0.0.1, where nothing is sent to");
    assert_eq!(provider.hits.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn messages_hold_no_secrets() {
    let provider = Provider::start("secret".to_owned()).await;
    let uri = format!("http://user:secret@{}/keys?token=secret", provider.address);
    for status in [StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::FOUND] {
        provider.says(status, "secret".to_owned());
        let mut harness = once();
        let (_, text) = harness.fails(&source("i", &uri)).await;
        assert!(!text.contains("secret"), "{text}");
        let error = harness.sets.status().remove(0).last_error;
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    let malformed = source("i", "http://user:secret@a b/");
    let (_, text) = once().fails(&malformed).await;
    assert!(!text.contains("secret"), "{text}");
}
