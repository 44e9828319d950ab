//! Issuers of the test's own, for tokens that a real one does not issue.

use std::sync::LazyLock;

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{keys::Keys, tokens};

/// Kept for the run: RSA keys take a while.
static KEYS: LazyLock<Keys> = LazyLock::new(Keys::default);

/// Somebody who signs tokens with one key, and publishes it.
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) jwks_uri: String,
    key: &'static str,
    task: JoinHandle<()>,
}

impl Issuer {
    pub(crate) async fn start(name: &str, key: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks_uri = format!("http://{}/keys", listener.local_addr().unwrap());
        let jwks = KEYS.jwks(key);
        let keys = Router::new().route("/keys", get(move || async move { jwks }));
        let task = tokio::spawn(async move { axum::serve(listener, keys).await.unwrap() });
        Self { name: name.to_owned(), jwks_uri, key, task }
    }

    /// A token that says this, beside who issued it, whom it is about, and when it ends.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_like(claims, &json!({}))
    }

    /// Likewise, made otherwise.
    pub(crate) fn token_like(&self, claims: &Value, recipe: &Value) -> String {
        let mut all = json!({"iss": self.name, "sub": "alice"});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        let mut whole = json!({"key": self.key, "claims": all});
        for (name, value) in recipe.as_object().unwrap() {
            whole[name] = value.clone();
        }
        tokens::mint(&KEYS, &whole)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `Bearer` and a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
