use std::convert::Infallible;

use rstest::rstest;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::api::access::{JwtCallers, JwtRules};
use crate::authn::NoKeys;
use crate::management::mesh::Files;
use crate::telemetry::metrics::Metrics;

/// Without a file, and without anybody whose tokens are taken.
fn management() -> Management {
    let rules = json!([{ "issuer": "i", "audiences": ["a"], "jwksUri": "https://i.example/keys" }]);
    let clock = Clock::system();
    let jwt = JwtCallers::new(JwtRules::parse(&rules).unwrap(), Arc::new(NoKeys), clock, 8192);
    let (_, corpora) = watch::channel(Arc::default());
    Management::new(Settings {
        callers: Callers::new(jwt, Vec::new()),
        objects: MeshObjects::Files(Files::new(corpora, "default")),
        prometheus: None,
        inline_kubeconfig: None,
        clock,
        metrics: Metrics::new("0.0.0").management(),
    })
}

/// An administrator's weights, in these pieces, with this long before each.
async fn set_weights(pieces: &'static [&'static str], pause: Duration, ends: bool) -> Failure {
    let (sender, receiver) = mpsc::unbounded_channel();
    let slow = tokio::spawn(async move {
        for piece in pieces {
            tokio::time::sleep(pause).await;
            if sender.send(Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes()))).is_err() {
                return;
            }
        }
        if !ends {
            sender.closed().await;
        }
    });
    let body = Body::from_stream(UnboundedReceiverStream::new(receiver));
    let request = Request::patch("/weights").header("content-type", "application/json");
    let (parts, body) = request.body(body).unwrap().into_parts();
    let management = management();
    let caller = Caller { name: "i#s".into(), is_admin: true };
    let places = ["shop".to_owned(), "web".to_owned()];
    let call = Call { inner: &management.0, caller: &caller, parts: &parts, places: &places };
    let failure = call.set_weights(body).await.unwrap_err();
    slow.await.unwrap();
    failure
}

const SECOND: Duration = Duration::from_secs(1);

#[rstest]
#[case::nothing(&[], false)]
#[case::half(&[r#"{"weights":"#], false)]
// Each piece in time, and the whole too late.
#[case::drop_by_drop(&["{", " ", " ", " ", " ", " ", " ", " ", " ", " ", " ", " ", "}"], true)]
#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come(#[case] pieces: &'static [&'static str], #[case] ends: bool) {
    let begun = tokio::time::Instant::now();
    let failure = set_weights(pieces, SECOND, ends).await;
    assert_eq!(failure, Failure::Timeout);
    assert_eq!(failure.answer().status(), 408);
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE + 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_slow_and_comes() {
    let failure = set_weights(&["{", " ", " ", " ", "}"], SECOND, true).await;
    assert_eq!(failure.answer().status(), 400);
    assert!(failure.to_string().contains("`weights` must be a list"), "{failure}");
}
