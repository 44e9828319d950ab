//! Tokens that only the provider can read.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use axum::http::{HeaderValue, header};
use postern::{
    authn::{
        clock::Clock,
        introspection::{
            ClientCredentials, Destinations, Endpoint, IntrospectionError, Introspector,
            Requirements, ScopeStrategy, TokenRefused,
        },
    },
    outbound::Target,
};
use rstest::rstest;

use crate::{
    PATIENCE, READ,
    provider::{CLERK, GATE, OPAQUE, OPAQUE_TOKEN_SECONDS, Provider, Registered, SigningKeys},
};

/// How long answers are kept.
const KEPT_SECONDS: u64 = 60;

/// For the tests in which time passes.
macro_rules! clock {
    () => {{
        static AHEAD: AtomicU64 = AtomicU64::new(0);
        let clock = Clock::from_fn(|| now() + Duration::from_secs(AHEAD.load(Ordering::SeqCst)));
        (clock, &AHEAD)
    }};
}

fn now() -> SystemTime {
    Clock::system().now()
}

async fn start() -> Provider {
    Provider::start(&[&SigningKeys::new("only")]).await
}

fn introspector(provider: &Provider, clock: Clock) -> Introspector {
    let destinations = Destinations::of([provider.issuer.as_str()]).unwrap();
    Introspector::new(provider.client.clone(), destinations, clock)
}

/// The provider's, asked by this client.
fn endpoint(provider: &Provider, client: Registered) -> Endpoint {
    let mut endpoint = Endpoint::new(&provider.endpoints.introspection).unwrap();
    endpoint.headers.insert(header::AUTHORIZATION, client.authorization());
    Endpoint { timeout: PATIENCE, ..endpoint }
}

fn keeping(endpoint: Endpoint) -> Endpoint {
    Endpoint { cache_ttl: Duration::from_secs(KEPT_SECONDS), ..endpoint }
}

/// What orders ask of a token.
fn orders(provider: &Provider) -> Requirements {
    Requirements {
        required_scope: vec![READ.into()],
        scope_strategy: Some(ScopeStrategy::Exact),
        target_audience: vec![OPAQUE.into()],
        trusted_issuers: vec![provider.issuer.clone()],
    }
}

