//! What stands around the proxy: the upstream behind it, and the host that serves key sets.

use std::net::SocketAddr;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::http1::{self, Body, Message};

/// A server task that ends with its handle.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the upstream saw of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Upstream {
    pub(crate) path: String,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
}

/// An upstream that takes any request and answers with what it got.
pub(crate) async fn echo() -> Server {
    serve(|request| {
        let line = String::from_utf8_lossy(&request.first_line).into_owned();
        // A path may hold blanks once a query was decoded: it runs to the last one.
        let (_, rest) = line.split_once(' ').unwrap_or_default();
        let (path, _) = rest.rsplit_once(' ').unwrap_or_default();
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| json!([name, String::from_utf8_lossy(value)]))
            .collect();
        (200, json!({"path": path, "headers": headers}))
    })
    .await
}

/// An upstream that answers whatever bytes come first, and hangs up.
pub(crate) async fn tcp_echo() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut some = [0; 1024];
                if stream.read(&mut some).await.is_ok_and(|n| n > 0) {
                    drop(stream.write_all(b"pong").await);
                }
            });
        }
    });
    Server { address, task }
}

/// Reads what [`echo`] answered.
pub(crate) fn echoed(body: &str) -> Option<Upstream> {
    let value: Value = serde_json::from_str(body).ok()?;
    let mut headers = Vec::new();
    for line in value.get("headers")?.as_array()? {
        headers.push((line[0].as_str()?.to_owned(), line[1].as_str()?.to_owned()));
    }
    Some(Upstream { path: value.get("path")?.as_str()?.to_owned(), headers })
}

/// Serves key sets by their description, see [`jwks_path`] and [`issuer_path`].
pub(crate) async fn key_host(jwks: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
    serve(move |request| {
        let line = String::from_utf8_lossy(&request.first_line);
        let path = line.split(' ').nth(1).unwrap_or_default();
        let described = |text: &str| String::from_utf8(BASE64URL.decode(text).ok()?).ok();
        if let Some(list) = path.strip_prefix("/jwks/").and_then(described) {
            return (200, serde_json::from_str(&jwks(&list)).unwrap());
        }
        let issuer = path.strip_suffix("/.well-known/openid-configuration");
        if let Some(list) = issuer.and_then(|p| p.strip_prefix("/oidc/")).and_then(described) {
            let host = String::from_utf8_lossy(request.header("host").unwrap_or_default());
            let (issuer, uri) = (issuer_path(&list), jwks_path(&list));
            let document = json!({
                "issuer": format!("http://{host}{issuer}"),
                "jwks_uri": format!("http://{host}{uri}"),
            });
            return (200, document);
        }
        (404, json!({}))
    })
    .await
}

/// The key set that a URL serves, or an issuer leads to; `None` where it serves none.
pub(crate) fn described_key_set(url: &str) -> Option<String> {
    let (_, list) = url.split_once("/jwks/").or_else(|| url.split_once("/oidc/"))?;
    String::from_utf8(BASE64URL.decode(list).ok()?).ok()
}

/// Where a key set is served; `dead` is nowhere.
pub(crate) fn jwks_path(list: &str) -> String {
    if list == "dead" { "/dead".into() } else { format!("/jwks/{}", BASE64URL.encode(list)) }
}

/// The issuer whose discovery document leads to a key set.
pub(crate) fn issuer_path(list: &str) -> String {
    format!("/oidc/{}", BASE64URL.encode(list))
}

async fn serve(answer: impl Fn(&Message) -> (u16, Value) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = std::sync::Arc::new(answer);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move { connection(stream, &*answer).await });
        }
    });
    Server { address, task }
}

async fn connection(mut stream: TcpStream, answer: &(dyn Fn(&Message) -> (u16, Value) + Sync)) {
    while let Ok(Some(request)) = http1::read(&mut stream, Body::Request).await {
        let (status, body) = answer(&request);
        let body = body.to_string();
        let mut out = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if !request.first_line.starts_with(b"HEAD ") {
            out.push_str(&body);
        }
        if stream.write_all(out.as_bytes()).await.is_err() {
            return;
        }
    }
}
