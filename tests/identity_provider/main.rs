//! A certified identity provider, as its users meet it: keys found by the issuer's name, tokens of
//! its token endpoint, and what its introspection endpoint says of those that say nothing.
//!
//! The provider is a process of its own, in a language of its own: nothing of Postern's view of the
//! standards is in it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support functions"
)]

mod gate;
mod opaque_tokens;
mod packages;
mod provider;

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use gate::Gate;
use provider::{CLERK, ORDERS, ORDERS_ES256, PAYMENTS, Provider, SigningKeys, VISITOR};
use rstest::rstest;
use serde_json::Value;

/// Where its packages are, in Cargo's target folder, and which.
const PACKAGES: &str = "identity_provider";
const MANIFEST: &str = include_str!("package.json");
const LOCK: &str = include_str!("package-lock.json");

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

const READ: &str = "orders:read";

#[rstest]
#[case::rs256(ORDERS, "RS256")]
#[case::es256(ORDERS_ES256, "ES256")]
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_taken_by_what_they_say(#[case] orders: &str, #[case] algorithm: &str) {
    let provider = Provider::start(&[&SigningKeys::new("only")]).await;
    let gate = Gate::start(&provider).await;
    let token = provider.token(CLERK, orders, READ).await;
    assert_eq!(gate.status(&token).await, 200);
    assert_eq!(gate.status(&token).await, 200, "now by the cache");
    let more = provider.token(CLERK, orders, "orders:write orders:read").await;
    assert_eq!(gate.status(&more).await, 200);

    let other_scope = provider.token(CLERK, orders, "orders:write").await;
    assert_eq!(gate.status(&other_scope).await, 403);
    let not_of_the_staff = provider.token(VISITOR, orders, READ).await;
    assert_eq!(gate.status(&not_of_the_staff).await, 403);
    let other_audience = provider.token(CLERK, PAYMENTS, READ).await;
    assert_eq!(gate.status(&other_audience).await, 403);

    // A part of one token in the place of that of another.
    let [token, more] = [&token, &more].map(|token| token.split('.').collect::<Vec<_>>());
    assert_eq!(token[0], more[0]);
    let header: Value = serde_json::from_slice(&BASE64URL.decode(token[0]).unwrap()).unwrap();
    assert_eq!(header["alg"], algorithm);
    for tampered in [[token[0], more[1], token[2]], [token[0], token[1], more[2]]] {
        assert_eq!(gate.status(&tampered.join(".")).await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_new_keys_are_taken_at_once() {
    let mut keys = SigningKeys::new("first");
    let provider = Provider::start(&[&keys]).await;
    let gate = Gate::start(&provider).await;
    for name in ["second", "third"] {
        let before = provider.token(CLERK, ORDERS, READ).await;
        assert_eq!(gate.status(&before).await, 200);
        let new = SigningKeys::new(name);
        provider.publish(&[&new, &keys]).await;
        assert_eq!(gate.status(&provider.token(CLERK, ORDERS, READ).await).await, 200);
        assert_eq!(gate.status(&provider.token(CLERK, ORDERS_ES256, READ).await).await, 200);
        assert_eq!(gate.status(&before).await, 200, "its key is still published");
        keys = new;
    }
    // A key that is no longer published ends its tokens, once that is seen.
    let before = provider.token(CLERK, ORDERS, READ).await;
    assert_eq!(gate.status(&before).await, 200);
    provider.publish(&[&SigningKeys::new("last")]).await;
    assert_eq!(gate.status(&provider.token(CLERK, ORDERS, READ).await).await, 200);
    assert_eq!(gate.status(&before).await, 401);
}
