use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

use super::*;
use crate::authn::{Authentication, DEFAULT_MAX_TOKEN_SIZE, KeyLookup, Verifier, authenticate};
use crate::key_set::KeySet;
use crate::model::{Headers, Http};
use crate::plan::{ClaimHeader, JwtPlan, JwtRulePlan, KeyReference, KeySourceId, TokenPlaces};

const NOW: u64 = 1_700_000_000;

fn b64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token with this payload, signed with the secret of this name.
fn token(payload: &str, secret: &str) -> String {
    let input =
        format!("{}.{}", b64(format!(r#"{{"alg":"HS256","kid":"{secret}"}}"#)), b64(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{input}.{}", b64(hmac::sign(&key, input.as_bytes())))
}

/// The set of the secrets of these names.
fn keys(secrets: &[&str]) -> Arc<KeySet> {
    let key = |name: &&str| format!(r#"{{"kty":"oct","kid":"{name}","k":"{}"}}"#, b64(name));
    let keys: Vec<_> = secrets.iter().map(key).collect();
    Arc::new(KeySet::parse(&format!(r#"{{"keys":[{}]}}"#, keys.join(","))).unwrap())
}

fn rule(issuer: &str, audiences: &[&str], keys: KeyReference) -> JwtRulePlan {
    let places = TokenPlaces {
        headers: [("authorization".into(), "Bearer ".into())].into(),
        ..TokenPlaces::default()
    };
    JwtRulePlan {
        issuer: issuer.into(),
        audiences: audiences.iter().map(|a| (*a).into()).collect(),
        keys,
        places,
        forward: false,
        payload_header: None,
        claim_headers: [ClaimHeader { header: "x-sub".into(), claim: ["sub".into()].into() }]
            .into(),
        space_delimited: ["scope".into()].into(),
    }
}

fn inline(issuer: &str, audiences: &[&str], secrets: &[&str]) -> JwtPlan {
    let rules = vec![rule(issuer, audiences, KeyReference::Inline(keys(secrets)))];
    JwtPlan { rules, ..JwtPlan::default() }
}

#[derive(Default)]
struct Sources(HashMap<KeySourceId, Arc<KeySet>>);

impl KeyLookup for Sources {
    fn keys(&self, source: &KeySourceId) -> Option<Arc<KeySet>> {
        self.0.get(source).cloned()
    }
}

/// What came of a request with this token, and how the request left.
fn ask(
    plan: &JwtPlan,
    token: &str,
    sources: &Sources,
    cache: Option<&TokenCache>,
    now: u64,
) -> (Authentication, Vec<(String, Vec<u8>)>) {
    let value = format!("Bearer {token}").into_bytes();
    let headers = Headers::new(vec![("authorization".into(), value.into())], false);
    let mut http = Http {
        method: "GET".into(),
        path: "/".into(),
        host: "h".into(),
        scheme: "http".into(),
        headers,
    };
    let max_token_size = DEFAULT_MAX_TOKEN_SIZE;
    let verifier = Verifier { keys: sources, cache, now, max_token_size };
    let result = authenticate(plan, &mut http, &verifier);
    let left = http.headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
    (result, left)
}

fn error(plan: &JwtPlan, token: &str, cache: &TokenCache, now: u64) -> Option<JwtError> {
    ask(plan, token, &Sources::default(), Some(cache), now).0.error
}

fn cache() -> TokenCache {
    TokenCache::new(1 << 20)
}

#[test]
fn a_token_is_verified_once() {
    let (cache, plan) = (cache(), inline("i", &[], &["k"]));
    let token = token(r#"{"iss":"i","sub":"s"}"#, "k");
    for hits in 0..3 {
        assert_eq!(error(&plan, &token, &cache, NOW), None);
        let status = cache.status();
        assert_eq!((status.hits, status.misses), (hits, 1));
    }
}

#[test]
fn another_rule_never_reuses_what_it_would_refuse() {
    let cache = cache();
    let token = token(r#"{"iss":"i","sub":"s","aud":"a"}"#, "k");
    assert_eq!(error(&inline("i", &["a"], &["k"]), &token, &cache, NOW), None);
    let other_audience = inline("i", &["b"], &["k"]);
    assert_eq!(error(&other_audience, &token, &cache, NOW), Some(JwtError::AudienceNotAllowed));
    let other_issuer = inline("j", &[], &["k"]);
    assert_eq!(error(&other_issuer, &token, &cache, NOW), Some(JwtError::UnknownIssuer));
    let other_keys = inline("i", &[], &["other"]);
    assert_eq!(error(&other_keys, &token, &cache, NOW), Some(JwtError::KidAlgMismatch));
    // Of the same name and of another value.
    let namesake = JwtPlan {
        rules: vec![rule(
            "i",
            &[],
            KeyReference::Inline(Arc::new(
                KeySet::parse(r#"{"keys":[{"kty":"oct","kid":"k","k":"b3RoZXI"}]}"#).unwrap(),
            )),
        )],
        ..JwtPlan::default()
    };
    assert_eq!(error(&namesake, &token, &cache, NOW), Some(JwtError::VerificationFails));
}

#[test]
fn time_goes_on() {
    let (cache, plan) = (cache(), inline("i", &[], &["k"]));
    let token = token(&format!(r#"{{"iss":"i","exp":{},"nbf":{NOW}}}"#, NOW + 10), "k");
    assert_eq!(error(&plan, &token, &cache, NOW), None);
    assert_eq!(error(&plan, &token, &cache, NOW + 70), None);
    assert_eq!(error(&plan, &token, &cache, NOW + 71), Some(JwtError::Expired));
    assert_eq!(error(&plan, &token, &cache, NOW - 61), Some(JwtError::NotYetValid));
    assert_eq!(cache.status().hits, 2);
}

#[test]
fn a_token_is_kept_no_longer_than_it_holds() {
    let (cache, plan) = (cache(), inline("i", &[], &["k"]));
    let short = token(&format!(r#"{{"iss":"i","exp":{}}}"#, NOW + 10), "k");
    let endless = token(r#"{"iss":"i"}"#, "k");
    for text in [&short, &endless] {
        assert_eq!(error(&plan, text, &cache, NOW), None);
    }
    assert!(cache.get(&short, NOW + 70).is_some());
    assert!(cache.get(&short, NOW + 71).is_none());
    assert!(cache.get(&endless, NOW + LONGEST_SECONDS - 1).is_some());
    assert!(cache.get(&endless, NOW + LONGEST_SECONDS).is_none());
    // The next new token has those leave that are past their end.
    assert_eq!(cache.status().entries, 2);
    let other = token(r#"{"iss":"i","sub":"other"}"#, "k");
    assert_eq!(error(&plan, &other, &cache, NOW + 71), None);
    assert_eq!(cache.status().entries, 2);
    assert!(cache.get(&endless, NOW + 71).is_some());
}

#[test]
fn a_withdrawn_key_ends_its_tokens_at_once() {
    let cache = cache();
    let source = KeySourceId { issuer: "i".into(), uri: None };
    let plan = JwtPlan {
        rules: vec![rule("i", &[], KeyReference::Remote(source.clone()))],
        fingerprint: 0,
    };
    let (old, new) = (token(r#"{"iss":"i"}"#, "old"), token(r#"{"iss":"i"}"#, "new"));
    let mut sources = Sources::default();
    let ask = |sources: &Sources, token: &str| ask(&plan, token, sources, Some(&cache), NOW).0;
    sources.0.insert(source.clone(), keys(&["old"]));
    assert_eq!(ask(&sources, &old).error, None);
    assert_eq!(ask(&sources, &new).error, Some(JwtError::KidAlgMismatch));
    sources.0.insert(source.clone(), keys(&["old", "new"]));
    assert_eq!(ask(&sources, &old).error, None);
    assert_eq!(ask(&sources, &new).error, None);
    sources.0.insert(source.clone(), keys(&["new"]));
    assert_eq!(ask(&sources, &old).error, Some(JwtError::KidAlgMismatch));
    assert_eq!(ask(&sources, &new).error, None);
    sources.0.remove(&source);
    assert_eq!(ask(&sources, &new).error, Some(JwtError::VerificationFails));
}

#[test]
fn a_bad_signature_is_remembered_for_these_keys_only() {
    let (cache, plan) = (cache(), inline("i", &[], &["k"]));
    let good = token(r#"{"iss":"i"}"#, "k");
    let (input, _) = good.rsplit_once('.').unwrap();
    let bad = format!("{input}.{}", b64([7; 32]));
    for rejections in 0..3 {
        assert_eq!(error(&plan, &bad, &cache, NOW), Some(JwtError::VerificationFails));
        assert_eq!(cache.status().rejections, rejections);
    }
    assert_eq!(error(&plan, &good, &cache, NOW), None);
    let same_text = inline("i", &[], &["k"]);
    assert_eq!(error(&same_text, &bad, &cache, NOW), Some(JwtError::VerificationFails));
    assert_eq!(cache.status().rejections, 2);
}

#[test]
fn a_wanted_key_is_wanted_each_time() {
    let (cache, source) = (cache(), KeySourceId { issuer: "i".into(), uri: None });
    let plan = JwtPlan {
        rules: vec![rule("i", &[], KeyReference::Remote(source.clone()))],
        fingerprint: 0,
    };
    let sources = Sources([(source.clone(), keys(&["old"]))].into());
    let seen = sources.0.get(&source).map(|keys| keys.generation());
    for _ in 0..2 {
        let new = token(r#"{"iss":"i"}"#, "new");
        let wanted = ask(&plan, &new, &sources, Some(&cache), NOW).0.wanted;
        assert_eq!(
            wanted,
            [crate::authn::WantedKey { source: source.clone(), kid: "new".into(), seen }]
        );
    }
    // A bad signature by a key that is there asks for nothing.
    let good = token(r#"{"iss":"i"}"#, "old");
    let bad = good.replace(good.rsplit_once('.').unwrap().1, &b64([7; 32]));
    assert_eq!(ask(&plan, &bad, &sources, Some(&cache), NOW).0.wanted, []);
}

#[test]
fn bytes_are_bounded() {
    let plan = inline("i", &[], &["k"]);
    let cache = TokenCache::new(100_000);
    for n in 0..1000 {
        let text = token(&format!(r#"{{"iss":"i","n":{n}}}"#), "k");
        assert_eq!(error(&plan, &text, &cache, NOW), None);
    }
    let status = cache.status();
    assert!(status.bytes <= 100_000 && status.entries > 10, "{status:?}");
    let huge = token(&format!(r#"{{"iss":"i","x":"{}"}}"#, "x".repeat(MAX_TOKEN_LEN)), "k");
    assert_eq!(error(&plan, &huge, &cache, NOW), None);
    assert!(cache.get(&huge, NOW).is_none());
}

#[test]
fn what_a_token_takes_is_not_underestimated() {
    let small =
        r#"{"iss":"i","sub":"s","aud":["a","b"],"exp":1800000000,"scope":"a b c"}"#.to_owned();
    let members = (0..1000).map(|n| format!(r#""{n}":{n}"#)).collect::<Vec<_>>().join(",");
    let words = format!(r#"{{"scope":"{}"}}"#, "a ".repeat(2000));
    for payload in [small, format!("{{{members}}}"), words, format!("[{}]", "[],".repeat(0))] {
        let text = token(&payload, "k");
        let (mut parsed, listed) = (None, Arc::from(["scope".into()]));
        let taken = allocation_counter::measure(|| {
            let Ok(token) = Token::parse(&text, DEFAULT_MAX_TOKEN_SIZE) else { return };
            let token = ParsedToken::new(token, &listed);
            token.claims(&listed);
            parsed = Some(token);
        });
        let Some(parsed) = parsed else { continue };
        let held = usize::try_from(taken.bytes_current).unwrap();
        assert!(held <= parsed.weight(), "{held} > {}", parsed.weight());
    }
}

#[test]
fn a_hit_allocates_nothing() {
    let (cache, plan) = (cache(), inline("i", &["a"], &["k"]));
    let text = token(&format!(r#"{{"iss":"i","aud":["a"],"exp":{}}}"#, NOW + 100), "k");
    assert_eq!(error(&plan, &text, &cache, NOW), None);
    let [rule] = &*plan.rules else { panic!("one rule") };
    let KeyReference::Inline(keys) = &rule.keys else { panic!("inline") };
    let mut good = 0;
    let taken = allocation_counter::measure(|| {
        for _ in 0..1000 {
            let parsed = cache.get(&text, NOW).unwrap();
            let token = &parsed.token;
            let fits = token.check_time(NOW).is_ok()
                && token.check_audience(&rule.audiences, |audience| audience).is_ok()
                && parsed.is_verified_by(keys.generation());
            let claims = parsed.claims(&rule.space_delimited);
            good += usize::from(fits && matches!(*claims, Value::Object(_)));
        }
    });
    assert_eq!((good, taken.count_total), (1000, 0));
}

#[test]
fn more_sets_than_slots_are_verified_again() {
    let text = token(r#"{"iss":"i"}"#, "k");
    let token = Token::parse(&text, DEFAULT_MAX_TOKEN_SIZE).unwrap();
    let parsed = ParsedToken::new(token, &[].into());
    let sets: Vec<_> = (0..6).map(|_| keys(&["k"]).generation()).collect();
    for set in &sets {
        assert!(!parsed.is_verified_by(*set));
        parsed.note_verified_by(*set);
        assert!(parsed.is_verified_by(*set));
    }
    let known: Vec<_> = sets.iter().map(|set| parsed.is_verified_by(*set)).collect();
    assert_eq!(known, [false, false, true, true, true, true]);
}

#[test]
fn texts_that_end_alike_are_told_apart() {
    let (cache, plan) = (cache(), inline("i", &[], &["k"]));
    let good = token(r#"{"iss":"i","sub":"alice"}"#, "k");
    assert_eq!(error(&plan, &good, &cache, NOW), None);
    // The signature of one under the payload of another.
    let mut sections = good.split('.');
    let (header, _, signature) =
        (sections.next().unwrap(), sections.next(), sections.next().unwrap());
    let forged = format!("{header}.{}.{signature}", b64(r#"{"iss":"i","sub":"admin"}"#));
    assert_eq!(error(&plan, &forged, &cache, NOW), Some(JwtError::VerificationFails));
}

/// One request, or a change of the keys.
#[derive(Debug, Clone)]
enum Step {
    Ask { rules: Vec<usize>, token: usize, now: u64 },
    Rotate { source: usize, secrets: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let rules = proptest::sample::subsequence((0..6).collect::<Vec<_>>(), 1..4);
    prop_oneof![
        8 => (rules, 0..14_usize, prop_oneof![Just(NOW), Just(NOW + 100), Just(NOW - 100)])
            .prop_map(|(rules, token, now)| Step::Ask { rules, token, now }),
        1 => (0..2_usize, 0..4_usize).prop_map(|(source, secrets)| Step::Rotate { source, secrets }),
    ]
}

proptest! {
    /// Whatever was asked before, an answer with a cache is the answer without.
    #[test]
    fn a_cache_changes_no_answer(steps in proptest::collection::vec(step(), 1..60)) {
        let cache = TokenCache::new(20_000);
        let source = |n: usize| KeySourceId { issuer: format!("i{n}").into(), uri: None };
        let shared = keys(&["k0", "k1"]);
        let rule = |n: usize| match n {
            0 => rule("i0", &[], KeyReference::Inline(shared.clone())),
            1 => rule("i0", &["a"], KeyReference::Inline(shared.clone())),
            2 => rule("", &[], KeyReference::Inline(shared.clone())),
            3 => rule("i0", &[], KeyReference::Remote(source(0))),
            4 => rule("i1", &["b"], KeyReference::Remote(source(1))),
            _ => JwtRulePlan {
                space_delimited: [].into(),
                ..rule("i1", &[], KeyReference::Remote(source(0)))
            },
        };
        let rules: Vec<_> = (0..6).map(rule).collect();
        let mut tokens = vec!["x".to_owned(), "a.b.c".to_owned()];
        for (issuer, secret) in [("i0", "k0"), ("i0", "k1"), ("i1", "k0"), ("i1", "k9")] {
            for end in [NOW + 10, NOW + 1000] {
                let payload =
                    format!(r#"{{"iss":"{issuer}","sub":"s","aud":["a"],"scope":"x y","exp":{end}}}"#);
                tokens.push(token(&payload, secret));
            }
        }
        for n in 2..6 {
            let (input, _) = tokens[n].rsplit_once('.').unwrap();
            tokens.push(format!("{input}.{}", b64([7; 32])));
        }
        let mut sources = Sources::default();
        for step in steps {
            match step {
                Step::Rotate { source: n, secrets } => {
                    let sets: [&[&str]; 4] = [&[], &["k0"], &["k1", "k9"], &["k0", "k1"]];
                    sources.0.insert(source(n), keys(sets[secrets]));
                }
                Step::Ask { rules: chosen, token, now } => {
                    let chosen = chosen.iter().map(|n| {
                        let JwtRulePlan { issuer, audiences, keys, places, .. } = &rules[*n];
                        JwtRulePlan {
                            issuer: issuer.clone(),
                            audiences: audiences.clone(),
                            keys: keys.clone(),
                            places: places.clone(),
                            space_delimited: rules[*n].space_delimited.clone(),
                            claim_headers: rules[*n].claim_headers.clone(),
                            payload_header: None,
                            forward: *n % 2 == 0,
                        }
                    });
                    let plan = JwtPlan { rules: chosen.collect(), fingerprint: 0 };
                    let (fast, fast_left) = ask(&plan, &tokens[token], &sources, Some(&cache), now);
                    let (slow, slow_left) = ask(&plan, &tokens[token], &sources, None, now);
                    prop_assert_eq!(fast.error, slow.error);
                    prop_assert_eq!(fast.claims, slow.claims);
                    prop_assert_eq!(fast.changes, slow.changes);
                    prop_assert_eq!(fast.wanted, slow.wanted);
                    prop_assert_eq!(fast_left, slow_left);
                }
            }
        }
    }
}
