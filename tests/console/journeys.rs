//! What people find with the console, step by step, in a browser.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::browser::Browser;
use crate::keys::{self, KeyServer};
use crate::running::Running;
use crate::world::{self, DENIED, TRAFFIC};

/// Who signs tokens of operators.
const OPERATORS: &str = "https://ops.example";

#[tokio::test(flavor = "multi_thread")]
async fn people_find_what_they_look_for() {
    let signing = tempfile::tempdir().unwrap();
    let jwks = keys::make(signing.path());
    let mut key_server = Some(KeyServer::start(jwks.clone()).await);
    let address = key_server.as_ref().unwrap().address;
    let folder = world::folder(&format!("http://{address}/keys"));
    let open = Running::start(
        folder.path(),
        &["--config", "config.yaml", "--jwks-refresh-interval", "2s", "--jwks-max-age", "1h"],
    );
    let (guarded, token) = guarded(folder.path(), signing.path(), &jwks);
    let mut browser = Browser::start(json!({
        "open": open.url(),
        "guarded": guarded.url(),
        "token": token,
        "workloads": world::CROWD + 4,
    }))
    .await;
    let mut closing = Some(guarded);
    while let Some(asked) = browser.next().await {
        match asked["do"].as_str().unwrap() {
            "traffic" => {
                for (workload, request) in TRAFFIC {
                    open.decide(Some(workload), request).await;
                }
            }
            "denied" => assert!(!open.decide(Some(DENIED.0), DENIED.1).await),
            "stop keys" => key_server.take().unwrap().stop().await,
            "break policies" => world::break_policies(folder.path()),
            "stop server" => drop(closing.take()),
            other => panic!("nobody knows how to `{other}`"),
        }
        browser.done().await;
    }
}

/// A server whose console wants a token, and one that it takes.
fn guarded(folder: &Path, signing: &Path, jwks: &str) -> (Running, String) {
    let rules = json!([{ "issuer": OPERATORS, "audiences": ["mesh"], "jwks": jwks }]);
    let text = fs::read_to_string(folder.join("config.yaml")).unwrap();
    fs::write(folder.join("guarded.yaml"), format!("{text}managementJwtRules: {rules}\n")).unwrap();
    let management = ["--management", "127.0.0.1:0", "--management-insecure"];
    let arguments = [&["--config", "guarded.yaml"][..], &management].concat();
    (Running::start(folder, &arguments), keys::token(signing, OPERATORS, "mesh"))
}
