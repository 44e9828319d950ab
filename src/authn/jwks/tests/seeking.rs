//! Requests that name keys which are not there.

use super::*;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(30);

/// Fetches once, then only when asked, at most once in `interval`.
fn when_asked(interval: Duration) -> Harness {
    let schedule = Schedule { unknown_kid_interval: interval, ..one_attempt() };
    harness(Settings { schedule, ..Settings::default() })
}

fn wanted(sets: &KeySets, source: &KeySource, kid: &str) -> [WantedKey; 1] {
    let seen = sets.keys(&source.id).map(|keys| keys.generation());
    [WantedKey { source: source.id.clone(), kid: kid.into(), seen }]
}

#[tokio::test]
async fn a_new_key_is_fetched_for_who_asks() {
    let provider = Provider::start(key_set("old")).await;
    let source = provider.source("i");
    let mut harness = when_asked(Duration::ZERO);
    harness.try_once(&source).await;
    for new in ["new", "newer", "newest"] {
        provider.says(StatusCode::OK, key_set(new));
        let wanted = wanted(&harness.sets, &source, new);
        assert!(harness.sets.seek(&wanted, LONG).await);
        assert!(verifies(&harness.sets.keys(&source.id).unwrap(), new));
    }
    assert_eq!(provider.hits.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn all_who_ask_share_one_fetch() {
    let provider = Provider::start(key_set("old")).await;
    let source = provider.source("i");
    let mut harness = when_asked(Duration::from_hours(1));
    harness.try_once(&source).await;
    provider.says(StatusCode::OK, key_set("new"));
    let wanted = wanted(&harness.sets, &source, "new");
    let found = join_all((0..1000).map(|_| harness.sets.seek(&wanted, LONG))).await;
    assert!(found.iter().all(|found| *found));
    assert_eq!(provider.hits.load(Ordering::SeqCst), 2);
    // Whoever looked before the set came needs no fetch.
    assert!(harness.sets.seek(&wanted, LONG).await);
    assert_eq!(provider.hits.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn random_ids_cause_one_fetch_in_an_interval() {
    let provider = Provider::start(key_set("a")).await;
    let source = provider.source("i");
    let mut harness = when_asked(Duration::from_hours(1));
    harness.try_once(&source).await;
    let attacks = (0..500).map(|n| {
        let wanted = wanted(&harness.sets, &source, &n.to_string());
        let sets = harness.sets.clone();
        async move { sets.seek(&wanted, LONG).await }
    });
    assert!(join_all(attacks).await.iter().all(|found| !found));
    assert_eq!(provider.hits.load(Ordering::SeqCst), 2);
    // Until the next one may begin nobody waits for it.
    let before = Instant::now();
    for n in 500..600 {
        let wanted = wanted(&harness.sets, &source, &n.to_string());
        assert!(!harness.sets.seek(&wanted, Duration::from_mins(10)).await);
    }
    assert!(before.elapsed() < LONG);
    assert_eq!(provider.hits.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_id_that_is_never_there_is_asked_for_less_and_less() {
    let provider = Provider::start(key_set("a")).await;
    let source = provider.source("i");
    let mut harness = when_asked(Duration::from_mins(2));
    harness.try_once(&source).await;
    let wanted = wanted(&harness.sets, &source, "unknown");
    for hits in [2, 3, 3, 4] {
        assert!(!harness.sets.seek(&wanted, LONG).await);
        assert_eq!(provider.hits.load(Ordering::SeqCst), hits);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(125)).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_key_asked_for_too_early_comes_with_the_next_interval() {
    let provider = Provider::start(key_set("a")).await;
    let source = provider.source("i");
    let mut harness = when_asked(Duration::from_millis(300));
    harness.try_once(&source).await;
    assert!(!harness.sets.seek(&wanted(&harness.sets, &source, "x"), LONG).await);
    provider.says(StatusCode::OK, key_set("new"));
    // Too early to wait for, but asked for all the same: it comes without anyone asking again.
    let mut changes = harness.sets.changes();
    let wanted = wanted(&harness.sets, &source, "new");
    harness.sets.seek(&wanted, Duration::ZERO).await;
    soon(async {
        while !verifies(&harness.sets.keys(&source.id).unwrap(), "new") {
            changes.changed().await.unwrap();
        }
    })
    .await;
    assert_eq!(provider.hits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn waiting_is_bounded() {
    let (_listener, uri) = silent().await;
    let source = source("i", &uri);
    let harness = when_asked(Duration::ZERO);
    harness.sets.sync(std::slice::from_ref(&source));
    let before = Instant::now();
    assert!(!harness.sets.seek(&wanted(&harness.sets, &source, "a"), SHORT).await);
    assert!(before.elapsed() >= SHORT && before.elapsed() < LONG);
}

#[tokio::test]
async fn the_first_fetch_is_waited_for() {
    let provider = Provider::start(key_set("a")).await;
    let source = provider.source("i");
    let harness = when_asked(Duration::from_hours(1));
    harness.sets.sync(std::slice::from_ref(&source));
    assert!(harness.sets.seek(&wanted(&harness.sets, &source, "a"), LONG).await);
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "a"));
}

#[tokio::test]
async fn a_source_that_fails_has_said_nothing_of_a_key() {
    let provider = Provider::start(key_set("old")).await;
    let source = provider.source("i");
    let mut harness = when_asked(Duration::ZERO);
    harness.try_once(&source).await;
    provider.says(StatusCode::BAD_GATEWAY, String::new());
    let wanted = wanted(&harness.sets, &source, "new");
    assert!(!harness.sets.seek(&wanted, LONG).await);
    assert!(verifies(&harness.sets.keys(&source.id).unwrap(), "old"));
    provider.says(StatusCode::OK, key_set("new"));
    assert!(harness.sets.seek(&wanted, LONG).await);
}

#[tokio::test]
async fn sources_are_asked_side_by_side() {
    let (_listener, dead) = silent().await;
    let dead = source("dead", &dead);
    let provider = Provider::start(key_set("old")).await;
    let good = provider.source("good");
    let mut harness = when_asked(Duration::ZERO);
    harness.sets.sync(&[dead.clone(), good.clone()]);
    soon(harness.attempts.recv()).await;
    provider.says(StatusCode::OK, key_set("new"));
    let [first] = wanted(&harness.sets, &dead, "a");
    let [second] = wanted(&harness.sets, &good, "new");
    assert!(harness.sets.seek(&[first, second], Duration::from_millis(500)).await);
    assert!(verifies(&harness.sets.keys(&good.id).unwrap(), "new"));
}

#[tokio::test]
async fn what_nobody_configured_is_not_asked() {
    let provider = Provider::start(key_set("a")).await;
    let harness = when_asked(Duration::ZERO);
    assert!(!harness.sets.seek(&wanted(&harness.sets, &provider.source("i"), "a"), LONG).await);
    assert_eq!(provider.hits.load(Ordering::SeqCst), 0);
}
