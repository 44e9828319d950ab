//! Fetches repeated, sources coming and going.

use super::*;

#[tokio::test]
async fn a_refresh_picks_up_new_keys() {
    let provider = Provider::start(key_set("old")).await;
    let source = provider.source("i");
    let mut harness = repeatedly();
    harness.try_once(&source).await;
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "old"));
    provider.says(StatusCode::OK, key_set("new"));
    harness.after_new_attempt(AttemptResult::Ok).await;
    let keys = harness.sets.keys(&source.id).unwrap();
    assert!(verifies(&keys, "new") && !verifies(&keys, "old"));
}

#[tokio::test]
async fn the_same_text_keeps_the_same_set() {
    let provider = Provider::start(key_set("a")).await;
    let source = provider.source("i");
    let mut harness = repeatedly();
    harness.try_once(&source).await;
    let before = harness.sets.keys(&source.id).unwrap();
    harness.after_new_attempt(AttemptResult::Ok).await;
    assert!(Arc::ptr_eq(&before, &harness.sets.keys(&source.id).unwrap()));
}

#[tokio::test]
async fn the_last_good_set_outlives_failures() {
    let provider = Provider::start(key_set("a")).await;
    let source = provider.source("i");
    let mut harness = repeatedly();
    harness.try_once(&source).await;
    for (status, body, result) in [
        (StatusCode::SERVICE_UNAVAILABLE, key_set("evil"), AttemptResult::Http),
        (StatusCode::OK, "[]".to_owned(), AttemptResult::Parse),
    ] {
        provider.says(status, body);
        harness.after_new_attempt(result).await;
        assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "a"));
        let status = harness.sets.status().remove(0);
        assert_eq!((status.keys, status.last_success), (1, Some(NOW)));
        assert_eq!(status.last_error.unwrap().result(), result);
        assert!(status.failures > 0);
    }
    provider.says(StatusCode::OK, key_set("b"));
    harness.after_new_attempt(AttemptResult::Ok).await;
    let status = harness.sets.status().remove(0);
    assert!(status.last_error.is_none());
    assert_eq!(status.failures, 0);
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "b"));
}

#[tokio::test]
async fn a_source_that_comes_up_late_is_found() {
    let provider = Provider::start(String::new()).await;
    provider.says(StatusCode::BAD_GATEWAY, String::new());
    let source = provider.source("i");
    let mut harness = repeatedly();
    assert_eq!(harness.try_once(&source).await.keys, 0);
    provider.says(StatusCode::OK, key_set("a"));
    harness.after_new_attempt(AttemptResult::Ok).await;
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "a"));
}

#[tokio::test]
async fn a_dead_source_delays_no_other() {
    let (_listener, uri) = silent().await;
    let dead = KeySource { timeout: Duration::from_hours(1), ..source("dead", &uri) };
    let provider = Provider::start(key_set("a")).await;
    let good = provider.source("good");
    let mut harness = once();
    harness.sets.sync(&[dead.clone(), good.clone()]);
    let attempt = soon(harness.attempts.recv()).await;
    assert_eq!(attempt, Some((good.id.clone(), AttemptResult::Ok)));
    assert!(verifies(&harness.sets.keys(&good.id).unwrap(), "a"));
    assert!(harness.sets.keys(&dead.id).is_none());
    assert!(!harness.sets.settled());
    let under_way = harness.sets.status().remove(0);
    assert_eq!((&under_way.id, under_way.next_attempt), (&dead.id, None));
    // Readiness no longer waits for what nobody wants.
    let sets = harness.sets.clone();
    let settled = tokio::spawn(async move { sets.wait_settled().await });
    harness.sets.sync(std::slice::from_ref(&good));
    soon(settled).await.unwrap();
}

#[tokio::test]
async fn a_policy_push_drops_no_keys() {
    let (first, second) =
        (Provider::start(key_set("a")).await, Provider::start(key_set("b")).await);
    let (a, b) = (first.source("a"), second.source("b"));
    let mut harness = once();
    assert!(harness.sets.settled());
    harness.try_once(&a).await;
    let before = harness.sets.keys(&a.id).unwrap();
    let longer = KeySource { timeout: Duration::from_secs(20), ..a.clone() };
    harness.sets.sync(&[b.clone(), longer]);
    assert!(Arc::ptr_eq(&before, &harness.sets.keys(&a.id).unwrap()));
    soon(harness.sets.wait_settled()).await;
    assert!(verifies(&harness.sets.keys(&b.id).unwrap(), "b"));
    assert_eq!(first.hits.load(Ordering::SeqCst), 1);
    harness.sets.sync(std::slice::from_ref(&b));
    assert!(harness.sets.keys(&a.id).is_none());
    assert_eq!(harness.sets.status().len(), 1);
}

#[tokio::test]
async fn sources_of_one_uri_and_two_issuers_are_two() {
    let provider = Provider::start(key_set("a")).await;
    let harness = once();
    harness.sets.sync(&[provider.source("a"), provider.source("b")]);
    soon(harness.sets.wait_settled()).await;
    assert_eq!(provider.hits.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn sources_that_are_gone_are_asked_no_more() {
    let provider = Provider::start(key_set("a")).await;
    let mut harness = repeatedly();
    harness.try_once(&provider.source("i")).await;
    harness.sets.sync(&[]);
    // The channel ends with the last holder of the observer.
    drop(harness.sets);
    soon(async { while harness.attempts.recv().await.is_some() {} }).await;
}
