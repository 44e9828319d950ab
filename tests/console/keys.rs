//! A server of keys that can stop answering, and tokens that its keys verify.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves one key set until it is told to stop.
pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl KeyServer {
    pub(crate) async fn start(jwks: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/keys", get(async move || jwks));
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self { address, task }
    }

    /// From now on nobody listens there.
    pub(crate) async fn stop(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

/// Makes a key in a folder, and gives the set that verifies what it signs.
pub(crate) fn make(folder: &Path) -> String {
    ran(folder, &["jwt", "keygen", "--key", "key.json"])
}

/// A token of this issuer, signed by the key in the folder.
pub(crate) fn token(folder: &Path, issuer: &str, audience: &str) -> String {
    let claims = [format!("iss={issuer}"), "sub=ops".to_owned(), format!("aud={audience}")];
    let claims = claims.iter().flat_map(|claim| ["-c", claim]);
    let arguments: Vec<_> =
        ["jwt", "sign", "--key", "key.json"].into_iter().chain(claims).collect();
    ran(folder, &arguments)
}

fn ran(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_postern"));
    let output = command.current_dir(folder).env_clear().args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
