//! Answers that hold for a while, and questions whether they still do.

use axum::{
    extract::Request,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use rstest::rstest;

use super::*;

/// Gives a key set named by its tag, or says that it has not changed.
fn tagged(tag: &str, request: &HeaderMap) -> Response {
    if request.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    ([(header::ETAG, tag.to_owned())], key_set(tag)).into_response()
}

/// Answers by the tag that the test last said, and reports the status of each answer.
async fn tagging() -> (SocketAddr, Arc<Mutex<String>>, mpsc::UnboundedReceiver<StatusCode>) {
    let tag = Arc::new(Mutex::new("one".to_owned()));
    let current = tag.clone();
    let (sender, statuses) = mpsc::unbounded_channel();
    let router = Router::new().fallback(async move |request: Request| {
        let answer = tagged(&current.lock().unwrap(), request.headers());
        sender.send(answer.status()).unwrap_or_default();
        answer
    });
    (serve(router).await, tag, statuses)
}

#[tokio::test]
async fn what_has_not_changed_is_not_sent_again() {
    let (address, tag, mut statuses) = tagging().await;
    let source = source("i", &format!("http://{address}/keys"));
    let mut harness = repeatedly();
    harness.try_once(&source).await;
    let first = harness.sets.keys(&source.id).unwrap();
    harness.after_new_attempt(AttemptResult::Ok).await;
    assert!(Arc::ptr_eq(&first, &harness.sets.keys(&source.id).unwrap()));
    assert_eq!(statuses.recv().await, Some(StatusCode::OK));
    assert_eq!(statuses.recv().await, Some(StatusCode::NOT_MODIFIED));
    *tag.lock().unwrap() = "two".into();
    harness.after_new_attempt(AttemptResult::Ok).await;
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "two"));
    while statuses.recv().await != Some(StatusCode::OK) {}
    assert_eq!(statuses.recv().await, Some(StatusCode::NOT_MODIFIED));
}

#[tokio::test]
async fn only_who_gave_a_tag_is_asked_for_it() {
    // The second host would say that its own, other answer has not changed.
    let (elsewhere, ..) = tagging().await;
    let (sender, mut hits) = mpsc::unbounded_channel();
    let redirects = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(async move |request: Request| {
        sender.send(request.headers().contains_key(header::IF_NONE_MATCH)).unwrap_or_default();
        if redirects.fetch_add(1, Ordering::SeqCst) == 0 {
            tagged("one", request.headers())
        } else {
            axum::response::Redirect::temporary(&format!("http://{elsewhere}/")).into_response()
        }
    });
    let address = serve(router).await;
    let source = source("i", &format!("http://{address}/keys"));
    let mut harness = repeatedly();
    harness.try_once(&source).await;
    harness.after_new_attempt(AttemptResult::Ok).await;
    assert_eq!((hits.recv().await, hits.recv().await), (Some(false), Some(true)));
    assert!(harness.sets.status().remove(0).last_error.is_none());
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "one"));
}

#[rstest]
#[case::said("max-age=300", 300)]
#[case::too_short("max-age=1", 60)]
#[case::too_long("max-age=86400", 1200)]
#[case::not_said("no-cache", 1200)]
#[tokio::test]
async fn a_lifetime_sets_the_next_attempt(#[case] cache_control: &'static str, #[case] secs: u64) {
    let answer = async move || ([(header::CACHE_CONTROL, cache_control)], key_set("a"));
    let address = serve(Router::new().fallback(answer)).await;
    let schedule = Schedule { jitter_percent: 0, ..Schedule::default() };
    let mut harness = harness(Settings { schedule, ..Settings::default() });
    let status = harness.try_once(&source("i", &format!("http://{address}/keys"))).await;
    assert_eq!(status.next_attempt, Some(NOW + Duration::from_secs(secs)));
}

#[tokio::test]
async fn keys_that_are_too_old_are_dropped_and_come_whole_again() {
    let (address, tag, mut statuses) = tagging().await;
    let source = source("i", &format!("http://{address}/keys"));
    // Asked only by the test.
    let schedule = Schedule {
        max_age: Duration::from_millis(50),
        unknown_kid_interval: Duration::ZERO,
        ..one_attempt()
    };
    let mut harness = harness(Settings { schedule, ..Settings::default() });
    harness.try_once(&source).await;
    let sets = harness.sets.clone();
    let mut changes = sets.changes();
    soon(async {
        while sets.keys(&source.id).is_some() {
            changes.changed().await.unwrap();
        }
    })
    .await;
    let status = sets.status().remove(0);
    assert_eq!((status.keys, status.last_success), (0, Some(NOW)));
    // Nothing has changed there, and still it must be sent.
    let wanted = WantedKey { source: source.id.clone(), kid: "one".into(), seen: None };
    assert!(sets.seek(&[wanted], Duration::from_secs(20)).await);
    assert_eq!(*tag.lock().unwrap(), "one");
    assert_eq!(statuses.recv().await, Some(StatusCode::OK));
    assert_eq!(statuses.recv().await, Some(StatusCode::OK));
}