/// Why a token is refused, where it was looked at.
fn refused<T: std::fmt::Debug>(result: Result<T, IntrospectionError>) -> TokenRefused {
    match result {
        Err(IntrospectionError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::asked_each_time(false)]
#[case::kept(true)]
#[tokio::test(flavor = "multi_thread")]
async fn an_active_token_is_good_for_what_it_was_issued_for(#[case] kept: bool) {
    let provider = start().await;
    let introspector = introspector(&provider, Clock::system());
    let endpoint = endpoint(&provider, GATE);
    let endpoint = if kept { keeping(endpoint) } else { endpoint };
    let token = provider.token(CLERK, OPAQUE, "orders:write orders:read").await;
    let ask = async |requirements| introspector.introspect(&endpoint, &requirements, &token).await;

    let orders = orders(&provider);
    for _ in 0..2 {
        let answer = ask(orders.clone()).await.unwrap();
        assert_eq!(answer.client_id, CLERK.id);
        assert_eq!(answer.issuer, provider.issuer);
        assert_eq!(answer.audiences, [OPAQUE]);
        assert_eq!(answer.scope, "orders:write orders:read");
        let left = answer.expires.unwrap() - seconds(now());
        assert!((1..=OPAQUE_TOKEN_SECONDS).contains(&left), "{left}");
    }

    let delete = "orders:delete".to_owned();
    let other_scope =
        Requirements { required_scope: vec![READ.into(), delete.clone()], ..orders.clone() };
    assert_eq!(refused(ask(other_scope).await), TokenRefused::Scope(delete));
    let payments = "https://payments.example".to_owned();
    let other_audience = Requirements { target_audience: vec![payments.clone()], ..orders.clone() };
    assert_eq!(refused(ask(other_audience).await), TokenRefused::Audience(payments));
    let other_issuer =
        Requirements { trusted_issuers: vec!["https://other.example".into()], ..orders };
    assert_eq!(refused(ask(other_issuer).await), TokenRefused::Issuer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_token_is_refused_and_a_kept_answer_lasts_no_longer_than_configured() {
    let (clock, ahead) = clock!();
    let provider = start().await;
    let introspector = introspector(&provider, clock);
    let (asking, keeping) = (endpoint(&provider, GATE), keeping(endpoint(&provider, GATE)));
    let orders = orders(&provider);
    let token = provider.token(CLERK, OPAQUE, READ).await;
    let ask = async |endpoint| introspector.introspect(endpoint, &orders, &token).await;
    assert!(ask(&asking).await.is_ok());
    assert!(ask(&keeping).await.is_ok());

    provider.revoke(CLERK, &token).await;
    assert_eq!(refused(ask(&asking).await), TokenRefused::Inactive);
    // That nobody is asked is what keeping answers is for.
    assert!(ask(&keeping).await.is_ok());
    // The seconds that this test takes count, too.
    ahead.store(KEPT_SECONDS / 2, Ordering::SeqCst);
    assert!(ask(&keeping).await.is_ok());
    ahead.store(KEPT_SECONDS + 1, Ordering::SeqCst);
    assert_eq!(refused(ask(&keeping).await), TokenRefused::Inactive);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_past_its_end_is_refused_by_whose_clock_is_ahead() {
    let (clock, ahead) = clock!();
    let provider = start().await;
    let introspector = introspector(&provider, clock);
    let endpoint = keeping(endpoint(&provider, GATE));
    let orders = orders(&provider);
    let token = provider.token(CLERK, OPAQUE, READ).await;
    let ask = async || introspector.introspect(&endpoint, &orders, &token).await;
    assert!(ask().await.is_ok());

    // Postern's: the provider still says that it is active, and when it ends.
    ahead.store(OPAQUE_TOKEN_SECONDS + 1, Ordering::SeqCst);
    assert_eq!(refused(ask().await), TokenRefused::Expired);
    provider.pass(OPAQUE_TOKEN_SECONDS + 1).await;
    assert_eq!(refused(ask().await), TokenRefused::Inactive);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_the_provider_does_not_know_are_refused() {
    let provider = start().await;
    let introspector = introspector(&provider, Clock::system());
    let endpoint = keeping(endpoint(&provider, GATE));
    let orders = orders(&provider);
    for token in ["unknown", "", "a b&active=true", "ä"] {
        match introspector.introspect(&endpoint, &orders, token).await {
            Err(IntrospectionError::Refused(TokenRefused::Inactive)) => {}
            // RFC 7662 section 2.1: the token is required.
            Err(IntrospectionError::Status { status: 400, .. }) if token.is_empty() => {}
            other => panic!("{token}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_is_told_nothing() {
    let provider = start().await;
    let introspector = introspector(&provider, Clock::system());
    let orders = orders(&provider);
    let token = provider.token(CLERK, OPAQUE, READ).await;
    let good = keeping(endpoint(&provider, GATE));
    assert!(introspector.introspect(&good, &orders, &token).await.is_ok());

    // Each is another client to the cache, too.
    let wrong = Registered { secret: "wrong", ..GATE };
    let nobody = Registered { id: "nobody", secret: "wrong" };
    for client in [wrong, nobody] {
        let endpoint = keeping(endpoint(&provider, client));
        let answer = introspector.introspect(&endpoint, &orders, &token).await;
        assert!(
            matches!(answer, Err(IntrospectionError::Status { status: 401, .. })),
            "{answer:?}"
        );
    }
    let mut endpoint = good.clone();
    endpoint.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic !"));
    let answer = introspector.introspect(&endpoint, &orders, &token).await;
    assert!(matches!(answer, Err(IntrospectionError::Status { status: 400.., .. })), "{answer:?}");

    let elsewhere = Destinations::of(["https://other.example"]).unwrap();
    let introspector = Introspector::new(provider.client.clone(), elsewhere, Clock::system());
    let answer = introspector.introspect(&good, &orders, &token).await;
    assert!(matches!(answer, Err(IntrospectionError::Destination(_))), "{answer:?}");
}

/// The provider takes client credentials at its introspection endpoint, no tokens. So this shows
/// that one for asking is had and sent, and what becomes of it without.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_asking_is_had_with_the_credentials_of_the_client() {
    let provider = start().await;
    let introspector = introspector(&provider, Clock::system());
    let token = provider.token(CLERK, OPAQUE, READ).await;
    let asking_as = |client: Registered| Endpoint {
        pre_authorization: Some(ClientCredentials {
            token_url: Target::parse(&provider.endpoints.token).unwrap(),
            client_id: client.id.into(),
            client_secret: client.secret.to_owned().into(),
            scope: Vec::new(),
            audience: String::new(),
        }),
        ..endpoint(&provider, GATE)
    };
    let orders = orders(&provider);
    let answer = introspector.introspect(&asking_as(GATE), &orders, &token).await;
    assert!(matches!(answer, Err(IntrospectionError::Status { status: 400, .. })), "{answer:?}");

    let wrong = Registered { secret: "wrong", ..GATE };
    let answer = introspector.introspect(&asking_as(wrong), &orders, &token).await;
    let Err(IntrospectionError::PreAuthorization(error)) = answer else { panic!("{answer:?}") };
    assert!(matches!(*error, IntrospectionError::Status { status: 401, .. }), "{error:?}");
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}
